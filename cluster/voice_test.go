package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
)

// voices are the names of the nodes that have a voice, as the node says that leads the cluster.
func voices(nodes ...*node) (names []string) {
	for _, n := range nodes {
		if peers, ok := n.grid.Peers(); ok {
			for _, p := range peers {
				names = append(names, p.Name)
			}
			return names
		}
	}
	return nil
}

// awaitVoices waits until these nodes have a voice, and no others.
func awaitVoices(t *testing.T, nodes []*node, want ...string) {
	t.Helper()
	nodes[0].until(t, fmt.Sprint("the voices are those of ", want), 3*time.Minute, func(cluster.Status) error {
		if have := voices(nodes...); !slices.Equal(have, want) {
			return fmt.Errorf("they are those of %v", have)
		}
		return nil
	})
}

// TestVoices: a node that the others would not have gets no voice; one that has a voice and is gone without ever having had a replica can be taken out; where a majority is missing, who
// asks for that hears whose voices are. A node that was removed and comes back has its share at once.
func TestVoices(t *testing.T) {
	if testing.Short() {
		t.Skip("four nodes of one process take more than a minute under the race detector")
	}
	ctx := t.Context()
	all := configs(t, 4)
	nodes := open(t, time.Hour, all[:3]...)
	nodes[0].until(t, "three nodes are even", 3*time.Minute, func(s cluster.Status) error { return even(s, "n0", "n1", "n2") })

	other := all[3]
	other.Partitions = 16
	if _, err := grid.Open(ctx, other); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "8 partitions") {
		t.Fatalf("a node with another number of partitions: %v", err)
	}
	awaitVoices(t, nodes, "n0", "n1", "n2")

	if err := nodes[0].manager.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	joined := open(t, time.Hour, all[3])[0]
	awaitVoices(t, nodes, "n0", "n1", "n2", "n3")
	joined.stop()
	nodes[2].stop()
	nodes[0].until(t, "two of four lead nothing, and say who is missing", 3*time.Minute, func(s cluster.Status) error {
		why := s.Rebalancing.Reason
		if s.Rebalancing.State != cluster.Unknown || !strings.Contains(why, "3 of 4") || !strings.Contains(why, "missing are n2, n3") {
			return fmt.Errorf("%+v", s.Rebalancing)
		}
		return nil
	})
	if err := nodes[0].manager.Remove(ctx, "n3"); !errors.Is(err, grid.ErrUnavailable) || !strings.Contains(err.Error(), "missing are n2, n3") {
		t.Errorf("removing a node without a majority: %v", err)
	}
	nodes[2] = open(t, time.Hour, all[2])[0]
	awaitVoices(t, nodes, "n0", "n1", "n2", "n3")
	if err := nodes[0].manager.Remove(ctx, "n3"); err != nil {
		t.Fatal(err)
	}
	awaitVoices(t, nodes, "n0", "n1", "n2")

	if err := nodes[0].manager.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	four := func(s cluster.Status) error { return even(s, "n0", "n1", "n2", "n3") }
	back := open(t, time.Hour, all[3])[0]
	back.until(t, "the removed node is back and has its share", 3*time.Minute, four)
	back.stop() // with replicas, which are built again on others
	nodes[0].until(t, "it can be removed", time.Minute, func(cluster.Status) error { return nodes[0].manager.Remove(ctx, "n3") })
	awaitVoices(t, nodes, "n0", "n1", "n2")
	back = open(t, time.Hour, all[3])[0]
	back.until(t, "it is back with replicas of before and has its share", 3*time.Minute, four)
	if err := nodes[0].manager.Drain(ctx, "n3"); err != nil {
		t.Fatal(err)
	}
	nodes[0].until(t, "it is drained", 3*time.Minute, func(s cluster.Status) error {
		if i := slices.IndexFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == "n3" }); i < 0 || !s.Nodes[i].Drained {
			return fmt.Errorf("%+v", s.Nodes)
		}
		return nil
	})
	back.stop()
	nodes[0].until(t, "it can be removed", time.Minute, func(cluster.Status) error { return nodes[0].manager.Remove(ctx, "n3") })
	awaitVoices(t, nodes, "n0", "n1", "n2")
	open(t, time.Hour, all[3])[0].until(t, "it is back with its old folder and has its share", 3*time.Minute, four)
}

// TestStrangersLoseTheirVoice: the voice of a node that is gone and never had a replica ends after the grace, without anybody's asking.
func TestStrangersLoseTheirVoice(t *testing.T) {
	if testing.Short() {
		t.Skip("four nodes of one process take more than a minute under the race detector")
	}
	all := configs(t, 4)
	const grace = 3 * time.Second
	nodes := open(t, grace, all[:3]...)
	nodes[0].until(t, "three nodes are even", 3*time.Minute, func(s cluster.Status) error { return even(s, "n0", "n1", "n2") })
	if err := nodes[0].manager.Pause(context.Background()); err != nil {
		t.Fatal(err)
	}
	joined := open(t, grace, all[3])[0]
	awaitVoices(t, nodes, "n0", "n1", "n2", "n3")
	joined.stop()
	awaitVoices(t, nodes, "n0", "n1", "n2")
	nodes[2].stop() // one that has replicas keeps its voice
	began := time.Now()
	nodes[0].until(t, "it is gone for longer than the grace", time.Minute, func(s cluster.Status) error {
		if time.Since(began) < 3*grace {
			return errors.New("not yet")
		}
		return nil
	})
	awaitVoices(t, nodes[:2], "n0", "n1", "n2")
}
