package rewrite

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// maxFactors limits how many operands a product is taken apart into.
const maxFactors = 16

// scalar returns a constant of one float that leaves the shape of a value as it is.
func (w *work) scalar(name, beside string) (float64, bool) {
	t := w.consts[name]
	if t == nil || t.Size() != 1 || t.Rank() > max(0, w.rank(beside)) {
		return 0, false
	}
	if all, ok := floats(t); ok {
		return all[0], true
	}
	return 0, false
}

// near reports whether two numbers are the same but for the rounding of float32.
func near(a, b float64) bool { return math.Abs(a-b) <= 2e-7*math.Abs(b) }

// product takes a value apart into a number and values that are multiplied:
//
//	Mul, Div by a constant, Neg, and Pow with 2 or 3
//
// are taken apart, but a value for which stop says so. ok is false where there are too many factors.
func (w *work) product(name string, stop func(string) bool) (scale float64, factors []string, ok bool) {
	scale = 1
	queue := []string{name}
	for len(queue) > 0 {
		if len(queue)+len(factors) > maxFactors {
			return 0, nil, false
		}
		name := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		n := w.made[name]
		switch {
		case stop(name):
			factors = append(factors, name)
		case standard(n, "Neg"):
			scale, queue = -scale, append(queue, n.Inputs[0])
		case standard(n, "Mul") && w.number(n, 0, &scale, 1):
			queue = append(queue, n.Inputs[1])
		case standard(n, "Mul") && w.number(n, 1, &scale, 1):
			queue = append(queue, n.Inputs[0])
		case standard(n, "Mul"):
			queue = append(queue, n.Inputs[0], n.Inputs[1])
		case standard(n, "Div") && w.number(n, 1, &scale, -1):
			queue = append(queue, n.Inputs[0])
		case standard(n, "Pow"):
			if e, ok := w.scalar(n.Inputs[1], n.Inputs[0]); ok && (e == 2 || e == 3) {
				for range int(e) {
					queue = append(queue, n.Inputs[0])
				}
				continue
			}
			factors = append(factors, name)
		default:
			factors = append(factors, name)
		}
	}
	return scale, factors, true
}

// number multiplies scale by what operand i of a node is, or divides by it, where that is a number and not zero.
func (w *work) number(n *graph.Node, i int, scale *float64, power float64) bool {
	c, ok := w.scalar(n.Inputs[i], n.Inputs[1-i])
	if !ok || c == 0 {
		return false
	}
	*scale *= math.Pow(c, power)
	return true
}

// oneMore matches 1 + y, where y is not a constant, and 1 - y, of which sign is -1.
func (w *work) oneMore(name string) (y string, sign float64, ok bool) {
	n := w.made[name]
	if standard(n, "Add") {
		for i := range 2 {
			if c, ok := w.scalar(n.Inputs[i], n.Inputs[1-i]); ok && c == 1 {
				return n.Inputs[1-i], 1, true
			}
		}
	}
	if standard(n, "Sub") {
		if c, ok := w.scalar(n.Inputs[0], n.Inputs[1]); ok && c == 1 {
			return n.Inputs[1], -1, true
		}
	}
	return "", 0, false
}

// isFloat32 reports whether a value is of float32, of a rank that is known.
func (w *work) isFloat32(name string) bool {
	return w.values[name].DType == tensor.Float32 && w.rank(name) >= 0
}

// into makes a node another one, of the same output.
func (w *work) into(n *graph.Node, op string, attrs graph.Attrs, inputs ...string) {
	w.leave(n)
	n.OpType, n.Attrs, n.Inputs = op, attrs, inputs
	w.enter(n)
}
