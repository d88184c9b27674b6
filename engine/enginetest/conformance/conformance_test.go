package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// model is y = op(x).
func model(op string) *graph.Graph {
	v := func(name string) graph.Value {
		return graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Dims(3)}
	}
	return &graph.Graph{Name: op, Opset: map[string]int64{"": 17}, Inputs: []graph.Value{v("x")}, Outputs: []graph.Value{v("y")},
		Nodes: []*graph.Node{{OpType: op, Inputs: []string{"x"}, Outputs: []string{"y"}}}}
}

// write writes a case: a model, and for each set its input and output.
func write(t *testing.T, dir string, g *graph.Graph, sets ...[2]*tensor.Tensor) {
	t.Helper()
	put := func(name string, data []byte, err error) {
		if err == nil {
			if err = os.MkdirAll(filepath.Dir(name), 0o777); err == nil {
				err = os.WriteFile(name, data, 0o666)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := onnx.Encode(g)
	put(filepath.Join(dir, "model.onnx"), data, err)
	for i, s := range sets {
		set := filepath.Join(dir, "test_data_set_"+string(rune('0'+i)))
		data, err := onnx.EncodeTensor("x", s[0])
		put(filepath.Join(set, "input_0.pb"), data, err)
		data, err = onnx.EncodeTensor("y", s[1])
		put(filepath.Join(set, "output_0.pb"), data, err)
	}
}

func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	x, y := tensor.Vector[float32](1, -2, 3), tensor.Vector[float32](1, 0, 3)
	write(t, filepath.Join(dir, "a", "good"), model("Relu"), [2]*tensor.Tensor{x, y}, [2]*tensor.Tensor{y, y})
	write(t, filepath.Join(dir, "a", "near"), model("Relu"), [2]*tensor.Tensor{x, tensor.Vector[float32](1.0005, 0, 3)})
	write(t, filepath.Join(dir, "second set is wrong"), model("Relu"), [2]*tensor.Tensor{x, y}, [2]*tensor.Tensor{x, x})
	write(t, filepath.Join(dir, "shape"), model("Relu"), [2]*tensor.Tensor{x, tensor.Vector[float32](1, 0)})
	write(t, filepath.Join(dir, "type"), model("Relu"), [2]*tensor.Tensor{x, tensor.Vector(1.0, 0, 3)})
	write(t, filepath.Join(dir, "unknown"), model("Frobnicate"), [2]*tensor.Tensor{x, y})
	write(t, filepath.Join(dir, "no data"), model("Relu"))
	write(t, filepath.Join(dir, "broken"), model("Relu"), [2]*tensor.Tensor{x, y})
	if err := os.WriteFile(filepath.Join(dir, "broken", "model.onnx"), []byte("not a model"), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := conformance.Run(t.Context(), dir, native.New(native.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		verdict conformance.Verdict
		reason  string
	}{
		"a/good":              {conformance.Passed, ""},
		"a/near":              {conformance.Passed, "ONNX's tolerance"},
		"second set is wrong": {conformance.Wrong, "test_data_set_1"},
		"shape":               {conformance.Wrong, "[2]"},
		"type":                {conformance.Wrong, "float64"},
		"unknown":             {conformance.Refused, "Frobnicate"},
		"no data":             {conformance.Wrong, "test_data_set_0"},
		"broken":              {conformance.Wrong, "ONNX"},
	}
	if r.Total != len(want) || r.Passed != 2 || r.Wrong != 5 || r.Refused != 1 || r.Crashed != 0 {
		t.Errorf("totals are %+v", r.Totals)
	}
	for _, c := range r.Cases {
		w, ok := want[c.Name]
		if !ok || c.Verdict != w.verdict || !strings.Contains(c.Reason, w.reason) || w.reason == "" && c.Reason != "" {
			t.Errorf("%q: %s %q, want %s %q", c.Name, c.Verdict, c.Reason, w.verdict, w.reason)
		}
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"total":8,"passed":2,"wrong":5,"crashed":0,"refused":1`) {
		t.Errorf("%s, %v", text, err)
	}
}

// crasher opens everything and panics in its runs, or says that it did.
type crasher struct {
	engine.Engine
	engine.Session
	err error
}

func (c crasher) Name() string { return "crasher" }
func (c crasher) Open(context.Context, *graph.Graph, engine.Options) (engine.Session, error) {
	return c, nil
}
func (c crasher) Inputs() []graph.Value  { return model("Relu").Inputs }
func (c crasher) Outputs() []graph.Value { return model("Relu").Outputs }
func (c crasher) Close() error           { return nil }
func (c crasher) Run(context.Context, []*tensor.Tensor, []*tensor.Tensor) error {
	if c.err == nil {
		panic("on purpose")
	}
	return c.err
}

func TestCrashes(t *testing.T) {
	dir := t.TempDir()
	x := tensor.Vector[float32](1, 2, 3)
	write(t, dir, model("Relu"), [2]*tensor.Tensor{x, x})
	for _, e := range []crasher{{}, {err: engine.ErrPanic}} {
		r, err := conformance.Run(t.Context(), dir, e)
		if err != nil || r.Crashed != 1 || r.Total != 1 || r.Cases[0].Reason == "" {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

func TestRunFails(t *testing.T) {
	if _, err := conformance.Run(t.Context(), t.TempDir(), native.New(native.Config{})); err == nil {
		t.Error("a folder without cases gave a report")
	}
	if _, err := conformance.Run(t.Context(), filepath.Join(t.TempDir(), "missing"), native.New(native.Config{})); err == nil {
		t.Error("a folder that is not there gave a report")
	}
	dir := t.TempDir()
	x := tensor.Vector[float32](1, 2, 3)
	write(t, dir, model("Relu"), [2]*tensor.Tensor{x, x})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := conformance.Run(ctx, dir, native.New(native.Config{})); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAlike(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	half := func(v ...float32) *tensor.Tensor {
		h := make([]tensor.Half, len(v))
		for i, x := range v {
			h[i] = tensor.HalfOf(x)
		}
		return tensor.Vector(h...)
	}
	ulps := func(n tensor.Half) *tensor.Tensor { return tensor.Vector(tensor.HalfOf(1) + n) }
	for name, c := range map[string]struct {
		got, want *tensor.Tensor
		alike     bool
	}{
		"same":            {tensor.Vector[float32](1, nan, inf), tensor.Vector[float32](1, nan, inf), true},
		"near":            {tensor.Vector[float32](1.00009), tensor.Vector[float32](1), true},
		"far":             {tensor.Vector[float32](1.00011), tensor.Vector[float32](1), false},
		"NaN":             {tensor.Vector(nan), tensor.Vector[float32](1), false},
		"not NaN":         {tensor.Vector[float32](1), tensor.Vector(nan), false},
		"infinity":        {tensor.Vector[float32](3e38), tensor.Vector(inf), false},
		"other infinity":  {tensor.Vector(-inf), tensor.Vector(inf), false},
		"double":          {tensor.Vector(1 + 2e-7), tensor.Vector(1.0), false},
		"double near":     {tensor.Vector(1 + 0.9e-7), tensor.Vector(1.0), true},
		"half by 2":       {ulps(2), ulps(0), true},
		"half by 3":       {ulps(3), ulps(0), false},
		"half around 0":   {half(-6e-8), half(6e-8), true},
		"half NaN":        {half(nan), half(nan), true},
		"half not NaN":    {half(1), half(nan), false},
		"integer":         {tensor.Vector[int32](5), tensor.Vector[int32](6), false},
		"boolean":         {tensor.Vector(true), tensor.Vector(false), false},
		"string":          {tensor.Vector("a"), tensor.Vector("a"), true},
		"other string":    {tensor.Vector("a"), tensor.Vector("b"), false},
		"complex":         {tensor.Vector(complex64(1 + 1i)), tensor.Vector(complex64(1 + 2i)), false},
		"type":            {tensor.Vector[int32](5), tensor.Vector[int64](5), false},
		"shape":           {tensor.Vector[int32](5), tensor.Scalar[int32](5), false},
		"nothing":         {nil, tensor.Scalar[int32](5), false},
		"no elements":     {tensor.Vector[float32](), tensor.Vector[float32](), true},
		"complex is same": {tensor.Vector(2i), tensor.Vector(2i), true},
	} {
		if err := conformance.Alike(c.got, c.want); (err == nil) != c.alike {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := conformance.Within(tensor.Vector[float32](1.05), tensor.Vector[float32](1), conformance.Tolerance{Rel: 0.1}); err != nil {
		t.Error(err)
	}
}
