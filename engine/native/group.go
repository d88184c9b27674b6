package native

import "slices"

// An elementwise operator on float32 computes one element from the elements at the same place, or from a single one.
// Planners join neighbours of the same length into groups, which run chunk by chunk while the chunk is in the cache.
type elementwise struct {
	n    int
	cost int
	run  func(f *frame, lo, hi int)
	// slots that it reads or writes.
	slots []int
}

// groupChunk is how many elements of a group are computed at a time.
const groupChunk = 2048

// groupMost is how many operators a group has at most: all that they compute has memory of its own while the group runs.
const groupMost = 32

// A group collects elementwise operators that follow each other.
type group struct {
	ops         []*elementwise
	first, last int32 // nodes
	node        *pnode
	cost        int
}

// addSteps adds the steps of a prepared node, or lets it join the group.
func (pl *planner) addSteps(c *prep) {
	if c.elem != nil && len(c.steps) == 0 {
		e := c.elem
		if n := len(pl.group.ops); n == groupMost || n > 0 && pl.group.ops[0].n != e.n {
			pl.flush()
		}
		if len(pl.group.ops) == 0 {
			pl.group.first = pl.node
		}
		pl.group.ops = append(pl.group.ops, e)
		pl.group.last, pl.group.node = pl.node, c.n
		pl.group.cost += e.cost
		return
	}
	c.settle()
	if len(c.steps) > 0 {
		pl.flush()
	}
	for _, s := range c.steps {
		pl.steps = append(pl.steps, planStep{s, c.n})
	}
}

// step runs an operator by itself.
func (e *elementwise) step() step {
	run, n, least := part(e.run), e.n, max(1, grain/e.cost)
	return func(f *frame) error { f.parallel(n, least, run); return nil }
}

// flush makes one step of the group.
func (pl *planner) flush() {
	g := pl.group
	pl.group = group{}
	switch len(g.ops) {
	case 0:
		return
	case 1:
		pl.steps = append(pl.steps, planStep{g.ops[0].step(), g.node})
		return
	}
	// Chunks of all operators run by turns, so memory that one of them uses belongs to the whole group.
	for _, e := range g.ops {
		for _, i := range e.slots {
			s := &pl.slots[i]
			if s.from < 0 || s.from > g.first {
				s.from = g.first
			}
			s.to = max(s.to, g.last)
		}
	}
	n, least := g.ops[0].n, max(1, grain/g.cost)
	runs := make([]func(f *frame, lo, hi int), len(g.ops)) // the plan keeps no more of them
	for i, e := range g.ops {
		runs[i] = e.run
	}
	chunks := part(func(f *frame, lo, hi int) {
		for ; lo < hi; lo += groupChunk {
			end := min(hi, lo+groupChunk)
			for _, run := range runs {
				run(f, lo, end)
			}
		}
	})
	pl.steps = append(pl.steps, planStep{func(f *frame) error { f.parallel(n, least, chunks); return nil }, g.node})
}

// elementwise makes the node's work an elementwise operator on float32, which may join a group.
func (c *prep) elementwise(n, cost int, run func(f *frame, lo, hi int), slots ...int) {
	e := &elementwise{n: n, cost: cost, run: run, slots: slots}
	if c.intoF || len(c.steps) > 0 || c.elem != nil || c.pl.eager {
		c.settle()
		c.step(e.step())
		return
	}
	c.elem = e
}

// settle makes the elementwise operator an ordinary step, the node's first.
func (c *prep) settle() {
	if c.elem != nil {
		c.steps = slices.Insert(c.steps, 0, c.elem.step())
		c.elem = nil
	}
}

// isFloat32 reports whether T is float32.
func isFloat32[T any]() bool {
	var z T
	_, ok := any(z).(float32)
	return ok
}
