package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// read opens a reader that is closed with the test.
func read(t *testing.T, g *grid.Grid, cfg grid.ReaderConfig) *grid.Reader {
	t.Helper()
	r, err := g.Read(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil && !errors.Is(err, grid.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

// take gets at least one change, within a minute.
func take(t *testing.T, r *grid.Reader, most int) []grid.Change {
	t.Helper()
	ctx, cancel := withTimeout(t, time.Minute)
	defer cancel()
	changes, err := r.Next(ctx, most)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// nothing says that the reader has nothing to give out.
func nothing(t *testing.T, r *grid.Reader) {
	t.Helper()
	ctx, cancel := withTimeout(t, 50*time.Millisecond)
	defer cancel()
	if changes, err := r.Next(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given out: %+v, %v", changes, err)
	}
}

// lag is how many changes a reader has before it.
func lag(t *testing.T, g *grid.Grid, cache, reader string) (n int64) {
	t.Helper()
	positions, err := g.Positions(t.Context(), cache, reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range positions {
		n += p.Changes
	}
	return n
}

func put(t *testing.T, c *grid.Cache, key, value string) grid.Revision {
	t.Helper()
	rev, err := c.Put(t.Context(), key, []byte(value), grid.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestReaderSeesRemovals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	put(t, c, "before", "")
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c", Start: grid.StartNew})
	rev, err := c.Put(ctx, "k", []byte("v"), grid.PutOptions{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	got := take(t, r, 10)
	if m := got[0]; len(got) != 1 || m.Type != grid.Updated || m.Entry.Revision != rev || string(m.Entry.Value) != "v" || m.Entry.ContentType != "text/plain" {
		t.Errorf("put: %+v", got)
	}
	r.Done(got)
	if _, err := c.Delete(ctx, "k", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got = take(t, r, 10)
	if m := got[0]; m.Type != grid.Removed || m.Entry.Key != "k" {
		t.Errorf("removal: %+v", m)
	}
	r.Done(got)
	put(t, c, "k", "again")
	if got = take(t, r, 10); got[0].Type != grid.Updated || string(got[0].Entry.Value) != "again" {
		t.Errorf("put again: %+v", got)
	}
	r.Done(got)
	if _, err := c.Put(ctx, "short", nil, grid.PutOptions{Lifespan: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for got = take(t, r, 1); got[0].Type == grid.Updated; got = take(t, r, 1) {
		r.Done(got)
	}
	if m := got[0]; m.Type != grid.Expired || m.Entry.Key != "short" {
		t.Errorf("expiry: %+v", m)
	}
	if n := lag(t, g, "c", "p"); n != 1 {
		t.Errorf("lag %d, want 1", n)
	}
	r.Done(got)
	if n := lag(t, g, "c", "p"); n != 0 {
		t.Errorf("lag %d, want 0", n)
	}
}

// TestNewReaderPassesOwnWrites: what this node wrote before is not what a new reader begins with, or one that is moved to now, however late
// the index gets it.
func TestNewReaderPassesOwnWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	keepBusy(t, c)
	moved := read(t, g, grid.ReaderConfig{Name: "moved", Cache: "c"})
	for i := range 100 {
		key := fmt.Sprint("before", i)
		put(t, c, key, "v")
		r := read(t, g, grid.ReaderConfig{Name: fmt.Sprint("new", i), Cache: "c", Start: grid.StartNew})
		if err := g.Seek(ctx, "c", "moved", grid.Seek{Now: true}); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*grid.Reader{r, moved} {
			got := take(t, r, 10)
			for _, m := range got {
				if m.Entry.Key == key {
					t.Fatalf("%d: %s was put before", i, key)
				}
			}
			r.Done(got)
		}
		if err := r.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReaderGivesOutTheNewest overwrites keys that wait, and one that is given out.
func TestReaderGivesOutTheNewest(t *testing.T) {
	t.Parallel()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	put(t, c, "a", "first")
	flying := take(t, r, 10)
	for i := range 100 {
		put(t, c, "a", fmt.Sprint(i))
		put(t, c, "b", fmt.Sprint(i))
	}
	if n, err := c.Size(t.Context()); n != 2 || err != nil { // all is in the queue then
		t.Fatalf("size %d, %v", n, err)
	}
	got := take(t, r, 10)
	if len(got) != 1 || got[0].Entry.Key != "b" || string(got[0].Entry.Value) != "99" {
		t.Fatalf("while a is given out: %+v", got)
	}
	r.Done(got)
	nothing(t, r)
	r.Done(flying)
	if got = take(t, r, 10); len(got) != 1 || got[0].Entry.Key != "a" || string(got[0].Entry.Value) != "99" {
		t.Fatalf("after it: %+v", got)
	}
	r.Done(got)
	nothing(t, r)
}

// TestReaderIsBounded lets a reader stand still while more comes than may wait.
func TestReaderIsBounded(t *testing.T) {
	t.Parallel()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c", MaxPending: 8})
	const n = 300
	want := make(map[string]string)
	for i := range n {
		put(t, c, fmt.Sprint(i), "old")
	}
	for i := range n / 3 {
		key := fmt.Sprint(i * 3)
		want[key] = "new"
		put(t, c, key, "new")
	}
	if got := lag(t, g, "c", "p"); got != n {
		t.Errorf("lag %d, want %d", got, n)
	}
	seen := make(map[string]bool)
	var order [2]grid.Revision
	for len(seen) < n {
		changes := take(t, r, 1000)
		if len(changes) > 16 {
			t.Errorf("%d changes waited, 8 a partition may", len(changes))
		}
		for _, m := range changes {
			if seen[m.Entry.Key] || m.Entry.Revision <= order[m.Partition] {
				t.Errorf("%s at %d after %d of partition %d", m.Entry.Key, m.Entry.Revision, order[m.Partition], m.Partition)
			}
			if value := string(m.Entry.Value); value != "old" && want[m.Entry.Key] == "" || want[m.Entry.Key] != "" && value != "new" {
				t.Errorf("%s is %q", m.Entry.Key, value)
			}
			seen[m.Entry.Key], order[m.Partition] = true, m.Entry.Revision
		}
		r.Done(changes)
	}
	nothing(t, r)
	if got := lag(t, g, "c", "p"); got != 0 {
		t.Errorf("lag %d at the end", got)
	}
}

// TestReaderOfOverwrittenKeysIsBounded: two keys that change again and again while nothing is read take no more room than two
// changes.
func TestReaderOfOverwrittenKeysIsBounded(t *testing.T) {
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	put(t, c, "first", "")
	first := take(t, r, 1)
	const times = 40_000
	before := heap()
	var last grid.Revision
	for i := range times {
		last = put(t, c, fmt.Sprint("k", i%2), "")
	}
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("%d changes of two keys wait in %d kB", times, grown>>10)
	}
	r.Done(first)
	changes := take(t, r, 10)
	if len(changes) != 2 || changes[1].Entry.Revision != last {
		t.Errorf("given out: %+v, the last revision is %d", changes, last)
	}
	r.Done(changes)
	nothing(t, r)
	if got := lag(t, g, "c", "p"); got != 0 {
		t.Errorf("lag %d at the end", got)
	}
}

// TestReaderOfLargeValues: what is given out at a time is bounded by its bytes too, whether it waited in the queue or is read.
func TestReaderOfLargeValues(t *testing.T) {
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntryBytes: grid.MaxValueBytes})
	value := make([]byte, grid.MaxValueBytes)
	const n = 5
	fill := func() {
		for i := range n {
			if _, err := c.Put(t.Context(), fmt.Sprint(i), value, grid.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	for range 2 {
		for got := 0; got < n; {
			changes := take(t, r, 100)
			if len(changes) > 2 {
				t.Errorf("%d values of 8 MiB at a time", len(changes))
			}
			got += len(changes)
			r.Done(changes)
		}
		nothing(t, r)
		fill()
	}
}

// TestReaderGoesOnAfterRestart leaves changes open at a stop: those come again, and what is done does not.
func TestReaderGoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := open(t, grid.Config{Dir: dir, Partitions: 4})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	var puts []grid.Put
	for i := range 200 {
		puts = append(puts, grid.Put{Key: fmt.Sprint(i), Value: []byte{byte(i)}})
	}
	results, err := c.PutBatch(t.Context(), puts)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Revision == 0 {
			t.Fatalf("put %d: %+v", i, r)
		}
	}
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	open7 := grid.Change{}
	for n := 0; n < 200; {
		changes := take(t, r, 64)
		n += len(changes)
		for _, m := range changes {
			if m.Entry.Key == "7" {
				open7 = m
				continue
			}
			r.Done([]grid.Change{m})
		}
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	g = open(t, grid.Config{Dir: dir})
	r = read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	got := make(map[string]bool)
	for len(got) == 0 || !got["7"] {
		for _, m := range take(t, r, 200) {
			if m.Partition != open7.Partition || m.Entry.Revision < open7.Entry.Revision {
				t.Errorf("given out again: %+v", m)
			}
			got[m.Entry.Key] = true
		}
	}
}

// TestReaderIsMovedWhileItsPositionIsWritten: what is moved over is to be made again, whatever the write under way says.
func TestReaderIsMovedWhileItsPositionIsWritten(t *testing.T) {
	t.Parallel()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	const n = 1000 // done at once, they are written at once
	puts := make([]grid.Put, n)
	for i := range puts {
		puts[i].Key = fmt.Sprint(i)
	}
	if _, err := c.PutBatch(t.Context(), puts); err != nil {
		t.Fatal(err)
	}
	for round := range 30 {
		var changes []grid.Change
		for len(changes) < n {
			changes = append(changes, take(t, r, n)...)
		}
		for _, m := range changes {
			if m.Again != (round > 0) {
				t.Fatalf("round %d: %s, again %v", round, m.Entry.Key, m.Again)
			}
		}
		sought := make(chan error, 1)
		go func() { sought <- g.Seek(t.Context(), "c", "p", grid.Seek{}) }()
		eventually(t, "the move waits for what is given out", func() bool { return grid.Moving(r) })
		r.Done(changes) // so that the position is written and moved at one time
		if err := <-sought; err != nil {
			t.Fatal(err)
		}
	}
}

// TestReaderIsMoved replays a reader from the start, from a time and to the end.
func TestReaderIsMoved(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	all := func(n int, again bool) map[string]bool {
		t.Helper()
		seen := map[string]bool{}
		for len(seen) < n {
			changes := take(t, r, 10)
			for _, m := range changes {
				if seen[m.Entry.Key] || m.Again != again {
					t.Errorf("%s, again %v, seen %v", m.Entry.Key, m.Again, seen[m.Entry.Key])
				}
				seen[m.Entry.Key] = true
			}
			r.Done(changes)
		}
		nothing(t, r)
		return seen
	}
	for i := range 10 {
		put(t, c, fmt.Sprint("early", i), "v")
	}
	all(10, false)
	late := time.Now()
	for i := range 5 {
		put(t, c, fmt.Sprint("late", i), "v")
	}
	all(5, false)
	if err := g.Seek(ctx, "c", "p", grid.Seek{}); err != nil {
		t.Fatal(err)
	}
	all(15, true)
	if err := g.Seek(ctx, "c", "p", grid.Seek{Time: late}); err != nil {
		t.Fatal(err)
	}
	for key := range all(5, true) {
		if key[0] != 'l' {
			t.Errorf("%s was written before the time", key)
		}
	}
	put(t, c, "one more", "v")
	all(1, false)
	flying := put(t, c, "skipped", "v")
	if err := g.Seek(ctx, "c", "p", grid.Seek{Now: true}); err != nil {
		t.Fatal(err)
	}
	nothing(t, r)
	positions, err := g.Positions(ctx, "c", "p")
	if err != nil || len(positions) != 2 || !positions[0].Open {
		t.Errorf("positions %+v, %v", positions, err)
	}
	if p := positions[grid.Partition("skipped", 2)]; p.Sequence < grid.Sequence(flying) {
		t.Errorf("position %+v after %d was skipped", p, flying)
	}
	if err := g.Seek(ctx, "c", "nobody", grid.Seek{}); !errors.Is(err, grid.ErrNoReader) {
		t.Errorf("move a reader that is not there: %v", err)
	}
}

func TestReadersAreClosedAndDeleted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	a := cache(t, g, grid.CacheConfig{Name: "a"})
	cache(t, g, grid.CacheConfig{Name: "b"})
	r, err := g.Read(ctx, grid.ReaderConfig{Name: "p", Cache: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"no name": grid.ErrConfig, "none": grid.ErrNoCache, "p": grid.ErrConfig} {
		cfg := grid.ReaderConfig{Name: name, Cache: "a"}
		if name == "none" {
			cfg.Cache = "none"
		}
		if _, err := g.Read(ctx, cfg); !errors.Is(err, want) {
			t.Errorf("read as %q: %v, want %v", name, err, want)
		}
	}
	other := read(t, g, grid.ReaderConfig{Name: "p", Cache: "b"}) // another cache's has a place of its own
	put(t, a, "k", "v")
	nothing(t, other)
	r.Done(take(t, r, 1))
	ended := make(chan error)
	go func() {
		_, err := r.Next(ctx, 1)
		ended <- err
	}()
	for range 2 {
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; !errors.Is(err, grid.ErrClosed) {
		t.Errorf("next while it is closed: %v", err)
	}
	r = read(t, g, grid.ReaderConfig{Name: "p", Cache: "a"})
	nothing(t, r)
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := g.DeleteReader(ctx, "a", "p"); err != nil {
			t.Error(err)
		}
	}
	if _, err := g.Positions(ctx, "a", "p"); !errors.Is(err, grid.ErrNoReader) {
		t.Errorf("position of a reader that was deleted: %v", err)
	}
	r = read(t, g, grid.ReaderConfig{Name: "p", Cache: "a"})
	if got := take(t, r, 1); got[0].Entry.Key != "k" {
		t.Errorf("after it was deleted: %+v", got)
	}
}

// TestReservedKeysAreHidden: positions and leases are in the streams, and in no answer.
func TestReservedKeysAreHidden(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntries: 1})
	l, err := c.Listen(ctx, grid.ListenOptions{IncludeCurrent: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	put(t, c, "k", "v")
	r.Done(take(t, r, 1))
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if stored := grid.Stored(ctx, t, g); stored != 3 {
		t.Errorf("%d messages are stored, want an entry, a position and a lease", stored)
	}
	if n, err := c.Size(ctx); n != 1 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	for e, err := range c.List(ctx, grid.ListOptions{}) {
		if err != nil || e.Key != "k" {
			t.Errorf("listed: %+v, %v", e, err)
		}
	}
	if e := next(t, l); e.Entry.Key != "k" {
		t.Errorf("event of %q", e.Entry.Key)
	}
	ctx, cancel := withTimeout(t, 50*time.Millisecond)
	defer cancel()
	if e, err := l.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more event: %+v, %v", e, err)
	}
}

// A reader tells how long the oldest change has waited, also where the change is not in its queue: nobody has the reader open,
// or it was opened and nothing was asked for.
func TestAgeOfWhatIsNotQueued(t *testing.T) {
	clock := new(clock)
	g := open(t, grid.Config{InMemory: true, Partitions: 1, Now: clock.now})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	cfg := grid.ReaderConfig{Name: "r", Cache: "c"}
	oldest := func(opened bool) {
		t.Helper()
		at, err := g.Positions(t.Context(), "c", "r")
		if err != nil || len(at) != 1 {
			t.Fatal(at, err)
		}
		if at[0].Changes != 2 || at[0].Age < time.Minute || at[0].Age > 2*time.Minute || at[0].Open != opened {
			t.Errorf("%+v, want two changes of at least a minute, open %v", at[0], opened)
		}
	}
	r, err := g.Read(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if _, err := c.Put(t.Context(), key, []byte("x"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	clock.advance(time.Minute)
	oldest(false)
	if r, err = g.Read(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	oldest(true)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
