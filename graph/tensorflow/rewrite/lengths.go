package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// lengths has Shape give the part of a shape that is used:
//
//	Slice(Shape(x), a, b) becomes Shape(x, start=a, end=b), and Slice(Cast(Shape(x)), a, b) becomes Cast(Shape(x, start=a, end=b)).
func lengths(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Slice") || w.gone[n] {
			continue
		}
		source, cast := w.made[n.Inputs[0]], (*graph.Node)(nil)
		if standard(source, "Cast") {
			cast, source = source, w.made[source.Inputs[0]]
		}
		if !standard(source, "Shape") || source.Attrs.Has("start") || source.Attrs.Has("end") {
			continue
		}
		from, to, ok := w.part(n, w.rank(source.Inputs[0]))
		if !ok {
			continue
		}
		shape := &graph.Node{OpType: "Shape", Inputs: []string{source.Inputs[0]}, Attrs: graph.Attrs{"start": from, "end": to}}
		out := n.Outputs[0]
		w.drop(n)
		if cast == nil {
			shape.Name, shape.Outputs = n.Name, []string{out}
			w.add(shape)
		} else {
			shape.Outputs = []string{w.names.Unique(out + "/Shape")}
			shape.Name = shape.Outputs[0]
			w.values[shape.Outputs[0]] = graph.Value{Name: shape.Outputs[0], DType: tensor.Int64, Shape: graph.Dims(int(to - from))}
			w.add(shape)
			w.add(&graph.Node{Name: n.Name, OpType: "Cast", Inputs: slices.Clone(shape.Outputs), Outputs: []string{out}, Attrs: cast.Attrs.Clone()})
		}
		changes++
	}
	return changes, nil
}

// part returns which part of a list of that length a Slice takes, where its numbers are constant and its step is one.
func (w *work) part(n *graph.Node, length int) (from, to int64, ok bool) {
	starts, ok1 := w.ints(n.Input(1))
	ends, ok2 := w.ints(n.Input(2))
	if length < 0 || !ok1 || !ok2 || len(starts) != 1 || len(ends) != 1 {
		return 0, 0, false
	}
	if name := n.Input(4); name != "" {
		if steps, ok := w.ints(name); !ok || len(steps) != 1 || steps[0] != 1 {
			return 0, 0, false
		}
	}
	at := func(v int64) int64 {
		if v < 0 {
			v += int64(length)
		}
		return min(max(v, 0), int64(length))
	}
	from, to = at(starts[0]), at(ends[0])
	return from, to, from < to
}
