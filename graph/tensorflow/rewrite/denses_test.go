package rewrite_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func TestDenses(t *testing.T) {
	for _, c := range []struct {
		name  string
		dims  []int
		back  []int64
		after string
	}{
		{"all lengths known", []int{3, 5, 4}, []int64{3, 5, 6}, "MatMul"},
		{"one left open", []int{3, 5, 4}, []int64{-1, 5, 6}, "MatMul"},
		{"axes in another order", []int{3, 5, 4}, []int64{5, 3, 6}, "Reshape, MatMul, Reshape"},
		{"axes made one", []int{3, 5, 4}, []int64{1, 15, 6}, "Reshape, MatMul, Reshape"},
		{"the last axis shared out", []int{3, 5, 4}, []int64{3, 5, 2, 3}, "Reshape, MatMul, Reshape"},
		{"the last axis made longer", []int{3, 2, 4}, []int64{3, 1, 12}, "Reshape, MatMul, Reshape"},
		{"rows that go over axes", []int{3, 2, 2}, []int64{3, 1, 6}, "Reshape, MatMul, Reshape"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			flat := n.Op("Reshape", nil, n.input("x", c.dims...), n.Ints(-1, 4))
			y := n.Op("Reshape", nil, n.Op("MatMul", nil, flat, n.weights("w", 4, 6)), n.Ints(c.back...))
			testPass(t, "denses", n, "Reshape, MatMul, Reshape", c.after, y)
		})
	}
}

// TestDensesOpen has lengths that are open, so that the second Reshape takes them from the value's shape.
func TestDensesOpen(t *testing.T) {
	const long = "Shape, Cast, Gather, Concat, Reshape, MatMul, Cast, Reshape"
	for _, c := range []struct {
		name  string
		of    string // whose shape it is
		axes  []int32
		last  []int32
		after string
	}{
		{"as TensorFlow has it", "x", []int32{0, 1}, []int32{6}, "MatMul"},
		{"from the end", "x", []int32{0, -2}, []int32{6}, "MatMul"},
		{"axes in another order", "x", []int32{1, 0}, []int32{6}, long},
		{"of another value", "z", []int32{0, 1}, []int32{6}, long},
		{"with one more", "x", []int32{0, 1}, []int32{1, 6}, long},
		{"with an axis twice", "x", []int32{0, 0}, []int32{6}, long},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			for _, name := range []string{"x", "z"} { // one of which nobody may take
				n.Input(name, tensor.Float32, graph.Shape{{Size: -1, Symbol: name + "0"}, {Size: -1, Symbol: name + "1"}, graph.Dims(4)[0]})
			}
			list := n.Op("Gather", nil, n.Op("Cast", graph.Attrs{"to": int64(tensor.Int32)}, n.Op("Shape", nil, c.of)), n.Init("axes", tensor.Vector(c.axes...)))
			list = n.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, n.Op("Concat", graph.Attrs{"axis": int64(0)}, list, n.Init("last", tensor.Vector(c.last...))))
			product := n.Op("MatMul", nil, n.Op("Reshape", nil, "x", n.Ints(-1, 4)), n.weights("w", 4, 6))
			n.Output(n.Op("Reshape", nil, product, list))
			g, err := infer.Build(n.Builder)
			if err != nil {
				t.Fatal(err)
			}
			g.Opset[""] = 17
			want := compute(t, g)
			run(t, g, "denses")
			got := []string{}
			for _, node := range g.Nodes {
				got = append(got, node.OpType)
			}
			if len(got) != map[string]int{"MatMul": 1, long: 8}[c.after] {
				t.Errorf("after: %v, want %s", got, c.after)
			}
			equal(t, compute(t, g), want)
		})
	}
}
