package cold_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// clock is the real time and what a test added to it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// report is what a model fails by: of rapid's, or one that a test of the model reads.
type report interface {
	Fatalf(format string, args ...any)
	Helper()
}

// model is a cache that is larger than its memory, with a store that fails at random and a reader beside the one that writes
// behind, and the plain map that it must agree with.
type model struct {
	report
	ctx   context.Context
	clock *clock
	setup setup
	n     *node
	c     *grid.Cache
	// reader is nil while the pipeline is paused; results are the revisions that it has seen.
	reader  *grid.Reader
	seen    sync.Map
	working sync.WaitGroup
	stop    context.CancelFunc

	entries map[string]modelEntry
	last    map[string]grid.Revision
}

type modelEntry struct {
	value   string
	rev     grid.Revision
	expires time.Duration // on the clock's lead; 0 for never
}

const modelPartitions = 2

// newModel opens a node in a folder. The store has faults where it is not quiet.
// In skewed ones its clock stands still: it gives out what has expired.
func newModel(ctx context.Context, r report, dir string, faults faultstore.Faults, skewed bool, bug func(*cold.Cold)) *model {
	m := &model{report: r, ctx: ctx, clock: new(clock), entries: make(map[string]modelEntry), last: make(map[string]grid.Revision)}
	now := m.clock.now
	if skewed {
		began := time.Now()
		now = func() time.Time { return began }
	}
	m.setup = setup{
		grid:  grid.Config{Dir: dir, Partitions: modelPartitions, Now: m.clock.now},
		cold:  cold.Config{Wait: 20 * time.Millisecond},
		store: faultstore.New(storetest.NewMemory(now), 7, faults),
		bug:   bug,
	}
	m.open()
	m.resume()
	return m
}

func (m *model) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%v", err)
	}
}

func (m *model) open() {
	n, err := start(m.ctx, m.setup)
	for tries := 0; err != nil && tries < 50; tries++ { // the store fails at random, at the start too
		n, err = start(m.ctx, m.setup)
	}
	m.must(err)
	m.n = n
	m.must(n.CreateCache(m.ctx, grid.CacheConfig{Name: "c", MaxEntries: 3, Store: "cold"}))
	m.c, err = n.Cache(m.ctx, "c")
	m.must(err)
}

func (m *model) close() {
	m.pause()
	m.must(m.n.stop(m.ctx))
}

// pause stops the reader, and resume has it go on: it must see every revision that is not overwritten.
func (m *model) pause() {
	if m.reader == nil {
		return
	}
	m.stop()
	m.working.Wait()
	m.must(m.reader.Close(m.ctx))
	m.reader = nil
}

func (m *model) resume() {
	if m.reader != nil {
		return
	}
	r, err := m.n.Read(m.ctx, grid.ReaderConfig{Name: "pipeline", Cache: "c"})
	m.must(err)
	m.reader = r
	ctx, stop := context.WithCancel(m.ctx)
	m.stop = stop
	m.working.Go(func() {
		for {
			changes, err := r.Next(ctx, 4)
			if ctx.Err() != nil || errors.Is(err, grid.ErrClosed) {
				r.Undo(changes)
				return
			}
			for _, c := range changes {
				if c.Type == grid.Updated {
					m.seen.Store(c.Entry.Key, fmt.Sprint(c.Entry.Revision, "=", string(c.Entry.Value)))
				}
			}
			r.Done(changes)
		}
	})
}

func (m *model) lead() time.Duration { return time.Duration(m.clock.ahead.Load()) }

func (m *model) settle() {
	for key, e := range m.entries {
		if e.expires > 0 && e.expires <= m.lead() {
			delete(m.entries, key)
		}
	}
}

// refused reports whether a write failed for a reason that a store that fails, or a reader that stands still, explains.
func (m *model) refused(err error) bool {
	if err == nil {
		return false
	}
	if !errors.Is(err, grid.ErrFull) {
		m.Fatalf("refused for another reason: %v", err)
	}
	return true
}

func (m *model) stored(key string, e modelEntry, rev grid.Revision) {
	if rev <= m.last[key] {
		m.Fatalf("revision %d of %s after %d", rev, key, m.last[key])
	}
	e.rev = rev
	m.entries[key], m.last[key] = e, rev
}

func (m *model) put(key, value string, lifespan time.Duration, condition grid.Revision) {
	m.settle()
	e := modelEntry{value: value}
	o := grid.PutOptions{IfRevision: condition}
	if lifespan > 0 {
		// The stream stamps entries with the real time, which the clock leads.
		e.expires = m.lead() + lifespan
		o.Lifespan = e.expires
	}
	rev, err := m.c.Put(m.ctx, key, []byte(value), o)
	if have := m.entries[key].rev; condition != 0 && condition != have {
		if !errors.Is(err, grid.ErrRevision) && !errors.Is(err, grid.ErrFull) {
			m.Fatalf("put %s at %d, it has %d: %v", key, condition, have, err)
		}
		return
	}
	if !m.refused(err) {
		m.stored(key, e, rev)
	}
}

func (m *model) create(key, value string) {
	m.settle()
	rev, err := m.c.Create(m.ctx, key, []byte(value), grid.PutOptions{})
	if _, have := m.entries[key]; have {
		if !errors.Is(err, grid.ErrExists) {
			m.Fatalf("create %s over an entry: %v", key, err)
		}
		return
	}
	if !m.refused(err) {
		m.stored(key, modelEntry{value: value}, rev)
	}
}

func (m *model) delete(key string, condition grid.Revision) {
	m.settle()
	rev, err := m.c.Delete(m.ctx, key, grid.DeleteOptions{IfRevision: condition})
	e, have := m.entries[key]
	switch {
	case !have:
		if !errors.Is(err, grid.ErrNotFound) {
			m.Fatalf("delete %s, which is not there: %v", key, err)
		}
	case condition != 0 && condition != e.rev:
		if !errors.Is(err, grid.ErrRevision) {
			m.Fatalf("delete %s at %d, it has %d: %v", key, condition, e.rev, err)
		}
	default:
		m.must(err)
		delete(m.entries, key)
		m.last[key] = rev
	}
}

// get reads an entry; a store that fails is asked again.
func (m *model) get(key string) {
	m.settle()
	var got grid.Entry
	var err error
	for range 200 {
		if got, err = m.c.Get(m.ctx, key); !errors.Is(err, grid.ErrUnavailable) {
			break
		}
	}
	want, have := m.entries[key]
	switch {
	case !have:
		if !errors.Is(err, grid.ErrNotFound) {
			m.Fatalf("get %s, which is not there: %q at %d, %v", key, got.Value, got.Revision, err)
		}
	case err != nil:
		m.Fatalf("get %s: %v", key, err)
	case string(got.Value) != want.value || got.Revision != want.rev:
		m.Fatalf("%s is %q at %d, want %q at %d", key, got.Value, got.Revision, want.value, want.rev)
	}
}

// during does something to a key while its value is on the way back into memory.
func (m *model) during(key string, do func()) {
	m.settle()
	m.n.store.Hang()
	done := make(chan error)
	go func() {
		_, err := m.c.Get(m.ctx, key)
		done <- err
	}()
	if m.isCold(key) {
		m.waitForLoad()
	}
	do()
	m.n.store.Up()
	if err := <-done; err != nil && !errors.Is(err, grid.ErrNotFound) && !errors.Is(err, grid.ErrUnavailable) {
		m.Fatalf("get %s: %v", key, err)
	}
}

func (m *model) isCold(key string) bool {
	_, have := m.entries[key]
	_, hot := m.c.Resident(key)
	return have && !hot
}

// aCold draws a key with an entry in the store alone, one whose time will be over where that is asked for; where there is none, any key.
func (m *model) aCold(t *rapid.T, ends bool) string {
	m.settle()
	keys := slices.DeleteFunc(slices.Clone(modelKeys), func(key string) bool {
		return !m.isCold(key) || ends && m.entries[key].expires == 0
	})
	if len(keys) == 0 {
		keys = modelKeys
	}
	return rapid.SampledFrom(keys).Draw(t, "cold key")
}

// waitForLoad gives a get the time to come to the store; one that comes later is no worse a test.
func (m *model) waitForLoad() {
	before := m.n.store.Calls()
	for end := time.Now().Add(100 * time.Millisecond); m.n.store.Calls() == before && time.Now().Before(end); {
		time.Sleep(200 * time.Microsecond)
	}
}

func (m *model) expire(key string) {
	e, ok := m.entries[key]
	if !ok || e.expires == 0 {
		return
	}
	_, hot := m.c.Resident(key)
	before, err := m.c.Last(m.ctx, key)
	m.must(err)
	m.clock.ahead.Add(int64(e.expires - m.lead()))
	m.settle()
	if hot {
		return // the server ends it, by the real time
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		last, err := m.c.Last(m.ctx, key)
		m.must(err)
		if last.Sequence != before.Sequence {
			return
		}
		if time.Now().After(end) {
			m.Fatalf("no marker takes the place of %s, which has expired", key)
		}
	}
}

func (m *model) restart() {
	paused := m.reader == nil
	m.close()
	m.open()
	if !paused {
		m.resume()
	}
}

// land waits until no value is on its way back. A put over a value in memory takes no room; should that value leave meanwhile and another one
// come back, there is one too many, until one can leave.
func (m *model) land() { m.must(m.n.cold.Land(m.ctx, "c")) }

// check compares what there is without a value, and looks that nothing has left memory too early.
func (m *model) check() {
	m.settle()
	m.land()
	s, err := m.c.Stats(m.ctx)
	m.must(err)
	if s.Entries != int64(len(m.entries)) {
		m.Fatalf("%d entries, want %d", s.Entries, len(m.entries))
	}
	if here := m.n.cold.InMemory("c"); here > 3 {
		m.Fatalf("%d entries in memory, of at most 3", here)
	}
	// The grid counts one partition after the other, between which one value may leave and another one come back.
	for end := time.Now().Add(time.Second); s.InMemory > 3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			m.Fatalf("%d entries in memory, of at most 3", s.InMemory)
		}
		s, err = m.c.Stats(m.ctx)
		m.must(err)
	}
	positions, err := m.n.Positions(m.ctx, "c", "pipeline")
	m.must(err)
	for key, e := range m.entries {
		r, hot := m.c.Resident(key)
		if at := positions[grid.Partition(key, modelPartitions)].Sequence; !hot && at < grid.Sequence(e.rev) {
			m.Fatalf("%s left memory at revision %d, and the pipeline is at %d", key, e.rev, at)
		}
		if hot && r.Revision != e.rev {
			m.Fatalf("%s is at %d, want %d", key, r.Revision, e.rev)
		}
	}
}

// finish has everything come to rest: the store has it, and the pipeline has seen what is there.
func (m *model) finish() {
	m.n.store.Set(faultstore.Faults{})
	m.resume()
	m.settle()
	for key := range m.last {
		m.get(key)
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m.must(m.n.cold.Sweep(m.ctx)) // the clock goes on so fast that removals are forgotten before the store hears of them
		missing := ""
		for key, e := range m.entries {
			if got, _ := m.seen.Load(key); got != fmt.Sprint(e.rev, "=", e.value) {
				missing = fmt.Sprintf("the pipeline has %v of %s, want %d=%s", got, key, e.rev, e.value)
			}
			copied, err := m.n.store.Get(m.ctx, "c", key)
			if err != nil || copied.Revision != uint64(e.rev) || string(copied.Value) != e.value {
				missing = fmt.Sprintf("the store has revision %d of %s, want %d: %v", copied.Revision, key, e.rev, err)
			}
		}
		for key := range m.last {
			if _, have := m.entries[key]; have {
				continue
			}
			if copied, err := m.n.store.Get(m.ctx, "c", key); err == nil {
				missing = fmt.Sprintf("the store has revision %d of %s, which is not there", copied.Revision, key)
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			m.Fatalf("%s", missing)
		}
	}
}

var modelKeys = []string{"a", "b", "a/1", "a.2", "{t}x", "{t}y", "é", "z"}

// step does one random thing.
func (m *model) step(t *rapid.T) {
	m.land()
	key := rapid.SampledFrom(modelKeys).Draw(t, "key")
	condition := func() grid.Revision {
		switch rapid.IntRange(0, 3).Draw(t, "condition") {
		case 0:
			return m.entries[key].rev
		case 1:
			return m.last[key]
		case 2:
			return m.last[key] + 1000
		}
		return 0
	}
	value := func() string { return rapid.StringN(0, 8, -1).Draw(t, "value") }
	switch rapid.SampledFrom([]string{
		"put", "put", "put", "create", "cas", "delete", "get", "get", "get", "delete during get", "put during get", "expire during get", "advance",
		"pause", "resume", "restart",
	}).Draw(t, "what") {
	case "put":
		m.put(key, value(), rapid.SampledFrom([]time.Duration{0, 0, time.Hour}).Draw(t, "lifespan"), 0)
	case "create":
		m.create(key, value())
	case "cas":
		m.put(key, value(), 0, condition())
	case "delete":
		m.delete(key, condition())
	case "get":
		m.get(key)
	case "delete during get":
		key = m.aCold(t, false)
		m.during(key, func() { m.delete(key, 0) })
	case "put during get":
		key = m.aCold(t, false)
		m.during(key, func() { m.put(key, value(), 0, 0) })
	case "expire during get":
		key = m.aCold(t, true)
		m.during(key, func() { m.expire(key) })
	case "advance":
		m.clock.ahead.Add(int64(rapid.SampledFrom([]time.Duration{20 * time.Minute, 2 * time.Hour}).Draw(t, "by")))
	case "pause":
		m.pause()
	case "resume":
		m.resume()
	case "restart":
		if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
			m.restart()
		}
	}
	m.check()
}

// modelRounds and modelSteps are how much TestModel does: 2,000 steps, and 100,000 with the tag long.
const modelSteps = 50

func TestModel(t *testing.T) {
	faults := faultstore.Faults{Before: 0.1, After: 0.1, Delay: time.Millisecond}
	dir, round, steps := t.TempDir(), 0, 0
	for range modelRounds {
		rapid.Check(t, func(rt *rapid.T) {
			round++
			folder := filepath.Join(dir, fmt.Sprint(round))
			m := newModel(t.Context(), rt, folder, faults, round%2 == 0, nil)
			defer func() {
				m.close()
				m.must(os.RemoveAll(folder)) // thousands of them would fill a disk
			}()
			for range modelSteps {
				m.step(rt)
				steps++
			}
			m.finish()
		})
	}
	if steps < modelRounds*modelSteps {
		t.Errorf("%d steps, want %d", steps, modelRounds*modelSteps)
	}
}
