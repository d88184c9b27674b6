package cold_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

// full returns a cache whose 10 values cannot leave memory.
func full(t *testing.T, wait time.Duration) (*node, *grid.Cache) {
	t.Helper()
	n := open(t, setup{cold: cold.Config{Wait: wait}})
	c := cache(t, n, grid.CacheConfig{MaxEntries: 10, Store: "cold"})
	n.store.Hang()
	for i := range 10 {
		put(t, c, fmt.Sprint(i), "")
	}
	return n, c
}

// TestWaitByItself: many puts that find no room wait at the same time, each for as long as it may, and keep nobody waiting who needs none.
func TestWaitByItself(t *testing.T) {
	t.Parallel()
	const wait = time.Second
	_, c := full(t, wait)
	ctx := t.Context()
	var puts sync.WaitGroup
	began := time.Now()
	for i := range 100 {
		puts.Go(func() {
			_, err := c.Put(ctx, fmt.Sprint("more ", i), nil, grid.PutOptions{})
			if took := time.Since(began); !errors.Is(err, grid.ErrFull) || took < wait || took > 2*wait {
				t.Errorf("put into a full cache: %v after %v", err, took)
			}
		})
	}
	puts.Go(func() {
		short, cancel := context.WithTimeout(ctx, wait/5)
		defer cancel()
		if _, err := c.Put(short, "in a hurry", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrFull) || time.Since(began) > wait*9/10 {
			t.Errorf("put with little time: %v after %v", err, time.Since(began))
		}
	})
	time.Sleep(wait / 10) // most of them wait by now
	if _, err := c.Put(ctx, "0", nil, grid.PutOptions{}); err != nil || time.Since(began) > wait*9/10 {
		t.Errorf("put that needs no room: %v after %v", err, time.Since(began))
	}
	puts.Wait()
}

// TestWaitTogether: a batch waits no longer than a put, and what of it has room is written.
func TestWaitTogether(t *testing.T) {
	t.Parallel()
	_, c := full(t, 300*time.Millisecond)
	var puts []grid.Put
	for i := range 60 {
		puts = append(puts, grid.Put{Key: fmt.Sprint(i)})
	}
	began := time.Now()
	results, err := c.PutBatch(t.Context(), puts)
	if took := time.Since(began); err != nil || took > 4*time.Second {
		t.Errorf("batch: %v after %v", err, took)
	}
	for i, r := range results {
		if full := i >= 10; full != errors.Is(r.Err, grid.ErrFull) || !full && r.Err != nil {
			t.Errorf("put %d: %v", i, r.Err)
		}
	}
}

// TestThroughOverwritten: a put that is replaced, or removed, before the store has it is answered when the store has what came after.
func TestThroughOverwritten(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		for _, removed := range []bool{false, true} {
			t.Run(fmt.Sprintf("busy=%v removed=%v", busy, removed), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				n := open(t, setup{})
				c := cache(t, n, grid.CacheConfig{Store: "cold", Write: grid.WriteThrough})
				put(t, c, "k", "before")
				n.store.Hang()
				var writes sync.WaitGroup
				write := func(what string, do func() error) {
					writes.Go(func() {
						if err := do(); err != nil {
							t.Errorf("%s: %v", what, err)
						}
					})
				}
				if busy { // so that the store is not given the first put before the second is there
					for i := range 8 {
						write("another put", func() error {
							_, err := c.Put(ctx, fmt.Sprint("other ", i), nil, grid.PutOptions{})
							return err
						})
						eventually(t, "it is in the cache", func() bool { _, err := c.Get(ctx, fmt.Sprint("other ", i)); return err == nil })
					}
				}
				value := func() string {
					e, err := c.Get(ctx, "k")
					if err != nil {
						return err.Error()
					}
					return string(e.Value)
				}
				write("first put", func() error { _, err := c.Put(ctx, "k", []byte("first"), grid.PutOptions{}); return err })
				eventually(t, "the first put is in the cache", func() bool { return value() == "first" })
				if removed {
					write("removal", func() error { _, err := c.Delete(ctx, "k", grid.DeleteOptions{}); return err })
					eventually(t, "it is removed", func() bool { _, err := c.Get(ctx, "k"); return errors.Is(err, grid.ErrNotFound) })
				} else {
					write("second put", func() error { _, err := c.Put(ctx, "k", []byte("second"), grid.PutOptions{}); return err })
					eventually(t, "the second put is in the cache", func() bool { return value() == "second" })
				}
				n.store.Up()
				writes.Wait()
				e, err := n.store.Get(ctx, "c", "k")
				if removed && !errors.Is(err, store.ErrNotFound) || !removed && (err != nil || string(e.Value) != "second") {
					t.Errorf("the store has %q, %v", e.Value, err)
				}
			})
		}
	}
}

// TestThroughHurry: a put that is written through waits for the store by its own time, whoever else waits.
func TestThroughHurry(t *testing.T) {
	t.Parallel()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{Store: "cold", Write: grid.WriteThrough})
	n.store.Hang()
	var puts sync.WaitGroup
	for i := range 10 {
		puts.Go(func() {
			if _, err := c.Put(t.Context(), fmt.Sprint(i), nil, grid.PutOptions{}); err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // most of them wait by now
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := c.Put(short, "in a hurry", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrUnavailable) || time.Since(began) > 2*time.Second {
		t.Errorf("put with little time: %v after %v", err, time.Since(began))
	}
	n.store.Up()
	puts.Wait()
}
