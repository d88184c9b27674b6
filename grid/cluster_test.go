package grid_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

const clusterSecret = "a secret of the tests"

// clusterConfigs are those of nodes that are one cluster, each with the one before it as its seed.
func clusterConfigs(t testing.TB, n int) []grid.Config {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		var err error
		if addresses[i], err = natstest.Address(); err != nil {
			t.Fatal(err)
		}
	}
	var out []grid.Config
	for i, addr := range addresses {
		out = append(out, grid.Config{Dir: t.TempDir(), Partitions: 8, Cluster: &grid.Cluster{
			Name: "test", Node: fmt.Sprint("n", i), Listen: addr, Seeds: []string{addresses[(i+n-1)%n]}, Secret: clusterSecret,
		}})
	}
	return out
}

// openAll opens nodes that need each other.
func openAll(t testing.TB, configs []grid.Config) []*grid.Grid {
	t.Helper()
	all := make([]*grid.Grid, len(configs))
	var opening errgroup.Group
	for i, cfg := range configs {
		opening.Go(func() (err error) {
			all[i], err = grid.Open(t.Context(), cfg)
			return err
		})
	}
	err := opening.Wait()
	for _, g := range all {
		if g != nil {
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := g.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// even waits until the partitions' owners are their leaders, at most one more on one node than on another.
func even(t testing.TB, all []*grid.Grid) {
	t.Helper()
	eventually(t, "owners are leaders, and even", func() bool {
		least, most, sum := 1000, 0, 0
		for _, g := range all {
			owned := grid.Owns(g)
			if !slices.Equal(owned, grid.Leads(g)) || g.Ready(t.Context()) != nil {
				return false
			}
			least, most, sum = min(least, len(owned)), max(most, len(owned)), sum+len(owned)
		}
		return most-least <= 1 && sum == all[0].Partitions()
	})
}

// TestClusterLeadersOwn: owners are the leaders, evenly, also when a node has left in good order and come back; each node reads what it and the others
// wrote, and one that leaves takes nothing with it.
func TestClusterLeadersOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 3)
	all := openAll(t, configs)
	even(t, all)
	durable := onEach(t, all, grid.CacheConfig{Name: "d", Consistency: grid.ConsistencyLeader})
	volatile := onEach(t, all, grid.CacheConfig{Name: "v", Class: grid.Volatile, Consistency: grid.ConsistencyLeader})
	revs := map[string]grid.Revision{}
	round := func(name string, durable, volatile []*grid.Cache) {
		t.Helper()
		for i := range 60 {
			for _, caches := range [][]*grid.Cache{durable, volatile} {
				c, key := caches[i%len(caches)], fmt.Sprint(name, i%20)
				rev := put(t, c, key, name)
				for n, other := range caches {
					if e, err := other.Get(ctx, key); err != nil || e.Revision != rev {
						t.Errorf("node %d: %s was put at %d through node %d: %+v, %v", n, key, rev, i%len(caches), e, err)
					}
				}
				// The condition holds on a node that did not write it.
				if _, err := caches[(i+1)%len(caches)].Put(ctx, key, nil, grid.PutOptions{IfRevision: rev + 1}); !errors.Is(err, grid.ErrRevision) {
					t.Errorf("%s: a put on a revision that is not: %v", key, err)
				}
				if caches[0] == durable[0] {
					revs[key] = rev
				}
			}
		}
	}
	round("first", durable, volatile)

	began := time.Now()
	if err := all[2].Close(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed after %v", time.Since(began).Round(time.Millisecond))
	even(t, all[:2])
	t.Logf("the partitions of a node that left in good order are owned and even %v later", time.Since(began).Round(time.Millisecond))
	round("second", durable[:2], volatile[:2])

	back := openAll(t, configs[2:])
	even(t, append(all[:2:2], back...))
	for _, g := range append(all[:2:2], back...) {
		c, err := g.Cache(ctx, "d")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]grid.Revision{}
		for e, err := range c.List(ctx, grid.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			got[e.Key] = e.Revision
		}
		if !maps.Equal(got, revs) {
			t.Errorf("there are %v, and %v were put", got, revs)
		}
	}
}

// TestClusterVolatileBeginsAbove: when all nodes were away, volatile caches begin empty, and no revision of before comes again: a store, a reader's position or a
// condition may have it.
func TestClusterVolatileBeginsAbove(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 3)
	last := grid.Revision(0)
	for range 2 {
		all := openAll(t, configs)
		even(t, all)
		most := last
		for i, c := range onEach(t, all, grid.CacheConfig{Name: "v", Class: grid.Volatile, Consistency: grid.ConsistencyLeader}) {
			for key := range 16 {
				if _, err := c.Get(ctx, fmt.Sprint(key)); last > 0 && i == 0 && !errors.Is(err, grid.ErrNotFound) {
					t.Errorf("%d is there without having been put: %v", key, err)
				}
			}
			for key := range 16 {
				rev := put(t, c, fmt.Sprint(key), "value")
				if rev <= last {
					t.Errorf("%d was put at %d, and %d was there before", key, rev, last)
				}
				most = max(most, rev)
			}
		}
		last = most
		var closing errgroup.Group
		for _, g := range all {
			closing.Go(func() error { return g.Close(ctx) })
		}
		if err := closing.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClusterListenInUse: an address that somebody else has is told at once, by its key.
func TestClusterListenInUse(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := clusterConfigs(t, 2)[0]
	cfg.Cluster.Listen = l.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // the server's own limit is 30 s
	defer cancel()
	_, err = grid.Open(ctx, cfg)
	if !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "cluster.listen: "+cfg.Cluster.Listen) || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}
