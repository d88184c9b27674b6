package cold_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// TestNodes: two nodes share a store and a cache that is larger than its memory. Each evicts what it owns, both see all entries, and when one
// ends the other goes on with everything.
func TestNodes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{
		grid:  grid.Config{URL: natstest.URL(t), Partitions: 4},
		cold:  cold.Config{Wait: 10 * time.Second},
		store: faultstore.New(storetest.NewMemory(nil), 3, faultstore.Faults{Before: 0.05, After: 0.05}),
	}
	config := grid.CacheConfig{Name: "c", MaxEntries: 20, Store: "cold"}
	begin := func() *node {
		for {
			n, err := start(ctx, s)
			if err == nil {
				return n
			}
			if !errors.Is(err, grid.ErrUnavailable) && ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	one := begin()
	c1 := cache(t, one, config)
	two := begin()
	var once sync.Once
	end := func() {
		once.Do(func() {
			if err := one.stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	defer end()
	defer func() {
		if err := two.stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c2 := cache(t, two, config)
	eventually(t, "each has its share", func() bool {
		a, _ := c1.Owned()
		b, _ := c2.Owned()
		return a == 2 && b == 2
	})
	const many = 100
	revs := make(map[string]grid.Revision)
	for i := range many {
		key := fmt.Sprint(i)
		c := []*grid.Cache{c1, c2}[i%2]
		revs[key] = put(t, c, key, "value of "+key)
	}
	read := func(c *grid.Cache, key string) {
		t.Helper()
		var e grid.Entry
		var err error
		for range 100 { // the store fails at random
			if e, err = c.Get(ctx, key); !errors.Is(err, grid.ErrUnavailable) {
				break
			}
		}
		if err != nil || string(e.Value) != "value of "+key || e.Revision != revs[key] {
			t.Fatalf("%s is %q at %d, want revision %d: %v", key, e.Value, e.Revision, revs[key], err)
		}
	}
	for i := range many {
		read(c2, fmt.Sprint(i))
		read(c1, fmt.Sprint(many-1-i))
	}
	eventually(t, "what is in memory is within the limit", func() bool { return inMemory(t, c1) <= 22 && inMemory(t, c2) <= 22 })
	if a, b := stats(t, c1).Tier, stats(t, c2).Tier; a.Evictions < 20 || b.Evictions < 20 {
		t.Errorf("evictions by %+v and %+v", a, b)
	}
	rev, err := c1.Put(ctx, "0", []byte("value of 0"), grid.PutOptions{IfRevision: revs["0"]})
	if err != nil {
		t.Fatal(err)
	}
	revs["0"] = rev
	if _, err := c2.Delete(ctx, "1", grid.DeleteOptions{IfRevision: revs["1"]}); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range many {
		keys = append(keys, fmt.Sprint(i))
	}
	eventually(t, "all values leave memory for one node that asks", func() bool {
		errs, err := c1.Leave(ctx, keys, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range errs {
			if err != nil && !errors.Is(err, grid.ErrCold) && !errors.Is(err, grid.ErrNotFound) {
				return false
			}
		}
		return inMemory(t, c2) == 0 // one that was read may come back late
	})
	end()
	eventually(t, "the other owns everything", func() bool {
		n, of := c2.Owned()
		return n == of && stats(t, c2).Entries == many-1
	})
	for i := range many {
		if i != 1 {
			read(c2, fmt.Sprint(i))
		}
	}
	if _, err := c2.Get(ctx, "1"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
}

// TestNodesFull: who writes by another node than the partition's owner is told as well that there is no room, and why.
func TestNodesFull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{
		grid:  grid.Config{URL: natstest.URL(t), Partitions: 2},
		cold:  cold.Config{Wait: 10 * time.Second}, // longer than an owner has to answer
		store: faultstore.New(storetest.NewMemory(nil), 3, faultstore.Faults{}),
	}
	config := grid.CacheConfig{Name: "c", MaxEntries: 2, Store: "cold"}
	one := open(t, s)
	c1 := cache(t, one, config)
	two := open(t, s)
	c2 := cache(t, two, config)
	eventually(t, "each has its share", func() bool {
		a, _ := c1.Owned()
		b, _ := c2.Owned()
		return a == 1 && b == 1
	})
	s.store.Down()
	key := func(i int) string { return fmt.Sprint("k", i) }
	var of [2][]string // keys by their partition
	for i := 0; len(of[0]) < 9 || len(of[1]) < 9; i++ {
		p := grid.Partition(key(i), 2)
		of[p] = append(of[p], key(i))
	}
	for _, keys := range of {
		put(t, c1, keys[0], "") // all that its owner may have in memory
		for i, c := range []*grid.Cache{c1, c2} {
			// On a slow machine a partition may move meanwhile, to a node that has room for one more.
			var err error
			began := time.Now()
			for _, k := range keys[1+4*i : 5+4*i] {
				if _, err = c.Put(ctx, k, nil, grid.PutOptions{}); err != nil {
					break
				}
			}
			if !errors.Is(err, grid.ErrFull) || !strings.Contains(err.Error(), "it is down") {
				t.Errorf("put into a full cache: %v after %v", err, time.Since(began))
			}
		}
	}
}

// TestNodesStoreHangs: questions that wait for a store that does not answer keep no others waiting, and who asked is told why.
func TestNodesStoreHangs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{
		grid:  grid.Config{URL: natstest.URL(t), Partitions: 2},
		store: faultstore.New(storetest.NewMemory(nil), 3, faultstore.Faults{}),
	}
	config := grid.CacheConfig{Name: "c", MaxEntries: 1000, Store: "cold"}
	one := open(t, s)
	c1 := cache(t, one, config)
	two := open(t, s)
	c2 := cache(t, two, config)
	eventually(t, "each has its share", func() bool {
		a, _ := c1.Owned()
		b, _ := c2.Owned()
		return a == 1 && b == 1
	})
	var keys []string
	other := map[string]*grid.Cache{} // of the node that does not own the key
	for i := range 400 {
		key := fmt.Sprint(i)
		put(t, c1, key, "value")
		keys, other[key] = append(keys, key), c1
		eventually(t, "the value is at its owner", func() bool {
			if _, ok := c1.Resident(key); ok {
				other[key] = c2
				return true
			}
			_, ok := c2.Resident(key)
			return ok
		})
	}
	eventually(t, "all values leave memory", func() bool {
		if _, err := c1.Leave(ctx, keys, true); err != nil {
			t.Fatal(err)
		}
		return inMemory(t, c2) == 0
	})
	s.store.Hang()
	defer s.store.Up()
	before := s.store.Calls()
	var gets sync.WaitGroup
	var ended, told atomic.Int64
	for key, c := range other {
		gets.Go(func() {
			_, err := c.Get(ctx, key)
			ended.Add(1)
			if !errors.Is(err, grid.ErrUnavailable) {
				t.Errorf("get %s: %v", key, err)
			} else if strings.Contains(err.Error(), "the store does not answer") {
				told.Add(1)
			}
		})
	}
	eventually(t, "each node asks the store for as many as it answers at a time", func() bool { return s.store.Calls()-before >= 2*64 })
	for i := range 8 {
		for _, c := range []*grid.Cache{c1, c2} {
			if _, err := c.Put(ctx, fmt.Sprint("new", i), nil, grid.PutOptions{}); err != nil || ended.Load() > 0 {
				t.Fatalf("put of a new key: %v; %d gets of others have ended", err, ended.Load())
			}
		}
	}
	gets.Wait()
	if told.Load() == 0 { // more than none that were not behind others all the time
		t.Error("nobody was told that the store does not answer")
	}
}

// TestEvictWithoutReaderList: values leave memory while the readers of all caches cannot be listed.
func TestEvictWithoutReaderList(t *testing.T) {
	t.Parallel()
	n := open(t, setup{bug: cold.NoReaderList})
	c := cache(t, n, grid.CacheConfig{MaxEntries: 2, Store: "cold"})
	for i := range 6 {
		put(t, c, fmt.Sprint(i), "value")
	}
}
