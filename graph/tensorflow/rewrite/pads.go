package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// pads has a convolution add the zeros that a Pad before it adds around its picture:
//
//	Pad, Conv becomes Conv with larger pads.
func pads(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if standard(n, "Conv") && !w.gone[n] && w.takePad(n) {
			changes++
		}
	}
	return changes, nil
}

func (w *work) takePad(n *graph.Node) bool {
	pad, rank := w.made[n.Inputs[0]], w.rank(n.Inputs[0])
	if !standard(pad, "Pad") || pad.Attrs.String("mode", "constant") != "constant" || pad.Input(3) != "" || n.Attrs.String("auto_pad", "NOTSET") != "NOTSET" {
		return false
	}
	if name := pad.Input(2); name != "" {
		if v, ok := w.scalar(name, n.Inputs[0]); !ok || v != 0 {
			return false
		}
	}
	added, ok := w.ints(pad.Input(1))
	if !ok || rank < 3 || len(added) != 2*rank || slices.Min(added) < 0 || added[0] != 0 || added[1] != 0 || added[rank] != 0 || added[rank+1] != 0 {
		return false
	}
	added = slices.Concat(added[2:rank], added[rank+2:])
	for i, p := range n.Attrs.Ints("pads", make([]int64, len(added))) {
		if i >= len(added) {
			return false
		}
		added[i] += p
	}
	n.Attrs = n.Attrs.Clone()
	if n.Attrs == nil {
		n.Attrs = graph.Attrs{}
	}
	n.Attrs["pads"] = added
	w.setInput(n, 0, pad.Inputs[0])
	return true
}
