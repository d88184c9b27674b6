package cluster_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// node is one of the nodes of a cluster in this process, with its manager.
type node struct {
	grid    *grid.Grid
	manager *cluster.Manager
	stop    func()
}

// configs are those of nodes that are one cluster, each with the one before it as its seed.
func configs(t *testing.T, n int) []grid.Config {
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
		seed := addresses[max(0, i-1)]
		if i == 0 {
			seed = addresses[1]
		}
		out = append(out, grid.Config{Dir: t.TempDir(), Partitions: 8, Version: "v", Cluster: &grid.Cluster{
			Name: "test", Node: fmt.Sprint("n", i), Listen: addr, Seeds: []string{seed}, Secret: "a secret of the tests",
		}})
	}
	return out
}

// open opens nodes that need each other, and runs their managers.
func open(t *testing.T, grace time.Duration, configs ...grid.Config) []*node {
	t.Helper()
	all := make([]*node, len(configs))
	var opening errgroup.Group
	for i, cfg := range configs {
		opening.Go(func() error {
			g, err := grid.Open(t.Context(), cfg)
			if err != nil {
				return err
			}
			m := cluster.New(cluster.Config{Name: "test", Node: cfg.Cluster.Node, Replicas: cmp.Or(cfg.Cluster.Replicas, 3), Grace: grace, Moves: 1, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}, g)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()
			stopped := false
			stop := func() {
				if stopped {
					return
				}
				stopped = true
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				closing, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := g.Close(closing); err != nil {
					t.Error(err)
				}
			}
			t.Cleanup(stop)
			all[i] = &node{g, m, stop}
			return nil
		})
	}
	if err := opening.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// until waits for what a node says of the cluster.
func (n *node) until(t *testing.T, what string, limit time.Duration, ok func(cluster.Status) error) {
	t.Helper()
	began := time.Now()
	for {
		s := n.manager.Status(t.Context())
		err := ok(s)
		if err == nil {
			t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("%s: %v\n%+v", what, err, s)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// even returns what is not as it should be of a cluster of these nodes with three replicas: see evenOf.
func even(s cluster.Status, names ...string) error { return evenOf(s, 3, names...) }

// evenOf returns what is not as it should be of a cluster of these nodes: their replicas and their leaders differ by one at most in each class, and everything
// is up to date.
func evenOf(s cluster.Status, each int, names ...string) error {
	if s.Rebalancing.State != cluster.Evenly {
		return fmt.Errorf("it is %s: %s", s.Rebalancing.State, s.Rebalancing.Reason)
	}
	for _, class := range []string{"durable", "volatile"} {
		replicas, leads := map[string]int{}, map[string]int{}
		for _, p := range s.Partitions {
			if p.Class != class {
				continue
			}
			if len(p.Replicas) != each || p.Leader == "" || p.Leader != p.Owner {
				return fmt.Errorf("%+v", p)
			}
			leads[p.Leader]++
			for _, r := range p.Replicas {
				replicas[r.Node]++
				if r.State != "current" || !slices.Contains(names, r.Node) {
					return fmt.Errorf("%+v", p)
				}
			}
		}
		for what, count := range map[string]map[string]int{"replicas": replicas, "leaders": leads} {
			least, most := 1000, 0
			for _, name := range names {
				least, most = min(least, count[name]), max(most, count[name])
			}
			if most-least > 1 {
				return fmt.Errorf("%s of %s: %v", what, class, count)
			}
		}
	}
	return nil
}

// TestJoinAndDrain: a node that joins gets its share of replicas and leaders, in both classes; one that drains has nothing left and can be closed; one that is
// gone is taken out.
func TestJoinAndDrain(t *testing.T) {
	if testing.Short() {
		t.Skip("four nodes of one process take more than a minute under the race detector")
	}
	all := configs(t, 4)
	nodes := open(t, time.Hour, all[:3]...)
	if err := nodes[0].grid.CreateCache(t.Context(), grid.CacheConfig{Name: "v", Class: grid.Volatile}); err != nil {
		t.Fatal(err)
	}
	nodes[1].until(t, "three nodes are even", time.Minute, func(s cluster.Status) error { return even(s, "n0", "n1", "n2") })
	nodes = append(nodes, open(t, time.Hour, all[3:]...)...)
	nodes[1].until(t, "four nodes are even", 3*time.Minute, func(s cluster.Status) error { return even(s, "n0", "n1", "n2", "n3") })
	leader := nodes[0].grid.Leader()
	i := slices.IndexFunc(all, func(c grid.Config) bool { return c.Cluster.Node == leader })
	if err := nodes[(i+1)%4].manager.Drain(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
	var left []string
	for j := range all {
		if j != i {
			left = append(left, all[j].Cluster.Node)
		}
	}
	other := nodes[(i+1)%4]
	other.until(t, "the node that led the cluster is drained", 3*time.Minute, func(s cluster.Status) error {
		for _, n := range s.Nodes {
			if n.Name == leader && (!n.Drained || n.Replicas > 0 || n.Leads > 0 || n.Load == nil || n.Load.Memory == 0 || n.Load.Disk == 0 && n.Name != leader) {
				return fmt.Errorf("%+v", n)
			}
		}
		return even(s, left...)
	})
	if err := other.manager.Remove(t.Context(), leader); err == nil {
		t.Error("a node that is connected can be removed")
	}
	nodes[i].stop()
	other.until(t, "it is gone", time.Minute, func(s cluster.Status) error {
		for _, n := range s.Nodes {
			if n.Name == leader && n.Connected {
				return fmt.Errorf("%+v", n)
			}
		}
		return nil
	})
	if err := other.manager.Remove(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
	other.until(t, "it is removed", time.Minute, func(s cluster.Status) error {
		if len(s.Nodes) != 3 {
			return fmt.Errorf("%+v", s.Nodes)
		}
		return even(s, left...)
	})
}

// TestOneReplica: where each partition is on one node alone, nodes that join get their share too, one that drains gives everything away, and what was acknowledged
// meanwhile is there afterwards.
func TestOneReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes of one process that move their partitions take more than a minute under the race detector")
	}
	ctx := t.Context()
	all := configs(t, 3)
	for i := range all {
		all[i].Cluster.Replicas = 1
	}
	nodes := open(t, time.Hour, all[:2]...)
	classes := []grid.Class{grid.Durable, grid.Volatile}
	caches := map[grid.Class]*grid.Cache{}
	for _, class := range classes {
		if err := nodes[0].grid.CreateCache(ctx, grid.CacheConfig{Name: string(class), Class: class, Consistency: grid.ConsistencyLeader}); err != nil {
			t.Fatal(err)
		}
		c, err := nodes[0].grid.Cache(ctx, string(class))
		if err != nil {
			t.Fatal(err)
		}
		caches[class] = c
	}
	nodes[1].until(t, "two nodes are even", 3*time.Minute, func(s cluster.Status) error { return evenOf(s, 1, "n0", "n1") })

	acked := map[grid.Class]map[string]grid.Revision{grid.Durable: {}, grid.Volatile: {}}
	writing, stop := context.WithCancel(ctx)
	var writers errgroup.Group
	for _, class := range classes {
		writers.Go(func() error {
			for i := 0; writing.Err() == nil; i++ {
				key := fmt.Sprint("k", i%200)
				rev, err := caches[class].Put(writing, key, []byte(key), grid.PutOptions{})
				switch {
				case err == nil:
				case writing.Err() != nil:
					return nil //nolint:nilerr // it was told to stop
				default:
					return fmt.Errorf("put %s/%s: %w", class, key, err)
				}
				if before := acked[class][key]; rev <= before {
					return fmt.Errorf("%s/%s went from revision %d to %d", class, key, before, rev)
				}
				acked[class][key] = rev
			}
			return nil
		})
	}
	nodes = append(nodes, open(t, time.Hour, all[2:]...)...)
	nodes[1].until(t, "three nodes are even", 5*time.Minute, func(s cluster.Status) error { return evenOf(s, 1, "n0", "n1", "n2") })
	if err := nodes[2].manager.Drain(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	nodes[2].until(t, "a node is drained", 5*time.Minute, func(s cluster.Status) error {
		for _, n := range s.Nodes {
			if n.Name == "n1" && (!n.Drained || n.Replicas > 0 || n.Leads > 0) {
				return fmt.Errorf("%+v", n)
			}
		}
		return evenOf(s, 1, "n0", "n2")
	})
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, class := range classes {
		if len(acked[class]) == 0 {
			t.Errorf("nothing was put into %s", class)
		}
		for key, rev := range acked[class] {
			// One more may have been stored whose answer nobody waited for.
			if e, err := caches[class].Get(ctx, key); err != nil || e.Revision < rev || string(e.Value) != key {
				t.Errorf("%s/%s was put at %d: %+v, %v", class, key, rev, e, err)
			}
		}
		t.Logf("%d keys of %s", len(acked[class]), class)
	}
	// Two that stay are needed: one node alone has no majority of its own.
	if err := nodes[2].manager.Drain(ctx, "n0"); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("drain the last but one: %v", err)
	}
}
