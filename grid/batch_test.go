package grid_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/millrace/millrace/grid"
)

func TestBatchChecksEachPut(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntryBytes: 3, MaxEntries: 2})
	results, err := c.PutBatch(ctx, []grid.Put{
		{Key: "", Value: []byte("v")},
		{Key: "a", Value: []byte("v")},
		{Key: "large", Value: []byte("vvvv")},
		{Key: "b", Value: []byte("v")},
		{Key: "c", Value: []byte("v")},
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
