package tensorflow

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// controlNames are the operators that call functions as branches and loops.
var controlNames = []string{"If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"}

// controlOp converts what calls functions as branches and loops. It is no table, since it converts by the table itself.
func controlOp(name string) operator {
	switch name {
	case "If", "StatelessIf":
		return ifOp
	case "Case", "StatelessCase":
		return caseOp
	case "While", "StatelessWhile":
		return whileOp
	}
	return nil
}

// aside runs build and returns the nodes that it added, which are of a subgraph. Constants that settle computes stay in the graph around it.
func (c *converter) aside(build func()) []*graph.Node {
	outer := c.nodes
	c.nodes = nil
	whole := false
	defer func() {
		if !whole {
			c.nodes = outer
		}
	}()
	build()
	var inner []*graph.Node
	for _, n := range c.nodes {
		if c.late[n] {
			outer = append(outer, n)
			continue
		}
		inner = append(inner, n)
	}
	c.nodes, whole = outer, true
	return inner
}

// invoke converts the body of a function where the nodes go just now, and returns the edges that it gives.
func (c *call) invoke(f graphdef.Call, args []*value) []edge {
	edges := make([]edge, len(args))
	for i, v := range args {
		edges[i] = edge{arg: v}
	}
	_, returns, err := c.open(c.st, f.Name, f.Attrs, edges)
	if err != nil {
		panic(stopped{err: err})
	}
	if c.st.stage == done {
		panic(stopped{fault: c.st.fault})
	}
	if err := c.demand(returns); err != nil {
		panic(stopped{err: err})
	}
	for _, e := range returns {
		if e.err != nil {
			panic(stopped{fault: e.err})
		}
	}
	return returns
}

func (c *call) function(name string) graphdef.Call {
	f, err := c.st.attrs.Func(name)
	return got(c, f, err)
}

// truth makes a scalar of bool of a condition: a number is true if it is not zero.
func (c *call) truth(v *value) *value {
	if v.handle != "" || v.dtype == tensor.String || v.dtype == tensor.Complex64 || v.dtype == tensor.Complex128 {
		c.refuse("a condition of %s", typeName(v.dtype))
	}
	if n := v.size(); n != 1 {
		if v.rank() != 0 {
			c.refuse("a condition of shape %v", v.shape)
		}
	}
	if v.rank() > 0 {
		v = c.reshape(v)
	}
	if v.dtype == tensor.Bool {
		return v
	}
	return c.not(c.onnx("Equal", nil, v, c.like(v, 0)))
}

func ifOp(c *call) []*value {
	if len(c.in) == 0 {
		c.damaged("it has no condition")
	}
	if c.in[0].bad {
		panic(stopped{})
	}
	yes, no := c.function("then_branch"), c.function("else_branch")
	return c.choice(c.truth(c.arg(0)), c.branchOf(yes, c.in[1:]), c.branchOf(no, c.in[1:]))
}

// caseOp is one If in the other. An index that no branch has means the last one.
func caseOp(c *call) []*value {
	if len(c.in) == 0 {
		c.damaged("it has no index")
	}
	branches, err := c.st.attrs.Funcs("branches")
	if got(c, branches, err); len(branches) == 0 {
		c.damaged("it has no branches")
	}
	if c.in[0].bad {
		panic(stopped{})
	}
	index := c.cast(c.arg(0), tensor.Int64)
	if index.rank() > 0 {
		index = c.reshape(index)
	}
	return c.cases(index, branches, 0)
}

func (c *call) cases(index *value, branches []graphdef.Call, from int) []*value {
	first := c.branchOf(branches[from], c.in[1:])
	if from == len(branches)-1 {
		return first()
	}
	return c.choice(c.onnx("Equal", nil, index, c.index(int64(from))), first, func() []*value { return c.cases(index, branches, from+1) })
}

// branchOf is the conversion of a branch.
func (c *call) branchOf(f graphdef.Call, args []*value) func() []*value {
	return func() []*value {
		returns := c.invoke(f, args)
		out := make([]*value, len(returns))
		for i, e := range returns {
			if out[i] = e.value(); out[i].bad {
				c.st.within = append(c.st.within, e)
			}
		}
		return out
	}
}

// choice makes an If of two branches. What both give alike is no output of it, and neither is what cannot be converted.
func (c *call) choice(cond *value, yes, no func() []*value) []*value {
	var outs [2][]*value
	var parts [2]*graph.Graph
	nodes := [2][]*graph.Node{}
	for i, branch := range []func() []*value{yes, no} {
		nodes[i] = c.aside(func() { outs[i] = branch() })
		parts[i] = &graph.Graph{Name: c.hint([]string{"then", "else"}[i])}
	}
	if len(outs[0]) != len(outs[1]) {
		c.damaged("its branches give %d and %d tensors", len(outs[0]), len(outs[1]))
	}
	results := make([]*value, len(outs[0]))
	n := &graph.Node{OpType: "If", Inputs: []string{c.use(cond)}}
	for k := range results {
		a, b := outs[0][k], outs[1][k]
		switch {
		case a.bad || b.bad || a.dead || b.dead:
			results[k] = &value{bad: true, by: c.st, byOut: k}
			continue
		case a.name != "" && a.name == b.name, a.variable != nil && a.variable == b.variable, a.list != nil && a.list == b.list:
			results[k] = a
			continue
		case a.list != nil && b.list != nil:
			pair := [2]*value{a, b}
			for i, v := range pair {
				nodes[i] = append(nodes[i], c.aside(func() { pair[i] = c.all(v.list) })...)
			}
			results[k] = listValue(&list{dtype: a.list.dtype, shape: a.list.shape, all: c.either(n, parts, &nodes, pair)})
			continue
		case a.handle != "" || b.handle != "":
			c.refuse("its branches give different %ss", max(a.handle, b.handle))
		case a.dtype != b.dtype:
			c.damaged("its branches give %v and %v", a.dtype, b.dtype)
		}
		results[k] = c.either(n, parts, &nodes, [2]*value{a, b})
	}
	if len(n.Outputs) == 0 {
		return results
	}
	for i := range parts {
		parts[i].Nodes = nodes[i]
	}
	n.Name = n.Outputs[0]
	n.Attrs = graph.Attrs{"then_branch": parts[0], "else_branch": parts[1]}
	c.add(n)
	return results
}

// either adds one output to an If.
func (c *call) either(n *graph.Node, parts [2]*graph.Graph, nodes *[2][]*graph.Node, pair [2]*value) *value {
	shape := common(pair[0].shape, pair[1].shape)
	for i, v := range pair {
		c.output(parts[i], &nodes[i], v, v.shape)
	}
	out := c.fresh(c.hint("If"), pair[0].dtype, shape)
	n.Outputs = append(n.Outputs, out.name)
	return out
}

// fresh makes a value that a node with subgraphs gives, or that a subgraph takes.
func (c *call) fresh(hint string, dtype tensor.DType, shape graph.Shape) *value {
	if c.left--; c.left < 0 {
		panic(stopped{err: errNodes})
	}
	v := &value{name: c.unique(hint), dtype: dtype, by: c.st}
	if err := c.step.Value(graph.Value{Name: v.name, DType: dtype, Shape: shape}); err != nil {
		c.damaged("%v", err)
	}
	v.shape = c.step.Lookup(v.name).Shape
	return v
}

// output makes a value an output of a subgraph, whose own it must be, and once.
func (c *call) output(g *graph.Graph, nodes *[]*graph.Node, v *value, shape graph.Shape) {
	own := slices.ContainsFunc(*nodes, func(n *graph.Node) bool { return slices.Contains(n.Outputs, v.name) })
	twice := slices.ContainsFunc(g.Outputs, func(o graph.Value) bool { return o.Name == v.name })
	name := v.name
	if !own || twice || v.con != nil {
		name = c.unique(v.name + "/out")
		*nodes = append(*nodes, &graph.Node{Name: name, OpType: "Identity", Inputs: []string{c.use(v)}, Outputs: []string{name}})
	}
	g.Outputs = append(g.Outputs, graph.Value{Name: name, DType: v.dtype, Shape: known(shape)})
}

// common is the shape that is known of a value that is one of two.
func common(a, b graph.Shape) graph.Shape {
	if a == nil || b == nil || len(a) != len(b) {
		return nil
	}
	shape := append(graph.Shape{}, a...)
	for i := range shape {
		if !sameDims(a[i], b[i]) {
			shape[i] = graph.Dim{Size: -1}
		}
	}
	return shape
}

// trim removes what no one needs from the subgraphs of a graph: states of loops, what they collect, outputs of branches.
func trim(g *graph.Graph) {
	needed := map[string]bool{}
	for _, v := range g.Outputs {
		needed[v.Name] = true
	}
	g.Nodes = trimNodes(g.Nodes, needed)
}

// trimNodes keeps the nodes that give what is needed, and adds to needed what they take. The nodes are in order.
func trimNodes(nodes []*graph.Node, needed map[string]bool) []*graph.Node {
	var kept []*graph.Node
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		if !slices.ContainsFunc(n.Outputs, func(out string) bool { return needed[out] && out != "" }) {
			continue
		}
		switch n.OpType {
		case "Loop":
			trimLoop(n, needed)
		case "If":
			trimIf(n, needed)
		}
		kept = append(kept, n)
		for _, name := range n.Uses() {
			needed[name] = true
		}
	}
	slices.Reverse(kept)
	return kept
}

func trimIf(n *graph.Node, needed map[string]bool) {
	unused := func(i int) bool { return !needed[n.Outputs[i]] }
	for _, part := range n.Subgraphs() {
		part.Outputs = without(part.Outputs, unused)
		trim(part)
	}
	n.Outputs = without(n.Outputs, unused)
}

// without returns a list but for the elements at some places.
func without[T any](list []T, drop func(i int) bool) []T {
	var kept []T
	for i, v := range list {
		if !drop(i) {
			kept = append(kept, v)
		}
	}
	return kept
}

// trimLoop drops what is collected and not needed, and states that nothing but themselves depends on.
func trimLoop(n *graph.Node, needed map[string]bool) {
	body := n.Attrs.Graph("body")
	states := len(n.Inputs) - 2
	live := make([]bool, len(n.Outputs))
	for i, out := range n.Outputs {
		live[i] = needed[out]
	}
	for {
		inside := map[string]bool{body.Outputs[0].Name: true}
		for i := range live {
			if live[i] {
				inside[body.Outputs[1+i].Name] = true
			}
		}
		// Nested graphs are taken whole here: what they do not need goes when the outer one is settled.
		for i := len(body.Nodes) - 1; i >= 0; i-- {
			if in := body.Nodes[i]; slices.ContainsFunc(in.Outputs, func(out string) bool { return inside[out] }) {
				for _, name := range in.Uses() {
					inside[name] = true
				}
			}
		}
		again := false
		for i := range states {
			if !live[i] && inside[body.Inputs[2+i].Name] {
				live[i], again = true, true
			}
		}
		if !again {
			break
		}
	}
	dead := func(offset int) func(i int) bool {
		return func(i int) bool { return i >= offset && i-offset < len(live) && !live[i-offset] }
	}
	body.Outputs = without(body.Outputs, dead(1))
	body.Inputs = without(body.Inputs, func(i int) bool { return i >= 2 && !live[i-2] })
	n.Inputs = without(n.Inputs, func(i int) bool { return i >= 2 && !live[i-2] })
	n.Outputs = without(n.Outputs, dead(0))
	trim(body)
}

func listValue(l *list) *value { return &value{handle: handleOfList, list: l} }

const handleOfList = "list of tensors"

// describe says what a value is, for messages.
func describe(v *value) string {
	if v.handle != "" {
		return v.handle
	}
	return fmt.Sprintf("%v%v", v.dtype, v.shape)
}
