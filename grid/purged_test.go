package grid_test

import (
	"testing"

	"github.com/millrace/millrace/grid"
)

// Entries of a cache that was deleted stay away when the process is killed then, also those that had been overwritten, and a later cache of its name
// keeps its own. It is invariant 3.
func TestDeletedCacheSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	g := open(t, grid.Config{Dir: dir, Partitions: 4})
	c := cache(t, g, grid.CacheConfig{Name: "other"})
	again := cache(t, g, grid.CacheConfig{Name: "again"})
	for range 3 {
		for i := range 40 {
			put(t, c, sensor(i), "v")
			put(t, again, sensor(i), "v")
		}
	}
	for _, name := range []string{"other", "again"} {
		if err := g.DeleteCache(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	put(t, cache(t, g, grid.CacheConfig{Name: "again"}), sensor(7), "new")
	for range 2 {
		dir = crashed(t, dir)
		g = open(t, grid.Config{Dir: dir})
		for name, want := range map[string]int{"other": 0, "again": 1} {
			c := cache(t, g, grid.CacheConfig{Name: name})
			n := 0
			for i := range 40 {
				if e, err := c.Get(t.Context(), sensor(i)); err == nil {
					n++
					if string(e.Value) != "new" {
						t.Errorf("%s of %s is there again: %q", e.Key, name, e.Value)
					}
				}
			}
			if n != want {
				t.Errorf("%s has %d entries, want %d", name, n, want)
			}
		}
	}
}
