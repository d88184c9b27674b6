package backup_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store/storetest"
)

// TestCold: values that are in a store alone come from there, so that the restored grid has them without it; one that the store has lost is told of, and
// is the only one that is missing (invariant 2).
func TestCold(t *testing.T) {
	store := storetest.NewMemory(nil)
	tiers, err := cold.New(cold.Config{Stores: map[string]cold.Store{"cold": {Store: store}}})
	if err != nil {
		t.Fatal(err)
	}
	g := open(t, grid.Config{Partitions: 2, Tiers: tiers})
	if err := tiers.Start(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tiers.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c := cache(t, g, grid.CacheConfig{Name: "d", Store: "cold"})
	for i := range 200 {
		put(t, c, fmt.Sprint(i), fmt.Sprint("value ", i), grid.PutOptions{Labels: map[string]string{"n": fmt.Sprint(i)}, Lifespan: time.Hour})
	}
	want := entries(t, c)
	keys := slices.Collect(maps.Keys(want))
	for done := false; !done; {
		errs, err := c.Leave(t.Context(), keys, true)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := c.Stats(t.Context()); err != nil {
			t.Fatal(err)
		} else if done = s.Cold == int64(len(keys)); !done {
			t.Logf("%d of %d left: %v", s.Cold, len(keys), errs[0])
		}
	}
	rev := uint64(want["7"].Revision)
	if err := store.Delete(t.Context(), "d", "7", rev); err != nil {
		t.Fatal(err)
	}
	delete(want, "7")
	var lost []string
	place := backup.NewDir(t.TempDir())
	m := save(t, g, place, backup.Options{Lost: func(_, key string, _ error) { lost = append(lost, key) }})
	if m.Lost != 1 || len(lost) != 1 || lost[0] != "7" {
		t.Errorf("lost %q, the manifest says %d", lost, m.Lost)
	}
	again, _ := restore(t, place, grid.Config{Partitions: 8})
	c, err = again.Cache(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "without the store", entries(t, c), want)
}
