package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// flats makes a convolution over one axis less of one that has an axis added before it and removed behind it, as a convolution in one dimension is
// written in a format that only has those in two:
//
//	Unsqueeze, Conv, Squeeze becomes Conv, with a filter that has lost an axis of length one.
func flats(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if standard(n, "Conv") && !w.gone[n] && w.flatten(n) {
			changes++
		}
	}
	return changes, nil
}

func (w *work) flatten(n *graph.Node) bool {
	before, after := w.made[n.Inputs[0]], w.only(n.Outputs[0])
	weights := w.consts[n.Inputs[1]]
	if !standard(before, "Unsqueeze") || !standard(after, "Squeeze") || weights == nil || weights.Rank() < 4 {
		return false
	}
	added, ok1 := w.ints(before.Input(1))
	removed, ok2 := w.ints(after.Input(1))
	added, ok3 := normal(added, weights.Rank())
	removed, ok4 := normal(removed, weights.Rank())
	if !ok1 || !ok2 || !ok3 || !ok4 || len(added) != 1 || !slices.Equal(added, removed) || added[0] < 2 {
		return false
	}
	axis, spatial := int(added[0]-2), weights.Rank()-2
	if weights.Shape()[axis+2] != 1 || n.Attrs.String("auto_pad", "NOTSET") != "NOTSET" {
		return false
	}
	pads := n.Attrs.Ints("pads", nil)
	if pads != nil && (len(pads) != 2*spatial || pads[axis] != 0 || pads[spatial+axis] != 0) {
		return false
	}
	flat, err := weights.Reshape(slices.Delete(weights.Shape().Clone(), axis+2, axis+3)...)
	if err != nil {
		return false
	}
	attrs := n.Attrs.Clone()
	for _, name := range []string{"kernel_shape", "strides", "dilations"} {
		if all := n.Attrs.Ints(name, nil); len(all) == spatial {
			attrs[name] = slices.Delete(slices.Clone(all), axis, axis+1)
		}
	}
	if pads != nil {
		attrs["pads"] = slices.Delete(slices.Delete(slices.Clone(pads), spatial+axis, spatial+axis+1), axis, axis+1)
	}
	n.Attrs = attrs
	w.setInput(n, 0, before.Inputs[0])
	w.setInput(n, 1, w.constant(n.Inputs[1]+"/flat", flat))
	return w.become(n, after)
}
