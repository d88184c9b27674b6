package tensorflow

import (
	"context"
	"runtime"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// maxDropped is how many bytes of weights may be garbage before they are collected. The collector's own pace would let all weights be
// there twice.
const maxDropped = 4 << 20

// settle computes the nodes whose outputs are large constants, such as transposed weights. Each takes the place of what it was computed
// from, so that the weights are in memory once, and one of them twice: nothing but the graph may hold them.
func settle(ctx context.Context, ev graph.Evaluator, g *graph.Graph, late map[*graph.Node]bool) error {
	if len(late) == 0 {
		return nil
	}
	weights := map[string]*tensor.Tensor{}
	for _, in := range g.Initializers {
		weights[in.Name] = in.Tensor
	}
	g.Initializers = nil
	uses := map[string]int{}
	for _, v := range g.Outputs {
		uses[v.Name]++
	}
	for _, n := range g.Nodes {
		for _, name := range n.Uses() {
			uses[name]++
		}
	}
	dropped := 0
	kept := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		if !late[n] || slices.ContainsFunc(g.Outputs, func(v graph.Value) bool { return slices.Contains(n.Outputs, v.Name) }) {
			kept = append(kept, n)
			continue
		}
		made, err := compute(ctx, ev, n, weights)
		if err != nil {
			return err
		}
		if made == nil {
			kept = append(kept, n)
			continue
		}
		for i, t := range made {
			if uses[n.Outputs[i]] > 0 {
				weights[n.Outputs[i]] = t
			}
		}
		for _, name := range n.Uses() {
			if uses[name]--; uses[name] == 0 {
				dropped += 2 * weights[name].Size() * weights[name].DType().Size() // an evaluator may make as much on its way
				delete(weights, name)
			}
		}
		if dropped > maxDropped {
			runtime.GC()
			dropped = 0
		}
	}
	g.Nodes = kept
	for name, t := range weights {
		g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: t})
	}
	slices.SortFunc(g.Initializers, func(a, b graph.Initializer) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// compute returns the outputs of a node whose inputs are all weights; nil where one is not, or where the node cannot be computed.
func compute(ctx context.Context, ev graph.Evaluator, n *graph.Node, weights map[string]*tensor.Tensor) ([]*tensor.Tensor, error) {
	g := &graph.Graph{Name: "fold", Nodes: []*graph.Node{n}}
	for _, name := range n.Uses() {
		t := weights[name]
		if t == nil {
			return nil, nil
		}
		if !slices.ContainsFunc(g.Initializers, func(in graph.Initializer) bool { return in.Name == name }) {
			g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: t})
		}
	}
	for _, name := range n.Outputs {
		g.Outputs = append(g.Outputs, graph.Value{Name: name})
	}
	return evaluate(ctx, ev, g)
}

// evaluate computes a graph of one node. It returns nil where that cannot be done: the node then stays, and the engine says why when
// the graph is opened. An error is the context's.
func evaluate(ctx context.Context, ev graph.Evaluator, g *graph.Graph) ([]*tensor.Tensor, error) {
	node := *g.Nodes[0] // which stays as it is, of the opset that the others have
	g.Nodes[0] = &node
	g.Opset = map[string]int64{graph.OnnxDomain: graph.LowestOpset(g)}
	raiseReductions(g)
	results, err := ev.Evaluate(ctx, g)
	if err == nil && len(results) == len(g.Outputs) {
		return results, nil
	}
	return nil, ctx.Err()
}
