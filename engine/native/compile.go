package native

import (
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
	c := &compiler{e: e, functions: map[[2]string]*graph.Function{}, refused: map[string]bool{}}
	for _, f := range g.Functions {
		c.functions[[2]string{f.Domain, f.Name}] = f
	}
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
	e         *Engine
	functions map[[2]string]*graph.Function
	refused   map[string]bool // operators
	made      int             // nodes
	calls     int             // of functions
	depth     int             // of subgraphs
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
	in := inliner{compiler: c}
	if err := in.inline(g.Nodes, opset, nil, 0); err != nil {
		return nil, err
	}
	given := map[string]bool{}
	for _, v := range inputs {
		given[v.Name] = true
	}
	for _, v := range g.Initializers {
		given[v.Name] = true
	}
	for name := range captured {
		given[name] = true
	}
	nodes, err := order(given, in.nodes, g.Outputs)
	if err != nil {
		return nil, err
	}
	p := &program{name: g.Name, consts: map[int]*tensor.Tensor{}, in: inputs, out: slices.Clone(g.Outputs), owns: true}
	p.open = openInputs(p.in)
	ids := map[string]int{}
	id := func(name string) int {
		if name == "" {
			return -1
		}
		k, ok := ids[name]
		if !ok {
			k = len(p.names)
			ids[name] = k
			p.names = append(p.names, name)
		}
		return k
	}
	for _, init := range g.Initializers {
		if init.Tensor == nil {
			return nil, fmt.Errorf("engine native: initializer %q has no tensor", init.Name)
		}
		p.consts[id(init.Name)] = init.Tensor
	}
	for name, t := range captured {
		p.consts[id(name)] = t
	}
	for _, v := range p.in {
		k := id(v.Name)
		p.inputs = append(p.inputs, k)
		delete(p.consts, k) // an input of a subgraph goes before its initializer
		p.boxed = p.boxed || v.Container != ""
	}
	for _, fn := range nodes {
		n := &pnode{node: fn.node, opset: fn.opset[fn.node.Domain], opsets: fn.opset, formal: len(fn.node.Inputs)}
		for _, name := range fn.node.Inputs {
			n.in = append(n.in, id(name))
		}
		for _, name := range fn.node.Outputs {
			n.out = append(n.out, id(name))
		}
		if subs := fn.node.Subgraphs(); len(subs) > 0 {
			n.node = fn.node.Clone() // inference writes into subgraphs
			for _, name := range fn.node.Uses()[notEmpty(fn.node.Inputs):] {
				if k := id(name); !slices.Contains(n.in[n.formal:], k) {
					n.in = append(n.in, k)
				}
			}
		}
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
	for _, v := range g.Outputs {
		k, ok := ids[v.Name]
		if !ok {
			return nil, fmt.Errorf("engine native: nothing computes the output %q", v.Name)
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

// notEmpty returns how many of these names are not left out.
func notEmpty(names []string) int {
	n := 0
	for _, name := range names {
		if name != "" {
			n++
		}
	}
	return n
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
		for _, name := range sub.Captures() {
			if name == "" {
				continue
			}
			at := slices.IndexFunc(n.in[n.formal:], func(id int) bool { return id >= 0 && p.names[id] == name })
			if at < 0 {
				return fmt.Errorf("engine native: nothing computes %q, which %s needs", name, n.label())
			}
			at += n.formal
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
