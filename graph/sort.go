package graph

import (
	"fmt"
	"strings"
)

// Sort puts the nodes of g, and of its subgraphs and functions, into topological order. The order is stable: nodes
// that stand right stay where they are. A cycle is ErrInvalid, and names the nodes on it; g keeps its order then.
func (g *Graph) Sort() error {
	nodes, err := Sorted(g.Nodes)
	if err != nil {
		return err
	}
	bodies := make([][]*Node, len(g.Functions))
	for i, f := range g.Functions {
		if bodies[i], err = Sorted(f.Nodes); err != nil {
			return fmt.Errorf("function %s: %w", OpName(f.Domain, f.Name), err)
		}
	}
	g.Nodes = nodes
	for i, f := range g.Functions {
		f.Nodes = bodies[i]
	}
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := sub.Sort(); err != nil {
				return fmt.Errorf("node %q: %w", n.Name, err)
			}
		}
	}
	return nil
}

// Uses returns the names that the node reads: its inputs, and what its subgraphs take from around them.
func (n *Node) Uses() []string {
	uses := make([]string, 0, len(n.Inputs))
	for _, in := range n.Inputs {
		if in != "" {
			uses = append(uses, in)
		}
	}
	for _, sub := range n.Subgraphs() {
		uses = append(uses, sub.Captures()...)
	}
	return uses
}

// Captures returns the names that a subgraph takes from the graphs around it, in order of use.
func (g *Graph) Captures() []string {
	own := make(map[string]bool, len(g.Inputs)+len(g.Initializers)+len(g.Nodes))
	for _, v := range g.Inputs {
		own[v.Name] = true
	}
	for _, in := range g.Initializers {
		own[in.Name] = true
	}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			own[out] = true
		}
	}
	var free []string
	add := func(name string) {
		if !own[name] {
			own[name] = true
			free = append(free, name)
		}
	}
	for _, n := range g.Nodes {
		for _, name := range n.Uses() {
			add(name)
		}
	}
	for _, v := range g.Outputs {
		add(v.Name)
	}
	return free
}

// Sorted returns nodes in the order that Sort puts those of a graph into, and leaves their subgraphs alone.
func Sorted(nodes []*Node) ([]*Node, error) {
	producer := make(map[string]int32, len(nodes))
	for i, n := range nodes {
		for _, out := range n.Outputs {
			if _, ok := producer[out]; !ok && out != "" {
				producer[out] = int32(i)
			}
		}
	}
	if inOrder(nodes, producer) {
		return nodes, nil
	}
	needs := make([][]int32, len(nodes))
	for i, n := range nodes {
		for _, name := range n.Uses() {
			if p, ok := producer[name]; ok {
				needs[i] = append(needs[i], p)
			}
		}
	}
	const following, done = 1, 2
	state := make([]byte, len(nodes))
	next := make([]int, len(nodes)) // how many of needs are seen to
	order := make([]*Node, 0, len(nodes))
	var stack []int32 // not recursion: a chain may have a million nodes
	for start := range nodes {
		if state[start] != 0 {
			continue
		}
		stack = append(stack[:0], int32(start))
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			state[i] = following
			if next[i] == len(needs[i]) {
				state[i] = done
				order = append(order, nodes[i])
				stack = stack[:len(stack)-1]
				continue
			}
			p := needs[i][next[i]]
			next[i]++
			switch state[p] {
			case following:
				return nil, cycle(nodes, stack, p)
			case 0:
				stack = append(stack, p)
			}
		}
	}
	return order, nil
}

// inOrder reports whether all nodes stand after those that they use.
func inOrder(nodes []*Node, producer map[string]int32) bool {
	for i, n := range nodes {
		uses := n.Inputs
		if len(n.Attrs) > 0 && len(n.Subgraphs()) > 0 {
			uses = n.Uses()
		}
		for _, name := range uses {
			if p, ok := producer[name]; ok && int(p) >= i {
				return false
			}
		}
	}
	return true
}

// cycle describes the end of the stack, from p on.
func cycle(nodes []*Node, stack []int32, p int32) error {
	const most = 10
	var names []string
	for i := len(stack) - 1; i >= 0 && len(names) < most; i-- {
		names = append(names, nodes[stack[i]].Label(int(stack[i])))
		if stack[i] == p {
			break
		}
	}
	return fmt.Errorf("%w: a cycle: %s", ErrInvalid, strings.Join(names, " needs "))
}
