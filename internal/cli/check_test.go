package cli_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/cli"
)

// readyWriter ends a node when it says that it is ready.
type readyWriter struct {
	bytes.Buffer
	ready context.CancelFunc
}

func (w *readyWriter) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("http")) {
		w.ready()
	}
	return w.Buffer.Write(p)
}

// run runs the command until it ends, or serves.
func run(t *testing.T, args ...string) (code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &readyWriter{ready: cancel}
	var faults bytes.Buffer
	code = cli.Main(ctx, args, cli.Process{Stdin: strings.NewReader(""), Stdout: out, Stderr: &faults})
	return code, faults.String()
}

// writePair writes a certificate of its own and its key.
func writePair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: cert}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheckSaysWhatServeDoes holds that serve --check accepts and refuses what serve does, with the same words.
func TestCheckSaysWhatServeDoes(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "one")
	writePair(t, dir, "two")
	for name, text := range map[string]string{"noise": "no PEM, no model", "versions/readme": "", "repo/m/1/model.onnx": "no model"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token := "tokens: [0123456789abcdef]"
	for _, c := range []struct {
		name, yaml string
		want       []string // in what is refused; none is accepted
	}{
		{"nothing", "", nil},
		{"a whole node", "caches: {a: {max_entries: 5, lifespan: 24h}}\nmodels: {m: {path: 'builtin:digits'}}\npipelines: {p: {from: a, model: m, to: b}}", nil},
		{"caches and models that are not there yet", "pipelines: {p: {from: a, model: nobody, to: b}}", nil},

		{"beyond loopback", "http: {listen: '0.0.0.0:0'}", []string{"http.listen: 0.0.0.0:0 is reached from other machines"}},
		{"every address", "http: {listen: ':0'}", []string{"http.listen: :0 is reached"}},
		{"no port", "http: {listen: 127.0.0.1}", []string{`http.listen: "127.0.0.1" is not HOST:PORT`}},
		{"a port that is none", "http: {listen: '127.0.0.1:99999'}", []string{"http.listen: ", `"99999" is not a port`}},
		{"a port by name", "http: {listen: '127.0.0.1:http'}", []string{"http.listen: ", `"http" is not a port`}},
		{"loopback in other words", "http: {listen: '[::ffff:127.0.0.1]:0'}", nil},
		{"a name of loopback", "http: {listen: 'LOCALHOST:0'}", nil},

		{"every origin without a token", "http: {cors: ['*']}", []string{`http.cors[0]: "*" would let`}},
		{"every origin with a token", "http: {cors: ['*'], " + token + "}", nil},
		{"origins", "http: {cors: ['https://a.example', 'http://localhost:3000', 'HTTPS://B.example']}", nil},
		{"what is no origin", "http: {cors: [a.example, 'https://a.example/x', 'ftp://a.example', 'https://', 'null']}",
			[]string{"http.cors[0]: ", "http.cors[1]: ", "http.cors[2]: ", "http.cors[3]: ", "http.cors[4]: "}},
		{"tokens", "http: {tokens: [short, '0123456789 abcdef']}", []string{"http.tokens[0]: has 5 characters", "http.tokens[1]: has characters"}},

		{"tls", "http: {tls: {cert: one.pem, key: one.key}}", nil},
		{"half of tls", "http: {tls: {cert: one.pem}}", []string{"http.tls: needs both cert and key"}},
		{"a certificate that is not there", "http: {tls: {cert: none.pem, key: one.key}}", []string{"http.tls.cert: stat "}},
		{"a key that is not there", "http: {tls: {cert: one.pem, key: none.key}}", []string{"http.tls.key: stat "}},
		{"another's key", "http: {tls: {cert: one.pem, key: two.key}}", []string{"http.tls: cert "}},
		{"no certificate", "http: {tls: {cert: noise, key: one.key}}", []string{"http.tls: cert "}},
		{"a folder as certificate", "http: {tls: {cert: versions, key: one.key}}", []string{"http.tls: cert "}},

		{"limits of 0", "http: {limits: {infer_body: 0, model_body: 0, header: 0, connections: 0}}",
			[]string{"http.limits.infer_body: ", "http.limits.model_body: ", "http.limits.header: ", "http.limits.connections: "}},
		{"limits that are too small or large", "http: {limits: {infer_body: 1, model_body: 3GiB, header: 100}}",
			[]string{"http.limits.infer_body: 1 ", "http.limits.model_body: 3221225472 ", "http.limits.header: 100 "}},
		{"negative limits", "http: {limits: {connections: -1}}", []string{"http.limits.connections: "}},
		{"a negative size", "http: {limits: {header: -1}}", []string{"http.limits.header: "}},
		{"times of 0", "http: {timeouts: {header: 0s, read: 0s, write: 0s, idle: 0s, drain: 0s}}\ngrid: {timeout: 0s, marker_ttl: 0s}",
			[]string{"http.timeouts.header: ", "http.timeouts.read: ", "http.timeouts.write: ", "http.timeouts.idle: ", "http.timeouts.drain: ", "grid.timeout: ", "grid.marker_ttl: "}},
		{"a time without a unit", "http: {timeouts: {read: 5}}", []string{"http.timeouts.read: "}},
		{"a negative time", "http: {timeouts: {read: -5s}}", []string{"http.timeouts.read: "}},
		{"a time that overflows", "http: {timeouts: {read: 9999999999h}}", []string{"http.timeouts.read: "}},
		{"the longest times", "http: {timeouts: {header: 2562047h, read: 2562047h, write: 2562047h, idle: 2562047h, drain: 2562047h}}\ngrid: {timeout: 2562047h}", nil},

		{"a grid that is none", "grid: {name: a b, partitions: 3, sync: never, marker_ttl: 10ms}", []string{"grid.name: ", "grid.partitions: ", "grid.sync: ", "grid.marker_ttl: "}},
		{"a marker time that overflows", "grid: {marker_ttl: 2000000h}", []string{"grid.marker_ttl: "}},
		{"no address", "grid: {url: 'http://h'}", []string{"grid.url: "}},
		{"settings of the server", "grid: {url: 'nats://127.0.0.1:1', sync: always, max_bytes: 1, max_memory: 1}",
			[]string{"grid.sync: ", "grid.max_bytes: ", "grid.max_memory: "}},

		{"a cache of the system", "caches: {_x: {}}", []string{"caches._x: "}},
		{"caches", "caches: {a b: {}, c: {class: fast, max_entries: -1, max_entry_bytes: 9MiB, lifespan: 1us, max_idle: 1ns}}",
			[]string{"caches.a b: ", "caches.c.class: ", "caches.c.max_entries: ", "caches.c.max_entry_bytes: ", "caches.c.lifespan: ", "caches.c.max_idle: "}},
		{"times that overflow", "caches: {c: {lifespan: 2000000h, max_idle: 2100000h}}", []string{"caches.c.lifespan: ", "caches.c.max_idle: "}},
		{"the longest lifespans", "caches: {c: {lifespan: 876000h, max_idle: 876000h}}", nil},
		{"a cache with a store", "stores: {cold: {type: disk, dir: cold}}\ncaches: {c: {max_entries: 5, store: cold, write: through, policy: lru}}", nil},
		{"no such store", "caches: {c: {store: cold}}", []string{`caches.c.store: "cold" is none of the stores`}},
		{"what is behind a cache", "caches: {c: {evict: sometimes, policy: mru, write: around}, d: {evict: store}, e: {write: through}, f: {preload: most}}\nstores: {s: {type: disk, dir: s}}",
			[]string{"caches.c.evict: ", "caches.c.policy: ", "caches.c.write: ", "caches.d.evict: ", "caches.e.write: ", "caches.f.preload: "}},
		{"stores", "stores: {a b: {type: disk, dir: x}, c: {}, d: {type: disk}, e: {type: disk, dir: x, pool: p}, f: {type: ceph, dir: x}, h: {type: s3, endpoint: x, key: k}}",
			[]string{"stores.a b: ", "stores.c.type: ", "stores.d.dir: ", "stores.e.pool: ", "stores.f.dir: ", "stores.f: ", "stores.h.endpoint: ", "stores.h.bucket: ", "stores.h.key: "}},
		{"a store in a file", "stores: {s: {type: disk, dir: noise}}", []string{"stores.s.dir: "}},
		{"a store in something else's folder", "stores: {s: {type: disk, dir: repo}}", []string{"stores.s.dir: "}},
		{"a name of 65 characters", "caches: {" + strings.Repeat("x", 65) + ": {}}", []string{"caches.xxx"}},

		{"a model that is not there", "models: {m: {path: none.onnx}}", []string{"models.m.path: stat "}},
		{"a folder without versions", "models: {m: {path: versions}}", []string{"models.m.path: folder "}},
		{"a file that is no model", "models: {m: {path: noise}}", nil}, // what serves goes on: the log says it
		{"a built-in that there is not", "models: {m: {path: 'builtin:nobody'}}", nil},
		{"models", "models: {'-m': {path: noise}, m: {path: noise, engine: gpu, device: tpu, threads: -1, precision: half, invert: maybe, layout: CHW}, n: {path: noise, device: cpu, tf32: true, memory_limit: 1GiB}}",
			[]string{"models.n.tf32: ", "models.n.memory_limit: ", "models.m.precision: ", "models.-m: ", "models.m.engine: ", "models.m.device: ", "models.m.threads: ", "models.m.invert: ", "models.m.layout: "}},
		{"a model's name with dots and blanks", "models: {'res net.v2': {path: noise}}\npipelines: {p: {from: a, model: 'res net.v2', to: b}}", nil},
		{"a repository", "model_repository: repo", nil},
		{"a repository that is not there", "model_repository: nowhere", []string{"model_repository: "}},
		{"an engine that there is not", "engine: gpu\nengines: {native: {threads: -1}, onnxruntime: {device: tpu, threads: -1}}",
			[]string{"engine: ", "engines.native.threads: ", "engines.onnxruntime.device: ", "engines.onnxruntime.threads: "}},
		{"settings of onnxruntime", "engines: {onnxruntime: {settings: {spinning: 'true', graph_optimization: basic, inter_op_threads: '2', config.session.disable_prepacking: '1'}}}", nil},
		{"settings that onnxruntime has not", "engines: {onnxruntime: {settings: {no_such: '1', graph_optimization: most, inter_op_threads: '0', mem_pattern: maybe, config.: x}}}",
			[]string{"engines.onnxruntime.settings.no_such: onnxruntime has no such setting (there is config.*, cpu_mem_arena, ", "engines.onnxruntime.settings.graph_optimization: \"most\" must be disable, basic, extended or all",
				"engines.onnxruntime.settings.inter_op_threads: ", "engines.onnxruntime.settings.mem_pattern: ", "engines.onnxruntime.settings.config.: "}},
		{"a library that is not there", "engines: {onnxruntime: {library: none.so}}", []string{"engines.onnxruntime.library: stat "}},
		{"digits that are not there", "http: {mnist: nowhere}", []string{"http.mnist: "}},

		{"a pipeline without its parts", "pipelines: {p: {}}", []string{"pipelines.p.from: is required", "pipelines.p.model: is required", "pipelines.p.to: is required"}},
		{"a pipeline of the system's caches", "pipelines: {p: {from: _models, model: m, to: b}}", []string{"pipelines.p.from: "}},
		{"settings of a pipeline", "pipelines: {p: {from: a, model: m, to: b, max_batch: 5000, start: now, on_remove: x, top: 2000, version: -1}}",
			[]string{"pipelines.p.max_batch: ", "pipelines.p.start: ", "pipelines.p.on_remove: ", "pipelines.p.top: ", "pipelines.p.version: "}},
		{"a pipeline that feeds itself", "pipelines: {p: {from: a, model: m, to: a}}", []string{"pipelines.p.to: must be another cache than from"}},
		{"errors among the results", "pipelines: {p: {from: a, model: m, to: b, errors: b}}", []string{"pipelines.p.errors: "}},
		{"there and back", "pipelines: {p: {from: a, model: m, to: b}, q: {from: b, model: m, to: a}}",
			[]string{"pipelines.p.to: the pipelines feed each other without end: p -> q -> p", "pipelines.q.to: "}},
		{"round three", "pipelines: {p: {from: a, model: m, to: b}, q: {from: b, model: m, to: c}, r: {from: c, model: m, to: a}}",
			[]string{"pipelines.p.to: the pipelines feed each other without end: p -> q -> r -> p"}},
		{"round by the errors", "pipelines: {p: {from: a, model: m, to: b}, q: {from: p-errors, model: m, to: a}}", []string{"pipelines.p.errors: "}},
		{"two of one name", "pipelines:\n  p: {from: a, model: m, to: b}\n  p: {from: b, model: m, to: c}", []string{"already defined"}},
		{"a chain", "pipelines: {p: {from: a, model: m, to: b}, q: {from: b, model: m, to: c}}", nil},

		{"a file as the data's folder", "node: {data: noise}", []string{"node.data: ", "noise is no folder"}},
		{"a folder in a file", "node: {data: noise/data}", []string{"node.data: ", "noise is no folder"}},
		{"a node without a name", "node: {name: '', data: ''}", []string{"node.name: ", "node.data: "}},
		{"a log that is none", "log: {level: loud, format: xml}", []string{"log.level: ", "log.format: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")+".yaml")
			if err := os.WriteFile(file, []byte(c.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"serve", "-c", file}
			if !strings.Contains(c.yaml, "listen:") {
				args = append(args, "--http", "127.0.0.1:0")
			}
			if !strings.Contains(c.yaml, "node:") {
				args = append(args, "--dir", filepath.Join(t.TempDir(), "data"))
			}
			checked, said := run(t, append(args, "--check")...)
			started, told := run(t, args...)
			want := 0
			if c.want != nil {
				want = 2
			}
			if checked != want || started != want {
				t.Fatalf("--check exits %d and serve %d, want %d\n--check: %s\nserve: %s", checked, started, want, said, told)
			}
			if want != 0 && said != told {
				t.Errorf("they say different things\n--check: %s\nserve: %s", said, told)
			}
			for _, w := range c.want {
				if !strings.Contains(said, w) {
					t.Errorf("%q is not in: %s", w, said)
				}
			}
		})
	}
}
