package app_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/app"
)

func TestDefaultsAreValid(t *testing.T) {
	c := app.Defaults()
	c.Complete()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func inCluster(c *app.Config) {
	c.Cluster.Name, c.Cluster.Listen, c.Cluster.Seeds, c.Cluster.Secret = "c", "127.0.0.1:1", []string{"127.0.0.1:2"}, "0123456789abcdef"
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	pipe := app.PipelineConfig{From: "a", Model: "m", To: "b"}
	for _, tc := range []struct {
		name   string
		change func(*app.Config)
		want   []string // the paths of the faults
	}{
		{"nothing", func(*app.Config) {}, nil},
		{"node", func(c *app.Config) { c.Node = app.NodeConfig{Name: "a b"} }, []string{"node.name", "node.data", "node.roles"}},
		{"roles of a node alone", func(c *app.Config) { c.Node.Roles = []string{"grid", "door"} }, []string{"node.roles"}},
		{"all roles of a node alone", func(c *app.Config) { c.Node.Roles = []string{"door", "compute", "grid"} }, nil},
		{"roles that are none", func(c *app.Config) { inCluster(c); c.Node.Roles = []string{"grid", "master", "grid"} }, []string{"node.roles[1]", "node.roles[2]"}},
		{"no role", func(c *app.Config) { inCluster(c); c.Node.Roles = []string{} }, []string{"node.roles"}},
		{"a door that waits for a grid", func(c *app.Config) { inCluster(c); c.Node.Roles, c.Cluster.Grow = []string{"door"}, true }, []string{"cluster.grow"}},
		{"a door", func(c *app.Config) { inCluster(c); c.Node.Roles = []string{"door"} }, nil},
		{"beyond loopback", func(c *app.Config) { c.HTTP.Listen = ":8080" }, []string{"http.listen"}},
		{"beyond loopback with a token", func(c *app.Config) { c.HTTP.Listen = ":8080"; c.HTTP.Tokens = []string{"0123456789abcdef"} }, nil},
		{"beyond loopback, insecure", func(c *app.Config) { c.HTTP.Listen = "0.0.0.0:80"; c.HTTP.Insecure = true }, nil},
		{"IPv6 loopback", func(c *app.Config) { c.HTTP.Listen = "[::1]:0" }, nil},
		{"no port", func(c *app.Config) { c.HTTP.Listen = "127.0.0.1" }, []string{"http.listen"}},
		{"bad port", func(c *app.Config) { c.HTTP.Listen = "127.0.0.1:99999" }, []string{"http.listen"}},
		{"half of tls", func(c *app.Config) { c.HTTP.TLS.Cert = "x" }, []string{"http.tls"}},
		{"tokens", func(c *app.Config) { c.HTTP.Tokens = []string{"short", "0123456789abc ef"} }, []string{"http.tokens[0]", "http.tokens[1]"}},
		{"origins", func(c *app.Config) { c.HTTP.CORS = []string{"https://a.example", "a.example", "https://a.example/x"} }, []string{"http.cors[1]", "http.cors[2]"}},
		{"limits", func(c *app.Config) { c.HTTP.Limits = app.HTTPLimits{} }, []string{"http.limits.infer_body", "http.limits.model_body", "http.limits.header", "http.limits.connections", "http.limits.connections_per_address", "http.limits.body_rate"}},
		{"timeouts", func(c *app.Config) { c.HTTP.Timeouts = app.HTTPTimeouts{} }, []string{"http.timeouts.header", "http.timeouts.read", "http.timeouts.write", "http.timeouts.infer", "http.timeouts.idle", "http.timeouts.drain"}},
		{"partitions", func(c *app.Config) { c.Grid.Partitions = 512 }, []string{"grid.partitions"}},
		{"sync", func(c *app.Config) { c.Grid.Sync = "5s" }, []string{"grid.sync"}},
		{"server's settings", func(c *app.Config) { c.Grid.URL, c.Grid.Sync, c.Grid.MaxBytes = "nats://h:1", "always", 1 }, []string{"grid.sync", "grid.max_bytes"}},
		{"address", func(c *app.Config) { c.Grid.URL = "http://h" }, []string{"grid.url"}},
		{"engine", func(c *app.Config) { c.Engine = "gpu"; c.Engines.ONNXRuntime.Device = "tpu" }, []string{"engine", "engines.onnxruntime.device"}},
		{"caches", func(c *app.Config) {
			c.Caches = map[string]app.CacheConfig{"a b": {}, "_x": {}, "c": {Class: "fast", MaxEntries: -1, MaxEntryBytes: 9 << 20}}
		}, []string{"caches._x", "caches.a b", "caches.c.class", "caches.c.max_entries", "caches.c.max_entry_bytes"}},
		{"a folder for a cluster", func(c *app.Config) {
			inCluster(c)
			c.Stores = map[string]app.StoreConfig{"a": {Type: "disk", Dir: "x"}, "b": {Type: "s3", Endpoint: "http://h", Bucket: "bucket"}}
		}, []string{"stores.a.type"}},
		{"models", func(c *app.Config) {
			c.Models = map[string]app.ModelConfig{"m": {Scale: &nan, Mean: []float64{math.Inf(1)}, Layout: "CHW", Invert: "maybe"}}
		}, []string{"models.m.path", "models.m.scale", "models.m.mean", "models.m.invert", "models.m.layout"}},
		{"pipelines", func(c *app.Config) {
			c.Pipelines = map[string]app.PipelineConfig{"p": {From: "a", Errors: "a", Version: -1, MaxBatch: -1, Start: "now", OnRemove: "x", Top: -1}}
		}, []string{"pipelines.p.model", "pipelines.p.to", "pipelines.p.errors", "pipelines.p.version", "pipelines.p.max_batch", "pipelines.p.start", "pipelines.p.on_remove", "pipelines.p.top"}},
		{"a chain", func(c *app.Config) {
			next := pipe
			next.From, next.To = "b", "c"
			c.Pipelines = map[string]app.PipelineConfig{"p": pipe, "q": next}
		}, nil},
		{"a circle", func(c *app.Config) {
			next := pipe
			next.From, next.To = "b", "a"
			c.Pipelines = map[string]app.PipelineConfig{"p": pipe, "q": next}
		}, []string{"pipelines.p.to", "pipelines.q.to"}},
		{"log", func(c *app.Config) { c.Log = app.LogConfig{} }, []string{"log.level", "log.format"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := app.Defaults()
			tc.change(&c)
			c.Complete()
			var faults app.ConfigErrors
			err := c.Validate()
			if err != nil && !errors.As(err, &faults) {
				t.Fatalf("error %v is not ConfigErrors", err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Path)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("faults at %q, want %q:\n%v", got, tc.want, err)
			}
		})
	}
}

func TestModelOverrides(t *testing.T) {
	zero := 0.0
	m := app.ModelConfig{Labels: []string{`a"b`}, Scale: &zero, Mean: []float64{0.5}, Invert: "auto"}
	want := map[string]string{"labels": `["a\"b"]`, "scale": "0", "mean": "[0.5]", "invert": "auto"}
	if diff := cmp.Diff(want, m.Overrides()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := (app.ModelConfig{Path: "x"}).Overrides(); len(got) > 0 {
		t.Errorf("no keys, but overrides %v", got)
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{"24h": 24 * time.Hour, "250ms": 250 * time.Millisecond, "1m30s": 90 * time.Second, "0s": 0, "0": 0} {
		var d app.Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || time.Duration(d) != want {
			t.Errorf("%q: %v, %v; want %v", in, d, err, want)
		}
		var again app.Duration
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q is written %q, which reads as %v, %v", in, d, again, err)
		}
	}
	for _, in := range []string{"", "5", "-1s", "1 day"} {
		var d app.Duration
		if err := d.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q reads as %v", in, d)
		}
	}
	if got := app.Duration(24 * time.Hour).String(); got != "24h" {
		t.Errorf("24 hours are written %q", got)
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]app.Size{
		"0": 0, "512": 512, "512B": 512, "64KiB": 64 << 10, "8 MiB": 8 << 20, "2gib": 2 << 30, "1TiB": 1 << 40,
		"1.5GiB": 3 << 29, "5MB": 5e6, "3kB": 3000,
	} {
		var s app.Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%q: %d, %v; want %d", in, s, err, want)
		}
		var again app.Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q is written %q, which reads as %v, %v", in, s, again, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "many", "nan", "inf", "1e30", "9223372036854775807", "1PiB"} {
		var s app.Size
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q reads as %d", in, s)
		}
	}
}
