package rewrite

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// layerNorms makes one LayerNormalization of what TensorFlow writes for one over the last axis, with the mean and the variance of x:
//
//	s = gamma / sqrt(variance + epsilon),  y = x * s + (beta - mean * s)
//
// Both gamma and beta are constants of float32 with an element for each place of that axis.
func layerNorms(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if standard(n, "Add") && !w.gone[n] && w.layerNorm(n) {
			changes++
		}
	}
	return changes, nil
}

// layerNorm replaces the sum at the end of one.
func (w *work) layerNorm(n *graph.Node) bool {
	for i := range 2 {
		shifted, scaled := w.made[n.Inputs[1-i]], w.made[n.Inputs[i]]
		if !standard(shifted, "Sub") || !standard(scaled, "Mul") {
			continue
		}
		product := w.made[shifted.Inputs[1]]
		if !standard(product, "Mul") {
			continue
		}
		for j := range 4 {
			x, s := scaled.Inputs[j%2], scaled.Inputs[1-j%2]
			mean := product.Inputs[j/2]
			if product.Inputs[1-j/2] != s {
				continue
			}
			if gamma, epsilon, ok := w.normScale(s, x, mean); ok && w.rowOf(shifted.Inputs[0], x) && w.rowOf(gamma, x) {
				w.leave(n)
				n.OpType, n.Inputs = "LayerNormalization", []string{x, gamma, shifted.Inputs[0]}
				n.Attrs = graph.Attrs{"axis": int64(-1), "epsilon": epsilon}
				w.enter(n)
				return true
			}
		}
	}
	return false
}

// rowOf reports whether a constant of float32 has one element for each place of the last axis of a value.
func (w *work) rowOf(name, value string) bool {
	t, shape := w.consts[name], w.values[value].Shape
	return t != nil && t.DType() == tensor.Float32 && t.Rank() == 1 && len(shape) > 0 && shape[len(shape)-1].Size == int64(t.Size())
}

// normScale matches gamma / sqrt(variance + epsilon), where mean is that of x.
func (w *work) normScale(s, x, mean string) (gamma string, epsilon float32, ok bool) {
	n := w.made[s]
	if !standard(n, "Mul") || !w.meanOf(mean, x) {
		return "", 0, false
	}
	for i := range 2 {
		div := w.made[n.Inputs[i]]
		if standard(div, "Reciprocal") || standard(div, "Div") && w.unit(div.Inputs[0], 1) && w.consts[div.Inputs[0]].Size() == 1 {
			root := w.made[div.Inputs[len(div.Inputs)-1]]
			if !standard(root, "Sqrt") {
				continue
			}
			if epsilon, ok := w.spread(root.Inputs[0], x, mean); ok {
				return n.Inputs[1-i], epsilon, true
			}
		}
	}
	return "", 0, false
}

// spread matches variance + epsilon.
func (w *work) spread(name, x, mean string) (epsilon float32, ok bool) {
	n := w.made[name]
	if !standard(n, "Add") {
		return 0, false
	}
	for i := range 2 {
		c := w.consts[n.Inputs[i]]
		average := w.made[n.Inputs[1-i]]
		if c == nil || c.DType() != tensor.Float32 || c.Size() != 1 || c.Rank() > 1 || !standard(average, "ReduceMean") || !w.meanOf(n.Inputs[1-i], average.Inputs[0]) {
			continue
		}
		square := w.made[average.Inputs[0]]
		if !standard(square, "Mul") || square.Inputs[0] != square.Inputs[1] {
			continue
		}
		d := w.made[square.Inputs[0]]
		e := tensor.Data[float32](c)[0]
		if standard(d, "Sub") && d.Inputs[0] == x && d.Inputs[1] == mean && e >= 0 && !math.IsInf(float64(e), 0) {
			return e, true
		}
	}
	return 0, false
}

// meanOf reports whether a value is the mean over the last axis of another one, which it keeps.
func (w *work) meanOf(name, of string) bool {
	n, rank := w.made[name], w.rank(of)
	if !standard(n, "ReduceMean") || n.Inputs[0] != of || len(n.Inputs) > 1 || rank < 1 || !n.Attrs.Bool("keepdims", true) || w.values[of].DType != tensor.Float32 {
		return false
	}
	axes, ok := normal(n.Attrs.Ints("axes", nil), rank)
	return ok && len(axes) == 1 && axes[0] == int64(rank-1)
}
