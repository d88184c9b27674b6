package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
)

// reduction is a Reduce operator's setting: its axes, non-negative, and whether it leaves the dimensions out.
type reduction struct {
	axes []int64
	drop bool
}

func (t *tape) reduction(n *graph.Node) (r reduction, err error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return r, err
	}
	r.drop = n.Attrs.Int("keepdims", 1) == 0
	axes := n.Attrs.Ints("axes", nil)
	if in := n.Input(1); in != "" {
		v, ok := t.constInts(in)
		if !ok {
			return r, fmt.Errorf("%w: %s: its axes are not constant", ErrNoGradient, nodeName(n))
		}
		axes = v
	}
	if len(axes) == 0 {
		if n.Attrs.Int("noop_with_empty_axes", 0) != 0 {
			return r, nil
		}
		for i := range rank {
			axes = append(axes, int64(i))
		}
	}
	for _, a := range axes {
		a, err := axisOf(n, a, rank)
		if err != nil {
			return r, err
		}
		r.axes = append(r.axes, a)
	}
	return r, nil
}

// keep gives a reduced value its dimensions of length 1 back.
func (t *tape) keep(r reduction, v string) string {
	if !r.drop || len(r.axes) == 0 {
		return v
	}
	return t.op("Unsqueeze", v, t.ints(r.axes...))
}

// count returns how many elements of x make one of the reduced value.
func (t *tape) reducedCount(r reduction, x string) string {
	s, p := t.shape(x), int64(1)
	for _, a := range r.axes {
		if !s[a].Known() {
			sizes := t.op("Gather", t.op("Shape", x), t.ints(r.axes...))
			return t.cast(t.reduce("ReduceProd", sizes, false), t.dtype)
		}
		p *= s[a].Size
	}
	return t.num(float64(p))
}

// reduced builds the gradient of a Reduce operator from the pieces that f is given: dy and y with x's rank.
func (t *tape) reduced(n *graph.Node, dy []string, f func(r reduction, x, y, dy string) string) ([]string, error) {
	r, err := t.reduction(n)
	if err != nil {
		return nil, err
	}
	return one(f(r, n.Input(0), t.keep(r, n.Output(0)), t.keep(r, dy[0])))
}

func reduceSumGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(_ reduction, x, _, dy string) string { return t.expandLike(dy, x) })
}

func reduceMeanGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(r reduction, x, _, dy string) string {
		return t.expandLike(t.op("Div", dy, t.reducedCount(r, x)), x)
	})
}

// reduceExtremeGradient shares the gradient evenly among the elements that are the extreme.
func reduceExtremeGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(r reduction, x, y, dy string) string {
		mask := t.mask(t.op("Equal", x, y))
		if len(r.axes) == 0 {
			return dy
		}
		return t.op("Mul", mask, t.op("Div", dy, t.reduce("ReduceSum", mask, true, r.axes...)))
	})
}

// reduceProdGradient is the product of the others for each element, zeros among them included: P being the product of what
// is not 0, an element's gradient is P over itself (over 1 where it is 0) where no other is 0, else 0.
func reduceProdGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(r reduction, x, _, dy string) string {
		if len(r.axes) == 0 {
			return dy
		}
		isZero := t.op("Equal", x, t.num(0))
		zero := t.mask(isZero)
		safe := t.op("Where", isZero, t.num(1), x)
		product := t.reduce("ReduceProd", safe, true, r.axes...)
		otherZeros := t.op("Sub", t.reduce("ReduceSum", zero, true, r.axes...), zero)
		alone := t.mask(t.op("Less", otherZeros, t.num(0.5)))
		return t.op("Mul", dy, t.op("Mul", t.op("Div", product, safe), alone))
	})
}

func reduceL1Gradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(_ reduction, x, _, dy string) string { return t.op("Mul", dy, t.op("Sign", x)) })
}

func reduceL2Gradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(_ reduction, x, y, dy string) string { return t.op("Mul", t.op("Div", dy, y), x) })
}

func reduceSumSquareGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(_ reduction, x, _, dy string) string {
		return t.op("Mul", dy, t.op("Mul", x, t.num(2)))
	})
}

func reduceLogSumExpGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(_ reduction, x, y, dy string) string {
		return t.op("Mul", dy, t.op("Exp", t.op("Sub", x, y)))
	})
}

func reduceLogSumGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return t.reduced(n, dy, func(_ reduction, x, y, dy string) string { return t.expandLike(t.op("Div", dy, t.op("Exp", y)), x) })
}
