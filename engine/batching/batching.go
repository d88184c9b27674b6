// Package batching is a Session that gathers concurrent runs into one of the session that it decorates. Which sessions
// are worth it is left to whoever opens them.
//
// Runs are gathered where all of the model's inputs and outputs leave their first dimension open: that one counts rows.
// Whether the model computes what belongs to different callers each for itself, the first gathered runs show (engine.Rows). Nobody waits for company: a run begins at once, in its caller's
// goroutine, while fewer than Options.MaxRuns are under way; whichever waited longest then takes along all that fit.
// A run that fails with others is done again without them, so that a bad input hurts only itself. A model that
// turns out not to keep the callers' rows apart is left alone from then on.
package batching

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Options bound what is gathered. The zero value is useful.
type Options struct {
	// MaxRows is the most rows of one run that was gathered (256). A caller with as many or more runs at once and alone.
	MaxRows int
	// MaxBytes is the most bytes of inputs that are copied together for one run (32 MiB).
	MaxBytes int
	// MaxRuns is how many runs are under way before others wait (the number of processors).
	MaxRuns int
	// MaxQueue is how many callers may wait; those beyond get engine.ErrBusy (1,024).
	MaxQueue int
	// Independent says that the model's rows are known to be computed each for itself, so that it needs no trial.
	Independent bool
	// OnAlone, where it is set, is called once with the reason when nothing is gathered any more. It must not block.
	OnAlone func(reason error)
}

// Validate reports every fault at once, as fault.Errors.
func (o Options) Validate() error {
	var l fault.Errors
	l.Check(o.MaxRows >= 0, "max_rows", "%d must not be negative", o.MaxRows)
	l.Check(o.MaxBytes >= 0, "max_bytes", "%d must not be negative", o.MaxBytes)
	l.Check(o.MaxRuns >= 0, "max_runs", "%d must not be negative", o.MaxRuns)
	l.Check(o.MaxQueue >= 0, "max_queue", "%d must not be negative", o.MaxQueue)
	if err := l.Err(); err != nil {
		return fmt.Errorf("batching: %w", err)
	}
	return nil
}

func (o Options) filled() Options {
	for _, f := range []struct {
		field *int
		value int
	}{{&o.MaxRows, 256}, {&o.MaxBytes, 32 << 20}, {&o.MaxRuns, runtime.GOMAXPROCS(0)}, {&o.MaxQueue, 1024}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return o
}

// A Session gathers runs of another one. It is safe for concurrent use.
type Session struct {
	inner   engine.Session
	opts    Options
	inputs  int
	outputs int
	open    atomic.Bool // its runs can be gathered, as far as is known
	trial   engine.Rows

	mu      sync.Mutex
	running int     // runs under way
	waiting []*call // in the order of their coming, after those that failed with others
	closed  bool
	batches sync.WaitGroup // goroutines of gathered runs
}

var (
	_ engine.Session  = (*Session)(nil)
	_ engine.Profiler = (*Session)(nil)
)

// New returns a session that gathers runs of inner, which it owns from then on.
func New(inner engine.Session, opts Options) (*Session, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Session{inner: inner, opts: opts.filled(), inputs: len(inner.Inputs()), outputs: len(inner.Outputs())}
	closed := func(v graph.Value) bool { return len(v.Shape) == 0 || v.Shape[0].Known() }
	s.open.Store(s.inputs > 0 && !slices.ContainsFunc(inner.Inputs(), closed) && !slices.ContainsFunc(inner.Outputs(), closed))
	return s, nil
}

// Inputs are the decorated session's.
func (s *Session) Inputs() []graph.Value { return s.inner.Inputs() }

// Outputs are the decorated session's.
func (s *Session) Outputs() []graph.Value { return s.inner.Outputs() }

// Close closes the decorated session. Whoever waits gets ErrClosed.
func (s *Session) Close() error {
	s.mu.Lock()
	s.closed = true // nothing is gathered from here on
	s.mu.Unlock()
	err := s.inner.Close()
	s.batches.Wait()
	return err
}

// Profile is the decorated session's, in a run of its own.
func (s *Session) Profile(ctx context.Context, in []*tensor.Tensor) (engine.Profile, error) {
	if p, ok := s.inner.(engine.Profiler); ok {
		return p.Profile(ctx, in)
	}
	return engine.Profile{}, engine.ErrNoProfile
}

// Run computes the outputs, together with other callers' where all places are taken. Beside what engine.Session says it
// returns engine.ErrBusy where too many wait.
func (s *Session) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	rows := s.rows(in, out)
	if rows == 0 {
		return s.inner.Run(ctx, in, out)
	}
	s.mu.Lock()
	if s.running < s.opts.MaxRuns {
		s.running++
		s.mu.Unlock()
		defer s.next()
		return s.inner.Run(ctx, in, out)
	}
	s.mu.Unlock()
	// What is wrong by itself never meets the others.
	if err := engine.CheckInputs(s.inner.Inputs(), in); err != nil {
		return err
	}
	return s.wait(ctx, newCall(in, rows), out)
}

// rows returns the number of rows that all inputs have, or 0 for a run that must stay alone.
func (s *Session) rows(in, out []*tensor.Tensor) int {
	if !s.open.Load() || len(in) != s.inputs || len(out) != s.outputs {
		return 0
	}
	rows := 0
	for _, t := range in {
		if t == nil || t.Rank() == 0 || rows > 0 && t.Shape()[0] != rows {
			return 0
		}
		rows = t.Shape()[0]
	}
	if rows >= s.opts.MaxRows {
		return 0
	}
	return rows
}

// wait queues c and returns its outcome. It holds no place while it waits.
func (s *Session) wait(ctx context.Context, c *call, out []*tensor.Tensor) error {
	s.mu.Lock()
	switch {
	case s.running < s.opts.MaxRuns: // a place became free meanwhile
		s.running++
		c.told = true
		c.turn <- turn{}
	case len(s.waiting) >= s.opts.MaxQueue:
		s.mu.Unlock()
		return fmt.Errorf("%w: %d runs of this model wait already", engine.ErrBusy, s.opts.MaxQueue)
	default:
		s.waiting = append(s.waiting, c)
	}
	s.mu.Unlock()
	select {
	case t := <-c.turn:
		if t.outputs != nil {
			return c.take(t.outputs, t.at, out)
		}
		defer s.next()
		return s.inner.Run(ctx, c.in, out)
	case <-ctx.Done():
		s.leave(c)
		return ctx.Err()
	}
}

// next passes the place of a run that ended on to those who wait, or gives it up.
func (s *Session) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.gather()
	switch len(calls) {
	case 0:
		s.running--
	case 1:
		calls[0].told = true
		calls[0].turn <- turn{}
	default:
		ctx, cancel := context.WithCancel(context.Background()) // not one caller's: the others stay
		b := &batch{calls: calls, cancel: cancel, copied: make(chan struct{})}
		for _, c := range calls {
			c.batch = b
		}
		s.batches.Add(1)
		go func() {
			defer s.batches.Done()
			s.run(ctx, b)
		}()
	}
}

// gather takes the first that waits off the queue, with all that fit beside it. The caller holds mu.
func (s *Session) gather() []*call {
	if len(s.waiting) == 0 {
		return nil
	}
	first := s.waiting[0]
	calls := []*call{first}
	rows, size := first.rows, first.size
	kept := s.waiting[:0]
	for i, c := range s.waiting[1:] {
		if s.closed || first.alone || !s.open.Load() || rows == s.opts.MaxRows {
			kept = append(kept, s.waiting[1+i:]...)
			break
		}
		if !c.alone && rows+c.rows <= s.opts.MaxRows && size+c.size <= s.opts.MaxBytes && alike(first.in, c.in) {
			calls = append(calls, c)
			rows += c.rows
			size += c.size
			continue
		}
		kept = append(kept, c)
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	return calls
}

// alike reports whether two runs' inputs differ in their rows alone.
func alike(a, b []*tensor.Tensor) bool {
	for i := range a {
		if a[i].DType() != b[i].DType() || !a[i].Shape()[1:].Equal(b[i].Shape()[1:]) {
			return false
		}
	}
	return true
}
