package native

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/graph"
)

// flat is a node after inlining, with the opsets of where it came from.
type flat struct {
	node  *graph.Node
	opset map[string]int64
}

// inliner replaces calls of functions that have no kernel by the functions' bodies.
type inliner struct {
	*compiler
	nodes []flat
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
		f := in.functions[[2]string{n.Domain, n.OpType}]
		_, native := operators[n.Op()]
		if f == nil || native && n.Domain == graph.MillraceDomain {
			if in.made++; in.made > maxNodes {
				return fmt.Errorf("engine native: the graph has more than %d nodes after its functions are inlined", maxNodes)
			}
			in.nodes = append(in.nodes, flat{n, opset})
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
				in.nodes = append(in.nodes, flat{&graph.Node{OpType: "Identity", Inputs: []string{names[name]}, Outputs: []string{n.Output(i)}}, map[string]int64{graph.OnnxDomain: 17}})
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
		c.Bind(f, n.Attrs)
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
	for _, sub := range c.Subgraphs() {
		sub.Rename(rename)
	}
	return c
}
