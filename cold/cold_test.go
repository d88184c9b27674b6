package cold_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

func TestMain(m *testing.M) {
	// A check of the model is one history; TestModel says how many. With -short rapid does a fifth of its checks.
	flag.Parse()
	checks := "1"
	if testing.Short() {
		checks = "5"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// node is a grid with what is behind its caches.
type node struct {
	*grid.Grid
	cold  *cold.Cold
	store *faultstore.Store
}

// setup is how a node is opened.
type setup struct {
	grid   grid.Config
	cold   cold.Config
	limits cold.Store // of the store named cold
	store  *faultstore.Store
	bug    func(*cold.Cold)
}

// open opens a node that the test's end closes.
func open(t testing.TB, s setup) *node {
	t.Helper()
	n, err := start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func start(ctx context.Context, s setup) (*node, error) {
	if s.store == nil {
		s.store = faultstore.New(storetest.NewMemory(s.grid.Now), 1, faultstore.Faults{})
	}
	if s.grid.Dir == "" && s.grid.URL == "" {
		s.grid.InMemory = true
	}
	if s.cold.Stores == nil {
		s.limits.Store = s.store
		s.cold.Stores = map[string]cold.Store{"cold": s.limits}
	}
	c, err := cold.New(s.cold)
	if err != nil {
		return nil, err
	}
	if s.bug != nil {
		s.bug(c)
	}
	s.grid.Tiers = c
	g, err := grid.Open(ctx, s.grid)
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	n := &node{Grid: g, cold: c, store: s.store}
	if err := c.Start(ctx, g); err != nil {
		return nil, errors.Join(err, n.stop(ctx))
	}
	return n, nil
}

func (n *node) stop(ctx context.Context) error {
	n.store.Up()
	return errors.Join(n.cold.Close(ctx), n.Grid.Close(ctx))
}

func cache(t testing.TB, n *node, config grid.CacheConfig) *grid.Cache {
	t.Helper()
	if config.Name == "" {
		config.Name = "c"
	}
	if err := n.CreateCache(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	c, err := n.Cache(t.Context(), config.Name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t testing.TB, c *grid.Cache, key, value string) grid.Revision {
	t.Helper()
	rev, err := c.Put(t.Context(), key, []byte(value), grid.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func get(t testing.TB, c *grid.Cache, key string) grid.Entry {
	t.Helper()
	e, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func stats(t testing.TB, c *grid.Cache) grid.Stats {
	t.Helper()
	s, err := c.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inMemory returns how many entries have their values in memory.
func inMemory(t testing.TB, c *grid.Cache) int64 {
	return stats(t, c).InMemory
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// TestLargerThanMemory: a cache holds more than it may have in memory, and every entry is there as it was put.
func TestLargerThanMemory(t *testing.T) {
	t.Parallel()
	for _, policy := range []grid.Policy{grid.PolicyTinyLFU, grid.PolicyS3FIFO, grid.PolicyLRU} {
		for name, config := range map[string]grid.CacheConfig{
			"entries": {MaxEntries: 5}, "bytes": {MaxBytes: 60}, "both": {MaxEntries: 100, MaxBytes: 60}, "through": {MaxEntries: 5, Write: grid.WriteThrough},
		} {
			t.Run(fmt.Sprintf("%s %s", policy, name), func(t *testing.T) {
				n := open(t, setup{})
				config.Store, config.Policy = "cold", policy
				c := cache(t, n, config)
				const many = 50
				revs := make(map[string]grid.Revision)
				for i := range many {
					key := fmt.Sprint("k", i)
					revs[key] = put(t, c, key, fmt.Sprintf("value %02d", i))
				}
				check := func() {
					t.Helper()
					if err := n.cold.Land(t.Context(), "c"); err != nil { // or a value that moves is counted twice
						t.Fatal(err)
					}
					s := stats(t, c)
					if here := s.Entries - s.Cold; s.Entries != many || here > 10 || here == 0 || config.MaxEntries == 5 && here > 5 {
						t.Errorf("statistics %+v", s)
					}
				}
				check()
				for range 2 {
					for i := range many {
						key := fmt.Sprint("k", i)
						if e := get(t, c, key); string(e.Value) != fmt.Sprintf("value %02d", i) || e.Revision != revs[key] {
							t.Fatalf("%s is %q at %d, want revision %d", key, e.Value, e.Revision, revs[key])
						}
					}
					check()
				}
				if s := stats(t, c); s.Tier.Loads == 0 || s.Tier.Evictions < many-10 || s.Tier.LoadErrors != 0 {
					t.Errorf("behind it: %+v", s.Tier)
				}
				if err := c.Clear(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s := stats(t, c); s.Entries != 0 || s.Cold != 0 {
					t.Errorf("statistics after clear %+v", s)
				}
			})
		}
	}
}

// TestUsedStays: what is read often stays in memory while others come and go.
func TestUsedStays(t *testing.T) {
	t.Parallel()
	for _, policy := range []grid.Policy{grid.PolicyTinyLFU, grid.PolicyS3FIFO, grid.PolicyLRU} {
		t.Run(string(policy), func(t *testing.T) {
			n := open(t, setup{})
			c := cache(t, n, grid.CacheConfig{MaxEntries: 100, Store: "cold", Policy: policy})
			put(t, c, "used", "")
			for i := range 500 {
				put(t, c, fmt.Sprint(i), "")
				if i%5 == 0 {
					get(t, c, "used")
				}
				if i%20 == 0 { // else a slow store may have nothing but "used", which is then all that can leave
					eventually(t, "the store has it", func() bool { return stats(t, c).Tier.LagEntries == 0 })
				}
			}
			if s := stats(t, c); s.Tier.Evictions < 350 {
				t.Errorf("%d evictions", s.Tier.Evictions)
			}
			if s := stats(t, c); s.Tier.Loads > 0 {
				t.Errorf("it was loaded %d times", s.Tier.Loads)
			}
		})
	}
}

// TestOneLoad: many who read one cold entry cause one load.
func TestOneLoad(t *testing.T) {
	t.Parallel()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{MaxEntries: 1, Store: "cold"})
	put(t, c, "a", "value of a")
	put(t, c, "b", "")
	if stats(t, c).Cold != 1 {
		t.Fatal("none is cold")
	}
	n.store.Hang()
	const readers = 20
	got := make(chan error, readers)
	for range readers {
		go func() {
			e, err := c.Get(t.Context(), "a")
			if err == nil && string(e.Value) != "value of a" {
				err = fmt.Errorf("got %q", e.Value)
			}
			got <- err
		}()
	}
	time.Sleep(50 * time.Millisecond) // most of them wait by now; those that come later find it in memory
	n.store.Up()
	for range readers {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	if s := stats(t, c); s.Tier.Loads != 1 {
		t.Errorf("%d loads", s.Tier.Loads)
	}
}

// TestLoadDoesNotWait: a cold entry is given out before it is back in memory, and those who read it meanwhile get it of the same load.
func TestLoadDoesNotWait(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	n := open(t, setup{bug: cold.HoldBack(release), cold: cold.Config{Wait: time.Minute}})
	c := cache(t, n, grid.CacheConfig{MaxEntries: 1, Store: "cold"})
	put(t, c, "a", "value of a")
	put(t, c, "b", "")
	for range 3 {
		e := get(t, c, "a")
		if string(e.Value) != "value of a" {
			t.Fatalf("got %q", e.Value)
		}
		e.Value[0] = 'x' // it belongs to who got it
	}
	if _, hot := c.Resident("a"); hot {
		t.Error("it is back before it may be")
	}
	if s := stats(t, c); s.Tier.Loads != 1 {
		t.Errorf("%d loads", s.Tier.Loads)
	}
	close(release)
	eventually(t, "it is back", func() bool {
		if e := get(t, c, "a"); string(e.Value) != "value of a" {
			t.Fatalf("%q came back", e.Value)
		}
		_, hot := c.Resident("a")
		return hot
	})
}

// TestStoreDown: puts go on until a limit, then wait, then fail; what is in memory is read; nothing is lost.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*faultstore.Store){"down": (*faultstore.Store).Down, "hangs": (*faultstore.Store).Hang} {
		for limit, s := range map[string]setup{
			"entries": {cold: cold.Config{Wait: 100 * time.Millisecond}},
			"lag":     {cold: cold.Config{Wait: 100 * time.Millisecond}, limits: cold.Store{MaxLagEntries: 10}},
			"time":    {cold: cold.Config{Wait: 100 * time.Millisecond}, limits: cold.Store{MaxLag: 200 * time.Millisecond}},
		} {
			t.Run(name+" "+limit, func(t *testing.T) {
				n := open(t, s)
				config := grid.CacheConfig{Store: "cold"}
				if limit == "entries" {
					config.MaxEntries = 20
				}
				c := cache(t, n, config)
				put(t, c, "first", "value of first")
				eventually(t, "the store has it", func() bool { return stats(t, c).Tier.LagEntries == 0 })
				fault(n.store)
				stored := map[string]bool{"first": true}
				var err error
				for i := 0; err == nil && i < 1_000_000; i++ {
					key := fmt.Sprint(i)
					if _, err = c.Put(t.Context(), key, []byte("value of "+key), grid.PutOptions{}); err == nil {
						stored[key] = true
					}
				}
				if !errors.Is(err, grid.ErrFull) {
					t.Fatalf("after %d puts: %v", len(stored), err)
				}
				t.Log(err)
				if e := get(t, c, "0"); string(e.Value) != "value of 0" {
					t.Errorf("got %q", e.Value)
				}
				if _, err := c.Delete(t.Context(), "0", grid.DeleteOptions{}); err != nil {
					t.Errorf("removal: %v", err)
				}
				delete(stored, "0")
				n.store.Up()
				key := "after"
				eventually(t, "puts work again", func() bool {
					_, err := c.Put(t.Context(), key, []byte("value of "+key), grid.PutOptions{})
					return err == nil
				})
				stored[key] = true
				eventually(t, "the store has everything", func() bool { return stats(t, c).Tier.LagEntries == 0 })
				if i, err := n.store.Stat(t.Context(), "c", "0"); err == nil {
					t.Errorf("the store has what was removed: %+v", i)
				}
				for key := range stored {
					if e := get(t, c, key); string(e.Value) != "value of "+key {
						t.Errorf("%s is %q", key, e.Value)
					}
				}
			})
		}
	}
}

// TestPausedReader: a full cache whose reader stands still takes no more; once the reader goes on, it gets every entry.
func TestPausedReader(t *testing.T) {
	t.Parallel()
	for _, evict := range []grid.Evict{grid.EvictStore, grid.EvictDrop} {
		t.Run(string(evict), func(t *testing.T) {
			ctx := t.Context()
			n := open(t, setup{cold: cold.Config{Wait: 100 * time.Millisecond}})
			config := grid.CacheConfig{MaxEntries: 10, Evict: evict}
			if evict == grid.EvictStore {
				config.Store = "cold"
			}
			c := cache(t, n, config)
			r, err := n.Read(ctx, grid.ReaderConfig{Name: "pipeline", Cache: "c"})
			if err != nil {
				t.Fatal(err)
			}
			stored := make(map[string]grid.Revision)
			for i := 0; err == nil; i++ {
				key := fmt.Sprint(i)
				var rev grid.Revision
				if rev, err = c.Put(ctx, key, []byte(key), grid.PutOptions{}); err == nil {
					stored[key] = rev
				}
			}
			if !errors.Is(err, grid.ErrFull) {
				t.Fatalf("after %d puts: %v", len(stored), err)
			}
			eventually(t, "it says what stands in the way", func() bool {
				_, err := c.Put(ctx, "more", nil, grid.PutOptions{})
				return errors.Is(err, grid.ErrFull) && strings.Contains(err.Error(), "readers")
			})
			if len(stored) != 10 {
				t.Errorf("%d puts", len(stored))
			}
			waits := make(chan error)
			go func() { // within the wait of a put the reader goes on
				for {
					_, err := c.Put(ctx, "more", nil, grid.PutOptions{})
					if !errors.Is(err, grid.ErrFull) {
						waits <- err
						return
					}
				}
			}()
			for len(stored) > 0 {
				changes, err := r.Next(ctx, 3)
				if err != nil {
					t.Fatal(err)
				}
				for _, change := range changes {
					if change.Type == grid.Updated && change.Entry.Revision == stored[change.Entry.Key] && string(change.Entry.Value) == change.Entry.Key {
						delete(stored, change.Entry.Key)
					}
				}
				r.Done(changes)
			}
			if err := <-waits; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDrop: without a store what leaves memory is gone, with its event.
func TestDrop(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{MaxEntries: 10, Evict: grid.EvictDrop, Policy: grid.PolicyLRU})
	l, err := c.Listen(ctx, grid.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 30 {
		put(t, c, fmt.Sprint(i), "")
	}
	if s := stats(t, c); s.Entries > 10 || s.Evicted != uint64(30-s.Entries) || s.Cold != 0 {
		t.Errorf("statistics %+v", s)
	}
	evicted := 0
	for evicted < 20 {
		e, err := l.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == grid.Expired {
			if e.Reason != grid.ReasonEvicted {
				t.Errorf("event %+v", e)
			}
			evicted++
		}
	}
	if _, err := c.Get(ctx, "0"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("get the oldest: %v", err)
	}
}

// TestFormerStore: a cache that has a store no more does not wait for it.
func TestFormerStore(t *testing.T) {
	t.Parallel()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{Store: "cold"})
	put(t, c, "before", "")
	eventually(t, "the store has it", func() bool { return stats(t, c).Tier.LagEntries == 0 })
	if err := n.UpdateCache(t.Context(), grid.CacheConfig{Name: "c", MaxEntries: 3, Evict: grid.EvictDrop}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		put(t, c, fmt.Sprint(i), "")
	}
	if s := stats(t, c); s.Entries > 3 || s.Evicted < 8 {
		t.Errorf("statistics %+v", s)
	}
}

// TestRefuse: a cache that wants neither refuses at once.
func TestRefuse(t *testing.T) {
	t.Parallel()
	n := open(t, setup{cold: cold.Config{Wait: time.Hour}})
	c := cache(t, n, grid.CacheConfig{MaxEntries: 2, Store: "cold", Evict: grid.EvictRefuse})
	put(t, c, "a", "")
	put(t, c, "b", "")
	if _, err := c.Put(t.Context(), "c", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrFull) {
		t.Errorf("third put: %v", err)
	}
	put(t, c, "a", "again")
	small := cache(t, n, grid.CacheConfig{Name: "small", MaxBytes: 10, Store: "cold"})
	if _, err := small.Put(t.Context(), "c", make([]byte, 11), grid.PutOptions{}); !errors.Is(err, grid.ErrFull) {
		t.Errorf("a value that never fits: %v", err)
	}
}

// TestNodeLimit: all caches together keep to what the node may have.
func TestNodeLimit(t *testing.T) {
	t.Parallel()
	n := open(t, setup{cold: cold.Config{MaxEntries: 40}})
	a, b := cache(t, n, grid.CacheConfig{Name: "a", Store: "cold"}), cache(t, n, grid.CacheConfig{Name: "b", Store: "cold"})
	free := cache(t, n, grid.CacheConfig{Name: "free"})
	for i := range 60 {
		put(t, a, fmt.Sprint(i), "a")
		put(t, free, fmt.Sprint(i), "")
	}
	for i := range 60 {
		put(t, b, fmt.Sprint(i), "b")
	}
	if n := inMemory(t, a) + inMemory(t, b); n > 40 || n == 0 {
		t.Errorf("%d entries in memory", n)
	}
	if n := inMemory(t, free); n != 60 {
		t.Errorf("%d entries of the other cache", n)
	}
	for i := range 60 {
		if e := get(t, a, fmt.Sprint(i)); string(e.Value) != "a" {
			t.Errorf("got %q", e.Value)
		}
	}
}

// TestThrough: a put is answered when the store has it; deletes too.
func TestThrough(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{Store: "cold", Write: grid.WriteThrough})
	rev := put(t, c, "k", "value")
	if e, err := n.store.Get(ctx, "c", "k"); err != nil || string(e.Value) != "value" || e.Revision != uint64(rev) {
		t.Errorf("the store has %+v, %v", e, err)
	}
	var puts []grid.Put
	for i := range 100 {
		puts = append(puts, grid.Put{Key: fmt.Sprint(i), Value: []byte("many")})
	}
	results, err := c.PutBatch(ctx, puts)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if e, err := n.store.Get(ctx, "c", fmt.Sprint(i)); r.Err != nil || err != nil || e.Revision != uint64(r.Revision) {
			t.Errorf("%+v: the store has %+v, %v", r, e, err)
		}
	}
	if _, err := c.Delete(ctx, "k", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if i, err := n.store.Stat(ctx, "c", "k"); err == nil {
		t.Errorf("the store has %+v", i)
	}
	n.store.Down()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := c.Put(short, "k", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrUnavailable) {
		t.Errorf("put while the store is down: %v", err)
	}
}

// TestRestart: what was not in the store goes there after a restart, and what was cold comes back.
func TestRestart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{grid: grid.Config{Dir: t.TempDir()}, store: faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})}
	n, err := start(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	c := cache(t, n, grid.CacheConfig{MaxEntries: 5, Store: "cold"})
	for i := range 20 {
		put(t, c, fmt.Sprint(i), fmt.Sprint("value of ", i))
	}
	s.store.Down()
	put(t, c, "19", "not stored")
	if _, err := c.Delete(ctx, "0", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n.stop(ctx); err != nil {
		t.Fatal(err)
	}
	n = open(t, s)
	c = cache(t, n, grid.CacheConfig{MaxEntries: 5, Store: "cold"})
	if s := stats(t, c); s.Entries != 19 || s.Cold < 14 {
		t.Errorf("statistics %+v", s)
	}
	eventually(t, "the store has what was put and what was removed", func() bool {
		e, err := s.store.Get(ctx, "c", "19")
		_, gone := s.store.Get(ctx, "c", "0")
		return err == nil && string(e.Value) == "not stored" && gone != nil
	})
	for i := 1; i < 19; i++ {
		if e := get(t, c, fmt.Sprint(i)); string(e.Value) != fmt.Sprint("value of ", i) {
			t.Errorf("%d is %q", i, e.Value)
		}
	}
}

// TestForeignStore: the store of one grid is not another's.
func TestForeignStore(t *testing.T) {
	t.Parallel()
	s := setup{store: faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})}
	open(t, s)
	if n, err := start(t.Context(), s); !errors.Is(err, cold.ErrForeign) {
		t.Errorf("started: %v, %v", n, err)
	}
}

// TestNoSuchStore: a cache names a store that this node does not have.
func TestNoSuchStore(t *testing.T) {
	t.Parallel()
	n := open(t, setup{})
	err := n.CreateCache(t.Context(), grid.CacheConfig{Name: "c", Store: "warm"})
	if !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "cold") {
		t.Errorf("%v", err)
	}
}

// TestDeletedCache: the store forgets a deleted cache, and not what is put into one of the same name.
func TestDeletedCache(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := open(t, setup{})
	config := grid.CacheConfig{Name: "c", MaxEntries: 5, Store: "cold"}
	c := cache(t, n, config)
	for i := range 20 {
		put(t, c, fmt.Sprint(i), "old")
	}
	if err := n.DeleteCache(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	c = cache(t, n, config)
	for i := range 10 {
		put(t, c, fmt.Sprint(i), "new")
	}
	eventually(t, "the store has the new ones alone", func() bool {
		new := 0
		for i := range 20 {
			e, err := n.store.Get(ctx, "c", fmt.Sprint(i))
			switch {
			case err == nil && string(e.Value) == "old":
				return false
			case err == nil:
				new++
			}
		}
		return new == 10
	})
	for i := range 10 {
		if e := get(t, c, fmt.Sprint(i)); string(e.Value) != "new" {
			t.Errorf("got %q", e.Value)
		}
	}
}

func TestValidate(t *testing.T) {
	_, err := cold.New(cold.Config{MaxEntries: -1, MaxBytes: -1, Wait: -1, Stores: map[string]cold.Store{"s": {MaxLag: -1}}, Logger: slog.Default()})
	for _, want := range []string{"max_entries", "max_bytes", "wait", "stores.s: is not open", "stores.s.max_lag"} {
		if !errors.Is(err, cold.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}
