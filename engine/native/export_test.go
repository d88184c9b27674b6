package native

import (
	"maps"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/tensor"
)

// PlanCount is how many plans a session remembers.
func PlanCount(s engine.Session) int { return len(*s.(*Session).plans.Load()) }

// PlansMade is how many plans a session has made.
func PlansMade(s engine.Session) int { return int(s.(*Session).made.Load()) }

// IdleBytes is what the frames that wait in a session's plans take, by the session's account and counted.
func IdleBytes(s engine.Session) (account, counted int64) {
	for _, p := range *s.(*Session).plans.Load() {
		p.mu.Lock()
		counted += int64(len(p.idle)) * int64(p.arena)
		p.mu.Unlock()
	}
	return s.(*Session).idle.Load(), counted
}

// NodeOps are the operators of a session's program, after fusion.
func NodeOps(s engine.Session) (ops []string) {
	for _, n := range s.(*Session).prog.nodes {
		ops = append(ops, n.node.OpType)
	}
	return ops
}

// RowOperators are the operators that plans of rows may have.
func RowOperators() []string { return slices.Sorted(maps.Keys(rowRules)) }

// AddOperator adds an operator that copies its input, and panics at this element, to the table. The function that it
// returns takes it out again.
func AddOperator(name string, at int) func() {
	operators[name] = &operator{prepare: func(c *prep) error {
		o, err := c.out(0, tensor.Float32, c.in[0].shape)
		if err != nil {
			return err
		}
		s, n := c.in[0].slot, c.in[0].size()
		do := part(func(f *frame, lo, hi int) {
			for i := lo; i < hi; i++ {
				if i == at {
					panic("as asked")
				}
				data[float32](f, o)[i] = data[float32](f, s)[i]
			}
		})
		c.do(func(f *frame) { f.parallel(n, 1, do) })
		return nil
	}}
	return func() { delete(operators, name) }
}
