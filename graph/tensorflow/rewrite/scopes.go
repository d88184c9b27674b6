package rewrite

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/graph"
)

// apply runs a pass over a graph, and over each of its subgraphs after the graph around it. What a pass does not touch keeps its meaning under its name, so
// that what is known of values need not be found again for each graph.
func (p Pass) apply(w *work) (changes int, err error) {
	if changes, err = p.over(w); err != nil || p.once {
		return changes, err
	}
	if !slices.ContainsFunc(w.g.Nodes, func(n *graph.Node) bool { return len(n.Subgraphs()) > 0 }) {
		return changes, nil
	}
	inner, err := p.within(w, uses(w.g))
	w.g.Prune() // of constants that subgraphs left
	return changes + inner, err
}

// over runs a pass over one graph.
func (p Pass) over(w *work) (int, error) {
	n, err := p.run(w)
	if err != nil {
		return 0, fmt.Errorf("pass %s: %w", p.Name, err)
	}
	if n > 0 {
		err = w.finish()
	}
	if err != nil {
		return 0, fmt.Errorf("after pass %s: %w", p.Name, err)
	}
	return n, nil
}

// within runs a pass over the subgraphs of a graph, and over theirs.
func (p Pass) within(w *work, uses map[string]int) (changes int, err error) {
	for _, n := range w.g.Nodes {
		for _, sub := range subgraphs(n) {
			if err := w.ctx.Err(); err != nil {
				return changes, err
			}
			inner := w.inside(sub, uses)
			own, err := p.over(inner)
			changes += own
			if err == nil {
				own, err = p.within(inner, uses)
				changes += own
			}
			if err != nil {
				return changes, err
			}
		}
	}
	return changes, nil
}

// uses counts the nodes of all graphs that take a value. A subgraph that gives a value as it is counts as one.
func uses(g *graph.Graph) map[string]int {
	count := map[string]int{}
	graph.Walk(g.Nodes, func(n *graph.Node) {
		for i, name := range n.Inputs {
			if !slices.Contains(n.Inputs[:i], name) {
				count[name]++
			}
		}
		for _, sub := range n.Subgraphs() {
			for _, v := range sub.Outputs {
				count[v.Name]++
			}
		}
	})
	return count
}

// inside is the work on a subgraph of one of the nodes, which takes values from around it.
func (w *work) inside(sub *graph.Graph, uses map[string]int) *work {
	inner := &work{ctx: w.ctx, ev: w.ev, g: sub, main: w.main, around: w, uses: uses, names: w.names}
	inner.read()
	for _, name := range sub.Captures() {
		for from := w; from != nil; from = from.around {
			v, known := from.values[name]
			if !known {
				continue
			}
			if inner.values[name] = v; from.consts[name] != nil {
				inner.consts[name] = from.consts[name]
			}
			break
		}
	}
	return inner
}

// subgraphs returns those of a node, in the order of their attributes' names.
func subgraphs(n *graph.Node) (all []*graph.Graph) {
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		switch v := n.Attrs[name].(type) {
		case *graph.Graph:
			all = append(all, v)
		case []*graph.Graph:
			all = append(all, v...)
		}
	}
	return all
}

// forget drops what is declared of the values of a graph and of its subgraphs.
func forget(g *graph.Graph) {
	g.Values = nil
	graph.Walk(g.Nodes, func(n *graph.Node) {
		for _, sub := range n.Subgraphs() {
			sub.Values = nil
		}
	})
}
