package graph_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func node(op, name, in, out string) *graph.Node {
	return &graph.Node{OpType: op, Name: name, Inputs: strings.Fields(in), Outputs: strings.Fields(out)}
}

func values(names ...string) []graph.Value {
	vs := make([]graph.Value, len(names))
	for i, name := range names {
		vs[i] = graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Dims(2)}
	}
	return vs
}

func TestValidate(t *testing.T) {
	w := []graph.Initializer{{Name: "w", Tensor: tensor.Scalar[float32](1)}}
	branch := func(uses string) *graph.Graph {
		return &graph.Graph{Nodes: []*graph.Node{node("Relu", "in", uses, "inner")}, Outputs: []graph.Value{{Name: "inner"}}}
	}
	withBranch := func(uses string) *graph.Node {
		n := node("If", "choose", "x", "y")
		n.Attrs = graph.Attrs{"then_branch": branch(uses), "else_branch": branch("x")}
		return n
	}
	call := node("F", "call", "x", "y")
	call.Domain = "d"
	ref := node("Cast", "", "a", "b")
	ref.Attrs = graph.Attrs{"to": graph.AttrRef("type")}
	tests := []struct {
		name string
		g    *graph.Graph
		want []string // parts of the faults; none where the graph is valid
	}{
		{"valid", &graph.Graph{Inputs: values("x"), Initializers: w, Nodes: []*graph.Node{node("Add", "a", "x w", "y")}, Outputs: values("y")}, nil},
		{"an initializer that is an input", &graph.Graph{Inputs: values("x", "w"), Initializers: w, Nodes: []*graph.Node{node("Add", "a", "x w", "y")}, Outputs: values("y")}, nil},
		{"an input as output", &graph.Graph{Inputs: values("x"), Outputs: values("x")}, nil},
		{"a subgraph that takes from outside", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{withBranch("x")}, Outputs: values("y")}, nil},
		{"two faults", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{node("Add", "a", "x z", "y")}, Outputs: values("q")}, []string{`node 0 "a" (Add) uses "z", which nothing gives`, `output "q"`}},
		{"two producers", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{node("Relu", "a", "x", "y"), node("Relu", "b", "x", "y")}, Outputs: values("y")}, []string{`node 1 "b" (Relu) gives value "y", which node 0 "a" (Relu) gives already`}},
		{"a node that gives an input", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{node("Relu", "a", "x", "x")}, Outputs: values("x")}, []string{"an input gives already"}},
		{"two nodes of a name", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{node("Relu", "a", "x", "y"), node("Relu", "a", "x", "z")}, Outputs: values("y")}, []string{"the name of node 0"}},
		{"wrong order", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{node("Relu", "a", "z", "y"), node("Relu", "b", "x", "z")}, Outputs: values("y")}, []string{"which a later node or itself gives"}},
		{"two inputs of a name", &graph.Graph{Inputs: values("x", "x"), Outputs: values("x")}, []string{"an input gives value \"x\""}},
		{"two initializers of a name", &graph.Graph{Initializers: append(w, w...), Outputs: values("w")}, []string{"two initializers"}},
		{"an initializer without a tensor", &graph.Graph{Initializers: []graph.Initializer{{Name: "w"}}, Outputs: values("w")}, []string{"no tensor"}},
		{"no names", &graph.Graph{Inputs: values(""), Initializers: []graph.Initializer{{Tensor: w[0].Tensor}}, Outputs: values("")}, []string{"input 0", "initializer 0", "output 0"}},
		{"no operator", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{node("", "a", "x", "y")}, Outputs: values("y")}, []string{"no operator"}},
		{"no outputs", &graph.Graph{Inputs: values("x")}, []string{"no outputs"}},
		{"two outputs of a name", &graph.Graph{Inputs: values("x"), Outputs: values("x", "x")}, []string{"two outputs"}},
		{"a fault in a subgraph", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{withBranch("nowhere")}, Outputs: values("y")}, []string{`node 0 "choose" (If): node 0 "in" (Relu) uses "nowhere"`}},
		{"a function", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{call}, Outputs: values("y"),
			Functions: []*graph.Function{{Domain: "d", Name: "F", Inputs: []string{"a"}, Outputs: []string{"b"}, Nodes: []*graph.Node{node("Relu", "", "a", "b")}}}}, nil},
		{"a function of fewer inputs", &graph.Graph{Inputs: values("x"), Nodes: []*graph.Node{call}, Outputs: values("y"),
			Functions: []*graph.Function{{Domain: "d", Name: "F", Outputs: []string{"b"}, Nodes: []*graph.Node{node("Constant", "", "", "b")}}}}, []string{"with 1 inputs"}},
		{"a function's faults", &graph.Graph{Inputs: values("x"), Outputs: values("x"),
			Functions: []*graph.Function{{Domain: "d", Name: "F", Inputs: []string{"a"}, Outputs: []string{"c"}, Nodes: []*graph.Node{ref}}}},
			[]string{`function d.F: output "c"`, `attribute "to" refers to "type"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.g.Validate()
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("a valid graph has faults: %v", err)
				}
				return
			}
			if !errors.Is(err, graph.ErrInvalid) {
				t.Fatalf("got %v; want ErrInvalid", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestSort(t *testing.T) {
	g := &graph.Graph{Inputs: values("x"), Outputs: values("y"), Nodes: []*graph.Node{
		node("Add", "last", "b c", "y"), node("Relu", "first", "x", "a"), node("Relu", "left", "a", "b"), node("Relu", "right", "a", "c"),
	}}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil {
		t.Errorf("not valid after sorting: %v", err)
	}
	before := g.Nodes
	if err := g.Sort(); err != nil || &before[0] != &g.Nodes[0] {
		t.Errorf("a sorted graph changed (%v)", err)
	}
	// What a subgraph takes from outside counts as well.
	n := node("If", "choose", "x", "y")
	n.Attrs = graph.Attrs{"then_branch": &graph.Graph{Nodes: []*graph.Node{node("Relu", "", "a", "inner")}, Outputs: values("inner")}}
	g = &graph.Graph{Inputs: values("x"), Outputs: values("y"), Nodes: []*graph.Node{n, node("Relu", "", "x", "a")}}
	if err := g.Sort(); err != nil || g.Nodes[1] != n {
		t.Errorf("a subgraph's use is not seen: %v, %v", g.Nodes, err)
	}
	g = &graph.Graph{Nodes: []*graph.Node{node("Relu", "a", "y", "x"), node("Relu", "b", "x", "y")}, Outputs: values("y")}
	if err := g.Sort(); !errors.Is(err, graph.ErrInvalid) || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("a cycle: %v", err)
	}
	// A chain of a million nodes in the wrong order must not overflow a stack, nor take long.
	const n1 = 100_000
	g = &graph.Graph{Inputs: values("0"), Outputs: values("0")}
	for i := n1; i > 0; i-- {
		g.Nodes = append(g.Nodes, &graph.Node{OpType: "Relu", Inputs: []string{itoa(i - 1)}, Outputs: []string{itoa(i)}})
	}
	if err := errors.Join(g.Sort(), g.Validate()); err != nil {
		t.Errorf("a long chain: %v", err)
	}
}
