package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// pools makes GlobalAveragePool of a mean over all places of a picture, behind a convolution or the like: what computes these in a layout of its own goes on in it.
func pools(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		rank := w.rank(n.Input(0))
		if !standard(n, "ReduceMean") || w.gone[n] || rank < 3 || len(n.Inputs) > 1 || !n.Attrs.Bool("keepdims", true) || !w.isFloat32(n.Inputs[0]) || !w.inLayout(n.Inputs[0]) {
			continue
		}
		axes, ok := normal(n.Attrs.Ints("axes", nil), rank)
		slices.Sort(axes)
		if axes = slices.Compact(axes); !ok || len(axes) != rank-2 || axes[0] != 2 {
			continue
		}
		w.into(n, "GlobalAveragePool", graph.Attrs{}, n.Inputs[0])
		changes++
	}
	return changes, nil
}
