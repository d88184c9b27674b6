package grid_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/millrace/grid"
)

// made stores what a reader made, and fails the test where it is refused.
func made(t *testing.T, c *grid.Cache, entries ...grid.Made) {
	t.Helper()
	for i, err := range c.PutMade(t.Context(), entries) {
		if err != nil {
			t.Fatalf("%s: %v", entries[i].Key, err)
		}
	}
}

// TestConditionsAfterABatch: after a batch MadeOf is what the grid has of each key, so that a condition on it holds.
func TestConditionsAfterABatch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	for round := range 20 {
		entries := make([]grid.Made, 200)
		for i := range entries {
			have, err := c.MadeOf(ctx, fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			if round > 0 && (have.Reader != "p" || have.Revision != grid.Revision(round) || !have.Live) {
				t.Fatalf("round %d, key %d: %+v", round, i, have)
			}
			entries[i] = grid.Made{Key: fmt.Sprint(i), Value: []byte("v"), Reader: "p", Revision: grid.Revision(round + 1), Expect: have.Sequence}
		}
		made(t, c, entries...)
	}
}

// TestMadeEntriesSayFromWhat: by the entry, by the index, after a restart, and after a removal.
func TestMadeEntriesSayFromWhat(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	g := open(t, grid.Config{Dir: dir, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	made(t, c, grid.Made{Key: "k", Reader: "p", Revision: 17}, grid.Made{Key: "gone", Reader: "p", Revision: 18})
	if _, err := c.Delete(ctx, "gone", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, c, "own", "v")
	for range 2 {
		e, err := c.Get(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		if rev, fence, reader := e.Source(); rev != 17 || reader != "p" || fence == 0 {
			t.Errorf("made from %d by %q under %d", rev, reader, fence)
		}
		if n, err := c.Size(ctx); n != 2 || err != nil { // the index has it all then
			t.Fatalf("size %d, %v", n, err)
		}
		for key, want := range map[string]grid.MadeOf{
			"k": {Live: true, Reader: "p", Revision: 17}, "gone": {Reader: "p", Revision: 18}, "own": {Live: true}, "never": {},
		} {
			have, err := c.MadeOf(ctx, key)
			if want.Sequence = have.Sequence; err != nil || have != want || (have.Sequence == 0) != (key == "never") {
				t.Errorf("%s: %+v, %v", key, have, err)
			}
		}
		if last, err := c.Last(ctx, "gone"); err != nil || last.Live || last.Reader != "p" || last.Revision != 18 {
			t.Errorf("last of what was removed: %+v, %v", last, err)
		}
		if err := g.Close(ctx); err != nil {
			t.Fatal(err)
		}
		g = open(t, grid.Config{Dir: dir})
		if c, err = g.Cache(ctx, "c"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusedKeepNeighbours: in a batch with refused entries first, last and between, the others are stored.
func TestRefusedKeepNeighbours(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	for _, size := range []int{1, 2, 3, 10, 600, 1500} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := cache(t, g, grid.CacheConfig{Name: fmt.Sprint("c", size)})
			refused := func(i int) bool { return i%3 == 0 || i == size-1 }
			entries := make([]grid.Made, size)
			for i := range entries {
				entries[i] = grid.Made{Key: fmt.Sprint(i), Value: []byte("new"), Reader: "p", Revision: 1}
				if refused(i) {
					put(t, c, fmt.Sprint(i), "old")
				}
			}
			errs := c.PutMade(ctx, entries)
			for i, got := range errs {
				want := "new"
				if refused(i) {
					want = "old"
				}
				if errors.Is(got, grid.ErrRevision) != refused(i) || got != nil && !refused(i) {
					t.Errorf("%d: %v", i, got)
				}
				if e, err := c.Get(ctx, entries[i].Key); err != nil || string(e.Value) != want {
					t.Errorf("%d is %q, %v", i, e.Value, err)
				}
			}
		})
	}
}
