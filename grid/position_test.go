package grid_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// A reader that passes over what is there, and whose position was damaged on the disk, loses nothing that came since it began: it begins again at
// the start. One that is made on the same node passes over what is there, but in a grid of one partition, where nothing tells them apart.
func TestLostPositionOfNewReader(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 2} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := grid.Config{Dir: dir, Partitions: partitions}
			g, err := grid.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			c := cache(t, g, grid.CacheConfig{Name: "in"})
			put := func(name string) {
				t.Helper()
				for i := range 20 {
					if _, err := c.Put(t.Context(), fmt.Sprint(name, i), []byte("v"), grid.PutOptions{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			put("old")
			fresh := grid.ReaderConfig{Name: "fresh", Cache: "in", Start: grid.StartNew}
			r := read(t, g, fresh)
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			put("while it was away ")
			if err := g.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			path, at := lastIn(t, dir, ".in.fresh")
			flip(t, path, at+12, 8)

			g = open(t, cfg)
			c = cacheOf(t, g, "in")
			got := changesOf(t, read(t, g, fresh), 20, "while")
			if len(got) < 20 {
				t.Errorf("%d of 20 that came since it began", len(got))
			}
			if partitions > 1 {
				r := read(t, g, grid.ReaderConfig{Name: "newer", Cache: "in", Start: grid.StartNew})
				put("after")
				if got := changesOf(t, r, 20, "after"); len(got) != 20 {
					t.Errorf("a new one got %v", got)
				}
			}
		})
	}
}

// changesOf reads until a number of keys that begin so came, and returns all that came.
func changesOf(t *testing.T, r *grid.Reader, n int, prefix string) (keys []string) {
	t.Helper()
	ctx, cancel := withTimeout(t, time.Minute)
	defer cancel()
	for n > 0 {
		changes, err := r.Next(ctx, 100)
		if err != nil {
			t.Errorf("%d that begin with %s are missing: %v", n, prefix, err)
			return keys
		}
		for _, c := range changes {
			keys = append(keys, c.Entry.Key)
			if strings.HasPrefix(c.Entry.Key, prefix) {
				n--
			}
		}
		r.Done(changes)
	}
	return keys
}

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
	ctx, cancel := withTimeout(t, time.Minute)
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

// Positions that were removed stay so when the process is killed then. A reader of the same name begins anew.
func TestRemovedPositionsSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	g := open(t, grid.Config{Dir: dir, Partitions: 4})
	c := cache(t, g, grid.CacheConfig{Name: "readings"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "readings"})
	for i := range 40 {
		put(t, c, sensor(i), "v")
	}
	r.Done(take(t, r, 20))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.DeleteReader(t.Context(), "readings", "p"); err != nil {
		t.Fatal(err)
	}
	g = open(t, grid.Config{Dir: crashed(t, dir)})
	c = cacheOf(t, g, "readings")
	if all, err := g.Readers(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("readers: %v, %v", all, err)
	}
	if _, err := g.Positions(t.Context(), "readings", "p"); !errors.Is(err, grid.ErrNoReader) {
		t.Errorf("its positions: %v", err)
	}
	r = read(t, g, grid.ReaderConfig{Name: "p", Cache: "readings", Start: grid.StartNew})
	nothing(t, r)
	put(t, c, sensor(3), "new")
	if got := take(t, r, 1); got[0].Entry.Key != sensor(3) || string(got[0].Entry.Value) != "new" {
		t.Errorf("%+v", got)
	}
}
