package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// inverses makes one Transpose of two that follow each other, or none, wherever they are: a recurrence over time that is followed by another one has such a pair between
// them.
func inverses(w *work) (int, error) {
	changes := 0
	m := &mover{work: w, outer: map[*graph.Node]bool{}}
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Transpose") || w.gone[n] || n.Attrs.Ints("perm", nil) == nil {
			continue
		}
		if t := w.made[n.Inputs[0]]; standard(t, "Transpose") && m.compose(t, n) {
			changes++
		}
	}
	return changes, nil
}
