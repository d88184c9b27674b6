package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// softmaxes makes one Softmax of one that is written out, over one axis and in float32:
//
//	e = exp(x - max(x)),  y = e / sum(e)
//
// Without the maximum it stays as it is: there a large x gives no number.
func softmaxes(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Div") || w.gone[n] || !w.isFloat32(n.Outputs[0]) {
			continue
		}
		exp, sum := w.made[n.Inputs[0]], w.made[n.Inputs[1]]
		if !standard(exp, "Exp") || !standard(sum, "ReduceSum") || sum.Inputs[0] != n.Inputs[0] {
			continue
		}
		sub := w.made[exp.Inputs[0]]
		if !standard(sub, "Sub") {
			continue
		}
		x, top := sub.Inputs[0], w.made[sub.Inputs[1]]
		if !standard(top, "ReduceMax") || top.Inputs[0] != x || !w.isFloat32(x) {
			continue
		}
		a, ok1 := w.keptAxis(sum)
		b, ok2 := w.keptAxis(top)
		if ok1 && ok2 && a == b {
			w.into(n, "Softmax", graph.Attrs{"axis": a}, x)
			changes++
		}
	}
	return changes, nil
}

// keptAxis returns the one axis of a reduction that keeps it.
func (w *work) keptAxis(n *graph.Node) (int64, bool) {
	axes := n.Attrs.Ints("axes", nil)
	if n.Input(1) != "" {
		axes, _ = w.ints(n.Inputs[1])
	}
	axes, ok := normal(axes, max(0, w.rank(n.Inputs[0])))
	if !ok || len(axes) != 1 || !n.Attrs.Bool("keepdims", true) {
		return 0, false
	}
	return axes[0], true
}
