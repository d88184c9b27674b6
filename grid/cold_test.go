package grid_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

var stored = grid.CacheConfig{Name: "c", Store: "attic"}

// sameEntry compares what a client sees of an entry.
func sameEntry(t *testing.T, want, got grid.Entry) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(grid.Entry{}), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("entry changed (-before +after):\n%s", diff)
	}
}

func get(t *testing.T, c *grid.Cache, key string) grid.Entry {
	t.Helper()
	e, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// cold returns how many entries of a cache, of how many, are cold.
func cold(t *testing.T, c *grid.Cache) (cold, of int64) {
	t.Helper()
	s, err := c.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Cold, s.Entries
}

func wantCold(t *testing.T, c *grid.Cache, wantCold, wantOf int64) {
	t.Helper()
	if n, of := cold(t, c); n != wantCold || of != wantOf {
		t.Errorf("%d of %d entries are cold, want %d of %d", n, of, wantCold, wantOf)
	}
}

// TestColdEntry: a value that went to a store and came back is the same entry for everybody, and nobody gets an event.
func TestColdEntry(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAttic()
	g := open(t, grid.Config{InMemory: true, Tiers: a})
	c := cache(t, g, stored)
	l, err := c.Listen(ctx, grid.ListenOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	options := grid.PutOptions{ContentType: "text/plain", Labels: map[string]string{"a": "b"}, Lifespan: time.Hour, MaxIdle: 30 * time.Minute}
	rev, err := c.Put(ctx, "k", []byte("value"), options)
	if err != nil {
		t.Fatal(err)
	}
	before := get(t, c, "k")
	next(t, l)
	r.Done(take(t, r, 1))

	for range 2 {
		mustShelve(t, a.of("c"), "k")
		wantCold(t, c, 1, 1)
		if s, err := c.Stats(ctx); err != nil || s.Bytes != 5 || s.ColdBytes != 5 || s.Tier == nil || s.Tier.Loads != 7 {
			t.Errorf("statistics %+v, %v", s, err)
		}
		if got := a.of("c").inMemory(); len(got) != 0 {
			t.Errorf("in memory: %q", got)
		}
		if _, err := c.Create(ctx, "k", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrExists) {
			t.Errorf("create over a cold entry: %v", err)
		}
		if _, err := c.Put(ctx, "k", nil, grid.PutOptions{IfRevision: rev + 1}); !errors.Is(err, grid.ErrRevision) {
			t.Errorf("put on another revision: %v", err)
		}
		for e, err := range c.List(ctx, grid.ListOptions{KeysOnly: true}) {
			if err != nil || e.Key != "k" || e.Revision != rev {
				t.Errorf("listed %+v, %v", e, err)
			}
		}
		for e, err := range c.List(ctx, grid.ListOptions{}) {
			if err != nil {
				t.Error(err)
			}
			sameEntry(t, before, e)
		}
		bare := before
		bare.Value = nil
		wantInfo := func(what string, i grid.Info, err error) {
			t.Helper()
			if err != nil || i.Size != 5 || !i.Cold {
				t.Errorf("%s: %+v, %v", what, i, err)
			}
			sameEntry(t, bare, i.Entry)
		}
		i, err := c.Stat(ctx, "k")
		wantInfo("stat", i, err)
		for i, err := range c.ListInfo(ctx, grid.ListOptions{}) {
			wantInfo("listed", i, err)
		}
		newest, err := c.Newest(ctx, "", 10)
		if len(newest) != 1 {
			t.Fatalf("newest: %v, %v", newest, err)
		}
		wantInfo("newest", newest[0], err)
		i, err = c.GetIf(ctx, "k", func(i grid.Info) bool { wantInfo("asked", i, nil); return false })
		wantInfo("not wanted", i, err)
		wantCold(t, c, 1, 1) // none of that needs the value in memory
		peeked, err := c.Peek(ctx, "k")
		if err != nil {
			t.Error(err)
		}
		sameEntry(t, before, peeked)
		wantCold(t, c, 1, 1) // it stays where it is
		sameEntry(t, before, get(t, c, "k"))
		wantCold(t, c, 0, 1)
		sameEntry(t, before, get(t, c, "k"))
		if diff := cmp.Diff([]string{"k"}, a.of("c").inMemory()); diff != "" {
			t.Error(diff)
		}
	}
	mustShelve(t, a.of("c"), "k")
	for e, err := range c.GetMany(ctx, []string{"x", "k"}) {
		if err != nil {
			t.Error(err)
		}
		sameEntry(t, before, e)
	}
	mustShelve(t, a.of("c"), "k")
	second, err := c.Put(ctx, "k", []byte("second"), grid.PutOptions{IfRevision: rev})
	if err != nil {
		t.Fatal(err)
	}
	// Twice each round from the store and from memory, and GetMany once from the store.
	s, err := c.Stats(ctx)
	if rate, ok := s.HitRate(); err != nil || s.ColdHits != 3 || s.Misses != 1 || !ok || rate != float64(s.Hits-3)/float64(s.Hits+1) {
		t.Errorf("statistics %+v, %v", s, err)
	}
	if e := next(t, l); e.Type != grid.Updated || e.Entry.Revision != second {
		t.Errorf("event %+v, want that of the second put", e)
	}
	if changes := take(t, r, 9); len(changes) != 1 || changes[0].Entry.Revision != second {
		t.Errorf("changes %+v", changes)
	} else {
		r.Done(changes)
	}
	mustShelve(t, a.of("c"), "k")
	if _, err := c.Delete(ctx, "k", grid.DeleteOptions{IfRevision: second}); err != nil {
		t.Error(err)
	}
	if e := next(t, l); e.Type != grid.Removed {
		t.Errorf("event %+v, want the removal", e)
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("get after removal: %v", err)
	}
	wantCold(t, c, 0, 0)
}

// TestColdRestart: what was cold is cold after a restart, with all that is known of it.
func TestColdRestart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAttic()
	cfg := grid.Config{Dir: t.TempDir(), Tiers: a}
	g := open(t, cfg)
	c := cache(t, g, stored)
	var before []grid.Entry
	for _, key := range []string{"a", "b", "c"} {
		if _, err := c.Put(ctx, key, []byte("value of "+key), grid.PutOptions{ContentType: "text/plain", Lifespan: time.Hour}); err != nil {
			t.Fatal(err)
		}
		before = append(before, get(t, c, key))
	}
	mustShelve(t, a.of("c"), "a", "b")
	get(t, c, "b")
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	a = a.beside()
	cfg.Tiers = a
	g = open(t, cfg)
	c = cache(t, g, stored)
	wantCold(t, c, 1, 3)
	if diff := cmp.Diff([]string{"b", "c"}, a.of("c").inMemory()); diff != "" {
		t.Error(diff)
	}
	for _, want := range before {
		sameEntry(t, want, get(t, c, want.Key))
	}
	wantCold(t, c, 0, 3)
	mustShelve(t, a.of("c"), "a", "c")
	if err := c.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	wantCold(t, c, 0, 0)
}

// TestColdForOthers: another client of the stream finds nothing at the key of a cold entry, and can write it.
func TestColdForOthers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAttic()
	url := natstest.URL(t)
	g := open(t, grid.Config{URL: url, Partitions: 1, Tiers: a})
	c := cache(t, g, stored)
	put(t, c, "k", "value")
	mustShelve(t, a.of("c"), "k")
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(ctx, grid.Bucket("millrace", grid.Durable, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(ctx, "c.k"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("get: %v", err)
	}
	if _, err := kv.PutString(ctx, "c.k", "other"); err != nil {
		t.Fatal(err)
	}
	if e := get(t, c, "k"); string(e.Value) != "other" {
		t.Errorf("got %q", e.Value)
	}
}

// TestColdOnOtherNodes: a node that does not own the partition sees cold entries as the owner does, and loads through it.
func TestColdOnOtherNodes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	first := newAttic()
	second := first.beside()
	url := natstest.URL(t)
	one := open(t, grid.Config{URL: url, Partitions: 2, Tiers: first})
	c1 := cache(t, one, stored)
	two := open(t, grid.Config{URL: url, Partitions: 2, Tiers: second})
	spread(t, []*grid.Grid{one, two})
	c2, err := two.Cache(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	key := ownedBy(t, one, "k")
	rev := put(t, c2, key, "value")
	before := get(t, c1, key)
	mustShelve(t, first.of("c"), key)
	wantCold(t, c2, 1, 1)
	if _, err := c2.Create(ctx, key, nil, grid.PutOptions{}); !errors.Is(err, grid.ErrExists) {
		t.Errorf("create over a cold entry: %v", err)
	}
	sameEntry(t, before, get(t, c2, key))
	if n := first.shelf.loaded(); n != 1 {
		t.Errorf("%d loads", n)
	}
	wantCold(t, c2, 0, 1)
	if diff := cmp.Diff([]string{key}, first.of("c").inMemory()); diff != "" {
		t.Error(diff)
	}
	// Reads elsewhere count, a little later.
	uses := first.of("c").uses(key)
	eventually(t, "the owner hears of reads on the other node", func() bool {
		get(t, c2, key)
		return first.of("c").uses(key) > uses
	})
	mustShelve(t, first.of("c"), key)
	for e, err := range c2.List(ctx, grid.ListOptions{}) {
		if err != nil {
			t.Error(err)
		}
		sameEntry(t, before, e)
	}
	wantCold(t, c2, 1, 1)
	if _, err := c2.Put(ctx, key, []byte("second"), grid.PutOptions{IfRevision: rev}); err != nil {
		t.Errorf("put on the revision that was seen: %v", err)
	}
	tier := first.of("c")
	tier.mu.Lock()
	tier.full = true
	tier.mu.Unlock()
	if _, err := c2.Put(ctx, ownedBy(t, one, "other"), nil, grid.PutOptions{}); !errors.Is(err, grid.ErrFull) {
		t.Errorf("put where the owner has no room: %v", err)
	}
	// Another owner knows it too.
	mustShelve(t, first.of("c"), key)
	grid.Lose(t, one, grid.Partition(key, 2))
	eventually(t, "somebody owns the partition again", func() bool {
		n, of := cold(t, c2)
		return n == 1 && of == 1
	})
	if e := get(t, c2, key); string(e.Value) != "second" {
		t.Errorf("got %q", e.Value)
	}
}

// TestColdExpires: lifespan and max idle end cold entries too, with their event.
func TestColdExpires(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]grid.PutOptions{"lifespan": {Lifespan: time.Hour}, "short lifespan": {Lifespan: 30 * time.Second}, "idle": {MaxIdle: 30 * time.Minute}} {
		for _, restart := range []bool{false, true} {
			if restart && name == "idle" {
				continue // begins anew
			}
			t.Run(fmt.Sprintf("%s restart=%v", name, restart), func(t *testing.T) {
				ctx := t.Context()
				a, clock := newAttic(), new(clock)
				cfg := grid.Config{Dir: t.TempDir(), Tiers: a, Now: clock.now}
				g := open(t, cfg)
				c := cache(t, g, stored)
				if _, err := c.Put(ctx, "k", []byte("value"), options); err != nil {
					t.Fatal(err)
				}
				mustShelve(t, a.of("c"), "k")
				if restart {
					if err := g.Close(ctx); err != nil {
						t.Fatal(err)
					}
					a = a.beside()
					cfg.Tiers = a
					g = open(t, cfg)
					c = cache(t, g, stored)
				}
				wantCold(t, c, 1, 1)
				l, err := c.Listen(ctx, grid.ListenOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				clock.advance(time.Hour)
				if _, err := c.Get(ctx, "k"); !errors.Is(err, grid.ErrNotFound) {
					t.Errorf("get: %v", err)
				}
				wantCold(t, c, 0, 0)
				if e := next(t, l); e.Type != grid.Expired || e.Reason != "" {
					t.Errorf("event %+v", e)
				}
			})
		}
	}
}

// TestColdComesBackWithItsTime: the lifespan of an entry goes on while it is cold, on the server too.
func TestColdComesBackWithItsTime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAttic()
	g := open(t, grid.Config{InMemory: true, Tiers: a})
	c := cache(t, g, stored)
	l, err := c.Listen(ctx, grid.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := c.Put(ctx, "k", []byte("value"), grid.PutOptions{Lifespan: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	next(t, l)
	before := get(t, c, "k")
	mustShelve(t, a.of("c"), "k")
	sameEntry(t, before, get(t, c, "k"))
	e := next(t, l)
	if late := time.Since(before.Expires); e.Type != grid.Expired || late < 0 || late > 3*time.Second {
		t.Errorf("event %+v, %v after its time", e, late)
	}
}

// TestColdLosesAgainstWrites: neither a stub nor a value that comes back takes the place of a write or a removal.
func TestColdLosesAgainstWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, clock := newAttic(), new(clock)
	g := open(t, grid.Config{InMemory: true, Tiers: a, Now: clock.now})
	c := cache(t, g, stored)
	demote := func(r grid.Resident) error { return c.Demote(ctx, []grid.Resident{r})[0] }

	put(t, c, "k", "one")
	wantCold(t, c, 0, 1)
	resident, ok := c.Resident("k")
	if !ok {
		t.Fatal("it is not in memory")
	}
	rev := put(t, c, "k", "two")
	if err := demote(resident); !errors.Is(err, grid.ErrRevision) {
		t.Errorf("demote an overwritten value: %v", err)
	}
	mustShelve(t, a.of("c"), "k")
	if err := demote(resident); !errors.Is(err, grid.ErrRevision) {
		t.Errorf("demote twice: %v", err)
	}
	at, err := c.Last(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	stub := grid.Cold{Entry: at.Entry, Sequence: at.Sequence}
	if stub.Entry.Revision != rev {
		t.Fatalf("stub %+v", stub)
	}
	if _, err := c.Delete(ctx, "k", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Activate(ctx, stub, []byte("two")); !errors.Is(err, grid.ErrRevision) {
		t.Errorf("activate what was removed: %v", err)
	}
	put(t, c, "k", "three")
	if err := c.Activate(ctx, stub, []byte("two")); !errors.Is(err, grid.ErrRevision) {
		t.Errorf("activate what was overwritten: %v", err)
	}
	if e := get(t, c, "k"); string(e.Value) != "three" {
		t.Errorf("got %q", e.Value)
	}
	if _, err := c.Put(ctx, "short", []byte("value"), grid.PutOptions{Lifespan: time.Hour}); err != nil {
		t.Fatal(err)
	}
	mustShelve(t, a.of("c"), "short")
	if at, err = c.Last(ctx, "short"); err != nil {
		t.Fatal(err)
	}
	clock.advance(time.Hour)
	if err := c.Activate(ctx, grid.Cold{Entry: at.Entry, Sequence: at.Sequence}, []byte("value")); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("activate what has expired: %v", err)
	}
}

// TestColdIsReadFromItsPlace: who reads from an older place gets what went to the store since, with its value; who has passed it
// gets nothing again.
func TestColdIsReadFromItsPlace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAttic()
	g := open(t, grid.Config{InMemory: true, Partitions: 1, Tiers: a})
	c := cache(t, g, stored)
	l, err := c.Listen(ctx, grid.ListenOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "a", "value of a")
	from := next(t, l).ID
	l.Close()
	rev := put(t, c, "b", "value of b")
	mustShelve(t, a.of("c"), "a", "b")
	if l, err = c.Listen(ctx, grid.ListenOptions{Values: true, From: from}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if e := next(t, l); e.Entry.Key != "b" || string(e.Entry.Value) != "value of b" || e.Entry.Revision != rev {
		t.Errorf("event %+v", e)
	}
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	changes := take(t, r, 9)
	if len(changes) != 2 || string(changes[0].Entry.Value) != "value of a" || string(changes[1].Entry.Value) != "value of b" {
		t.Errorf("changes %+v", changes)
	}
	r.Done(changes)
	wantCold(t, c, 2, 2)
	get(t, c, "a")
	third := put(t, c, "third", "")
	if changes = take(t, r, 9); len(changes) != 1 || changes[0].Entry.Revision != third {
		t.Errorf("changes %+v", changes)
	}
	r.Done(changes)
	if e := next(t, l); e.Entry.Revision != third {
		t.Errorf("event %+v", e)
	}
}

// TestPassed: the slowest reader counts, open or not.
func TestPassed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	rev := put(t, c, "a", "")
	passed := func() grid.Sequence {
		t.Helper()
		at, err := c.Passed(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if _, err := c.Size(ctx); err != nil { // the index has it
		t.Fatal(err)
	}
	if at := passed(); at < grid.Sequence(rev) {
		t.Errorf("without readers: %d, want %d", at, rev)
	}
	for _, open := range []bool{true, false} {
		slow := read(t, g, grid.ReaderConfig{Name: fmt.Sprint("slow", open), Cache: "c"})
		fast := read(t, g, grid.ReaderConfig{Name: fmt.Sprint("fast", open), Cache: "c"})
		fast.Done(take(t, fast, 9))
		if !open {
			if err := slow.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if at := passed(); at >= grid.Sequence(rev) {
			t.Errorf("open=%v: a reader that has read nothing: %d", open, at)
		}
		if open {
			slow.Done(take(t, slow, 9))
			eventually(t, "both have passed it", func() bool { return passed() >= grid.Sequence(rev) })
			continue
		}
		if err := g.DeleteReader(ctx, "c", "slowfalse"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other has passed it", func() bool { return passed() >= grid.Sequence(rev) })
	}
}

// TestEvictWithoutStore: an entry that leaves a full cache has expired for that reason, for who listens and who resumes.
func TestEvictWithoutStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntries: 5, Evict: grid.EvictDrop})
	l, err := c.Listen(ctx, grid.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	put(t, c, "k", "value")
	from := next(t, l).ID // the index has it
	r, ok := c.Resident("k")
	if !ok {
		t.Fatal("it is not in memory")
	}
	if err := c.Evict(ctx, []grid.Resident{r})[0]; err != nil {
		t.Fatal(err)
	}
	again, err := c.Listen(ctx, grid.ListenOptions{From: from})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, l := range []*grid.Listener{l, again} {
		if e := next(t, l); e.Type != grid.Expired || e.Reason != grid.ReasonEvicted || e.Entry.Key != "k" {
			t.Errorf("event %+v", e)
		}
	}
	if s, err := c.Stats(ctx); err != nil || s.Evicted != 1 || s.Expired != 0 || s.Entries != 0 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}

func TestTierConfig(t *testing.T) {
	for name, c := range map[string]grid.CacheConfig{
		"evict":           {Name: "c", Evict: "sometimes"},
		"policy":          {Name: "c", Policy: "mru"},
		"write":           {Name: "c", Store: "s", Write: "around"},
		"write, no store": {Name: "c", Write: grid.WriteThrough},
		"evict, no store": {Name: "c", Evict: grid.EvictStore},
		"store's name":    {Name: "c", Store: "a/b"},
		"preload":         {Name: "c", Store: "s", Preload: "some"},
		"preload none":    {Name: "c", Store: "s", Preload: "0"},
		"preload 007":     {Name: "c", Store: "s", Preload: "007"},
		"preload, alone":  {Name: "c", Preload: grid.PreloadKeys},
		"system's":        {Name: "_grid", Store: "s"},
	} {
		if err := c.Validate(); !errors.Is(err, grid.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReached: what is written is reached when it is done, and the lag is what is not.
func TestReached(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c", MaxPending: 2})
	var last grid.Revision
	for i := range 5 {
		last = put(t, c, fmt.Sprint(i), "value")
	}
	if _, err := c.Size(ctx); err != nil { // the index has it
		t.Fatal(err)
	}
	if lag := r.Lag(); lag.Entries != 5 || lag.Bytes != 25 {
		t.Errorf("lag %+v", lag)
	}
	reached := make(chan error)
	go func() { reached <- r.Reached(ctx, 0, grid.Sequence(last)) }()
	for n := 0; n < 5; {
		select {
		case err := <-reached:
			t.Fatalf("reached after %d of 5: %v", n, err)
		default:
		}
		changes := take(t, r, 2)
		if lag := r.Lag(); lag.Oldest.IsZero() || time.Since(lag.Oldest) > time.Minute {
			t.Errorf("lag %+v", lag)
		}
		n += len(changes)
		r.Done(changes)
	}
	if err := <-reached; err != nil {
		t.Error(err)
	}
	if lag := r.Lag(); lag != (grid.Lag{}) {
		t.Errorf("lag %+v at the end", lag)
	}
	short, cancel := withTimeout(t, 20*time.Millisecond)
	defer cancel()
	if err := r.Reached(short, 0, grid.Sequence(last)+100); !errors.Is(err, grid.ErrUnavailable) {
		t.Errorf("what is not written: %v", err)
	}
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Reached(ctx, 0, 1); !errors.Is(err, grid.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
