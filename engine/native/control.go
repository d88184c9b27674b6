package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// ifOp runs one of two subgraphs.
func ifOp(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	cond, err := c.got(0)
	if err != nil {
		return err
	}
	yes, err := truth(cond)
	if err != nil {
		return c.errf("%w", err)
	}
	attr := "else_branch"
	if yes {
		attr = "then_branch"
	}
	b, err := c.body(attr)
	if err != nil {
		return err
	}
	out, err := b.run(c, nil)
	if err != nil {
		return err
	}
	if len(out) < len(c.n.out) {
		return c.errf("%s has %d outputs for %d", attr, len(out), len(c.n.out))
	}
	for i := range c.n.out {
		if err := c.give(i, out[i]); err != nil {
			return err
		}
	}
	return nil
}

// loopOp runs its subgraph while its condition holds and turns are left. Its states go from turn to turn; what else the subgraph
// gives is stacked.
func loopOp(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	b, err := c.body("body")
	if err != nil {
		return err
	}
	states := c.n.formal - 2
	scans := len(b.prog.outputs) - 1 - states
	if states < 0 || scans < 0 || len(c.n.out) > states+scans {
		return c.errf("%d states and %d outputs for a body with %d outputs", states, len(c.n.out), len(b.prog.outputs))
	}
	turns, going := int64(math.MaxInt64), true
	if c.opt(0).has() {
		n, err := c.ints(0)
		if err != nil {
			return err
		}
		if len(n) != 1 {
			return c.errf("the number of turns must be one number, not %d", len(n))
		}
		turns = int64(n[0])
	}
	if c.opt(1).has() {
		v, err := c.got(1)
		if err != nil {
			return err
		}
		if going, err = truth(v); err != nil {
			return c.errf("%w", err)
		}
	}
	in := make([]tensor.Value, 2+states)
	for i := range states {
		if in[2+i], err = c.got(2 + i); err != nil {
			return err
		}
	}
	stacks := c.newStacks(scans, states)
	for turn := int64(0); going && turn < turns; turn++ {
		if err := c.pl.ctx.Err(); err != nil {
			return err
		}
		in[0], in[1] = tensor.ValueOf(tensor.Scalar(turn)), tensor.ValueOf(tensor.Scalar(going))
		out, err := b.run(c, in)
		if err != nil {
			return err
		}
		if going, err = truth(out[0]); err != nil {
			return c.errf("%w", err)
		}
		copy(in[2:], out[1:1+states])
		if err := stacks.add(out[1+states:]); err != nil {
			return err
		}
	}
	for i := range states {
		if err := c.give(i, in[2+i]); err != nil {
			return err
		}
	}
	return stacks.give(b.prog.out[1+states:], nil, nil)
}

// stacks gathers what the turns of a loop give.
type stacks struct {
	c     *prep
	first int // output of the node
	parts [][]*tensor.Tensor
	bytes int64
}

func (c *prep) newStacks(n, first int) *stacks {
	return &stacks{c: c, first: first, parts: make([][]*tensor.Tensor, n)}
}

// add takes the values of one turn.
func (s *stacks) add(values []tensor.Value) error {
	for i := range s.parts {
		if !s.c.wants(s.first + i) {
			continue
		}
		t, err := tensorOf(values[i])
		if err != nil {
			return s.c.errf("output %d is gathered: %w", s.first+i, err)
		}
		if p := s.parts[i]; len(p) > 0 && (t.DType() != p[0].DType() || !t.Shape().Equal(p[0].Shape())) {
			return s.c.errf("output %d was %v%v and is %v%v in a later turn", s.first+i, p[0].DType(), p[0].Shape(), t.DType(), t.Shape())
		}
		size := values[i].Bytes() + 128
		if s.bytes += size; s.c.pl.total+s.bytes > s.c.pl.e.cfg.MaxRunBytes {
			return s.c.errf("%w: a run may use %d bytes (engines.native.max_run_bytes)", errTooLarge, s.c.pl.e.cfg.MaxRunBytes)
		}
		s.parts[i] = append(s.parts[i], t)
	}
	return nil
}
