package cold_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// begin opens a node and waits until everything is loaded.
func begin(t *testing.T, s setup) *node {
	t.Helper()
	s.cold.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	n, err := start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cold.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) end(t *testing.T) {
	t.Helper()
	if err := n.stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// crash ends a node whose stores get nothing more.
func (n *node) crash(t *testing.T) {
	t.Helper()
	if err := errors.Join(n.Grid.Close(context.Background()), n.cold.Close(context.Background())); err != nil {
		t.Log(err)
	}
}

func memory() *faultstore.Store {
	return faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})
}

func inStore(t *testing.T, s store.Store, key string) {
	t.Helper()
	eventually(t, "the store has "+key, func() bool {
		_, err := s.Stat(t.Context(), "c", key)
		return err == nil
	})
}

func gone(t *testing.T, c *grid.Cache, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if e, err := c.Get(t.Context(), key); !errors.Is(err, grid.ErrNotFound) {
			t.Errorf("%s is %q, %v", key, e.Value, err)
		}
	}
}

// TestVolatile: what a volatile cache had at an orderly stop is there after it, as it was; what was removed is not (invariant 3).
func TestVolatile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for preload, inMemory := range map[string]int64{"": 3, grid.PreloadKeys: 0, "2": 2} {
		t.Run("preload "+preload, func(t *testing.T) {
			s := setup{grid: grid.Config{Dir: t.TempDir()}, store: memory()}
			n := begin(t, s)
			config := grid.CacheConfig{Class: grid.Volatile, Store: "cold", Preload: preload}
			c := cache(t, n, config)
			for i := range 100 { // revisions of volatile caches do not begin anew
				put(t, c, "removed", fmt.Sprint(i))
			}
			want := map[string]grid.Entry{}
			for _, key := range []string{"a", "b", "c"} {
				if _, err := c.Put(ctx, key, []byte("value of "+key), grid.PutOptions{ContentType: "text/" + key, Lifespan: time.Hour, MaxIdle: time.Minute, Labels: map[string]string{"l": key}}); err != nil {
					t.Fatal(err)
				}
				want[key] = get(t, c, key)
			}
			if _, err := c.Put(ctx, "short", nil, grid.PutOptions{Lifespan: 50 * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Delete(ctx, "removed", grid.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				n.end(t)
				time.Sleep(50 * time.Millisecond) // the time of one entry is over meanwhile
				n = begin(t, s)
				c, _ = n.Cache(ctx, "c")
				if s := stats(t, c); s.Entries != 3 || s.Entries-s.Cold != inMemory {
					t.Errorf("statistics %+v, want %d in memory", s, inMemory)
				}
				gone(t, c, "removed", "short")
			}
			for key, e := range want {
				got := get(t, c, key)
				if string(got.Value) != string(e.Value) || got.Revision != e.Revision || got.ContentType != e.ContentType || got.Labels["l"] != key ||
					!got.Expires.Equal(e.Expires) || got.MaxIdle != e.MaxIdle || !got.Created.Equal(e.Created) {
					t.Errorf("%+v, want %+v", got, e)
				}
			}
			if _, err := c.Put(ctx, "a", []byte("second"), grid.PutOptions{IfRevision: want["a"].Revision}); err != nil {
				t.Errorf("a revision of before is good no more: %v", err)
			}
			if rev := put(t, c, "new", ""); rev <= want["c"].Revision {
				t.Errorf("a new entry has revision %d, an old one %d", rev, want["c"].Revision)
			}
			if _, err := c.Delete(ctx, "b", grid.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			n.end(t)
			n = begin(t, s)
			defer n.end(t)
			c, _ = n.Cache(ctx, "c")
			gone(t, c, "b", "removed")
			if e := get(t, c, "a"); string(e.Value) != "second" {
				t.Errorf("got %q", e.Value)
			}
		})
	}
}

// TestVolatileCrash: after a crash a volatile cache is empty, since the store may have what was removed last; and that does not come
// back later either.
func TestVolatileCrash(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{grid: grid.Config{Dir: t.TempDir()}, store: memory()}
	n := begin(t, s)
	c := cache(t, n, grid.CacheConfig{Class: grid.Volatile, Store: "cold"})
	put(t, c, "kept", "")
	put(t, c, "removed", "")
	inStore(t, s.store, "kept")
	inStore(t, s.store, "removed")
	s.store.Down()
	if _, err := c.Delete(ctx, "removed", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.crash(t)
	s.store.Up()
	for range 2 {
		n = begin(t, s)
		c, _ = n.Cache(ctx, "c")
		if s := stats(t, c); s.Entries != 0 {
			t.Errorf("statistics %+v", s)
		}
		gone(t, c, "removed", "kept")
		n.end(t)
	}
	// An entry that is put then is kept, whatever the store has of former ones.
	n = begin(t, s)
	c, _ = n.Cache(ctx, "c")
	rev := put(t, c, "removed", "again")
	n.end(t)
	n = begin(t, s)
	defer n.end(t)
	c, _ = n.Cache(ctx, "c")
	if e := get(t, c, "removed"); string(e.Value) != "again" || e.Revision != rev {
		t.Errorf("got %q at %d, want revision %d", e.Value, e.Revision, rev)
	}
}

// TestNewGrid: a grid whose data is lost goes on with what its store has: with keys alone, or with the newest values too, each as it was; and
// what is removed then stays so.
func TestNewGrid(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for preload, inMemory := range map[string]int64{grid.PreloadKeys: 0, "5": 5, grid.PreloadAll: 20, grid.PreloadNone: -1} {
		t.Run(preload, func(t *testing.T) {
			s := setup{grid: grid.Config{Dir: t.TempDir(), MarkerTTL: time.Second}, store: memory()}
			n := begin(t, s)
			c := cache(t, n, grid.CacheConfig{Store: "cold"})
			revs := map[string]grid.Revision{}
			for i := range 20 {
				key := fmt.Sprint(i)
				revs[key] = put(t, c, key, "value of "+key)
			}
			put(t, c, "removed", "")
			if _, err := c.Delete(ctx, "removed", grid.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"0", "1", "19"} {
				inStore(t, s.store, key)
			}
			eventually(t, "the store has everything", func() bool { return stats(t, c).Tier.LagEntries == 0 })
			n.end(t)

			s.grid.Dir = t.TempDir()
			if n, err := start(ctx, s); !errors.Is(err, cold.ErrForeign) {
				t.Fatalf("a store of another grid: %v, %v", n, err)
			}
			if _, err := store.Release(ctx, s.store); err != nil {
				t.Fatal(err)
			}
			s.grid.Dir = t.TempDir()
			n = begin(t, s)
			c = cache(t, n, grid.CacheConfig{Store: "cold", Preload: preload})
			if err := n.cold.Loaded(ctx); err != nil {
				t.Fatal(err)
			}
			if inMemory < 0 {
				if got := stats(t, c); got.Entries != 0 {
					t.Errorf("statistics %+v", got)
				}
				if err := n.cold.Sweep(ctx); err != nil {
					t.Fatal(err)
				}
				if e, err := s.store.Get(ctx, "c", "0"); err != nil {
					t.Errorf("what was not taken in is gone from the store: %v, %v", e, err)
				}
				n.end(t)
				return
			}
			if got := stats(t, c); got.Entries != 20 || got.Entries-got.Cold != inMemory {
				t.Errorf("statistics %+v, want %d in memory", got, inMemory)
			}
			gone(t, c, "removed")
			for key, rev := range revs {
				if e := get(t, c, key); string(e.Value) != "value of "+key || e.Revision != rev {
					t.Errorf("%s is %q at %d, want revision %d", key, e.Value, e.Revision, rev)
				}
			}
			if rev, err := c.Put(ctx, "1", []byte("second"), grid.PutOptions{IfRevision: revs["1"]}); err != nil || rev <= revs["19"] {
				t.Errorf("put over a revision of before: %d, %v", rev, err)
			}
			// The store is away for longer than a removal is remembered.
			s.store.Down()
			if _, err := c.Delete(ctx, "0", grid.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2500 * time.Millisecond)
			n.crash(t)
			s.store.Up()
			n = begin(t, s)
			defer n.end(t)
			c, _ = n.Cache(ctx, "c")
			gone(t, c, "0", "removed")
			if e := get(t, c, "1"); string(e.Value) != "second" {
				t.Errorf("got %q", e.Value)
			}
		})
	}
}

// TestOldGridRefuses: a store of nobody whose revisions this grid has come to, or may come to, is not taken.
func TestOldGridRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{grid: grid.Config{Dir: t.TempDir()}, store: memory()}
	begin(t, s).end(t)
	s.store = memory()
	if err := s.store.Put(ctx, "c", store.Entry{Info: store.Info{Key: "k", Revision: 5}}); err != nil {
		t.Fatal(err)
	}
	if _, err := start(ctx, s); !errors.Is(err, cold.ErrForeign) {
		t.Fatalf("%v", err)
	}
}
