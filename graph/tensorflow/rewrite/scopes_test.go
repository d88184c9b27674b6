package rewrite_test

import (
	"context"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/tensorflow/rewrite"
	"github.com/millrace/millrace/tensor"
)

// turns writes a Loop of three turns over a picture whose channels are last: a convolution in that format, a Relu twice, and a product with what the graph around has.
// One of its bodies has the same in the branches of an If.
func turns(n net, x string, filter string) string {
	node := func(op, out string, attrs graph.Attrs, in ...string) *graph.Node {
		return &graph.Node{Name: out, OpType: op, Inputs: in, Outputs: []string{out}, Attrs: attrs}
	}
	step := func(prefix, from string) []*graph.Node {
		first, last := graph.Attrs{"perm": []int64{0, 3, 1, 2}}, graph.Attrs{"perm": []int64{0, 2, 3, 1}}
		p := func(name string) string { return prefix + name }
		return []*graph.Node{
			node("Identity", p("same"), nil, from), node("Transpose", p("t0"), first, p("same")), node("Conv", p("c0"), nil, p("t0"), filter), node("Transpose", p("t1"), last, p("c0")),
			node("Relu", p("r0"), nil, p("t1")), node("Relu", p("r1"), nil, p("t1")), node("Add", p("sum"), nil, p("r0"), p("r1")),
			node("Transpose", p("t2"), first, p("sum")), node("Conv", p("c1"), nil, p("t2"), filter), node("Transpose", p("t3"), last, p("c1")),
			node("Tanh", p("y"), nil, p("t3")),
		}
	}
	picture := func(name string) graph.Value {
		return graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Dims(1, 4, 4, 2)}
	}
	scalar := func(name string, dtype tensor.DType) graph.Value {
		return graph.Value{Name: name, DType: dtype, Shape: graph.Shape{}}
	}
	yes := &graph.Graph{Name: "yes", Nodes: step("in", "y"), Outputs: []graph.Value{picture("iny")}}
	no := &graph.Graph{Name: "no", Nodes: []*graph.Node{node("Neg", "not", nil, "y")}, Outputs: []graph.Value{picture("not")}}
	body := &graph.Graph{
		Name: "body", Inputs: []graph.Value{scalar("i", tensor.Int64), scalar("on", tensor.Bool), picture("state")},
		Nodes: append(step("", "state"), node("Identity", "still", nil, "on"),
			node("If", "chosen", graph.Attrs{"then_branch": yes, "else_branch": no}, "on")),
		Outputs: []graph.Value{scalar("still", tensor.Bool), picture("chosen")},
	}
	return n.Op("Loop", graph.Attrs{"body": body}, n.Init("three", tensor.Scalar[int64](3)), n.Init("always", tensor.Scalar(true)), x)
}

// TestSubgraphs: passes go over the bodies of loops, and over branches in them, and the numbers stay.
func TestSubgraphs(t *testing.T) {
	n := newNet()
	filter := n.Init("filter", numbers(7, 2, 2, 1, 1))
	y := turns(n, n.input("x", 1, 4, 4, 2), filter)
	n.Output(y)
	g, err := infer.Build(n.Builder)
	if err != nil {
		t.Fatal(err)
	}
	g.Opset[""] = 17
	want := compute(t, g)
	if err := rewrite.Run(t.Context(), g, native.Evaluator(), rewrite.All()); err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	const step = "Transpose perm=[0 3 1 2], Conv, Relu, Add, Conv, Tanh, Transpose perm=[0 2 3 1]"
	body := g.Nodes[0].Attrs.Graph("body")
	if got := ops(body); got != "Transpose perm=[0 3 1 2], Conv, Relu, Add, Conv, Tanh, Identity, Transpose perm=[0 2 3 1], If" {
		t.Errorf("the body: %s", got)
	}
	inner := body.Nodes[len(body.Nodes)-1]
	if got := ops(inner.Attrs.Graph("then_branch")); inner.OpType != "If" || got != step {
		t.Errorf("the branch: %s", got)
	}
	equal(t, compute(t, g), want)
	if len(body.Initializers) != 0 {
		t.Errorf("the body has %d constants of its own", len(body.Initializers))
	}
}

// TestSubgraphsShare: weights that a body takes, and others too, are left as they are; those that it takes alone take what is done to each channel.
func TestSubgraphsShare(t *testing.T) {
	for _, shared := range []bool{false, true} {
		n := newNet()
		weights, scale := n.Init("w", numbers(7, 4, 4)), n.Init("scale", numbers(8, 4))
		x := n.input("x", 3, 4)
		body := &graph.Graph{
			Name: "then", Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Dims(3, 4)}},
			Nodes: []*graph.Node{
				{OpType: "MatMul", Inputs: []string{x, weights}, Outputs: []string{"p"}}, {OpType: "Mul", Inputs: []string{"p", scale}, Outputs: []string{"y"}},
			},
		}
		other := &graph.Graph{
			Name: "else", Outputs: []graph.Value{{Name: "z", DType: tensor.Float32, Shape: graph.Dims(3, 4)}},
			Nodes: []*graph.Node{{OpType: "Neg", Inputs: []string{x}, Outputs: []string{"z"}}},
		}
		y := n.Op("If", graph.Attrs{"then_branch": body, "else_branch": other}, n.Init("yes", tensor.Scalar(true)))
		wantOps := "MatMul"
		if shared {
			y, wantOps = n.Op("Add", nil, y, n.Op("MatMul", nil, x, weights)), "MatMul, Mul"
		}
		n.Output(y)
		g, err := infer.Build(n.Builder)
		if err != nil {
			t.Fatal(err)
		}
		g.Opset[""] = 17
		want := compute(t, g)
		if err := rewrite.Run(t.Context(), g, native.Evaluator(), rewrite.All()); err != nil {
			t.Fatal(err)
		}
		for _, node := range g.Nodes {
			if node.OpType == "If" {
				if got := ops(node.Attrs.Graph("then_branch")); got != wantOps {
					t.Errorf("shared %v: %s", shared, got)
				}
			}
		}
		for _, in := range g.Initializers {
			if in.Name == "scale" && !shared {
				t.Error("a constant is left that nobody takes")
			}
		}
		equal(t, compute(t, g), want)
	}
}

// TestSubgraphsStop holds that the end of a context ends the passes in subgraphs too.
func TestSubgraphsStop(t *testing.T) {
	n := newNet()
	n.Output(turns(n, n.input("x", 1, 4, 4, 2), n.Init("filter", numbers(7, 2, 2, 1, 1))))
	g, err := infer.Build(n.Builder)
	if err != nil {
		t.Fatal(err)
	}
	g.Opset[""] = 17
	ctx, cancel := context.WithCancel(t.Context())
	first := rewrite.Custom("cancels", func(*graph.Graph) (int, error) { cancel(); return 0, nil })
	if err := rewrite.Run(ctx, g, native.Evaluator(), append([]rewrite.Pass{first}, rewrite.All()...)); err == nil {
		t.Error("the passes ran to their end")
	}
}
