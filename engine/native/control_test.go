package native_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// subgraph makes a body with inputs and outputs of these names, whose types are not declared.
func subgraph(in, out []string, nodes ...*graph.Node) *graph.Graph {
	g := &graph.Graph{Name: "body", Nodes: nodes}
	for _, name := range in {
		g.Inputs = append(g.Inputs, graph.Value{Name: name})
	}
	for _, name := range out {
		g.Outputs = append(g.Outputs, graph.Value{Name: name})
	}
	return g
}

func scalarInit[T tensor.Element](name string, v T) graph.Initializer {
	return graph.Initializer{Name: name, Tensor: tensor.Scalar(v)}
}

// loopModel is a Loop over float32[2] that adds a captured w in each turn, until its sum of turns or a limit ends it.
func loopModel(turns int64) *graph.Graph {
	body := subgraph([]string{"i", "c", "s"}, []string{"go", "t", "u"},
		node("Add", nil, []string{"s", "w"}, "t"),
		node("ReduceMax", graph.Attrs{"keepdims": int64(0)}, []string{"t"}, "m"),
		node("Less", nil, []string{"m", "limit"}, "go"),
		node("Identity", nil, []string{"t"}, "u"))
	body.Outputs[2].DType, body.Outputs[2].Shape = tensor.Float32, graph.Dims(2)
	return &graph.Graph{Name: "loop", Opset: map[string]int64{"": 17},
		Inputs:       []graph.Value{value("x", tensor.Float32, 2), value("limit", tensor.Float32)},
		Outputs:      []graph.Value{{Name: "y"}, {Name: "all"}},
		Initializers: []graph.Initializer{scalarInit("n", turns), scalarInit("yes", true), {Name: "w", Tensor: tensor.Vector[float32](1, 2)}},
		Nodes:        []*graph.Node{node("Loop", graph.Attrs{"body": body}, []string{"n", "yes", "x"}, "y", "all")}}
}

func TestLoop(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		turns int64
		limit float32
		y     []float32
		all   []float32
	}{
		{3, inf, []float32{3, 6}, []float32{1, 2, 2, 4, 3, 6}},
		{100, 4, []float32{2, 4}, []float32{1, 2, 2, 4}},
		{0, inf, []float32{0, 0}, nil},
		{-1, inf, []float32{0, 0}, nil},
	} {
		s := open(t, loopModel(c.turns), 2)
		for range 2 {
			out := make([]*tensor.Tensor, 2)
			if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](0, 0), tensor.Scalar(c.limit)}, out); err != nil {
				t.Fatal(err)
			}
			if got := tensor.Data[float32](out[0]); !slices.Equal(got, c.y) {
				t.Errorf("%d turns to %v: %v, want %v", c.turns, c.limit, got, c.y)
			}
			if got := tensor.Data[float32](out[1]); !slices.Equal(got, c.all) || !out[1].Shape().Equal(tensor.Shape{len(c.all) / 2, 2}) {
				t.Errorf("%d turns to %v: gathered %v%v, want %v", c.turns, c.limit, got, out[1].Shape(), c.all)
			}
		}
	}
}

// A loop that has no end is ended by its context, and one that gathers without end by the limit of memory.
func TestEndlessLoops(t *testing.T) {
	g := loopModel(math.MaxInt64)
	g.Outputs = g.Outputs[:1]
	g.Nodes[0].Outputs[1] = ""
	in := []*tensor.Tensor{tensor.Vector[float32](0, 0), tensor.Scalar(float32(math.Inf(1)))}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := open(t, g, 1).Run(ctx, in, make([]*tensor.Tensor, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it ended after %v", took)
	}
	s, err := native.New(native.Config{MaxTensorBytes: 1 << 20}).Open(t.Context(), loopModel(1<<62), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(t.Context(), in, make([]*tensor.Tensor, 2)); !errors.Is(err, engine.ErrTooLarge) || !strings.Contains(err.Error(), "engines.native.max_") {
		t.Errorf("got %v", err)
	}
}

// Branches may have the same names, use what is outside, and give it as it is.
func TestIf(t *testing.T) {
	g := &graph.Graph{Name: "if", Opset: map[string]int64{"": 17},
		Inputs:       []graph.Value{value("x", tensor.Float32, 2), value("c", tensor.Bool)},
		Outputs:      []graph.Value{{Name: "y"}},
		Initializers: []graph.Initializer{{Name: "w", Tensor: tensor.Vector[float32](1, 2, 3)}},
		Nodes: []*graph.Node{node("If", graph.Attrs{
			"then_branch": subgraph(nil, []string{"v"}, node("Concat", graph.Attrs{"axis": int64(0)}, []string{"x", "w"}, "v")),
			"else_branch": subgraph(nil, []string{"v"}, node("Neg", nil, []string{"x"}, "v")),
		}, []string{"c"}, "y")}}
	s := open(t, g, 1)
	for _, c := range []struct {
		cond bool
		want []float32
	}{{true, []float32{5, -6, 1, 2, 3}}, {false, []float32{-5, 6}}, {true, []float32{5, -6, 1, 2, 3}}} {
		out := make([]*tensor.Tensor, 1)
		if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](5, -6), tensor.Scalar(c.cond)}, out); err != nil {
			t.Fatal(err)
		}
		if got := tensor.Data[float32](out[0]); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.cond, got, c.want)
		}
	}
	g.Nodes[0].Attrs["else_branch"] = subgraph(nil, []string{"w"})
	out := make([]*tensor.Tensor, 1)
	if err := open(t, g, 1).Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](5, -6), tensor.Scalar(false)}, out); err != nil {
		t.Fatal(err)
	}
	tensor.Data[float32](out[0])[0] = 99
	if w := tensor.Data[float32](g.Initializers[0].Tensor); w[0] != 1 {
		t.Error("the caller's output is the model's constant")
	}
}

// A function's branches see the function's values, renamed for each call, and have its opset.
func TestIfInFunction(t *testing.T) {
	f := &graph.Function{Domain: "test", Name: "Pick", Inputs: []string{"a", "c"}, Outputs: []string{"r"}, Attrs: []string{"by"}, Opset: map[string]int64{"": 11},
		Nodes: []*graph.Node{node("Neg", nil, []string{"a"}, "n"), node("If", graph.Attrs{
			"then_branch": subgraph(nil, []string{"v"}, node("LeakyRelu", graph.Attrs{"alpha": graph.AttrRef("by")}, []string{"n"}, "v")),
			"else_branch": subgraph(nil, []string{"v"}, node("ReduceSum", graph.Attrs{"axes": []int64{0}, "keepdims": int64(1)}, []string{"n"}, "v")),
		}, []string{"c"}, "r")}}
	call := func(in, out string, by float32) *graph.Node {
		n := node("Pick", graph.Attrs{"by": by}, []string{in, "c"}, out)
		n.Domain = "test"
		return n
	}
	g := &graph.Graph{Name: "function", Opset: map[string]int64{"": 17, "test": 1}, Functions: []*graph.Function{f},
		Inputs: []graph.Value{value("x", tensor.Float32, 2), value("c", tensor.Bool)}, Outputs: []graph.Value{{Name: "y"}},
		Nodes: []*graph.Node{call("x", "h", 0.5), call("h", "y", 0.25)}}
	s := open(t, g, 1)
	for _, c := range []struct {
		cond bool
		x    []float32
		want []float32
	}{{true, []float32{1, -2}, []float32{0.5, -0.5}}, {false, []float32{1, -4}, []float32{-3}}} {
		out := make([]*tensor.Tensor, 1)
		if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector(c.x...), tensor.Scalar(c.cond)}, out); err != nil {
			t.Fatal(err)
		}
		if got := tensor.Data[float32](out[0]); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.cond, got, c.want)
		}
	}
}

// Scan goes along other axes, backward, and stacks along others.
func TestScan(t *testing.T) {
	body := subgraph([]string{"s", "e"}, []string{"t", "u"}, node("Add", nil, []string{"s", "e"}, "t"), node("Neg", nil, []string{"t"}, "u"))
	g := &graph.Graph{Name: "scan", Opset: map[string]int64{"": 17},
		Inputs: []graph.Value{value("x", tensor.Float32, 2, 3)}, Outputs: []graph.Value{{Name: "y"}, {Name: "all"}},
		Initializers: []graph.Initializer{{Name: "zero", Tensor: tensor.Vector[float32](0, 0)}},
		Nodes: []*graph.Node{node("Scan", graph.Attrs{"body": body, "num_scan_inputs": int64(1), "scan_input_axes": []int64{-1}, "scan_input_directions": []int64{1},
			"scan_output_axes": []int64{1}, "scan_output_directions": []int64{1}}, []string{"zero", "x"}, "y", "all")}}
	out := make([]*tensor.Tensor, 2)
	if err := open(t, g, 1).Run(t.Context(), []*tensor.Tensor{tensor.Must(tensor.Of([]float32{1, 2, 3, 10, 20, 30}, 2, 3))}, out); err != nil {
		t.Fatal(err)
	}
	if got := tensor.Data[float32](out[0]); !slices.Equal(got, []float32{6, 60}) {
		t.Errorf("state %v", got)
	}
	if got := tensor.Data[float32](out[1]); !slices.Equal(got, []float32{-6, -5, -3, -60, -50, -30}) || !out[1].Shape().Equal(tensor.Shape{2, 3}) {
		t.Errorf("gathered %v%v", got, out[1].Shape())
	}
}

// What bodies lack is named at load, and so is a sequence at the end of a graph unless the caller knows of it.
func TestBodiesRefused(t *testing.T) {
	g := loopModel(1)
	body := g.Nodes[0].Attrs.Graph("body")
	body.Nodes[0].OpType = "NoSuchOperator"
	body.Nodes[2] = node("If", graph.Attrs{"then_branch": subgraph(nil, []string{"v"}, node("Elsewhere", nil, []string{"m"}, "v")), "else_branch": subgraph(nil, []string{"m"})}, []string{"c"}, "go")
	_, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
	var lacks *engine.UnsupportedError
	if !errors.As(err, &lacks) || !slices.Equal(lacks.Ops, []string{"Elsewhere", "NoSuchOperator"}) {
		t.Errorf("got %v", err)
	}
	split := &graph.Graph{Name: "split", Opset: map[string]int64{"": 17}, Inputs: []graph.Value{value("x", tensor.Float32, 4)},
		Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Container: "sequence"}},
		Nodes:   []*graph.Node{node("SplitToSequence", nil, []string{"x"}, "y")}}
	if _, err := native.New(native.Config{}).Open(t.Context(), split, engine.Options{}); !errors.As(err, &lacks) || lacks.Ops[0] != "SplitToSequence (sequence in place of a tensor)" {
		t.Errorf("got %v", err)
	}
	s, err := native.New(native.Config{}).Open(t.Context(), split, engine.Options{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](1, 2, 3, 4)}, make([]*tensor.Tensor, 1)); !errors.Is(err, engine.ErrInput) {
		t.Errorf("got %v", err)
	}
	out := make([]tensor.Value, 1)
	if err := s.(engine.ValueSession).RunValues(t.Context(), []tensor.Value{tensor.ValueOf(tensor.Vector[float32](1, 2, 3, 4))}, out); err != nil || len(out[0].Items) != 4 {
		t.Errorf("got %v, %v", out, err)
	}
	if err := s.(engine.ValueSession).RunValues(t.Context(), []tensor.Value{{Kind: tensor.KindSequence}}, out); !errors.Is(err, engine.ErrInput) {
		t.Errorf("got %v", err)
	}
}

// Sequences that grow by what they hold are held to the limit of memory.
func TestSequencesGrow(t *testing.T) {
	body := subgraph([]string{"i", "c", "s"}, []string{"c2", "t"}, node("SequenceInsert", nil, []string{"s", "x"}, "t"), node("Identity", nil, []string{"c"}, "c2"))
	g := &graph.Graph{Name: "grow", Opset: map[string]int64{"": 17}, Inputs: []graph.Value{value("x", tensor.Float32, 1000)}, Outputs: []graph.Value{{Name: "y"}},
		Initializers: []graph.Initializer{scalarInit("n", int64(1<<40)), scalarInit("yes", true)},
		Nodes: []*graph.Node{node("SequenceEmpty", nil, nil, "e"), node("Loop", graph.Attrs{"body": body}, []string{"n", "yes", "e"}, "s"),
			node("SequenceLength", nil, []string{"s"}, "y")}}
	s, err := native.New(native.Config{MaxTensorBytes: 1 << 20}).Open(t.Context(), g, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Run(t.Context(), []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, 1000))}, make([]*tensor.Tensor, 1))
	if !errors.Is(err, engine.ErrTooLarge) || !strings.Contains(err.Error(), "engines.native.max_") {
		t.Errorf("got %v", err)
	}
}

func TestSequences(t *testing.T) {
	x := tensor.Must(tensor.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 4, 3))
	out := make([]*tensor.Tensor, 1)
	if err := open(t, sequences(), 1).Run(t.Context(), []*tensor.Tensor{x}, out); err != nil {
		t.Fatal(err)
	}
	if got := tensor.Data[float32](out[0]); !slices.Equal(got, []float32{-4, -7, -10, -5, -8, -11, -6, -9, -12}) {
		t.Errorf("got %v%v", got, out[0].Shape())
	}
}
