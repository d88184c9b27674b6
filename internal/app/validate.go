package app

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/serve/rest"
)

// ConfigErrors is everything that is wrong with a Config, as the error of Validate and Check. Paths are the keys of the configuration file.
type ConfigErrors = fault.Errors //nolint:errname // several faults, as the name says

// MaxEntryBytes is the largest value that an entry can have.
const MaxEntryBytes Size = grid.MaxValueBytes

var nameRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate reports every fault of a complete Config at once, as ConfigErrors, or nil. It looks at the Config alone, neither at files nor at
// the network: Check does. What a part may say is asked of the package that it configures; the rules here are those of the file.
func (c *Config) Validate() error {
	v := &validator{}
	v.Check(nameRE.MatchString(c.Node.Name), "node.name", "%q: a name has 1 to 64 letters, digits, _ and -", c.Node.Name)
	v.Check(c.Node.Data != "", "node.data", "must name a folder")
	v.roles(c)
	v.http(c)
	v.grid(c)
	v.Check(c.Listeners.MaxBytesEach >= 1<<20, "listeners.max_bytes_each", "must be at least 1MiB")
	v.Check(c.Listeners.MaxBytes >= c.Listeners.MaxBytesEach, "listeners.max_bytes", "must be at least listeners.max_bytes_each")
	v.oneOf("engine", c.Engine, "auto", "native", "onnxruntime")
	v.Take(engine.Options{Threads: c.Engines.Native.Threads}.Validate(), under("engines.native"))
	v.positive("engines.native.max_tensor_bytes", int64(c.Engines.Native.MaxTensorBytes))
	v.positive("engines.native.max_run_bytes", int64(c.Engines.Native.MaxRunBytes))
	rt := c.Engines.ONNXRuntime
	v.Take(engine.Options{Threads: rt.Threads, Device: rt.Device}.Validate(), under("engines.onnxruntime"))
	v.Check(rt.MemoryLimit >= 0, "engines.onnxruntime.memory_limit", "must not be negative")
	v.Take(onnxruntime.ValidateSettings(rt.Settings), under("engines.onnxruntime.settings"))
	v.shared(c)
	for _, name := range slices.Sorted(maps.Keys(c.Caches)) {
		if s := c.Caches[name].Store; s != "" {
			_, ok := c.Stores[s]
			v.Check(ok, "caches."+name+".store", "%q is none of the stores, which are under stores", s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		v.Check(nameRE.MatchString(name) && len(name) <= 32, "stores."+name, "%q: a name has 1 to 32 letters, digits, _ and -", name)
		v.Take(c.Stores[name].validate(), under("stores."+name))
		v.Check(!c.Cluster.set() || c.Stores[name].Type != storeDisk, "stores."+name+".type",
			"%s is a folder of one node, and in a cluster each node has to reach what the others stored; use %s or %s", storeDisk, storeS3, storeCeph)
	}
	v.Check(c.Grid.CacheEntries >= 0, "grid.cache_entries", "must not be negative")
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	return v.Err()
}

type validator struct{ fault.Errors }

// under puts a package's paths below a key. The path "name" is the key's own.
func under(key string) func(string) (string, bool) {
	return func(path string) (string, bool) {
		if path == "" || path == "name" {
			return key, true
		}
		return key + "." + path, true
	}
}

// named gives a package's paths other keys, and leaves the rest out: what is not in the file cannot be wrong in it.
func named(keys map[string]string) func(string) (string, bool) {
	return func(path string) (string, bool) {
		key, ok := keys[path]
		return key, ok
	}
}

func (v *validator) oneOf(path, s string, allowed ...string) {
	v.Check(slices.Contains(allowed, s), path, "%q must be one of %s", s, strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
}

func (v *validator) finite(path string, numbers ...float64) {
	for _, n := range numbers {
		v.Check(!math.IsNaN(n) && !math.IsInf(n, 0), path, "%v is not a finite number", n)
	}
}

// Where the file has what the packages take as "the default", 0 was written there and would not do what it says.
func (v *validator) positive(path string, n int64) { v.Check(n > 0, path, "must be more than 0") }

// serveKeys are the keys of serve.Config's fields that do not have its names.
var serveKeys = map[string]string{
	"max_connections": "http.limits.connections", "max_connections_per_address": "http.limits.connections_per_address", "min_body_rate": "http.limits.body_rate",
	"max_header_bytes": "http.limits.header", "read_header_timeout": "http.timeouts.header",
	"read_timeout": "http.timeouts.read", "write_timeout": "http.timeouts.write", "idle_timeout": "http.timeouts.idle", "drain_timeout": "http.timeouts.drain",
}

// serveKey is the key of a path of serve.Config.
func serveKey(path string) (string, bool) {
	if key, ok := serveKeys[path]; ok {
		return key, true
	}
	return "http." + path, true
}

func (v *validator) http(c *Config) {
	h := c.HTTP
	v.Check(h.Listen != "", "http.listen", "must be HOST:PORT, such as 127.0.0.1:8080")
	v.Take(c.serve().Validate(), serveKey)
	v.positive("http.limits.infer_body", int64(h.Limits.InferBody))
	v.Take(oip.Config{MaxBody: int64(h.Limits.InferBody)}.Validate(), named(map[string]string{"max_body": "http.limits.infer_body"}))
	v.positive("http.limits.model_body", int64(h.Limits.ModelBody))
	v.Take(rest.Config{MaxModelBytes: int64(h.Limits.ModelBody)}.Validate(), named(map[string]string{"max_model_bytes": "http.limits.model_body"}))
	v.positive("http.limits.header", int64(h.Limits.Header))
	v.positive("http.limits.connections", int64(h.Limits.Connections))
	v.positive("http.limits.connections_per_address", int64(h.Limits.ConnectionsPerAddress))
	v.positive("http.limits.body_rate", int64(h.Limits.BodyRate))
	for _, t := range []struct {
		key string
		d   Duration
	}{
		{"header", h.Timeouts.Header}, {"read", h.Timeouts.Read}, {"write", h.Timeouts.Write},
		{"infer", h.Timeouts.Infer}, {"idle", h.Timeouts.Idle}, {"drain", h.Timeouts.Drain},
	} {
		v.positive("http.timeouts."+t.key, int64(t.d))
	}
}

func (v *validator) grid(c *Config) {
	g := c.Grid
	v.Check(g.Name != "", "grid.name", "must name the grid")
	v.positive("grid.marker_ttl", int64(g.MarkerTTL))
	v.positive("grid.timeout", int64(g.Timeout))
	v.Take(c.grid(nil).Validate(), func(path string) (string, bool) {
		if path == "cluster.node" || strings.HasPrefix(path, "cluster.roles") {
			return "", false // they are node.name's and node.roles's
		}
		if path == "cluster" || strings.HasPrefix(path, "cluster.") {
			return path, true
		}
		return "grid." + path, path != "" // the place is node.data's or grid.url's
	})
	v.positive("cluster.timeout", int64(c.Cluster.Timeout))
	v.positive("cluster.grace", int64(c.Cluster.Grace))
	v.positive("cluster.moves", int64(c.Cluster.Moves))
	v.Check(!c.Cluster.set() || c.Cluster.Replicas != 0, "cluster.replicas", "0 must be 1, 3 or 5")
	v.oneOf("grid.sync", g.Sync, "interval", "always")
}

func (v *validator) cache(path, name string, c CacheConfig) {
	v.Check(!grid.IsSystem(name), path, "names that begin with _ are the system's")
	v.Take(c.cache(name).Validate(), under(path))
}

func (v *validator) model(path, name string, m ModelConfig) {
	if err := registry.CheckName(name, 0); err != nil {
		v.Add(path, "%v", err)
	}
	v.Check(m.Path != "", path+".path", "must name an ONNX file or a folder of versions")
	v.oneOf(path+".engine", m.Engine, "auto", "native", "onnxruntime")
	v.Take(m.options().Validate(), under(path))
	v.Check(m.Keep >= 1, path+".keep", "%d must be at least 1", m.Keep)
	if m.Scale != nil {
		v.finite(path+".scale", *m.Scale)
	}
	v.finite(path+".mean", m.Mean...)
	v.finite(path+".std", m.Std...)
	v.oneOf(path+".invert", m.Invert, "", "auto", "true", "false")
	v.oneOf(path+".layout", m.Layout, append([]string{""}, media.Layouts...)...)
	v.oneOf(path+".centre", m.Centre, "", "mnist", "none")
	v.oneOf(path+".orientation", m.Orientation, "", "exif", "ignore")
	v.oneOf(path+".output", m.Output, "", "auto", "probabilities", "logits", "log_probabilities")
	v.oneOf(path+".task", m.Task, "", "classification", "regression")
}

func (v *validator) pipelines(all map[string]PipelineConfig) {
	var configs []pipeline.Config
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		path := "pipelines." + name
		v.Take(p.pipeline(name, nil).Validate(), under(path))
		if p.Model != "" {
			if err := registry.CheckName(p.Model, 0); err != nil {
				v.Add(path+".model", "%v", err)
			}
		}
		configs = append(configs, p.pipeline(name, nil))
	}
	v.Take(pipeline.ValidateAll(configs), func(path string) (string, bool) { return fmt.Sprintf("pipelines.%s", path), true })
}
