package gradient

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// boolOf reads a constant boolean.
func boolOf(c *tensor.Tensor) (v, ok bool) {
	if c == nil || c.DType() != tensor.Bool || c.Size() != 1 {
		return false, false
	}
	return tensor.Data[bool](c)[0], true
}

func erfGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	bell := t.op("Exp", t.op("Neg", t.square(n.Input(0))))
	return one(t.op("Mul", dy[0], t.op("Mul", bell, t.num(2/math.Sqrt(math.Pi)))))
}

func expGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Mul", dy[0], n.Output(0)))
}

func logGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Div", dy[0], n.Input(0)))
}

func sqrtGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Div", t.op("Mul", dy[0], t.num(0.5)), n.Output(0)))
}

func reciprocalGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Neg", t.op("Mul", dy[0], t.square(n.Output(0)))))
}

func absGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Mul", dy[0], t.op("Sign", n.Input(0))))
}

func negGradient(t *tape, _ *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Neg", dy[0]))
}

// two gives each of two operands its gradient, where it is wanted, summed to its shape.
func (t *tape) two(n *graph.Node, left, right func() string) ([]string, error) {
	dx := make([]string, 2)
	for i, f := range []func() string{left, right} {
		if t.want(n, i) {
			dx[i] = t.sumTo(f(), n.Output(0), n.Input(i), n.Input(1-i))
		}
	}
	return dx, nil
}

func addGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	same := func() string { return dy[0] }
	return t.two(n, same, same)
}

func subGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.two(n, func() string { return dy[0] }, func() string { return t.op("Neg", dy[0]) })
}

func mulGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.two(n, func() string { return t.op("Mul", dy[0], n.Input(1)) }, func() string { return t.op("Mul", dy[0], n.Input(0)) })
}

func divGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.two(n, func() string { return t.op("Div", dy[0], n.Input(1)) }, func() string {
		return t.op("Neg", t.op("Div", t.op("Mul", dy[0], n.Output(0)), n.Input(1)))
	})
}

// powGradient is b*a^(b-1) and a^b*ln(a), the second being 0 where a is 0.
func powGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	a, b := n.Input(0), n.Input(1)
	wide := b
	if t.values[b].DType != t.dtype {
		wide = t.cast(b, t.dtype)
	}
	return t.two(n, func() string {
		return t.op("Mul", dy[0], t.op("Mul", wide, t.op("Pow", a, t.op("Sub", wide, t.num(1)))))
	}, func() string {
		safe := t.op("Where", t.op("Equal", a, t.num(0)), t.num(1), a)
		return t.op("Mul", dy[0], t.op("Mul", n.Output(0), t.op("Log", safe)))
	})
}

// others returns the inputs of n without the i-th.
func others(n *graph.Node, i int) []string {
	var list []string
	for k, in := range n.Inputs {
		if k != i {
			list = append(list, in)
		}
	}
	return list
}

// extremeGradient shares the gradient of Min and Max evenly among the operands that are the extreme.
func extremeGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	if len(n.Inputs) == 1 {
		return one(dy[0])
	}
	masks := make([]string, len(n.Inputs))
	for i, in := range n.Inputs {
		masks[i] = t.mask(t.op("Equal", in, n.Output(0)))
	}
	share := t.op("Div", dy[0], t.op("Sum", masks...))
	dx := make([]string, len(n.Inputs))
	for i, in := range n.Inputs {
		if t.want(n, i) {
			dx[i] = t.sumTo(t.op("Mul", share, masks[i]), n.Output(0), in, others(n, i)...)
		}
	}
	return dx, nil
}

func sumGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	dx := make([]string, len(n.Inputs))
	for i, in := range n.Inputs {
		if t.want(n, i) {
			dx[i] = t.sumTo(dy[0], n.Output(0), in, others(n, i)...)
		}
	}
	return dx, nil
}

func meanGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return sumGradient(t, n, []string{t.op("Mul", dy[0], t.num(1/float64(len(n.Inputs))))})
}

func whereGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	dx := make([]string, 3)
	zero := t.num(0)
	if t.want(n, 1) {
		dx[1] = t.sumTo(t.op("Where", n.Input(0), dy[0], zero), n.Output(0), n.Input(1), n.Input(0), n.Input(2))
	}
	if t.want(n, 2) {
		dx[2] = t.sumTo(t.op("Where", n.Input(0), zero, dy[0]), n.Output(0), n.Input(2), n.Input(0), n.Input(1))
	}
	return dx, nil
}
