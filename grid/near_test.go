package grid_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// nearAll keeps everything.
var nearAll = grid.NearConfig{MaxEntries: 10000, Staleness: time.Hour}

// nearHits returns how many gets the near cache answered on a node.
func nearHits(t testing.TB, c *grid.Cache) uint64 {
	t.Helper()
	s, err := c.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Near == nil {
		t.Fatalf("%s has no near cache", c.Name())
	}
	return s.Near.Hits
}

// keep reads a key until the near cache answers for it, and returns the value.
func keep(t testing.TB, c *grid.Cache, key string) (value string) {
	t.Helper()
	eventually(t, "the near cache answers for "+key, func() bool {
		before := nearHits(t, c)
		e, err := c.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		value = string(e.Value)
		return nearHits(t, c) > before
	})
	return value
}

// eitherWay runs a test on a node of its own, and on two nodes of which the first owns everything.
func eitherWay(t *testing.T, run func(t *testing.T, owner, other *grid.Grid)) {
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		g := open(t, grid.Config{InMemory: true, Partitions: 1})
		run(t, g, g)
	})
	t.Run("two nodes", func(t *testing.T) {
		t.Parallel()
		cfg := grid.Config{URL: natstest.URL(t), Partitions: 1}
		run(t, open(t, cfg), open(t, cfg))
	})
}

// TestNearSeesChanges: whatever changes an entry, on this node or on another one, has the near cache drop it.
func TestNearSeesChanges(t *testing.T) {
	t.Parallel()
	eitherWay(t, func(t *testing.T, owner, other *grid.Grid) {
		ctx := t.Context()
		both := onEach(t, []*grid.Grid{owner, other}, grid.CacheConfig{Name: "c", Near: nearAll})
		for _, test := range []struct {
			name   string
			change func(c *grid.Cache, key string, rev grid.Revision) error
			want   string // "" for nothing
		}{
			{"put", func(c *grid.Cache, key string, _ grid.Revision) error {
				_, err := c.Put(ctx, key, []byte("new"), grid.PutOptions{})
				return err
			}, "new"},
			{"conditional put", func(c *grid.Cache, key string, rev grid.Revision) error {
				_, err := c.Put(ctx, key, []byte("new"), grid.PutOptions{IfRevision: rev})
				return err
			}, "new"},
			{"batch", func(c *grid.Cache, key string, _ grid.Revision) error {
				results, err := c.PutBatch(ctx, []grid.Put{{Key: key, Value: []byte("new")}, {Key: key + "x"}})
				return errors.Join(err, results[0].Err)
			}, "new"},
			{"removal", func(c *grid.Cache, key string, _ grid.Revision) error {
				_, err := c.Delete(ctx, key, grid.DeleteOptions{})
				return err
			}, ""},
			{"clear", func(c *grid.Cache, _ string, _ grid.Revision) error { return c.Clear(ctx) }, ""},
		} {
			for reader, c := range both {
				for writer, by := range both {
					key := fmt.Sprint(test.name, reader, writer)
					rev, err := c.Put(ctx, key, []byte("old"), grid.PutOptions{Labels: map[string]string{"a": "b"}})
					if err != nil {
						t.Fatal(err)
					}
					if got := keep(t, c, key); got != "old" {
						t.Fatalf("%s: the near cache has %q", key, got)
					}
					if err := test.change(by, key, rev); err != nil {
						t.Fatal(err)
					}
					is := func() bool {
						e, err := c.Get(ctx, key)
						if err != nil && !errors.Is(err, grid.ErrNotFound) {
							t.Fatal(err)
						}
						return string(e.Value) == test.want && (err == nil) == (test.want != "")
					}
					if reader == writer && !is() {
						t.Errorf("%s: the node does not see its own write", key)
					}
					eventually(t, key+" is seen", is)
				}
			}
		}
	})
}

// TestNearOfWhatIsInAStore: a value that goes to the store, comes back or is replaced meanwhile is answered as it is.
func TestNearOfWhatIsInAStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAttic()
	c := cache(t, open(t, grid.Config{InMemory: true, Tiers: a}), grid.CacheConfig{Name: "c", Store: "attic", Near: nearAll})
	for _, value := range []string{"one", "two", "three"} {
		rev, err := c.Put(ctx, "k", []byte(value), grid.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		keep(t, c, "k")
		mustShelve(t, a.of("c"), "k")
		before := nearHits(t, c)
		if e, err := c.Get(ctx, "k"); err != nil || string(e.Value) != value || e.Revision != rev {
			t.Errorf("after it went to the store: %+v, %v", e, err)
		}
		if nearHits(t, c) == before {
			t.Error("a move to the store had the near cache drop the entry")
		}
		wantCold(t, c, 1, 1)
	}
	// One that is first read when it is in the store.
	if _, err := c.Put(ctx, "cold", []byte("cold"), grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	mustShelve(t, a.of("c"), "cold")
	if got := keep(t, c, "cold"); got != "cold" {
		t.Errorf("what came from the store: %q", got)
	}
	if _, err := c.Delete(ctx, "cold", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "cold"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
}

// TestNearGivesCopies: what a get returned belongs to who called it.
func TestNearGivesCopies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := cache(t, open(t, grid.Config{InMemory: true, Partitions: 1}), grid.CacheConfig{Name: "c", Near: nearAll})
	if _, err := c.Put(ctx, "k", []byte("value"), grid.PutOptions{Labels: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		keep(t, c, "k")
		e, err := c.Get(ctx, "k")
		if err != nil || string(e.Value) != "value" || e.Labels["a"] != "b" {
			t.Fatalf("%+v, %v", e, err)
		}
		e.Value[0], e.Labels["a"] = 'x', "x"
	}
}

// TestNearEntriesEnd: by their lifespan, and by their idle time, which a near hit extends.
func TestNearEntriesEnd(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var ahead atomic.Int64
	g := open(t, grid.Config{InMemory: true, Partitions: 1, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	c := cache(t, g, grid.CacheConfig{Name: "c", Near: nearAll})
	for key, o := range map[string]grid.PutOptions{"lifespan": {Lifespan: time.Hour}, "idle": {MaxIdle: time.Hour}, "used": {MaxIdle: time.Hour}} {
		if _, err := c.Put(ctx, key, []byte(key), o); err != nil {
			t.Fatal(err)
		}
		keep(t, c, key)
	}
	ahead.Store(int64(50 * time.Minute))
	before := nearHits(t, c)
	if _, err := c.Get(ctx, "used"); err != nil || nearHits(t, c) == before {
		t.Fatalf("the near cache does not answer: %v", err)
	}
	ahead.Store(int64(70 * time.Minute))
	for key, want := range map[string]error{"lifespan": grid.ErrNotFound, "idle": grid.ErrNotFound, "used": nil} {
		if _, err := c.Get(ctx, key); !errors.Is(err, want) {
			t.Errorf("%s after its time: %v, want %v", key, err, want)
		}
	}
}

// TestNearOfACacheMadeAgain: nothing of a deleted cache is in one of the same name, on other nodes either.
func TestNearOfACacheMadeAgain(t *testing.T) {
	t.Parallel()
	eitherWay(t, func(t *testing.T, owner, other *grid.Grid) {
		ctx := t.Context()
		config := grid.CacheConfig{Name: "c", Near: nearAll}
		both := onEach(t, []*grid.Grid{owner, other}, config)
		if _, err := both[0].Put(ctx, "k", []byte("old"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		keep(t, both[1], "k")
		grid.Forget(ctx, t, owner, "c")
		eventually(t, "what was purged is answered no more", func() bool {
			_, err := both[1].Get(ctx, "k")
			return errors.Is(err, grid.ErrNotFound)
		})
		if _, err := both[0].Put(ctx, "k", []byte("old"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		keep(t, both[1], "k")
		if err := owner.DeleteCache(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		if err := owner.CreateCache(ctx, config); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other node has the new cache, and nothing of the old one", func() bool {
			c, err := other.Cache(ctx, "c")
			if err != nil {
				return false
			}
			_, err = c.Get(ctx, "k")
			return errors.Is(err, grid.ErrNotFound)
		})
	})
}

// TestNearIsBounded (invariant 9): by entries, or by bytes, whatever is read; what it takes is told.
func TestNearIsBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	for name, near := range map[string]grid.NearConfig{"entries": {MaxEntries: 100}, "bytes": {MaxBytes: 1 << 20}} {
		c := cache(t, g, grid.CacheConfig{Name: name, Near: near})
		var puts []grid.Put
		for i := range 200 {
			puts = append(puts, grid.Put{Key: strconv.Itoa(i), Value: make([]byte, 10000)})
		}
		if _, err := c.PutBatch(ctx, puts); err != nil {
			t.Fatal(err)
		}
		keep(t, c, "0")
		for range 3 {
			for _, p := range puts {
				if _, err := c.Get(ctx, p.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := c.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", name, *s.Near)
		if s.Near.Entries == 0 || near.MaxEntries > 0 && s.Near.Entries > 100 || near.MaxBytes > 0 && s.Near.Bytes > near.MaxBytes {
			t.Errorf("%s: %+v", name, *s.Near)
		}
		if each := s.Near.Bytes / int64(s.Near.Entries); each < 10000 || each > 11000 {
			t.Errorf("%s: %d bytes an entry", name, each)
		}
		if err := c.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		if s, err = c.Stats(ctx); err != nil || s.Near.Entries != 0 || s.Near.Bytes != 0 {
			t.Errorf("%s after clear: %+v, %v", name, *s.Near, err)
		}
		// It is altered while it is used, and can be given up.
		if err := g.UpdateCache(ctx, grid.CacheConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
		if s, err = c.Stats(ctx); err != nil || s.Near != nil {
			t.Errorf("%s: a near cache that was given up: %+v, %v", name, s.Near, err)
		}
	}
	var invalid grid.CacheConfig
	for _, invalid.Near = range []grid.NearConfig{
		{MaxEntries: -1}, {MaxBytes: -1}, {MaxEntries: 1, MaxBytes: 1}, {Staleness: time.Second}, {MaxEntries: 1, Staleness: time.Millisecond},
		{MaxEntries: 1, Staleness: 2 * time.Hour},
	} {
		if invalid.Name = "c"; !errors.Is(invalid.Validate(), grid.ErrConfig) {
			t.Errorf("%+v is taken", invalid.Near)
		}
	}
}

// TestNearWithoutTheServer: a node that has lost the server answers from its near cache, for as long as the setting says and no longer.
func TestNearWithoutTheServer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const staleness = 4 * time.Second // longer than a stop of the server takes
	s := natstest.Start(t, natstest.MaxPayload)
	cfg := grid.Config{URL: s.URL(), Partitions: 1, Timeout: 3 * time.Second}
	for i, c := range onEach(t, []*grid.Grid{open(t, cfg), open(t, cfg)}, grid.CacheConfig{Name: "c", Near: grid.NearConfig{MaxEntries: 10, Staleness: staleness}}) {
		if i == 0 {
			if _, err := c.Put(ctx, "k", []byte("v"), grid.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			keep(t, c, "k")
			continue
		}
		keep(t, c, "k")
		s.Stop()
		stopped := time.Now()
		var last time.Time // when a get began that was answered
		hits := 0
		eventually(t, "the near cache gives up", func() bool {
			began := time.Now()
			if _, err := c.Get(ctx, "k"); err != nil {
				return true
			}
			hits++
			last = began
			return false
		})
		t.Logf("%d answers, the last %v after the stop", hits, last.Sub(stopped))
		if last.Sub(stopped) > staleness {
			t.Errorf("an answer %v after the server stopped, at most %v", last.Sub(stopped), staleness)
		}
		if hits == 0 {
			t.Error("no answer at all")
		}
	}
}

// TestNearIsNeverOlder puts, reads and removes from two nodes, each of which owns half, with near caches on both. No get is older than the setting says;
// each node sees what it wrote; values never go back.
func TestNearIsNeverOlder(t *testing.T) {
	t.Parallel()
	const staleness = 200 * time.Millisecond
	const keys, workers, rounds = 6, 3, 200
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 4})
	both := onEach(t, all, grid.CacheConfig{Name: "c", Near: grid.NearConfig{MaxEntries: 100, Staleness: staleness}})
	// What was acknowledged of each key: its revisions with the moment, in their order. One writer a key at a time.
	type write struct {
		rev   grid.Revision
		at    time.Time
		there bool
	}
	var history [keys]struct {
		mu     sync.Mutex
		own    [2]grid.Revision // the last by each node
		writes []write
	}
	var work sync.WaitGroup
	for node, c := range both {
		for worker := range workers {
			work.Go(func() {
				ctx := t.Context()
				random := rand.New(rand.NewPCG(uint64(node), uint64(worker)))
				var seen [keys]grid.Revision
				for round := range rounds {
					i := random.IntN(keys)
					h, key := &history[i], fmt.Sprint("key", i)
					if what := random.IntN(20); what < 2 {
						h.mu.Lock()
						var rev grid.Revision
						var err error
						if what == 0 {
							rev, err = c.Put(ctx, key, fmt.Appendf(nil, "%d %d", node, round), grid.PutOptions{})
						} else if rev, err = c.Delete(ctx, key, grid.DeleteOptions{}); errors.Is(err, grid.ErrNotFound) {
							h.mu.Unlock()
							continue
						}
						if err != nil {
							t.Error(err)
						}
						h.writes = append(h.writes, write{rev, time.Now(), what == 0})
						h.own[node] = rev
						h.mu.Unlock()
						continue
					}
					h.mu.Lock()
					own := h.own[node]
					h.mu.Unlock()
					began := time.Now()
					e, err := c.Get(ctx, key)
					if err != nil && !errors.Is(err, grid.ErrNotFound) {
						t.Error(err)
						continue
					}
					h.mu.Lock()
					least := write{rev: 0}
					for _, w := range h.writes { // the last one that it has to see
						if began.Sub(w.at) >= staleness || w.rev == own {
							least = w
						}
					}
					h.mu.Unlock()
					if err == nil && e.Revision < max(least.rev, seen[i]) {
						t.Errorf("node %d read revision %d of %s, which must be %d at least; it saw %d", node, e.Revision, key, least.rev, seen[i])
					}
					if err != nil && least.there && least.rev == own {
						// Nothing is right only where it was removed since.
						h.mu.Lock()
						last := h.writes[len(h.writes)-1]
						h.mu.Unlock()
						if last == least {
							t.Errorf("node %d does not see its own put of %s", node, key)
						}
					}
					if err == nil {
						seen[i] = e.Revision
					}
				}
			})
		}
	}
	work.Wait()
	for node, c := range both {
		s, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("node %d: %+v", node, *s.Near)
		if s.Near.Hits == 0 {
			t.Errorf("the near cache of node %d never answered", node)
		}
	}
}

func BenchmarkGetNear(b *testing.B) {
	c := cache(b, open(b, grid.Config{Dir: b.TempDir()}), grid.CacheConfig{Name: "digits", Near: nearAll})
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		if _, err := c.Put(b.Context(), keys[i], bytes.Clone(value), grid.PutOptions{ContentType: "image/png"}); err != nil {
			b.Fatal(err)
		}
		keep(b, c, keys[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Get(b.Context(), keys[i%1000]); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNearInCluster: in a cluster of nodes too, one that does not own a partition answers gets of it from its near cache, also one that keeps nothing of the grid; and never
// what was replaced longer ago than the cache says.
func TestNearInCluster(t *testing.T) {
	t.Parallel()
	const staleness = 10 * time.Second
	configs := clusterConfigs(t, 4)
	configs[3].Cluster.Roles = []grid.Role{grid.RoleDoor}
	all := openAll(t, configs)
	even(t, all[:3])
	caches := onEach(t, all, grid.CacheConfig{Name: "c", Near: grid.NearConfig{MaxEntries: 100, Staleness: staleness}})
	key := ownedBy(t, all[0], "k")
	put(t, caches[0], key, "old")
	for _, i := range []int{1, 3} {
		eventually(t, fmt.Sprint("node ", i, " answers from its near cache"), func() bool {
			if e, err := caches[i].Get(t.Context(), key); err != nil || string(e.Value) != "old" {
				t.Fatalf("node %d: %s, %v", i, e.Value, err)
			}
			s, err := caches[i].Stats(t.Context())
			return err == nil && s.Near.Hits > 0
		})
	}
	put(t, caches[0], key, "new")
	replaced := time.Now()
	for _, i := range []int{1, 3} {
		eventually(t, fmt.Sprint("node ", i, " has what is new"), func() bool {
			asked := time.Now()
			e, err := caches[i].Get(t.Context(), key)
			if err != nil || string(e.Value) != "new" && asked.Sub(replaced) > staleness {
				t.Fatalf("node %d, %v after the put: %s, %v", i, asked.Sub(replaced), e.Value, err)
			}
			return string(e.Value) == "new"
		})
	}
}
