package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// ErrRunTimeout says that a run took longer than the pipeline's RunTimeout.
var ErrRunTimeout = errors.New("the run was cancelled")

// What a run met that is no input's fault; each is an engine.ErrBusy: the batch runs again, with the model that serves then.
var (
	errReplaced = fmt.Errorf("%w: another version serves", engine.ErrBusy)
	errStuck    = fmt.Errorf("%w: runs that were cancelled do not end", engine.ErrBusy)
)

const (
	// yieldAfter is how long a run takes at least before it is given up for another version that serves meanwhile.
	yieldAfter = time.Second
	// endWithin is how long a run may go on that was cancelled, before nobody waits for it any more.
	endWithin = 2 * time.Second
	// mostLeft is how many such runs of one version there may be; while there are as many, the version runs no more.
	mostLeft = 2
)

// A lent handle is released when everybody who holds it has: who computes, and runs that nobody waits for any more.
type lent struct {
	Handle
	changed <-chan struct{} // closed when models have changed since it was lent
	then    func()          // is called after the release, where it is set
	holders atomic.Int32
}

func (l *lent) hold() { l.holders.Add(1) }

// Release gives up one hold.
func (l *lent) Release() {
	if l.holders.Add(-1) == 0 {
		l.Handle.Release()
		if l.then != nil {
			l.then()
		}
	}
}

// A runner runs models so that each run ends within a limit for who waits for it. Engines stop a run whose context ends; one that does not
// is left alone, with its tensors and its model, until it ends by itself. It belongs to the goroutine that computes, as far as nothing else is said.
type runner struct {
	limit time.Duration
	// replaced reports whether another model is to be used than the one that was lent, and when that may be so again.
	replaced func(ctx context.Context, l *lent) (bool, <-chan struct{})
	blocked  func(version int64, left int) // tells people

	calls  chan *call
	ctx    context.Context // of the runs. It stays from one run to the next, since engines keep what they set up for it.
	parent context.Context
	cancel context.CancelFunc
	timer  *time.Timer
	left   map[int64]*atomic.Int32 // runs that nobody waits for, by version
}

type call struct {
	ctx     context.Context //nolint:containedctx // of this run alone
	session engine.Session
	in, out []*tensor.Tensor
	done    chan error
}

func newRunner(limit time.Duration) *runner {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	r := &runner{limit: limit, timer: timer, left: map[int64]*atomic.Int32{}}
	r.employ()
	return r
}

// employ begins a goroutine that makes the calls one after the other, until no more come.
func (r *runner) employ() {
	calls := make(chan *call)
	r.calls = calls
	go func() {
		for c := range calls {
			c.done <- c.session.Run(c.ctx, c.in, c.out)
		}
	}()
}

// close ends the goroutine when its run has ended.
func (r *runner) close() {
	r.timer.Stop()
	if r.cancel != nil {
		r.cancel()
	}
	close(r.calls)
}

// session returns the session of what was lent, with the limit. It is for one goroutine. patient says that a run is not given up for another version.
func (r *runner) session(l *lent, patient bool) engine.Session {
	return &limited{Session: l.Session(), r: r, l: l, patient: patient}
}

type limited struct {
	engine.Session
	r       *runner
	l       *lent
	patient bool
}

// Inputs and Outputs are those of the session that runs.
func (s *limited) Inputs() []graph.Value  { return s.Session.Inputs() }
func (s *limited) Outputs() []graph.Value { return s.Session.Outputs() }

// Run returns ErrRunTimeout over the limit, an error that is engine.ErrBusy where the batch should run again, and the context's error. After an error the
// tensors may still be in use: the caller lets go of them.
func (s *limited) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	r, version := s.r, s.l.Model().Version
	left := r.left[version]
	if left == nil {
		left = new(atomic.Int32)
		r.left[version] = left
	}
	if n := left.Load(); n >= mostLeft {
		if r.blocked != nil {
			r.blocked(version, int(n))
		}
		return errStuck
	}
	if r.parent != ctx || r.ctx.Err() != nil {
		if r.cancel != nil {
			r.cancel()
		}
		r.parent = ctx
		r.ctx, r.cancel = context.WithCancel(ctx)
	}
	c := &call{ctx: r.ctx, session: s.Session, in: in, out: out, done: make(chan error, 1)}
	r.timer.Reset(r.limit)
	defer r.timer.Stop()
	r.calls <- c
	err, ended := s.await(ctx, c)
	if ended {
		return err
	}
	r.cancel()
	select {
	case <-c.done: //nolint:errcheck // what it says is of no use any more
		return err
	case <-time.After(endWithin):
	}
	// The goroutine that makes the call is its own from here on; there is another one for the next.
	left.Add(1)
	s.l.hold()
	close(r.calls)
	r.employ()
	go func() {
		<-c.done //nolint:errcheck // as above
		left.Add(-1)
		s.l.Release()
	}()
	return err
}

// await waits until the call ends, or there is a reason to end it.
func (s *limited) await(ctx context.Context, c *call) (err error, ended bool) { //nolint:revive // ended is of the call, not of the error
	changed := s.l.changed
	if s.patient {
		changed = nil
	}
	began := time.Now()
	var yield <-chan time.Time
	for {
		select {
		case err := <-c.done:
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		case <-s.r.timer.C:
			return fmt.Errorf("%w after %v, the pipeline's run_timeout", ErrRunTimeout, s.r.limit), false
		case <-yield:
			return errReplaced, false
		case <-changed:
			var is bool
			if is, changed = s.r.replaced(ctx, s.l); is {
				changed, yield = nil, time.After(max(0, yieldAfter-time.Since(began)))
			}
		}
	}
}
