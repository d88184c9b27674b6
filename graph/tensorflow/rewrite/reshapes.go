package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// reshapes makes one Reshape of a chain of nodes that keep the order of elements:
//
//	Reshape or Flatten before a Reshape go, and a Transpose behind a Reshape that moves only axes of length one becomes part of it.
func reshapes(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		switch {
		case w.gone[n]:
		case standard(n, "Transpose") && w.absorb(n), standard(n, "Reshape") && w.skip(n):
			changes++
		}
	}
	return changes, nil
}

// skip has a Reshape to constant lengths take what another Reshape or the like takes.
func (w *work) skip(n *graph.Node) bool {
	before := w.made[n.Inputs[0]]
	if !standard(before, "Reshape", "Flatten", "Squeeze", "Unsqueeze") {
		return false
	}
	dims, ok := w.ints(n.Input(1))
	if !ok || slices.Contains(dims, 0) {
		return false
	}
	w.setInput(n, 0, before.Inputs[0])
	return true
}

// absorb makes a Reshape of Reshape and Transpose.
func (w *work) absorb(n *graph.Node) bool {
	before := w.made[n.Inputs[0]]
	perm := n.Attrs.Ints("perm", nil)
	if !standard(before, "Reshape") || !onlyOnes(perm, w.values[n.Inputs[0]].Shape) {
		return false
	}
	dims := make([]int64, len(perm))
	open := 0
	for i, p := range perm {
		d := w.values[n.Inputs[0]].Shape[p]
		if dims[i] = d.Size; !d.Known() {
			dims[i] = -1
			open++
		}
	}
	if open > 1 || slices.Contains(dims, 0) {
		return false
	}
	w.leave(n)
	n.OpType, n.Attrs = "Reshape", nil
	n.Inputs = []string{before.Inputs[0], w.constant("shape", tensor.Vector(dims...))}
	w.enter(n)
	return true
}
