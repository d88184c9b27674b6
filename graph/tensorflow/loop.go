package tensorflow

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// A loop is a While on its way to become a Loop. How each of its variables goes through it is found by trying: an attempt converts the
// body with what is supposed, and where the body shows that it is otherwise, the next attempt supposes less.
type loop struct {
	*call
	cond, body graphdef.Call
	vars       []*loopVar
	again      bool // something is supposed anew

	iter     *value // the number of the iteration, in the body
	nodes    []*graph.Node
	returns  []edge
	outs     []*value
	counters []*counter // by variable; nil where it is none
	trips    *value     // how often it runs at most, an int64 scalar; nil where that is not known before
	counted  bool       // it runs that often
}

// A loopVar is what goes through a loop.
type loopVar struct {
	in, arg *value
	// fixed says that the body gives it back as it came: it is no state.
	fixed bool
	bad   bool
	// shape is what all iterations have in common, of a tensor or of a list that is one.
	shape graph.Shape
	form  form
	// element is the shape of what is written to a list, and written are the places where items are.
	element graph.Shape
	written map[int]bool
	result  *value
	states  []*value // in the body, what the states of this variable are called
}

// A form is what a list is in a loop.
type form int

const (
	collected form = iota // what each iteration writes is an output that the loop collects
	apart                 // elements at constant places are states
	whole                 // the elements are one tensor, which is a state
)

// maxAttempts is how often the body of a loop is converted at most.
const maxAttempts = 16

func whileOp(c *call) []*value {
	lp := &loop{call: c, cond: c.function("cond"), body: c.function("body")}
	f := c.functions[lp.body.Name]
	for i, v := range c.in {
		if v.dead {
			v = &value{bad: true, by: c.st}
		}
		lp.vars = append(lp.vars, &loopVar{in: v, bad: v.bad, shape: v.shape, fixed: f != nil && c.returned(f, i), written: map[int]bool{}})
	}
	for range maxAttempts {
		lp.again = false
		c.st.within = nil
		lp.enter()
		lp.run()
		if lp.again || lp.settle() {
			continue
		}
		return lp.finish()
	}
	c.refuse("what it carries from one iteration to the next does not keep its shape")
	return nil
}

// returned reports whether a function gives back argument i as output i.
func (c *converter) returned(f *graphdef.Function, i int) bool {
	if i >= len(f.Inputs) || i >= len(f.Outputs) || len(f.Inputs) != len(f.Outputs) {
		return false
	}
	nodes := c.bodies[f.Name]
	if nodes == nil {
		nodes = index(f.Nodes)
		c.bodies[f.Name] = nodes
	}
	text := f.Return[f.Outputs[i].Name]
	for range len(f.Nodes) + 1 {
		name, _, _ := strings.Cut(text, ":")
		if name == f.Inputs[i].Name {
			return true
		}
		n := nodes[name]
		if n == nil || n.Op != "Identity" || len(n.Inputs) == 0 {
			return false
		}
		text = n.Inputs[0]
	}
	return false
}

// enter makes what the body takes.
func (lp *loop) enter() {
	for k, v := range lp.vars {
		v.states = nil
		switch l := v.in.list; {
		case v.bad:
			v.arg = &value{bad: true, by: lp.st, byOut: k}
			if v.in.bad {
				v.arg = v.in
			}
		case v.fixed || v.in.handle != "" && l == nil:
			v.arg = v.in
		case l == nil:
			v.arg = lp.fresh(lp.hint("state"), v.in.dtype, v.shape)
		case l.open != nil:
			lp.close(l)
		case v.form == collected:
			v.arg = listValue(&list{dtype: l.dtype, shape: l.shape, size: lp.sizeOf(l), dynamic: l.dynamic, open: &open{loop: lp, at: k}})
		case v.form == apart:
			made := *l
			made.items = slices.Clone(l.items)
			for i := range made.items {
				if v.written[i] {
					made.items[i] = lp.fresh(lp.hint("item"), l.dtype, v.shape)
				}
			}
			v.arg = listValue(&made)
		default:
			if v.shape == nil {
				v.shape = lp.start(v).shape
			}
			v.arg = listValue(&list{dtype: l.dtype, shape: refine(l.shape, v.element), dynamic: l.dynamic, all: lp.fresh(lp.hint("list"), l.dtype, v.shape)})
		}
	}
}

// start is the elements that a list has before the loop, as one tensor.
func (lp *loop) start(v *loopVar) *value {
	given := *v.in.list
	given.shape = refine(given.shape, v.element)
	return lp.all(&given)
}

// run converts the body and finds out how often it runs.
func (lp *loop) run() {
	args := make([]*value, len(lp.vars))
	for k, v := range lp.vars {
		args[k] = v.arg
	}
	lp.iter = lp.fresh(lp.hint("iteration"), tensor.Int64, graph.Shape{})
	lp.nodes = lp.aside(func() {
		lp.returns = lp.invoke(lp.body, args)
	})
	if len(lp.returns) != len(args) {
		lp.damaged("it carries %d tensors, and its body gives %d", len(args), len(lp.returns))
	}
	lp.outs = make([]*value, len(args))
	for k, e := range lp.returns {
		lp.outs[k] = e.value()
	}
	lp.count(args)
}

// settle compares what the body gave with what was supposed of it; true is that it has to be converted again.
func (lp *loop) settle() bool {
	for k, v := range lp.vars {
		out := lp.outs[k]
		if v.bad || v.fixed {
			continue
		}
		switch {
		case out.bad || out.dead:
			v.bad, lp.again = true, true
		case v.in.list != nil:
			lp.settleList(v, out)
		case v.in.handle != "":
			if out.handle != v.in.handle || out.variable != v.in.variable {
				lp.refuse("its body changes a %s", v.in.handle)
			}
		case out.handle != "":
			lp.damaged("it carries %s, and its body gives %s", describe(v.in), describe(out))
		case out.dtype != v.in.dtype:
			lp.damaged("it carries %v, and its body gives %v", v.in.dtype, out.dtype)
		case out.name == v.arg.name:
			v.fixed, lp.again = true, true
		default:
			lp.widen(v, v.arg, out)
		}
	}
	for k, v := range lp.vars {
		if v.bad {
			lp.st.within = append(lp.st.within, lp.returns[k])
		}
	}
	return lp.again
}

// widen supposes of a state what it has in common with what the body makes of it.
func (lp *loop) widen(v *loopVar, arg, out *value) {
	switch {
	case v.shape == nil:
	case out.shape == nil || len(out.shape) != len(v.shape):
		v.shape, lp.again = nil, true
	default:
		for i, d := range v.shape {
			if (d.Known() || d.Symbol != "") && !sameDims(arg.shape[i], out.shape[i]) {
				if !lp.again || &v.shape[0] == &v.in.shape[0] {
					v.shape = slices.Clone(v.shape)
				}
				v.shape[i], lp.again = graph.Dim{Size: -1}, true
			}
		}
	}
}

func (lp *loop) settleList(v *loopVar, out *value) {
	to := func(f form) { v.form, v.shape, lp.again = f, nil, true }
	if out.list == nil {
		lp.damaged("it carries a list of tensors, and its body gives %s", describe(out))
	}
	base, l := v.in.list, out.list
	switch v.form {
	case collected:
		if l == v.arg.list {
			v.fixed, lp.again = true, true
			return
		}
		if l.open == nil || l.open.loop != lp || lp.vars[l.open.at] != v {
			to(whole)
			return
		}
		w := l.open.writes[0]
		if v.element == nil {
			v.element = w.x.shape
		}
		if base.short && !slices.ContainsFunc(l.open.writes, func(w write) bool { n, ok := constant1(w.at); return !ok || n < 0 || n >= int64(len(base.items)) }) {
			for _, w := range l.open.writes {
				n, _ := constant1(w.at)
				v.written[int(n)] = true
			}
			to(apart)
			v.shape = lp.startShape(v)
			return
		}
		if len(l.open.writes) > 1 || w.at != nil && !lp.ascending(w.at) && !lp.distinct(w.at) || w.grows && !lp.ascending(w.at) {
			to(whole)
		}
	case apart:
		if !l.short || len(l.items) != len(base.items) {
			to(whole)
			return
		}
		for i, item := range l.items {
			switch {
			case v.written[i]:
				lp.widen(v, v.arg.list.items[i], item)
			case item != base.items[i]:
				v.written[i], lp.again = true, true
			}
		}
	case whole:
		if l.all == nil {
			made := *l
			lp.nodes = append(lp.nodes, lp.aside(func() { l = &list{dtype: l.dtype, shape: l.shape, all: lp.all(&made)} })...)
			lp.outs[slices.Index(lp.vars, v)] = listValue(l)
		}
		lp.widen(v, v.arg.list.all, l.all)
	}
}

// startShape is what is known of items before a loop writes the first one.
func (lp *loop) startShape(v *loopVar) graph.Shape {
	shape := append(graph.Shape{}, v.element...)
	for i, d := range shape {
		if !d.Known() && lp.lengthOf(d) == nil {
			shape[i] = graph.Dim{Size: -1}
		}
	}
	for i, item := range v.in.list.items {
		if item != nil && v.written[i] {
			shape = common(shape, item.shape)
		}
	}
	return shape
}

// blank is an item before a loop writes it: zeros, and nothing along an axis whose length only the loop can say.
func (lp *loop) blank(v *loopVar) *value {
	parts := make([]*value, len(v.element))
	for i, d := range v.element {
		if parts[i] = lp.lengthOf(d); parts[i] == nil {
			parts[i] = lp.i64(0)
		}
	}
	if len(parts) == 0 {
		return lp.scalar(v.in.list.dtype, 0)
	}
	return lp.onnx("Expand", nil, lp.scalar(v.in.list.dtype, 0), lp.concat(parts...))
}

// A write is what the body of a loop does to a list: it sets an element, or adds one behind the last.
type write struct {
	at    *value // nil where it adds
	x     *value
	grows bool
}

// open is a list in the body of a loop, of which is only known what the body wrote.
type open struct {
	loop   *loop
	at     int // which variable of the loop it is
	writes []write
}

func (o *open) with(l *list, w write) *list {
	made, next := *l, *o
	next.writes = append(slices.Clone(o.writes), w)
	made.open = &next
	return &made
}

func (o *open) grows() bool {
	return slices.ContainsFunc(o.writes, func(w write) bool { return w.at == nil || w.grows })
}

// find returns what was written at a place, where that is certain.
func (o *open) find(at *value) *value {
	for _, w := range slices.Backward(o.writes) {
		if w.at == nil {
			return nil
		}
		if w.at.name == at.name {
			return w.x
		}
		a, ok := constant1(w.at)
		if b, ok2 := constant1(at); !ok || !ok2 || a == b {
			return nil
		}
	}
	return nil
}

// close ends the conversion of a node that has to see all of a list: the loop carries the list as a whole then.
func (c *call) close(l *list) {
	lp, v := l.open.loop, l.open.loop.vars[l.open.at]
	if len(l.open.writes) > 0 && v.element == nil {
		v.element = l.open.writes[0].x.shape
	}
	v.form, v.shape, lp.again = whole, nil, true
	c.refuse("it needs a whole list of tensors in a loop")
}
