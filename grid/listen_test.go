package grid_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/grid"
)

// seen is what a listener has made of a cache: the newest revision and type of each key.
type seen map[string]grid.Event

// take notes an event, which must be newer than the last one of its key.
func (s seen) take(t testing.TB, e grid.Event) {
	t.Helper()
	if old, ok := s[e.Entry.Key]; ok && old.Entry.Revision >= e.Entry.Revision {
		t.Fatalf("%s %s at %d after %d", e.Entry.Key, e.Type, e.Entry.Revision, old.Entry.Revision)
	}
	s[e.Entry.Key] = e
}

func TestListenerResumesOverAllPartitions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg := grid.Config{Dir: t.TempDir()}
	var (
		last      grid.EventID
		got       = make(seen)
		revisions = make(map[string]grid.Revision)
		removed   = make(map[string]bool)
	)
	// Each round writes to all partitions, reads a part of the events, and restarts the grid.
	for round := range 4 {
		g := open(t, cfg)
		c := cache(t, g, grid.CacheConfig{Name: "c"})
		listen := func() *grid.Listener {
			l, err := c.Listen(ctx, grid.ListenOptions{From: last, IncludeCurrent: true, Values: true})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := listen()
		for i := range 100 {
			key := fmt.Sprint((i * (round + 1)) % 100)
			rev, err := c.Put(ctx, key, fmt.Appendf(nil, "%d", round), grid.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			revisions[key], removed[key] = rev, false
			if i%10 == round {
				if rev, err = c.Delete(ctx, key, grid.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				revisions[key], removed[key] = rev, true
			}
		}
		for range 30 {
			e := next(t, l)
			got.take(t, e)
			last = e.ID
		}
		l.Close()
		if _, err := l.Next(ctx); !errors.Is(err, grid.ErrClosed) {
			t.Errorf("next after close: %v", err)
		}
		l = listen() // once more without a restart
		for range 10 {
			e := next(t, l)
			got.take(t, e)
			last = e.ID
		}
		if round == 3 {
			for !caughtUp(got, revisions) {
				got.take(t, next(t, l))
			}
		}
		l.Close()
		if err := g.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for key, e := range got {
		if wantRemoved := removed[key]; (e.Type == grid.Removed) != wantRemoved {
			t.Errorf("%s ended %s, removed is %v", key, e.Type, wantRemoved)
		}
	}
}

func caughtUp(got seen, revisions map[string]grid.Revision) bool {
	for key, rev := range revisions {
		if got[key].Entry.Revision != rev {
			return false
		}
	}
	return true
}

func TestSlowListenerEndsOnTheNewest(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	l, err := c.Listen(ctx, grid.ListenOptions{Values: true, MaxPending: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// First overwritten revisions of few keys, then more keys than may wait.
	want := make(map[string]grid.Revision)
	for _, keys := range []int{5, 200} {
		for round := range 4 {
			for i := range keys {
				key := fmt.Sprint(i)
				if want[key], err = c.Put(ctx, key, fmt.Appendf(nil, "%d/%d", keys, round), grid.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Size(ctx); err != nil { // the feed has them all
				t.Fatal(err)
			}
		}
		got := make(seen)
		for !caughtUp(got, want) {
			e := next(t, l)
			if string(e.Entry.Value) != fmt.Sprintf("%d/3", keys) {
				t.Errorf("%s is %q", e.Entry.Key, e.Entry.Value)
			}
			got.take(t, e)
		}
		if keys == 5 && l.Conflated() != 15 {
			t.Errorf("%d revisions were conflated, want 15", l.Conflated())
		}
	}
}

func TestListenOptions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	put := func(key string) grid.Revision {
		t.Helper()
		rev, err := c.Put(ctx, key, []byte("v"), grid.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	put("a/1")
	put("b/1")
	if _, err := c.Delete(ctx, "b/1", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	put("b/2")
	listen := func(o grid.ListenOptions) *grid.Listener {
		t.Helper()
		l, err := c.Listen(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		return l
	}
	current := listen(grid.ListenOptions{IncludeCurrent: true, Prefix: "b/"})
	plain := listen(grid.ListenOptions{})
	put("a/2")
	put("b/3")
	if e := next(t, current); e.Type != grid.Created || e.Entry.Key != "b/2" || e.Entry.Value != nil {
		t.Errorf("current state of b/ begins with %+v", e)
	}
	if e := next(t, current); e.Type != grid.Created || e.Entry.Key != "b/3" {
		t.Errorf("after the current state comes %+v", e)
	}
	first, second := next(t, plain), next(t, plain)
	if keys := first.Entry.Key + second.Entry.Key; keys != "a/2b/3" && keys != "b/3a/2" {
		t.Errorf("a plain listener gets %s and %s", first.Entry.Key, second.Entry.Key)
	}

	// Updated where the listener knew the entry, created where it did not.
	resumed := listen(grid.ListenOptions{From: second.ID})
	put("a/1")
	put("c/1")
	types := map[string]grid.EventType{}
	for range 2 {
		e := next(t, resumed)
		types[e.Entry.Key] = e.Type
	}
	if types["a/1"] != grid.Updated || types["c/1"] != grid.Created {
		t.Errorf("types after resumption: %v", types)
	}
	for _, id := range []grid.EventID{"x", "!", "AA", "AAAA", "____________________________"} {
		if _, err := c.Listen(ctx, grid.ListenOptions{From: id}); !errors.Is(err, grid.ErrEventID) {
			t.Errorf("listen from %q: %v", id, err)
		}
	}
	stats, err := c.Stats(ctx)
	if err != nil || stats.Listeners != 3 {
		t.Errorf("%d listeners, %v", stats.Listeners, err)
	}
}

// FuzzEventID holds that no id makes Listen panic or succeed with a place that is not one.
func FuzzEventID(f *testing.F) {
	for _, id := range []string{"", "AAAA", "AAE", "gAAAAA", "_w8AAQ", "!!", "////"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		positions, err := grid.ParseEventID(grid.EventID(id), 4)
		if err != nil {
			if !errors.Is(err, grid.ErrEventID) {
				t.Fatalf("%q: %v is no ErrEventID", id, err)
			}
			return
		}
		again, err := grid.ParseEventID(grid.NewEventID(positions), 4)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(positions) {
			t.Fatalf("%q: %v, then %v, %v", id, positions, again, err)
		}
	})
}

func TestLifespans(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, o := range map[string]grid.PutOptions{
		"by this node": {Lifespan: 300 * time.Millisecond},
		"by JetStream": {Lifespan: 1100 * time.Millisecond},
		"idle":         {MaxIdle: 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := open(t, grid.Config{InMemory: true, Partitions: 1})
			c := cache(t, g, grid.CacheConfig{Name: "c"})
			l, err := c.Listen(ctx, grid.ListenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			began := time.Now()
			rev, err := c.Put(ctx, "k", []byte("v"), o)
			if err != nil {
				t.Fatal(err)
			}
			if e, err := c.Get(ctx, "k"); err != nil || e.Lifespan != o.Lifespan || e.MaxIdle != o.MaxIdle {
				t.Errorf("get at once: %+v, %v", e, err)
			}
			if e := next(t, l); e.Type != grid.Created {
				t.Errorf("first event %+v", e)
			}
			e := next(t, l)
			took := time.Since(began)
			if e.Type != grid.Expired || e.Entry.Revision <= rev || took < o.Lifespan+o.MaxIdle {
				t.Errorf("after %v: %+v", took, e)
			}
			if _, err := c.Get(ctx, "k"); !errors.Is(err, grid.ErrNotFound) {
				t.Errorf("get after expiry: %v", err)
			}
			if s, err := c.Stats(ctx); err != nil || s.Entries != 0 || s.Bytes != 0 || s.Expired != 1 {
				t.Errorf("statistics %+v, %v", s, err)
			}
			if _, err := c.Put(ctx, "k", nil, grid.PutOptions{IfRevision: rev}); !errors.Is(err, grid.ErrRevision) {
				t.Errorf("put on the revision of what expired: %v", err)
			}
			if _, err := c.Create(ctx, "k", nil, grid.PutOptions{}); err != nil {
				t.Errorf("create after expiry: %v", err)
			}
			if e := next(t, l); e.Type != grid.Created {
				t.Errorf("event of the new entry %+v", e)
			}
		})
	}
}

// keepBusy gives the index of a cache's node work until the test ends.
func keepBusy(t *testing.T, c *grid.Cache) {
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Put(ctx, fmt.Sprint("other", w), make([]byte, 50_000), grid.PutOptions{}); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		writers.Wait()
	})
}

// TestCurrentStateHasOwnWrites: what this node removed before it listened is not in the current state, however late the index gets it.
func TestCurrentStateHasOwnWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	keepBusy(t, c)
	for i := range 300 {
		gone := fmt.Sprint("gone", i)
		if _, err := c.Put(ctx, gone, []byte("v"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Delete(ctx, gone, grid.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		l, err := c.Listen(ctx, grid.ListenOptions{IncludeCurrent: true, Prefix: gone})
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		if e, err := l.Next(short); err == nil {
			t.Fatalf("%s %s in round %d, which was removed before", e.Entry.Key, e.Type, i)
		}
		cancel()
		l.Close()
	}
}

// TestListenersAgree lets listeners with random patience follow random writes: all must end on
// the newest revision of every key, in order.
func TestListenersAgree(t *testing.T) {
	t.Parallel()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		c := cache(t, g, grid.CacheConfig{Name: fmt.Sprint("c", round)})
		pending := rapid.IntRange(1, 5).Draw(rt, "pending")
		l, err := c.Listen(t.Context(), grid.ListenOptions{MaxPending: pending, Values: rapid.Bool().Draw(rt, "values")})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { l.Close() }()
		// got is overall, since is what this listener has seen: what was conflated may come a
		// second time to the next one.
		want, got, since := make(map[string]grid.Revision), make(seen), make(seen)
		var last grid.EventID
		take := func(e grid.Event) {
			since.take(t, e)
			if old := got[e.Entry.Key]; old.Entry.Revision > e.Entry.Revision {
				t.Fatalf("%s at %d after %d", e.Entry.Key, e.Entry.Revision, old.Entry.Revision)
			}
			got[e.Entry.Key], last = e, e.ID
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				key := key(rt)
				if want[key], err = c.Put(t.Context(), key, []byte("v"), grid.PutOptions{}); err != nil {
					rt.Fatal(err)
				}
			},
			"delete": func(rt *rapid.T) {
				key := key(rt)
				rev, err := c.Delete(t.Context(), key, grid.DeleteOptions{})
				if err == nil {
					want[key] = rev
				} else if !errors.Is(err, grid.ErrNotFound) {
					rt.Fatal(err)
				}
			},
			"read": func(rt *rapid.T) {
				if !caughtUp(got, want) {
					take(next(t, l))
				}
			},
			"resume": func(rt *rapid.T) {
				if last != "" {
					l.Close()
					since = make(seen)
					if l, err = c.Listen(t.Context(), grid.ListenOptions{MaxPending: pending, From: last}); err != nil {
						rt.Fatal(err)
					}
				}
			},
		})
		for !caughtUp(got, want) {
			take(next(t, l))
		}
	})
}

// TestListenerPassesOverWhatComesLate holds invariant 6 where a relay brings a change that is in what the owner was asked for.
func TestListenerPassesOverWhatComesLate(t *testing.T) {
	t.Parallel()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	put(t, c, "a", "")
	old := put(t, c, "b", "")
	newest := put(t, c, "b", "")
	if n, err := c.Size(t.Context()); n != 2 || err != nil { // the index has them
		t.Fatal(n, err)
	}
	l, err := c.Listen(t.Context(), grid.ListenOptions{IncludeCurrent: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if e := next(t, l); e.Entry.Key != "a" {
		t.Fatalf("first comes %+v", e)
	}
	grid.Bring(l, "b", grid.Sequence(old))
	if e := next(t, l); e.Entry.Key != "b" || e.Entry.Revision != newest {
		t.Errorf("then comes %+v", e)
	}
	put(t, c, "end", "")
	if e := next(t, l); e.Entry.Key != "end" {
		t.Errorf("at the end comes %+v, whose newest revision is %d", e, newest)
	}
}
