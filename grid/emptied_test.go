package grid_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// waitsFor is what nodes say that they wait for.
type waitsFor struct {
	mu sync.Mutex
	of map[string]string
}

// hear has a node's configuration tell w.
func (w *waitsFor) hear(cfg grid.Config) {
	cfg.Cluster.Waiting = func(reason string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.of[cfg.Cluster.Node] = reason
	}
}

// says reports whether a node says all parts.
func (w *waitsFor) says(node string, parts ...string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range parts {
		if !strings.Contains(w.of[node], part) {
			return false
		}
	}
	return true
}

// await waits until a node says all parts.
func (w *waitsFor) await(t *testing.T, node string, parts ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !w.says(node, parts...); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Fatalf("not within a minute: %s says %q; it says %q", node, parts, w.of[node])
		}
	}
}

// opening opens nodes that will not come to the end of it, until it is stopped.
func opening(t *testing.T, configs ...grid.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, cfg := range configs {
		all.Go(func() {
			if g, err := grid.Open(ctx, cfg); err == nil {
				t.Errorf("%s is open", cfg.Cluster.Node)
				if err := g.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// empty takes a node's folder away, and returns how to bring it back.
func empty(t *testing.T, cfg grid.Config) (bringBack func()) {
	t.Helper()
	away := cfg.Dir + ".away"
	if err := os.Rename(cfg.Dir, away); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.RemoveAll(cfg.Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(away, cfg.Dir); err != nil {
			t.Fatal(err)
		}
	}
}

func closeAll(t *testing.T, all []*grid.Grid) {
	t.Helper()
	var closing errgroup.Group
	for _, g := range all {
		closing.Go(func() error { return g.Close(t.Context()) })
	}
	if err := closing.Wait(); err != nil {
		t.Fatal(err)
	}
}

// allVoices waits until each node knows the voices of all: in a cluster that was just made it knows those of its seeds.
func allVoices(t *testing.T, all []*grid.Grid) {
	t.Helper()
	eventually(t, "each node knows all voices", func() bool {
		return !slices.ContainsFunc(all, func(g *grid.Grid) bool { return grid.Voices(t, g) != len(all) })
	})
}

// TestFoldersEmptied: with two of three folders emptied the nodes wait, and each says that folders are empty, whose, and what to do; with the folder of one of them all is there.
func TestFoldersEmptied(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	all := openAll(t, configs)
	even(t, all)
	allVoices(t, all)
	put(t, cache(t, all[0], grid.CacheConfig{Name: "c"}), "k", "kept")
	cache(t, all[0], grid.CacheConfig{Name: "v", Class: grid.Volatile}) // its streams are empty on all nodes then, and each vote is needed
	closeAll(t, all)
	bringBack := empty(t, configs[1])
	empty(t, configs[2])
	w := &waitsFor{of: map[string]string{}}
	for i, cfg := range configs {
		w.hear(cfg)
		if i > 0 {
			cfg.Cluster.Seeds = []string{configs[0].Cluster.Listen}
		}
	}
	// The one that has its folder is first: nodes on empty folders that find each other alone make a new grid.
	stop := opening(t, configs[0])
	w.await(t, "n0", "one alone is no cluster")
	stopOthers := opening(t, configs[1:]...)
	why := []string{"2 of 3 nodes with a voice have to be there, and 1 are", "n1, n2 are there with empty folders and have no voice", "on the folders that they had", "millrace restore"}
	w.await(t, "n0", why...)
	w.await(t, "n1", append([]string{"n0 has replicas of it"}, why...)...)
	w.await(t, "n2", append([]string{"n0 has replicas of it"}, why...)...)
	stopOthers()
	stop()
	bringBack()
	back := openAll(t, configs)
	even(t, back)
	for i, g := range back {
		c, err := g.Cache(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		if e, err := c.Get(t.Context(), "k"); err != nil || string(e.Value) != "kept" {
			t.Errorf("node %d has %q, %v", i, e.Value, err)
		}
	}
}

// TestFolderEmptiedWhileAnotherIsDead: of four nodes one has lost its folder and another one is dead. Partitions with replicas on both have no leader: what they had acknowledged the third replica may not
// have. The nodes say so, and whom to start; once that one is there all is well.
func TestFolderEmptiedWhileAnotherIsDead(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 4)
	for i := range configs { // each knows all: any may be dead
		configs[i].Cluster.Seeds = nil
		for _, other := range configs {
			if other.Cluster != configs[i].Cluster {
				configs[i].Cluster.Seeds = append(configs[i].Cluster.Seeds, other.Cluster.Listen)
			}
		}
	}
	all := openAll(t, configs)
	allVoices(t, all)
	var both []int // partitions with replicas on n2 and n3
	eventually(t, "some partitions have replicas on n2 and n3", func() bool {
		both = nil
		for _, p := range all[0].PartitionStates(t.Context()) {
			on := fmt.Sprint(p.Replicas)
			if p.Leader != "" && strings.Contains(on, "{n2 ") && strings.Contains(on, "{n3 ") {
				both = append(both, p.Number)
			}
		}
		return len(both) > 0 && all[0].Ready(t.Context()) == nil
	})
	c := cache(t, all[0], grid.CacheConfig{Name: "c"})
	for i := range 40 {
		put(t, c, fmt.Sprint(i), "kept")
	}
	closeAll(t, all[2:])
	eventually(t, "nobody leads the cluster", func() bool { return all[0].NoLeader() != "" })
	empty(t, configs[3])
	w := &waitsFor{of: map[string]string{}}
	w.hear(configs[3])
	stop := opening(t, configs[3])
	empties := "n3 is there with an empty folder and has no voice"
	w.await(t, "n3", "3 of 4 nodes with a voice have to be there, and 2 are; missing is n2: start it", empties)
	eventually(t, "the partitions on both say why they have no leader", func() bool {
		states := all[0].PartitionStates(t.Context())
		for _, number := range both {
			if err := states[number].Error; err == nil || !strings.Contains(err.Error(), "and it needs 2: start n2; "+empties) {
				return false
			}
		}
		return true
	})
	if err := all[0].Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "start n2; "+empties) || strings.Count(err.Error(), empties) != 1 {
		t.Error(err)
	}
	stop()
	back := openAll(t, configs[2:])
	eventually(t, "all are ready", func() bool {
		for _, g := range append(all[:2:2], back...) {
			if g.Ready(t.Context()) != nil {
				return false
			}
		}
		return true
	})
	for i := range 40 {
		if e, err := c.Get(t.Context(), fmt.Sprint(i)); err != nil || string(e.Value) != "kept" {
			t.Errorf("%d is %q, %v", i, e.Value, err)
		}
	}
}

// TestOnlyReplicaEmptied: with one replica the node with the grid's description has lost its folder. It and, once all were started again, the others say that nobody has the description, which folder is to come
// back, and what to do where it is lost; with that folder all is there.
func TestOnlyReplicaEmptied(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	for i := range configs { // each knows all: any may be away
		configs[i].Cluster.Replicas, configs[i].Cluster.Seeds = 1, nil
		for _, other := range configs {
			if other.Cluster != configs[i].Cluster {
				configs[i].Cluster.Seeds = append(configs[i].Cluster.Seeds, other.Cluster.Listen)
			}
		}
	}
	all := openAll(t, configs)
	allVoices(t, all)
	fillThings(t, all[0], "kept")
	lost := slices.IndexFunc(configs, func(c grid.Config) bool { return c.Cluster.Node == grid.Describes(t, all[0]) })
	if lost < 0 {
		t.Fatal("nobody leads the description")
	}
	name := configs[lost].Cluster.Node
	eventually(t, "it has a partition", func() bool {
		return slices.ContainsFunc(all[0].PartitionStates(t.Context()), func(s grid.PartitionState) bool { return s.Leader == name })
	})
	var kept []grid.Config
	var there []*grid.Grid
	for i := range configs {
		if i != lost {
			kept, there = append(kept, configs[i]), append(there, all[i])
		}
	}
	closeAll(t, all[lost:lost+1])
	bringBack := empty(t, configs[lost])
	w := &waitsFor{of: map[string]string{}}
	for _, cfg := range configs {
		w.hear(cfg)
	}
	stop := opening(t, configs[lost])
	why := []string{"no node leads the grid's description", "on the folders that they had", "millrace restore"}
	w.await(t, name, append([]string{"has replicas of it"}, why...)...)
	closeAll(t, there)
	stopOthers := opening(t, kept...)
	for _, cfg := range kept {
		w.await(t, cfg.Cluster.Node, append([]string{"until the cluster says what grid it has"}, why...)...)
	}
	stopOthers()
	stop()
	bringBack()
	filled(t, openAll(t, configs)[0], "kept")
}

// TestEmptiedBeginAnother: two nodes whose folders were emptied are there while the one that has its folder is not, and begin a cluster. When that one comes they wait as they would have before: the
// voices that they have in what they had begun are none in its cluster.
func TestEmptiedBeginAnother(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	all := openAll(t, configs)
	even(t, all)
	allVoices(t, all)
	put(t, cache(t, all[0], grid.CacheConfig{Name: "c"}), "k", "kept")
	closeAll(t, all)
	bringBack := empty(t, configs[1])
	empty(t, configs[2])
	w := &waitsFor{of: map[string]string{}}
	for _, cfg := range configs {
		w.hear(cfg)
	}
	stopOthers := opening(t, configs[1:]...)
	for _, node := range []string{"n1", "n2"} {
		w.await(t, node, "waits for 1 more nodes")
	}
	stop := opening(t, configs[0])
	empties := "n1, n2 are there with empty folders and have no voice"
	for _, node := range []string{"n0", "n1", "n2"} {
		w.await(t, node, "2 of 3 nodes with a voice have to be there, and 1 are", empties)
	}
	stopOthers()
	stop()
	bringBack()
	for i, g := range openAll(t, configs) {
		c, err := g.Cache(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		if e, err := c.Get(t.Context(), "k"); err != nil || string(e.Value) != "kept" {
			t.Errorf("node %d has %q, %v", i, e.Value, err)
		}
	}
}
