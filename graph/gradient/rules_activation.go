package gradient

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/graph"
)

func pass(_ *tape, _ *graph.Node, dy []string) ([]string, error) { return one(dy[0]) }

func castGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	d := t.values[n.Input(0)].DType
	if !d.IsFloat() {
		d = t.dtype
	}
	return one(t.cast(dy[0], d))
}

// positive chooses between the gradients for x > 0 and for the rest.
func (t *tape) positive(x, then, other string) string {
	return t.op("Where", t.op("Greater", x, t.num(0)), then, other)
}

func reluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.call(FuncReluGradient, nil, 1, n.Output(0), dy[0])[0])
}

func leakyReluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	alpha := t.num(float64(n.Attrs.Float("alpha", 0.01)))
	return one(t.positive(n.Input(0), dy[0], t.op("Mul", dy[0], alpha)))
}

func preluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, slope := n.Input(0), n.Input(1)
	dx := t.positive(x, dy[0], t.op("Mul", dy[0], slope))
	var ds string
	if t.want(n, 1) {
		ds = t.sumTo(t.op("Mul", dy[0], t.op("Min", x, t.num(0))), n.Output(0), slope, x)
	}
	return []string{dx, ds}, nil
}

func eluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	alpha := t.num(float64(n.Attrs.Float("alpha", 1)))
	return one(t.positive(n.Input(0), dy[0], t.op("Mul", dy[0], t.op("Add", n.Output(0), alpha))))
}

func celuGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	alpha := t.num(float64(n.Attrs.Float("alpha", 1)))
	slope := t.op("Exp", t.op("Min", t.op("Div", n.Input(0), alpha), t.num(0)))
	return one(t.op("Mul", dy[0], slope))
}

func seluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	alpha, gamma := float64(n.Attrs.Float("alpha", 1.67326319217681884765625)), float64(n.Attrs.Float("gamma", 1.05070102214813232421875))
	right := t.op("Mul", dy[0], t.num(gamma))
	left := t.op("Mul", dy[0], t.op("Add", n.Output(0), t.num(alpha*gamma)))
	return one(t.positive(n.Input(0), right, left))
}

func thresholdedReluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	over := t.op("Greater", n.Input(0), t.num(float64(n.Attrs.Float("alpha", 1))))
	return one(t.op("Mul", dy[0], t.mask(over)))
}

func sigmoidGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	y := n.Output(0)
	return one(t.op("Mul", dy[0], t.op("Mul", y, t.op("Sub", t.num(1), y))))
}

// between is 1 where y is inside of 0 and 1, else 0.
func (t *tape) between(y string) string {
	return t.mask(t.op("And", t.op("Greater", y, t.num(0)), t.op("Less", y, t.num(1))))
}

func hardSigmoidGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	slope := t.op("Mul", t.between(n.Output(0)), t.num(float64(n.Attrs.Float("alpha", 0.2))))
	return one(t.op("Mul", dy[0], slope))
}

func hardSwishGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	sixth := t.op("Mul", x, t.num(1.0/6))
	linear := t.op("Add", sixth, t.num(0.5))
	h := t.op("Max", t.op("Min", linear, t.num(1)), t.num(0))
	return one(t.op("Mul", dy[0], t.op("Add", h, t.op("Mul", sixth, t.between(linear)))))
}

func tanhGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Mul", dy[0], t.op("Sub", t.num(1), t.square(n.Output(0)))))
}

// geluGradient is that of x*Phi(x), Phi being the normal distribution or its approximation by tanh.
func geluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	half := func(v string) string { return t.op("Mul", t.op("Add", v, t.num(1)), t.num(0.5)) }
	if n.Attrs.String("approximate", "none") != "tanh" {
		phi := half(t.op("Erf", t.op("Mul", x, t.num(1/math.Sqrt2))))
		density := t.op("Mul", t.op("Exp", t.op("Mul", t.square(x), t.num(-0.5))), t.num(1/math.Sqrt(2*math.Pi)))
		return one(t.op("Mul", dy[0], t.op("Add", phi, t.op("Mul", x, density))))
	}
	const c, k = 0.7978845608028654, 0.044715 // sqrt(2/pi), and Hendrycks and Gimpel's constant
	sq := t.square(x)
	th := t.op("Tanh", t.op("Mul", t.op("Mul", x, t.num(c)), t.op("Add", t.num(1), t.op("Mul", sq, t.num(k)))))
	slope := t.op("Mul", t.num(c/2), t.op("Add", t.num(1), t.op("Mul", sq, t.num(3*k))))
	rest := t.op("Mul", t.op("Mul", x, slope), t.op("Sub", t.num(1), t.square(th)))
	return one(t.op("Mul", dy[0], t.op("Add", half(th), rest)))
}

func softplusGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Mul", dy[0], t.op("Sigmoid", n.Input(0))))
}

func softsignGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.op("Div", dy[0], t.square(t.op("Add", t.num(1), t.op("Abs", n.Input(0))))))
}

func softmaxGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	y, axis := n.Output(0), n.Attrs.Int("axis", -1)
	sum := t.reduce("ReduceSum", t.op("Mul", dy[0], y), true, axis)
	return one(t.op("Mul", y, t.op("Sub", dy[0], sum)))
}

func logSoftmaxGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	sum := t.reduce("ReduceSum", dy[0], true, n.Attrs.Int("axis", -1))
	return one(t.op("Sub", dy[0], t.op("Mul", t.op("Exp", n.Output(0)), sum)))
}

// clipGradient passes what lies inside of the limits, which are inside themselves.
func clipGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	g := dy[0]
	if low := n.Input(1); low != "" {
		g = t.op("Mul", g, t.mask(t.op("GreaterOrEqual", n.Input(0), low)))
	}
	if high := n.Input(2); high != "" {
		g = t.op("Mul", g, t.mask(t.op("LessOrEqual", n.Input(0), high)))
	}
	return one(g)
}

func dropoutGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	mode := n.Input(2)
	if mode == "" {
		return one(dy[0])
	}
	c := t.known[mode]
	on, ok := boolOf(c)
	if !ok {
		return nil, fmt.Errorf("%w: %s: its mode is not a constant", ErrNoGradient, nodeName(n))
	}
	if !on {
		return one(dy[0])
	}
	for len(n.Outputs) < 2 {
		n.Outputs = append(n.Outputs, "")
	}
	if n.Outputs[1] == "" {
		n.Outputs[1] = t.name("mask")
	}
	ratio := t.num(0.5)
	if n.Input(1) != "" {
		ratio = t.cast(n.Input(1), t.dtype)
	}
	kept := t.op("Mul", dy[0], t.mask(n.Outputs[1]))
	return one(t.op("Div", kept, t.op("Sub", t.num(1), ratio)))
}
