package plan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/cluster/plan"
)

// apply makes a move, which must be one that can be made: From has the group, To has not and takes replicas, and both are nodes.
func apply(nodes []plan.Node, groups []plan.Group, m plan.Move) error {
	i := slices.IndexFunc(groups, func(g plan.Group) bool { return g.ID == m.Group })
	if i < 0 {
		return fmt.Errorf("%+v: no such group", m)
	}
	g := &groups[i]
	at := slices.Index(g.Replicas, m.From)
	to := slices.IndexFunc(nodes, func(n plan.Node) bool { return n.Name == m.To })
	if at < 0 || to < 0 || nodes[to].State != plan.Ready || slices.Contains(g.Replicas, m.To) {
		return fmt.Errorf("%+v cannot be made of %+v", m, *g)
	}
	g.Replicas = slices.Clone(g.Replicas)
	g.Replicas[at] = m.To
	if g.Leader == m.From {
		g.Leader = g.Replicas[(at+1)%len(g.Replicas)]
	}
	g.Able = g.Replicas
	return nil
}

// spread is the difference between the fullest and the emptiest of the ready nodes, by a count.
func spread(nodes []plan.Node, count map[string]int) int {
	least, most := 1<<30, 0
	for _, n := range nodes {
		if n.State == plan.Ready {
			least, most = min(least, count[n.Name]), max(most, count[n.Name])
		}
	}
	return max(0, most-least)
}

func replicas(groups []plan.Group) map[string]int {
	count := map[string]int{}
	for _, g := range groups {
		for _, r := range g.Replicas {
			count[r]++
		}
	}
	return count
}

func leads(groups []plan.Group) map[string]int {
	count := map[string]int{}
	for _, g := range groups {
		count[g.Leader]++
	}
	return count
}

// clusterOf draws nodes in any state and groups that are anywhere.
func clusterOf(t *rapid.T, maxNodes, maxGroups int) (nodes []plan.Node, groups []plan.Group) {
	n := rapid.IntRange(1, maxNodes).Draw(t, "nodes")
	states := []plan.State{plan.Ready, plan.Ready, plan.Ready, plan.Ready, plan.Away, plan.Draining, plan.Lost}
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%02d", i))
		nodes = append(nodes, plan.Node{Name: names[i], State: rapid.SampledFrom(states).Draw(t, "state")})
	}
	r := rapid.IntRange(1, min(3, n)).Draw(t, "replicas")
	for i := range rapid.IntRange(0, maxGroups).Draw(t, "groups") {
		order := rapid.Permutation(names).Draw(t, "places")[:r]
		groups = append(groups, plan.Group{ID: fmt.Sprintf("g%03d", i), Replicas: order, Able: order, Leader: order[0]})
	}
	return nodes, groups
}

// TestMoves: after the moves the ready nodes are even within one, none of what may not be moved was, what had to leave has left where there was a place; and then
// there is nothing to do. The order of the input is no matter.
func TestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, groups := clusterOf(t, 9, 24)
		moves, stuck := plan.Moves(nodes, groups)
		again, _ := plan.Moves(rapid.Permutation(nodes).Draw(t, "order"), rapid.Permutation(groups).Draw(t, "order"))
		if diff := cmp.Diff(moves, again); diff != "" {
			t.Fatalf("another order, another plan: %s", diff)
		}
		state := map[string]plan.State{}
		ready := 0
		for _, n := range nodes {
			state[n.Name] = n.State
			if n.State == plan.Ready {
				ready++
			}
		}
		have := slices.Clone(groups)
		for i, m := range moves {
			if state[m.From] == plan.Away {
				t.Fatalf("%+v: its node is waited for", m)
			}
			if err := apply(nodes, have, m); err != nil {
				t.Fatal(err)
			}
			// The plan that is made anew after a move has the rest: no more, and no fewer.
			if rest, _ := plan.Moves(nodes, have); len(rest) != len(moves)-i-1 {
				t.Fatalf("after %d of %d moves there are %d to make", i+1, len(moves), len(rest))
			}
		}
		left := 0
		for _, g := range have {
			var others int // ready nodes that the group is not on
			for _, n := range nodes {
				if n.State == plan.Ready && !slices.Contains(g.Replicas, n.Name) {
					others++
				}
			}
			for _, r := range g.Replicas {
				if state[r] == plan.Draining || state[r] == plan.Lost {
					if left++; others > 0 {
						t.Fatalf("%+v stays on %s, and there is another node", g, r)
					}
				}
			}
		}
		if left != len(stuck) {
			t.Fatalf("%d replicas could not leave, and %d are told of", left, len(stuck))
		}
		if s := spread(nodes, replicas(have)); s > 1 && ready > 0 {
			t.Fatalf("the nodes differ by %d: %v", s, replicas(have))
		}
	})
}

// fewest tries plans of 0, 1, 2... moves until one is good.
func fewest(nodes []plan.Node, groups []plan.Group) int {
	good := func(groups []plan.Group) bool {
		for _, g := range groups {
			for _, n := range nodes {
				if n.State != plan.Ready && slices.Contains(g.Replicas, n.Name) {
					return false
				}
			}
		}
		return spread(nodes, replicas(groups)) <= 1
	}
	var try func(groups []plan.Group, from, left int) bool
	try = func(groups []plan.Group, from, left int) bool {
		if good(groups) {
			return true
		}
		if left == 0 {
			return false
		}
		for i := from; i < len(groups); i++ { // in the order of the groups: another order is the same plan
			for _, r := range groups[i].Replicas {
				for _, n := range nodes {
					have := slices.Clone(groups)
					if apply(nodes, have, plan.Move{Group: groups[i].ID, From: r, To: n.Name}) == nil && try(have, i, left-1) {
						return true
					}
				}
			}
		}
		return false
	}
	for n := 0; ; n++ {
		if try(groups, 0, n) {
			return n
		}
	}
}

// TestFewest: no plan has fewer moves, by trying them all.
func TestFewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, groups := clusterOf(t, 5, 4)
		for i := range nodes {
			if nodes[i].State == plan.Away {
				nodes[i].State = plan.Ready
			}
		}
		moves, stuck := plan.Moves(nodes, groups)
		if len(stuck) > 0 || len(moves) > 4 {
			t.Skip("no place, or too many to try")
		}
		if n := fewest(nodes, groups); n != len(moves) {
			t.Fatalf("%d moves are enough, and these are %d: %+v", n, len(moves), moves)
		}
	})
}

// TestLeaders: leaders are those that could lead and are ready; where the replicas are even, leaders are too.
func TestLeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, groups := clusterOf(t, 9, 24)
		moves, _ := plan.Moves(nodes, groups)
		for _, m := range moves {
			if err := apply(nodes, groups, m); err != nil {
				t.Fatal(err)
			}
		}
		whole := true // every replica is on a ready node
		state := map[string]plan.State{}
		for _, n := range nodes {
			state[n.Name] = n.State
		}
		for i := range groups {
			groups[i].Leader = rapid.SampledFrom(groups[i].Replicas).Draw(t, "leader")
			for _, r := range groups[i].Replicas {
				whole = whole && state[r] == plan.Ready
			}
		}
		before := spread(nodes, leads(groups))
		changes := plan.Leaders(nodes, groups)
		for _, l := range changes {
			i := slices.IndexFunc(groups, func(g plan.Group) bool { return g.ID == l.Group })
			if groups[i].Leader != l.From || l.From == l.To || state[l.To] != plan.Ready || !slices.Contains(groups[i].Able, l.To) {
				t.Fatalf("%+v of %+v", l, groups[i])
			}
			groups[i].Leader = l.To
		}
		if len(plan.Leaders(nodes, groups)) > 0 {
			t.Fatalf("there is more to do after %+v: %+v", changes, plan.Leaders(nodes, groups))
		}
		if after := spread(nodes, leads(groups)); whole && (after > 1 || before <= 1 && len(changes) > 0) {
			t.Fatalf("the leaders differed by %d and do by %d, after %d changes", before, after, len(changes))
		}
	})
}

// TestTogether: a group that is with another goes where that one goes, also in one plan; one that is apart moves only off nodes that are left.
func TestTogether(t *testing.T) {
	nodes := []plan.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d", State: plan.Draining}, {Name: "e", State: plan.Lost}}
	groups := []plan.Group{
		{ID: "p0", Replicas: []string{"a", "b", "d"}, Leader: "a"},
		{ID: "q0", With: "p0", Replicas: []string{"b", "d", "e"}, Leader: "b"},
		{ID: "meta", Apart: true, Replicas: []string{"a", "c", "e"}, Leader: "a"},
	}
	moves, stuck := plan.Moves(nodes, groups)
	want := []plan.Move{
		{Group: "q0", From: "e", To: "a", Why: plan.Rebuild}, {Group: "meta", From: "e", To: "b", Why: plan.Rebuild},
		{Group: "p0", From: "d", To: "c", Why: plan.Drain}, {Group: "q0", From: "d", To: "c", Why: plan.Drain},
	}
	if diff := cmp.Diff(want, moves); diff != "" || len(stuck) > 0 {
		t.Errorf("%+v -want +got:\n%s", stuck, diff)
	}
	moves, stuck = plan.Moves(nodes[1:], groups)
	if len(stuck) != 1 || len(moves) != 3 {
		t.Errorf("two ready nodes have no place for the third replica of q0: %+v, %+v", moves, stuck)
	}
}

// TestLeaderElsewhere: a group that is on its way may be led by a node that it leaves, and so have its leader among none of its replicas. The plan is as good as without
// one: it once never ended.
func TestLeaderElsewhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, groups := clusterOf(t, 6, 12)
		unled := slices.Clone(groups)
		for i := range groups {
			unled[i].Leader = ""
			if rapid.Bool().Draw(t, "elsewhere") {
				groups[i].Leader = rapid.SampledFrom(nodes).Draw(t, "leader").Name
			}
		}
		moves, stuck := plan.Moves(nodes, groups)
		want, wantStuck := plan.Moves(nodes, unled)
		if len(moves) != len(want) || len(stuck) != len(wantStuck) {
			t.Fatalf("%d moves and %d stuck, and without leaders %d and %d", len(moves), len(stuck), len(want), len(wantStuck))
		}
	})
}
