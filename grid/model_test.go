package grid_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// clock is the real time and what a test added to it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(by time.Duration) { c.ahead.Add(int64(by)) }

// modelled is a cache beside the plain map that it must agree with. Of several nodes, c is the cache on the one that the next
// operation goes by.
type modelled struct {
	t      *rapid.T
	g      *grid.Grid
	c      *grid.Cache
	nodes  []*grid.Grid
	attics []*attic // of the nodes
	all    []*grid.Cache
	cfg    grid.Config
	clock  *clock
	attic  *attic
	ctx    context.Context

	entries map[string]modelEntry
	last    map[string]grid.Revision // the last revision of each key, removals too
}

type modelEntry struct {
	value   string
	rev     grid.Revision
	expires time.Duration // on the clock's lead; 0 for never
	idle    time.Duration
	used    time.Duration
}

// TestAgainstMap does random operations on a cache and on a map.
func TestAgainstMap(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable=%v", durable), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := &modelled{
					t: rt, clock: new(clock), attic: newAttic(), ctx: t.Context(), entries: make(map[string]modelEntry), last: make(map[string]grid.Revision),
				}
				m.cfg = grid.Config{InMemory: true, Partitions: 4, Now: m.clock.now}
				if durable {
					m.cfg.InMemory, m.cfg.Dir = false, t.TempDir()
				}
				m.open()
				defer func() {
					if err := m.g.Close(m.ctx); err != nil {
						rt.Error(err)
					}
				}()
				actions := map[string]func(*rapid.T){
					"put": m.put, "create": m.create, "delete": m.delete, "get": m.get, "getMany": m.getMany,
					"list": m.list, "batch": m.batch, "advance": m.advance, "clear": m.clear, "shelve": m.shelve, "": m.check,
				}
				if durable {
					actions["restart"] = m.restart
				}
				rt.Repeat(actions)
			})
		})
	}
}

// TestNodesAgainstMap does random operations by two nodes of one grid, which lose partitions at random, and on a map.
func TestNodesAgainstMap(t *testing.T) {
	url := natstest.URL(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := &modelled{
			t: rt, clock: new(clock), attic: newAttic(), ctx: t.Context(), entries: make(map[string]modelEntry), last: make(map[string]grid.Revision),
		}
		m.cfg = grid.WithLease(grid.Config{URL: url, Name: fmt.Sprint("g", round), Partitions: 2, Now: m.clock.now}, time.Minute)
		for range 2 {
			m.open()
			g := m.g
			defer func() {
				if err := g.Close(m.ctx); err != nil {
					rt.Error(err)
				}
			}()
			m.attics = append(m.attics, m.attic)
			m.nodes, m.all = append(m.nodes, m.g), append(m.all, m.c)
		}
		m.balance()
		by := func(do func(*rapid.T)) func(*rapid.T) {
			return func(rt *rapid.T) {
				m.c = m.all[rapid.IntRange(0, 1).Draw(rt, "node")]
				do(rt)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": by(m.put), "create": by(m.create), "delete": by(m.delete), "get": by(m.get), "getMany": by(m.getMany), "list": by(m.list),
			"batch": by(m.batch), "advance": by(m.advance), "clear": by(m.clear),
			"shelve": m.shelve, "lose": func(rt *rapid.T) { m.lose(t, rt) }, "": by(m.check),
		})
	})
}

// lose takes a partition from the node that owns it. What was over is written down before: an idle time begins again.
func (m *modelled) lose(t *testing.T, rt *rapid.T) {
	number := rapid.IntRange(0, 1).Draw(rt, "partition")
	m.settle()
	before := m.fences()
	for _, g := range m.nodes {
		grid.Sweep(m.ctx, g)
	}
	for _, g := range m.nodes {
		grid.Lose(t, g, number)
	}
	m.balance()
	after := m.fences() // the other partition may have moved too
	for key := range m.entries {
		if p := grid.Partition(key, 2); before[p] != after[p] {
			m.use(key)
		}
	}
}

// balance waits until each node owns a partition, which is when none moves any more. Idle times begin again with an owner.
func (m *modelled) balance() {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if len(grid.Owns(m.nodes[0])) == 1 && len(grid.Owns(m.nodes[1])) == 1 {
			break
		}
		if time.Since(begun) > 20*time.Second {
			m.t.Fatalf("the nodes own %v and %v", grid.Owns(m.nodes[0]), grid.Owns(m.nodes[1]))
		}
	}
	_, err := m.c.Size(m.ctx) // and both are read
	m.must(err)
}

// fences are the numbers of the partitions' owners.
func (m *modelled) fences() (out [2]uint64) {
	for i := range out {
		for _, g := range m.nodes {
			out[i] = max(out[i], grid.Fence(g, i))
		}
	}
	return out
}

func (m *modelled) open() {
	m.attic = m.attic.beside()
	m.cfg.Tiers = m.attic
	g, err := grid.Open(m.ctx, m.cfg)
	m.must(err)
	m.must(g.CreateCache(m.ctx, stored))
	m.g = g
	m.c, err = g.Cache(m.ctx, "c")
	m.must(err)
}

func (m *modelled) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *modelled) lead() time.Duration { return time.Duration(m.clock.ahead.Load()) }

// settle forgets what is over.
func (m *modelled) settle() {
	now := m.lead()
	for key, e := range m.entries {
		if e.expires > 0 && e.expires <= now || e.idle > 0 && e.used+e.idle <= now {
			delete(m.entries, key)
		}
	}
}

func key(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "a/1", "a.2", "{t}x", "{t}y", "é"}).Draw(t, "key")
}

// options draws a lifespan or an idle time of an hour on the model's clock.
func (m *modelled) options(t *rapid.T, e *modelEntry) grid.PutOptions {
	var o grid.PutOptions
	switch rapid.IntRange(0, 3).Draw(t, "life") {
	case 0:
		// The stream stamps entries with the real time, which the clock leads.
		e.expires = m.lead() + time.Hour
		o.Lifespan = e.expires
	case 1:
		o.MaxIdle, e.idle, e.used = time.Hour, time.Hour, m.lead()
	}
	return o
}

func (m *modelled) stored(key string, e modelEntry, rev grid.Revision) {
	if rev <= m.last[key] {
		m.t.Fatalf("revision %d of %s after %d", rev, key, m.last[key])
	}
	e.rev = rev
	m.entries[key], m.last[key] = e, rev
}

// condition draws a revision: none, the right one, or another.
func (m *modelled) condition(t *rapid.T, key string) grid.Revision {
	switch rapid.IntRange(0, 3).Draw(t, "condition") {
	case 0:
		return m.entries[key].rev
	case 1:
		return m.last[key] // also of a removal
	case 2:
		return m.last[key] + 1000
	}
	return 0
}

func (m *modelled) put(t *rapid.T) {
	m.settle()
	key, e := key(t), modelEntry{value: rapid.String().Draw(t, "value")}
	o := m.options(t, &e)
	o.IfRevision = m.condition(t, key)
	rev, err := m.c.Put(m.ctx, key, []byte(e.value), o)
	if have := m.entries[key].rev; o.IfRevision != 0 && have != o.IfRevision {
		if !errors.Is(err, grid.ErrRevision) {
			t.Fatalf("put %s at %d, it has %d: %v", key, o.IfRevision, have, err)
		}
		return
	}
	m.must(err)
	m.stored(key, e, rev)
}

func (m *modelled) create(t *rapid.T) {
	m.settle()
	key, e := key(t), modelEntry{value: rapid.String().Draw(t, "value")}
	rev, err := m.c.Create(m.ctx, key, []byte(e.value), m.options(t, &e))
	if _, have := m.entries[key]; have {
		if !errors.Is(err, grid.ErrExists) {
			t.Fatalf("create %s over an entry: %v", key, err)
		}
		return
	}
	m.must(err)
	m.stored(key, e, rev)
}

func (m *modelled) delete(t *rapid.T) {
	m.settle()
	key := key(t)
	want := m.condition(t, key)
	rev, err := m.c.Delete(m.ctx, key, grid.DeleteOptions{IfRevision: want})
	e, have := m.entries[key]
	switch {
	case !have:
		if !errors.Is(err, grid.ErrNotFound) {
			t.Fatalf("delete %s, which is not there: %v", key, err)
		}
	case want != 0 && want != e.rev:
		if !errors.Is(err, grid.ErrRevision) {
			t.Fatalf("delete %s at %d, it has %d: %v", key, want, e.rev, err)
		}
	default:
		m.must(err)
		if rev <= m.last[key] {
			t.Fatalf("removal %d of %s after %d", rev, key, m.last[key])
		}
		delete(m.entries, key)
		m.last[key] = rev
	}
}

// use is a read of a key.
func (m *modelled) use(key string) {
	if e, ok := m.entries[key]; ok {
		e.used = m.lead()
		m.entries[key] = e
	}
}

func (m *modelled) same(t *rapid.T, got grid.Entry) {
	e, ok := m.entries[got.Key]
	if !ok || e.value != string(got.Value) || e.rev != got.Revision {
		t.Fatalf("%s is %q at %d, want %+v", got.Key, got.Value, got.Revision, e)
	}
}

func (m *modelled) get(t *rapid.T) {
	m.settle()
	key := key(t)
	got, err := m.c.Get(m.ctx, key)
	if _, have := m.entries[key]; !have {
		if !errors.Is(err, grid.ErrNotFound) {
			t.Fatalf("get %s, which is not there: %+v, %v", key, got, err)
		}
		return
	}
	m.must(err)
	m.same(t, got)
	m.use(key)
}

func (m *modelled) getMany(t *rapid.T) {
	m.settle()
	keys := rapid.SliceOfN(rapid.Custom(key), 0, 8).Draw(t, "keys")
	var got, want []string
	for e, err := range m.c.GetMany(m.ctx, keys) {
		m.must(err)
		m.same(t, e)
		got = append(got, e.Key)
	}
	for _, key := range keys {
		if _, ok := m.entries[key]; ok {
			want = append(want, key)
			m.use(key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("get %q (-want +got):\n%s", keys, diff)
	}
}

func (m *modelled) list(t *rapid.T) {
	m.settle()
	o := grid.ListOptions{
		Prefix:   rapid.SampledFrom([]string{"", "a", "a/", "z"}).Draw(t, "prefix"),
		Limit:    rapid.IntRange(0, 3).Draw(t, "limit"),
		KeysOnly: rapid.Bool().Draw(t, "keys only"),
	}
	var got, want []string
	for e, err := range m.c.List(m.ctx, o) {
		m.must(err)
		got = append(got, e.Key)
		if o.KeysOnly {
			if e.Revision != m.entries[e.Key].rev {
				t.Fatalf("%s at %d, want %d", e.Key, e.Revision, m.entries[e.Key].rev)
			}
			continue
		}
		m.same(t, e)
		m.use(e.Key)
	}
	for key := range m.entries {
		if strings.HasPrefix(key, o.Prefix) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	if o.Limit > 0 {
		want = want[:min(len(want), o.Limit)]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("list %+v (-want +got):\n%s", o, diff)
	}
}

// batch puts several keys, one after the other as far as the map is concerned: keys are distinct.
func (m *modelled) batch(t *rapid.T) {
	m.settle()
	keys := rapid.SliceOfNDistinct(rapid.Custom(key), 1, 7, rapid.ID).Draw(t, "keys")
	puts := make([]grid.Put, len(keys))
	entries := make([]modelEntry, len(keys))
	for i, key := range keys {
		entries[i].value = rapid.String().Draw(t, "value")
		puts[i] = grid.Put{Key: key, Value: []byte(entries[i].value), Options: m.options(t, &entries[i])}
		puts[i].Options.IfRevision = m.condition(t, key)
	}
	results, err := m.c.PutBatch(m.ctx, puts)
	m.must(err)
	for i, r := range results {
		want := puts[i].Options.IfRevision
		if have := m.entries[keys[i]].rev; want != 0 && have != want {
			if !errors.Is(r.Err, grid.ErrRevision) {
				t.Fatalf("put %s at %d, it has %d: %+v", keys[i], want, have, r)
			}
			continue
		}
		m.must(r.Err)
		m.stored(keys[i], entries[i], r.Revision)
	}
}

// shelve has an entry's value go to a store, where it is in memory.
func (m *modelled) shelve(t *rapid.T) {
	m.settle()
	key := key(t)
	attic := m.attic
	for i, a := range m.attics {
		if slices.Contains(grid.Owns(m.nodes[i]), grid.Partition(key, 2)) {
			attic = a
		}
	}
	if _, ok := m.entries[key]; ok {
		m.must(shelve(m.ctx, attic.of("c"), key))
		m.use(key)
	}
}

func (m *modelled) advance(t *rapid.T) {
	_, err := m.c.Size(m.ctx) // idle times begin when the feed brings an entry
	m.must(err)
	m.clock.advance(rapid.SampledFrom([]time.Duration{20 * time.Minute, 50 * time.Minute, 2 * time.Hour}).Draw(t, "by"))
}

func (m *modelled) clear(t *rapid.T) {
	m.settle()
	m.must(m.c.Clear(m.ctx))
	clear(m.entries)
}

func (m *modelled) restart(t *rapid.T) {
	m.must(m.g.Close(m.ctx))
	m.settle()
	m.open()
	for key := range m.entries {
		m.use(key) // a restart begins idle times again
	}
}

func (m *modelled) check(t *rapid.T) {
	m.settle()
	n, err := m.c.Size(m.ctx)
	m.must(err)
	if n != int64(len(m.entries)) {
		t.Fatalf("size %d, want %d", n, len(m.entries))
	}
	var bytes int64
	for _, e := range m.entries {
		bytes += int64(len(e.value))
	}
	s, err := m.c.Stats(m.ctx)
	m.must(err)
	if s.Bytes != bytes {
		t.Fatalf("%d bytes, want %d", s.Bytes, bytes)
	}
}
