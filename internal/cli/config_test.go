package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/cli"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, text string, environ ...string) (app.Config, []string, error) {
	t.Helper()
	var warnings []string
	file := ""
	if text != "" {
		file = writeConfig(t, text)
	}
	c, err := cli.LoadConfig(file, environ, nil, func(w string) { warnings = append(warnings, w) })
	c.Engines.ONNXRuntime.Library = "" // whether this machine has one
	return c, warnings, err
}

func TestConfigDefaults(t *testing.T) {
	want := app.Defaults()
	for name, text := range map[string]string{"no file": "", "empty": "\n", "comment": "# nothing\n", "null": "http:\n"} {
		got, _, err := load(t, text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: not the defaults (-want +got):\n%s", name, diff)
		}
	}
}

func TestConfigReadsEveryKind(t *testing.T) {
	file := writeConfig(t, `
node: {name: n7, data: ./somewhere}
http:
  listen: 127.0.0.1:9090
  tokens: ["0123456789abcdef", '"fedcba9876543210']
  cors: https://example.com
  timeouts: {read: 1m30s}
grid: {partitions: 0x10, max_bytes: 2GiB, sync: always}
caches:
  digits: {max_entries: 10000, lifespan: 24h}
  predictions:
models:
  shipped: {path: "builtin:digits"}
  digits:
    path: /models/digits.onnx
    scale: 0.5
    mean: [1, 2.5]
    labels: [zero, 1, "no"]
    invert: true
pipelines:
  classify: {from: digits, model: digits, to: predictions}
`)
	got, err := cli.LoadConfig(file, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got.Engines.ONNXRuntime.Library = "" // whether this machine has one
	want := app.Defaults()
	want.Node = app.NodeConfig{Name: "n7", Data: app.Path(filepath.Join(filepath.Dir(file), "somewhere")), Roles: []string{"grid", "compute", "door"}}
	want.HTTP.Listen = "127.0.0.1:9090"
	want.HTTP.Tokens = []string{"0123456789abcdef", `"fedcba9876543210`}
	want.HTTP.CORS = []string{"https://example.com"}
	want.HTTP.Timeouts.Read = app.Duration(90 * time.Second)
	want.Grid.Partitions, want.Grid.MaxBytes, want.Grid.Sync = 16, 2<<30, "always"
	scale := 0.5
	want.Caches = map[string]app.CacheConfig{
		"digits":      {Class: "durable", MaxEntries: 10000, MaxEntryBytes: 1 << 20, Lifespan: app.Duration(24 * time.Hour)},
		"predictions": {Class: "durable", MaxEntryBytes: 1 << 20},
	}
	want.Models = map[string]app.ModelConfig{"shipped": {Path: "builtin:digits", Engine: "auto", Keep: 10}, "digits": {
		Path: "/models/digits.onnx", Engine: "auto", Keep: 10, Scale: &scale, Mean: []float64{1, 2.5},
		Labels: []string{"zero", "1", "no"}, Invert: "true",
	}}
	want.Pipelines = map[string]app.PipelineConfig{"classify": {
		From: "digits", Model: "digits", To: "predictions", Errors: "classify-errors",
		MaxBatch: 256, Start: "all", OnRemove: "remove", Top: 20, RunTimeout: app.Duration(30 * time.Second), Spread: "auto",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One look must find everything: each fault stands with its line, in one error.
func TestConfigReportsEveryFaultWithItsPlace(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string // after the file's name
	}{
		{"unknown keys", "http:\n  listne: 1\nchaches: {}\nnode: {colour: red}\n", []string{
			":2:3: http.listne: unknown key; did you mean listen?",
			":3:1: chaches: unknown key; did you mean caches?",
			":4:8: node.colour: unknown key",
		}},
		{"unknown key in a map", "caches:\n  digits:\n    max_entrys: 3\n", []string{
			":3:5: caches.digits.max_entrys: unknown key; did you mean max_entries?",
		}},
		{"wrong kinds", "http: 8080\ngrid:\n  partitions: many\n  max_bytes: [1]\n  marker_ttl: -1s\ncaches: [a]\nlog: {requests: yes}\n", []string{
			":1:7: http: must be keys with values, indented below it",
			`:3:15: grid.partitions: "many" must be a whole number`,
			":4:14: grid.max_bytes: must be a number, not a sequence",
			`:5:15: grid.marker_ttl: "-1s" is negative`,
			":6:9: caches: must be names with their settings, indented below it",
			`:7:17: log.requests: "yes" must be true or false`,
		}},
		{"values that do not fit", "grid:\n  partitions: 3\n  sync: never\npipelines:\n  p:\n    from: a\n    to: a\n    max_batch: 100000\nhttp: {listen: 0.0.0.0:80}\n", []string{
			":9:8: http.listen: 0.0.0.0:80 is reached from other machines: set http.tokens, or http.insecure (--insecure) to allow it without",
			":2:3: grid.partitions: 3 must be a power of two from 1 to 256, or 0",
			`:3:3: grid.sync: "never" must be one of interval, always`,
			":5:3: pipelines.p.model: is required",
			":7:5: pipelines.p.to: must be another cache than from: the pipeline would feed itself",
			":8:5: pipelines.p.max_batch: 100000 must be from 1 to 4096",
		}},
		{"anchors are refused", "node: &a {name: x}\nhttp: *a\n", []string{
			":1:7: node: anchors, aliases and tags cannot be used here",
			":2:7: http: anchors, aliases and tags cannot be used here",
		}},
		{"a key twice", "node: {name: a}\nnode: {name: b}\n", []string{`:2:1: mapping key "node" already defined at [1:1]`}},
		{"no YAML", "node: {name: [\n", []string{":1:14: sequence end token ']' not found"}},
		{"two documents", "node: {name: a}\n---\nnode: {name: b}\n", []string{": has more than one document"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := writeConfig(t, tc.text)
			_, err := cli.LoadConfig(file, nil, nil, nil)
			if err == nil {
				t.Fatal("was accepted")
			}
			want := make([]string, len(tc.want))
			for i, w := range tc.want {
				want[i] = file + w
			}
			if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigEnvironment(t *testing.T) {
	c, warnings, err := load(t, "http: {listen: 127.0.0.1:1}\ncaches: {old: {}}\n",
		"MILLRACE_HTTP_LISTEN=127.0.0.1:2",
		"MILLRACE_HTTP_TIMEOUTS_READ=7s",
		"MILLRACE_HTTP_TOKENS=[0123456789abcdef]",
		"MILLRACE_GRID_MAX_BYTES=5MB",
		"MILLRACE_LOG_REQUESTS=true",
		"MILLRACE_NODE_DATA=here",
		"MILLRACE_CACHES={digits: {max_entries: 5}}",
		"MILLRACE_SERVER=http://x", "MILLRACE_TOKEN=t", "MILLRACE_CONFIG=f", "OTHER=1",
		"MILLRACE_HTTP_LISTNE=1",
	)
	if err != nil {
		t.Fatal(err)
	}
	want := app.Defaults()
	want.HTTP.Listen, want.HTTP.Timeouts.Read = "127.0.0.1:2", app.Duration(7*time.Second)
	want.HTTP.Tokens = []string{"0123456789abcdef"}
	want.Grid.MaxBytes, want.Log.Requests, want.Node.Data = 5e6, true, "here"
	want.Caches = map[string]app.CacheConfig{"digits": {Class: "durable", MaxEntries: 5, MaxEntryBytes: 1 << 20}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	unknown := "the environment variable MILLRACE_HTTP_LISTNE is not known and has no effect; did you mean MILLRACE_HTTP_LISTEN?"
	if !slices.Equal(warnings, []string{unknown}) {
		t.Errorf("warnings %q, want %q", warnings, unknown)
	}
}

func TestConfigEnvironmentFaults(t *testing.T) {
	_, _, err := load(t, "",
		"MILLRACE_GRID_PARTITIONS=x", "MILLRACE_HTTP_TOKENS=[", "MILLRACE_CACHES={d: {clss: durable}}")
	want := []string{
		`MILLRACE_GRID_PARTITIONS: "x" must be a whole number`,
		"MILLRACE_HTTP_TOKENS: must be YAML, such as [a, b] or {name: {key: value}}",
		"MILLRACE_CACHES:1:6: d.clss: unknown key; did you mean class?",
	}
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is missing in:\n%v", w, err)
		}
	}
}

func TestConfigOverrideComesLast(t *testing.T) {
	c, err := cli.LoadConfig(writeConfig(t, "http: {listen: 127.0.0.1:1}"), []string{"MILLRACE_HTTP_LISTEN=127.0.0.1:2"},
		func(c *app.Config) { c.HTTP.Listen = "127.0.0.1:3" }, nil)
	if err != nil || c.HTTP.Listen != "127.0.0.1:3" {
		t.Errorf("listen %q, error %v; want 127.0.0.1:3", c.HTTP.Listen, err)
	}
}

func TestConfigMissingFile(t *testing.T) {
	if _, err := cli.LoadConfig(filepath.Join(t.TempDir(), "none.yaml"), nil, nil, nil); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestDidYouMean(t *testing.T) {
	for _, tc := range []struct{ word, want string }{
		{"lsiten", "; did you mean listen?"}, {"liste", "; did you mean listen?"}, {"Tls", "; did you mean tls?"},
		{"x", ""}, {"", ""}, {"completely-else", ""},
	} {
		if got := cli.DidYouMean(tc.word, []string{"listen", "tls", "tokens"}); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.word, got, tc.want)
		}
	}
}

// FuzzConfig holds the decoder against hostile files: an error or a configuration, never a panic.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a: b", "node: {name: n1}", "caches: {a: {max_bytes: 1GiB}}", "http:\n  tokens:\n  - a\n  - b\n",
		"&a a: *a", "<<: {a: b}", "? [a]\n: b", "- - - -", "{{{{", "a: |\n  x\n y", "\x00", "!!binary a", "node: {data: \"\\x", "models: {m: {scale: .inf}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := app.Defaults()
		if err := cli.DecodeYAML("fuzz.yaml", data, &c); err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.yaml") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		c.Complete()
		if err := c.Validate(); err == nil {
			again := c
			again.Complete()
			if diff := cmp.Diff(c, again); diff != "" {
				t.Errorf("completing twice changes it:\n%s", diff)
			}
		}
	})
}

// The example in docs/config.md must be a configuration.
func TestConfigDocExampleLoads(t *testing.T) {
	page, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/config.md has no example")
	}
	c, _, err := load(t, example)
	if err != nil || c.Pipelines["classify"].MaxBatch != 64 {
		t.Errorf("the example gives %+v, %v", c.Pipelines, err)
	}
}
