package backup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/grid"
)

// withTimeout ends what waits for a change that does not come.
func withTimeout(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 10*time.Second)
}

// TestFlood: while pairs of keys are put, in order, and removed, in order, a backup has of each pair what was there at one moment: the second is never
// newer than the first, nor there without it, and nothing is older than what was acknowledged when the backup began (invariants 1 and 3).
func TestFlood(t *testing.T) {
	g := open(t, grid.Config{Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "d"})
	for i := range 2000 {
		put(t, c, fmt.Sprintf("ballast%d", i), "v", grid.PutOptions{})
	}
	const pairs = 8
	var acked [pairs]atomic.Int64 // of pairs that are never removed
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers, begun sync.WaitGroup
	begun.Add(pairs)
	for i := range pairs {
		first, second := fmt.Sprintf("{%d}/first", i), fmt.Sprintf("{%d}/second", i)
		writers.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				value := []byte(strconv.FormatInt(n, 10))
				for _, key := range []string{first, second} {
					if _, err := c.Put(t.Context(), key, value, grid.PutOptions{}); err != nil {
						t.Error(err)
						return
					}
				}
				acked[i].Store(n)
				if n == 1 {
					begun.Done()
				}
				if i%2 == 0 || n%5 != 0 {
					continue
				}
				for _, key := range []string{second, first} {
					if _, err := c.Delete(t.Context(), key, grid.DeleteOptions{}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	began := make(chan struct{})
	go func() {
		begun.Wait()
		close(began)
	}()
	select {
	case <-began:
	case <-time.After(10 * time.Second):
		t.Fatal("the writers do not begin")
	}
	var places []*backup.Dir
	var before [][pairs]int64
	for range 5 {
		var had [pairs]int64
		for i := range had {
			had[i] = acked[i].Load()
		}
		before = append(before, had)
		place := backup.NewDir(t.TempDir())
		save(t, g, place, backup.Options{})
		places = append(places, place)
	}
	stop()
	writers.Wait()
	for n, place := range places {
		again, _ := restore(t, place, grid.Config{Partitions: []int{1, 2, 4}[n%3]})
		c, err := again.Cache(t.Context(), "d")
		if err != nil {
			t.Fatal(err)
		}
		number := func(key string) int64 {
			e, err := c.Get(t.Context(), key)
			if errors.Is(err, grid.ErrNotFound) {
				return 0
			}
			v, parseErr := strconv.ParseInt(string(e.Value), 10, 64)
			if err := errors.Join(err, parseErr); err != nil {
				t.Fatal(err)
			}
			return v
		}
		for i := range pairs {
			first, second := number(fmt.Sprintf("{%d}/first", i)), number(fmt.Sprintf("{%d}/second", i))
			if second > first {
				t.Errorf("backup %d, pair %d: the second is %d, the first %d", n, i, second, first)
			}
			if i%2 == 0 && (first < before[n][i] || second < before[n][i] || first > second+1) {
				t.Errorf("backup %d, pair %d: %d and %d, and %d was acknowledged before", n, i, first, second, before[n][i])
			}
		}
	}
}

// TestPlacesOfReaders: what a reader has not done is given out by the restored grid, and in a grid of as many partitions or more nothing else; of fewer, what
// it had done may come again, known by its results.
func TestPlacesOfReaders(t *testing.T) {
	g := open(t, grid.Config{Partitions: 4})
	c := cache(t, g, grid.CacheConfig{Name: "d"})
	r, err := g.Read(t.Context(), grid.ReaderConfig{Name: "r", Cache: "d"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		put(t, c, fmt.Sprint(i), "v", grid.PutOptions{})
	}
	done := map[string]bool{}
	for len(done) < 60 {
		changes, err := r.Next(t.Context(), 60-len(done))
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range changes {
			done[ch.Entry.Key] = true
		}
		r.Done(changes)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	place := backup.NewDir(t.TempDir())
	save(t, g, place, backup.Options{})
	for _, partitions := range []int{1, 2, 4, 16} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			g, _ := restore(t, place, grid.Config{Partitions: partitions})
			c, err := g.Cache(t.Context(), "d")
			if err != nil {
				t.Fatal(err)
			}
			put(t, c, "last", "v", grid.PutOptions{})
			// Few changes wait: so the queue is filled again and again between changes of one place.
			r, err := g.Read(t.Context(), grid.ReaderConfig{Name: "r", Cache: "d", MaxPending: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close(context.Background())
			var got []string
			ctx, cancel := withTimeout(t)
			defer cancel()
			whole := func() bool {
				for i := range 100 {
					if key := fmt.Sprint(i); !done[key] && !slices.Contains(got, key) {
						return false
					}
				}
				return slices.Contains(got, "last")
			}
			for !whole() {
				changes, err := r.Next(ctx, 3)
				if err != nil {
					t.Fatalf("%v after %d", err, len(got))
				}
				for _, ch := range changes {
					got = append(got, ch.Entry.Key)
				}
				r.Done(changes)
			}
			again := 0
			for i := range 100 {
				key := fmt.Sprint(i)
				came := slices.Contains(got, key)
				if !came && !done[key] {
					t.Errorf("%s was not done, and does not come", key)
				}
				if came && done[key] {
					again++
				}
			}
			slices.Sort(got)
			if n := len(slices.Compact(slices.Clone(got))); n != len(got) {
				t.Errorf("%d changes of %d keys", len(got), n)
			}
			if again > 0 && partitions >= 4 {
				t.Errorf("%d come again in %d partitions", again, partitions)
			}
		})
	}
}

// TestListenersResume: where keys of several partitions have changed at one place of the one that has them now, a listener that resumes at any event misses none
// (invariant 6).
func TestListenersResume(t *testing.T) {
	g := open(t, grid.Config{Partitions: 8})
	c := cache(t, g, grid.CacheConfig{Name: "d"})
	const n = 60
	for i := range n {
		put(t, c, fmt.Sprint(i), "v", grid.PutOptions{})
	}
	place := backup.NewDir(t.TempDir())
	save(t, g, place, backup.Options{})
	again, _ := restore(t, place, grid.Config{Partitions: 1})
	c, err := again.Cache(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	places := map[grid.Revision]int{}
	for _, e := range entries(t, c) {
		places[e.Revision]++
	}
	if len(places) == n {
		t.Fatal("no two keys have one place: nothing is tried")
	}
	seen := map[string]bool{}
	ctx, cancel := withTimeout(t)
	defer cancel()
	o := grid.ListenOptions{IncludeCurrent: true}
	for range n {
		l, err := c.Listen(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var e grid.Event
		for range 12 { // more than one place has
			if len(seen) == n {
				break
			}
			if e, err = l.Next(ctx); err != nil {
				t.Fatalf("%d of %d keys were seen: %v", len(seen), n, err)
			}
			seen[e.Entry.Key] = true
		}
		l.Close()
		if o = (grid.ListenOptions{From: e.ID}); len(seen) == n {
			return
		}
	}
	t.Errorf("%d of %d keys were seen", len(seen), n)
}
