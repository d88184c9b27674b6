package graph

import (
	"fmt"
	"slices"
	"strconv"
)

// maxInlined limits the nodes of a graph whose functions are inlined: functions that call functions twice each grow
// like powers of two.
const maxInlined = 1 << 17

// Inline puts the bodies of functions in the place of their calls: those that pred returns true for, or all where
// pred is nil. They are left out of g.Functions. Attributes of a call, or else the function's defaults, take the place of references;
// where there is neither, the attribute is left out. A function of another opset than the graph's, or more than 131,072 nodes,
// is ErrInvalid; g may be half inlined then. The graph must be valid.
func (g *Graph) Inline(pred func(*Function) bool) error {
	in := &inliner{functions: map[opKey]*Function{}, names: Extend(g), left: maxInlined}
	var kept []*Function
	for _, f := range g.Functions {
		if pred != nil && !pred(f) {
			kept = append(kept, f)
			continue
		}
		for domain, version := range f.Opset {
			if v := g.Opset[domain]; v != 0 && v != version {
				return fmt.Errorf("%w: function %s is of opset %d of domain %q, the graph of %d", ErrInvalid, OpName(f.Domain, f.Name), version, domain, v)
			}
		}
		in.functions[opKey{f.Domain, f.Name}] = f
	}
	if len(in.functions) == 0 {
		return nil
	}
	nodes, err := in.nodes(g.Nodes, 0)
	if err != nil {
		return err
	}
	for i, f := range kept {
		body, err := in.nodes(f.Nodes, 0)
		if err != nil {
			return err
		}
		c := *f
		c.Nodes = body
		kept[i] = &c
	}
	for _, f := range in.functions {
		for domain, version := range f.Opset {
			if g.Opset[domain] == 0 {
				if g.Opset == nil {
					g.Opset = map[string]int64{}
				}
				g.Opset[domain] = version
			}
		}
	}
	g.Nodes, g.Functions = nodes, kept
	return nil
}

type inliner struct {
	functions map[opKey]*Function
	names     *Builder // only for unique names
	left      int      // nodes that may still be made
}

func (in *inliner) nodes(nodes []*Node, depth int) ([]*Node, error) {
	if depth > 100 {
		return nil, fmt.Errorf("%w: functions call each other more than 100 deep", ErrInvalid)
	}
	out := make([]*Node, 0, len(nodes))
	for _, n := range nodes {
		for _, sub := range n.Subgraphs() {
			body, err := in.nodes(sub.Nodes, depth+1)
			if err != nil {
				return nil, err
			}
			sub.Nodes = body
		}
		f := in.functions[n.key()]
		if f == nil {
			out = append(out, n)
			continue
		}
		if in.left -= countNodes(f.Nodes); in.left < 0 {
			return nil, fmt.Errorf("%w: inlining functions makes more than %d nodes", ErrInvalid, maxInlined)
		}
		body, err := in.nodes(in.body(f, n), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, body...)
	}
	return out, nil
}

// body returns f's nodes with the values of the call n.
func (in *inliner) body(f *Function, n *Node) []*Node {
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
