package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// concurrent runs one session from many goroutines, with batches of different sizes.
func concurrent(t *testing.T, e engine.Engine) {
	s := open(t, e, linear())
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for w := range cap(errs) {
		wg.Go(func() { errs <- hammer(t.Context(), s, w) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func hammer(ctx context.Context, s engine.Session, w int) error {
	for i := range 60 {
		n := 1 + (w+i)%9
		x := tensor.Must(tensor.New(tensor.Float32, n, 3))
		for j := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[j] = float32(w*1000 + i*10 + j)
		}
		out := make([]*tensor.Tensor, 1)
		if i%2 == 0 {
			out[0] = tensor.Must(tensor.New(tensor.Float32, n, 3))
		}
		if err := s.Run(ctx, []*tensor.Tensor{x}, out); err != nil {
			return err
		}
		for j, v := range tensor.Data[float32](out[0]) {
			if want := 2*float32(w*1000+i*10+j) + 1; v != want {
				return fmt.Errorf("worker %d run %d element %d: got %v, want %v", w, i, j, v, want)
			}
		}
	}
	return nil
}

func cancelled(t *testing.T, e engine.Engine) {
	s := open(t, e, linear())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := make([]*tensor.Tensor, 1)
	if err := s.Run(ctx, []*tensor.Tensor{of[float32](tensor.Shape{1, 3}, 1, 2, 3)}, out); !errors.Is(err, context.Canceled) || out[0] != nil {
		t.Errorf("got %v and output %v", err, out[0])
	}
	want[float32](t, run(t, s, of[float32](tensor.Shape{1, 3}, 1, 2, 3))[0], tensor.Shape{1, 3}, 3, 5, 7)
}

// long multiplies matrices of n by n, steps times over: seconds of work in small pieces.
func long(n int64, steps int) *graph.Graph {
	g := model([]graph.Value{value("x", tensor.Float32, size(n), size(n))}, []graph.Value{value("y", tensor.Float32, size(n), size(n))})
	at := "x"
	for i := range steps {
		next := fmt.Sprintf("h%d", i)
		if i == steps-1 {
			next = "y"
		}
		g.Nodes = append(g.Nodes, node("MatMul", nil, []string{at, "x"}, next))
		at = next
	}
	return g
}

// cancelledInside ends the context while the run computes.
func cancelledInside(t *testing.T, e engine.Engine) {
	s := open(t, e, long(384, 1500))
	x := tensor.Must(tensor.New(tensor.Float32, 384, 384))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.Run(ctx, []*tensor.Tensor{x}, make([]*tensor.Tensor, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
}

func closed(t *testing.T, e engine.Engine) {
	s, err := e.Open(t.Context(), linear(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := of[float32](tensor.Shape{1, 3}, 1, 2, 3)
	run(t, s, x)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if err := s.Run(t.Context(), []*tensor.Tensor{x}, make([]*tensor.Tensor, 1)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("run after close: got %v, want ErrClosed", err)
	}
}

// closedDuring closes a session while it runs: each run gives its result or ErrClosed.
func closedDuring(t *testing.T, e engine.Engine) {
	s, err := e.Open(t.Context(), long(64, 20), engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	x := tensor.Must(tensor.New(tensor.Float32, 64, 64))
	errs, begun := make(chan error, 4), make(chan struct{}, 4)
	for range cap(errs) {
		go func() {
			var err error
			for i := 0; err == nil; i++ {
				out := make([]*tensor.Tensor, 1)
				if err = s.Run(t.Context(), []*tensor.Tensor{x}, out); err == nil && out[0] == nil {
					err = errors.New("a run gave no result")
				}
				if i == 0 {
					begun <- struct{}{}
				}
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		<-begun
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, engine.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
}
