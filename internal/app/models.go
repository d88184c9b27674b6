package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/batching"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/shipped"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
)

// Builtin begins the path of a model that is in the binary: "builtin:digits".
const Builtin = "builtin:"

// modelFile is what a folder of a version holds.
const modelFile = "model.onnx"

// configured is one version of a model that the configuration names.
type configured struct {
	name    string
	version int64  // 0 where a folder has none
	path    string // of the file, or builtin:NAME
	config  ModelConfig
	source  bool  // the path is the model's, not one version's: what is there now is a version of its own
	fault   error // why there is nothing to read
}

// findModels lists the versions that the configuration names, and returns every fault of the paths that it names itself as fault.Errors. What is wrong inside of a folder
// of models, which others fill, keeps nothing from starting: it is a version with a fault.
func findModels(cfg Config, log *slog.Logger) ([]configured, error) {
	var all []configured
	var faults fault.Errors
	for _, name := range slices.Sorted(maps.Keys(cfg.Models)) {
		m := cfg.Models[name]
		versions, err := findVersions(name, string(m.Path), log)
		if err == nil && !slices.ContainsFunc(versions, func(c configured) bool { return c.fault == nil }) {
			err = versions[0].fault
		}
		if err != nil {
			faults.Add("models."+name+".path", "%v", err)
		}
		for _, v := range versions {
			v.config = m
			all = append(all, v)
		}
	}
	if cfg.ModelRepository == "" {
		return all, faults.Err()
	}
	root := string(cfg.ModelRepository)
	entries, err := listFolder(root, log)
	if err != nil {
		faults.Add("model_repository", "%v", err)
		return nil, faults
	}
	for _, e := range entries {
		if _, named := cfg.Models[e.Name()]; named || !isDir(root, e) {
			continue
		}
		path := filepath.Join(root, e.Name())
		versions, err := findVersions(e.Name(), path, log)
		if err != nil {
			versions = []configured{{name: e.Name(), path: path, fault: err}}
		}
		for _, v := range versions {
			v.config = ModelConfig{Engine: cfg.Engine}
			all = append(all, v)
		}
	}
	return all, faults.Err()
}

// listFolder lists a folder without what systems leave behind in it, which is logged.
func listFolder(path string, log *slog.Logger) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	first, left := "", 0
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		if !media.Leftover(e.Name()) {
			return false
		}
		left++
		first = cmp.Or(first, e.Name())
		return true
	})
	if left > 0 {
		log.Info("files that systems left in a folder of models are passed over", "folder", path, "files", left, "example", first)
	}
	return entries, nil
}

// isDir follows links, which repositories of models are often made of.
func isDir(root string, e fs.DirEntry) bool {
	info, err := os.Stat(filepath.Join(root, e.Name()))
	return err == nil && info.IsDir()
}

// findVersions returns the versions at a path: a file, a SavedModel, or one in the binary, is version 1, and another folder has
// a folder named by its number for each. There is at least one, which may have a fault.
func findVersions(name, path string, log *slog.Logger) ([]configured, error) {
	if strings.HasPrefix(path, Builtin) {
		return []configured{{name: name, version: 1, path: path, source: true}}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() || tensorflow.IsModel(path) {
		return []configured{{name: name, version: 1, path: path, source: true}}, nil
	}
	entries, err := listFolder(path, log)
	if err != nil {
		return nil, err
	}
	// A number as it is usually written goes before the same one with zeros.
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(len(a.Name()), len(b.Name())) })
	folders := map[int64]string{}
	var versions []configured
	for _, e := range entries {
		v, ok := readVersion(name, path, e)
		if !ok {
			continue
		}
		if other, taken := folders[v.version]; taken && v.version > 0 {
			v = configured{name: name, path: v.path, fault: fmt.Errorf("folders %s and %s are the same version: %s is served, rename or remove the other one", other, e.Name(), other)}
		} else {
			folders[v.version] = e.Name()
		}
		versions = append(versions, v)
	}
	if len(versions) == 0 {
		err := fmt.Errorf("folder %s has no version: expected %s, or a SavedModel in it", path, filepath.Join(path, "1", modelFile))
		versions = append(versions, configured{name: name, path: path, fault: err})
	}
	return versions, nil
}

// readVersion looks at what a model's folder has; ok is false for what is named otherwise than versions are.
func readVersion(name, path string, e fs.DirEntry) (_ configured, ok bool) {
	if strings.Trim(e.Name(), "0123456789") != "" || !isDir(path, e) {
		return configured{}, false
	}
	v := configured{name: name, path: filepath.Join(path, e.Name(), modelFile)}
	n, err := strconv.ParseInt(e.Name(), 10, 64)
	if err != nil || n < 1 {
		v.path = filepath.Dir(v.path)
		v.fault = fmt.Errorf("folder %s: a version is a number from 1 to %d", v.path, int64(math.MaxInt64))
		return v, true
	}
	v.version = n
	if info, err := os.Stat(v.path); err != nil {
		if folder := filepath.Dir(v.path); tensorflow.IsModel(folder) {
			v.path = folder
			return v, true
		}
		v.fault = fmt.Errorf("the version's folder has no %s: %w", modelFile, err)
	} else if info.IsDir() {
		v.fault = fmt.Errorf("%s is a folder", v.path)
	}
	return v, true
}

// OpenModel reads an ONNX file, one that is in the binary, or a model of TensorFlow's as what it becomes, with notes for people. Of opts the evaluator is not looked at.
func OpenModel(ctx context.Context, path string, opts tensorflow.Options) (*model.Model, []string, error) {
	if data, err := builtin(path); err != nil {
		return nil, nil, err
	} else if data != nil {
		m, err := model.Decode(data)
		return m, nil, err
	}
	if tensorflow.IsModel(path) {
		return ImportModel(ctx, path, opts)
	}
	m, err := model.Open(path)
	return m, nil, err
}

// ImportModel is OpenModel for what is a model of TensorFlow's, whatever its name.
func ImportModel(ctx context.Context, path string, opts tensorflow.Options) (*model.Model, []string, error) {
	opts.Evaluator = native.Evaluator()
	return model.Import(ctx, path, opts)
}

// InspectTensorFlow describes a file of TensorFlow's.
func InspectTensorFlow(ctx context.Context, path string, opts tensorflow.Options) (*tensorflow.Info, error) {
	s, err := tensorflow.Open(path)
	if err != nil {
		return nil, err
	}
	opts.Evaluator = native.Evaluator()
	return s.Inspect(ctx, opts)
}

// tensorFlow says what is wanted of a model of TensorFlow's.
func (m ModelConfig) tensorFlow() tensorflow.Options {
	return tensorflow.Options{Signature: m.Signature, Tags: m.Tags, Checkpoint: string(m.Checkpoint), Inputs: m.Inputs, Outputs: m.Outputs}
}

// open reads the model.
func (c configured) open(ctx context.Context) (*model.Model, error) {
	if c.fault != nil {
		return nil, c.fault
	}
	m, _, err := OpenModel(ctx, c.path, c.config.tensorFlow())
	if err != nil {
		return nil, err
	}
	return m.With(c.name, c.version, c.config.Overrides())
}

// builtin returns the file of a path that names a model in the binary, nil for other paths.
func builtin(path string) ([]byte, error) {
	name, ok := strings.CutPrefix(path, Builtin)
	if !ok {
		return nil, nil
	}
	data, found := shipped.Model(name)
	if !found {
		return nil, fmt.Errorf("there is no model %q in the binary, only %s", name, strings.Join(shipped.Names(), ", "))
	}
	return data, nil
}

// read returns the model as one ONNX file.
func (c configured) read(ctx context.Context) ([]byte, error) {
	data, err := builtin(c.path)
	if data != nil || err != nil {
		return data, err
	}
	if !tensorflow.IsModel(c.path) {
		if data, err = os.ReadFile(c.path); err != nil {
			return nil, err
		}
		if _, err = model.Decode(data); err == nil {
			return data, nil
		}
	}
	m, _, err := OpenModel(ctx, c.path, c.config.tensorFlow()) // also a file that keeps data beside itself
	if err != nil {
		return nil, err
	}
	return onnx.Encode(m.Graph)
}

// addModels registers what the configuration names and opens the version of each that serves. A model that cannot be run
// stops nobody: it is reported, and what needs it waits.
func (n *Node) addModels(ctx context.Context, models []configured) {
	names := map[string]bool{}
	for _, c := range models {
		add := n.addVersion
		if c.source {
			add = n.importModel
		}
		if err := add(ctx, c); err != nil {
			n.log.Error("model is not served", "model", c.name, "version", c.version, "path", c.path, "error", err)
			continue
		}
		names[c.name] = true
	}
	if !n.cfg.has(grid.RoleCompute) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h, err := n.registry.Acquire(ctx, name, 0)
		if err != nil {
			n.log.Error("model is not served", "model", name, "error", err)
			continue
		}
		h.Release()
	}
}

// addVersion registers a version of a folder of versions. It stays in its file.
func (n *Node) addVersion(ctx context.Context, c configured) error {
	m, err := c.open(ctx)
	if err == nil {
		err = n.registry.Add(m, c.path)
	} else if c.version > 0 {
		err = errors.Join(err, n.registry.AddFailed(c.name, c.version, c.path, err))
	}
	return err
}

// importModel makes what a source has now a new version, where it has changed; in a cluster only where the grid has no version. Where it is refused the version
// that was serving goes on.
func (n *Node) importModel(ctx context.Context, c configured) error {
	before, err := n.registry.Serving(ctx, c.name)
	is := err == nil && before.Version != 0 // something serves
	info, fresh, err := n.importSource(ctx, c)
	switch {
	case errors.Is(err, registry.ErrTooLarge), errors.Is(err, grid.ErrFull):
		n.log.Warn("a model is served from its file: the grid cannot keep it as a version", "model", c.name, "path", c.path, "error", err)
		return n.addVersion(ctx, c)
	case err != nil && is:
		n.log.Error("a model's source has changed and is refused", "model", c.name, "path", c.path, "serves", before.Version, "error", err)
	case err != nil:
		return errors.Join(err, n.registry.AddFailed(c.name, c.version, c.path, err))
	case fresh && is:
		n.log.Info("a model's source has changed and is a new version", "model", c.name, "path", c.path, "version", info.Version, "before", before.Version, "pinned", before.Pinned)
	case fresh:
		n.log.Info("a model's source is a new version", "model", c.name, "path", c.path, "version", info.Version)
	}
	return nil
}

func (n *Node) importSource(ctx context.Context, c configured) (registry.Info, bool, error) {
	if c.fault != nil {
		return registry.Info{}, false, c.fault
	}
	if n.shared() {
		return n.seedModel(ctx, c)
	}
	data, err := c.read(ctx)
	if err != nil {
		return registry.Info{}, false, err
	}
	return n.registry.Import(ctx, c.name, data, registry.PushOptions{
		Origin:  registry.Origin{Source: c.path, By: "the configuration of node " + n.cfg.Node.Name, Overrides: c.config.Overrides()},
		Replace: c.config.Replace,
	})
}

// keeps is how many versions of a model are kept.
func (n *Node) keeps(name string) int { return n.cfg.Models[name].Keep }

// named gives the versions of a model that pipelines name; it is not known before the pipelines are there.
func (n *Node) named(name string) ([]int64, bool) {
	if n.pipelines == nil {
		return nil, false
	}
	var out []int64
	for _, p := range n.pipelines.List() {
		if p.Config.Model == name && p.Config.Version != 0 {
			out = append(out, p.Config.Version)
		}
	}
	return out, true
}

// opener chooses a model's engine by the configuration. Runs of a model that come together are gathered; as many may wait as there
// may be connections.
func opener(cfg Config, engines *Engines, log *slog.Logger) registry.Opener {
	return func(ctx context.Context, m *model.Model, inGrid registry.Settings, set bool) (engine.Session, string, error) {
		s, name, err := engines.Open(ctx, m, cfg.runs(m.Name, inGrid, set))
		if err != nil {
			return nil, "", err
		}
		alone := func(reason error) {
			log.Warn("callers of this model get runs of their own", "model", m.Name, "version", m.Version, "reason", reason)
		}
		gathering, err := batching.New(s, batching.Options{MaxQueue: cfg.HTTP.Limits.Connections, OnAlone: alone})
		if err != nil {
			return nil, "", errors.Join(err, s.Close())
		}
		return gathering, name, nil
	}
}

// lender is a registry as pipelines see it.
type lender struct{ r *registry.Registry }

func (l lender) Acquire(ctx context.Context, name string, version int64) (pipeline.Handle, error) {
	h, err := l.r.Acquire(ctx, name, version)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (l lender) Changed() <-chan struct{} { return l.r.Changed() }
