package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// denses multiplies the last axis of a value with a constant at once, where TensorFlow makes all axes before it one and takes them apart again:
//
//	Reshape to [-1, n], MatMul, Reshape to what was there before becomes MatMul
//
// That the second Reshape gives the axes that were there must follow from its numbers, or from its being made of the value's own shape.
func denses(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if standard(n, "MatMul") && !w.gone[n] && w.dense(n) {
			changes++
		}
	}
	return changes, nil
}

func (w *work) dense(n *graph.Node) bool {
	weights, flat, back := w.consts[n.Inputs[1]], w.made[n.Inputs[0]], w.only(n.Outputs[0])
	if weights == nil || weights.Rank() != 2 || weights.Size() == 0 || !standard(flat, "Reshape") || !standard(back, "Reshape") || back.Inputs[0] != n.Outputs[0] {
		return false
	}
	x := flat.Inputs[0]
	shape := w.values[x].Shape
	dims, ok := w.ints(flat.Input(1))
	if !ok || len(dims) != 2 || dims[0] != -1 || len(shape) < 2 || dims[1] != int64(weights.Shape()[0]) {
		return false
	}
	if last := shape[len(shape)-1]; !last.Known() || last.Size != dims[1] || !w.restores(back, x, int64(weights.Shape()[1])) {
		return false
	}
	w.setInput(n, 0, x)
	return w.become(n, back)
}

// restores reports whether a Reshape gives all axes of a value but its last, which is of another length.
func (w *work) restores(back *graph.Node, x string, last int64) bool {
	shape := w.values[x].Shape
	dims, ok := w.ints(back.Input(1))
	if !ok {
		return w.shapeOf(back.Input(1), x, last)
	}
	if len(dims) != len(shape) || dims[len(dims)-1] != last {
		return false
	}
	open := 0
	for i, d := range shape[:len(shape)-1] {
		switch {
		case d.Known() && d.Size > 0 && dims[i] == d.Size:
		case dims[i] == -1: // the others are as they were, and so is the number of elements
			open++
		default:
			return false
		}
	}
	return open <= 1
}

// shapeOf reports whether a list has the lengths of a value, but another one for its last axis: Concat of some of its Shape and a constant, over casts.
func (w *work) shapeOf(name, x string, last int64) bool {
	concat := w.made[w.uncast(name)]
	if !standard(concat, "Concat") || concat.Attrs.Int("axis", 0) != 0 {
		return false
	}
	at, rank := 0, w.rank(x)
	for _, part := range concat.Inputs {
		part = w.uncast(part)
		if whole, ok := w.wholes(part); ok {
			if len(whole) != 1 || at != rank-1 || whole[0] != last {
				return false
			}
			at++
			continue
		}
		axes := w.axesOfShape(part, x)
		if len(axes) == 0 {
			return false
		}
		for _, axis := range axes {
			if axis != int64(at) {
				return false
			}
			at++
		}
	}
	return at == rank
}

// uncast goes back over casts between integers, which lengths survive.
func (w *work) uncast(name string) string {
	wide := func(name string) bool {
		return w.values[name].DType == tensor.Int32 || w.values[name].DType == tensor.Int64
	}
	for n := w.made[name]; standard(n, "Cast") && wide(n.Inputs[0]) && wide(name); n = w.made[name] {
		name = n.Inputs[0]
	}
	return name
}

// wholes returns the elements of a constant of int64 or int32.
func (w *work) wholes(name string) ([]int64, bool) {
	if t := w.consts[name]; t != nil && t.DType() == tensor.Int32 {
		all := make([]int64, 0, t.Size())
		for _, v := range tensor.Data[int32](t) {
			all = append(all, int64(v))
		}
		return all, true
	}
	return w.ints(name)
}

// axesOfShape returns the axes of a value whose lengths a list has, which is its Shape or what Gather takes of it; nil where it is something else.
func (w *work) axesOfShape(name, x string) (axes []int64) {
	n, rank := w.made[name], int64(w.rank(x))
	if standard(n, "Shape") && n.Inputs[0] == x {
		start, end := n.Attrs.Int("start", 0), n.Attrs.Int("end", rank)
		for a := start; a < end && a >= 0 && a < rank; a++ {
			axes = append(axes, a)
		}
		return axes
	}
	if !standard(n, "Gather") || n.Attrs.Int("axis", 0) != 0 {
		return nil
	}
	of := w.made[w.uncast(n.Inputs[0])]
	at, ok := w.wholes(n.Inputs[1])
	if !ok || !standard(of, "Shape") || of.Inputs[0] != x || of.Attrs.Has("start") || of.Attrs.Has("end") {
		return nil
	}
	axes, _ = normal(at, int(rank))
	return axes
}
