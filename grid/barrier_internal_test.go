package grid

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestBarriers: whoever waits gets a barrier that began after the call, and those who come together get the same one.
func TestBarriers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs := newBarriers()
		raised := 0
		raise := func() (Sequence, error) {
			raised++ // one at a time
			time.Sleep(10 * time.Millisecond)
			return Sequence(raised), nil
		}
		var callers sync.WaitGroup
		for i := range 100 {
			callers.Go(func() {
				time.Sleep(time.Duration(i/50) * time.Millisecond) // half of them while the first one is under way
				came := time.Now()
				b := bs.wait(t.Context(), raise)
				if b.err != nil || b.left || b.seq == 0 {
					t.Errorf("%v, %v, %d", b.err, b.left, b.seq)
				}
				if took := time.Since(came); took < 10*time.Millisecond || took > 20*time.Millisecond {
					t.Errorf("an answer after %v: one takes 10ms, and at most one is waited for before it", took)
				}
			})
		}
		callers.Wait()
		if raised > 3 {
			t.Errorf("%d barriers for 100 callers at two moments", raised)
		}
	})
}

// TestBarriersLeft: those who wait for a barrier whose asker gives up are told, and one that fails is told to all.
func TestBarriersLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs := newBarriers()
		failed := errors.New("no leader")
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var callers sync.WaitGroup
		callers.Go(func() {
			bs.wait(hasty, func() (Sequence, error) {
				<-hasty.Done()
				return 0, hasty.Err()
			})
		})
		synctest.Wait()
		for range 3 {
			callers.Go(func() {
				for {
					b := bs.wait(t.Context(), func() (Sequence, error) { return 0, failed })
					if b.left {
						continue
					}
					if !errors.Is(b.err, failed) {
						t.Errorf("%v", b.err)
					}
					return
				}
			})
		}
		callers.Wait()
	})
}
