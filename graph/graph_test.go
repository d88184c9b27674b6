package graph_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestAttrs(t *testing.T) {
	a := graph.Attrs{
		"INT": int64(3), "FLOAT": float32(1.5), "STRING": "s", "INTS": []int64{1}, "FLOATS": []float32{2}, "STRINGS": []string{"x"},
		"TENSOR": tensor.Scalar(true), "TENSORS": []*tensor.Tensor{}, "GRAPH": &graph.Graph{Name: "g"}, "GRAPHS": []*graph.Graph{},
		"TYPE_PROTO": graph.Value{}, "REF": graph.AttrRef("r"),
	}
	for kind := range a {
		if got := a.Kind(kind); got != kind {
			t.Errorf("kind of %s is %q", kind, got)
		}
	}
	if a.Kind("none") != "" || a.Has("none") || !a.Has("REF") {
		t.Error("an attribute that is not there is")
	}
	if a.Int("INT", 1) != 3 || a.Float("FLOAT", 1) != 1.5 || a.String("STRING", "") != "s" || !a.Bool("INT", false) || a.Tensor("TENSOR") == nil ||
		a.Graph("GRAPH").Name != "g" || !slices.Equal(a.Ints("INTS", nil), []int64{1}) || !slices.Equal(a.Floats("FLOATS", nil), []float32{2}) ||
		!slices.Equal(a.Strings("STRINGS", nil), []string{"x"}) {
		t.Errorf("attributes are not what they were: %v", a)
	}
	if a.Int("FLOAT", 7) != 7 || a.Float("none", 7) != 7 || a.String("none", "d") != "d" || !a.Bool("none", true) || a.Tensor("INT") != nil ||
		a.Graph("INT") != nil || len(a.Ints("none", []int64{1, 2})) != 2 {
		t.Error("defaults are not given")
	}
}

func TestStrings(t *testing.T) {
	v := graph.Value{Name: "x", DType: tensor.Float32, Shape: sym("N", 3, "?")}
	for want, got := range map[string]fmt.Stringer{
		"x float32[N,3,?]":           v,
		"s sequence of float32[...]": graph.Value{Name: "s", DType: tensor.Float32, Container: "sequence"},
		"[]":                         graph.Shape{},
		"[...]":                      graph.Shape(nil),
		"[2,?]":                      graph.Dims(2, -1),
		"graph g: [x float32[N,3,?]] -> [], 0 nodes": &graph.Graph{Name: "g", Inputs: []graph.Value{v}},
	} {
		if got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if shape, ok := graph.Dims(2, 3).Static(); !ok || !shape.Equal(tensor.Shape{2, 3}) {
		t.Errorf("static shape %v, %v", shape, ok)
	}
	for _, s := range []graph.Shape{nil, sym("N"), graph.Dims(-1)} {
		if _, ok := s.Static(); ok {
			t.Errorf("%v is static", s)
		}
	}
	for name, want := range map[string][2]string{"Relu": {"", "Relu"}, "ai.millrace.F": {"ai.millrace", "F"}} {
		if d, op := graph.SplitOp(name); d != want[0] || op != want[1] || graph.OpName(d, op) != name {
			t.Errorf("%s splits into %q and %q", name, d, op)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	w := tensor.Scalar[float32](1)
	g := &graph.Graph{Inputs: values("x", "w", "y"), Initializers: []graph.Initializer{{Name: "w", Tensor: w}}}
	if got := g.Placeholders(); len(got) != 2 || got[0].Name != "x" || got[1].Name != "y" {
		t.Errorf("placeholders %v", got)
	}
	if g.Initializer("w") != w || g.Initializer("x") != nil {
		t.Error("the initializer is not found, or an input is")
	}
	n := node("Add", "a", "x w", "y")
	if n.Input(1) != "w" || n.Input(2) != "" || n.Output(0) != "y" || n.Output(1) != "" {
		t.Errorf("node %v", n)
	}
}
