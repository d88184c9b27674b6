package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// finish adds the Loop of an attempt in which all was as it was supposed to be.
func (lp *loop) finish() []*value {
	first := lp.begin()
	if first != nil && first.con != nil && isOnly(first.con, false) {
		return lp.in
	}
	body := &graph.Graph{Name: lp.hint("body")}
	in := lp.fresh(lp.hint("going_on"), tensor.Bool, graph.Shape{})
	body.Inputs = []graph.Value{{Name: lp.iter.name, DType: tensor.Int64, Shape: graph.Shape{}}, {Name: in.name, DType: tensor.Bool, Shape: graph.Shape{}}}
	n := &graph.Node{OpType: "Loop", Inputs: []string{"", ""}}
	if lp.trips != nil {
		n.Inputs[0] = lp.use(lp.trips)
	}
	on := in
	if !lp.counted {
		n.Inputs[1] = lp.use(first)
		lp.nodes = append(lp.nodes, lp.aside(func() { on = lp.condition(lp.outs) })...)
	}
	lp.output(body, &lp.nodes, on, on.shape)
	renamed := map[string]string{}
	for k, v := range lp.vars {
		out := lp.outs[k]
		switch l := v.in.list; {
		case v.bad:
			v.result = &value{bad: true, by: lp.st, byOut: k}
		case v.fixed || v.in.handle != "" && l == nil:
			v.result = v.in
		case l != nil && v.form == apart:
			made := *l
			made.items = slices.Clone(l.items)
			for i, item := range out.list.items {
				if !v.written[i] {
					continue
				}
				start := l.items[i]
				if start == nil {
					start = lp.blank(v)
				}
				made.items[i] = lp.state(n, body, v, start, v.arg.list.items[i], item)
			}
			v.result = listValue(&made)
		case l != nil && v.form == whole:
			x := lp.state(n, body, v, lp.start(v), v.arg.list.all, out.list.all)
			v.result = listValue(&list{dtype: l.dtype, shape: out.list.shape, all: x, dynamic: l.dynamic})
		case l != nil: // after all states
		case lp.counted && lp.counters[k] != nil:
			var at *value
			lp.nodes = append(lp.aside(func() { at = lp.counter(k, lp.iter) }), lp.nodes...)
			renamed[v.arg.name] = at.name
		default:
			v.result = lp.state(n, body, v, v.in, v.arg, out)
		}
	}
	var after []func()
	for k, v := range lp.vars {
		if v.result == nil && v.in.list != nil {
			after = append(after, lp.collect(n, body, v, lp.outs[k].list.open.writes[0]))
		}
	}
	rename(lp.nodes, renamed)
	body.Nodes = lp.nodes
	n.Attrs = graph.Attrs{"body": body}
	if len(n.Outputs) > 0 {
		n.Name = n.Outputs[0]
		lp.add(n)
	}
	for _, f := range after {
		f()
	}
	results := make([]*value, len(lp.vars))
	for k, v := range lp.vars {
		if v.result == nil { // a counter
			v.result = lp.counter(k, lp.onnx("Max", nil, lp.trips, lp.index(0)))
		}
		results[k] = v.result
	}
	return results
}

// begin says whether the loop runs at all; nil where trips says that.
func (lp *loop) begin() *value {
	if lp.counted {
		return nil
	}
	args := make([]*value, len(lp.vars))
	for k, v := range lp.vars {
		args[k] = v.in
		if v.bad && !v.in.bad {
			args[k] = v.arg
		}
	}
	return lp.condition(args)
}

// state adds a state to a loop, and returns what it is in the end.
func (lp *loop) state(n *graph.Node, body *graph.Graph, v *loopVar, start, arg, out *value) *value {
	n.Inputs = append(n.Inputs, lp.use(start))
	body.Inputs = append(body.Inputs, graph.Value{Name: arg.name, DType: arg.dtype, Shape: known(v.shape)})
	lp.output(body, &lp.nodes, out, v.shape)
	result := lp.fresh(lp.hint("Loop"), arg.dtype, v.shape)
	n.Outputs = append(n.Outputs, result.name)
	return result
}

// counter is what a counter is in an iteration, or after so many of them.
func (lp *loop) counter(k int, number *value) *value {
	start, step := lp.vars[k].in, lp.counters[k].step
	v := lp.cast(number, start.dtype)
	if step != 1 {
		v = lp.onnx("Mul", nil, v, lp.like(start, float64(step)))
	}
	if zero, ok := constant1(start); !ok || zero != 0 {
		v = lp.onnx("Add", nil, v, start)
	}
	return v
}

// scan adds an output of the body that the loop collects.
func (lp *loop) scan(n *graph.Node, body *graph.Graph, x *value) *value {
	lp.output(body, &lp.nodes, x, x.shape)
	shape := graph.Shape(nil)
	if x.shape != nil {
		shape = append(graph.Shape{{Size: -1}}, known(x.shape)...)
		for i, d := range x.shape {
			if !d.Known() && lp.lengthOf(d) != nil {
				shape[1+i] = d
			}
		}
		if t, ok := constant1(lp.trips); ok && lp.counted && t >= 0 {
			shape[0] = dimOf(t)
		}
	}
	all := lp.fresh(lp.hint("collected"), x.dtype, shape)
	n.Outputs = append(n.Outputs, all.name)
	return all
}

// collect makes a list of what each iteration writes to it. What it returns has to run when the loop is there.
func (lp *loop) collect(n *graph.Node, body *graph.Graph, v *loopVar, w write) func() {
	base := v.in.list
	x := lp.scan(n, body, w.x)
	empty := base.short && len(base.items) == 0
	unset := base.all == nil && !slices.ContainsFunc(base.items, func(v *value) bool { return v != nil })
	made := &list{dtype: base.dtype, shape: refine(base.shape, w.x.shape), all: x, dynamic: base.dynamic}
	v.result = listValue(made)
	// The place in each iteration, where it is not the iteration's number.
	var places *value
	if w.at != nil && !lp.ascending(w.at) {
		var at *value
		lp.nodes = append(lp.nodes, lp.aside(func() { at = lp.number(w.at) })...)
		places = lp.scan(n, body, at)
	}
	return func() {
		switch {
		case places != nil:
			*made = *lp.scatterAll(base, places, x)
		case w.at == nil && empty || w.grows && empty:
		case w.at == nil:
			made.all = lp.join(0, lp.all(base), x)
		case lp.counted && lp.equal(base.size, lp.trips):
			made.size = base.size
		case w.grows:
			lp.refuse("it makes a list longer in a loop that may write to its old elements")
		case unset: // elements that were not written are zero
			rank := len(w.x.shape)
			missing := lp.onnx("Sub", nil, lp.unsqueeze(lp.sizeOf(base), 0), lp.dim(x, 0))
			made.all = lp.padBy(x, lp.concat(lp.i64(make([]int64, rank+1)...), missing, lp.i64(make([]int64, rank)...)))
			made.size = base.size
		default:
			rows := lp.onnx("Range", nil, lp.index(0), lp.squeeze(lp.dim(x, 0), 0), lp.index(1))
			*made = *lp.scatterAll(base, rows, x)
		}
	}
}
