package rewrite

import (
	"slices"

	"github.com/millrace/millrace/tensor"
)

// clips leaves a Relu out before a Clip to a range of numbers without negative ones:
//
//	Clip(Relu(x), low, high) becomes Clip(x, low, high) where low is 0 or more.
func clips(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Clip") {
			continue
		}
		before, low := w.made[n.Inputs[0]], w.consts[n.Input(1)]
		if !standard(before, "Relu") || low == nil || low.DType() != tensor.Float32 || low.Size() != 1 || !(tensor.Data[float32](low)[0] >= 0) {
			continue
		}
		w.setInput(n, 0, before.Inputs[0])
		changes++
	}
	return changes, nil
}
