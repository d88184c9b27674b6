package gradient

import "github.com/millrace/millrace/graph"

// slope makes the gradient of an operator on single elements from its slope.
func slope(f func(t *tape, n *graph.Node) string) func(*tape, *graph.Node, []string) ([]string, error) {
	return func(t *tape, n *graph.Node, dy []string) ([]string, error) { return one(t.op("Mul", dy[0], f(t, n))) }
}

// overRoot divides by the square root of what f makes.
func overRoot(f func(t *tape, x string) string) func(*tape, *graph.Node, []string) ([]string, error) {
	return func(t *tape, n *graph.Node, dy []string) ([]string, error) {
		return one(t.op("Div", dy[0], t.op("Sqrt", f(t, n.Input(0)))))
	}
}

// oneMinusSquare is (1-x)(1+x), which keeps its digits near 1.
func oneMinusSquare(t *tape, x string) string {
	return t.op("Mul", t.op("Sub", t.num(1), x), t.op("Add", t.num(1), x))
}

func sinGradient(t *tape, n *graph.Node) string { return t.op("Cos", n.Input(0)) }

func cosGradient(t *tape, n *graph.Node) string { return t.op("Neg", t.op("Sin", n.Input(0))) }

func tanGradient(t *tape, n *graph.Node) string { return t.op("Add", t.num(1), t.square(n.Output(0))) }

func sinhGradient(t *tape, n *graph.Node) string { return t.op("Cosh", n.Input(0)) }

func coshGradient(t *tape, n *graph.Node) string { return t.op("Sinh", n.Input(0)) }

func acosGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Neg", t.op("Div", dy[0], t.op("Sqrt", oneMinusSquare(t, n.Input(0))))))
}

func atanGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Div", dy[0], t.op("Add", t.num(1), t.square(n.Input(0)))))
}

func onePlusSquare(t *tape, x string) string { return t.op("Add", t.num(1), t.square(x)) }

// squareMinusOne is (x-1)(x+1).
func squareMinusOne(t *tape, x string) string {
	return t.op("Mul", t.op("Sub", x, t.num(1)), t.op("Add", x, t.num(1)))
}

func atanhGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Div", dy[0], oneMinusSquare(t, n.Input(0))))
}

// mishGradient is that of x*tanh(softplus(x)).
func mishGradient(t *tape, n *graph.Node) string {
	x := n.Input(0)
	th := t.op("Tanh", t.op("Softplus", x))
	rest := t.op("Mul", t.op("Mul", x, t.op("Sub", t.num(1), t.square(th))), t.op("Sigmoid", x))
	return t.op("Add", th, rest)
}

// swishGradient is that of x*sigmoid(alpha*x).
func swishGradient(t *tape, n *graph.Node) string {
	ax := t.op("Mul", n.Input(0), t.num(float64(n.Attrs.Float("alpha", 1))))
	s := t.op("Sigmoid", ax)
	return t.op("Mul", s, t.op("Add", t.num(1), t.op("Mul", ax, t.op("Sub", t.num(1), s))))
}

// shrinkGradient passes what is not made 0.
func shrinkGradient(t *tape, n *graph.Node) string {
	return t.mask(t.op("Greater", t.op("Abs", n.Input(0)), t.num(float64(n.Attrs.Float("lambd", 0.5)))))
}

// modGradient is that of a - b*q, q being a whole number.
func modGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.two(n, func() string { return dy[0] }, func() string {
		q := t.op("Round", t.op("Div", t.op("Sub", n.Input(0), n.Output(0)), n.Input(1)))
		return t.op("Neg", t.op("Mul", dy[0], q))
	})
}
