package graph

import (
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// Rename replaces every value's name by what to returns for it: in inputs, outputs, initializers, nodes and subgraphs.
// Empty names stay; functions are left alone.
func (g *Graph) Rename(to func(string) string) {
	for _, vs := range [][]Value{g.Inputs, g.Outputs, g.Values} {
		for i := range vs {
			vs[i].Name = to(vs[i].Name)
		}
	}
	for i := range g.Initializers {
		g.Initializers[i].Name = to(g.Initializers[i].Name)
	}
	for _, n := range g.Nodes {
		n.rename(to)
	}
}

func (n *Node) rename(to func(string) string) {
	for _, names := range [][]string{n.Inputs, n.Outputs} {
		for i, name := range names {
			if name != "" {
				names[i] = to(name)
			}
		}
	}
	for _, sub := range n.Subgraphs() {
		sub.Rename(to)
	}
}

// Prune removes what no output needs: nodes, initializers (and the inputs that list them), functions and declared
// values. Placeholders stay, used or not. It returns the number of nodes that it removed.
func (g *Graph) Prune() int {
	needed := make(map[string]bool, len(g.Nodes))
	for _, v := range g.Outputs {
		needed[v.Name] = true
	}
	before := len(g.Nodes)
	keep := make([]bool, len(g.Nodes))
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if !slices.ContainsFunc(n.Outputs, func(out string) bool { return needed[out] && out != "" }) {
			continue
		}
		keep[i] = true
		for _, name := range n.Uses() {
			needed[name] = true
		}
	}
	kept := g.Nodes[:0:0]
	for i, n := range g.Nodes {
		if keep[i] {
			kept = append(kept, n)
		}
	}
	g.Nodes = kept
	gone := map[string]bool{}
	g.Initializers = slices.DeleteFunc(slices.Clone(g.Initializers), func(in Initializer) bool {
		gone[in.Name] = !needed[in.Name]
		return !needed[in.Name]
	})
	g.Inputs = slices.DeleteFunc(slices.Clone(g.Inputs), func(v Value) bool { return gone[v.Name] })
	g.Values = slices.DeleteFunc(slices.Clone(g.Values), func(v Value) bool { return !needed[v.Name] })
	g.pruneFunctions()
	return before - len(kept)
}

func (g *Graph) pruneFunctions() {
	if len(g.Functions) == 0 {
		return
	}
	index := g.functions()
	used := map[*Function]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		if f := index[n.key()]; f != nil && !used[f] {
			used[f] = true
			Walk(f.Nodes, visit)
		}
	}
	Walk(g.Nodes, visit)
	g.Functions = slices.DeleteFunc(slices.Clone(g.Functions), func(f *Function) bool { return !used[f] })
}

type opKey struct{ domain, name string }

func (n *Node) key() opKey { return opKey{n.Domain, n.OpType} }

func (g *Graph) functions() map[opKey]*Function {
	index := make(map[opKey]*Function, len(g.Functions))
	for _, f := range g.Functions {
		index[opKey{f.Domain, f.Name}] = f
	}
	return index
}

// maxFold is the most bytes that a folded constant may have.
const maxFold = 16 << 20

// random are the operators that give something else each time.
var random = map[string]bool{
	"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true, "Bernoulli": true,
	"Multinomial": true,
}

// Fold replaces nodes that compute from constants alone by initializers with their results, which ev computes, and
// prunes what is left over. Constants are the initializers that variables do not name, and Constant nodes. shapes finds the
// shapes of a node's results before they are computed, as infer.Shapes does. A node that it or ev refuses stays, as do results
// over 16 MiB. The graph must be sorted. It returns the number of nodes that were folded, and ctx's error when that ended first.
func (g *Graph) Fold(ctx context.Context, ev Evaluator, shapes func(*Graph) error, variables ...string) (int, error) {
	consts := make(map[string]*tensor.Tensor, len(g.Initializers))
	for _, in := range g.Initializers {
		consts[in.Name] = in.Tensor
	}
	for _, name := range variables {
		delete(consts, name)
	}
	functions := g.functions()
	folded := 0
	left := make([]*Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		results, ok := g.foldNode(ctx, ev, shapes, n, consts, functions)
		if !ok {
			left = append(left, n)
			continue
		}
		folded++
		i := 0
		for _, out := range n.Outputs {
			if out != "" {
				consts[out] = results[i]
				g.Initializers = append(g.Initializers, Initializer{Name: out, Tensor: results[i]})
				i++
			}
		}
	}
	g.Nodes = left
	g.Prune()
	return folded, nil
}

// foldNode computes the outputs of n that have a name, where it is constant.
func (g *Graph) foldNode(ctx context.Context, ev Evaluator, shapes func(*Graph) error, n *Node, consts map[string]*tensor.Tensor, functions map[opKey]*Function) ([]*tensor.Tensor, bool) {
	if len(n.Subgraphs()) > 0 || n.Domain == OnnxDomain && (random[n.OpType] || n.OpType == "Dropout" && len(n.Inputs) > 2) {
		return nil, false
	}
	single := &Graph{Name: "fold", Opset: g.Opset, IRVersion: g.IRVersion, Nodes: []*Node{n}}
	if functions[n.key()] != nil {
		single.Functions = g.Functions
	}
	seen := map[string]bool{}
	for _, in := range n.Inputs {
		if in == "" || seen[in] {
			continue
		}
		seen[in] = true
		t, ok := consts[in]
		if !ok {
			return nil, false
		}
		single.Initializers = append(single.Initializers, Initializer{Name: in, Tensor: t})
	}
	for _, out := range n.Outputs {
		if out != "" {
			single.Outputs = append(single.Outputs, Value{Name: out})
		}
	}
	if err := shapes(single); err != nil {
		return nil, false
	}
	for _, v := range single.Outputs {
		if shape, ok := v.Shape.Static(); ok {
			if count, err := shape.Check(); err != nil || count > maxFold/max(1, v.DType.Size()) {
				return nil, false
			}
		}
	}
	results, err := ev.Evaluate(ctx, single)
	if err != nil || len(results) != len(single.Outputs) {
		return nil, false // it stays, and the engine says why when the graph is opened
	}
	return results, true
}

// String formats the graph's signature and size for people.
func (g *Graph) String() string {
	return fmt.Sprintf("graph %s: %v -> %v, %d nodes", g.Name, g.Placeholders(), g.Outputs, len(g.Nodes))
}
