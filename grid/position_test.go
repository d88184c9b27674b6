package grid_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// A position that is ahead of its stream, which went back to an older state, is noticed: what is there is given out, and so is what comes.
func TestPositionAheadOfItsStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := grid.Config{Dir: dir, Partitions: 1}
	g, err := grid.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := cache(t, g, grid.CacheConfig{Name: "in"})
	for i := range 10 {
		if _, err := c.Put(t.Context(), fmt.Sprint(i), []byte("v"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	grid.SetPosition(t.Context(), t, g, "in", "r", 1_000_000)
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	g = open(t, cfg)
	r, err := g.Read(t.Context(), grid.ReaderConfig{Name: "r", Cache: "in"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := withTimeout(t, 20*time.Second)
	defer cancel()
	for got := 0; got < 10; {
		changes, err := r.Next(ctx, 100)
		if err != nil {
			t.Fatalf("%d of 10 changes, then %v", got, err)
		}
		got += len(changes)
		r.Done(changes)
	}
}
