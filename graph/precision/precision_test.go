package precision_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/random"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/precision"
	"github.com/millrace/millrace/tensor"
)

// noise is a tensor of numbers around zero.
func noise(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(r.NormFloat64()) / 4
	}
	return t
}

// net is a small convolutional net: Conv, Relu, MaxPool, Flatten, Gemm, Softmax, with a residual and a bound that float16 does not reach.
func net(t *testing.T) (*graph.Graph, *tensor.Tensor) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}, {Size: 8}, {Size: 8}})
	c := b.Op("Conv", graph.Attrs{"pads": []int64{1, 1, 1, 1}}, x, b.Init("w", noise(r, 4, 1, 3, 3)), b.Init("bias", noise(r, 4)))
	c = b.Op("Clip", nil, c, b.Float(0), b.Float(math.MaxFloat32))
	d := b.Op("Conv", graph.Attrs{"pads": []int64{1, 1, 1, 1}}, c, b.Init("w", noise(r, 4, 4, 3, 3)))
	p := b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, b.Op("Add", nil, c, d))
	y := b.Op("Gemm", nil, b.Op("Flatten", nil, p), b.Init("w", noise(r, 64, 10)), b.Init("bias", noise(r, 10)))
	b.Output(b.Name(y, "logits"), b.Name(b.Op("Softmax", nil, "logits"), "p"), b.Name(b.Op("ArgMax", graph.Attrs{"axis": int64(1), "keepdims": int64(0)}, "logits"), "label"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	return g, noise(r, 3, 1, 8, 8)
}

func run(t *testing.T, g *graph.Graph, inputs map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
	if err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	defer s.Close()
	out, err := engine.Run(context.Background(), s, inputs)
	if err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	return out
}

// types are those of all values, as inference finds them.
func types(t *testing.T, g *graph.Graph) map[string]tensor.DType {
	t.Helper()
	c := g.Clone()
	if err := infer.Shapes(c); err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	m := map[string]tensor.DType{}
	for _, vs := range [][]graph.Value{c.Inputs, c.Values, c.Outputs} {
		for _, v := range vs {
			m[v.Name] = v.DType
		}
	}
	for _, in := range c.Initializers {
		m[in.Name] = in.Tensor.DType()
	}
	return m
}

// TestFloat16: the net computes in float16 from its first convolution to its last product without a cast between, the rest in float32, and the numbers are those of float32 to about three digits.
func TestFloat16(t *testing.T) {
	g, x := net(t)
	before := g.String()
	h, notes, err := precision.Float16(g)
	if err != nil {
		t.Fatal(err)
	}
	if g.String() != before {
		t.Error("the graph itself was changed")
	}
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	of := types(t, h)
	casts := 0
	for _, n := range h.Nodes {
		switch n.OpType {
		case "Conv", "Clip", "Add", "MaxPool", "Flatten", "Gemm":
			if of[n.Outputs[0]] != tensor.Float16 || of[n.Inputs[0]] != tensor.Float16 {
				t.Errorf("%s computes %v of %v", n.OpType, of[n.Outputs[0]], of[n.Inputs[0]])
			}
		case "Softmax", "ArgMax":
			if of[n.Inputs[0]] != tensor.Float32 {
				t.Errorf("%s takes %v", n.OpType, of[n.Inputs[0]])
			}
		case "Cast":
			casts++
		}
	}
	if casts != 2 || len(notes) != 1 || !strings.HasPrefix(notes[0], "7 of 9 operators compute in float16: 1 Add, 1 Clip, 2 Conv, 1 Flatten, 1 Gemm, 1 MaxPool") {
		t.Errorf("%d casts, want one at the input and one at the end; %q", casts, notes)
	}
	if slices.ContainsFunc(h.Initializers, func(in graph.Initializer) bool { return in.Tensor.DType() == tensor.Float32 }) {
		t.Error("float32 weights were kept though nothing uses them")
	}
	in := map[string]*tensor.Tensor{"x": x}
	got, want := run(t, h, in), run(t, g, in)
	for _, name := range []string{"logits", "p"} {
		exact := true
		for i, w := range tensor.Data[float32](want[name]) {
			d := math.Abs(float64(tensor.Data[float32](got[name])[i] - w))
			exact = exact && d == 0
			if d > 5e-3 {
				t.Errorf("%s %d is %v, want about %v", name, i, tensor.Data[float32](got[name])[i], w)
			}
		}
		if exact {
			t.Errorf("%s is as exact as in float32: was it computed in float16?", name)
		}
	}
	if !slices.Equal(tensor.Data[int64](got["label"]), tensor.Data[int64](want["label"])) {
		t.Errorf("labels %v, want %v", got["label"], want["label"])
	}
}

// TestOutOfRange: a product whose weights float16 cannot hold stays in float32, the note names it, and the rest is changed all the same.
func TestOutOfRange(t *testing.T) {
	b := graph.NewBuilder("big")
	x := b.Input("x", tensor.Float32, graph.Dims(1, 2))
	y := b.Op("MatMul", nil, x, b.Init("big", tensor.Must(tensor.Of([]float32{1e6, 0, 0, -1e6}, 2, 2))))
	b.Output(b.Name(b.Op("MatMul", nil, b.Op("Tanh", nil, y), b.Init("small", tensor.Must(tensor.Of([]float32{0.5, 0, 0, 0.5}, 2, 2)))), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	h, notes, err := precision.Float16(g)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 2 || !strings.HasPrefix(notes[0], "1 of 3 operators") || !strings.Contains(notes[1], "the constant big has numbers beyond 65504") {
		t.Errorf("notes %q", notes)
	}
	out := run(t, h, map[string]*tensor.Tensor{"x": tensor.Must(tensor.Of([]float32{1, 1}, 1, 2))})
	if got := tensor.Data[float32](out["y"]); got[0] != 0.5 || got[1] != -0.5 {
		t.Errorf("got %v", got)
	}
}

// TestMixed: a light operator with an operand that is in float32 stays there, so that a mask of huge numbers does not become infinite.
func TestMixed(t *testing.T) {
	b := graph.NewBuilder("masked")
	x, mask := b.Input("x", tensor.Float32, graph.Dims(1, 2)), b.Input("mask", tensor.Float32, graph.Dims(1, 2))
	y := b.Op("MatMul", nil, x, b.Init("w", tensor.Must(tensor.Of([]float32{1, 0, 0, 1}, 2, 2))))
	b.Output(b.Name(b.Op("Add", nil, y, mask), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	h, notes, err := precision.Float16(g)
	if err != nil || !strings.HasPrefix(notes[0], "1 of 2 operators compute in float16: 1 MatMul") {
		t.Fatalf("%q, %v", notes, err)
	}
	out := run(t, h, map[string]*tensor.Tensor{"x": tensor.Must(tensor.Of([]float32{1, 2}, 1, 2)), "mask": tensor.Must(tensor.Of([]float32{0, -3e38}, 1, 2))})
	if got := tensor.Data[float32](out["y"]); got[0] != 1 || got[1] != -3e38 {
		t.Errorf("got %v", got)
	}
}

// TestCaptured: what a subgraph takes from around it is there in float32, though it was computed in float16.
func TestCaptured(t *testing.T) {
	b := graph.NewBuilder("captured")
	x := b.Input("x", tensor.Float32, graph.Dims(1, 2))
	y := b.Op("MatMul", nil, x, b.Init("w", tensor.Must(tensor.Of([]float32{1, 2, 3, 4}, 2, 2))))
	branch := func(op string) *graph.Graph {
		return &graph.Graph{Name: op, Outputs: []graph.Value{{Name: op, DType: tensor.Float32}}, Nodes: []*graph.Node{{OpType: op, Inputs: []string{y}, Outputs: []string{op}}}}
	}
	b.Output(b.Name(b.Op("If", graph.Attrs{"then_branch": branch("Neg"), "else_branch": branch("Abs")}, b.Init("yes", tensor.Scalar(true))), "z"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := precision.Float16(g)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, h, map[string]*tensor.Tensor{"x": tensor.Must(tensor.Of([]float32{1, 1}, 1, 2))})
	if got := tensor.Data[float32](out["z"]); got[0] != -4 || got[1] != -6 {
		t.Errorf("got %v", got)
	}
}

// TestNothing: a graph without products is as it was, and the note says so; one of an old opset is refused.
func TestNothing(t *testing.T) {
	g := &graph.Graph{
		Name: "relu", Opset: map[string]int64{"": 17}, Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Dims(2)}},
		Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Dims(2)}}, Nodes: []*graph.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}
	h, notes, err := precision.Float16(g)
	if err != nil || len(h.Nodes) != 1 || len(notes) != 1 || !strings.Contains(notes[0], "nothing computes in float16") {
		t.Errorf("%v, %q, %v", h, notes, err)
	}
	g.Opset[""] = 6
	if _, _, err := precision.Float16(g); err == nil || !strings.Contains(err.Error(), "opset 6") {
		t.Errorf("opset 6: %v", err)
	}
}

// TestRandomGraphs: random graphs, with control flow and quantization among them, stay valid, keep the types of inputs and outputs, and run.
func TestRandomGraphs(t *testing.T) {
	changed := 0
	for seed := range uint64(150) {
		c, err := random.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		h, notes, err := precision.Float16(c.Graph)
		if err != nil {
			t.Fatalf("%d: %v\n%v", seed, err, c.Graph)
		}
		if err := h.Validate(); err != nil {
			t.Errorf("%d: %v\n%v", seed, err, h)
			continue
		}
		if !strings.HasPrefix(notes[0], "nothing") {
			changed++
		}
		out := run(t, h, c.Inputs)
		want := run(t, c.Graph, c.Inputs)
		for name, w := range want {
			if got := out[name]; got.DType() != w.DType() || !got.Shape().Equal(w.Shape()) {
				t.Errorf("%d: %s is %v%v, want %v%v", seed, name, got.DType(), got.Shape(), w.DType(), w.Shape())
			}
		}
	}
	if changed < 20 {
		t.Errorf("only %d graphs were changed", changed)
	}
}
