package native

import (
	"context"
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
func NodeOps(s engine.Session) []string {
	return s.(*Session).prog.ops()
}

// Parts are the operators of a session's latest plan: those that are planned first, those that a run walks, and those of what follows, part by part, which
// has them once it has run.
func Parts(s engine.Session) [][]string { return (*s.(*Session).plans.Load())[0].partOps() }

func (p *plan) partOps() (parts [][]string) {
	if p.parts == nil {
		return nil
	}
	first := &program{}
	if p.parts.early != nil {
		first = p.parts.first
	}
	parts = append(parts, first.ops(), p.parts.walk.ops())
	if p.parts.rest == nil {
		return parts
	}
	if plans := *p.parts.rest.plans.Load(); len(plans) > 0 && plans[0].parts != nil {
		return append(parts, plans[0].partOps()...)
	}
	return append(parts, p.parts.rest.prog.ops())
}

func (p *program) ops() (ops []string) {
	for _, n := range p.nodes {
		ops = append(ops, n.node.OpType)
	}
	return ops
}

// PartPlans is how many plans the parts of a session's plans have, by the session's account and counted.
func PartPlans(s engine.Session) (account, counted int64) {
	var count func(plans []*plan)
	count = func(plans []*plan) {
		for _, p := range plans {
			if p.parts != nil && p.parts.rest != nil {
				more := *p.parts.rest.plans.Load()
				counted += int64(len(more))
				count(more)
			}
		}
	}
	count(*s.(*Session).plans.Load())
	return s.(*Session).nested.Load(), counted
}

// Walk runs a session's program node by node.
func Walk(ctx context.Context, s engine.Session, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	values := make([]tensor.Value, len(in))
	for i, t := range in {
		values[i] = tensor.ValueOf(t)
	}
	own := s.(*Session)
	out, err := newPlanner(ctx, own.e, own.prog, own.pool).evaluate(values)
	return tensorsOf(out), err
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
