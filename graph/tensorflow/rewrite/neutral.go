package rewrite

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// neutral removes nodes that give what they take: Identity, a product with one, a cast to the type that is there, a Slice that takes all,
// Squeeze of what Unsqueeze added and the reverse.
func neutral(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if n.Domain != graph.OnnxDomain || len(n.Outputs) != 1 || len(n.Inputs) == 0 || w.gone[n] {
			continue
		}
		from, ok := w.passes(n)
		if ok && w.alias(n, from) {
			changes++
		}
	}
	return changes, nil
}

// passes returns the value that a node passes on as it is.
func (w *work) passes(n *graph.Node) (string, bool) {
	in := n.Inputs[0]
	switch n.OpType {
	case "Identity":
		return in, true
	case "Cast":
		v := w.values[in]
		return in, v.DType != tensor.Invalid && int64(v.DType) == n.Attrs.Int("to", 0)
	case "Mul":
		for i := range 2 {
			if w.unit(n.Inputs[1-i], 1) && w.keepsShape(n.Inputs[i], n.Inputs[1-i]) {
				return n.Inputs[i], true
			}
		}
	case "Div":
		return in, w.unit(n.Inputs[1], 1) && w.keepsShape(in, n.Inputs[1])
	case "Sub":
		return in, w.unit(n.Inputs[1], 0) && w.keepsShape(in, n.Inputs[1])
	case "Squeeze", "Unsqueeze":
		return w.undone(n)
	case "Slice":
		return in, w.takesAll(n)
	}
	return "", false
}

// takesAll reports whether a Slice by constants takes all there is, in its order.
func (w *work) takesAll(n *graph.Node) bool {
	shape := w.values[n.Inputs[0]].Shape
	starts, ok1 := w.ints(n.Input(1))
	ends, ok2 := w.ints(n.Input(2))
	if shape == nil || !ok1 || !ok2 || len(starts) != len(ends) {
		return false
	}
	axes := make([]int64, len(starts))
	for i := range axes {
		axes[i] = int64(i)
	}
	if name := n.Input(3); name != "" {
		given, known := w.ints(name)
		var inside bool
		if axes, inside = normal(given, len(shape)); !known || !inside {
			return false
		}
	}
	steps := slices.Repeat([]int64{1}, len(axes))
	if name := n.Input(4); name != "" {
		steps, _ = w.ints(name)
	}
	if len(axes) != len(starts) || len(steps) != len(axes) || len(axes) > len(shape) {
		return false
	}
	for i, a := range axes {
		d := shape[a]
		first := starts[i] == 0 || d.Known() && starts[i] <= -d.Size
		last := ends[i] == math.MaxInt64 || d.Known() && ends[i] >= d.Size
		if steps[i] != 1 || !first || !last {
			return false
		}
	}
	return true
}

// unit reports whether all elements of a constant are x. A minus zero is not zero: x - -0 is not x where x is -0.
func (w *work) unit(name string, x float64) bool {
	t := w.consts[name]
	if t == nil || t.Size() == 0 || t.Size() > 1<<16 {
		return false
	}
	switch d := t.Raw().(type) {
	case []float32:
		return !slices.ContainsFunc(d, func(v float32) bool { return v != float32(x) || 1/v < 0 })
	case []float64:
		return !slices.ContainsFunc(d, func(v float64) bool { return v != x || 1/v < 0 })
	case []int64:
		return !slices.ContainsFunc(d, func(v int64) bool { return v != int64(x) })
	case []int32:
		return !slices.ContainsFunc(d, func(v int32) bool { return v != int32(x) })
	}
	return false
}

// keepsShape reports whether a constant that is broadcast with a value leaves the value's shape as it is.
func (w *work) keepsShape(value, constant string) bool {
	v, c := w.values[value].Shape, w.consts[constant].Shape()
	if v == nil || len(c) > len(v) {
		return len(c) == 0
	}
	for i, d := range c {
		have := v[len(v)-len(c)+i]
		if d != 1 && (!have.Known() || have.Size != int64(d)) {
			return false
		}
	}
	return true
}

// undone returns what went into a pair of Squeeze and Unsqueeze, in either order, of the same axes.
func (w *work) undone(n *graph.Node) (string, bool) {
	other := map[string]string{"Squeeze": "Unsqueeze", "Unsqueeze": "Squeeze"}[n.OpType]
	before := w.made[n.Inputs[0]]
	if !standard(before, other) || n.Input(1) == "" || before.Input(1) == "" {
		return "", false
	}
	wide := max(w.rank(n.Outputs[0]), w.rank(n.Inputs[0])) // the rank with the axes
	a, ok1 := w.ints(n.Inputs[1])
	b, ok2 := w.ints(before.Inputs[1])
	if !ok1 || !ok2 || w.rank(n.Outputs[0]) < 0 || w.rank(n.Inputs[0]) < 0 {
		return "", false
	}
	a, ok1 = normal(a, wide)
	b, ok2 = normal(b, wide)
	slices.Sort(a)
	slices.Sort(b)
	return before.Inputs[0], ok1 && ok2 && slices.Equal(a, b)
}
