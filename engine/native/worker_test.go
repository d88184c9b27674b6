package native_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestWorkersShared: runs at the same time, which compete for the workers of one session, give what a run alone gives.
func TestWorkersShared(t *testing.T) {
	net := mlp(graph.Dim{Size: -1, Symbol: "N"}, 784, 128, 32, 10)
	x := ramp(128, 784)
	s := open(t, net, 3)
	want := tensor.Data[float32](run1(t, s, x))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				out := make([]*tensor.Tensor, 1)
				if err := s.Run(t.Context(), []*tensor.Tensor{x}, out); err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(tensor.Data[float32](out[0]), want) {
					t.Error("a shared run differs from one alone")
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestWorkersSleep: a session that has nothing to do uses no processor time, and works again afterwards.
func TestWorkersSleep(t *testing.T) {
	s := open(t, mlp(graph.Dim{Size: -1, Symbol: "N"}, 784, 128, 32, 10), 4)
	x := ramp(256, 784)
	for range 3 {
		run1(t, s, x)
		start := cpuTime()
		<-time.After(50 * time.Millisecond) // nothing happens, which is what is measured
		if used := cpuTime() - start; used > 25*time.Millisecond {
			t.Errorf("an idle session used %v of 50 ms", used)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), []*tensor.Tensor{x}, make([]*tensor.Tensor, 1)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a run after Close: %v", err)
	}
}

func run1(t *testing.T, s engine.Session, x *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	out := make([]*tensor.Tensor, 1)
	if err := s.Run(t.Context(), []*tensor.Tensor{x}, out); err != nil {
		t.Fatal(err)
	}
	return out[0]
}
