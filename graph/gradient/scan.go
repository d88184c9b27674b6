package gradient

import (
	"slices"
	"strconv"

	"github.com/millrace/millrace/graph"
)

// A loop is a Scan that rules append: its states and what it reads along the first axis by value, and what its body makes of them.
type loop struct {
	states, ins []string
	reverse     bool // from the last element to the first; what the body gives stands at the place of what it read
	stateRank   int  // of each state and each element
	body        func(b *builder, states, ins []string) (next, outs []string)
}

// scan appends a loop and returns its last states and what its body gave, along a first axis.
func (t *tape) scan(l loop) (states, outs []string) {
	b := t.inner("scan")
	open := make(graph.Shape, l.stateRank)
	for i := range open {
		open[i] = graph.Dim{Size: -1}
	}
	g := &graph.Graph{Name: t.name("scan")}
	enter := func(n int, what string) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = b.name(what)
			g.Inputs = append(g.Inputs, graph.Value{Name: list[i], DType: t.dtype, Shape: open})
		}
		return list
	}
	next, given := l.body(b, enter(len(l.states), "state"), enter(len(l.ins), "element"))
	for _, name := range slices.Concat(next, given) {
		// An output must be a value of the body's own, and each one another.
		g.Outputs = append(g.Outputs, graph.Value{Name: b.op("Identity", name), DType: t.dtype, Shape: open})
	}
	g.Nodes = b.nodes
	attrs := graph.Attrs{"body": g, "num_scan_inputs": int64(len(l.ins))}
	if l.reverse {
		attrs["scan_input_directions"] = slices.Repeat([]int64{1}, len(l.ins))
		if len(given) > 0 {
			attrs["scan_output_directions"] = slices.Repeat([]int64{1}, len(given))
		}
	}
	out := t.node(graph.OnnxDomain, "Scan", attrs, len(next)+len(given), slices.Concat(l.states, l.ins)...)
	return out[:len(next)], out[len(next):]
}

// inner returns a builder of a subgraph's nodes. Its names differ from all others, since a subgraph sees those around it.
func (t *tape) inner(what string) *builder {
	t.count++
	return &builder{prefix: t.prefix + what + strconv.Itoa(t.count) + "/", opset: t.opset, dtype: t.dtype, body: true, consts: map[string]string{}, used: t.used,
		calls: t.calls, ours: map[string]bool{}}
}
