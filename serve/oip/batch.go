package oip

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// maxRows and maxBatchBytes bound what is gathered into one run.
const (
	maxRows       = 256
	maxBatchBytes = 32 << 20
)

// batcher gathers requests for one model into batches where its first dimension is free. Nobody waits for company: a
// request runs at once while fewer runs than processors are under way, and the first that waited takes along what came
// meanwhile. It has no goroutine of its own.
type batcher struct {
	slots   int
	timeout time.Duration // of a run for others

	mu       sync.Mutex
	sessions map[engine.Session]*queue // those with a run under way
}

type queue struct {
	running int
	waiting []*call
}

// call is a request that waits.
type call struct {
	in   []*tensor.Tensor
	out  []*tensor.Tensor
	err  error
	rows int
	size int
	done chan []*call // nil when out or err is set, else the batch that this caller is to run
}

func newBatcher(timeout time.Duration) *batcher {
	return &batcher{slots: runtime.GOMAXPROCS(0), timeout: timeout, sessions: make(map[engine.Session]*queue)}
}

// free reports whether a session takes any number of rows: the first dimension of every input and output is not known.
func free(s engine.Session) bool {
	open := func(v graph.Value) bool { return len(v.Shape) > 0 && !v.Shape[0].Known() }
	closed := func(v graph.Value) bool { return !open(v) }
	ins := s.Inputs()
	return len(ins) > 0 && !slices.ContainsFunc(ins, closed) && !slices.ContainsFunc(s.Outputs(), closed)
}

// run computes the outputs of in, which fit the session.
func (b *batcher) run(ctx context.Context, s engine.Session, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if !free(s) || in[0].Shape()[0] >= maxRows {
		return runOne(ctx, s, in)
	}
	b.mu.Lock()
	q := b.sessions[s]
	if q == nil {
		q = &queue{}
		b.sessions[s] = q
	}
	if q.running < b.slots {
		q.running++
		b.mu.Unlock()
		defer b.next(s, q)
		return runOne(ctx, s, in)
	}
	c := &call{in: in, rows: in[0].Shape()[0], done: make(chan []*call, 1)}
	for _, t := range in {
		c.size += len(t.Bytes())
	}
	q.waiting = append(q.waiting, c)
	b.mu.Unlock()
	batch := <-c.done
	if batch == nil {
		return c.out, c.err
	}
	defer b.next(s, q)
	b.runBatch(ctx, s, batch)
	return c.out, c.err
}

func runOne(ctx context.Context, s engine.Session, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	out := make([]*tensor.Tensor, len(s.Outputs()))
	return out, s.Run(ctx, in, out)
}

// next lets the first that waits take over the place of a run that ended, with all that fit beside it.
func (b *batcher) next(s engine.Session, q *queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(q.waiting) == 0 {
		if q.running--; q.running == 0 {
			delete(b.sessions, s)
		}
		return
	}
	first := q.waiting[0]
	batch := []*call{first}
	rows, size := first.rows, first.size
	kept := q.waiting[:0]
	for _, c := range q.waiting[1:] {
		if rows+c.rows <= maxRows && size+c.size <= maxBatchBytes && alike(first.in, c.in) {
			batch = append(batch, c)
			rows += c.rows
			size += c.size
			continue
		}
		kept = append(kept, c)
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
	first.done <- batch
}

// alike reports whether two requests differ in their rows alone.
func alike(a, b []*tensor.Tensor) bool {
	for i := range a {
		if !slices.Equal(a[i].Shape()[1:], b[i].Shape()[1:]) || a[i].DType() != b[i].DType() {
			return false
		}
	}
	return true
}

// runBatch runs several requests as one, sets each one's outcome, and tells all but the first, who is the caller. What
// fails together runs again one by one, so that a bad input hurts only itself.
func (b *batcher) runBatch(ctx context.Context, s engine.Session, batch []*call) {
	defer func() {
		v := recover()
		for _, c := range batch[1:] {
			if v != nil && c.out == nil && c.err == nil {
				c.err = errPanic
			}
			c.done <- nil
		}
		if v != nil {
			panic(v)
		}
	}()
	if len(batch) == 1 {
		batch[0].out, batch[0].err = runOne(ctx, s, batch[0].in)
		return
	}
	// The others' answers must not depend on whether the first one's caller stays.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
	defer cancel()
	if together(ctx, s, batch) == nil {
		return
	}
	for _, c := range batch {
		c.out, c.err = runOne(ctx, s, c.in)
	}
}

var errPanic = errors.New("the run that took this one along panicked")

func together(ctx context.Context, s engine.Session, batch []*call) error {
	rows := 0
	for _, c := range batch {
		rows += c.rows
	}
	in := make([]*tensor.Tensor, len(batch[0].in))
	parts := make([]*tensor.Tensor, len(batch))
	for i := range in {
		for j, c := range batch {
			parts[j] = c.in[i]
		}
		t, err := join(parts, rows)
		if err != nil {
			return err
		}
		in[i] = t
	}
	out, err := runOne(ctx, s, in)
	if err != nil {
		return err
	}
	for _, t := range out {
		if t.Rank() == 0 || t.Shape()[0] != rows {
			return fmt.Errorf("an output of shape %v does not follow the batch of %d", t.Shape(), rows)
		}
	}
	at := 0
	for _, c := range batch {
		c.out = make([]*tensor.Tensor, len(out))
		for i, t := range out {
			if c.out[i], err = rowsOf(t, at, c.rows); err != nil {
				return err
			}
		}
		at += c.rows
	}
	return nil
}

// join puts tensors that differ in their first dimension alone behind each other.
func join(parts []*tensor.Tensor, rows int) (*tensor.Tensor, error) {
	shape := slices.Clone(parts[0].Shape())
	shape[0] = rows
	t, err := tensor.New(parts[0].DType(), shape...)
	if err != nil {
		return nil, err
	}
	if to, ok := t.Raw().([]string); ok {
		for _, p := range parts {
			to = to[copy(to, tensor.Data[string](p)):]
		}
		return t, nil
	}
	to := t.Bytes()
	for _, p := range parts {
		to = to[copy(to, p.Bytes()):]
	}
	return t, nil
}

// rowsOf returns n rows of t from at on, which share its memory.
func rowsOf(t *tensor.Tensor, at, n int) (*tensor.Tensor, error) {
	shape := slices.Clone(t.Shape())
	shape[0] = n
	row := 1
	for _, d := range shape[1:] {
		row *= d
	}
	from, to := at*row, (at+n)*row
	switch d := t.Raw().(type) {
	case []float32:
		return tensor.Of(d[from:to:to], shape...)
	case []float64:
		return tensor.Of(d[from:to:to], shape...)
	case []int8:
		return tensor.Of(d[from:to:to], shape...)
	case []int16:
		return tensor.Of(d[from:to:to], shape...)
	case []int32:
		return tensor.Of(d[from:to:to], shape...)
	case []int64:
		return tensor.Of(d[from:to:to], shape...)
	case []uint8:
		return tensor.Of(d[from:to:to], shape...)
	case []uint16:
		return tensor.Of(d[from:to:to], shape...)
	case []uint32:
		return tensor.Of(d[from:to:to], shape...)
	case []uint64:
		return tensor.Of(d[from:to:to], shape...)
	case []bool:
		return tensor.Of(d[from:to:to], shape...)
	case []string:
		return tensor.Of(d[from:to:to], shape...)
	case []tensor.Half:
		return tensor.Of(d[from:to:to], shape...)
	case []tensor.BHalf:
		return tensor.Of(d[from:to:to], shape...)
	}
	return nil, fmt.Errorf("rows of a %v tensor", t.DType())
}
