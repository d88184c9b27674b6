package rewrite_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
)

func TestFusedNorms(t *testing.T) {
	const long = "Reshape, ReduceMean axes=[0 2 3], Sub, Mul, ReduceMean axes=[0 2 3], Add, Sqrt, Div, Expand, Unsqueeze, Mul, Add, Reshape, Mul, Add"
	for _, c := range []struct {
		name   string
		dims   []int64 // of the rows
		scale  float32
		offset float32
		axes   []int64 // of the variance
		back   []int64 // nil for the value's Shape
		after  string
	}{
		{"as Keras has it", []int64{1, -1, 6, 1}, 1, 0, []int64{0, 2, 3}, []int64{-1, 5, 6}, "LayerNormalization axis=-1"},
		{"by the value's shape", []int64{1, -1, 6, 1}, 1, 0, []int64{0, 2, 3}, nil, "LayerNormalization axis=-1"},
		{"scaled by two", []int64{1, -1, 6, 1}, 2, 0, []int64{0, 2, 3}, []int64{-1, 5, 6}, ""},
		{"moved", []int64{1, -1, 6, 1}, 1, 0.5, []int64{0, 2, 3}, []int64{-1, 5, 6}, ""},
		{"half a row each", []int64{1, -1, 3, 1}, 1, 0, []int64{0, 2, 3}, []int64{-1, 5, 6}, ""},
		{"the spread over all rows", []int64{1, -1, 6, 1}, 1, 0, []int64{0, 1, 2, 3}, []int64{-1, 5, 6}, ""},
		{"axes in another order", []int64{1, -1, 6, 1}, 1, 0, []int64{0, 2, 3}, []int64{5, -1, 6}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.input("x", 3, 5, 6)
			back, before := n.Ints(c.back...), long
			if c.back == nil {
				back, before = n.Op("Shape", nil, x), "Shape, "+long
			}
			rows := n.Op("Reshape", nil, x, n.Ints(c.dims...))
			mean := func(v string, axes ...int64) string { return n.Op("ReduceMean", graph.Attrs{"axes": axes}, v) }
			d := n.Op("Sub", nil, rows, mean(rows, 0, 2, 3))
			root := n.Op("Sqrt", nil, n.Op("Add", nil, mean(n.Op("Mul", nil, d, d), c.axes...), n.Float(0.001)))
			whole := n.Op("Div", nil, d, root)
			ones := n.Op("Unsqueeze", nil, n.Op("Expand", nil, n.Float(c.scale), n.Ints(90/c.dims[2])), n.Ints(1, 2))
			whole = n.Op("Add", nil, n.Op("Mul", nil, whole, ones), n.Float(c.offset))
			y := n.Op("Add", nil, n.Op("Mul", nil, n.Op("Reshape", nil, whole, back), n.weights("gamma", 6)), n.weights("beta", 6))
			if len(c.axes) == 4 {
				before = strings.Replace(before, "Mul, ReduceMean axes=[0 2 3]", "Mul, ReduceMean axes=[0 1 2 3]", 1)
			}
			after := c.after
			if after == "" {
				after = before
			}
			testPass(t, "fused layer normalizations", n, before, after, y)
		})
	}
}
