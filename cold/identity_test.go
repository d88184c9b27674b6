package cold_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// swapped is a store behind which there may be another one from some moment on, as with a bucket that was made anew.
type swapped struct {
	store.Store
	other atomic.Pointer[storetest.Memory]
}

func (s *swapped) now() store.Store {
	if o := s.other.Load(); o != nil {
		return o
	}
	return s.Store
}

func (s *swapped) Get(ctx context.Context, namespace, key string) (store.Entry, error) {
	return s.now().Get(ctx, namespace, key)
}

func (s *swapped) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	return s.now().PutAll(ctx, namespace, entries)
}

// TestOtherStore: a node whose store is not the one that the grid has under its name does not start, and leaves nothing in that store, whether it is empty or one that such a node
// used before stores had ids. The node with the right one goes on.
func TestOtherStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{grid: grid.Config{URL: natstest.URL(t), Partitions: 2}, store: memory()}
	one := open(t, s)
	c := cache(t, one, grid.CacheConfig{Name: "c", MaxEntries: 10, Store: "cold"})
	put(t, c, "k", "value")

	right := s.store
	old := memory()
	if _, err := store.Claim(ctx, old, one.ID()); err != nil {
		t.Fatal(err)
	}
	withID := memory()
	if _, err := store.MakeID(ctx, withID); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*faultstore.Store{"an empty store": memory(), "one of this grid": old, "one of nobody": withID} {
		before, err := store.ReadOwner(ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		idBefore, err := store.ReadID(ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		s.store = other
		n, err := start(ctx, s)
		if err == nil {
			_ = n.stop(ctx) // the test has failed
		}
		if !errors.Is(err, cold.ErrOtherStore) || !strings.Contains(err.Error(), "store cold") || !strings.Contains(err.Error(), "stores.cold") {
			t.Errorf("%s: %v", name, err)
		}
		after, err := store.ReadOwner(ctx, other)
		if err != nil || after != before {
			t.Errorf("%s: it belonged to %+v and belongs to %+v: %v", name, before, after, err)
		}
		if id, err := store.ReadID(ctx, other); err != nil || id != idBefore {
			t.Errorf("%s: it had the id %q and has %q: %v", name, idBefore, id, err)
		}
	}
	s.store = right
	two := open(t, s)
	if e, err := cache(t, two, grid.CacheConfig{Name: "c", MaxEntries: 10, Store: "cold"}).Get(ctx, "k"); err != nil || string(e.Value) != "value" {
		t.Errorf("with the right store: %+v, %v", e, err)
	}
}

// TestStoreReplaced: a store that has this grid's own copies, by an import, takes the place of the one that the grid had; a node that still has that one uses it no more.
func TestStoreReplaced(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := setup{grid: grid.Config{URL: natstest.URL(t), Partitions: 2}, store: memory()}
	one := open(t, s)
	cache(t, one, grid.CacheConfig{Name: "c", MaxEntries: 10, Store: "cold"})
	cold.LookNow(ctx, one.cold)
	if why := one.cold.Foreign(); len(why) > 0 {
		t.Fatal(why)
	}
	s.store = memory()
	if err := store.SetFrom(ctx, s.store, one.ID()); err != nil {
		t.Fatal(err)
	}
	two := open(t, s)
	cold.LookNow(ctx, one.cold)
	cold.LookNow(ctx, two.cold)
	if why := one.cold.Foreign(); len(why) != 1 || !strings.Contains(why[0], "store cold") {
		t.Errorf("the node with the store of before: %q", why)
	}
	if why := two.cold.Foreign(); len(why) > 0 {
		t.Errorf("the node with the new one: %q", why)
	}
}

// TestStoreComesBackAsAnother: what is under a store's name changes while a node has it open. Nothing is written there, nothing counts as lost, and where the right one is back all goes on.
func TestStoreComesBackAsAnother(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	under := &swapped{Store: storetest.NewMemory(nil)}
	s := setup{grid: grid.Config{URL: natstest.URL(t), Partitions: 2, Timeout: 2 * time.Second}, store: faultstore.New(under, 1, faultstore.Faults{})}
	n := open(t, s)
	c := cache(t, n, grid.CacheConfig{Name: "c", MaxEntries: 10, Store: "cold"})
	put(t, c, "gone", "value")
	eventually(t, "it leaves memory", func() bool {
		errs, err := c.Leave(ctx, []string{"gone"}, true)
		return err == nil && errs[0] == nil
	})
	s.store.Down()
	before := s.store.Calls()
	put(t, c, "later", "value")
	eventually(t, "the store has refused it", func() bool { return s.store.Calls() > before })
	other := storetest.NewMemory(nil)
	under.other.Store(other)
	s.store.Up()
	eventually(t, "it is noticed", func() bool { return len(n.cold.Foreign()) == 1 })
	if _, err := c.Get(ctx, "gone"); !errors.Is(err, grid.ErrUnavailable) || !errors.Is(err, cold.ErrOtherStore) {
		t.Errorf("get of what is in the right store: %v", err)
	}
	if empty, err := store.IsEmpty(ctx, other); err != nil || !empty || stats(t, c).Tier.LagEntries != 1 {
		t.Errorf("the other store is empty: %v, %v; %+v", empty, err, stats(t, c).Tier)
	}
	under.other.Store(nil)
	eventually(t, "the store has everything", func() bool { return stats(t, c).Tier.LagEntries == 0 })
	if e, err := c.Get(ctx, "gone"); err != nil || string(e.Value) != "value" || len(n.cold.Foreign()) > 0 {
		t.Errorf("%+v, %v; %q", e, err, n.cold.Foreign())
	}
}
