package native

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A program is a graph ready for planning: known operators in topological order, values by number.
type program struct {
	name    string
	nodes   []*pnode
	nvals   int
	names   []string // of the values
	inputs  []int
	outputs []int
	consts  map[int]*tensor.Tensor
	in, out []graph.Value
	open    []bool       // inputs whose first dimension is not declared
	plain   *graph.Graph // before fusion, for shape inference; nil where that would misread it
	derived sync.Map     // derivedKey to what was made of a weight
	// derivations counts what was put into derived.
	derivations atomic.Int64
}

// A pnode is one node of a program.
type pnode struct {
	node    *graph.Node
	opset   int64
	in, out []int // values; -1 is left out
	dies    []int // values whose last use this is
	prepare func(c *prep) error
	act     activation // what fusion appended to the node
}

func (n *pnode) label() string {
	if n.node.Name != "" {
		return fmt.Sprintf("%q (%s)", n.node.Name, n.node.Op())
	}
	if len(n.node.Outputs) > 0 {
		return fmt.Sprintf("%s that makes %q", n.node.Op(), n.node.Outputs[0])
	}
	return n.node.Op()
}

// compile checks every operator of g and makes a program of it.
func (e *Engine) compile(ctx context.Context, g *graph.Graph) (*program, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in := inliner{g: g, nodes: nil}
	if err := in.inline(g.Nodes, g.Opset, nil, 0); err != nil {
		return nil, err
	}
	nodes, err := order(g, in.nodes)
	if err != nil {
		return nil, err
	}
	p := &program{name: g.Name, consts: map[int]*tensor.Tensor{}, in: g.Placeholders(), out: slices.Clone(g.Outputs)}
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
	for _, v := range p.in {
		p.inputs = append(p.inputs, id(v.Name))
	}
	refused := map[string]bool{}
	for _, fn := range nodes {
		n := &pnode{node: fn.node, opset: fn.opset}
		for _, name := range fn.node.Inputs {
			n.in = append(n.in, id(name))
		}
		for _, name := range fn.node.Outputs {
			n.out = append(n.out, id(name))
		}
		if err := n.bind(); err != nil {
			var u *unsupported
			if !errors.As(err, &u) {
				return nil, err
			}
			refused[u.Error()] = true
			continue
		}
		p.nodes = append(p.nodes, n)
	}
	if len(refused) > 0 {
		return nil, &engine.UnsupportedError{Engine: Name, Ops: slices.Sorted(maps.Keys(refused))}
	}
	for _, v := range g.Outputs {
		k, ok := ids[v.Name]
		if !ok {
			return nil, fmt.Errorf("engine native: nothing computes the output %q", v.Name)
		}
		p.outputs = append(p.outputs, k)
	}
	p.prune()
	p.optimize(ctx, e, g.Opset)
	p.prune()
	p.nvals = len(p.names)
	p.liveness()
	return p, nil
}

// bind finds the node's kernel and checks its attributes.
func (n *pnode) bind() error {
	op := n.node.Op()
	def, ok := operators[op]
	if !ok {
		return &unsupported{op: op}
	}
	if n.node.Domain == graph.OnnxDomain {
		if n.opset < 1 || n.opset > MaxOpset {
			return &unsupported{op: op, reason: fmt.Sprintf("opset %d, the newest that is known is %d", n.opset, MaxOpset)}
		}
	}
	if err := def.check(n.node, n.opset); err != nil {
		return err
	}
	n.prepare = def.prepare
	return nil
}

// prune drops the nodes that no output needs.
func (p *program) prune() {
	need := make([]bool, len(p.names))
	for _, id := range p.outputs {
		need[id] = true
	}
	var kept []*pnode
	for _, n := range slices.Backward(p.nodes) {
		if !slices.ContainsFunc(n.out, func(id int) bool { return id >= 0 && need[id] }) {
			continue
		}
		for _, id := range n.in {
			if id >= 0 {
				need[id] = true
			}
		}
		kept = append(kept, n)
	}
	slices.Reverse(kept)
	p.nodes = kept
}

// liveness notes where each value is used last.
func (p *program) liveness() {
	last := make([]int, p.nvals)
	for i := range last {
		last[i] = -1
	}
	for i, n := range p.nodes {
		n.dies = nil
		for _, id := range n.in {
			if id >= 0 {
				last[id] = i
			}
		}
		for _, id := range n.out {
			if id >= 0 && last[id] < i {
				last[id] = i
			}
		}
	}
	for _, id := range p.outputs {
		last[id] = -1
	}
	for id, i := range last {
		if i >= 0 {
			p.nodes[i].dies = append(p.nodes[i].dies, id)
		}
	}
}

// flat is a node after inlining, with the opset of the domain it came from.
type flat struct {
	node  *graph.Node
	opset int64
}

// inliner replaces calls of functions that have no kernel by the functions' bodies.
type inliner struct {
	g     *graph.Graph
	nodes []flat
	calls int
}

const maxInlineDepth = 64

func (in *inliner) inline(nodes []*graph.Node, opset map[string]int64, rename func(string) string, depth int) error {
	if depth > maxInlineDepth {
		return fmt.Errorf("engine native: functions call each other more than %d deep", maxInlineDepth)
	}
	for _, n := range nodes {
		if n == nil {
			return errors.New("engine native: the graph has a nil node")
		}
		if rename != nil {
			n = renamed(n, rename)
		}
		f := in.g.Function(n.Domain, n.OpType)
		_, native := operators[n.Op()]
		if f == nil || native && n.Domain == graph.MillraceDomain {
			if len(in.nodes) >= maxNodes {
				return fmt.Errorf("engine native: the graph has more than %d nodes after its functions are inlined", maxNodes)
			}
			in.nodes = append(in.nodes, flat{n, opset[n.Domain]})
			continue
		}
		if err := in.call(n, f, opset, depth); err != nil {
			return err
		}
	}
	return nil
}

const maxNodes = 1 << 18

// call appends the body of f with n's inputs, outputs and attributes in place of its own.
func (in *inliner) call(n *graph.Node, f *graph.Function, opset map[string]int64, depth int) error {
	if len(n.Inputs) > len(f.Inputs) || len(n.Outputs) > len(f.Outputs) {
		return fmt.Errorf("engine native: %s takes %d inputs and %d outputs, not %d and %d", n.Op(), len(f.Inputs), len(f.Outputs), len(n.Inputs), len(n.Outputs))
	}
	in.calls++
	prefix := fmt.Sprintf("%s#%d/", n.OpType, in.calls)
	names := map[string]string{}
	for i, name := range f.Inputs {
		names[name] = n.Input(i)
	}
	for i, name := range f.Outputs {
		if n.Output(i) != "" {
			if _, isInput := names[name]; isInput { // an output that is an input
				in.nodes = append(in.nodes, flat{&graph.Node{OpType: "Identity", Inputs: []string{names[name]}, Outputs: []string{n.Output(i)}}, 17})
				continue
			}
			names[name] = n.Output(i)
		}
	}
	rename := func(name string) string {
		if name == "" {
			return ""
		}
		if to, ok := names[name]; ok {
			return to
		}
		return prefix + name
	}
	body := make([]*graph.Node, len(f.Nodes))
	for i, b := range f.Nodes {
		c := b.Clone()
		for name, v := range b.Attrs {
			ref, ok := v.(graph.AttrRef)
			if !ok {
				continue
			}
			if a, ok := n.Attrs[string(ref)]; ok {
				c.Attrs[name] = a
			} else if a, ok := f.Defaults[string(ref)]; ok {
				c.Attrs[name] = a
			} else {
				delete(c.Attrs, name)
			}
		}
		body[i] = c
	}
	bodyOpset := f.Opset
	if len(bodyOpset) == 0 {
		bodyOpset = opset
	}
	return in.inline(body, bodyOpset, rename, depth+1)
}

func renamed(n *graph.Node, rename func(string) string) *graph.Node {
	c := n.Clone()
	for i, name := range c.Inputs {
		c.Inputs[i] = rename(name)
	}
	for i, name := range c.Outputs {
		c.Outputs[i] = rename(name)
	}
	return c
}

// order sorts nodes so that each comes after what it needs, keeping the given order where that is possible.
func order(g *graph.Graph, nodes []flat) ([]flat, error) {
	producer := map[string]int{}
	for i, f := range nodes {
		for _, name := range f.node.Outputs {
			if name == "" {
				continue
			}
			if _, twice := producer[name]; twice {
				return nil, fmt.Errorf("engine native: two nodes compute %q", name)
			}
			producer[name] = i
		}
	}
	given := map[string]bool{}
	for _, v := range g.Inputs {
		given[v.Name] = true
	}
	for _, v := range g.Initializers {
		given[v.Name] = true
	}
	const (
		unseen = iota
		open
		done
	)
	state := make([]uint8, len(nodes))
	type visit struct{ node, input int }
	var stack []visit
	push := func(name, by string) error {
		i, ok := producer[name]
		switch {
		case name == "" || !ok && given[name]:
			return nil
		case !ok:
			return fmt.Errorf("engine native: nothing computes %q, which %s needs", name, by)
		case given[name]:
			return fmt.Errorf("engine native: %q is given and computed as well", name)
		case state[i] == open:
			return fmt.Errorf("engine native: %q depends on itself", name)
		case state[i] == unseen:
			state[i] = open
			stack = append(stack, visit{i, 0})
		}
		return nil
	}
	var sorted []flat
	run := func() error {
		for len(stack) > 0 {
			v := &stack[len(stack)-1]
			n := nodes[v.node].node
			if v.input < len(n.Inputs) {
				v.input++
				if err := push(n.Inputs[v.input-1], n.Op()); err != nil {
					return err
				}
				continue
			}
			state[v.node] = done
			sorted = append(sorted, nodes[v.node])
			stack = stack[:len(stack)-1]
		}
		return nil
	}
	// Every node is visited in the given order, so that an unsupported one is named even where nothing needs it.
	for i := range nodes {
		if state[i] == unseen {
			state[i] = open
			stack = append(stack, visit{i, 0})
			if err := run(); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range g.Outputs {
		if err := push(v.Name, "the output"); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}
