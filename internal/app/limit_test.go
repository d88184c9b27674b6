package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/tensor"
)

// hungry is a model's file: y = x, and on the way a tensor with as many rows of 1 MiB as x says.
func hungry(t *testing.T) []byte {
	t.Helper()
	b := graph.NewBuilder("hungry")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}})
	most := b.Op("ReduceMax", graph.Attrs{"keepdims": int64(0)}, x)
	rows := b.Op("Reshape", nil, b.Op("Cast", graph.Attrs{"to": int64(7)}, most), b.Ints(1))
	zeros := b.Op("ConstantOfShape", nil, b.Op("Concat", graph.Attrs{"axis": int64(0)}, rows, b.Ints(1<<18)))
	b.Output(b.Name(b.Op("Add", nil, x, b.Op("ReduceMax", graph.Attrs{"keepdims": int64(0)}, zeros)), "y"))
	return fileOf(t, b)
}

// A run that needs more memory than it may have is too_large in every protocol and in a pipeline's errors, with the name of what is over; runs
// before and after it are as they were.
func TestRunsThatNeedTooMuchMemory(t *testing.T) {
	for _, c := range []struct {
		name, engine string
		change       func(*app.NativeConfig)
		rows         int64
		says         string
	}{
		{"a tensor", "native", func(c *app.NativeConfig) { c.MaxTensorBytes = 8 << 20 }, 9, "engines.native.max_tensor_bytes"},
		{"a run", "native", func(c *app.NativeConfig) { c.MaxRunBytes = 8 << 20 }, 9, "engines.native.max_run_bytes"},
		{"by default", "native", nil, 1 << 20, "engines.native.max_tensor_bytes"},
		{"the machine", "onnxruntime", nil, 1 << 22, "the machine's memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.engine == "onnxruntime" {
				cfg := onnxruntime.Config{Paths: onnxruntime.SearchPaths(os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), "")}
				if _, err := cfg.Find(); err != nil && os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				if _, err := onnxruntime.New(cfg); err != nil {
					t.Skip(err) // the library is not here, or a build without cgo
				}
			}
			file := filepath.Join(t.TempDir(), "hungry.onnx")
			if err := os.WriteFile(file, hungry(t), 0o644); err != nil {
				t.Fatal(err)
			}
			url := run(t, func(cfg *app.Config) {
				cfg.Engine = c.engine
				if c.engine == "onnxruntime" {
					cfg.Engines.ONNXRuntime.Library = app.Path(os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"))
				}
				if c.change != nil {
					c.change(&cfg.Engines.Native)
				}
				cfg.Models = map[string]app.ModelConfig{"m": {Path: app.Path(file)}}
				cfg.Pipelines = map[string]app.PipelineConfig{"p": {From: "in", Model: "m", To: "out"}}
			})
			ask := func(path, body string, rows int64, wants int) {
				t.Helper()
				status, answer := send(t, "POST", url+path, fmt.Appendf(nil, body, rows))
				if status != wants {
					t.Fatalf("%s with %d: %d %s", path, rows, status, answer)
				}
				if wants == http.StatusOK {
					return
				}
				var e struct{ Code, Error string }
				if err := json.Unmarshal([]byte(answer), &e); err != nil || e.Code != "too_large" || !strings.Contains(e.Error, c.says) {
					t.Errorf("%s: %s %v", path, answer, err)
				}
			}
			for _, wants := range []int{200, 413, 200} {
				rows := int64(2)
				if wants == 413 {
					rows = c.rows
				}
				ask("v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[%d]}]}`, rows, wants)
				ask("v1/models/m:predict", `{"instances":[[%d]]}`, rows, wants)
			}
			put := func(key string, rows int64) {
				t.Helper()
				if status, body := send(t, "PUT", url+"rest/v2/caches/in/"+key, fmt.Appendf(nil, "[%d]", rows)); status >= 300 {
					t.Fatalf("%d %s", status, body)
				}
			}
			for _, e := range []struct {
				key, cache, code, says string
				rows                   int64
			}{{"a", "out", "", `"outputs"`, 2}, {"b", "p-errors", "too_large", c.says, c.rows}, {"c", "out", "", `"outputs"`, 2}} {
				put(e.key, e.rows)
				status, body := 0, ""
				for end := time.Now().Add(time.Minute); status != 200 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					status, body = send(t, "GET", url+"rest/v2/caches/"+e.cache+"/"+e.key, nil)
				}
				var entry struct{ Code string }
				if err := json.Unmarshal([]byte(body), &entry); err != nil || status != 200 || entry.Code != e.code || !strings.Contains(body, e.says) {
					t.Errorf("%s of %s: %d %s %v", e.key, e.cache, status, body, err)
				}
			}
		})
	}
}

// endless is a model's file: y = x after a loop that goes on while the largest number of x is over 0.
func endless(t *testing.T) []byte {
	t.Helper()
	rows := graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}}
	node := func(op string, in []string, out ...string) *graph.Node {
		return &graph.Node{Name: out[0] + "Of", OpType: op, Inputs: in, Outputs: out}
	}
	largest := node("ReduceMax", []string{"s"}, "m")
	largest.Attrs = graph.Attrs{"keepdims": int64(0)}
	loop := node("Loop", []string{"turns", "yes", "x"}, "y")
	loop.Attrs = graph.Attrs{"body": &graph.Graph{
		Name:    "turn",
		Inputs:  []graph.Value{{Name: "i", DType: tensor.Int64, Shape: graph.Shape{}}, {Name: "c", DType: tensor.Bool, Shape: graph.Shape{}}, {Name: "s", DType: tensor.Float32, Shape: rows}},
		Outputs: []graph.Value{{Name: "go", DType: tensor.Bool, Shape: graph.Shape{}}, {Name: "t", DType: tensor.Float32, Shape: rows}},
		Nodes:   []*graph.Node{largest, node("Greater", []string{"m", "least"}, "go"), node("Identity", []string{"s"}, "t")},
	}}
	data, err := onnx.Encode(&graph.Graph{
		Name: "endless", Opset: map[string]int64{"": 17},
		Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: rows}}, Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: rows}},
		Initializers: []graph.Initializer{
			{Name: "turns", Tensor: tensor.Scalar(int64(1) << 62)}, {Name: "yes", Tensor: tensor.Scalar(true)}, {Name: "least", Tensor: tensor.Scalar(float32(0))},
		},
		Nodes: []*graph.Node{loop},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A run of the Open Inference Protocol that does not end is ended, and the model goes on.
func TestInferTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "endless.onnx")
	if err := os.WriteFile(file, endless(t), 0o644); err != nil {
		t.Fatal(err)
	}
	url := run(t, func(c *app.Config) {
		c.Engine, c.HTTP.Timeouts.Infer = "native", app.Duration(200*time.Millisecond)
		c.Models = map[string]app.ModelConfig{"m": {Path: app.Path(file)}}
	})
	for _, c := range []struct{ x, status int }{{-1, 200}, {1, 504}, {-1, 200}} {
		status, body := send(t, "POST", url+"v2/models/m/infer", fmt.Appendf(nil, `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[%d]}]}`, c.x))
		if status != c.status || status == 504 && (!strings.Contains(body, `"code":"timeout"`) || !strings.Contains(body, "http.timeouts.infer")) {
			t.Errorf("%d: %d %s", c.x, status, body)
		}
		if status, body := send(t, "POST", url+"v1/models/m:predict", fmt.Appendf(nil, `{"instances":[[%d]]}`, c.x)); status != c.status {
			t.Errorf("v1 %d: %d %s", c.x, status, body)
		}
	}
}
