package infer_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A Stepper finds, node by node, what Shapes finds of the whole graph, and gives unknown lengths symbols that follow them.
func TestStepper(t *testing.T) {
	p := infer.NewStepper(17)
	if err := p.Value(graph.Value{Name: "x", DType: tensor.Float32, Shape: sym("N", 1, "?", 28)}); err != nil {
		t.Fatal(err)
	}
	p.Constant("w", tensor.Must(tensor.New(tensor.Float32, 16, 1, 5, 5)))
	p.Constant("two", tensor.Scalar(int64(2)))
	for _, n := range []*graph.Node{
		{OpType: "Conv", Inputs: []string{"x", "w"}, Outputs: []string{"y"}},
		{OpType: "Relu", Inputs: []string{"y"}, Outputs: []string{"z"}},
		{OpType: "Shape", Inputs: []string{"z"}, Outputs: []string{"s"}},
		{OpType: "Gather", Inputs: []string{"s", "two"}, Outputs: []string{"h"}},
	} {
		if err := p.Node(n); err != nil {
			t.Fatal(err)
		}
	}
	y, z := p.Lookup("y"), p.Lookup("z")
	if y.Shape == nil || y.Shape[2].Symbol == "" || y.Shape[2] != z.Shape[2] || y.Shape[3].Size != 24 {
		t.Errorf("y %v, z %v: the unknown length must have one symbol in both", y, z)
	}
	s := p.Elements("s")
	if len(s) != 4 || s[0].Symbol != "N" || !s[1].Known || s[1].Value != 16 || s[2].Symbol != y.Shape[2].Symbol {
		t.Errorf("the elements of the shape are %v", s)
	}
	if h := p.Elements("h"); len(h) != 1 || h[0].Symbol != y.Shape[2].Symbol {
		t.Errorf("the height is %v", h)
	}
	if err := p.Value(graph.Value{Name: "z", Shape: sym("?", "?", 7, "?")}); err != nil {
		t.Fatal(err)
	}
	if z := p.Lookup("z"); z.Shape[2].Size != 7 || z.Shape[0].Symbol != "N" || z.DType != tensor.Float32 {
		t.Errorf("after more was said of it, z is %v", z)
	}
	if err := p.Value(graph.Value{Name: "z", Shape: sym("?", "?", 8, "?")}); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("a contradiction gives %v", err)
	}
	if err := p.Node(&graph.Node{OpType: "MatMul", Inputs: []string{"w", "h"}, Outputs: []string{"bad"}}); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("a node that contradicts itself gives %v", err)
	}
	if v := p.Lookup("nothing"); v.DType != tensor.Invalid || v.Shape != nil || p.Elements("nothing") != nil {
		t.Errorf("a value that is not there is %v", v)
	}
}
