package grid_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// nodes opens several nodes of one grid, and waits until each owns its share.
func nodes(t testing.TB, n int, cfg grid.Config) []*grid.Grid {
	t.Helper()
	all := make([]*grid.Grid, n)
	for i := range all {
		all[i] = open(t, cfg)
	}
	spread(t, all)
	return all
}

// spread waits until the partitions are spread evenly.
func spread(t testing.TB, all []*grid.Grid) {
	t.Helper()
	eventually(t, "the partitions are spread", func() bool {
		share := all[0].Partitions() / len(all)
		return !slices.ContainsFunc(all, func(g *grid.Grid) bool { return len(grid.Owns(g)) != share || g.Ready(t.Context()) != nil })
	})
}

// eventually waits up to a minute.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(time.Minute); !is(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// onEach opens a cache on every node.
func onEach(t testing.TB, all []*grid.Grid, config grid.CacheConfig) []*grid.Cache {
	t.Helper()
	caches := []*grid.Cache{cache(t, all[0], config)}
	for _, g := range all[1:] {
		c, err := g.Cache(t.Context(), config.Name)
		if err != nil {
			t.Fatal(err)
		}
		caches = append(caches, c)
	}
	return caches
}

// ownedBy returns a key in a partition that a node owns.
func ownedBy(t testing.TB, g *grid.Grid, prefix string) string {
	t.Helper()
	for i := range 1000 {
		key := fmt.Sprint(prefix, i)
		if slices.Contains(grid.Owns(g), grid.Partition(key, g.Partitions())) {
			return key
		}
	}
	t.Fatal("no key is in a partition of the node")
	return ""
}

// TestNodesAnswerAlike: size, list, statistics, conditions, limits and resumed listeners, on the owner and on the others.
func TestNodesAnswerAlike(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, class := range []grid.Class{grid.Durable, grid.Volatile} {
		t.Run(string(class), func(t *testing.T) {
			all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 4})
			caches := onEach(t, all, grid.CacheConfig{Name: "c", Class: class, MaxEntries: 40})
			from := make([]grid.EventID, 2)
			for i, c := range caches {
				l, err := c.Listen(ctx, grid.ListenOptions{IncludeCurrent: true})
				if err != nil {
					t.Fatal(err)
				}
				put(t, caches[i], "first", "v")
				from[i] = next(t, l).ID
				l.Close()
			}
			revs := map[string]grid.Revision{}
			for i := range 30 {
				key := fmt.Sprint("k", i)
				revs[key] = put(t, caches[i%2], key, "value")
			}
			if _, err := caches[0].Delete(ctx, "k7", grid.DeleteOptions{IfRevision: revs["k7"]}); err != nil {
				t.Fatal(err)
			}
			delete(revs, "k7")
			for i, c := range caches {
				if n, err := c.Size(ctx); n != 30 || err != nil {
					t.Errorf("node %d: size %d, %v", i, n, err)
				}
				if s, err := c.Stats(ctx); err != nil || s.Entries != 30 || s.Bytes != 29*5+1 {
					t.Errorf("node %d: %+v, %v", i, s, err)
				}
				for _, keysOnly := range []bool{false, true} {
					n := 0
					for e, err := range c.List(ctx, grid.ListOptions{Prefix: "k", KeysOnly: keysOnly}) {
						if err != nil || revs[e.Key] != e.Revision {
							t.Errorf("node %d lists %+v, %v", i, e, err)
						}
						n++
					}
					if n != 29 {
						t.Errorf("node %d lists %d entries", i, n)
					}
				}
				l, err := c.Listen(ctx, grid.ListenOptions{From: from[i], Values: true, Prefix: "k"})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				got := seen{}
				for len(got) < 30 {
					e := next(t, l)
					got.take(t, e)
					if (e.Type == grid.Removed) != (e.Entry.Key == "k7") || e.Type != grid.Removed && string(e.Entry.Value) != "value" && string(e.Entry.Value) != "newer" {
						t.Errorf("node %d resumes with %+v", i, e)
					}
				}
				// A key of the other node's partition, and one of its own.
				for _, key := range []string{"k1", "k2", "k3", "k4"} {
					rev, err := c.Put(ctx, key, []byte("newer"), grid.PutOptions{IfRevision: revs[key]})
					if err != nil {
						t.Errorf("node %d: %v", i, err)
					}
					if _, err := c.Put(ctx, key, nil, grid.PutOptions{IfRevision: revs[key]}); !errors.Is(err, grid.ErrRevision) {
						t.Errorf("node %d: put on an old revision: %v", i, err)
					}
					if _, err := c.Create(ctx, key, nil, grid.PutOptions{}); !errors.Is(err, grid.ErrExists) {
						t.Errorf("node %d: create: %v", i, err)
					}
					revs[key] = rev
					if e := next(t, l); e.Entry.Key != key || e.Type != grid.Updated || string(e.Entry.Value) != "newer" || e.Entry.Revision != rev {
						t.Errorf("node %d hears %+v", i, e)
					}
				}
			}
			// The limit holds whichever node is asked.
			taken := 0
			for i := range 20 {
				_, err := caches[i%2].Put(ctx, fmt.Sprint("more", i), nil, grid.PutOptions{})
				switch {
				case err == nil:
					taken++
				case !errors.Is(err, grid.ErrFull):
					t.Error(err)
				}
			}
			if taken != 10 {
				t.Errorf("%d entries were taken, there was room for 10", taken)
			}
			// Listeners on both nodes hear what both write from now on, while partitions change hands.
			var listeners []*grid.Listener
			for _, c := range caches {
				l, err := c.Listen(ctx, grid.ListenOptions{Values: true, Prefix: "k"})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				listeners = append(listeners, l)
			}
			for round := range 4 {
				grid.Lose(t, all[round%2], grid.Owns(all[round%2])[0])
				want := map[string]grid.Revision{}
				for i := range 20 {
					key := fmt.Sprint("k", 8+i)
					want[key] = put(t, caches[i%2], key, fmt.Sprint(round))
				}
				for i, l := range listeners {
					got := map[string]grid.Revision{}
					for len(got) < len(want) {
						e := next(t, l)
						if old := got[e.Entry.Key]; e.Entry.Revision < want[e.Entry.Key] && round == 0 || old > e.Entry.Revision {
							t.Errorf("round %d, node %d hears %+v", round, i, e)
						}
						if e.Entry.Revision == want[e.Entry.Key] {
							got[e.Entry.Key] = e.Entry.Revision
						}
					}
				}
			}
		})
	}
}

// TestMaxIdleAcrossNodes: reads on a node that does not own an entry extend its idle time, and its end is one on every node.
func TestMaxIdleAcrossNodes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := new(clock)
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 2, Now: clock.now})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	key := ownedBy(t, all[0], "k")
	if _, err := caches[1].Put(ctx, key, []byte("v"), grid.PutOptions{MaxIdle: time.Hour}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its owner has it", func() bool {
		n, err := caches[0].Size(ctx)
		return n == 1 && err == nil
	})
	for range 4 {
		clock.advance(40 * time.Minute)
		if _, err := caches[1].Get(ctx, key); err != nil {
			t.Fatalf("an entry that was read 40 minutes ago, of max idle 1h: %v", err)
		}
	}
	clock.advance(61 * time.Minute)
	for i, c := range caches {
		if _, err := c.Get(ctx, key); !errors.Is(err, grid.ErrNotFound) {
			t.Errorf("node %d: %v", i, err)
		}
		if n, err := c.Size(ctx); n != 0 || err != nil {
			t.Errorf("node %d: size %d, %v", i, n, err)
		}
	}
}

// TestDeletedCacheHasNoGhosts: a cache that one node deletes and makes again is empty on the others.
func TestDeletedCacheHasNoGhosts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 4})
	for round := range 3 {
		caches := onEach(t, all, grid.CacheConfig{Name: "c", MaxEntries: 20})
		for i := range 20 {
			put(t, caches[i%2], fmt.Sprint("k", i), "v")
		}
		r := read(t, all[round%2], grid.ReaderConfig{Name: "p", Cache: "c"})
		if len(take(t, r, 100)) == 0 {
			t.Error("nothing is read: the reader's place is that of the cache before")
		}
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := all[round%2].DeleteCache(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other node knows", func() bool {
			_, err := all[1-round%2].Cache(ctx, "c")
			return errors.Is(err, grid.ErrNoCache)
		})
		caches = onEach(t, all, grid.CacheConfig{Name: "c", MaxEntries: 20})
		for i, c := range caches {
			if n, err := c.Size(ctx); n != 0 || err != nil {
				t.Errorf("node %d: size %d, %v", i, n, err)
			}
			for e, err := range c.List(ctx, grid.ListOptions{}) {
				t.Errorf("node %d lists %+v, %v", i, e, err)
			}
		}
		for i, c := range caches {
			if _, err := c.Create(ctx, fmt.Sprint("k", i), nil, grid.PutOptions{}); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
		if err := all[0].DeleteCache(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other node knows", func() bool {
			_, err := all[1].Cache(ctx, "c")
			return errors.Is(err, grid.ErrNoCache)
		})
	}
}

// TestVolatileCachesComeBack: after a NATS server outside lost its memory, volatile caches are empty and work, and until then
// the node does not say that it is ready.
func TestVolatileCachesComeBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := natstest.Start(t, natstest.MaxPayload)
	all := nodes(t, 2, grid.Config{URL: s.URL(), Partitions: 2})
	durable, volatile := onEach(t, all, grid.CacheConfig{Name: "d"}), onEach(t, all, grid.CacheConfig{Name: "v", Class: grid.Volatile})
	put(t, durable[0], "k", "v")
	put(t, volatile[0], "k", "v")
	l, err := volatile[1].Listen(ctx, grid.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.Stop()
	for _, g := range all {
		if err := g.Ready(ctx); !errors.Is(err, grid.ErrUnavailable) {
			t.Errorf("ready without a server: %v", err)
		}
	}
	s.Restart()
	for i, g := range all {
		eventually(t, "the node is ready", func() bool { return g.Ready(ctx) == nil })
		if n, err := volatile[i].Size(ctx); n > int64(i) || err != nil {
			t.Errorf("node %d: the volatile cache has %d entries, %v", i, n, err)
		}
		put(t, volatile[i], fmt.Sprint("after", i), "v")
		if _, err := durable[i].Get(ctx, "k"); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	for heard := 0; heard < 2; {
		if e := next(t, l); strings.HasPrefix(e.Entry.Key, "after") {
			heard++
		}
	}
}

// TestListenersHaveTheirOwnValues: what one listener does to a value does not show in another's.
func TestListenersHaveTheirOwnValues(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	var listeners []*grid.Listener
	for range 2 {
		l, err := c.Listen(ctx, grid.ListenOptions{Values: true})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners = append(listeners, l)
	}
	if _, err := c.Put(ctx, "k", []byte("value"), grid.PutOptions{Labels: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Size(ctx); n != 1 || err != nil { // all have it
		t.Fatal(n, err)
	}
	var entries []grid.Entry
	for _, l := range listeners {
		entries = append(entries, next(t, l).Entry)
	}
	entries = append(entries, take(t, r, 1)[0].Entry)
	for i, e := range entries {
		if string(e.Value) != "value" || e.Labels["a"] != "b" {
			t.Errorf("taker %d has %q, %v", i, e.Value, e.Labels)
		}
		copy(e.Value, "spoil")
		e.Labels["a"] = "spoiled"
	}
}

// TestFormerOwner: a node that stood still and comes back stores nothing and moves nothing.
func TestFormerOwner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 2})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	key := ownedBy(t, all[0], "k")
	r := read(t, all[0], grid.ReaderConfig{Name: "p", Cache: "c"})
	read(t, all[1], grid.ReaderConfig{Name: "p", Cache: "c"})
	put(t, caches[0], key, "v")
	changes := take(t, r, 1)
	made := grid.Made{Key: key, Reader: "p", Revision: changes[0].Entry.Revision, Expect: grid.Sequence(changes[0].Entry.Revision)}
	before := grid.Fence(all[0], grid.Partition(key, 2))
	grid.Pause(all[0])
	if err := caches[0].PutMade(ctx, []grid.Made{made})[0]; !errors.Is(err, grid.ErrNotOwner) {
		t.Errorf("what a node makes whose lease is over: %v", err)
	}
	eventually(t, "the partition has a new owner", func() bool {
		return grid.Fence(all[0], grid.Partition(key, 2)) != before && all[0].Ready(ctx) == nil && all[1].Ready(ctx) == nil
	})
	r.Done(changes)
	positions, err := all[1].Positions(ctx, "c", "p")
	if err != nil {
		t.Fatal(err)
	}
	if at := positions[grid.Partition(key, 2)]; at.Sequence >= grid.Sequence(changes[0].Entry.Revision) {
		t.Errorf("the former owner moved the position: %+v", at)
	}
}

// TestRelayIsMadeAnew: a node that could not say in time that it wants a cache's changes misses none of them.
func TestRelayIsMadeAnew(t *testing.T) {
	t.Parallel()
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 2})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	key := ownedBy(t, all[0], "k")
	l, err := caches[1].Listen(t.Context(), grid.ListenOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hear := func(rev grid.Revision) {
		t.Helper()
		for heard := grid.Revision(0); heard < rev; {
			e := next(t, l)
			if e.Entry.Revision <= heard {
				t.Errorf("revision %d comes after %d", e.Entry.Revision, heard)
			}
			heard = e.Entry.Revision
		}
	}
	for range 20 {
		hear(put(t, caches[0], key, "v"))
	}
	for range 2 {
		grid.CloseOutlets(all[0])
		hear(put(t, caches[0], key, "nobody is told of it at once"))
		for range 5 {
			hear(put(t, caches[0], key, "v"))
		}
	}
}

// TestRelayEndedAtItsBeginning: a relay that is ended while it is begun, since the node owns the partition for a moment, is begun once more.
func TestRelayEndedAtItsBeginning(t *testing.T) {
	t.Parallel()
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 2})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	key := ownedBy(t, all[0], "k")
	l, err := caches[1].Listen(t.Context(), grid.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	revisions := make(chan grid.Revision)
	go func() {
		defer close(revisions)
		for e, err := range l.Events(t.Context()) {
			if err != nil {
				t.Error(err)
				return
			}
			revisions <- e.Entry.Revision
		}
	}()
	hear := func(rev grid.Revision) {
		t.Helper()
		for limit := time.After(time.Minute); ; {
			select {
			case heard := <-revisions:
				if heard >= rev {
					return
				}
			case <-limit:
				t.Fatalf("revision %d is not heard of", rev)
			}
		}
	}
	hear(put(t, caches[0], key, "before"))
	release := sync.OnceFunc(grid.HoldOwner(all[0]))
	defer release()
	if grid.EndRelays(all[1], "c") == 0 {
		t.Fatal("there is no relay")
	}
	eventually(t, "the listener begins another relay, which is ended before the owner has answered", func() bool { return grid.EndRelays(all[1], "c") > 0 })
	release()
	for range 3 {
		hear(put(t, caches[0], key, "after"))
	}
}

// TestRelayThatIsLate: a node that asked too late for changes to go on, for want of a connection, notices that some were not sent.
func TestRelayThatIsLate(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.MaxPayload)
	all := nodes(t, 2, grid.Config{URL: s.URL(), Partitions: 2})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	for _, values := range []bool{false, true} {
		l, err := caches[1].Listen(t.Context(), grid.ListenOptions{Values: values})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			put(t, caches[0], fmt.Sprint("before", i), "v")
			next(t, l)
			grid.ExpireRelays(all[0], values)
			grid.ExpireRelays(all[1], values)
			want := fmt.Sprint("after", values, i)
			put(t, caches[0], want, "v")
			if e := next(t, l); e.Entry.Key != want {
				t.Errorf("%q came in place of %q", e.Entry.Key, want)
			}
		}
		l.Close()
	}
}
