package grid_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// pair are the configurations of two nodes that keep one replica of each partition, named from first on.
func pair(t *testing.T, first int) []grid.Config {
	t.Helper()
	out := clusterConfigs(t, 2)
	for i := range out {
		out[i].Cluster.Replicas, out[i].Cluster.Node = 1, fmt.Sprint("n", first+i)
	}
	return out
}

// fillThings makes the cache and puts entries with a value of their own.
func fillThings(t *testing.T, g *grid.Grid, value string) {
	t.Helper()
	c := cache(t, g, grid.CacheConfig{Name: "things", Consistency: grid.ConsistencyLeader})
	for i := range 40 {
		put(t, c, fmt.Sprint("k", i), value)
	}
}

// filled waits until all entries are there as fillThings has put them.
func filled(t *testing.T, g *grid.Grid, value string) {
	t.Helper()
	var last error
	defer func() {
		if last != nil {
			t.Logf("the last failure: %v", last)
		}
	}()
	eventually(t, "all entries are there", func() bool {
		last = func() error {
			c, err := g.Cache(t.Context(), "things")
			if err != nil {
				return err
			}
			for i := range 40 {
				if e, err := c.Get(t.Context(), fmt.Sprint("k", i)); err != nil || string(e.Value) != value {
					return fmt.Errorf("k%d: %q, %w", i, e.Value, err)
				}
			}
			return nil
		}()
		return last == nil
	})
}

// refused opens a node that the others must not have, and holds what it says.
func refused(t *testing.T, cfg grid.Config, says ...string) {
	t.Helper()
	ctx, cancel := withTimeout(t, time.Minute)
	defer cancel()
	g, err := grid.Open(ctx, cfg)
	if err == nil {
		closeAll(t, []*grid.Grid{g})
	}
	if !errors.Is(err, grid.ErrConfig) {
		t.Errorf("node %s: %v", cfg.Cluster.Node, err)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("node %s does not say %q: %v", cfg.Cluster.Node, s, err)
		}
	}
}

// withoutID makes a node's folder what programs leave that know no ids.
func withoutID(t *testing.T, cfg grid.Config) {
	t.Helper()
	text := fmt.Sprintf("{\"cluster\":%q,\"node\":%q}\n", cfg.Cluster.Name, cfg.Cluster.Node)
	if err := os.WriteFile(filepath.Join(cfg.Dir, "CLUSTER"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// marked waits until a node's folder has the id, and whether all have it.
func marked(t *testing.T, cfg grid.Config, id string, sure bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("the folder of node %s has the id %s, sure: %t", cfg.Cluster.Node, id, sure), func() bool {
		text, err := os.ReadFile(filepath.Join(cfg.Dir, "CLUSTER"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), `"id":"`+id+`"`) && strings.Contains(string(text), `"sure":true`) == sure
	})
}

func short(g *grid.Grid) string { return "id " + g.ClusterID()[:8] }

// TestClustersStayApart: nodes with seeds in two clusters of one name and secret do not make one of them, which would lose what one of both has.
func TestClustersStayApart(t *testing.T) {
	t.Parallel()
	aConfigs, bConfigs := pair(t, 0), pair(t, 2)
	a, b := openAll(t, aConfigs), openAll(t, bConfigs)
	fillThings(t, a[0], "of a")
	fillThings(t, b[0], "of b")
	if a[0].ClusterID() == "" || a[0].ClusterID() != a[1].ClusterID() || a[0].ClusterID() == b[0].ClusterID() {
		t.Fatalf("ids %q, %q and %q", a[0].ClusterID(), a[1].ClusterID(), b[0].ClusterID())
	}

	closeAll(t, a[1:])
	both := aConfigs[1]
	c := *both.Cluster
	c.Seeds = []string{bConfigs[0].Cluster.Listen, bConfigs[1].Cluster.Listen, aConfigs[0].Cluster.Listen}
	both.Cluster = &c
	a[1] = openAll(t, []grid.Config{both})[0]
	others := b[1]
	closeAll(t, b[1:]) // what the others do anew meets the node with the seeds too
	b[1] = openAll(t, bConfigs[1:])[0]
	if b[1].ClusterID() != others.ClusterID() {
		t.Errorf("the node came back to %s, from %s", b[1].ClusterID(), others.ClusterID())
	}
	for _, g := range a {
		filled(t, g, "of a")
	}
	for _, g := range b {
		filled(t, g, "of b")
	}

	fresh := clusterConfigs(t, 1)[0]
	fresh.Cluster.Replicas, fresh.Cluster.Node, fresh.Cluster.Seeds = 1, "n9", []string{aConfigs[0].Cluster.Listen, bConfigs[0].Cluster.Listen}
	refused(t, fresh, "two clusters", "n0", "n2", short(a[0]), short(b[0]), "cluster.seeds")
	fresh.Cluster.Seeds = fresh.Cluster.Seeds[:1]
	fresh = withFolder(fresh, t.TempDir())
	joined := openAll(t, []grid.Config{fresh})[0]
	if joined.ClusterID() != a[0].ClusterID() {
		t.Errorf("the new node is of %s", joined.ClusterID())
	}

	moved := aConfigs[1] // its folder, with a seed of the others
	closeAll(t, append(a, joined))
	c = *moved.Cluster
	c.Seeds = []string{bConfigs[0].Cluster.Listen}
	moved.Cluster = &c
	refused(t, moved, "the folder of node n1", short(a[0]), short(b[0]), "node.data", "cluster.seeds")
	filled(t, b[0], "of b")
	for _, g := range openAll(t, append(aConfigs[:2:2], fresh)) {
		filled(t, g, "of a")
	}
}

// TestTwoClustersOfTheSameNames: a new node with seeds in two clusters whose nodes have the same names does not take them for one.
func TestTwoClustersOfTheSameNames(t *testing.T) {
	t.Parallel()
	aConfigs, bConfigs := pair(t, 0), pair(t, 0)
	a, b := openAll(t, aConfigs)[0], openAll(t, bConfigs)[0]
	fresh := clusterConfigs(t, 1)[0]
	fresh.Cluster.Replicas, fresh.Cluster.Node, fresh.Cluster.Seeds = 1, "n9", []string{aConfigs[0].Cluster.Listen, bConfigs[0].Cluster.Listen}
	refused(t, fresh, "two clusters", "n0", short(a), short(b), "cluster.seeds")
}

func withFolder(cfg grid.Config, dir string) grid.Config {
	c := *cfg.Cluster
	cfg.Dir, cfg.Cluster = dir, &c
	return cfg
}

// TestFolderOfAnEarlierCluster: a node whose folder is of an earlier cluster of the name does not come in beside nodes that have made a new one, whether it knows its cluster's id or is of
// before there were ids; its folder and what the others have stay. On an empty folder it comes in.
func TestFolderOfAnEarlierCluster(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	earlier := openAll(t, configs)
	fillThings(t, earlier[0], "earlier")
	was := short(earlier[0])
	closeAll(t, earlier)
	var anew []grid.Config
	for _, cfg := range configs {
		cfg = withFolder(cfg, t.TempDir())
		cfg.Cluster.Replicas = 1
		anew = append(anew, cfg)
	}
	now := openAll(t, anew[:2])
	fillThings(t, now[0], "anew")
	old := withFolder(anew[2], configs[2].Dir)
	refused(t, old, "the folder of node n2", was, short(now[0]), "n0", "node.data")
	withoutID(t, old)
	refused(t, old, "the folder of node n2 (without an id)", short(now[0]), "node.data")
	for _, g := range now {
		filled(t, g, "anew")
	}
	third := openAll(t, anew[2:])[0]
	filled(t, third, "anew")
	closeAll(t, append(now, third))
	back := openAll(t, configs) // the folders of before, one of which has lost its id
	for _, g := range back {
		filled(t, g, "earlier")
	}
}

// TestFoldersWithoutID: the nodes of a cluster that was made before there were ids take one when they are there with this program, and keep it; a node that was away meanwhile comes in with
// its folder, and one with an emptied folder too.
func TestFoldersWithoutID(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	all := openAll(t, configs)
	fillThings(t, all[0], "value")
	grid.ForgetCluster(t, all[0])
	closeAll(t, all)
	for _, cfg := range configs {
		withoutID(t, cfg)
	}

	all = openAll(t, configs) // all at once
	id := all[0].ClusterID()
	for i, g := range all {
		if g.ClusterID() != id || id == "" {
			t.Errorf("node %d is of %q, node 0 of %q", i, g.ClusterID(), id)
		}
		filled(t, g, "value")
		marked(t, configs[i], id, false)
	}
	for i := range all { // one after another: from then on all show it
		closeAll(t, all[i:i+1])
		all[i] = openAll(t, configs[i:i+1])[0]
		filled(t, all[i], "value")
	}
	for _, cfg := range configs {
		marked(t, cfg, id, true)
	}

	closeAll(t, all[2:]) // this one missed all that
	withoutID(t, configs[2])
	all[2] = openAll(t, configs[2:])[0]
	filled(t, all[2], "value")
	marked(t, configs[2], id, true)
	closeAll(t, all[1:2])
	if err := os.RemoveAll(configs[1].Dir); err != nil {
		t.Fatal(err)
	}
	all[1] = openAll(t, configs[1:2])[0]
	filled(t, all[1], "value")
	marked(t, configs[1], id, true)
	closeAll(t, all)
	if err := os.RemoveAll(configs[0].Dir); err != nil {
		t.Fatal(err)
	}
	for i, g := range openAll(t, configs) { // two with replicas and a new one at once
		filled(t, g, "value")
		if g.ClusterID() != id {
			t.Errorf("node %d is of %q, which was %q", i, g.ClusterID(), id)
		}
	}
}
