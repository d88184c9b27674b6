package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// pad moves over a Pad by constants of all axes.
func (m *mover) pad(t, n *graph.Node, perm []int64) bool {
	pads, ok := m.ints(n.Input(1))
	rank := len(perm)
	if !ok || len(pads) != 2*rank || n.Input(3) != "" || n.Inputs[0] != t.Outputs[0] {
		return false
	}
	out := make([]int64, 2*rank)
	for i, p := range perm {
		out[p], out[int64(rank)+p] = pads[i], pads[rank+i]
	}
	m.setInput(n, 1, m.constant("pads", tensor.Vector(out...)))
	return m.move(t, n, nil, perm)
}

// slice moves over a Slice whose axes are constant; where it begins and ends need not be.
func (m *mover) slice(t, n *graph.Node, perm []int64) bool {
	var axes []int64
	ok := false
	if n.Input(3) != "" {
		axes, ok = m.axesOf(n.Inputs[3], len(perm))
	} else if shape, known := m.values[n.Input(1)].Shape.Static(); known && len(shape) == 1 && shape[0] <= len(perm) {
		for i := range shape[0] {
			axes = append(axes, int64(i))
		}
		ok = true
	}
	if !ok || n.Inputs[0] != t.Outputs[0] {
		return false
	}
	m.setInput(n, 3, m.constant("axes", tensor.Vector(through(perm, axes)...)))
	return m.move(t, n, nil, perm)
}

// through maps axes behind a Transpose to those before it.
func through(perm, axes []int64) []int64 {
	out := make([]int64, len(axes))
	for i, a := range axes {
		out[i] = perm[a]
	}
	return out
}

func (m *mover) axesOf(name string, rank int) ([]int64, bool) {
	axes, ok := m.ints(name)
	if !ok {
		return nil, false
	}
	return normal(axes, rank)
}

// axesInput reads the axes of Squeeze and Unsqueeze.
func (m *mover) axesInput(n *graph.Node, rank int) ([]int64, bool) {
	if n.Input(1) == "" {
		return nil, false
	}
	return m.axesOf(n.Inputs[1], rank)
}

// split moves over a Split.
func (m *mover) split(t, n *graph.Node, perm []int64) bool {
	axis, ok := normal([]int64{n.Attrs.Int("axis", 0)}, len(perm))
	return ok && m.move(t, n, graph.Attrs{"axis": perm[axis[0]]}, perm)
}

// reduce moves over a reduction. Where it keeps no dimensions, what is left of the Transpose may be nothing.
func (m *mover) reduce(t, n *graph.Node, perm []int64) bool {
	keep := n.Attrs.Bool("keepdims", true)
	if n.Input(1) != "" {
		axes, ok := m.axesInput(n, len(perm))
		return ok && m.shrink(t, n, perm, axes, nil, 1, keep)
	}
	if n.Attrs.Bool("noop_with_empty_axes", false) {
		return false
	}
	given := n.Attrs.Ints("axes", nil)
	if len(given) == 0 {
		all := make([]int64, len(perm))
		for i := range all {
			all[i] = int64(i)
		}
		return m.shrink(t, n, perm, all, nil, -1, keep)
	}
	axes, ok := normal(given, len(perm))
	if !ok {
		return false
	}
	mapped := through(perm, axes)
	slices.Sort(mapped)
	return m.shrink(t, n, perm, axes, graph.Attrs{"axes": mapped}, -1, keep)
}

// shrink moves over a node that takes axes away, or makes them of length one where it keeps them. input is where it has the axes as an
// input, or -1.
func (m *mover) shrink(t, n *graph.Node, perm, axes []int64, attrs graph.Attrs, input int, keep bool) bool {
	if n.Inputs[0] != t.Outputs[0] {
		return false
	}
	mapped := through(perm, axes)
	slices.Sort(mapped)
	rest := perm
	if !keep {
		rest = nil
		for i, p := range perm {
			if slices.Contains(axes, int64(i)) {
				continue
			}
			before := int64(0)
			for _, a := range mapped {
				if a < p {
					before++
				}
			}
			rest = append(rest, p-before)
		}
	}
	if input >= 0 {
		m.setInput(n, input, m.constant("axes", tensor.Vector(mapped...)))
	}
	return m.move(t, n, attrs, rest)
}

// widen moves over an Unsqueeze. An axis that it adds goes before the one that it precedes.
func (m *mover) widen(t, n *graph.Node, perm []int64) bool {
	count, ok := m.ints(n.Input(1))
	if !ok || n.Inputs[0] != t.Outputs[0] {
		return false
	}
	rank := len(perm) + len(count)
	axes, ok := normal(count, rank)
	if !ok {
		return false
	}
	// Each axis of the result is followed: an added one by the next that was there, which is in place perm[i] before the Transpose.
	added := make([][]int64, len(perm)+1) // by the place before the Transpose that they precede
	old := 0
	var waiting []int64
	label := make([]int64, rank) // of each axis of the result: its place before the Transpose, or -1
	for a := range rank {
		if slices.Contains(axes, int64(a)) {
			label[a] = -1
			waiting = append(waiting, int64(a))
			continue
		}
		if old == len(perm) {
			return false // an axis is listed twice
		}
		label[a] = perm[old]
		added[perm[old]] = append(added[perm[old]], waiting...)
		waiting = nil
		old++
	}
	added[len(perm)] = append(added[len(perm)], waiting...)
	out := make([]int64, rank)
	var place int64
	var inserted []int64
	for p := range len(perm) + 1 {
		for _, a := range added[p] {
			out[a] = place
			inserted = append(inserted, place)
			place++
		}
		if p == len(perm) {
			break
		}
		out[slices.Index(label, int64(p))] = place
		place++
	}
	m.setInput(n, 1, m.constant("axes", tensor.Vector(inserted...)))
	return m.move(t, n, nil, out)
}

// shape has Shape look at what comes before the Transpose, where the lengths that it gives stand in the same order there; else a Gather orders them.
func (m *mover) shape(t, n *graph.Node, perm []int64) bool {
	bound := func(name string, def int) int {
		v := int(n.Attrs.Int(name, int64(def)))
		if v < 0 {
			v += len(perm)
		}
		return min(max(v, 0), len(perm))
	}
	start, end := bound("start", 0), bound("end", len(perm))
	if start >= end {
		return false
	}
	part := perm[start:end]
	ordered := true
	for i, p := range part {
		ordered = ordered && p == part[0]+int64(i)
	}
	m.setInput(n, 0, t.Inputs[0])
	if ordered {
		n.Attrs = graph.Attrs{"start": part[0], "end": part[len(part)-1] + 1}
		return true
	}
	out := n.Outputs[0]
	inner := m.names.Unique(out + "/first")
	m.values[inner] = graph.Value{Name: inner, DType: tensor.Int64, Shape: graph.Dims(len(perm))}
	n.Attrs, n.Outputs = nil, []string{inner}
	m.made[inner] = n
	m.add(&graph.Node{Name: m.names.Unique(out + "/Gather"), OpType: "Gather", Inputs: []string{inner, m.constant("axes", tensor.Vector(part...))}, Outputs: []string{out}})
	return true
}
