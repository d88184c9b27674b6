// Package plan says which replicas are to move, and which leaders to change, for a cluster's nodes to have even shares. It computes and does nothing: how a
// move is made, and when, is package cluster's.
//
// A plan is the cheapest flow through a network of groups and nodes: so the shares differ by one at most, no other plan has fewer moves, and where nothing is
// to do it is empty. It has no other state than its input: after any of its moves the plan that is made anew has the rest.
package plan

import (
	"cmp"
	"slices"
)

// State is what a node is for a plan.
type State int

const (
	// Ready is a node that takes replicas and leaders.
	Ready State = iota
	// Away is a node that is not there and is waited for: it keeps its replicas, and gets nothing.
	Away
	// Draining is a node that gives everything away.
	Draining
	// Lost is a node that is not waited for any more: what it had is built again on others.
	Lost
)

// Node is a node of the cluster.
type Node struct {
	Name  string
	State State
}

// Group is a stream with its replicas.
type Group struct {
	ID string
	// With is the ID of the group whose nodes this one is to have too, "" for none.
	With string
	// Apart says that it counts for nobody's share: it leaves nodes that drain or are lost, and stays elsewhere.
	Apart bool
	// Replicas are nodes, each once. Able are those of them that could lead now, the leader included.
	Replicas, Able []string
	Leader         string
}

// Move is a replica that goes from one node to another.
type Move struct {
	Group, From, To string
	Why             Why
}

// Why is the reason for a move; the most urgent is the first.
type Why int

const (
	// Rebuild is of what was on From, which is lost.
	Rebuild Why = iota
	// Drain is of what is on From, which drains.
	Drain
	// Even is because From has too many, or To too few.
	Even
	// Together is of a group that is to be where another is.
	Together
)

// Stuck is a replica that has to leave a node and has nowhere to go.
type Stuck struct{ Group, From string }

// Lead is a leader that makes way for another node.
type Lead struct{ Group, From, To string }

// cluster is the input in the order that makes plans alike on all nodes.
type cluster struct {
	state map[string]State
	ready []string
	index map[string]int // of the ready nodes
	load  map[string]int // replicas of each node, once the moves so far are made
}

func newCluster(nodes []Node, groups []Group) *cluster {
	c := &cluster{state: map[string]State{}, index: map[string]int{}, load: map[string]int{}}
	for _, n := range nodes {
		c.state[n.Name] = n.State
		if n.State == Ready {
			c.ready = append(c.ready, n.Name)
		}
	}
	slices.Sort(c.ready)
	for i, name := range c.ready {
		c.index[name] = i
	}
	for _, g := range groups {
		for _, r := range g.Replicas {
			c.load[r]++
		}
	}
	return c
}

// of is a node's state: one that nobody told of may be anything, and is left alone.
func (c *cluster) of(name string) State {
	if s, ok := c.state[name]; ok {
		return s
	}
	return Away
}

// Moves returns what is to move, the most urgent first, and what cannot.
func Moves(nodes []Node, groups []Group) ([]Move, []Stuck) {
	c := newCluster(nodes, groups)
	groups = slices.Clone(groups)
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Compare(a.ID, b.ID) })
	var shared []Group
	for _, g := range groups {
		if g.With == "" && !g.Apart {
			shared = append(shared, g)
		}
	}
	wanted := c.spread(shared)
	var moves []Move
	var stuck []Stuck
	take := func(g Group, to []string, why Why) {
		m, s := c.pair(g, to, why)
		moves, stuck = append(moves, m...), append(stuck, s...)
	}
	for _, g := range shared {
		take(g, wanted[g.ID], Even)
	}
	final := map[string][]string{}
	for _, g := range shared {
		final[g.ID] = after(g, moves)
	}
	for _, g := range groups {
		if g.With != "" {
			to, ok := final[g.With]
			if !ok {
				to = g.Replicas
			}
			take(g, to, Together)
		}
	}
	for _, g := range groups {
		if g.With == "" && g.Apart {
			take(g, g.Replicas, Even)
		}
	}
	slices.SortStableFunc(moves, func(a, b Move) int { return cmp.Compare(a.Why, b.Why) })
	return moves, stuck
}

// after returns where a group is when the moves are made.
func after(g Group, moves []Move) []string {
	out := slices.Clone(g.Replicas)
	for _, m := range moves {
		if i := slices.Index(out, m.From); m.Group == g.ID && i >= 0 {
			out[i] = m.To
		}
	}
	return out
}

// pair makes moves that bring a group to nodes, of which those that are not ready are no matter. What has to leave a node and has no place
// there goes to the node with the fewest replicas.
func (c *cluster) pair(g Group, to []string, why Why) (moves []Move, stuck []Stuck) {
	var leaving, coming []string
	for _, r := range g.Replicas {
		if s := c.of(r); s == Lost || s == Draining || s == Ready && !slices.Contains(to, r) {
			leaving = append(leaving, r)
		}
	}
	slices.SortFunc(leaving, func(a, b string) int {
		return cmp.Or(cmp.Compare(c.urgency(a, why), c.urgency(b, why)), boolCompare(a == g.Leader, b == g.Leader), cmp.Compare(a, b))
	})
	for _, n := range to {
		if c.of(n) == Ready && !slices.Contains(g.Replicas, n) {
			coming = append(coming, n)
		}
	}
	slices.Sort(coming)
	has := slices.Clone(g.Replicas)
	for _, from := range leaving {
		reason := c.urgency(from, why)
		var target string
		switch {
		case len(coming) > 0:
			target, coming = coming[0], coming[1:]
		case reason < Even:
			target = c.emptiest(has)
		}
		if target == "" {
			if reason < Even {
				stuck = append(stuck, Stuck{g.ID, from})
			}
			continue
		}
		has = append(has, target)
		c.load[from]--
		c.load[target]++
		moves = append(moves, Move{g.ID, from, target, reason})
	}
	return moves, stuck
}

func (c *cluster) urgency(from string, why Why) Why {
	switch c.of(from) {
	case Lost:
		return Rebuild
	case Draining:
		return Drain
	}
	return why
}

// emptiest returns the ready node with the fewest replicas that is none of some, "" for none.
func (c *cluster) emptiest(but []string) (name string) {
	for _, n := range c.ready {
		if !slices.Contains(but, n) && (name == "" || c.load[n] < c.load[name]) {
			name = n
		}
	}
	return name
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// spread returns for each group the ready nodes that are to have it, with the fewest that it has not now, and of those plans one that leaves leaders alone where
// it can. Replicas of nodes that are away are neither moved nor counted.
func (c *cluster) spread(groups []Group) map[string][]string {
	n := len(c.ready)
	out := make(map[string][]string, len(groups))
	if n == 0 {
		return out
	}
	supply, sum := make([]int, len(groups)), 0
	for i, g := range groups {
		for _, r := range g.Replicas {
			if c.of(r) != Away {
				supply[i]++
			}
		}
		supply[i] = min(supply[i], n)
		sum += supply[i]
	}
	const source, sink, hub = 0, 1, 2
	group := func(i int) int { return 3 + i }
	node := func(i int) int { return 3 + len(groups) + i }
	f := newFlow(3 + len(groups) + n)
	from, arcs := make([]int, len(groups)), make([][]int, len(groups))
	moved := sum + 1 // one move costs more than all leaders
	for i, g := range groups {
		from[i] = f.add(source, group(i), supply[i], 0)
		arcs[i] = make([]int, n)
		for j, name := range c.ready {
			cost := 1
			switch {
			case !slices.Contains(g.Replicas, name): // the leader too, where the group leaves it
				cost = moved
			case name == g.Leader:
				cost = 0
			}
			arcs[i][j] = f.add(group(i), node(j), 1, cost)
		}
	}
	// Each node has the even share, and as many as there are left over have one more.
	share, more := make([]int, n), make([]int, n)
	for j := range c.ready {
		share[j], more[j] = f.add(node(j), sink, sum/n, 0), f.add(node(j), hub, 1, 0)
	}
	rest := f.add(hub, sink, sum%n, 0)
	// What stays is the flow that is begun with: leaders first, since they cost least.
	for _, leaders := range []bool{true, false} {
		for i, g := range groups {
			for j, name := range c.ready {
				if slices.Contains(g.Replicas, name) && (name == g.Leader) == leaders && f.edges[from[i]].room > 0 {
					switch {
					case f.take(share[j]):
					case f.edges[rest].room > 0 && f.take(more[j]):
						f.take(rest)
					default:
						continue
					}
					f.take(from[i])
					f.take(arcs[i][j])
				}
			}
		}
	}
	f.fill(source, sink)
	for i, g := range groups {
		for j, name := range c.ready {
			if f.used(arcs[i][j]) > 0 {
				out[g.ID] = append(out[g.ID], name)
			}
		}
	}
	return out
}

// Leaders returns which leaders are to make way for the ready nodes to lead equally many groups that are neither apart nor with another; those that nobody leads
// count for nobody.
func Leaders(nodes []Node, groups []Group) []Lead {
	c := newCluster(nodes, groups)
	var led []Group
	for _, g := range groups {
		if g.With == "" && !g.Apart && slices.ContainsFunc(g.Able, func(name string) bool { return c.of(name) == Ready }) {
			led = append(led, g)
		}
	}
	slices.SortFunc(led, func(a, b Group) int { return cmp.Compare(a.ID, b.ID) })
	n := len(c.ready)
	if n == 0 || len(led) == 0 {
		return nil
	}
	const source, sink, hub = 0, 1, 2
	f := newFlow(3 + len(led) + n)
	arcs := make([][]int, len(led))
	for i, g := range led {
		f.add(source, 3+i, 1, 0)
		for j, name := range c.ready {
			cost := 1
			if name == g.Leader {
				cost = 0
			}
			room := 0
			if slices.Contains(g.Able, name) {
				room = 1
			}
			arcs[i] = append(arcs[i], f.add(3+i, 3+len(led)+j, room, cost))
		}
	}
	uneven := len(led) + 1 // one too many on a node costs more than all changes
	for j := range c.ready {
		v := 3 + len(led) + j
		f.add(v, sink, len(led)/n, 0)
		f.add(v, hub, 1, 0)
		f.add(v, sink, len(led), uneven)
	}
	f.add(hub, sink, len(led)%n, 0)
	f.fill(source, sink)
	var out []Lead
	for i, g := range led {
		for j, name := range c.ready {
			if f.used(arcs[i][j]) > 0 && name != g.Leader {
				out = append(out, Lead{g.ID, g.Leader, name})
			}
		}
	}
	return out
}
