package batching_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/batching"
	"github.com/millrace/millrace/engine/enginetest"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// decorated is an engine whose sessions gather.
type decorated struct {
	engine.Engine
	opts batching.Options
}

func (d decorated) Open(ctx context.Context, g *graph.Graph, o engine.Options) (engine.Session, error) {
	s, err := d.Engine.Open(ctx, g, o)
	if err != nil {
		return nil, err
	}
	return batching.New(s, d.opts)
}

func TestEngine(t *testing.T) {
	for name, opts := range map[string]batching.Options{"default": {}, "one run at a time": {MaxRuns: 1}, "small batches": {MaxRuns: 1, MaxRows: 10, MaxBytes: 80}} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(*testing.T) engine.Engine { return decorated{native.New(native.Config{MaxThreads: 2}), opts} })
		})
	}
}

var errNaN = errors.New("a NaN came in")

// doubler is a session that doubles what it gets and tells what ran. Runs wait for gate where it is set.
type doubler struct {
	gate   chan struct{}
	fixed  bool // its output has one row, whatever came in
	panics bool // where there is more than one row
	mixes  bool // the last row of a batch has a part of the first

	mu     sync.Mutex
	runs   []int // rows of each
	ended  int   // runs whose context ended
	closed bool
}

func value(name string, d tensor.DType, last int) graph.Value {
	return graph.Value{Name: name, DType: d, Shape: append(graph.Shape{{Size: -1, Symbol: "N"}}, graph.Dims(last)...)}
}

func (d *doubler) Inputs() []graph.Value {
	return []graph.Value{value("x", tensor.Float32, -1), value("s", tensor.String, 1)}
}

func (d *doubler) Outputs() []graph.Value {
	return []graph.Value{value("y", tensor.Float32, -1), value("t", tensor.String, 1)}
}

func (d *doubler) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *doubler) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	if err := engine.CheckInputs(d.Inputs(), in); err != nil {
		return err
	}
	d.mu.Lock()
	d.runs = append(d.runs, in[0].Shape()[0])
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return engine.ErrClosed
	}
	if d.gate != nil {
		select {
		case <-d.gate:
		case <-ctx.Done():
			d.mu.Lock()
			d.ended++
			d.mu.Unlock()
			return ctx.Err()
		}
	}
	if d.panics && in[0].Shape()[0] > 1 {
		panic("more than one row")
	}
	y := in[0].Clone()
	for i, v := range tensor.Data[float32](y) {
		if v != v {
			return errNaN
		}
		tensor.Data[float32](y)[i] = 2 * v
	}
	if n := y.Shape()[0]; d.mixes && n > 1 {
		last := tensor.Must(y.Slice(n-1, n))
		for i, v := range tensor.Data[float32](tensor.Must(y.Slice(0, 1))) {
			tensor.Data[float32](last)[i] += v
		}
	}
	t := in[1].Clone()
	if d.fixed {
		y = tensor.Must(y.Slice(0, 1))
	}
	for i, r := range []*tensor.Tensor{y, t} {
		if out[i] == nil {
			out[i] = r
		} else if i == 0 {
			copy(out[i].Bytes(), r.Bytes())
		} else {
			copy(tensor.Data[string](out[i]), tensor.Data[string](r))
		}
	}
	return nil
}

func (d *doubler) seen() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.runs)
}

// rows makes inputs of n rows of width numbers that begin with first.
func rows(n, width int, first float32) []*tensor.Tensor {
	x := tensor.Must(tensor.New(tensor.Float32, n, width))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = first + float32(i)
	}
	s := tensor.Must(tensor.New(tensor.String, n, 1))
	for i := range n {
		tensor.Data[string](s)[i] = strings.Repeat("s", int(first)+i)
	}
	return []*tensor.Tensor{x, s}
}

// check holds outputs against what the inputs become.
func check(t *testing.T, in, out []*tensor.Tensor) {
	t.Helper()
	if out[0] == nil || !out[0].Shape().Equal(in[0].Shape()) || !slices.Equal(tensor.Data[string](out[1]), tensor.Data[string](in[1])) {
		t.Fatalf("%v became %v", in, out)
	}
	for i, v := range tensor.Data[float32](in[0]) {
		if tensor.Data[float32](out[0])[i] != 2*v {
			t.Fatalf("%v became %v", in[0], out[0])
		}
	}
}

// rig is a session over a doubler, with calls that run beside the test in a synctest bubble.
type rig struct {
	t *testing.T
	d *doubler
	s *batching.Session
}

func newRig(t *testing.T, d *doubler, opts batching.Options) *rig {
	s, err := batching.New(d, opts)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, d, s}
}

// call is a run under way.
type call struct {
	in, out []*tensor.Tensor
	err     error
	done    bool
	cancel  context.CancelFunc
}

// start begins a run and returns when it waits.
func (r *rig) start(in []*tensor.Tensor) *call {
	ctx, cancel := context.WithCancel(r.t.Context())
	c := &call{in: in, out: make([]*tensor.Tensor, 2), cancel: cancel}
	go func() {
		c.err = r.s.Run(ctx, c.in, c.out)
		c.done = true
	}()
	synctest.Wait()
	return c
}

// open lets n runs of the doubler pass, one after the other.
func (r *rig) open(n int) {
	for range n {
		r.d.gate <- struct{}{}
		synctest.Wait()
	}
}

func (r *rig) close() {
	r.t.Helper()
	for range 2 {
		if err := r.s.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) wantRuns(want ...int) {
	r.t.Helper()
	if got := r.d.seen(); !slices.Equal(got, want) {
		r.t.Errorf("runs of %v rows, want %v", got, want)
	}
}

func TestGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true, MaxRows: 6})
		first := r.start(rows(1, 3, 0))
		var calls []*call
		for i := range 3 { // 1, 2 and 3 rows
			calls = append(calls, r.start(rows(1+i, 3, float32(10*i))))
		}
		other := r.start(rows(1, 4, 50)) // wider
		late := r.start(rows(1, 3, 60))  // over the most rows
		large := r.start(rows(6, 3, 70)) // goes at once, and alone
		r.wantRuns(1, 6)
		given := tensor.Must(tensor.New(tensor.Float32, 2, 3))
		calls[1].out[0] = given
		r.open(2)
		if !first.done || !large.done {
			t.Fatal("the runs that began at once are not done")
		}
		r.open(1)
		r.wantRuns(1, 6, 6, 1)
		for _, c := range append(calls, first, large) {
			if !c.done || c.err != nil {
				t.Fatalf("done %v, error %v", c.done, c.err)
			}
			check(t, c.in, c.out)
		}
		if calls[1].out[0] != given {
			t.Error("the given output was replaced")
		}
		r.open(2)
		check(t, other.in, other.out)
		check(t, late.in, late.out)
		r.wantRuns(1, 6, 6, 1, 1)
		r.close()
	})
}

// TestBadInputAlone shows invariant 7 for runs that were gathered: a bad input hurts only itself.
func TestBadInputAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true})
		r.start(rows(1, 2, 0))
		bad := rows(1, 2, 5)
		tensor.Data[float32](bad[0])[1] = float32(math.NaN())
		calls := []*call{r.start(rows(1, 2, 1)), r.start(bad), r.start(rows(2, 2, 3))}
		wrong := r.start(rows(1, 2, 1)[:1])
		if !wrong.done || !errors.Is(wrong.err, engine.ErrInput) {
			t.Errorf("too few inputs: %v", wrong.err)
		}
		untyped := r.start([]*tensor.Tensor{tensor.Must(tensor.New(tensor.Float64, 1, 2)), rows(1, 2, 1)[1]})
		if !untyped.done || !errors.Is(untyped.err, engine.ErrInput) {
			t.Errorf("a wrong type: %v", untyped.err)
		}
		small := r.start(rows(1, 2, 7))
		small.out[0] = tensor.Must(tensor.New(tensor.Float32, 3, 3))
		r.open(1)
		late := r.start(rows(3, 2, 8))
		r.open(1) // the batch fails; its calls come before who came later
		for _, c := range append(calls, small) {
			if c.done {
				t.Fatal("a call is done before it ran alone")
			}
		}
		r.open(3)
		if calls[1].err == nil || !errors.Is(calls[1].err, errNaN) {
			t.Errorf("the bad input: %v", calls[1].err)
		}
		for _, c := range []*call{calls[0], calls[2]} {
			if c.err != nil {
				t.Fatal(c.err)
			}
			check(t, c.in, c.out)
		}
		r.wantRuns(1, 5, 1, 1, 2, 1)
		small.out[0] = nil
		r.open(2)
		check(t, small.in, small.out)
		check(t, late.in, late.out)
		r.close()
	})
}

// TestOutputOfAnotherShape gives a tensor that the result does not fit: the others of the batch have theirs.
func TestOutputOfAnotherShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true})
		r.start(rows(1, 2, 0))
		good, bad := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2))
		bad.out[0] = tensor.Must(tensor.New(tensor.Float32, 1, 3))
		r.open(2)
		check(t, good.in, good.out)
		if !errors.Is(bad.err, engine.ErrInput) || bad.out[1] != nil {
			t.Errorf("got %v and output %v", bad.err, bad.out[1])
		}
		r.close()
	})
}

func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true})
		r.start(rows(1, 2, 0))
		waiting, a, b := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2)), r.start(rows(1, 2, 3))
		waiting.cancel() // from the queue
		synctest.Wait()
		if !waiting.done || !errors.Is(waiting.err, context.Canceled) || waiting.out[0] != nil {
			t.Errorf("who left the queue: done %v, %v", waiting.done, waiting.err)
		}
		r.open(1)
		r.wantRuns(1, 2)
		a.cancel() // from a batch under way
		synctest.Wait()
		if !a.done || !errors.Is(a.err, context.Canceled) || a.out[0] != nil || b.done {
			t.Errorf("who left a batch: done %v, %v; the other: %v", a.done, a.err, b.done)
		}
		r.open(1)
		check(t, b.in, b.out)
		r.start(rows(1, 2, 0))
		a, b = r.start(rows(1, 2, 4)), r.start(rows(1, 2, 5))
		r.open(1)
		a.cancel()
		b.cancel() // nobody is left: the run ends
		synctest.Wait()
		if !b.done || !errors.Is(b.err, context.Canceled) || r.d.ended != 1 {
			t.Errorf("all left: %v, and %d runs ended", b.err, r.d.ended)
		}
		again := r.start(rows(1, 2, 6))
		r.open(1)
		check(t, again.in, again.out)
		r.close()
	})
}

// TestLeavingAFailedBatch has a caller leave that is to run again alone.
func TestLeavingAFailedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{}), panics: true}, batching.Options{MaxRuns: 1, Independent: true})
		r.start(rows(1, 2, 0))
		a, b, c := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2)), r.start(rows(1, 2, 3))
		r.open(2) // the batch panics, and each runs alone
		r.wantRuns(1, 3, 1)
		b.cancel()
		synctest.Wait()
		r.open(2)
		r.wantRuns(1, 3, 1, 1)
		check(t, a.in, a.out)
		check(t, c.in, c.out)
		if !errors.Is(b.err, context.Canceled) {
			t.Errorf("got %v", b.err)
		}
		r.close()
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true, MaxQueue: 2})
		r.start(rows(1, 2, 0))
		a, b := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2))
		over := r.start(rows(1, 2, 3))
		if !over.done || !errors.Is(over.err, engine.ErrBusy) || !strings.Contains(over.err.Error(), "2 runs") {
			t.Errorf("over the limit: done %v, %v", over.done, over.err)
		}
		r.open(2)
		check(t, a.in, a.out)
		check(t, b.in, b.out)
		r.close()
	})
}

func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true, MaxBytes: 40})
		r.start(rows(1, 2, 0))
		for range 4 { // 8 bytes of numbers and 8 of text each
			r.start(rows(1, 2, 8))
		}
		r.open(3)
		r.wantRuns(1, 2, 2)
		r.close()
	})
}

// TestOutputsThatDoNotFollow has a model whose outputs do not count rows: it is left alone once that is known.
func TestOutputsThatDoNotFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{}), fixed: true}, batching.Options{MaxRuns: 1, Independent: true})
		r.start(rows(1, 2, 0))
		a, b := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2))
		r.open(4)
		check(t, a.in, a.out)
		check(t, b.in, b.out)
		r.start(rows(1, 2, 0))
		c, d := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2))
		r.open(3)
		check(t, c.in, c.out)
		check(t, d.in, d.out)
		r.wantRuns(1, 2, 1, 1, 1, 1, 1)
		r.close()
	})
}

// TestDependentRows has a model that mixes the rows of a batch. Nobody gets what it made of them.
func TestDependentRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reasons []error
		r := newRig(t, &doubler{gate: make(chan struct{}), mixes: true}, batching.Options{MaxRuns: 1, OnAlone: func(why error) { reasons = append(reasons, why) }})
		r.start(rows(1, 2, 0))
		a, b, c := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2)), r.start(rows(1, 2, 3))
		r.open(6)
		for _, call := range []*call{a, b, c} {
			check(t, call.in, call.out)
		}
		// The batch, its end alone, and then each caller.
		r.wantRuns(1, 3, 1, 1, 1, 1)
		if len(reasons) != 1 || !errors.Is(reasons[0], engine.ErrRows) {
			t.Errorf("told %v", reasons)
		}
		r.close()
	})
}

func TestClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &doubler{gate: make(chan struct{})}, batching.Options{MaxRuns: 1, Independent: true})
		first := r.start(rows(1, 2, 0))
		a, b := r.start(rows(1, 2, 1)), r.start(rows(1, 2, 2))
		r.close()
		r.open(1)
		check(t, first.in, first.out)
		for _, c := range []*call{a, b, r.start(rows(1, 2, 1))} {
			if !c.done || !errors.Is(c.err, engine.ErrClosed) {
				t.Errorf("done %v, %v", c.done, c.err)
			}
		}
	})
}

// TestCallersComeAndGo runs one session from many goroutines that change their minds, then closes it.
func TestCallersComeAndGo(t *testing.T) {
	d := &doubler{}
	s, err := batching.New(d, batching.Options{MaxRuns: 1, Independent: true, MaxRows: 8, MaxQueue: 6})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(8, uint64(w)))
			for range 400 {
				in, out := rows(1+rng.IntN(4), 2+rng.IntN(2), float32(rng.IntN(50))), make([]*tensor.Tensor, 2)
				bad := rng.IntN(20) == 0
				if bad {
					tensor.Data[float32](in[0])[0] = float32(math.NaN())
				}
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(4) == 0 {
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, time.Duration(rng.IntN(50))*time.Microsecond)
					defer stop()
				}
				err := s.Run(ctx, in, out)
				ended := ctx.Err() != nil
				cancel()
				tensor.Data[float32](in[0])[0] = 0 // it is the caller's again
				switch {
				case errors.Is(err, engine.ErrBusy), err != nil && ended, bad && errors.Is(err, errNaN):
				case err != nil || bad:
					t.Errorf("bad %v: %v", bad, err)
					return
				default:
					tensor.Data[float32](in[0])[0] = tensor.Data[float32](out[0])[0] / 2
					check(t, in, out)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOptionsValidate(t *testing.T) {
	_, err := batching.New(&doubler{}, batching.Options{MaxRows: -1, MaxBytes: -1, MaxRuns: -1, MaxQueue: -1})
	if err == nil || strings.Count(err.Error(), "must not be negative") != 4 {
		t.Errorf("got %v", err)
	}
}
