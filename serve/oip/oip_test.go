package oip_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/batching"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a server of models on loopback, on the native engine.
type node struct {
	t        testing.TB
	registry *registry.Registry
	addr     string
	url      string
	client   *http.Client
}

func newRegistry(t testing.TB) *registry.Registry {
	t.Helper()
	g, err := grid.Open(t.Context(), grid.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	e := native.New(native.Config{})
	r, err := registry.Open(t.Context(), g, registry.Config{
		Open: func(ctx context.Context, m *model.Model, _ registry.Settings, _ bool) (engine.Session, string, error) {
			s, err := e.Open(ctx, m.Graph, engine.Options{Threads: 1})
			if err != nil {
				return nil, "", err
			}
			gathering, err := batching.New(s, batching.Options{})
			return gathering, e.Name(), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func start(t testing.TB, cfg oip.Config, scfg serve.Config) *node {
	t.Helper()
	return startLogged(t, cfg, scfg, nil)
}

func startLogged(t testing.TB, cfg oip.Config, scfg serve.Config, log *slog.Logger) *node {
	t.Helper()
	r := newRegistry(t)
	if cfg.Models == nil {
		cfg.Models = r
	}
	h, err := oip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var routes serve.Routes
	for _, p := range oip.Prefixes() {
		routes.Handle(p, h)
	}
	scfg.Listen = "127.0.0.1:0"
	s, err := serve.New(scfg, &routes, log)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &node{t, r, ln.Addr().String(), "http://" + ln.Addr().String(), &http.Client{Transport: tr, Timeout: 30 * time.Second}}
}

// add serves a graph as a version of a model.
func (n *node) add(name string, version int64, g *graph.Graph) {
	n.t.Helper()
	m, err := model.New(g)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addModel(name, version, m)
}

func (n *node) addModel(name string, version int64, m *model.Model) {
	n.t.Helper()
	m, err := m.With(name, version, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.registry.Add(m, "test"); err != nil {
		n.t.Fatal(err)
	}
	h, err := n.registry.Acquire(n.t.Context(), name, version)
	if err != nil {
		n.t.Fatal(err)
	}
	h.Release()
}

// value declares a tensor whose first dimension is free; -1 is another free one.
func value(name string, dtype tensor.DType, dims ...int) graph.Value {
	shape := graph.Shape{{Size: -1, Symbol: "N"}}
	return graph.Value{Name: name, DType: dtype, Shape: append(shape, graph.Dims(dims...)...)}
}

func newGraph(ins, outs []graph.Value, nodes ...*graph.Node) *graph.Graph {
	return &graph.Graph{Name: "test", IRVersion: 8, Opset: map[string]int64{"": 17}, Inputs: ins, Outputs: outs, Nodes: nodes}
}

func identity(dtype tensor.DType) *graph.Graph {
	return newGraph([]graph.Value{value("x", dtype, -1)}, []graph.Value{value("y", dtype, -1)},
		&graph.Node{OpType: "Identity", Inputs: []string{"x"}, Outputs: []string{"y"}})
}

func scale(by float32) *graph.Graph {
	g := newGraph([]graph.Value{value("x", tensor.Float32, 4)}, []graph.Value{value("y", tensor.Float32, 4)},
		&graph.Node{OpType: "Mul", Inputs: []string{"x", "by"}, Outputs: []string{"y"}})
	g.Initializers = []graph.Initializer{{Name: "by", Tensor: tensor.Scalar(by)}}
	return g
}

func addsub() *graph.Graph {
	return newGraph([]graph.Value{value("INPUT0", tensor.Int32, 16), value("INPUT1", tensor.Int32, 16)},
		[]graph.Value{value("OUTPUT0", tensor.Int32, 16), value("OUTPUT1", tensor.Int32, 16)},
		&graph.Node{OpType: "Add", Inputs: []string{"INPUT0", "INPUT1"}, Outputs: []string{"OUTPUT0"}},
		&graph.Node{OpType: "Sub", Inputs: []string{"INPUT0", "INPUT1"}, Outputs: []string{"OUTPUT1"}})
}

var identities = map[string]tensor.DType{
	"bool": tensor.Bool, "uint8": tensor.Uint8, "uint16": tensor.Uint16, "uint32": tensor.Uint32, "uint64": tensor.Uint64, "int8": tensor.Int8,
	"int16": tensor.Int16, "int32": tensor.Int32, "int64": tensor.Int64, "fp16": tensor.Float16, "fp32": tensor.Float32, "fp64": tensor.Float64,
	"bytes": tensor.String, "bf16": tensor.BFloat16,
}

// addAll serves the models that the recordings are of, but for mnist.
func (n *node) addAll() {
	n.add("addsub", 1, addsub())
	n.add("scale", 1, scale(1))
	n.add("scale", 2, scale(2))
	for name, d := range identities {
		n.add("identity_"+name, 1, identity(d))
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (n *node) do(method, path, body string, headers ...string) answer {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	resp, err := n.client.Do(r)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (n *node) want(status int, method, path, body string, headers ...string) answer {
	n.t.Helper()
	a := n.do(method, path, body, headers...)
	if a.status != status {
		n.t.Fatalf("%s %s %.200q: %d %.500q, want %d", method, path, body, a.status, a.body, status)
	}
	return a
}

func TestInfer(t *testing.T) {
	n := start(t, oip.Config{Version: "1.2.3"}, serve.Config{})
	n.addAll()
	a := n.want(200, "POST", "/v2/models/scale/infer", `{"id":"a\"b","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4.5]}]}`)
	if a.body != `{"model_name":"scale","model_version":"2","id":"a\"b","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[2,4,6,9]}]}` ||
		a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", a.body, a.header)
	}
	a = n.want(200, "POST", "/v2/models/scale/versions/1/infer", `{"inputs":[{"data":[[1,2,3,4],[5,6,7,8]],"name":"x","shape":[2,4],"datatype":"FP32"}]}`)
	if !strings.Contains(a.body, `"model_version":"1"`) || !strings.Contains(a.body, `"data":[1,2,3,4,5,6,7,8]`) || strings.Contains(a.body, `"id"`) {
		t.Error(a.body)
	}
	if a := n.want(200, "GET", "/v2", ""); a.body != `{"name":"millrace","version":"1.2.3","extensions":["binary_tensor_data","model_repository_index"]}`+"\n" {
		t.Error(a.body)
	}
	a = n.want(200, "GET", "/v2/models/scale", "")
	if a.body != `{"name":"scale","versions":["1","2"],"platform":"onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4]}]}`+"\n" {
		t.Error(a.body)
	}
	n.want(200, "GET", "/v2/models/scale/versions/2/ready", "")
	n.want(404, "GET", "/v2/models/scale/versions/3/ready", "")
	n.want(405, "GET", "/v2/models/scale/infer", "")
	n.want(405, "POST", "/v2/models/scale", "")
	n.want(405, "GET", "/v2/repository/index", "")
	n.want(405, "DELETE", "/v2", "")
	n.want(404, "GET", "/v2/models/scale/other", "")
	n.want(404, "GET", "/v2/nothing", "")
}

func TestConfigValidate(t *testing.T) {
	if _, err := oip.New(oip.Config{MaxBody: -1, Timeout: -1}); err == nil || err.Error() != "oip: models: is required\nmax_body: -1 must be from 1024 to 1099511627776\ntimeout: -1ns must not be negative" {
		t.Errorf("faults: %v", err)
	}
}

// TestBatches sends many requests of one model at once: each gets its own answer, whatever ran with it.
func TestBatches(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	n.addAll()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 30 {
				rows := 1 + (i+j)%3
				first := i*1000 + j
				var data, want []string
				for k := range rows * 4 {
					data = append(data, fmt.Sprint(first+k))
					want = append(want, fmt.Sprint(2*(first+k)))
				}
				body := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,4],"datatype":"FP32","data":[%s]}]}`, rows, strings.Join(data, ","))
				resp, err := n.client.Post(n.url+"/v2/models/scale/infer", "application/json", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), `"data":[`+strings.Join(want, ",")+`]`) {
					t.Errorf("%d %v %s, want %v", resp.StatusCode, err, b, want)
					return
				}
				text := fmt.Sprintf("%d-%d", i, j)
				resp, err = n.client.Post(n.url+"/v2/models/identity_bytes/infer", "", strings.NewReader(
					fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,%d],"datatype":"BYTES","data":["%s"%s]}]}`, rows, text, strings.Repeat(`,""`, rows-1))))
				if err != nil {
					t.Error(err)
					return
				}
				b, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), `"data":["`+text+`"`) {
					t.Errorf("%d %v %s, want %s", resp.StatusCode, err, b, text)
					return
				}
			}
		})
	}
	wg.Wait()
}
