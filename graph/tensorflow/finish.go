package tensorflow

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// finish puts the graph together: outputs under their names, and the constants that nodes use.
func (c *converter) finish(g *graph.Graph, sel *selection, edges []edge) error {
	g.Nodes = c.nodes
	made := map[string]bool{}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			made[out] = true
		}
	}
	renamed := map[string]string{}
	for i, e := range edges {
		v, name := e.value(), sel.outputs[i].name
		switch {
		case v.dead:
			return fmt.Errorf("%w: output %q is on a side that is never taken", ErrInvalid, name)
		case v.handle != "":
			return fmt.Errorf("%w: output %q is a %s, not a tensor", ErrRefused, name, v.handle)
		}
		g.Outputs = append(g.Outputs, graph.Value{Name: name, DType: v.dtype, Shape: known(v.shape)})
		if made[v.name] && renamed[v.name] == "" {
			renamed[v.name] = name
			continue
		}
		g.Nodes = append(g.Nodes, &graph.Node{Name: c.unique("output/" + name), OpType: "Identity", Inputs: []string{c.use(v)}, Outputs: []string{name}})
	}
	rename(g.Nodes, renamed)
	for _, name := range slices.Sorted(maps.Keys(c.constants)) {
		g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: c.constants[name].con})
	}
	trim(g)
	c.recognize(g)
	g.Prune()
	if err := g.Sort(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// rename gives values other names, in subgraphs too.
func rename(nodes []*graph.Node, to map[string]string) {
	graph.Walk(nodes, func(n *graph.Node) {
		for _, names := range [][]string{n.Inputs, n.Outputs} {
			for i, name := range names {
				if to[name] != "" {
					names[i] = to[name]
				}
			}
		}
		for _, sub := range n.Subgraphs() {
			for i, v := range sub.Outputs {
				if to[v.Name] != "" {
					sub.Outputs[i].Name = to[v.Name]
				}
			}
		}
	})
}

// check sets the opset of a graph that is whole, and finds its shapes.
func check(g *graph.Graph) error {
	g.Opset = map[string]int64{graph.OnnxDomain: graph.LowestOpset(g)}
	raiseReductions(g)
	if err := g.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := infer.Shapes(g); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// known leaves out the symbols that a Stepper made up.
func known(shape graph.Shape) graph.Shape {
	if shape == nil {
		return nil
	}
	out := append(graph.Shape{}, shape...)
	for i, d := range out {
		if len(d.Symbol) > 0 && d.Symbol[0] == '?' {
			out[i].Symbol = ""
		}
	}
	return out
}

// raiseReductions writes reductions and splits as opset 18 has them, where the graph is of that opset.
func raiseReductions(g *graph.Graph) {
	if g.Opset[graph.OnnxDomain] < 18 {
		return
	}
	lists := map[string]string{}
	graph.Walk(g.Nodes, func(n *graph.Node) {
		switch n.OpType {
		case "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare":
			axes := n.Attrs.Ints("axes", nil)
			if axes == nil {
				return
			}
			key := fmt.Sprint(axes)
			if lists[key] == "" {
				lists[key] = "reduce_axes" + key
				g.Initializers = append(g.Initializers, graph.Initializer{Name: lists[key], Tensor: tensor.Vector(slices.Clone(axes)...)})
			}
			n.Attrs = n.Attrs.Clone()
			delete(n.Attrs, "axes")
			n.Inputs = append(n.Inputs, lists[key])
		case "Split":
			if n.Input(1) == "" {
				n.Attrs = n.Attrs.Clone()
				n.Attrs["num_outputs"] = int64(len(n.Outputs))
			}
		}
	})
}
