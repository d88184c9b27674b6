package grid_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// TestGuestsKeepNothing: nodes without the role grid put, get, list and listen like all others, and have no replica, no partition and no voice, so that the grid goes on
// without any of them.
func TestGuestsKeepNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 5)
	configs[3].Cluster.Roles = []grid.Role{grid.RoleDoor}
	configs[4].Cluster.Roles = []grid.Role{grid.RoleCompute}
	for i := range configs { // each names all others: the guests too, which are no peers of the servers that keep the grid
		var seeds []string
		for j, other := range configs {
			if j != i {
				seeds = append(seeds, other.Cluster.Listen)
			}
		}
		configs[i].Cluster.Seeds = seeds
	}
	all := openAll(t, configs)
	keepers, guests := all[:3], all[3:]
	even(t, keepers)
	eventually(t, "all nodes are known with their roles", func() bool {
		for _, g := range all {
			if !slices.Equal(g.NodesWith(grid.RoleGrid), []string{"n0", "n1", "n2"}) || !slices.Equal(g.NodesWith(grid.RoleDoor), []string{"n0", "n1", "n2", "n3"}) ||
				!slices.Equal(g.NodesWith(grid.RoleCompute), []string{"n0", "n1", "n2", "n4"}) {
				return false
			}
		}
		return true
	})
	for _, class := range []grid.Class{grid.Durable, grid.Volatile} {
		name := "of-" + string(class)
		caches := []*grid.Cache{cache(t, guests[0], grid.CacheConfig{Name: name, Class: class, Consistency: grid.ConsistencyLeader})} // a guest has the streams made
		for _, g := range append(keepers[:3:3], guests[1]) {
			c, err := g.Cache(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			caches = append(caches, c)
		}
		l, err := caches[0].Listen(ctx, grid.ListenOptions{Values: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			key := fmt.Sprint("k", i)
			rev := put(t, caches[i%len(caches)], key, key)
			if e, err := caches[(i+1)%len(caches)].Get(ctx, key); err != nil || e.Revision != rev {
				t.Errorf("%s at %d: %+v, %v", key, rev, e, err)
			}
		}
		got := seen{}
		for len(got) < 40 {
			got.take(t, next(t, l))
		}
		l.Close()
		for i, c := range caches {
			if n, err := c.Size(ctx); n != 40 || err != nil {
				t.Errorf("%s: cache %d has %d entries, %v", class, i, n, err)
			}
		}
	}
	groups, err := keepers[0].Groups(ctx)
	if err != nil || len(groups) != 17 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	for _, group := range groups {
		for _, r := range group.Replicas {
			if r.Node == "n3" || r.Node == "n4" {
				t.Errorf("%s has a replica on %s", group.Stream, r.Node)
			}
		}
	}
	peers := 0
	for _, g := range all {
		if list, ok := g.Peers(); ok {
			peers = len(list)
		}
	}
	if peers != 3 {
		t.Errorf("%d nodes have a voice", peers)
	}
	for i, g := range guests {
		if owned := grid.Owns(g); len(owned) > 0 {
			t.Errorf("guest %d owns %v", i, owned)
		}
		if err := g.Ready(ctx); err != nil {
			t.Errorf("guest %d: %v", i, err)
		}
	}

	// Without both guests everything goes on, and one comes back to its folder.
	for _, g := range guests {
		if err := g.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	even(t, keepers)
	c, err := keepers[1].Cache(ctx, "of-durable")
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "later", "value")
	back := openAll(t, configs[3:4])[0]
	if c, err = back.Cache(ctx, "of-durable"); err != nil {
		t.Fatal(err)
	}
	if e, err := c.Get(ctx, "later"); err != nil || string(e.Value) != "value" {
		t.Errorf("what was put while the guest was away: %+v, %v", e, err)
	}

	// A node that has replicas keeps its role: the others count on them. One without any may get it.
	if err := keepers[2].Close(ctx); err != nil {
		t.Fatal(err)
	}
	turned := configs[2]
	cl := *turned.Cluster
	cl.Roles = []grid.Role{grid.RoleCompute, grid.RoleDoor}
	turned.Cluster = &cl
	if _, err := grid.Open(ctx, turned); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "millrace cluster drain n2") {
		t.Errorf("a node with replicas that is to be none that keeps the grid: %v", err)
	}
	if err := back.Close(ctx); err != nil {
		t.Fatal(err)
	}
	turned = configs[3]
	cl = *turned.Cluster
	cl.Roles = nil
	turned.Cluster = &cl
	even(t, append(keepers[:2:2], openAll(t, []grid.Config{configs[2]})...))
	joined := openAll(t, []grid.Config{turned})[0]
	eventually(t, "the node that was a guest has a voice", func() bool {
		for _, g := range append(keepers[:2:2], joined) {
			if list, ok := g.Peers(); ok {
				return slices.ContainsFunc(list, func(p grid.Peer) bool { return p.Name == "n3" && !p.Offline })
			}
		}
		return false
	})
}

// TestGuestWaits: a guest waits for the nodes that keep the grid, and says so; two of them that are to have three replicas wait for a third, whatever guests there are.
func TestGuestWaits(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 4)
	configs[2].Cluster.Roles = []grid.Role{grid.RoleDoor}
	reasons := make(chan string, 100)
	for i := range 3 {
		configs[i].Cluster.Waiting = func(reason string) {
			select {
			case reasons <- fmt.Sprint(i, ": ", reason):
			default:
			}
		}
	}
	opening, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan error, 3)
	all := make([]*grid.Grid, 3)
	for i := range 3 {
		go func() {
			var err error
			all[i], err = grid.Open(opening, configs[i])
			opened <- err
		}()
	}
	ctx, cancelWait := withTimeout(t, time.Minute)
	defer cancelWait()
	want := map[string]bool{"2: waits for the nodes that keep the grid": false, "more nodes with grid in node.roles": false}
	for slices.Contains([]bool{want["2: waits for the nodes that keep the grid"], want["more nodes with grid in node.roles"]}, false) {
		select {
		case reason := <-reasons:
			for part := range want {
				if strings.Contains(reason, part) {
					want[part] = true
				}
			}
		case <-ctx.Done():
			t.Fatalf("the nodes have not said what they wait for: %v", want)
		}
	}
	openAll(t, configs[3:])
	for range 3 {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
	for _, g := range all {
		if g != nil {
			defer g.Close(context.Background())
		}
	}
	if owned := grid.Owns(all[2]); len(owned) > 0 {
		t.Errorf("the guest owns %v", owned)
	}
}
