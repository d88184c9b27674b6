package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// compile checks every operator of g and makes a program of it, and programs of its subgraphs.
func (e *Engine) compile(ctx context.Context, g *graph.Graph) (*program, error) {
	g, err := withoutFlex(g)
	if err != nil {
		return nil, err
	}
	c := &compiler{e: e, refused: map[string]bool{}}
	c.inliner = graph.NewInliner(g, func(f *graph.Function) bool {
		_, kernel := operators[graph.OpName(f.Domain, f.Name)]
		return !kernel || f.Domain != graph.MillraceDomain
	})
	p, err := c.program(ctx, g, g.Placeholders(), g.Opset, nil)
	if err != nil {
		return nil, err
	}
	if len(c.refused) > 0 {
		return nil, &engine.UnsupportedError{Engine: Name, Ops: slices.Sorted(maps.Keys(c.refused))}
	}
	return p, nil
}

// compiler is what the programs of a graph and its subgraphs share while they are made.
type compiler struct {
	e       *Engine
	inliner *graph.Inliner
	refused map[string]bool // operators
	depth   int             // of subgraphs
}

// maxDepth limits how deep subgraphs nest.
const maxDepth = 64

// program makes a program of g, with these inputs in place of its own, of which captured have a value already. Operators that are
// refused are noted and left out.
func (c *compiler) program(ctx context.Context, g *graph.Graph, inputs []graph.Value, opset map[string]int64, captured map[string]*tensor.Tensor) (*program, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.depth++; c.depth > maxDepth {
		return nil, fmt.Errorf("engine native: subgraphs nest more than %d deep", maxDepth)
	}
	defer func() { c.depth-- }()
	if slices.Contains(g.Nodes, nil) {
		return nil, errors.New("engine native: the graph has a nil node")
	}
	nodes, err := c.inliner.Nodes(g.Nodes)
	if err != nil {
		return nil, fmt.Errorf("engine native: %w", err)
	}
	if nodes, err = graph.Sorted(nodes); err != nil {
		return nil, fmt.Errorf("engine native: %w", err)
	}
	p := &program{name: g.Name, consts: map[int]*tensor.Tensor{}, derived: new(derivations), in: inputs, out: slices.Clone(g.Outputs), owns: true}
	p.open = openInputs(p.in)
	v := newNumbers(p, len(g.Initializers)+len(captured)+len(inputs), nodes)
	for _, init := range g.Initializers {
		if init.Tensor == nil {
			return nil, fmt.Errorf("engine native: initializer %q has no tensor", init.Name)
		}
		p.consts[v.of(init.Name)] = init.Tensor
	}
	for name, t := range captured {
		p.consts[v.of(name)] = t
	}
	for _, in := range p.in {
		k := v.of(in.Name)
		p.inputs = append(p.inputs, k)
		delete(p.consts, k) // an input of a subgraph goes before its initializer
		p.boxed = p.boxed || in.Container != ""
	}
	p.nodes = make([]*pnode, 0, len(nodes))
	room := make([]pnode, len(nodes))
	for i, node := range nodes {
		n := &room[i]
		if err := v.node(n, node); err != nil {
			return nil, err
		}
		n.opsets = opset
		if own, ok := c.inliner.Opset(node); ok {
			n.opsets = own
		}
		n.opset = cmp.Or(n.opsets[node.Domain], opset[node.Domain])
		p.owns = p.owns && n.formal == len(n.in) && len(n.node.Subgraphs()) == 0 && !takesBoxes[n.node.Op()]
		if err := n.bind(); err != nil {
			var u *unsupported
			if !errors.As(err, &u) {
				return nil, err
			}
			c.refused[u.Error()] = true
			if err := c.bodies(ctx, p, n); err != nil { // for what they lack too
				return nil, err
			}
			continue
		}
		p.nodes = append(p.nodes, n)
	}
	for _, out := range g.Outputs {
		k, ok := v.ids[out.Name]
		if !ok {
			return nil, fmt.Errorf("engine native: nothing computes %q, which the output needs", out.Name)
		}
		p.outputs = append(p.outputs, k)
	}
	p.prune()
	p.fold(ctx, c.e)
	p.prune()
	for _, n := range p.nodes {
		if err := c.bodies(ctx, p, n); err != nil {
			return nil, err
		}
	}
	if c.depth == 1 {
		p.plain = p.unfused(opset)
	} else {
		clear(p.open) // a body's plans are for exact sizes
	}
	for p.fuse() {
		p.prune()
	}
	p.nvals = len(p.names)
	p.liveness()
	return p, nil
}

// numbers gives the values of a program their numbers, in the order in which they come to be.
type numbers struct {
	p    *program
	ids  map[string]int
	room []int // for the inputs and outputs of nodes
}

// newNumbers makes room for so many values that are given, and for all that nodes take and give.
func newNumbers(p *program, given int, nodes []*graph.Node) *numbers {
	made, all := 0, 0
	for _, n := range nodes {
		made += len(n.Outputs)
		all += len(n.Inputs) + len(n.Outputs)
	}
	p.names = make([]string, 0, given+made)
	return &numbers{p: p, ids: make(map[string]int, given+made), room: make([]int, all)}
}

// of returns the number of a name, a new one where it has none.
func (v *numbers) of(name string) int {
	k, ok := v.ids[name]
	if !ok {
		k = len(v.p.names)
		v.ids[name] = k
		v.p.names = append(v.p.names, name)
	}
	return k
}

// node fills n with the numbers of what node takes, what its subgraphs capture included, and of what it gives. All that it takes has come to be before.
func (v *numbers) node(n *pnode, node *graph.Node) error {
	n.node, n.formal = node, len(node.Inputs)
	n.in, n.out = v.list(len(node.Inputs)), v.list(len(node.Outputs))
	take := func(name string) (int, error) {
		if k, ok := v.ids[name]; ok {
			return k, nil
		}
		return 0, fmt.Errorf("engine native: nothing computes %q, which %s needs", name, node.Op())
	}
	var err error
	for i, name := range node.Inputs {
		if n.in[i] = -1; name == "" {
			continue
		}
		if n.in[i], err = take(name); err != nil {
			return err
		}
	}
	if subs := node.Subgraphs(); len(subs) > 0 {
		seen := map[string]bool{}
		for _, sub := range subs {
			for _, name := range sub.Captures() {
				if name == "" || seen[name] {
					continue
				}
				seen[name] = true
				k, err := take(name)
				if err != nil {
					return err
				}
				n.in = append(n.in, k)
			}
		}
	}
	for i, name := range node.Outputs {
		if n.out[i] = -1; name == "" {
			continue
		}
		if _, twice := v.ids[name]; twice {
			return fmt.Errorf("engine native: %q is computed by %s and given before", name, node.Op())
		}
		n.out[i] = v.of(name)
	}
	return nil
}

// list makes a list of n numbers, which is of one piece with others.
func (v *numbers) list(n int) []int {
	l := v.room[:n:n]
	v.room = v.room[n:]
	return l
}

// bodies makes the programs of a node's subgraphs. What they capture of p is a constant of theirs where it is one of p, and an input
// after their own otherwise.
func (c *compiler) bodies(ctx context.Context, p *program, n *pnode) error {
	for name, attr := range n.node.Attrs {
		sub, ok := attr.(*graph.Graph)
		if !ok {
			continue
		}
		b := &body{attr: name, formal: len(sub.Inputs), graph: sub}
		inputs, consts := slices.Clone(sub.Inputs), map[string]*tensor.Tensor{}
		taken := make(map[string]int, len(n.in)-n.formal)
		for at := n.formal; at < len(n.in); at++ {
			taken[p.names[n.in[at]]] = at
		}
		for _, name := range sub.Captures() {
			if name == "" {
				continue
			}
			at, ok := taken[name]
			if !ok {
				return fmt.Errorf("engine native: nothing computes %q, which %s needs", name, n.label())
			}
			if t := p.consts[n.in[at]]; t != nil {
				consts[name] = t
				continue
			}
			inputs = append(inputs, graph.Value{Name: name})
			b.captured = append(b.captured, at)
		}
		var err error
		if b.prog, err = c.program(ctx, sub, inputs, n.opsets, consts); err != nil {
			return err
		}
		n.bodies = append(n.bodies, b)
	}
	return nil
}
