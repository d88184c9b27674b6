package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A counter is a variable of a loop to which each iteration adds the same number.
type counter struct{ step int64 }

// count finds the counters of a loop, and how often it runs where its condition compares one with what does not change.
func (lp *loop) count(args []*value) {
	lp.trips, lp.counted = nil, false
	lp.counters = make([]*counter, len(args))
	for k, out := range lp.outs {
		if lp.vars[k].fixed || lp.vars[k].bad || args[k].rank() != 0 || args[k].dtype != tensor.Int32 && args[k].dtype != tensor.Int64 {
			continue
		}
		n := lp.source(out)
		if n == nil || n.OpType != "Add" || len(n.Inputs) != 2 {
			continue
		}
		for i, name := range n.Inputs {
			if step := lp.constants[n.Inputs[1-i]]; name == args[k].name && step != nil {
				if s, ok := constant1(step); ok && s != 0 && s > -1<<31 && s < 1<<31 {
					lp.counters[k] = &counter{step: s}
				}
			}
		}
	}
	var cond *value
	nodes := lp.aside(func() { cond = lp.condition(args) })
	if cond.con != nil || lp.again {
		return
	}
	// What the condition computes from what does not change is computed before the loop.
	moving := map[string]bool{}
	for _, v := range args {
		if !lp.isOuter(v) {
			moving[v.name] = true
		}
	}
	for _, v := range lp.vars {
		if v.arg.list != nil && !v.fixed {
			if l := v.arg.list; l.all != nil {
				moving[l.all.name] = true
			}
			for _, item := range v.arg.list.items {
				if item != nil {
					moving[item.name] = true
				}
			}
		}
	}
	for _, n := range nodes {
		if slices.ContainsFunc(n.Uses(), func(name string) bool { return moving[name] }) {
			for _, out := range n.Outputs {
				moving[out] = true
			}
			continue
		}
		lp.add(n)
	}
	lp.counted = true
	seen := map[string]bool{}
	for _, name := range lp.terms(cond.name) {
		trips := lp.limit(name, args, moving)
		if trips == nil {
			lp.counted = false
			continue
		}
		if seen[trips.name] {
			continue
		}
		seen[trips.name] = true
		if lp.trips != nil {
			trips = lp.onnx("Min", nil, lp.trips, trips)
		}
		lp.trips = trips
	}
	lp.counted = lp.counted && lp.trips != nil
}

// isOuter says that an argument is what it is outside of the loop.
func (lp *loop) isOuter(v *value) bool {
	return slices.ContainsFunc(lp.vars, func(o *loopVar) bool { return o.arg == v && o.arg == o.in })
}

// condition converts the condition, which is a scalar.
func (lp *loop) condition(args []*value) *value {
	returns := lp.invoke(lp.cond, args)
	if len(returns) != 1 {
		lp.damaged("its condition gives %d tensors", len(returns))
	}
	v := returns[0].value()
	if v.bad {
		lp.st.within = append(lp.st.within, returns[0])
		panic(stopped{})
	}
	return lp.truth(v)
}

// source returns the node that makes a value, but for those that only pass it on.
func (c *converter) source(v *value) *graph.Node {
	n := c.made[v.name]
	for n != nil && n.OpType == "Identity" {
		n = c.made[n.Inputs[0]]
	}
	return n
}

// terms are the conditions all of which must hold.
func (c *converter) terms(name string) []string {
	const most = 64
	queue := []string{name}
	var terms []string
	for len(queue) > 0 && len(queue)+len(terms) < most {
		n := c.made[queue[0]]
		switch {
		case n != nil && n.OpType == "And":
			queue = append(queue, n.Inputs...)
		case n != nil && n.OpType == "Identity":
			queue = append(queue, n.Inputs[0])
		case c.constants[queue[0]] != nil && isOnly(c.constants[queue[0]].con, true):
		default:
			terms = append(terms, queue[0])
		}
		queue = queue[1:]
	}
	return append(terms, queue...)
}

// limit returns how often a counter fulfils a condition, an int64 scalar below 1 where it never does; nil where that is not known.
func (lp *loop) limit(name string, args []*value, moving map[string]bool) *value {
	n := lp.made[name]
	if n == nil || len(n.Inputs) != 2 {
		return nil
	}
	for k, cnt := range lp.counters {
		if cnt == nil {
			continue
		}
		side := slices.Index(n.Inputs, args[k].name)
		if side < 0 || moving[n.Inputs[1-side]] {
			continue
		}
		// a and b are what is smaller and larger while it runs.
		less := n.OpType == "Less" || n.OpType == "LessOrEqual"
		if !less && n.OpType != "Greater" && n.OpType != "GreaterOrEqual" {
			return nil
		}
		if up := less == (side == 0); up != (cnt.step > 0) {
			return nil
		}
		to, from := lp.number(lp.named(n.Inputs[1-side])), lp.number(lp.vars[k].in)
		size := max(cnt.step, -cnt.step)
		way := [2]*value{to, from}
		if cnt.step < 0 {
			way = [2]*value{from, to}
		}
		far := way[0]
		if zero, ok := constant1(way[1]); !ok || zero != 0 {
			far = lp.onnx("Sub", nil, way[0], way[1])
		}
		extra := size - 1
		if n.OpType == "LessOrEqual" || n.OpType == "GreaterOrEqual" {
			extra = size
		}
		if extra != 0 {
			far = lp.onnx("Add", nil, far, lp.index(extra))
		}
		if size != 1 {
			far = lp.onnx("Div", nil, far, lp.index(size))
		}
		return far
	}
	return nil
}

// named is the value of a name that nodes use.
func (c *converter) named(name string) *value {
	if v := c.constants[name]; v != nil {
		return v
	}
	known := c.step.Lookup(name)
	return &value{name: name, dtype: known.DType, shape: known.Shape}
}

// counts returns the counter that a place is made of, and whether it is that counter itself; nil where it is none.
func (lp *loop) counts(at *value) (k int, itself bool) {
	inside := map[string]bool{}
	for _, n := range lp.nodes {
		for _, out := range n.Outputs {
			inside[out] = true
		}
	}
	name, itself := at.name, true
	for range 64 {
		for k, c := range lp.counters {
			if c != nil && lp.vars[k].arg.name == name {
				return k, itself
			}
		}
		n := lp.made[name]
		switch {
		case n == nil || !inside[name]:
			return -1, false
		case n.OpType == "Identity" || n.OpType == "Cast" || n.OpType == "Reshape" || n.OpType == "Squeeze" || n.OpType == "Unsqueeze":
			name = n.Inputs[0]
		case n.OpType == "Add" || n.OpType == "Sub":
			// What is added is the same in each iteration: it comes from outside.
			side := 0
			if !inside[n.Inputs[0]] && !lp.isState(n.Inputs[0]) {
				side = 1
			}
			if other := n.Inputs[1-side]; inside[other] || lp.isState(other) {
				return -1, false
			}
			name, itself = n.Inputs[side], false
		default:
			return -1, false
		}
	}
	return -1, false
}

func (lp *loop) isState(name string) bool {
	return slices.ContainsFunc(lp.vars, func(v *loopVar) bool { return !v.fixed && v.arg.name == name && name != "" })
}

// ascending reports whether a place is 0 in the first iteration, 1 in the second, and so on.
func (lp *loop) ascending(at *value) bool {
	if at == nil {
		return true
	}
	k, itself := lp.counts(at)
	if k < 0 || !itself || lp.counters[k].step != 1 {
		return false
	}
	first, ok := constant1(lp.vars[k].in)
	return ok && first == 0
}

// distinct reports whether a place is another one in each iteration.
func (lp *loop) distinct(at *value) bool {
	k, _ := lp.counts(at)
	return k >= 0
}

// equal reports whether two int64 scalars are known to be the same.
func (c *converter) equal(a, b *value) bool {
	if a == nil || b == nil {
		return false
	}
	x, ok := constant1(a)
	y, ok2 := constant1(b)
	if ok || ok2 {
		return ok && ok2 && x == y
	}
	strip := func(v *value) string {
		name := v.name
		for {
			n := c.made[name]
			if n == nil || n.OpType != "Cast" && n.OpType != "Identity" && n.OpType != "Squeeze" && n.OpType != "Reshape" {
				return name
			}
			name = n.Inputs[0]
		}
	}
	if strip(a) == strip(b) {
		return true
	}
	p, q := c.elements(a), c.elements(b)
	return len(p) == 1 && len(q) == 1 && p[0].Symbol != "" && p[0].Symbol == q[0].Symbol
}
