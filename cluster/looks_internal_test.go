package cluster

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/grid"
)

// counted counts the looks at its partitions, each of which takes a moment.
type counted struct {
	Grid
	looks int
}

func (c *counted) PartitionStates(ctx context.Context) []grid.PartitionState {
	c.looks++ // one after the other
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
	}
	return []grid.PartitionState{{Number: c.looks}}
}

// TestLooksAreShared: all who ask within a second get one look, with its age; nobody gets an older one, nor that of somebody who gave up.
func TestLooksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &counted{}
		l := looks{turn: make(chan struct{}, 1)}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		l.at(gone, g)
		began := time.Now()
		var pages sync.WaitGroup
		for i := range 50 {
			pages.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for range 10 { // a page asks once a second
					states, age := l.at(t.Context(), g)
					if len(states) != 1 || age < 0 || age >= lookAgain {
						t.Errorf("%+v of %v ago", states, age)
					}
					time.Sleep(time.Second)
				}
			})
		}
		pages.Wait()
		if seconds := int(time.Since(began)/time.Second) + 1; g.looks > seconds+1 || g.looks < seconds {
			t.Errorf("%d looks in %d s, for 50 pages", g.looks, seconds)
		}
	})
}
