package infer_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// TestUntrueShapes: a shape that a file declares inside and that is not so is dropped with a note, and one of an output is an error.
func TestUntrueShapes(t *testing.T) {
	declared := func(name string, dtype tensor.DType, dims ...int) graph.Value {
		return graph.Value{Name: name, DType: dtype, Shape: graph.Dims(dims...)}
	}
	build := func() *graph.Graph {
		branch := func(op, out string) *graph.Graph {
			return &graph.Graph{Name: out, Outputs: []graph.Value{declared(out, tensor.Float32, 4)}, Nodes: []*graph.Node{{OpType: op, Inputs: []string{"h"}, Outputs: []string{out}}}}
		}
		return &graph.Graph{
			Opset: map[string]int64{"": 17}, Inputs: []graph.Value{declared("x", tensor.Float32, 3), {Name: "c", DType: tensor.Bool, Shape: graph.Shape{}}},
			Outputs: []graph.Value{{Name: "y", DType: tensor.Float32}},
			Values:  []graph.Value{declared("h", tensor.Float32, 2, 3)},
			Nodes: []*graph.Node{
				{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"h"}},
				{Name: "choice", OpType: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: graph.Attrs{"then_branch": branch("Sin", "a"), "else_branch": branch("Cos", "b")}},
			},
		}
	}
	g := build()
	if err := infer.Shapes(g); err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(g.Notes, "\n")
	for _, want := range []string{`Relu: "h" is declared with shape [2,3] and has [3]`, `Sin: "a" is declared with shape [4] and has [3]`, `Cos: "b" is`} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	if g.Outputs[0].Shape.String() != "[3]" || g.Values[0].Shape.String() != "[3]" {
		t.Errorf("the output is %v, the value %v", g.Outputs[0], g.Values)
	}
	if err := infer.Shapes(g); err != nil || len(g.Notes) != 3 {
		t.Errorf("a second time: %v, %d notes", err, len(g.Notes))
	}
	g = build()
	g.Outputs[0].Shape = graph.Dims(4)
	if err := infer.Shapes(g); err == nil || !strings.Contains(err.Error(), `"y" is declared`) {
		t.Errorf("an output that is not so: %v", err)
	}
	g = build()
	g.Values[0].DType = tensor.Int64
	if err := infer.Shapes(g); err == nil {
		t.Error("another type of a value inside is no error")
	}
}
