package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// ruleOf returns the rule of an operator. Those with subgraphs are not in the table, since they look others up there.
func ruleOf(op string) (rule, bool) {
	switch op {
	case "If":
		return rule{f: ifGradient, many: true}, true
	case "Loop":
		return rule{f: loopGradient, many: true}, true
	case "Scan":
		return rule{f: scanGradient, many: true}, true
	}
	r, ok := rules[op]
	return r, ok
}

// follow finds what depends on what depends already.
func (t *tape) follow() {
	for _, n := range t.forward {
		depends := slices.ContainsFunc(n.Subgraphs(), func(g *graph.Graph) bool {
			return slices.ContainsFunc(g.Captures(), func(name string) bool { return t.depends[name] })
		})
		for k, in := range n.Inputs {
			depends = depends || t.depends[in] && t.differentiable(n, k)
		}
		if !depends || zeroGradient[n.Op()] {
			continue
		}
		for _, out := range n.Outputs {
			if d := t.values[out].DType; out != "" && (d.IsFloat() || d == tensor.Invalid) {
				t.depends[out] = true
			}
		}
	}
}

// captured are the names that subgraphs take from around them and that need a gradient.
func (t *tape) captured(subs ...*graph.Graph) []string {
	var list []string
	for _, g := range subs {
		for _, name := range g.Captures() {
			if t.depends[name] && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// enter returns a tape of a copy of a subgraph, whose own values have new names: what it captures has the names that it has here. The inputs have the types and
// shapes that are given.
func (t *tape) enter(n *graph.Node, sub *graph.Graph, inputs []graph.Value) (*tape, error) {
	b := t.inner(n.Op())
	g := sub.Clone()
	own := map[string]bool{}
	var define func(g *graph.Graph)
	define = func(g *graph.Graph) {
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
			for _, inner := range n.Subgraphs() {
				define(inner)
			}
		}
	}
	define(g)
	g.Rename(func(name string) string {
		if own[name] {
			return b.prefix + name
		}
		return name
	})
	for i := range inputs {
		inputs[i].Name = g.Inputs[i].Name
	}
	g.Inputs, g.Opset, g.Values = inputs, t.g.Opset, nil
	for i := range g.Outputs {
		g.Outputs[i].Shape = nil // what is declared need not be true
	}
	alone := *g
	alone.Functions = t.g.Functions
	alone.Initializers = slices.Clone(g.Initializers)
	alone.Inputs = slices.Clone(inputs)
	for _, name := range g.Captures() {
		// What training changes is no constant.
		if c := t.known[name]; c != nil && !c.DType().IsFloat() {
			alone.Initializers = append(alone.Initializers, graph.Initializer{Name: name, Tensor: c})
			continue
		}
		v := t.values[name]
		v.Name = name
		alone.Inputs = append(alone.Inputs, v)
	}
	if err := infer.Shapes(&alone); err != nil {
		return nil, fmt.Errorf("%s: %w", nodeName(n), err)
	}
	nt, err := newTape(&alone)
	if err != nil {
		return nil, err
	}
	nt.builder, nt.dtype = b, t.dtype
	nt.forward = alone.Nodes
	nt.g = &alone
	nt.g.Initializers = g.Initializers
	return nt, nil
}

// leave makes a subgraph of a tape's nodes, whose outputs are gradients.
func (t *tape) leave(name string, inputs []graph.Value, outputs []string) *graph.Graph {
	g := &graph.Graph{Name: name, Inputs: inputs, Initializers: append(t.g.Initializers, t.inits...)}
	for _, v := range outputs {
		g.Outputs = append(g.Outputs, graph.Value{Name: t.op("Identity", v), DType: t.dtype})
	}
	g.Nodes = append(t.forward, t.nodes...)
	g.Prune()
	return g
}

// orZeros is a gradient, or zeros in the shape of the value.
func (t *tape) orZeros(gradient, of string) string {
	if gradient == "" {
		return t.zerosLike(of)
	}
	return gradient
}

// ifGradient is an If of the same condition: each branch is made again, and gives the gradients of what either of them captures.
func ifGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	then, other := n.Attrs.Graph("then_branch"), n.Attrs.Graph("else_branch")
	if then == nil || other == nil {
		return nil, fmt.Errorf("%w: %s: it lacks a branch", ErrNoGradient, nodeName(n))
	}
	names := t.captured(then, other)
	attrs := graph.Attrs{}
	for _, key := range []string{"then_branch", "else_branch"} {
		branch := n.Attrs.Graph(key)
		nt, err := t.enter(n, branch, nil)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			nt.depends[name] = true
		}
		nt.follow()
		for i, out := range nt.g.Outputs {
			if i < len(dy) && dy[i] != "" {
				nt.add(out.Name, dy[i])
			}
		}
		if err := nt.backward(); err != nil {
			return nil, err
		}
		outputs := make([]string, len(names))
		for i, name := range names {
			nt.values[name] = t.values[name]
			outputs[i] = nt.orZeros(nt.gradient(name), name)
		}
		attrs[key] = nt.leave(branch.Name, nil, outputs)
	}
	for i, part := range t.node(graph.OnnxDomain, "If", attrs, len(names), n.Input(0)) {
		t.add(names[i], part)
	}
	return make([]string, len(n.Inputs)), nil
}
