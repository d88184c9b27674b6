package native

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// flexDomain is where ONNX tries operators out.
const flexDomain = "ai.onnx.preview"

// withoutFlex is g with functions of ONNX's own operators in the place of FlexAttention: attention whose scores, and whose shares after the
// softmax, go through subgraphs of the node. It is g itself where there is none.
func withoutFlex(g *graph.Graph) (*graph.Graph, error) {
	found := false
	seek := func(n *graph.Node) { found = found || n.Domain == flexDomain && n.OpType == "FlexAttention" }
	graph.Walk(g.Nodes, seek)
	for _, f := range g.Functions {
		graph.Walk(f.Nodes, seek)
	}
	if !found {
		return g, nil
	}
	g = g.Clone()
	if err := infer.Shapes(g); err != nil {
		return nil, err
	}
	x := &flexer{g: g, types: map[string]tensor.DType{}}
	for _, v := range slices.Concat(g.Inputs, g.Values, g.Outputs) {
		x.types[v.Name] = v.DType
	}
	for _, in := range g.Initializers {
		x.types[in.Name] = in.Tensor.DType()
	}
	functions := slices.Clone(g.Functions)
	graph.Walk(g.Nodes, func(n *graph.Node) { x.replace(n, g.Opset) })
	for i, f := range functions {
		own := *f
		own.Nodes = nil
		for _, n := range f.Nodes {
			own.Nodes = append(own.Nodes, n.Clone())
		}
		graph.Walk(own.Nodes, func(n *graph.Node) { x.replace(n, own.Opset) })
		functions[i] = &own
	}
	g.Functions = append(functions, x.made...)
	return g, x.err
}

type flexer struct {
	g     *graph.Graph
	types map[string]tensor.DType
	made  []*graph.Function
	err   error
}

// replace makes a call of a function of a FlexAttention.
func (x *flexer) replace(n *graph.Node, opset map[string]int64) {
	if x.err != nil || n.Domain != flexDomain || n.OpType != "FlexAttention" {
		return
	}
	if err := operators[flexDomain+".FlexAttention"].check(n, 1); err != nil {
		x.err = &engine.UnsupportedError{Engine: Name, Ops: []string{err.Error()}}
		return
	}
	if len(n.Inputs) != 3 || len(n.Outputs) != 1 || slices.Contains(n.Inputs, "") {
		x.err = fmt.Errorf("node %q (FlexAttention): %d inputs and %d outputs, not 3 and 1", n.Name, len(n.Inputs), len(n.Outputs))
		return
	}
	f := &graph.Function{
		Domain: flexDomain, Name: fmt.Sprintf("FlexAttention.%d", len(x.made)), Inputs: []string{"Q", "K", "V"}, Outputs: []string{"Y"},
		Opset: map[string]int64{graph.OnnxDomain: max(opset[graph.OnnxDomain], 18), flexDomain: 1},
	}
	captured := x.build(f, n, opset)
	x.made = append(x.made, f)
	n.OpType, n.Attrs, n.Inputs = f.Name, nil, append(slices.Clone(n.Inputs), captured...)
}

// build writes the body of f. It returns what the subgraphs of n take from around it, which are more inputs of f.
func (x *flexer) build(f *graph.Function, n *graph.Node, opset map[string]int64) (captured []string) {
	add := func(out, op string, attrs graph.Attrs, in ...string) string {
		f.Nodes = append(f.Nodes, &graph.Node{Name: out, OpType: op, Attrs: attrs, Inputs: in, Outputs: []string{out}})
		return out
	}
	constant := func(out string, t *tensor.Tensor) string { return add(out, "Constant", graph.Attrs{"value": t}) }
	dims := func(of string, start, end int64) string {
		name := fmt.Sprintf("%s.%d.%d", of, start, end)
		if !slices.ContainsFunc(f.Nodes, func(n *graph.Node) bool { return n.Name == name }) {
			add(name, "Shape", graph.Attrs{"start": start, "end": end}, of)
		}
		return name
	}
	given := x.types[n.Inputs[0]]
	to := tensor.DType(max(0, min(255, n.Attrs.Int("softmax_precision", 0))))
	if to == tensor.Invalid && (given == tensor.Float16 || given == tensor.BFloat16) {
		to = tensor.Float32
	}
	q, k, v := "Q", "K", "V"
	if to != tensor.Invalid && to != given {
		wide := graph.Attrs{"to": int64(to)}
		q, k, v = add("Q.wide", "Cast", wide, q), add("K.wide", "Cast", wide, k), add("V.wide", "Cast", wide, v)
	}
	scale := constant("scale.given", tensor.Scalar(n.Attrs.Float("scale", 1)))
	if !n.Attrs.Has("scale") {
		size := add("size", "Cast", graph.Attrs{"to": int64(tensor.Float32)}, dims(q, 3, 4))
		scale = add("scale.size", "Reciprocal", nil, add("size.root", "Sqrt", nil, size))
	}
	scale = add("scale", "CastLike", nil, scale, q)
	// The heads of queries that share keys and values become a dimension of their own.
	axis, two, rest := graph.Attrs{"axis": int64(0)}, constant("two", tensor.Vector[int64](2)), constant("rest", tensor.Vector[int64](-1))
	heads := dims(k, 0, 2)
	groups := add("Q.groups", "Reshape", nil, q, add("Q.shape", "Concat", axis, heads, rest, dims(q, 2, 4)))
	keys := add("K.turned", "Transpose", graph.Attrs{"perm": []int64{0, 1, 2, 4, 3}}, add("K.groups", "Unsqueeze", nil, k, two))
	scores := add("scores.groups", "MatMul", nil, groups, keys)
	scores = add("scores.flat", "Reshape", nil, scores, add("scores.shape", "Concat", axis, dims(q, 0, 3), dims(k, 2, 3)))
	scores = add("scores", "Mul", nil, scores, scale)
	modify := func(attr, value string) string {
		sub, ok := n.Attrs[attr].(*graph.Graph)
		if !ok {
			return value
		}
		name := f.Name + "." + attr
		body, more, err := x.modifier(name, sub, opset)
		if err != nil {
			x.err = fmt.Errorf("node %q (FlexAttention): %s: %w", n.Name, attr, err)
			return value
		}
		in := []string{value}
		for range more { // inputs of f have names of their own
			in = append(in, fmt.Sprintf("captured.%d", len(captured)+len(in)-1))
		}
		f.Inputs, captured = append(f.Inputs, in[1:]...), append(captured, more...)
		x.made = append(x.made, body)
		f.Nodes = append(f.Nodes, &graph.Node{Name: name, Domain: flexDomain, OpType: name, Inputs: in, Outputs: []string{value + ".modified"}})
		return value + ".modified"
	}
	shares := add("shares", "Softmax", graph.Attrs{"axis": int64(-1)}, modify("score_mod", scores))
	shares = modify("prob_mod", shares)
	shares = add("shares.groups", "Reshape", nil, shares, add("shares.shape", "Concat", axis, heads, rest, dims(q, 2, 3), dims(k, 2, 3)))
	y := add("Y.groups", "MatMul", nil, shares, add("V.groups", "Unsqueeze", nil, v, two))
	y = add("Y.flat", "Reshape", nil, y, add("Y.shape", "Concat", axis, dims(q, 0, 3), dims(v, 3, 4)))
	add("Y", "CastLike", nil, y, "V")
	return captured
}

// modifier makes a function of a subgraph that takes one tensor and gives one. What it captures are more inputs.
func (x *flexer) modifier(name string, sub *graph.Graph, opset map[string]int64) (f *graph.Function, captured []string, err error) {
	if len(sub.Inputs) != 1 || len(sub.Outputs) != 1 {
		return nil, nil, fmt.Errorf("a subgraph of %d inputs and %d outputs, not of 1 and 1", len(sub.Inputs), len(sub.Outputs))
	}
	captured = sub.Captures()
	f = &graph.Function{
		Domain: flexDomain, Name: name, Inputs: append([]string{sub.Inputs[0].Name}, captured...), Outputs: []string{sub.Outputs[0].Name}, Opset: opset,
	}
	for _, in := range sub.Initializers {
		f.Nodes = append(f.Nodes, &graph.Node{Name: in.Name, OpType: "Constant", Attrs: graph.Attrs{"value": in.Tensor}, Outputs: []string{in.Name}})
	}
	for _, n := range sub.Nodes {
		f.Nodes = append(f.Nodes, n.Clone())
	}
	return f, captured, nil
}
