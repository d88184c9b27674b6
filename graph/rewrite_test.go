package graph_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func itoa(i int) string { return strconv.Itoa(i) }

// sym makes a shape of lengths (int), symbols (string; "?" is unknown).
func sym(dims ...any) graph.Shape {
	s := graph.Shape{}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			s = append(s, graph.Dim{Size: int64(d)})
		case string:
			s = append(s, graph.Dim{Size: -1, Symbol: strings.Trim(d, "?")})
		}
	}
	return s
}

func mustGraph(t *testing.T, b *graph.Builder) *graph.Graph {
	t.Helper()
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func ops(g *graph.Graph) []string {
	var all []string
	for _, n := range g.Nodes {
		all = append(all, n.Op())
	}
	return all
}

func TestBuilder(t *testing.T) {
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float32, sym("N", 4))
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 4, 3)))
	w2 := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 3, 3)))
	y := b.Op("MatMul", nil, b.Op("MatMul", nil, x, w), w2)
	y = b.Name(b.Op("ai.millrace.Thing", graph.Attrs{"k": int64(1)}, y, "", ""), "scores")
	b.Output(y)
	g := mustGraph(t, b)
	if w == w2 || g.Nodes[0].Name == g.Nodes[1].Name {
		t.Errorf("names are not unique: %q %q %q %q", w, w2, g.Nodes[0].Name, g.Nodes[1].Name)
	}
	last := g.Nodes[2]
	if last.Domain != graph.MillraceDomain || last.OpType != "Thing" || len(last.Inputs) != 1 || last.Outputs[0] != "scores" || g.Outputs[0].Name != "scores" {
		t.Errorf("last node %+v, outputs %v", last, g.Outputs)
	}
	if g.Opset[""] != 17 {
		t.Errorf("opset %d", g.Opset[""])
	}
	if got := fmt.Sprint(g.Values); got != "[MatMul float32[N,3] MatMul_1 float32[N,3]]" {
		t.Errorf("values %s", got)
	}
	// Going on with it gives new names.
	b = graph.Extend(g)
	if name := b.Op("MatMul", nil, x, w); name == "MatMul" || name == "MatMul_1" {
		t.Errorf("a used name %q", name)
	}
	b = graph.NewBuilder("wrong")
	b.Input("x", tensor.Float32, nil)
	b.Input("x", tensor.Float32, nil)
	b.Output("y")
	b.Name("z", "q")
	b.Init("n", nil)
	if _, err := b.Graph(); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("mistakes gave %v", err)
	}
}

func TestLowestOpset(t *testing.T) {
	for _, tt := range []struct {
		n    *graph.Node
		want int64
	}{
		{&graph.Node{OpType: "Relu"}, 17},
		{&graph.Node{OpType: "BitwiseAnd"}, 18},
		{&graph.Node{OpType: "Gelu"}, 20},
		{&graph.Node{OpType: "Gelu", Domain: "com.example"}, 17},
		{&graph.Node{OpType: "ReduceMean", Inputs: []string{"x"}, Attrs: graph.Attrs{"axes": []int64{0}}}, 17},
		{&graph.Node{OpType: "ReduceMean", Inputs: []string{"x", "axes"}}, 18},
		{&graph.Node{OpType: "ReduceSum", Inputs: []string{"x", "axes"}}, 17},
		{&graph.Node{OpType: "Split", Attrs: graph.Attrs{"num_outputs": int64(2)}}, 18},
		{&graph.Node{OpType: "Pad", Attrs: graph.Attrs{"mode": "wrap"}}, 19},
		{&graph.Node{OpType: "If", Attrs: graph.Attrs{"then_branch": &graph.Graph{Nodes: []*graph.Node{{OpType: "Swish"}}}}}, 24},
	} {
		if got := graph.LowestOpset(&graph.Graph{Nodes: []*graph.Node{tt.n}}); got != tt.want {
			t.Errorf("%s %v: opset %d, want %d", tt.n.Op(), tt.n.Attrs, got, tt.want)
		}
	}
	g := &graph.Graph{Functions: []*graph.Function{{Nodes: []*graph.Node{{OpType: "Gelu"}}}}}
	if got := graph.LowestOpset(g); got != 20 {
		t.Errorf("in a function: opset %d, want 20", got)
	}
}

func TestInline(t *testing.T) {
	inner := &graph.Function{
		Domain: "d", Name: "Inner", Inputs: []string{"a", "opt"}, Outputs: []string{"c", "unused"}, Attrs: []string{"alpha"},
		Nodes: []*graph.Node{
			{OpType: "Elu", Inputs: []string{"a"}, Outputs: []string{"b"}, Attrs: graph.Attrs{"alpha": graph.AttrRef("alpha")}},
			{OpType: "Clip", Inputs: []string{"b", "opt"}, Outputs: []string{"c"}},
			{OpType: "Relu", Inputs: []string{"b"}, Outputs: []string{"unused"}},
		},
	}
	outer := &graph.Function{
		Domain: "d", Name: "Outer", Inputs: []string{"x"}, Outputs: []string{"y", "x"}, Attrs: []string{"none"},
		Defaults: graph.Attrs{"beta": float32(0.5)},
		Nodes: []*graph.Node{
			{OpType: "Inner", Domain: "d", Inputs: []string{"x"}, Outputs: []string{"t"}, Attrs: graph.Attrs{"alpha": graph.AttrRef("beta")}},
			{OpType: "Softmax", Inputs: []string{"t"}, Outputs: []string{"y"}, Attrs: graph.Attrs{"axis": graph.AttrRef("none")}},
		},
	}
	build := func() *graph.Graph {
		b := graph.NewBuilder("g")
		b.Function(inner)
		b.Function(outer)
		x := b.Input("x", tensor.Float32, sym("N", 4))
		outs := b.Ops("d.Outer", 2, nil, x)
		again := b.Ops("d.Outer", 2, graph.Attrs{"beta": float32(2), "none": int64(0)}, outs[0])
		b.Output(again[0], outs[1])
		return mustGraph(t, b)
	}
	g := build()
	if err := g.Inline(nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Validate(), infer.Shapes(g)); err != nil {
		t.Fatal(err)
	}
	want := []string{"Elu", "Clip", "Relu", "Softmax", "Identity", "Elu", "Clip", "Relu", "Softmax", "Identity"}
	if got := ops(g); !slices.Equal(got, want) || len(g.Functions) != 0 {
		t.Fatalf("nodes %v, functions %v", got, g.Functions)
	}
	if a := g.Nodes[0].Attrs; a.Float("alpha", 0) != 0.5 {
		t.Errorf("the default did not arrive: %v", a)
	}
	if a := g.Nodes[5].Attrs; a.Float("alpha", 0) != 2 {
		t.Errorf("the attribute did not arrive: %v", a)
	}
	if g.Nodes[3].Attrs.Has("axis") || g.Nodes[8].Attrs.Int("axis", -5) != 0 {
		t.Errorf("attributes %v and %v", g.Nodes[3].Attrs, g.Nodes[8].Attrs)
	}
	if in := g.Nodes[1].Input(1); in != "" {
		t.Errorf("an input that was left out became %q", in)
	}
	if v := inner.Nodes[0].Attrs["alpha"]; v != graph.AttrRef("alpha") {
		t.Errorf("the function itself changed: %v", v)
	}
	// Only some: the others keep calling what is gone, in its own words.
	g = build()
	if err := g.Inline(func(f *graph.Function) bool { return f.Name == "Inner" }); err != nil {
		t.Fatal(err)
	}
	if got := ops(g); !slices.Equal(got, []string{"d.Outer", "d.Outer"}) || len(g.Functions) != 1 || len(g.Functions[0].Nodes) != 4 {
		t.Errorf("nodes %v, functions %v", got, g.Functions)
	}
	if v := g.Functions[0].Nodes[0].Attrs["alpha"]; v != graph.AttrRef("beta") {
		t.Errorf("the reference became %v", v)
	}
	if err := g.Validate(); err != nil {
		t.Error(err)
	}
	g = build()
	g.Functions[0].Opset = map[string]int64{"": 12}
	if err := g.Inline(nil); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("a function of another opset: %v", err)
	}
}

func TestPrune(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", tensor.Float32, sym(2))
	b.Input("unused", tensor.Float32, sym(2))
	w, dead := b.Init("w", tensor.Vector[float32](1, 2)), b.Init("dead", tensor.Vector[float32](1, 2))
	y := b.Op("Add", nil, x, w)
	b.Op("Mul", nil, b.Op("Relu", nil, y), dead)
	b.Function(&graph.Function{Domain: "d", Name: "F", Inputs: []string{"a"}, Outputs: []string{"a"}})
	b.Output(y)
	g := mustGraph(t, b)
	if n := g.Prune(); n != 2 || len(g.Nodes) != 1 || len(g.Initializers) != 1 || len(g.Inputs) != 2 || len(g.Values) != 0 || len(g.Functions) != 0 {
		t.Errorf("pruned %d nodes; left %v, %v, %v, %v, %v", n, ops(g), g.Initializers, g.Inputs, g.Values, g.Functions)
	}
	if err := g.Validate(); err != nil {
		t.Error(err)
	}
}

func shapes(g *graph.Graph) error { return infer.Shapes(g) }

// adder is an Evaluator that knows Add of float32 vectors, and nothing else.
type adder struct{ runs int }

func (a *adder) Evaluate(_ context.Context, g *graph.Graph) ([]*tensor.Tensor, error) {
	a.runs++
	n := g.Nodes[0]
	if len(g.Nodes) != 1 || n.OpType != "Add" || len(g.Inputs) != 0 {
		return nil, fmt.Errorf("cannot run %v", ops(g))
	}
	x, y := tensor.Data[float32](g.Initializer(n.Inputs[0])), tensor.Data[float32](g.Initializer(n.Inputs[1]))
	z := make([]float32, len(x))
	for i := range z {
		z[i] = x[i] + y[i]
	}
	return []*tensor.Tensor{tensor.Vector(z...)}, nil
}

func TestFold(t *testing.T) {
	build := func() *graph.Graph {
		b := graph.NewBuilder("g")
		x := b.Input("x", tensor.Float32, sym("N", 2))
		one, two := b.Init("one", tensor.Vector[float32](1, 1)), b.Init("two", tensor.Vector[float32](2, 2))
		four := b.Op("Add", nil, b.Op("Add", nil, one, one), two)
		neg := b.Op("Neg", nil, two)
		noise := b.Op("RandomNormalLike", nil, two)
		b.Output(b.Op("Sum", nil, x, four, neg, noise))
		return mustGraph(t, b)
	}
	g := build()
	n, err := g.Fold(t.Context(), &adder{}, shapes)
	if err != nil || n != 2 {
		t.Fatalf("folded %d nodes (%v), want 2", n, err)
	}
	if got := ops(g); !slices.Equal(got, []string{"Neg", "RandomNormalLike", "Sum"}) {
		t.Errorf("left are %v", got)
	}
	if v := g.Initializer(g.Nodes[2].Inputs[1]); v == nil || tensor.Data[float32](v)[0] != 4 {
		t.Errorf("the constant is %v", v)
	}
	if g.Initializer("one") != nil {
		t.Error("what is not needed any more is still there")
	}
	if err := g.Validate(); err != nil {
		t.Error(err)
	}
	g = build()
	if n, err := g.Fold(t.Context(), &adder{}, shapes, "one"); n != 0 || err != nil {
		t.Errorf("folded %d nodes over a variable (%v)", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := build().Fold(ctx, &adder{}, shapes); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context gave %v", err)
	}
	// What would become huge stays.
	b := graph.NewBuilder("g")
	x := b.Init("x", tensor.Must(tensor.New(tensor.Float32, 1, 4096)))
	y := b.Init("y", tensor.Must(tensor.New(tensor.Float32, 4096, 1)))
	b.Output(b.Op("Add", nil, x, y))
	a := &adder{}
	if n, err := mustGraph(t, b).Fold(t.Context(), a, shapes); n != 0 || err != nil || a.runs != 0 {
		t.Errorf("folded %d nodes in %d runs (%v)", n, a.runs, err)
	}
}

func TestClone(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", tensor.Float32, sym("N"))
	sub := &graph.Graph{Nodes: []*graph.Node{node("Relu", "", "x", "inner")}, Outputs: []graph.Value{{Name: "inner"}}}
	cond := b.Op("Constant", graph.Attrs{"value": tensor.Scalar(true)})
	b.Output(b.Op("If", graph.Attrs{"then_branch": sub, "else_branch": &graph.Graph{Outputs: []graph.Value{{Name: x}}}}, cond))
	g := mustGraph(t, b)
	c := g.Clone()
	c.Rename(func(s string) string { return s + "!" })
	c.Inputs[0].Shape[0].Symbol = "M"
	if g.Nodes[1].Outputs[0] == c.Nodes[1].Outputs[0] || sub.Nodes[0].Inputs[0] != "x" || g.Inputs[0].Shape[0].Symbol != "N" {
		t.Errorf("the clone shares with %v: %v, %v", g.Nodes[1], sub.Nodes[0], g.Inputs)
	}
	if err := errors.Join(g.Validate(), c.Validate()); err != nil {
		t.Error(err)
	}
}
