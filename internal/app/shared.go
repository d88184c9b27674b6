package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
)

// In a cluster caches, models and pipelines are the grid's, and all nodes have the same. What a node's file says of them is a seed: it goes into the grid where the grid
// has nothing of that name, and what is there stays, whatever the files of other nodes say. `millrace apply` changes it.

// Shared lists the keys of the configuration that can be the grid's.
func Shared() []string { return []string{"caches", "models", "pipelines"} }

// ValidateShared reports every fault of what a file says of caches, models and pipelines, as ConfigErrors, and completes it. What else is in c is not looked at, and
// which stores and engines there are the nodes know.
func ValidateShared(c *Config) error {
	c.Engine = "auto"
	c.Complete()
	v := &validator{}
	v.shared(c)
	return v.Err()
}

func (v *validator) shared(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Caches)) {
		v.cache("caches."+name, name, c.Caches[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		v.model("models."+name, name, c.Models[name])
	}
	v.pipelines(c.Pipelines)
}

// shared reports whether caches, models and pipelines are the grid's.
func (n *Node) shared() bool { return n.cfg.Cluster.set() }

// differs says that the grid has something else than the file.
func (n *Node) differs(kind, name string) {
	n.log.Warn("the configuration file differs from what the cluster has, which goes on: `millrace apply -f FILE` changes that, and then the section is not needed in the files of nodes",
		kind, name)
}

// runs is how a model runs on this node.
func (c Config) runs(name string, inGrid registry.Settings, set bool) ModelConfig {
	if file, ok := c.Models[name]; ok && !(set && c.Cluster.set()) {
		return file
	}
	return ModelConfig{Engine: inGrid.Engine}.WithOptions(inGrid.Options())
}

// Cache is the cache of a name as the grid has it.
func (c CacheConfig) Cache(name string) grid.CacheConfig { return c.cache(name) }

// Pipeline is the pipeline of a name, with its defaults.
func (p PipelineConfig) Pipeline(name string) pipeline.Config {
	return p.pipeline(name, nil).WithDefaults()
}

// Settings are what the grid keeps of how a model runs. standard is the engine that stands for none.
func (m ModelConfig) Settings(standard string) registry.Settings {
	s := registry.Settings{
		Engine: m.Engine, Device: m.Device, TF32: m.TF32, Precision: m.Precision, MemoryLimit: int64(m.MemoryLimit), Threads: m.Threads, Keep: m.Keep,
	}
	if s.Engine == standard {
		s.Engine = ""
	}
	if s.Keep == registry.DefaultKeep {
		s.Keep = 0
	}
	return s
}

func (n *Node) seedModel(ctx context.Context, c configured) (registry.Info, bool, error) {
	data, err := c.complete(ctx)
	if err != nil {
		return registry.Info{}, false, err
	}
	settings := c.config.Settings(n.cfg.Engine)
	info, fresh, err := n.registry.Seed(ctx, c.name, data, registry.PushOptions{
		Origin: registry.Origin{Source: c.path, By: "the configuration of node " + n.cfg.Node.Name}, Replace: c.config.Replace, Settings: &settings,
	})
	if err == nil && !fresh {
		if now, set := n.registry.Settings(ctx, c.name); info.Digest != digest(data) || set && now != settings {
			n.differs("model", c.name)
		}
	}
	return info, fresh, err
}

func (n *Node) seedPipelines(ctx context.Context, all []pipeline.Config) error {
	for _, c := range all {
		var same bool
		err := n.patiently(ctx, "pipeline "+c.Name, func() (err error) {
			same, err = n.pipelines.Offer(ctx, c)
			return err
		})
		switch {
		case errors.Is(err, pipeline.ErrConfig):
			n.log.Error("a pipeline of the configuration file cannot run beside those that the cluster has", "pipeline", c.Name, "error", err)
		case err != nil:
			return err
		case !same:
			n.differs("pipeline", c.Name)
		}
	}
	return nil
}

// complete returns the model as one ONNX file that has what the configuration says of its metadata.
func (c configured) complete(ctx context.Context) ([]byte, error) {
	if c.fault != nil {
		return nil, c.fault
	}
	data, err := c.read(ctx)
	overrides := c.config.Overrides()
	if err != nil || len(overrides) == 0 {
		return data, err
	}
	m, err := model.Decode(data)
	if err == nil {
		_, err = m.With(c.name, max(c.version, 1), overrides)
	}
	if err != nil {
		return nil, err
	}
	g, err := onnx.Decode(data, onnx.Options{})
	if err != nil {
		return nil, err
	}
	if g.Metadata == nil {
		g.Metadata = map[string]string{}
	}
	for name, value := range overrides {
		g.Metadata[model.Prefix+name] = value
	}
	return onnx.Encode(g)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// A ModelFile is one version of a model that a configuration names.
type ModelFile struct {
	Name string
	// Version is 0 where the path is a source: what is there is the next version.
	Version int64
	Config  ModelConfig
	found   configured
}

// Read returns the model as one ONNX file, with what the configuration says of its metadata, and its SHA-256.
func (f ModelFile) Read(ctx context.Context) (data []byte, sum string, err error) {
	if data, err = f.found.complete(ctx); err != nil {
		return nil, "", err
	}
	return data, digest(data), nil
}

// ModelFiles lists the versions of the models of a configuration that ValidateShared has completed, the oldest of each first, and returns every fault of the paths
// as ConfigErrors.
func ModelFiles(c Config) ([]ModelFile, error) {
	c.ModelRepository = ""
	found, err := findModels(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	out := make([]ModelFile, len(found))
	for i, f := range found {
		out[i] = ModelFile{Name: f.name, Version: f.version, Config: f.config, found: f}
		if f.source {
			out[i].Version = 0
		}
	}
	slices.SortFunc(out, func(a, b ModelFile) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return out, nil
}
