package rewrite_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestGelus(t *testing.T) {
	const half, root, part, circle = 0.5, 0.70710678, 0.044715, 0.79788456
	cast := func(n net, x string, to tensor.DType) string {
		return n.Op("Cast", graph.Attrs{"to": int64(to)}, x)
	}
	mul := func(n net, a, b string) string { return n.Op("Mul", nil, a, b) }
	erf := func(n net, x string, by float32) string { return n.Op("Erf", nil, mul(n, x, n.Float(by))) }
	cube := func(n net, x string) string { return mul(n, mul(n, x, x), x) }
	tanh := func(n net, x, inner string) string {
		return mul(n, mul(n, n.Float(half), x), n.Op("Add", nil, n.Float(1), n.Op("Tanh", nil, mul(n, n.Float(circle), inner))))
	}
	for _, c := range []struct {
		name          string
		write         func(n net, x string) string
		before, after string
	}{
		{"as Keras has it", func(n net, x string) string {
			wide := cast(n, mul(n, n.Op("Neg", nil, x), n.Float(root)), tensor.Float64)
			erfc := n.Op("Sub", nil, n.Init("one", tensor.Scalar(1.0)), n.Op("Erf", nil, wide))
			return mul(n, mul(n, n.Float(half), x), cast(n, erfc, tensor.Float32))
		}, "Neg, Mul, Cast, Erf, Sub, Mul, Cast, Mul", "Gelu"},
		{"of erf, divided", func(n net, x string) string {
			return mul(n, mul(n, x, n.Float(half)), n.Op("Add", nil, n.Op("Erf", nil, n.Op("Div", nil, x, n.Float(1.4142135))), n.Float(1)))
		}, "Mul, Div, Erf, Add, Mul", "Gelu"},
		{"half of the sum", func(n net, x string) string {
			return mul(n, x, mul(n, n.Float(half), n.Op("Add", nil, n.Float(1), erf(n, x, root))))
		}, "Mul, Erf, Add, Mul, Mul", "Gelu"},
		{"of a product", func(n net, x string) string {
			y := mul(n, x, n.Float(3))
			return mul(n, mul(n, y, n.Float(half)), n.Op("Add", nil, erf(n, y, root), n.Float(1)))
		}, "Mul, Mul, Mul, Erf, Add, Mul", "Mul, Gelu"},
		{"by tanh", func(n net, x string) string {
			return tanh(n, x, n.Op("Add", nil, x, mul(n, n.Float(part), n.Op("Pow", nil, x, n.Float(3)))))
		}, "Pow, Mul, Add, Mul, Mul, Tanh, Add, Mul", "Gelu approximate=tanh"},
		{"by tanh of a cube", func(n net, x string) string {
			return tanh(n, x, n.Op("Add", nil, x, mul(n, n.Float(part), cube(n, x))))
		}, "Mul, Mul, Mul, Add, Mul, Mul, Tanh, Add, Mul", "Gelu approximate=tanh"},
		{"by tanh, x taken out", func(n net, x string) string {
			return tanh(n, x, mul(n, x, n.Op("Add", nil, n.Float(1), mul(n, mul(n, x, n.Float(part)), x))))
		}, "Mul, Mul, Add, Mul, Mul, Mul, Tanh, Add, Mul", "Gelu approximate=tanh"},
		{"another root", func(n net, x string) string {
			return mul(n, mul(n, x, n.Float(half)), n.Op("Add", nil, erf(n, x, 0.7071), n.Float(1)))
		}, "Mul, Mul, Erf, Add, Mul", ""},
		{"all of x", func(n net, x string) string {
			return mul(n, x, n.Op("Add", nil, erf(n, x, root), n.Float(1)))
		}, "Mul, Erf, Add, Mul", ""},
		{"of two values", func(n net, x string) string {
			return mul(n, mul(n, n.input("z", 3, 4), n.Float(half)), n.Op("Add", nil, erf(n, x, root), n.Float(1)))
		}, "Mul, Mul, Erf, Add, Mul", ""},
		{"less erf", func(n net, x string) string {
			return mul(n, mul(n, x, n.Float(half)), n.Op("Sub", nil, n.Float(1), erf(n, x, root)))
		}, "Mul, Mul, Erf, Sub, Mul", ""},
		{"another part of the cube", func(n net, x string) string {
			return tanh(n, x, n.Op("Add", nil, x, mul(n, n.Float(0.0447), cube(n, x))))
		}, "Mul, Mul, Mul, Add, Mul, Mul, Tanh, Add, Mul", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			y := c.write(n, n.input("x", 3, 4))
			after := c.after
			if after == "" {
				after = c.before
			}
			testPass(t, "gelus", n, c.before, after, y)
		})
	}
}
