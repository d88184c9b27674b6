package random

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// body makes a subgraph.
func body(in, out []graph.Value, nodes ...*graph.Node) *graph.Graph {
	return &graph.Graph{Name: "body", Inputs: in, Outputs: out, Nodes: nodes}
}

func real(name string, shape []int) graph.Value {
	return graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Dims(shape...)}
}

func inner(op string, attrs graph.Attrs, out string, in ...string) *graph.Node {
	return &graph.Node{OpType: op, Attrs: attrs, Inputs: in, Outputs: []string{out}}
}

// conditional takes one of two ways, of which both use what is around them.
func conditional(m *maker, v value) (value, bool) {
	c := m.b.Init("c", m.between(0.5, 1.5, v.shape[len(v.shape)-1]))
	top := m.b.Op("ReduceMax", graph.Attrs{"keepdims": int64(0)}, v.name)
	cond := m.b.Op("Less", nil, top, m.b.Float(2*m.Float32()))
	out := []graph.Value{real(m.b.Unique("way"), v.shape)}
	return m.op(v.shape, "If", graph.Attrs{
		"then_branch": body(nil, out, inner("Mul", nil, out[0].Name, v.name, c)),
		"else_branch": body(nil, out, inner("Tanh", nil, out[0].Name, v.name)),
	}, cond)
}

// loop runs a few turns with a state, and gives it or what the turns gave.
func loop(m *maker, v value) (value, bool) {
	turns := 1 + m.IntN(4)
	c := m.b.Init("c", m.between(0.5, 1.5, v.shape[len(v.shape)-1]))
	names := map[string]string{}
	for _, n := range []string{"i", "go", "s", "on", "t", "sum", "part"} {
		names[n] = m.b.Unique(n)
	}
	each := body(
		[]graph.Value{{Name: names["i"], DType: tensor.Int64, Shape: graph.Shape{}}, {Name: names["go"], DType: tensor.Bool, Shape: graph.Shape{}}, real(names["s"], v.shape)},
		[]graph.Value{{Name: names["on"], DType: tensor.Bool, Shape: graph.Shape{}}, real(names["t"], v.shape), real(names["part"], v.shape)},
		inner("Identity", nil, names["on"], names["go"]), inner("Add", nil, names["sum"], names["s"], c), inner("Tanh", nil, names["t"], names["sum"]),
		inner("Mul", nil, names["part"], names["t"], v.name))
	count := m.b.Init("turns", tensor.Scalar(int64(turns)))
	on := m.b.Init("on", tensor.Scalar(true))
	outs := m.b.Ops("Loop", 2, graph.Attrs{"body": each}, count, on, v.name)
	if m.IntN(2) == 0 {
		return value{outs[0], v.shape}, true
	}
	return value{outs[1], slices.Concat([]int{turns}, v.shape)}, true
}

// scan adds up along an axis, forward or backward.
func scan(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	rest := slices.Delete(slices.Clone(v.shape), axis, axis+1)
	s, e, t, u := m.b.Unique("s"), m.b.Unique("e"), m.b.Unique("t"), m.b.Unique("u")
	each := body([]graph.Value{real(s, rest), real(e, rest)}, []graph.Value{real(t, rest), real(u, rest)},
		inner("Add", nil, t, s, e), inner("Tanh", nil, u, t))
	out := m.IntN(len(rest) + 1)
	outs := m.b.Ops("Scan", 2, graph.Attrs{"body": each, "num_scan_inputs": int64(1), "scan_input_axes": []int64{int64(axis)},
		"scan_input_directions": []int64{int64(m.IntN(2))}, "scan_output_axes": []int64{int64(out)}, "scan_output_directions": []int64{int64(m.IntN(2))}},
		m.b.Init("s0", m.between(0.5, 1.5, rest...)), v.name)
	if m.IntN(2) == 0 && len(rest) > 0 {
		return value{outs[0], rest}, true
	}
	return value{outs[1], slices.Insert(slices.Clone(rest), out, v.shape[axis])}, true
}
