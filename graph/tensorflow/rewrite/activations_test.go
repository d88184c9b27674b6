package rewrite_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
)

func TestSoftmaxes(t *testing.T) {
	for _, c := range []struct {
		name   string
		top    string // what is taken off
		axis   int64  // that the sum is over
		keep   int64
		before string
		after  string
	}{
		{"over an axis", "ReduceMax", -2, 1, "ReduceMax axes=[1], Sub, Exp, ReduceSum, Div", "Softmax axis=1"},
		{"over another axis than the maximum", "ReduceMax", 2, 1, "ReduceMax axes=[1], Sub, Exp, ReduceSum, Div", ""},
		{"less the mean", "ReduceMean", 1, 1, "ReduceMean axes=[1], Sub, Exp, ReduceSum, Div", ""},
		{"an axis that goes", "ReduceMax", 1, 0, "ReduceMax axes=[1], Sub, Exp, ReduceSum, Div", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.input("x", 4, 4, 4)
			e := n.Op("Exp", nil, n.Op("Sub", nil, x, n.Op(c.top, graph.Attrs{"axes": []int64{1}, "keepdims": int64(1)}, x)))
			y := n.Op("Div", nil, e, n.Op("ReduceSum", graph.Attrs{"keepdims": c.keep}, e, n.Ints(c.axis)))
			after := c.after
			if after == "" {
				after = c.before
			}
			testPass(t, "softmaxes", n, c.before, after, y)
		})
	}
}

func TestHardSigmoids(t *testing.T) {
	for _, c := range []struct {
		name          string
		write         func(n net, x string) string
		before, after string
	}{
		{"of Keras 2", func(n net, x string) string {
			return n.Op("Clip", nil, n.Op("Add", nil, n.Op("Mul", nil, n.Float(0.2), x), n.Float(0.5)), n.Float(0), n.Float(1))
		}, "Mul, Add, Clip", "HardSigmoid"},
		{"with Min and Max", func(n net, x string) string {
			sum := n.Op("Add", nil, n.Op("Mul", nil, x, n.Float(0.2)), n.Float(0.5))
			return n.Op("Max", nil, n.Op("Min", nil, sum, n.Float(1)), n.Float(0))
		}, "Mul, Add, Min, Max", "HardSigmoid"},
		{"of MobileNet 3", func(n net, x string) string {
			return n.Op("Div", nil, n.Op("Clip", nil, n.Op("Add", nil, x, n.Float(3)), n.Float(0), n.Float(6)), n.Float(6))
		}, "Add, Clip, Div", "HardSigmoid"},
		{"up to two", func(n net, x string) string {
			return n.Op("Clip", nil, n.Op("Add", nil, n.Op("Mul", nil, n.Float(0.2), x), n.Float(0.5)), n.Float(0), n.Float(2))
		}, "Mul, Add, Clip", ""},
		{"down to less than zero", func(n net, x string) string {
			return n.Op("Clip", nil, n.Op("Add", nil, x, n.Float(0.5)), n.Float(-0.1), n.Float(1))
		}, "Add, Clip", ""},
		{"falling", func(n net, x string) string {
			return n.Op("Neg", nil, n.Op("Clip", nil, n.Op("Add", nil, x, n.Float(3)), n.Float(0), n.Float(1)))
		}, "Add, Clip, Neg", "HardSigmoid, Neg"},
		{"Min twice", func(n net, x string) string {
			return n.Op("Min", nil, n.Op("Min", nil, n.Op("Add", nil, x, n.Float(3)), n.Float(1)), n.Float(0))
		}, "Add, Min, Min", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			y := c.write(n, n.input("x", 30, 4))
			after := c.after
			if after == "" {
				after = c.before
			}
			testPass(t, "hard sigmoids", n, c.before, after, y)
		})
	}
}
