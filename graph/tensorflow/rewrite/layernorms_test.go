package rewrite_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
)

func TestLayerNorms(t *testing.T) {
	const plain = "ReduceMean axes=[AXIS], Sub, Mul, ReduceMean axes=[AXIS], Add, Sqrt, Reciprocal, Mul, Mul, Sub, Mul, Add"
	for _, c := range []struct {
		name  string
		axis  int64
		gamma []int
		of    string // the variance's: "x" or another value
		after string
	}{
		{"of rows", -1, []int{6}, "x", "LayerNormalization axis=-1"},
		{"of rows, the axis counted from the front", 2, []int{6}, "x", "LayerNormalization axis=-1"},
		{"over another axis", 1, []int{6}, "x", ""},
		{"with more than a row", -1, []int{5, 6}, "x", ""},
		{"by the spread of something else", -1, []int{6}, "z", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.input("x", 3, 5, 6)
			of := x
			if c.of != "x" {
				of = n.input(c.of, 3, 5, 6)
			}
			average := func(v string) string { return n.Op("ReduceMean", graph.Attrs{"axes": []int64{c.axis}}, v) }
			mean := average(x)
			d := n.Op("Sub", nil, of, mean)
			root := n.Op("Sqrt", nil, n.Op("Add", nil, n.Float(0.001), average(n.Op("Mul", nil, d, d))))
			s := n.Op("Mul", nil, n.weights("gamma", c.gamma...), n.Op("Reciprocal", nil, root))
			shifted := n.Op("Sub", nil, n.weights("beta", 6), n.Op("Mul", nil, mean, s))
			before := strings.ReplaceAll(plain, "AXIS", map[int64]string{-1: "-1", 1: "1", 2: "2"}[c.axis])
			after := c.after
			if after == "" {
				after = before
			}
			testPass(t, "layer normalizations", n, before, after, n.Op("Add", nil, n.Op("Mul", nil, x, s), shifted))
		})
	}
}
