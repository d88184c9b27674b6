package grid_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/grid"
)

// attic is a store for tests that keeps values in a map, and what is behind the caches of one node. Several nodes, and one that is
// opened again, share the map.
type attic struct {
	shelf *shelf
	bare  bool // the node has no store
	late  bool // the node has none, and said before that it has

	mu    sync.Mutex
	tiers map[string]*atticTier
}

// shelf has values by cache, key and revision.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
	loads  int
}

func newAttic() *attic {
	return &attic{shelf: &shelf{values: make(map[string][]byte)}, tiers: make(map[string]*atticTier)}
}

// beside is the attic of another node.
func (a *attic) beside() *attic { return &attic{shelf: a.shelf, tiers: make(map[string]*atticTier)} }

func (a *attic) Tier(c *grid.Cache, config grid.CacheConfig) (grid.Tier, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if config.Store == "" {
		return nil, nil
	}
	if a.late || !slices.Contains(a.Stores(), config.Store) {
		return nil, fmt.Errorf("%w: no store %q on this node", grid.ErrConfig, config.Store)
	}
	if a.tiers[c.Name()] == nil {
		a.tiers[c.Name()] = &atticTier{c: c, shelf: a.shelf, hot: make(map[string]int), used: make(map[string]int)}
	}
	return a.tiers[c.Name()], nil
}

func (a *attic) Apart(context.Context, string) (bool, error) { return false, nil }

func (a *attic) Stores() []string {
	if a.bare {
		return nil
	}
	return []string{"attic"}
}

func (a *attic) Deleted(string) {}

func (a *attic) of(cache string) *atticTier {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tiers[cache]
}

type atticTier struct {
	c     *grid.Cache
	shelf *shelf

	mu   sync.Mutex
	hot  map[string]int
	used map[string]int
	full bool
}

func (t *atticTier) Hot(key string, size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hot[key] = size
}

func (t *atticTier) Gone(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.hot, key)
}

func (t *atticTier) Used(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used[key]++
}

func (t *atticTier) uses(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used[key]
}

// inMemory returns the keys whose values are in memory in the partitions of this node.
func (t *atticTier) inMemory() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for key := range t.hot {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func (t *atticTier) Admit(_ context.Context, need grid.Need) (grid.Need, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full && need.Entries > 0 {
		return need, fmt.Errorf("%w: the test says so", grid.ErrFull)
	}
	return need, nil
}

func (t *atticTier) Release(grid.Need) {}

func (t *atticTier) Load(ctx context.Context, cold grid.Cold, back bool) ([]byte, error) {
	t.shelf.mu.Lock()
	value, ok := t.shelf.values[t.shelfKey(cold.Entry.Key, cold.Entry.Revision)]
	t.shelf.loads++
	t.shelf.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: %s at %d", grid.ErrNotFound, cold.Entry.Key, cold.Entry.Revision)
	}
	if back {
		if err := t.c.Activate(ctx, cold, value); err != nil && !errors.Is(err, grid.ErrRevision) && !errors.Is(err, grid.ErrNotFound) {
			return nil, err
		}
	}
	return slices.Clone(value), nil
}

func (t *atticTier) Leave(ctx context.Context, some []grid.Resident, _ bool) []error {
	keys := make([]string, len(some))
	for i, r := range some {
		keys[i] = r.Key
	}
	errs := make([]error, len(some))
	if err := shelve(ctx, t, keys...); err != nil {
		errs[0] = err
	}
	return errs
}

func (t *atticTier) Stored(context.Context, int, grid.Sequence) error { return nil }
func (t *atticTier) Forget(int, grid.Sequence)                        {}

func (t *atticTier) Stats() grid.TierStats {
	return grid.TierStats{InMemory: int64(len(t.inMemory())), Loads: 7}
}

func (t *atticTier) shelfKey(key string, rev grid.Revision) string {
	return fmt.Sprint(t.c.Name(), "/", key, "/", rev)
}

func (s *shelf) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

// shelve puts the values of keys into the store, and stubs in their place. It is for the owner of their partitions.
func shelve(ctx context.Context, t *atticTier, keys ...string) error {
	if _, err := t.c.Size(ctx); err != nil { // the index has what was written
		return err
	}
	var some []grid.Resident
	for _, key := range keys {
		e, err := t.c.Get(ctx, key)
		if errors.Is(err, grid.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r, ok := t.c.Resident(key)
		if !ok {
			return fmt.Errorf("%s is not in memory here", key)
		}
		t.shelf.mu.Lock()
		t.shelf.values[t.shelfKey(key, e.Revision)] = e.Value
		t.shelf.mu.Unlock()
		some = append(some, r)
	}
	for i, err := range t.c.Demote(ctx, some) {
		if err != nil {
			return fmt.Errorf("demote %s: %w", some[i].Key, err)
		}
	}
	return nil
}

func mustShelve(tb testing.TB, t *atticTier, keys ...string) {
	tb.Helper()
	if err := shelve(tb.Context(), t, keys...); err != nil {
		tb.Fatal(err)
	}
}
