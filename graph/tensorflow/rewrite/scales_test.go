package rewrite_test

import (
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestScalesConv(t *testing.T) {
	for _, c := range []struct {
		name          string
		filter        []int
		op            string
		attrs         graph.Attrs
		behind        func(n net, x string) string
		before, after string
	}{
		{"batch normalization as TensorFlow writes it", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string {
			return n.Op("Add", nil, n.Op("Mul", nil, x, n.weights("s", 4, 1, 1)), n.weights("b", 1, 4, 1, 1))
		}, "Conv, Mul, Add", "Conv"},
		{"batch normalization", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string {
			v := n.Init("v", tensor.Vector[float32](1, 0.5, 2, 3))
			return n.Op("BatchNormalization", graph.Attrs{"epsilon": float32(0.01)}, x, n.weights("s", 4), n.weights("b", 4), n.weights("m", 4), v)
		}, "Conv, BatchNormalization", "Conv"},
		{"depthwise", []int{6, 1, 2, 2}, "Conv", graph.Attrs{"group": int64(3)}, func(n net, x string) string {
			return n.Op("Sub", nil, n.Op("Div", nil, x, n.weights("s", 6, 1, 1)), n.weights("b", 6, 1, 1))
		}, "Conv, Div, Sub", "Conv"},
		{"transposed", []int{3, 4, 2, 2}, "ConvTranspose", nil, func(n net, x string) string {
			return n.Op("Mul", nil, n.Op("Add", nil, n.weights("b", 4, 1, 1), x), n.weights("s", 4, 1, 1))
		}, "ConvTranspose, Add, Mul", "ConvTranspose"},
		{"one for all", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string {
			return n.Op("Sub", nil, n.Float(2), n.Op("Mul", nil, n.Float(3), x))
		}, "Conv, Mul, Sub", "Conv"},
		{"the last axis, not the channels", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string { return n.Op("Mul", nil, x, n.weights("s", 4)) }, "Conv, Mul", "Conv, Mul"},
		{"one by it", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string { return n.Op("Div", nil, n.Float(1), x) }, "Conv, Div", "Conv, Div"},
		{"used twice", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string {
			return n.Op("Add", nil, n.Op("Mul", nil, x, n.Float(2)), n.Op("Relu", nil, x))
		}, "Conv, Mul, Relu, Add", "Conv, Mul, Relu, Add"},
		{"more axes", []int{4, 3, 2, 2}, "Conv", nil, func(n net, x string) string { return n.Op("Mul", nil, x, n.weights("s", 2, 1, 1, 1, 1)) }, "Conv, Mul", "Conv, Mul"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.Op(c.op, c.attrs, n.input("x", 2, 3, 5, 5), n.weights("w", c.filter...))
			testPass(t, "scales", n, c.before, c.after, c.behind(n, x))
		})
	}
}

func TestScalesProduct(t *testing.T) {
	for _, c := range []struct {
		name          string
		behind        func(n net, x string) string
		before, after string
	}{
		{"columns", func(n net, x string) string { return n.Op("Mul", nil, x, n.weights("s", 6)) }, "MatMul, Mul", "MatMul"},
		{"over a bias", func(n net, x string) string {
			return n.Op("Add", nil, n.Op("Mul", nil, n.Op("Add", nil, x, n.weights("b", 6)), n.weights("s", 6)), n.weights("c", 1, 6))
		}, "MatMul, Add, Mul, Add", "MatMul, Add"},
		{"rows", func(n net, x string) string { return n.Op("Mul", nil, x, n.weights("s", 4, 1)) }, "MatMul, Mul", "MatMul, Mul"},
		{"what is not a number afterwards", func(n net, x string) string { return n.Op("Mul", nil, x, n.Float(float32(math.Inf(1)))) }, "MatMul, Mul", "MatMul, Mul"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			testPass(t, "scales", n, c.before, c.after, c.behind(n, n.Op("MatMul", nil, n.input("x", 4, 5), n.weights("w", 5, 6))))
		})
	}
}

// TestScalesShared holds that weights which two nodes use stay one.
func TestScalesShared(t *testing.T) {
	n := newNet()
	w := n.weights("w", 5, 6)
	y := n.Op("Mul", nil, n.Op("MatMul", nil, n.input("x", 4, 5), w), n.Float(2))
	g := testPass(t, "scales", n, "MatMul, Mul, MatMul, Mul", "MatMul, Mul, MatMul, Mul", y, n.Op("Mul", nil, n.Op("MatMul", nil, n.input("z", 4, 5), w), n.Float(3)))
	if len(g.Initializers) != 3 {
		t.Errorf("%d constants", len(g.Initializers))
	}
}
