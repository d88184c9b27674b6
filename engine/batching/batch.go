package batching

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/tensor"
)

// call is a run that waits.
type call struct {
	in   []*tensor.Tensor
	rows int
	size int
	turn chan turn // holds one, so that telling never blocks

	// The session's mu guards these.
	alone bool   // it failed with others
	told  bool   // its turn is in the channel
	left  bool   // its caller is gone
	batch *batch // that it is in
}

// turn tells a caller how to go on: with its rows of what was computed, or, without outputs, by running itself in the
// place that it holds now.
type turn struct {
	outputs []*tensor.Tensor
	at      int
}

func newCall(in []*tensor.Tensor, rows int) *call {
	c := &call{in: in, rows: rows, turn: make(chan turn, 1)}
	for _, t := range in {
		if d, ok := t.Raw().([]string); ok {
			for _, v := range d {
				c.size += len(v)
			}
			continue
		}
		c.size += len(t.Bytes())
	}
	return c
}

// batch is several calls in one run.
type batch struct {
	calls  []*call
	cancel context.CancelFunc
	left   int           // callers that are gone; the session's mu guards it
	copied chan struct{} // closed once the calls' inputs are not read any more
}

// run computes a batch in the place that it was given, hands its outcome out, and passes the place on.
func (s *Session) run(ctx context.Context, b *batch) {
	defer s.next()
	defer b.cancel()
	outputs, err := s.together(ctx, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := 0
	var again []*call
	for _, c := range b.calls {
		switch {
		case c.left:
		case err != nil:
			c.alone, c.batch = true, nil
			again = append(again, c)
		default:
			c.told = true
			c.turn <- turn{outputs, at}
		}
		at += c.rows
	}
	s.waiting = slices.Insert(s.waiting, 0, again...)
}

// together runs the calls' inputs as one. An error says that it cannot be done, whosever fault it is.
func (s *Session) together(ctx context.Context, b *batch) (outputs []*tensor.Tensor, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v\n%s", engine.ErrPanic, v, debug.Stack())
		}
	}()
	in, rows, err := b.stack()
	if err != nil {
		return nil, err
	}
	outputs = make([]*tensor.Tensor, s.outputs)
	if err := s.inner.Run(ctx, in, outputs); err != nil {
		return nil, err
	}
	if err := s.check(ctx, b, in, outputs, rows); err != nil {
		if errors.Is(err, engine.ErrRows) && s.open.Swap(false) && s.opts.OnAlone != nil {
			s.opts.OnAlone(err)
		}
		return nil, err
	}
	return outputs, nil
}

// check reports whether the callers' rows are in the outputs as each would have got them alone.
func (s *Session) check(ctx context.Context, b *batch, in, outputs []*tensor.Tensor, rows int) error {
	for i, t := range outputs {
		if t.Rank() == 0 || t.Shape()[0] != rows {
			return fmt.Errorf("%w: output %q has shape %v for a batch of %d", engine.ErrRows, s.Outputs()[i].Name, t.Shape(), rows)
		}
	}
	if s.opts.Independent {
		return nil
	}
	return s.trial.Check(ctx, s.inner, in, outputs, b.calls[0].rows, b.calls[len(b.calls)-1].rows)
}

func (b *batch) stack() (in []*tensor.Tensor, rows int, err error) {
	defer close(b.copied)
	in = make([]*tensor.Tensor, len(b.calls[0].in))
	parts := make([]*tensor.Tensor, len(b.calls))
	for i := range in {
		for j, c := range b.calls {
			parts[j] = c.in[i]
		}
		if in[i], err = tensor.Concat(parts...); err != nil {
			return nil, 0, err
		}
	}
	return in, in[0].Shape()[0], nil
}

// take copies a call's rows of a batch's outputs to where its caller wants them.
func (c *call) take(outputs []*tensor.Tensor, at int, out []*tensor.Tensor) error {
	mine := make([]*tensor.Tensor, len(outputs))
	for i, t := range outputs {
		rows, err := t.Slice(at, at+c.rows)
		if err != nil {
			return err
		}
		if given := out[i]; given != nil && (given.DType() != rows.DType() || !given.Shape().Equal(rows.Shape())) {
			return fmt.Errorf("%w: output %d is %v%v, the tensor for it %v%v", engine.ErrInput, i, rows.DType(), rows.Shape(), given.DType(), given.Shape())
		}
		mine[i] = rows
	}
	for i, t := range mine {
		if out[i] == nil {
			out[i] = t.Clone() // the batch's memory goes when all have theirs
			continue
		}
		if to, ok := out[i].Raw().([]string); ok {
			copy(to, tensor.Data[string](t))
			continue
		}
		copy(out[i].Bytes(), t.Bytes())
	}
	return nil
}

// leave takes a call back whose caller's context ended. When it returns, nobody reads the call's inputs.
func (s *Session) leave(c *call) {
	s.mu.Lock()
	if i := slices.Index(s.waiting, c); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.mu.Unlock()
		return
	}
	if c.told {
		s.mu.Unlock()
		if t := <-c.turn; t.outputs == nil {
			s.next() // it was given a place
		}
		return
	}
	b := c.batch
	c.left = true
	if b.left++; b.left == len(b.calls) {
		b.cancel()
	}
	s.mu.Unlock()
	<-b.copied
}
