package graph

import (
	"fmt"
	"slices"
	"strconv"
)

// maxInlined limits the nodes that inlining makes: functions that call functions twice each grow like powers of two.
const maxInlined = 1 << 18

// Inline puts the bodies of functions in the place of their calls: those that pred returns true for, or all where
// pred is nil. They are left out of g.Functions. Attributes of a call, or else the function's defaults, take the place of references;
// where there is neither, the attribute is left out. A function of another opset than the graph's, or more than 262,144 nodes,
// is ErrInvalid; g may be half inlined then. The graph must be valid.
func (g *Graph) Inline(pred func(*Function) bool) error {
	in := NewInliner(g, pred)
	if len(in.functions) == 0 {
		return nil
	}
	for _, f := range in.functions {
		for domain, version := range f.Opset {
			switch v := g.Opset[domain]; {
			case v != 0 && v != version:
				return fmt.Errorf("%w: function %s is of opset %d of domain %q, the graph of %d", ErrInvalid, OpName(f.Domain, f.Name), version, domain, v)
			case g.Opset == nil:
				g.Opset = map[string]int64{}
			}
			g.Opset[domain] = version
		}
	}
	nodes, err := in.deep(g.Nodes, 0)
	if err != nil {
		return err
	}
	var kept []*Function
	for _, f := range g.Functions {
		if in.functions[opKey{f.Domain, f.Name}] != nil {
			continue
		}
		c := *f
		if c.Nodes, err = in.deep(f.Nodes, 0); err != nil {
			return err
		}
		kept = append(kept, &c)
	}
	g.Nodes, g.Functions = nodes, kept
	return nil
}

// An Inliner puts the bodies of functions in the place of their calls, for those who go through a graph and its subgraphs by
// themselves. It is not safe for concurrent use.
type Inliner struct {
	functions map[opKey]*Function
	names     *Builder                   // only for unique names
	opsets    map[*Node]map[string]int64 // of nodes that come from functions
	left      int                        // nodes that may still be made
}

// NewInliner makes one for the functions of g that pred returns true for, or all where pred is nil.
func NewInliner(g *Graph, pred func(*Function) bool) *Inliner {
	in := &Inliner{functions: map[opKey]*Function{}, left: maxInlined}
	for _, f := range g.Functions {
		if pred == nil || pred(f) {
			in.functions[opKey{f.Domain, f.Name}] = f
		}
	}
	if len(in.functions) > 0 {
		in.names, in.opsets = Extend(g), map[*Node]map[string]int64{}
	}
	return in
}

// Opset returns the opset of a node that Nodes returned, where that was in the body of a function which says one.
func (in *Inliner) Opset(n *Node) (map[string]int64, bool) {
	opset, ok := in.opsets[n]
	return opset, ok
}

// Nodes returns nodes with those that functions stand for. The nodes in their subgraphs are left alone, and none is changed: what comes from
// a function is new.
func (in *Inliner) Nodes(nodes []*Node) ([]*Node, error) { return in.nodes(nodes, nil, 0) }

func (in *Inliner) nodes(nodes []*Node, opset map[string]int64, depth int) ([]*Node, error) {
	if len(in.functions) == 0 {
		return nodes, nil
	}
	if depth > 100 {
		return nil, fmt.Errorf("%w: functions call each other more than 100 deep", ErrInvalid)
	}
	out := make([]*Node, 0, len(nodes))
	for _, n := range nodes {
		f := in.functions[n.key()]
		if f == nil {
			if opset != nil {
				in.opsets[n] = opset
			}
			out = append(out, n)
			continue
		}
		if given(n.Inputs) > len(f.Inputs) || given(n.Outputs) > len(f.Outputs) {
			return nil, fmt.Errorf("%w: %s takes %d inputs and gives %d outputs, not %d and %d", ErrInvalid, n.Op(), len(f.Inputs), len(f.Outputs), given(n.Inputs), given(n.Outputs))
		}
		if in.left -= countNodes(f.Nodes); in.left < 0 {
			return nil, fmt.Errorf("%w: inlining functions makes more than %d nodes", ErrInvalid, maxInlined)
		}
		inner := opset
		if len(f.Opset) > 0 {
			inner = f.Opset
		}
		body, err := in.nodes(in.body(f, n), inner, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, body...)
	}
	return out, nil
}

// deep is Nodes with the nodes of subgraphs, which it changes.
func (in *Inliner) deep(nodes []*Node, depth int) ([]*Node, error) {
	if depth > 100 {
		return nil, fmt.Errorf("%w: functions and subgraphs nest more than 100 deep", ErrInvalid)
	}
	nodes, err := in.nodes(nodes, nil, 0)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, sub := range n.Subgraphs() {
			if sub.Nodes, err = in.deep(sub.Nodes, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return nodes, nil
}

// body returns f's nodes with the values of the call n.
func (in *Inliner) body(f *Function, n *Node) []*Node {
	prefix := n.Name
	if prefix == "" {
		prefix = f.Name
	}
	names := map[string]string{}
	for i, name := range f.Inputs {
		names[name] = n.Input(i)
	}
	var last []*Node // give an input, or one value twice, as outputs
	for i, name := range f.Outputs {
		out := n.Output(i)
		if out == "" {
			continue
		}
		if _, ok := names[name]; ok {
			last = append(last, &Node{Name: in.names.nodes.unique(prefix + "/out" + strconv.Itoa(i)), OpType: "Identity", Inputs: []string{name}, Outputs: []string{out}})
			continue
		}
		names[name] = out
	}
	rename := func(name string) string {
		to, ok := names[name]
		if !ok {
			to = in.names.Unique(prefix + "/" + name)
			names[name] = to
		}
		return to
	}
	nodes := make([]*Node, 0, len(f.Nodes)+len(last))
	for _, inner := range f.Nodes {
		c := inner.Clone()
		if c.Name == "" {
			c.Name = c.OpType
		}
		c.Name = in.names.nodes.unique(prefix + "/" + c.Name)
		c.rename(rename)
		c.Bind(f, n.Attrs)
		nodes = append(nodes, c)
	}
	for _, c := range last {
		c.Inputs[0] = rename(c.Inputs[0])
		nodes = append(nodes, c)
	}
	return slices.Clip(nodes)
}

// Bind puts the attributes of a call of f, or else its defaults, into the references of n and its subgraphs. Where there is
// neither, the attribute is left out.
func (n *Node) Bind(f *Function, call Attrs) {
	for name, v := range n.Attrs {
		ref, ok := v.(AttrRef)
		if !ok {
			continue
		}
		if given, ok := call[string(ref)]; ok {
			n.Attrs[name] = given
		} else if given, ok := f.Defaults[string(ref)]; ok {
			n.Attrs[name] = given
		} else {
			delete(n.Attrs, name)
		}
	}
	for _, sub := range n.Subgraphs() {
		for _, inner := range sub.Nodes {
			inner.Bind(f, call)
		}
	}
}
