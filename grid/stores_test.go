package grid_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// TestClusterLacksStore: a cache is refused whose store some node of a cluster lacks, with that node's name, and a node is refused that lacks the store of a cache.
func TestClusterLacksStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 4)
	a := newAttic()
	configs[0].Tiers, configs[1].Tiers = a, a.beside()
	configs[2].Tiers, configs[3].Tiers = &attic{shelf: a.shelf, bare: true}, &attic{shelf: a.shelf, bare: true}
	all := openAll(t, configs[:3])
	config := grid.CacheConfig{Name: "c", Store: "attic"}
	if err := all[0].CreateCache(ctx, grid.CacheConfig{Name: "plain"}); err != nil {
		t.Fatal(err)
	}
	_, checked := all[1].CheckCache(ctx, config)
	for what, err := range map[string]error{
		"check": checked, "create": all[0].CreateCache(ctx, config), "update": all[1].UpdateCache(ctx, grid.CacheConfig{Name: "plain", Store: "attic"}),
	} {
		if !errors.Is(err, grid.ErrConfig) || !errors.Is(err, grid.ErrLacking) || !strings.Contains(err.Error(), `: n2: there is no "attic" among their stores; add stores.attic`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := all[2].CreateCache(ctx, config); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), `this node has no store "attic", but none`) {
		t.Errorf("create on the node that lacks it: %v", err)
	}
	for i, g := range all {
		if _, err := g.Cache(ctx, "c"); !errors.Is(err, grid.ErrNoCache) {
			t.Errorf("node %d has what was refused: %v", i, err)
		}
	}

	// A node that is away is not asked, and says so itself when it comes.
	if err := all[2].Close(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is gone", func() bool { return len(all[0].Others()) == 1 })
	if err := all[0].CreateCache(ctx, config); err != nil {
		t.Fatal(err)
	}
	if _, err := grid.Open(ctx, configs[2]); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), `no store "attic" on this node`) {
		t.Fatalf("a node without the store of a cache: %v", err)
	}
	configs[2].Tiers = a.beside()
	all[2] = openAll(t, configs[2:3])[0]
	even(t, all)
	// A node that is new has no voice when it is refused.
	if _, err := grid.Open(ctx, configs[3]); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), `cannot join: cache c: this node has no store "attic", but none`) {
		t.Fatalf("a new node without the store of a cache: %v", err)
	}
	for _, g := range all {
		if peers, ok := g.Peers(); ok && len(peers) != 3 {
			t.Errorf("the voices are those of %v", peers)
		}
	}
	c, err := all[2].Cache(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "value")
}

// TestClusterFindsStoreLacking: where nobody could see beforehand that a node lacks the store of a new cache, it says so and is not ready until the cache is gone.
func TestClusterFindsStoreLacking(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 3)
	a := newAttic()
	configs[0].Tiers, configs[1].Tiers = a, a.beside()
	configs[2].Tiers = &attic{shelf: a.shelf, late: true}
	all := openAll(t, configs)
	even(t, all)
	if err := all[0].CreateCache(ctx, grid.CacheConfig{Name: "c", Store: "attic"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is not ready, and says why", func() bool {
		err := all[2].Ready(ctx)
		return errors.Is(err, grid.ErrConfig) && strings.Contains(err.Error(), `cache c: configuration not usable: no store "attic" on this node`)
	})
	c, err := all[0].Cache(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	// Its partitions take nothing that could neither leave memory nor come back.
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := c.Put(short, ownedBy(t, all[2], "k"), nil, grid.PutOptions{}); err == nil || !strings.Contains(err.Error(), `no store "attic"`) {
		t.Errorf("put into a partition of the node: %v", err)
	}
	if err := all[0].DeleteCache(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is ready again", func() bool { return all[2].Ready(ctx) == nil })
}

// TestGuestWithoutStore: a node that owns no partitions needs no store: it gets what is cold from the owners, large values too.
func TestGuestWithoutStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 4)
	shelves := newAttic()
	attics := []*attic{shelves, shelves.beside(), shelves.beside(), {shelf: shelves.shelf, bare: true}}
	for i := range configs {
		configs[i].Tiers = attics[i]
	}
	configs[3].Cluster.Roles = []grid.Role{grid.RoleDoor}
	all := openAll(t, configs)
	even(t, all[:3])
	through := cache(t, all[3], grid.CacheConfig{Name: "c", Store: "attic", MaxEntryBytes: grid.MaxValueBytes})
	want := map[string][]byte{}
	for i := range 12 {
		key, value := fmt.Sprint("k", i), fmt.Appendf(nil, "value %d", i)
		if i == 0 {
			value = bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
		}
		if _, err := through.Put(ctx, key, value, grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		want[key] = value
	}
	away := func() {
		t.Helper()
		for key := range want {
			for i, g := range all[:3] {
				if _, err := g.Cache(ctx, "c"); err != nil {
					t.Fatal(err)
				}
				if slices.Contains(grid.Owns(g), grid.Partition(key, 8)) {
					mustShelve(t, attics[i].of("c"), key)
				}
			}
		}
		wantCold(t, through, int64(len(want)), int64(len(want)))
	}
	away()
	got := 0
	for e, err := range through.List(ctx, grid.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got++; !bytes.Equal(e.Value, want[e.Key]) {
			t.Errorf("%s has %d bytes, want %d", e.Key, len(e.Value), len(want[e.Key]))
		}
	}
	if got != len(want) {
		t.Errorf("%d entries are listed", got)
	}
	wantCold(t, through, int64(len(want)), int64(len(want)))
	for key, value := range want {
		if e := get(t, through, key); !bytes.Equal(e.Value, value) {
			t.Errorf("%s has %d bytes, want %d", key, len(e.Value), len(value))
		}
	}
	if s, err := through.Stats(ctx); err != nil || s.Tier == nil {
		t.Errorf("%+v, %v", s, err)
	}
	// What the owners have no room for is not stored through the guest either.
	for _, a := range attics[:3] {
		tier := a.of("c")
		tier.mu.Lock()
		tier.full = true
		tier.mu.Unlock()
	}
	if _, err := through.Put(ctx, "more", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrFull) {
		t.Errorf("put where owners have no room: %v", err)
	}
}
