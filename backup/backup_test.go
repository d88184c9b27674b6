package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/grid"
)

func open(t testing.TB, cfg grid.Config) *grid.Grid {
	t.Helper()
	if cfg.Dir == "" {
		cfg.InMemory = true
	}
	g, err := grid.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, g) })
	return g
}

func shut(t testing.TB, g *grid.Grid) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
}

func cache(t testing.TB, g *grid.Grid, c grid.CacheConfig) *grid.Cache {
	t.Helper()
	if err := g.CreateCache(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	out, err := g.Cache(t.Context(), c.Name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func put(t testing.TB, c *grid.Cache, key, value string, o grid.PutOptions) grid.Revision {
	t.Helper()
	rev, err := c.Put(t.Context(), key, []byte(value), o)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func nothing(backup.Progress) {}

// save backs a grid up into a place, through the stream that a node answers with.
func save(t testing.TB, g *grid.Grid, to backup.Place, o backup.Options) backup.Manifest {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := backup.Write(t.Context(), g, w, o)
		done <- err
		w.CloseWithError(err)
	}()
	m, err := backup.Receive(t.Context(), r, to, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return m
}

// restore fills a new grid.
func restore(t testing.TB, from backup.Place, cfg grid.Config) (*grid.Grid, backup.Restored) {
	t.Helper()
	m, err := backup.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	if err := backup.Verify(t.Context(), from, m, nothing); err != nil {
		t.Fatal(err)
	}
	cfg.Taking = m.Taking()
	g := open(t, cfg)
	out, err := backup.Restore(t.Context(), from, m, g, backup.RestoreOptions{Progress: nothing, Skip: func(string, string) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	return g, out
}

// entries returns all of a cache.
func entries(t testing.TB, c *grid.Cache) map[string]grid.Entry {
	t.Helper()
	out := map[string]grid.Entry{}
	for e, err := range c.List(t.Context(), grid.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		out[e.Key] = e
	}
	return out
}

// same compares entries, all that a client sees.
func same(t testing.TB, what string, got, want map[string]grid.Entry) {
	t.Helper()
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Fatalf("%s: %d keys %.200q, want %d %.200q", what, len(g), g, len(w), w)
	}
	for key, w := range want {
		g := got[key]
		if !bytes.Equal(g.Value, w.Value) || g.ContentType != w.ContentType || g.Revision != w.Revision || !g.Created.Equal(w.Created) ||
			g.Lifespan != w.Lifespan || g.MaxIdle != w.MaxIdle || !g.Expires.Equal(w.Expires) || !maps.Equal(g.Labels, w.Labels) {
			g.Value, w.Value = nil, nil
			t.Errorf("%s: %q is %+v, want %+v", what, key, g, w)
		}
	}
}

// TestRoundTrip: entries of every kind come back as they were, revision and all, in grids of fewer, as many and more partitions; what was removed stays
// removed; and what is written later has a higher revision (invariants 1, 3, 5).
func TestRoundTrip(t *testing.T) {
	g := open(t, grid.Config{Partitions: 8})
	d := cache(t, g, grid.CacheConfig{Name: "d", MaxEntryBytes: grid.MaxValueBytes, MaxIdle: time.Hour})
	v := cache(t, g, grid.CacheConfig{Name: "v", Class: grid.Volatile})
	cache(t, g, grid.CacheConfig{Name: "empty", MaxEntries: 7, Evict: grid.EvictRefuse})
	for i := range 300 {
		put(t, d, fmt.Sprintf("n%d", i), strings.Repeat("x", i), grid.PutOptions{})
	}
	for _, key := range []string{"\x00\xff", "*.>", "a/b c", "é", "{user}/1", "{user}/2", strings.Repeat("k", grid.MaxKeyBytes), "=", ".."} {
		put(t, d, key, "old", grid.PutOptions{})
		put(t, d, key, key, grid.PutOptions{ContentType: "text/plain; charset=utf-8", Labels: map[string]string{"a": "1", "ü &=": ""}})
	}
	put(t, d, "none", "", grid.PutOptions{})
	put(t, d, "large", strings.Repeat("0123456789abcdef", grid.MaxValueBytes/16), grid.PutOptions{})
	put(t, d, "long", "1", grid.PutOptions{Lifespan: time.Hour, MaxIdle: -1})
	put(t, d, "short", "1", grid.PutOptions{Lifespan: time.Millisecond, MaxIdle: -1})
	put(t, d, "gone", "1", grid.PutOptions{})
	if _, err := d.Delete(t.Context(), "gone", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, v, fmt.Sprint(i), "v", grid.PutOptions{})
	}
	want := entries(t, d)
	if len(want) < 300 || want["short"].Key != "" {
		t.Fatalf("%d entries", len(want))
	}
	place := backup.NewDir(t.TempDir())
	m := save(t, g, place, backup.Options{})
	if _, n := m.Volatile(); n != 20 || len(m.Ends) != 16 {
		t.Errorf("%d volatile entries, %d ends", n, len(m.Ends))
	}
	for _, partitions := range []int{1, 4, 8, 32} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			cfg := grid.Config{Dir: t.TempDir(), Partitions: partitions}
			again, out := restore(t, place, cfg)
			if out.Volatile != 20 || out.Entries < int64(len(want)) {
				t.Errorf("restored %+v", out)
			}
			shut(t, again)
			again = open(t, cfg)
			var names []string
			for c, err := range again.Caches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, c.Name)
			}
			if !slices.Equal(names, []string{"d", "empty", "v"}) {
				t.Errorf("caches %q", names)
			}
			c, err := again.Cache(t.Context(), "d")
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Config(); got != d.Config() {
				t.Errorf("configuration %+v", got)
			}
			same(t, "restored", entries(t, c), want)
			for _, key := range []string{"gone", "short"} {
				if _, err := c.Get(t.Context(), key); !errors.Is(err, grid.ErrNotFound) {
					t.Errorf("%s: %v", key, err)
				}
			}
			// Conditions are by the revisions of before.
			old := want["n7"].Revision
			rev, err := c.Put(t.Context(), "n7", nil, grid.PutOptions{IfRevision: old})
			if err != nil || rev <= m2rev(m) {
				t.Errorf("revision %d after %d, %v", rev, old, err)
			}
			if _, err := c.Put(t.Context(), "n7", nil, grid.PutOptions{IfRevision: old}); !errors.Is(err, grid.ErrRevision) {
				t.Errorf("a second put under the condition: %v", err)
			}
		})
	}
}

func m2rev(m backup.Manifest) grid.Revision { return grid.Revision(m.Above) }
