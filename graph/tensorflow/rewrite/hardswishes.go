package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// hardSwishes makes one HardSwish of x * HardSigmoid(x), where that is a sixth of x and a half.
func hardSwishes(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Mul") || w.gone[n] {
			continue
		}
		for i := range 2 {
			h := w.made[n.Inputs[i]]
			if standard(h, "HardSigmoid") && h.Inputs[0] == n.Inputs[1-i] && near(float64(h.Attrs.Float("alpha", 0.2)), 1.0/6) && h.Attrs.Float("beta", 0.5) == 0.5 {
				w.into(n, "HardSwish", graph.Attrs{}, n.Inputs[1-i])
				changes++
				break
			}
		}
	}
	return changes, nil
}
