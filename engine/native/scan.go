package native

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// give makes outputs of what was gathered: along axes, in these directions. declared tells the type and shape where there was no turn.
func (s *stacks) give(declared []graph.Value, axes, reversed []int64) error {
	for i, parts := range s.parts {
		if !s.c.wants(s.first + i) {
			continue
		}
		if len(parts) == 0 {
			t, err := noTurns(declared[i])
			if err != nil {
				return s.c.errf("output %d: %w", s.first+i, err)
			}
			parts = []*tensor.Tensor{t}
		} else {
			axis := int64(0)
			if i < len(axes) {
				axis = axes[i]
			}
			at, err := s.c.axis(axis, parts[0].Rank()+1)
			if err != nil {
				return err
			}
			if i < len(reversed) && reversed[i] != 0 {
				slices.Reverse(parts)
			}
			t, err := stack(parts, at)
			if err != nil {
				return s.c.errf("output %d: %w", s.first+i, err)
			}
			parts = []*tensor.Tensor{t}
		}
		if err := s.c.give(s.first+i, tensor.ValueOf(parts[0])); err != nil {
			return err
		}
	}
	return nil
}

// noTurns is what a loop gathers in no turn: lengths that are not declared are 0.
func noTurns(v graph.Value) (*tensor.Tensor, error) {
	if v.DType == tensor.Invalid || v.Container != "" {
		return nil, errUntyped
	}
	shape := tensor.Shape{0}
	for _, d := range v.Shape {
		shape = append(shape, int(max(d.Size, 0)))
	}
	return tensor.New(v.DType, shape...)
}

// scanOp runs its subgraph for each place along an axis of its scanned inputs.
func scanOp(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	b, err := c.body("body")
	if err != nil {
		return err
	}
	if c.opset < 9 {
		return scanBatches(c, b)
	}
	scanned := int(c.attrs.Int("num_scan_inputs", 0))
	states := c.n.formal - scanned
	scans := len(b.prog.outputs) - states
	if scanned < 1 || states < 0 || scans < 0 || len(c.n.out) > states+scans {
		return c.errf("%d inputs of which %d are scanned, and %d outputs, for a body with %d outputs", c.n.formal, scanned, len(c.n.out), len(b.prog.outputs))
	}
	in, err := c.values(0, c.n.formal)
	if err != nil {
		return err
	}
	a := scanArgs{b: b, states: states, backward: c.attrs.Ints("scan_input_directions", nil)}
	axes := c.attrs.Ints("scan_input_axes", nil)
	a.axes = make([]int, scanned)
	for i := range scanned {
		t := in[states+i].Tensor
		if t == nil {
			return c.errf("input %d is scanned: %w", states+i, errNoBox)
		}
		axis := int64(0)
		if i < len(axes) {
			axis = axes[i]
		}
		if t.Rank() == 0 {
			return c.errf("input %d is scanned and a scalar", states+i)
		}
		if a.axes[i], err = c.axis(axis, t.Rank()); err != nil {
			return err
		}
		n := t.Shape()[a.axes[i]]
		if i > 0 && n != a.turns {
			return c.errf("scanned inputs have %d and %d places", a.turns, n)
		}
		a.turns = n
	}
	stacks := c.newStacks(scans, states)
	final, err := a.run(c, in, stacks)
	if err != nil {
		return err
	}
	for i, v := range final {
		if err := c.give(i, v); err != nil {
			return err
		}
	}
	return stacks.give(b.prog.out[states:], c.attrs.Ints("scan_output_axes", nil), c.attrs.Ints("scan_output_directions", nil))
}

// values returns inputs from to to of a node that runs at once.
func (c *prep) values(from, to int) ([]tensor.Value, error) {
	in := make([]tensor.Value, 0, max(to-from, 0))
	for i := from; i < to; i++ {
		v, err := c.got(i)
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	return in, nil
}

type scanArgs struct {
	b        *body
	states   int
	axes     []int
	backward []int64
	turns    int
}

// run goes through the turns of one scan and returns the last states.
func (a *scanArgs) run(c *prep, in []tensor.Value, to *stacks) ([]tensor.Value, error) {
	args := slices.Clone(in)
	for turn := range a.turns {
		if err := c.pl.ctx.Err(); err != nil {
			return nil, err
		}
		for i, axis := range a.axes {
			at := turn
			if i < len(a.backward) && a.backward[i] != 0 {
				at = a.turns - 1 - turn
			}
			t, err := pickAt(in[a.states+i].Tensor, axis, at)
			if err != nil {
				return nil, c.errf("%w", err)
			}
			args[a.states+i] = tensor.ValueOf(t)
		}
		out, err := a.b.run(c, args)
		if err != nil {
			return nil, err
		}
		copy(args, out[:a.states])
		if err := to.add(out[a.states:]); err != nil {
			return nil, err
		}
	}
	return args[:a.states], nil
}

// scanBatches is opset 8's Scan: the first dimension of every input is a batch, the second that of the places, and the first
// input, which may be left out, how many places each of the batch has.
func scanBatches(c *prep, b *body) error {
	scanned := int(c.attrs.Int("num_scan_inputs", 0))
	states := c.n.formal - 1 - scanned
	scans := len(b.prog.outputs) - states
	if scanned < 1 || states < 0 || scans < 0 || len(c.n.out) > states+scans {
		return c.errf("%d inputs of which %d are scanned, and %d outputs, for a body with %d outputs", c.n.formal, scanned, len(c.n.out), len(b.prog.outputs))
	}
	in, err := c.values(1, c.n.formal)
	if err != nil {
		return err
	}
	batch, places := -1, -1
	for i, v := range in {
		if v.Tensor == nil || v.Tensor.Rank() < 1 || i >= states && v.Tensor.Rank() < 2 {
			return c.errf("input %d has no batch, or no places", 1+i)
		}
		shape := v.Tensor.Shape()
		if batch >= 0 && shape[0] != batch || i > states && shape[1] != places {
			return c.errf("input %d has shape %v, which does not fit the others", 1+i, shape)
		}
		batch = shape[0]
		if i >= states {
			places = shape[1]
		}
	}
	lengths := slices.Repeat([]int{places}, batch)
	if c.opt(0).has() {
		if lengths, err = c.ints(0); err != nil {
			return err
		}
		if len(lengths) != batch {
			return c.errf("%d lengths for a batch of %d", len(lengths), batch)
		}
	}
	all := c.newStacks(states+scans, 0)
	for i := range batch {
		if lengths[i] != places {
			return c.refuse("sequences of different lengths")
		}
		one := make([]tensor.Value, len(in))
		for k, v := range in {
			t, err := pickAt(v.Tensor, 0, i)
			if err != nil {
				return c.errf("%w", err)
			}
			one[k] = tensor.ValueOf(t)
		}
		a := scanArgs{b: b, states: states, axes: make([]int, scanned), backward: c.attrs.Ints("directions", nil), turns: places}
		s := &stacks{c: c, first: states, parts: make([][]*tensor.Tensor, scans)}
		final, err := a.run(c, one, s)
		if err != nil {
			return err
		}
		for k, parts := range s.parts {
			if len(parts) == 0 {
				if c.wants(states + k) {
					return c.errf("a scan of no places")
				}
				final = append(final, tensor.Value{})
				continue
			}
			t, err := stack(parts, 0)
			if err != nil {
				return c.errf("%w", err)
			}
			final = append(final, tensor.ValueOf(t))
		}
		if err := all.add(final); err != nil {
			return err
		}
	}
	if batch == 0 {
		return c.errf("a scan of an empty batch")
	}
	return all.give(nil, nil, nil)
}
