package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// parts are a program in parts, for one set of input shapes: what these shapes settle is planned; then come the nodes that only a run can prepare, since a shape of theirs depends
// on a value, or they have a body; and what follows from these is a program of its own, which is planned for the shapes that a run finds, and may be split again.
type parts struct {
	prog  *program // in parts
	early *plan    // nil where the shapes settle nothing
	first *program // of early
	walk  *program
	rest  *Session               // nil where nothing follows
	known map[int]*tensor.Tensor // values that the shapes decide
}

// maxParts is how many plans the later parts of a session's programs have together, in sets of MaxPlans. Over it they are walked.
const maxParts = 8

// inParts returns the program in parts for these shapes, or nil where parts gain nothing.
func (s *Session) inParts(ctx context.Context, types []tensor.DType, shapes []tensor.Shape) (*parts, error) {
	p := s.prog
	if p.boxed {
		return nil, nil
	}
	pl := newPlanner(ctx, s.e, p, s.pool)
	pl.begin(types, shapes)
	var early, walk, rest []*pnode
	for i, n := range p.nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pl.node = int32(i)
		if slices.ContainsFunc(n.in, func(id int) bool { return id >= 0 && !pl.vals[id].ready }) {
			rest = append(rest, n)
			continue
		}
		switch err := pl.prepare(n); {
		case err == nil:
			early = append(early, n)
		case errors.Is(err, errDynamic):
			walk = append(walk, n)
		default:
			return nil, err
		}
	}
	x := &parts{prog: p, known: maps.Clone(p.known)}
	if x.known == nil {
		x.known = map[int]*tensor.Tensor{}
	}
	for _, n := range early {
		for _, id := range n.out {
			if id >= 0 && pl.vals[id].t != nil {
				x.known[id] = pl.vals[id].t
			}
		}
	}
	later := uses(rest, p.outputs)
	x.walk = p.part(x, walk, later)
	if len(rest) > 0 {
		x.rest = &Session{e: s.e, prog: p.part(x, rest, uses(nil, p.outputs)), pool: s.pool, idle: s.idle, nested: s.nested, part: true}
		x.rest.plans.Store(&[]*plan{})
	}
	x.first = p.part(x, early, uses(walk, nil, later))
	x.first.prune()
	x.first.liveness()
	if len(x.first.nodes) == 0 {
		if x.first = nil; x.rest == nil {
			return nil, nil
		}
		return x, nil
	}
	var firstTypes []tensor.DType
	var firstShapes []tensor.Shape
	for _, id := range x.first.inputs {
		at := slices.Index(p.inputs, id)
		firstTypes, firstShapes = append(firstTypes, types[at]), append(firstShapes, shapes[at])
	}
	var err error
	if x.early, err = newPlanner(ctx, s.e, x.first, s.pool).plan(firstTypes, firstShapes); err != nil {
		return nil, err
	}
	return x, nil
}

// uses returns the values that nodes take, with others.
func uses(nodes []*pnode, ids []int, more ...map[int]bool) map[int]bool {
	used := map[int]bool{}
	for _, n := range nodes {
		for _, id := range n.in {
			if id >= 0 {
				used[id] = true
			}
		}
	}
	for _, id := range ids {
		used[id] = true
	}
	for _, m := range more {
		for id := range m {
			used[id] = true
		}
	}
	return used
}

// part returns the program of some nodes of p. Its inputs are what they take from outside, its outputs what they give of wanted.
func (p *program) part(x *parts, nodes []*pnode, wanted map[int]bool) *program {
	q := &program{name: p.name, nvals: p.nvals, names: p.names, consts: p.consts, known: x.known, derived: p.derived}
	made := map[int]bool{}
	for _, n := range nodes {
		own := *n
		q.nodes = append(q.nodes, &own)
		for _, id := range n.in {
			if id < 0 || made[id] || p.consts[id] != nil || x.known[id] != nil {
				continue
			}
			made[id] = true
			q.inputs = append(q.inputs, id)
			q.in = append(q.in, p.named(id))
		}
		for _, id := range n.out {
			if id >= 0 {
				made[id] = true
				if wanted[id] && x.known[id] == nil {
					q.outputs = append(q.outputs, id)
					q.out = append(q.out, p.named(id))
				}
			}
		}
	}
	q.open = make([]bool, len(q.inputs))
	q.liveness()
	return q
}

// run runs the program in parts. held is what the caller has in memory, in bytes. The results may share memory with the inputs, the constants and one another.
func (x *parts) run(ctx context.Context, s *Session, in []tensor.Value, held int64) ([]tensor.Value, error) {
	have := make(map[int]tensor.Value, len(in))
	for i, id := range x.prog.inputs {
		have[id] = in[i]
	}
	take := func(p *program) []tensor.Value {
		args := make([]tensor.Value, len(p.inputs))
		for i, id := range p.inputs {
			args[i] = have[id]
		}
		return args
	}
	give := func(p *program, out []tensor.Value) {
		for i, id := range p.outputs {
			have[id] = out[i]
			held += out[i].Bytes()
		}
	}
	if x.early != nil {
		out, err := s.runPlan(ctx, x.early, tensorsOf(take(x.first)), held)
		if err != nil {
			return nil, err
		}
		give(x.first, out)
	}
	pl := newPlanner(ctx, s.e, x.walk, s.pool)
	pl.total = held
	out, err := pl.evaluate(take(x.walk))
	if err != nil {
		return nil, err
	}
	give(x.walk, out)
	if x.rest != nil {
		if out, err = x.rest.runValues(ctx, take(x.rest.prog), held); err != nil {
			return nil, err
		}
		give(x.rest.prog, out)
	}
	out = make([]tensor.Value, len(x.prog.outputs))
	for i, id := range x.prog.outputs {
		v, ok := have[id]
		if !ok {
			t := cmp.Or(x.prog.consts[id], x.known[id])
			if t == nil {
				return nil, fmt.Errorf("output %q was not computed", x.prog.names[id])
			}
			v = tensor.ValueOf(t)
		}
		out[i] = v
	}
	return out, nil
}

// tensorsOf returns the tensors of values, or nil where one is none.
func tensorsOf(values []tensor.Value) []*tensor.Tensor {
	out := make([]*tensor.Tensor, len(values))
	for i, v := range values {
		if v.Kind != tensor.KindTensor {
			return nil
		}
		out[i] = v.Tensor
	}
	return out
}

// runValues runs the program of a part or of a body: by a plan where there can be one, and node by node where an input is no tensor or every run has other shapes.
func (s *Session) runValues(ctx context.Context, in []tensor.Value, held int64) ([]tensor.Value, error) {
	if tensors := tensorsOf(in); tensors != nil {
		p := s.prog.find(*s.plans.Load(), tensors, 0)
		if p == nil && !s.restless() {
			var err error
			if p, err = s.planFor(ctx, tensors); err != nil {
				return nil, err
			}
		}
		switch {
		case p == nil:
		case p.parts != nil:
			return p.parts.run(ctx, s, in, held)
		case !p.dynamic:
			return s.runPlan(ctx, p, tensors, held)
		}
	}
	pl := newPlanner(ctx, s.e, s.prog, s.pool)
	pl.total = held
	return pl.evaluate(in)
}

// restless reports whether plans are not worth making any more.
func (s *Session) restless() bool {
	return s.made.Load() > int64(2*s.e.cfg.MaxPlans) || s.part && s.nested.Load() >= int64(maxParts*s.e.cfg.MaxPlans)
}

// runPlan runs a plan for tensors of its shapes, and returns new ones.
func (s *Session) runPlan(ctx context.Context, p *plan, in []*tensor.Tensor, held int64) ([]tensor.Value, error) {
	if held += p.bytes; held > s.e.cfg.MaxRunBytes {
		return nil, fmt.Errorf("%w: a run may use %d bytes (engines.native.max_run_bytes)", errTooLarge, s.e.cfg.MaxRunBytes)
	}
	out := make([]*tensor.Tensor, len(p.outs))
	f, err := s.frame(p)
	if err != nil {
		return nil, err
	}
	err = p.run(ctx, f, in, out)
	s.release(p, f)
	if err != nil {
		return nil, err
	}
	values := make([]tensor.Value, len(out))
	for i, t := range out {
		values[i] = tensor.ValueOf(t)
	}
	return values, nil
}

// forget gives up what the parts of a plan keep, once the session keeps the plan no more.
func (s *Session) forget(p *plan) {
	s.dropIdle(p, true)
	x := p.parts
	if x == nil {
		return
	}
	if x.early != nil {
		s.dropIdle(x.early, true)
	}
	if x.rest == nil {
		return
	}
	x.rest.makers.Lock()
	defer x.rest.makers.Unlock()
	x.rest.closed = true
	plans := *x.rest.plans.Load()
	x.rest.plans.Store(&[]*plan{})
	s.nested.Add(-int64(len(plans)))
	for _, p := range plans {
		x.rest.forget(p)
	}
}
