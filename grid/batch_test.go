package grid_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/millrace/millrace/grid"
)

// TestBatchRefusalsKeepNeighbours puts batches in which every third put is refused, in both ways
// that batches go.
func TestBatchRefusalsKeepNeighbours(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	for _, ids := range []bool{false, true} {
		for _, size := range []int{1, 2, 3, 10, 1500} {
			t.Run(fmt.Sprintf("ids=%v size=%d", ids, size), func(t *testing.T) {
				c := cache(t, g, grid.CacheConfig{Name: fmt.Sprintf("c-%v-%d", ids, size)})
				// Refused ones stand first, last and between.
				refused := func(i int) bool { return i%3 == 0 || i == size-1 }
				puts := make([]grid.Put, size)
				for i := range puts {
					key := fmt.Sprint(i)
					puts[i] = grid.Put{Key: key, Value: []byte("new"), ExpectLast: new(uint64)}
					if ids {
						puts[i].MsgID = c.Name() + "/" + key
					}
					if refused(i) {
						if _, err := c.Put(ctx, key, []byte("old"), grid.PutOptions{}); err != nil {
							t.Fatal(err)
						}
					}
				}
				results, err := c.PutBatch(ctx, puts)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range results {
					e, err := c.Get(ctx, puts[i].Key)
					if err != nil {
						t.Fatal(err)
					}
					if refused(i) {
						var wrong *grid.RevisionError
						if !errors.As(r.Err, &wrong) || wrong.Current != e.Revision || string(e.Value) != "old" {
							t.Errorf("put %d: %+v, the entry is %q at %d", i, r, e.Value, e.Revision)
						}
						continue
					}
					if r.Err != nil || r.Duplicate || r.Revision != e.Revision || string(e.Value) != "new" {
						t.Errorf("put %d: %+v, the entry is %q at %d", i, r, e.Value, e.Revision)
					}
				}
				if !ids {
					return
				}
				again, err := c.PutBatch(ctx, puts)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range again {
					// What was refused has a condition that fails still; the rest is known.
					if !refused(i) && (r.Err != nil || !r.Duplicate || r.Revision != results[i].Revision) {
						t.Errorf("put %d again: %+v, first %+v", i, r, results[i])
					}
					if refused(i) && !errors.Is(r.Err, grid.ErrRevision) {
						t.Errorf("put %d again: %+v", i, r)
					}
				}
			})
		}
	}
}

func TestBatchChecksEachPut(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntryBytes: 3, MaxEntries: 2})
	results, err := c.PutBatch(ctx, []grid.Put{
		{Key: "", Value: []byte("v"), MsgID: "1"},
		{Key: "a", Value: []byte("v"), MsgID: "2"},
		{Key: "large", Value: []byte("vvvv"), MsgID: "3"},
		{Key: "b", Value: []byte("v"), MsgID: "4"},
		{Key: "c", Value: []byte("v"), MsgID: "5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{grid.ErrKey, nil, grid.ErrTooLarge, nil, grid.ErrFull} {
		if !errors.Is(results[i].Err, want) {
			t.Errorf("put %d: %v, want %v", i, results[i].Err, want)
		}
	}
	if n, err := c.Size(ctx); n != 2 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if _, err := c.PutBatch(ctx, nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

// TestLimitsHoldUnderConcurrency lets many goroutines put into a cache with few places.
func TestLimitsHoldUnderConcurrency(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntries: 50})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 20 {
				if _, err := c.Put(ctx, fmt.Sprintf("%d/%d", w, i), nil, grid.PutOptions{}); err != nil && !errors.Is(err, grid.ErrFull) {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for i := range 60 { // what concurrency refused too early is taken now
		if _, err := c.Put(ctx, fmt.Sprint(i), nil, grid.PutOptions{}); err != nil && !errors.Is(err, grid.ErrFull) {
			t.Fatal(err)
		}
	}
	if n, err := c.Size(ctx); n != 50 || err != nil {
		t.Errorf("size %d, %v, want 50", n, err)
	}
}
