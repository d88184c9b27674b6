package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// hardSigmoids makes one HardSigmoid of a line between zero and one, in float32:
//
//	Clip(x * a + b, 0, 1) becomes HardSigmoid(x), and Clip(x + c, 0, d) / d too, as MobileNet 3 has it
//
// A Clip may be Min and Max. HardSigmoid has a and b as float32: what is divided by d is so but for rounding.
func hardSigmoids(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Clip", "Max", "Min", "Mul", "Div") || w.gone[n] || !w.isFloat32(n.Outputs[0]) {
			continue
		}
		if x, a, b, ok := w.line(n.Outputs[0]); ok {
			w.into(n, "HardSigmoid", graph.Attrs{"alpha": float32(a), "beta": float32(b)}, x)
			changes++
		}
	}
	return changes, nil
}

// line matches what is min(max(a * x + b, 0), 1), with a above zero.
func (w *work) line(name string) (x string, a, b float64, ok bool) {
	scale, factors, ok := w.product(name, func(name string) bool { return standard(w.made[name], "Clip", "Min", "Max") })
	if !ok || len(factors) != 1 || !(scale > 0) {
		return "", 0, 0, false
	}
	from, low, high, ok := w.clipped(factors[0])
	if !ok || low != 0 || !near(high*scale, 1) {
		return "", 0, 0, false
	}
	a = scale
	sum := w.made[from]
	if !standard(sum, "Add") {
		return "", 0, 0, false
	}
	for i := range 2 {
		if c, ok := w.scalar(sum.Inputs[i], sum.Inputs[1-i]); ok {
			b, from = c*scale, sum.Inputs[1-i]
			break
		}
	}
	if b == 0 {
		return "", 0, 0, false
	}
	if inner := w.made[from]; standard(inner, "Mul") {
		for i := range 2 {
			if c, ok := w.scalar(inner.Inputs[i], inner.Inputs[1-i]); ok && c > 0 {
				return inner.Inputs[1-i], a * c, b, w.isFloat32(inner.Inputs[1-i])
			}
		}
	}
	return from, a, b, w.isFloat32(from)
}

// clipped matches a value that is held between two numbers.
func (w *work) clipped(name string) (x string, low, high float64, ok bool) {
	n := w.made[name]
	if standard(n, "Clip") {
		if n.Input(1) == "" || n.Input(2) == "" {
			return "", 0, 0, false
		}
		low, ok1 := w.scalar(n.Inputs[1], n.Inputs[0])
		high, ok2 := w.scalar(n.Inputs[2], n.Inputs[0])
		return n.Inputs[0], low, high, ok1 && ok2 && low < high && w.values[n.Inputs[0]].DType == tensor.Float32
	}
	bounds := map[string]float64{}
	for range 2 {
		if !standard(n, "Min", "Max") || len(n.Inputs) != 2 {
			return "", 0, 0, false
		}
		if _, twice := bounds[n.OpType]; twice {
			return "", 0, 0, false
		}
		found := false
		for i := range 2 {
			if c, ok := w.scalar(n.Inputs[i], n.Inputs[1-i]); ok {
				bounds[n.OpType], x, found = c, n.Inputs[1-i], true
				break
			}
		}
		if !found {
			return "", 0, 0, false
		}
		n = w.made[x]
	}
	return x, bounds["Max"], bounds["Min"], bounds["Max"] < bounds["Min"]
}
