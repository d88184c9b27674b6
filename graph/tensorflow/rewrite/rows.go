package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// rows leaves out a Transpose that only orders the inputs of a product with a constant, as a flattened picture whose channels are last has one:
//
//	Transpose, Reshape to [-1, n], MatMul becomes Reshape, MatMul, with the rows of its weights in another order.
//
// The weights must be nobody else's.
func rows(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "MatMul") || w.gone[n] {
			continue
		}
		ok, err := w.reorder(n)
		if err != nil {
			return changes, err
		}
		if ok {
			changes++
		}
	}
	return changes, nil
}

// reorder orders the rows of one product's weights.
func (w *work) reorder(n *graph.Node) (bool, error) {
	weights, flat := w.consts[n.Inputs[1]], w.made[n.Inputs[0]]
	if weights == nil || weights.Rank() != 2 || !standard(flat, "Reshape") || w.only(flat.Outputs[0]) != n || w.fanout(n.Inputs[1]) != 1 || w.outputs[n.Inputs[1]] {
		return false, nil
	}
	t := w.made[flat.Inputs[0]]
	if !standard(t, "Transpose") {
		return false, nil
	}
	perm, shape := t.Attrs.Ints("perm", nil), w.values[t.Inputs[0]].Shape
	dims, ok := w.ints(flat.Input(1))
	if len(perm) < 3 || len(shape) != len(perm) || perm[0] != 0 || !ok || len(dims) != 2 || dims[0] != -1 || flat.Attrs.Bool("allowzero", false) {
		return false, nil
	}
	inner, ok := shape[1:].Static()
	if !ok || int64(inner.Size()) != dims[1] || weights.Shape()[0] != inner.Size() || inner.Size() == 0 {
		return false, nil
	}
	// The rows are in the order behind the Transpose.
	behind, back := make([]int, len(inner)), make([]int64, len(inner)+1)
	for i, p := range perm[1:] {
		behind[i] = inner[p-1]
		back[p-1] = int64(i)
	}
	back[len(inner)] = int64(len(inner))
	wide, err := weights.Reshape(append(behind, weights.Shape()[1])...)
	if err != nil {
		return false, err
	}
	if wide, err = w.compute("Transpose", graph.Attrs{"perm": back}, wide); err != nil {
		return false, err
	}
	ordered, err := wide.Reshape(weights.Shape()...)
	if err != nil {
		return false, err
	}
	w.setInput(flat, 0, t.Inputs[0])
	w.setInput(n, 1, w.constant(n.Inputs[1]+"/rows", ordered))
	return true, nil
}
