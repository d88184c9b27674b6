package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster/plan"
)

// TestSimulation has 100 nodes with 256 partitions of three replicas, and of one. Nodes join, drain, die and come back; after each event the moves are made one by one, and
// while they are, no partition has fewer replicas than it had, those on dead nodes included until they are built again. After each: even within one, in replicas
// and in leaders, by the fewest moves that a bound allows, and then nothing to do.
func TestSimulation(t *testing.T) {
	for _, r := range []int{1, 3} {
		t.Run(fmt.Sprint(r, " replicas"), func(t *testing.T) { simulate(t, r) })
	}
}

func simulate(t *testing.T, r int) {
	const nodesWanted, partitions = 100, 256
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var nodes []plan.Node
	made := 0
	join := func(n int) {
		for range n {
			nodes = append(nodes, plan.Node{Name: fmt.Sprintf("n%03d", made)})
			made++
		}
	}
	join(3)
	var groups []plan.Group
	for i := range partitions {
		var has []string
		for j := range r {
			has = append(has, fmt.Sprintf("n%03d", (i+j)%3))
		}
		groups = append(groups, plan.Group{ID: fmt.Sprintf("p%03d", i), Replicas: has, Able: slices.Clone(has), Leader: has[0]})
	}
	var slowest time.Duration
	total, bounds := 0, 0
	settle := func(what string) {
		t.Helper()
		began := time.Now()
		moves, stuck := plan.Moves(nodes, groups)
		slowest = max(slowest, time.Since(began))
		low := bound(nodes, groups)
		if len(stuck) > 0 || len(moves) < low {
			t.Fatalf("%s: %d moves, at least %d are needed, %d stuck", what, len(moves), low, len(stuck))
		}
		// What leaves a node that is left may find the nodes with too few among those that its partition is on already: a move more, now and then.
		if len(moves) > low+low/50 {
			t.Errorf("%s: %d moves, and %d may be enough", what, len(moves), low)
		}
		total, bounds = total+len(moves), bounds+low
		for _, m := range moves {
			if err := apply(nodes, groups, m); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		nodes = slices.DeleteFunc(nodes, func(n plan.Node) bool { return n.State == plan.Lost || n.State == plan.Draining })
		for _, g := range groups {
			if slices.Sort(slices.Clone(g.Replicas)); len(slices.Compact(slices.Sorted(slices.Values(g.Replicas)))) != r {
				t.Fatalf("%s: %+v", what, g)
			}
		}
		for _, l := range plan.Leaders(nodes, groups) {
			i := slices.IndexFunc(groups, func(g plan.Group) bool { return g.ID == l.Group })
			groups[i].Leader = l.To
		}
		if s, l := spread(nodes, replicas(groups)), spread(nodes, leads(groups)); s > 1 || l > 1 {
			t.Fatalf("%s: replicas differ by %d, leaders by %d", what, s, l)
		}
		if again, _ := plan.Moves(nodes, groups); len(again) > 0 || len(plan.Leaders(nodes, groups)) > 0 {
			t.Fatalf("%s: there is more to do: %+v", what, again)
		}
	}
	for len(nodes) < nodesWanted {
		n := min(1+random.IntN(12), nodesWanted-len(nodes))
		join(n)
		settle(fmt.Sprintf("%d nodes, of which %d are new", len(nodes), n))
	}
	events := 15
	if testing.Short() {
		events = 5
	}
	for range events {
		n := 1 + random.IntN(3)
		what := []string{"join", "drain", "die", "come back", "all at once"}[random.IntN(5)]
		some := func(state plan.State) {
			for _, i := range random.Perm(len(nodes))[:n] {
				nodes[i].State = state
			}
		}
		switch what {
		case "join":
			join(n)
		case "drain":
			some(plan.Draining)
		case "die":
			some(plan.Lost)
		case "come back":
			// Within the grace period: nothing moves, and those that are there lead.
			before := slices.Clone(nodes)
			some(plan.Away)
			if moves, _ := plan.Moves(nodes, groups); len(moves) > 0 && slices.ContainsFunc(moves, func(m plan.Move) bool { return m.Why != plan.Even }) {
				t.Fatalf("nodes are away, and %d moves are made", len(moves))
			}
			for _, l := range plan.Leaders(nodes, groups) {
				if slices.ContainsFunc(nodes, func(n plan.Node) bool { return n.Name == l.To && n.State == plan.Away }) {
					t.Fatalf("%+v: it is away", l)
				}
			}
			nodes = before
		default:
			some(plan.Draining)
			some(plan.Lost)
			join(n)
		}
		settle(fmt.Sprintf("%s: %d of %d nodes", what, n, len(nodes)))
	}
	t.Logf("%d moves, at least %d were needed; the slowest plan took %v", total, bounds, slowest)
}

// bound is how many moves any plan needs at least: what has to leave, and what nodes have over the share that the fullest of them may have.
func bound(nodes []plan.Node, groups []plan.Group) int {
	count, forced, sum := replicas(groups), 0, 0
	var ready []int
	for _, n := range nodes {
		sum += count[n.Name]
		if n.State == plan.Ready {
			ready = append(ready, count[n.Name])
		} else {
			forced += count[n.Name]
		}
	}
	slices.Sort(ready)
	slices.Reverse(ready)
	over := 0
	for i, have := range ready {
		share := sum / len(ready)
		if i < sum%len(ready) {
			share++
		}
		over += max(0, have-share)
	}
	return forced + over
}
