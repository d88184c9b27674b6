// Package enginetest is the suite that every engine passes: what engine.Engine and engine.Session promise. Whether
// operators compute what ONNX says is left to its subfolder conformance.
package enginetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Run runs the suite as subtests. open is called for each of them; engines that are not on this machine should skip in
// it.
func Run(t *testing.T, open func(t *testing.T) engine.Engine) {
	for name, test := range map[string]func(*testing.T, engine.Engine){
		"Describes":       describes,
		"Computes":        computes,
		"Types":           types,
		"SmallTypes":      smallTypes,
		"Scalars":         scalars,
		"Empty":           empty,
		"NaN":             nan,
		"Strings":         stringsKept,
		"Functions":       functions,
		"Defaults":        defaults,
		"NoInputs":        noInputs,
		"WrongInputs":     wrongInputs,
		"WrongShapes":     wrongShapes,
		"OutputsReused":   outputsReused,
		"OutputsOwned":    outputsOwned,
		"InputsKept":      inputsKept,
		"ByName":          byName,
		"Unsupported":     unsupported,
		"BadGraphs":       badGraphs,
		"Options":         options,
		"Precision":       halfPrecision,
		"Concurrent":      concurrent,
		"Cancelled":       cancelled,
		"CancelledInside": cancelledInside,
		"Closed":          closed,
		"ClosedDuring":    closedDuring,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func value(name string, d tensor.DType, shape ...graph.Dim) graph.Value {
	return graph.Value{Name: name, DType: d, Shape: append(graph.Shape{}, shape...)}
}

func size(n int64) graph.Dim { return graph.Dim{Size: n} }

func free(symbol string) graph.Dim { return graph.Dim{Size: -1, Symbol: symbol} }

func node(op string, attrs graph.Attrs, in []string, out ...string) *graph.Node {
	return &graph.Node{OpType: op, Attrs: attrs, Inputs: in, Outputs: out, Name: "node_" + out[0]}
}

func model(in, out []graph.Value, nodes ...*graph.Node) *graph.Graph {
	return &graph.Graph{Name: "enginetest", IRVersion: 8, Opset: map[string]int64{"": 17}, Inputs: in, Outputs: out, Nodes: nodes}
}

// linear is y = x*2 + 1 over float32[N,3], with the factor and the summand as initializers.
func linear() *graph.Graph {
	g := model([]graph.Value{value("x", tensor.Float32, free("N"), size(3))}, []graph.Value{value("y", tensor.Float32, free("N"), size(3))},
		node("Mul", nil, []string{"x", "two"}, "m"), node("Add", nil, []string{"m", "one"}, "y"))
	g.Initializers = []graph.Initializer{{Name: "two", Tensor: tensor.Vector[float32](2, 2, 2)}, {Name: "one", Tensor: tensor.Scalar[float32](1)}}
	return g
}

func open(t *testing.T, e engine.Engine, g *graph.Graph) engine.Session {
	t.Helper()
	s, err := e.Open(t.Context(), g, engine.Options{Threads: 2})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// run runs a session and fails the test on an error.
func run(t *testing.T, s engine.Session, in ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	out := make([]*tensor.Tensor, len(s.Outputs()))
	if err := s.Run(t.Context(), in, out); err != nil {
		t.Fatalf("run: %v", err)
	}
	return out
}

// want compares a tensor with a list of elements, exactly.
func want[T tensor.Element](t *testing.T, got *tensor.Tensor, shape tensor.Shape, elements ...T) {
	t.Helper()
	if got == nil || got.DType() != tensor.DTypeOf[T]() || !got.Shape().Equal(shape) || !slices.Equal(tensor.Data[T](got), elements) {
		t.Fatalf("got %v, want %v%v %v", got, tensor.DTypeOf[T](), shape, elements)
	}
}

func of[T tensor.Element](shape tensor.Shape, elements ...T) *tensor.Tensor {
	return tensor.Must(tensor.Of(elements, shape...))
}

func describes(t *testing.T, e engine.Engine) {
	c := e.Capabilities()
	if e.Name() == "" || c.Version == "" || c.MaxOpset < 17 || !slices.Contains(c.Devices, engine.Device{Name: "cpu"}) {
		t.Fatalf("engine %q: %+v", e.Name(), c)
	}
	s := open(t, e, linear())
	in, out := s.Inputs(), s.Outputs()
	if len(in) != 1 || in[0].Name != "x" || in[0].DType != tensor.Float32 || in[0].Shape.String() != "[N,3]" {
		t.Errorf("inputs are %v", in)
	}
	if len(out) != 1 || out[0].Name != "y" || out[0].DType != tensor.Float32 {
		t.Errorf("outputs are %v", out)
	}
}

func computes(t *testing.T, e engine.Engine) {
	s := open(t, e, linear())
	want[float32](t, run(t, s, of[float32](tensor.Shape{1, 3}, 1, 2, 3))[0], tensor.Shape{1, 3}, 3, 5, 7)
	want[float32](t, run(t, s, of[float32](tensor.Shape{2, 3}, 1, 2, 3, -1, 0, 4))[0], tensor.Shape{2, 3}, 3, 5, 7, -1, 1, 9)
	want[float32](t, run(t, s, of[float32](tensor.Shape{1, 3}, 0, 0, 1))[0], tensor.Shape{1, 3}, 1, 1, 3)
}

// types passes each type through the engine.
func types(t *testing.T, e engine.Engine) {
	for _, x := range []*tensor.Tensor{
		tensor.Vector[float32](1.5, -2), tensor.Vector(1.5, -2), tensor.Vector(tensor.HalfOf(1.5), tensor.HalfOf(-2)),
		tensor.Vector[int32](7, -3), tensor.Vector[int64](1<<40, -3), tensor.Vector[uint8](7, 255), tensor.Vector[int8](-7, 127),
		tensor.Vector(true, false), tensor.Vector[uint16](7, 65535), tensor.Vector[int16](-7, 99), tensor.Vector[uint32](7, 1<<31), tensor.Vector[uint64](7, 1<<63),
	} {
		t.Run(x.DType().String(), func(t *testing.T) {
			g := model([]graph.Value{value("x", x.DType(), free("N"))}, []graph.Value{value("y", x.DType(), free("M"), size(2))},
				node("Reshape", nil, []string{"x", "shape"}, "y"))
			g.Initializers = []graph.Initializer{{Name: "shape", Tensor: tensor.Vector[int64](-1, 2)}}
			got := run(t, open(t, e, g), x)[0]
			if got.DType() != x.DType() || !got.Shape().Equal(tensor.Shape{1, 2}) || !slices.Equal(got.Bytes(), x.Bytes()) {
				t.Fatalf("got %v, want the elements of %v", got, x)
			}
		})
	}
}

func scalars(t *testing.T, e engine.Engine) {
	s := open(t, e, model([]graph.Value{value("x", tensor.Float32), value("y", tensor.Float32)}, []graph.Value{value("z", tensor.Float32)},
		node("Add", nil, []string{"x", "y"}, "z")))
	want[float32](t, run(t, s, tensor.Scalar[float32](2), tensor.Scalar[float32](3))[0], tensor.Shape{}, 5)
	out := []*tensor.Tensor{tensor.Scalar[float32](0)}
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Scalar[float32](4), tensor.Scalar[float32](3)}, out); err != nil {
		t.Fatal(err)
	}
	want[float32](t, out[0], tensor.Shape{}, 7)
}

func empty(t *testing.T, e engine.Engine) {
	s := open(t, e, linear())
	want[float32](t, run(t, s, of[float32](tensor.Shape{0, 3}))[0], tensor.Shape{0, 3})
	want[float32](t, run(t, s, of[float32](tensor.Shape{1, 3}, 1, 1, 1))[0], tensor.Shape{1, 3}, 3, 3, 3)
}

// nan checks that a bad row of a batch hurts only itself.
func nan(t *testing.T, e engine.Engine) {
	g := model([]graph.Value{value("x", tensor.Float32, free("N"), size(2))}, []graph.Value{value("y", tensor.Float32, free("N"), size(2))},
		node("MatMul", nil, []string{"x", "w"}, "m"), node("Relu", nil, []string{"m"}, "y"))
	g.Initializers = []graph.Initializer{{Name: "w", Tensor: of[float32](tensor.Shape{2, 2}, 1, 2, 3, 4)}}
	bad := float32(math.NaN())
	got := tensor.Data[float32](run(t, open(t, e, g), of(tensor.Shape{3, 2}, 1, 1, bad, 1, -1, 0))[0])
	if !slices.Equal(got[:2], []float32{4, 6}) || !slices.Equal(got[4:], []float32{0, 0}) {
		t.Fatalf("rows beside a NaN are %v", got)
	}
	if got[2] == got[2] || got[3] == got[3] {
		t.Fatalf("a NaN became %v", got[2:4])
	}
}

func stringsKept(t *testing.T, e engine.Engine) {
	g := model([]graph.Value{value("x", tensor.String, free("N"))}, []graph.Value{value("y", tensor.String, free("N"), size(1))},
		node("Reshape", nil, []string{"x", "shape"}, "y"))
	g.Initializers = []graph.Initializer{{Name: "shape", Tensor: tensor.Vector[int64](-1, 1)}}
	s := open(t, e, g)
	want(t, run(t, s, tensor.Vector("", "zwölf", "a b"))[0], tensor.Shape{3, 1}, "", "zwölf", "a b")
	// An engine whose strings end at a zero byte refuses one that has it, and never cuts it.
	out := make([]*tensor.Tensor, 1)
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector("a\x00b")}, out); err == nil {
		want(t, out[0], tensor.Shape{1, 1}, "a\x00b")
	} else if !errors.Is(err, engine.ErrInput) {
		t.Errorf("a string with a zero byte: %v, want ErrInput", err)
	}
}

// functions calls a function of the model's own that calls another.
func functions(t *testing.T, e engine.Engine) {
	call := func(op string, attrs graph.Attrs, in []string, out string) *graph.Node {
		n := node(op, attrs, in, out)
		n.Domain = "test.local"
		return n
	}
	g := model([]graph.Value{value("x", tensor.Float32, size(2))}, []graph.Value{value("y", tensor.Float32, size(2))},
		call("Twice", nil, []string{"x"}, "h"), call("Twice", nil, []string{"h"}, "y"))
	g.Opset["test.local"] = 1
	opset := map[string]int64{"": 17, "test.local": 1}
	g.Functions = []*graph.Function{
		{Domain: "test.local", Name: "Twice", Inputs: []string{"a"}, Outputs: []string{"b"}, Opset: opset,
			Nodes: []*graph.Node{call("Sum2", nil, []string{"a", "a"}, "b")}},
		{Domain: "test.local", Name: "Sum2", Inputs: []string{"a", "b"}, Outputs: []string{"c"}, Opset: opset,
			Nodes: []*graph.Node{node("Add", nil, []string{"a", "b"}, "c")}},
	}
	want[float32](t, run(t, open(t, e, g), tensor.Vector[float32](1, -2))[0], tensor.Shape{2}, 4, -8)
}

// defaults lists an initializer among the inputs, which makes it no placeholder.
func defaults(t *testing.T, e engine.Engine) {
	g := linear()
	g.Inputs = append(g.Inputs, value("one", tensor.Float32))
	s := open(t, e, g)
	if n := len(s.Inputs()); n != 1 {
		t.Fatalf("%d placeholders", n)
	}
	want[float32](t, run(t, s, of[float32](tensor.Shape{1, 3}, 1, 2, 3))[0], tensor.Shape{1, 3}, 3, 5, 7)
}

func noInputs(t *testing.T, e engine.Engine) {
	g := model(nil, []graph.Value{value("y", tensor.Float32, size(2))}, node("Neg", nil, []string{"c"}, "y"))
	g.Initializers = []graph.Initializer{{Name: "c", Tensor: tensor.Vector[float32](1, -2)}}
	s := open(t, e, g)
	for range 2 {
		want[float32](t, run(t, s)[0], tensor.Shape{2}, -1, 2)
	}
}

func wrongInputs(t *testing.T, e engine.Engine) {
	g := model([]graph.Value{value("a", tensor.Float32, free("N"), size(3)), value("b", tensor.Float32, free("N"))},
		[]graph.Value{value("y", tensor.Float32, free("N"), size(3)), value("z", tensor.Float32, free("N"))},
		node("Relu", nil, []string{"a"}, "y"), node("Relu", nil, []string{"b"}, "z"))
	s := open(t, e, g)
	a, b := of[float32](tensor.Shape{2, 3}, 1, 2, 3, 4, 5, 6), tensor.Vector[float32](1, 2)
	for name, in := range map[string][]*tensor.Tensor{
		"too few":         {a},
		"too many":        {a, b, b},
		"nil":             {a, nil},
		"type":            {a, tensor.Vector[int64](1, 2)},
		"rank":            {tensor.Vector[float32](1, 2, 3), b},
		"length":          {of[float32](tensor.Shape{2, 2}, 1, 2, 3, 4), b},
		"symbol differs":  {a, tensor.Vector[float32](1, 2, 3)},
		"scalar for many": {a, tensor.Scalar[float32](1)},
	} {
		out := make([]*tensor.Tensor, 2)
		if err := s.Run(t.Context(), in, out); !errors.Is(err, engine.ErrInput) {
			t.Errorf("%s: got %v, want ErrInput", name, err)
		}
		if out[0] != nil || out[1] != nil {
			t.Errorf("%s: outputs were set", name)
		}
	}
	if err := s.Run(t.Context(), []*tensor.Tensor{a, b}, make([]*tensor.Tensor, 1)); !errors.Is(err, engine.ErrInput) {
		t.Errorf("too few outputs: got %v, want ErrInput", err)
	}
	run(t, s, a, b)
}

// wrongShapes gives inputs that only an operator finds wrong.
func wrongShapes(t *testing.T, e engine.Engine) {
	s := open(t, e, model([]graph.Value{value("a", tensor.Float32, free("N")), value("b", tensor.Float32, free("M"))},
		[]graph.Value{value("y", tensor.Float32, free("K"))}, node("Add", nil, []string{"a", "b"}, "y")))
	out := make([]*tensor.Tensor, 1)
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](1, 2), tensor.Vector[float32](1, 2, 3)}, out); err == nil || out[0] != nil {
		t.Errorf("shapes that do not broadcast: error %v, output %v", err, out[0])
	}
	want[float32](t, run(t, s, tensor.Vector[float32](1, 2), tensor.Vector[float32](3, 4))[0], tensor.Shape{2}, 4, 6)
}

func outputsReused(t *testing.T, e engine.Engine) {
	s := open(t, e, linear())
	given := of[float32](tensor.Shape{1, 3}, 9, 9, 9)
	out := []*tensor.Tensor{given}
	if err := s.Run(t.Context(), []*tensor.Tensor{of[float32](tensor.Shape{1, 3}, 1, 2, 3)}, out); err != nil {
		t.Fatal(err)
	}
	if out[0] != given {
		t.Fatal("the given output was replaced")
	}
	want[float32](t, given, tensor.Shape{1, 3}, 3, 5, 7)
	for name, wrong := range map[string]*tensor.Tensor{"shape": of[float32](tensor.Shape{3}, 0, 0, 0), "type": of(tensor.Shape{1, 3}, 0.0, 0, 0)} {
		err := s.Run(t.Context(), []*tensor.Tensor{of[float32](tensor.Shape{1, 3}, 1, 2, 3)}, []*tensor.Tensor{wrong})
		if !errors.Is(err, engine.ErrInput) {
			t.Errorf("an output of another %s: got %v, want ErrInput", name, err)
		}
	}
}

// outputsOwned checks that results are the caller's: they share nothing with later runs, inputs or initializers.
func outputsOwned(t *testing.T, e engine.Engine) {
	g := model([]graph.Value{value("x", tensor.Float32, size(2))},
		[]graph.Value{value("same", tensor.Float32, size(2)), value("weight", tensor.Float32, size(2)), value("view", tensor.Float32, size(1), size(2)), value("y", tensor.Float32, size(2))},
		node("Identity", nil, []string{"x"}, "same"), node("Identity", nil, []string{"w"}, "weight"),
		node("Add", nil, []string{"x", "w"}, "y"), node("Reshape", nil, []string{"y", "shape"}, "view"))
	w := tensor.Vector[float32](10, 20)
	g.Initializers = []graph.Initializer{{Name: "w", Tensor: w}, {Name: "shape", Tensor: tensor.Vector[int64](1, 2)}}
	s := open(t, e, g)
	x := tensor.Vector[float32](1, 2)
	for range 2 {
		out := run(t, s, x)
		want[float32](t, out[0], tensor.Shape{2}, 1, 2)
		want[float32](t, out[1], tensor.Shape{2}, 10, 20)
		want[float32](t, out[2], tensor.Shape{1, 2}, 11, 22)
		want[float32](t, out[3], tensor.Shape{2}, 11, 22)
		for i, o := range out {
			for j := range tensor.Data[float32](o) {
				tensor.Data[float32](o)[j] = float32(-1 - i)
			}
		}
		for i, o := range out {
			if tensor.Data[float32](o)[0] != float32(-1-i) {
				t.Fatalf("output %d shares its memory with another one", i)
			}
		}
	}
	want[float32](t, x, tensor.Shape{2}, 1, 2)
	want[float32](t, w, tensor.Shape{2}, 10, 20)
}

// inputsKept checks that a run does not write to its inputs, whatever it computes in place.
func inputsKept(t *testing.T, e engine.Engine) {
	s := open(t, e, model([]graph.Value{value("x", tensor.Float32, size(3))}, []graph.Value{value("y", tensor.Float32, size(3))},
		node("Relu", nil, []string{"x"}, "a"), node("Neg", nil, []string{"a"}, "b"), node("Add", nil, []string{"b", "x"}, "y")))
	x := tensor.Vector[float32](1, -2, 3)
	want[float32](t, run(t, s, x)[0], tensor.Shape{3}, 0, -2, 0)
	want[float32](t, x, tensor.Shape{3}, 1, -2, 3)
}

func byName(t *testing.T, e engine.Engine) {
	s := open(t, e, linear())
	x := of[float32](tensor.Shape{1, 3}, 1, 2, 3)
	out, err := engine.Run(t.Context(), s, map[string]*tensor.Tensor{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	want[float32](t, out["y"], tensor.Shape{1, 3}, 3, 5, 7)
	for _, in := range []map[string]*tensor.Tensor{{}, {"z": x}, {"x": x, "z": x}, {"x": nil}} {
		if _, err := engine.Run(t.Context(), s, in); !errors.Is(err, engine.ErrInput) {
			t.Errorf("%v: got %v, want ErrInput", in, err)
		}
	}
}

func unsupported(t *testing.T, e engine.Engine) {
	thing := node("Thing", nil, []string{"a"}, "y")
	thing.Domain = "test.unknown"
	g := model([]graph.Value{value("x", tensor.Float32, size(2))}, []graph.Value{value("y", tensor.Float32, size(2))},
		node("Frobnicate", nil, []string{"x"}, "a"), thing)
	g.Opset["test.unknown"] = 1
	_, err := e.Open(t.Context(), g, engine.Options{})
	var u *engine.UnsupportedError
	if !errors.As(err, &u) {
		t.Fatalf("got %v, want an UnsupportedError", err)
	}
	if u.Engine != e.Name() || len(u.Ops) != 2 || !slices.IsSorted(u.Ops) || u.Ops[0] != "Frobnicate" || u.Ops[1] != "test.unknown.Thing" {
		t.Errorf("engine %q lacks %q", u.Engine, u.Ops)
	}
}

// halfPrecision asks for float16: a product of numbers that float16 holds is exact, another one is as near as float16 comes (an engine may compute more exactly), inputs and outputs stay
// float32, and a session that has notes says what it does.
func halfPrecision(t *testing.T, e engine.Engine) {
	g := model([]graph.Value{value("x", tensor.Float32, free("N"), size(2))}, []graph.Value{value("y", tensor.Float32, free("N"), size(2))},
		node("MatMul", nil, []string{"x", "w"}, "m"), node("Relu", nil, []string{"m"}, "y"))
	g.Initializers = []graph.Initializer{{Name: "w", Tensor: of[float32](tensor.Shape{2, 2}, 1, 2, 0, 0.5)}}
	s, err := e.Open(t.Context(), g, engine.Options{Precision: engine.Float16})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want[float32](t, run(t, s, of[float32](tensor.Shape{2, 2}, 1, 2, -3, 4))[0], tensor.Shape{2, 2}, 1, 3, 0, 0)
	odd := run(t, s, of[float32](tensor.Shape{1, 2}, 2049, 0))[0] // halfway between two numbers of float16
	if y := tensor.Data[float32](odd); math.Abs(float64(y[0])-2049) > 1 || math.Abs(float64(y[1])-4098) > 2 {
		t.Errorf("got %v", odd)
	}
	if n, ok := s.(engine.Noter); ok && !slices.ContainsFunc(n.Notes(), func(s string) bool { return strings.Contains(s, "2 of 2 operators compute in float16") }) {
		t.Errorf("the session does not say that it computes in float16: %q", n.Notes())
	}
}

// badGraphs opens graphs that contradict themselves.
func badGraphs(t *testing.T, e engine.Engine) {
	in, out := []graph.Value{value("x", tensor.Float32, size(2))}, []graph.Value{value("y", tensor.Float32, size(2))}
	for name, g := range map[string]*graph.Graph{
		"nothing computes it": model(in, out, node("Add", nil, []string{"x", "missing"}, "y")),
		"circle":              model(in, out, node("Add", nil, []string{"x", "b"}, "a"), node("Relu", nil, []string{"a"}, "b"), node("Neg", nil, []string{"b"}, "y")),
		"no output":           model(in, out, node("Relu", nil, []string{"x"}, "z")),
		"computed twice":      model(in, out, node("Relu", nil, []string{"x"}, "y"), node("Neg", nil, []string{"x"}, "y")),
	} {
		if s, err := e.Open(t.Context(), g, engine.Options{}); err == nil {
			t.Errorf("%s: it was opened", name)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func options(t *testing.T, e engine.Engine) {
	if _, err := e.Open(t.Context(), linear(), engine.Options{Device: "abacus:7"}); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("unknown device: got %v, want ErrUnavailable", err)
	}
	if _, err := e.Open(t.Context(), linear(), engine.Options{Settings: map[string]string{"no such setting": "1"}}); err == nil {
		t.Error("an unknown setting was taken")
	}
	for _, threads := range []int{0, 1, 3} {
		s, err := e.Open(t.Context(), linear(), engine.Options{Threads: threads, Device: "cpu"})
		if err != nil {
			t.Fatal(err)
		}
		want[float32](t, run(t, s, of[float32](tensor.Shape{1, 3}, 1, 2, 3))[0], tensor.Shape{1, 3}, 3, 5, 7)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, o := range map[string]engine.Options{
		"precision": {Precision: "half"}, "tf32": {Device: "cpu", TF32: true}, "memory_limit": {Device: "cpu", MemoryLimit: 1 << 30},
	} {
		if _, err := e.Open(t.Context(), linear(), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: got %v, want an error that names %s", o, err, name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Open(ctx, linear(), engine.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("open with an ended context: got %v", err)
	}
}
