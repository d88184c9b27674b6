package pipeline_test

import (
	"context"
	"testing"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// TestColdResult: what is removed or replaced is neither loaded for that nor waits for a store that is away.
func TestColdResult(t *testing.T) {
	s := faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})
	tiers, err := cold.New(cold.Config{Stores: map[string]cold.Store{"cold": {Store: s}}})
	if err != nil {
		t.Fatal(err)
	}
	w := openWorkbench(t, grid.Config{InMemory: true, Partitions: 4, Tiers: tiers})
	t.Cleanup(func() {
		if err := tiers.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := tiers.Start(t.Context(), w.grid); err != nil {
		t.Fatal(err)
	}
	if err := w.grid.UpdateCache(t.Context(), grid.CacheConfig{Name: "out", Store: "cold"}); err != nil {
		t.Fatal(err)
	}
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	l := w.listen("out")
	for _, key := range []string{"removed", "replaced"} {
		w.result(l, key, w.put(key, "[1, 2]"))
	}
	errs, err := w.cache("out").Leave(t.Context(), []string{"removed", "replaced"}, true)
	if err != nil || errs[0] != nil || errs[1] != nil {
		t.Fatalf("leave memory: %v, %v", err, errs)
	}
	s.Down()
	if _, err := w.cache("in").Delete(t.Context(), "removed", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.next(l, "the result is removed", func(e grid.Event) bool { return e.Entry.Key == "removed" && e.Type == grid.Removed })
	w.result(l, "replaced", w.put("replaced", "[2, 1]"))
	stats, err := w.cache("out").Stats(t.Context())
	if err != nil || stats.Tier.Loads != 0 || stats.Tier.LoadErrors != 0 {
		t.Errorf("%v: %+v", err, stats.Tier)
	}
}
