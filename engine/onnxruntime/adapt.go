//go:build cgo

package onnxruntime

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// The wrapper of the library cannot pass everything: no value of rank 0 but numbers, no graph without inputs, and it
// copies half of a 16-bit result that it allocates itself. So the library gets a graph whose inputs and outputs have
// at least one dimension, and whose 16-bit outputs are widened, which is exact; port says how they differ from ours.
type port struct {
	value  graph.Value
	name   string       // in the library's graph
	dtype  tensor.DType // in the library's graph
	scalar bool         // of rank 0: the library has one dimension of 1
	shape  string       // of an output whose rank is not known, flat in the library: the output that has its shape
}

// adapted is a graph for the library.
type adapted struct {
	library string // its path
	graph   *graph.Graph
	inputs  []port
	outputs []port
	// names are the library's outputs in order: one for each port, then the shapes of flat ones.
	names []string
	types map[string]tensor.DType
	notes []string
}

// adapt makes the library's graph of g, which it leaves as it is.
func adapt(g *graph.Graph) (*adapted, error) {
	c := g.Clone()
	if err := infer.Shapes(c); err != nil {
		return nil, err
	}
	a := &adapted{graph: c, types: typesOf(c)}
	for i, n := range c.Nodes {
		if n.Name == "" {
			n.Name = fmt.Sprintf("%s_%d", n.OpType, i)
		}
	}
	b := graph.Extend(c)
	for _, v := range g.Placeholders() {
		a.inputs = append(a.inputs, a.input(b, v))
	}
	if len(a.inputs) == 0 {
		b.Input(b.Unique("none"), tensor.Float32, graph.Dims(1))
	}
	outputs := c.Outputs
	c.Outputs = nil
	for i, v := range g.Outputs {
		if outputs[i].Shape != nil {
			v.Shape = outputs[i].Shape
		}
		v.DType = cmp.Or(v.DType, outputs[i].DType, a.types[v.Name])
		a.outputs = append(a.outputs, a.output(b, v))
	}
	for _, p := range a.outputs {
		c.Outputs = append(c.Outputs, graph.Value{Name: p.name, DType: p.dtype})
		a.names = append(a.names, p.name)
	}
	for _, p := range a.outputs {
		if p.shape != "" {
			c.Outputs = append(c.Outputs, graph.Value{Name: p.shape, DType: tensor.Int64})
			a.names = append(a.names, p.shape)
		}
	}
	// Inputs that have a value are constants here: the library must not ask for them.
	given := make(map[string]bool, len(c.Initializers))
	for _, in := range c.Initializers {
		given[in.Name] = true
	}
	c.Inputs = slices.DeleteFunc(c.Inputs, func(v graph.Value) bool { return given[v.Name] })
	onlyDeclared(c)
	return a, nil
}

// onlyDeclared leaves the values that the file declares, with true shapes. The library joins more operators where it knows more, so both less
// and more than the file says would change numbers in their last digits.
func onlyDeclared(g *graph.Graph) {
	g.Values = slices.DeleteFunc(g.Values, func(v graph.Value) bool {
		return v.Inferred || v.Container != "" || v.DType == tensor.Invalid
	})
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			onlyDeclared(sub)
		}
	}
}

func typesOf(g *graph.Graph) map[string]tensor.DType {
	types := map[string]tensor.DType{}
	for _, vs := range [][]graph.Value{g.Inputs, g.Values, g.Outputs} {
		for _, v := range vs {
			types[v.Name] = v.DType
		}
	}
	for _, in := range g.Initializers {
		types[in.Name] = in.Tensor.DType()
	}
	return types
}

// input gives a scalar one dimension, which a node at the graph's begin takes away again.
func (a *adapted) input(b *graph.Builder, v graph.Value) port {
	p := port{value: v, name: v.Name, dtype: v.DType}
	if v.Shape == nil || len(v.Shape) > 0 {
		return p
	}
	p.scalar = true
	p.name = b.Unique(v.Name + "_1")
	for i := range a.graph.Inputs {
		if a.graph.Inputs[i].Name == v.Name {
			a.graph.Inputs[i].Name = p.name
			a.graph.Inputs[i].Shape = graph.Dims(1)
		}
	}
	shape := b.Init("scalar_shape", tensor.Vector[int64]())
	a.graph.Nodes = slices.Insert(a.graph.Nodes, 0, &graph.Node{
		Name: b.Unique("scalar"), OpType: "Reshape", Inputs: []string{p.name, shape}, Outputs: []string{v.Name},
	})
	return p
}

// output widens numbers of 16 bits and fewer, and makes a scalar or a value whose rank is not known one-dimensional.
func (a *adapted) output(b *graph.Builder, v graph.Value) port {
	p := port{value: v, name: v.Name, dtype: v.DType}
	if v.DType == tensor.Float16 || v.DType == tensor.BFloat16 || v.DType.Small() {
		p.dtype = tensor.Float32
		p.name = b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, p.name)
	}
	switch {
	case v.Shape == nil:
		p.shape = b.Op("Shape", nil, p.name)
		p.name = b.Op("Reshape", nil, p.name, b.Ints(-1))
	case len(v.Shape) == 0:
		p.scalar = true
		p.name = b.Op("Reshape", nil, p.name, b.Ints(1))
	}
	return p
}

// nearest are the types to compute in where the library has no kernel for one, the nearest first.
var nearest = map[tensor.DType][]tensor.DType{
	tensor.Float64: {tensor.Float32}, tensor.Float16: {tensor.Float32}, tensor.BFloat16: {tensor.Float32},
	tensor.Int8: {tensor.Int32, tensor.Float32, tensor.Int64}, tensor.Uint8: {tensor.Int32, tensor.Float32, tensor.Int64},
	tensor.Int16: {tensor.Int32, tensor.Float32, tensor.Int64}, tensor.Uint16: {tensor.Int32, tensor.Float32, tensor.Int64},
	tensor.Int32: {tensor.Int64, tensor.Float64, tensor.Float32}, tensor.Uint32: {tensor.Int64, tensor.Float64},
	tensor.Int64: {tensor.Float64, tensor.Int32, tensor.Float32}, tensor.Uint64: {tensor.Int64, tensor.Float64},
	tensor.Bool: {tensor.Int32, tensor.Float32, tensor.Uint8},
}

// widening is what is tried for a node.
type widening struct {
	from, to tensor.DType
	left     []typePair  // that were not tried yet
	node     *graph.Node // with its own inputs and outputs, before any Cast
}

type typePair struct{ from, to tensor.DType }

// typesToTry lists the types of a node's inputs with those that may stand for them. A condition goes last: its type is hardly ever the reason.
func (a *adapted) typesToTry(n *graph.Node) []typePair {
	var pairs, last []typePair
	seen := map[tensor.DType]bool{tensor.Float32: true}
	for _, in := range n.Inputs {
		from := a.types[in]
		if seen[from] {
			continue
		}
		seen[from] = true
		for _, to := range nearest[from] {
			if from == tensor.Bool {
				last = append(last, typePair{from, to})
			} else {
				pairs = append(pairs, typePair{from, to})
			}
		}
	}
	return append(pairs, last...)
}

// String says what the session does in another way than the model says.
func (w *widening) String() string {
	return fmt.Sprintf("%s %q computes in %v, for which the library has a kernel, instead of %v", w.node.Op(), w.node.Name, w.to, w.from)
}

// operator returns the operator of the node of that name.
func (a *adapted) operator(name string) string {
	for _, n := range a.graph.Nodes {
		if n.Name == name {
			return n.Op()
		}
	}
	return name
}

// widen makes the node of that name compute in the next type that may have a kernel. It returns false where there is
// nothing left to try.
func (a *adapted) widen(tries map[string]*widening, name string) bool {
	i := slices.IndexFunc(a.graph.Nodes, func(n *graph.Node) bool { return n.Name == name })
	if i < 0 {
		return false
	}
	w := tries[name]
	if w == nil {
		w = &widening{node: a.graph.Nodes[i].Clone()}
		w.left = a.typesToTry(w.node)
		tries[name] = w
	}
	if len(w.left) == 0 {
		return false
	}
	w.from, w.to = w.left[0].from, w.left[0].to
	w.left = w.left[1:]
	a.cast(w)
	return true
}

// cast replaces the widening's node, and the casts of an earlier try around it, by one that computes in its type.
func (a *adapted) cast(w *widening) {
	prefix := w.node.Name + "/cast"
	a.graph.Nodes = slices.DeleteFunc(a.graph.Nodes, func(n *graph.Node) bool { return n.Doc == prefix })
	i := slices.IndexFunc(a.graph.Nodes, func(n *graph.Node) bool { return n.Name == w.node.Name })
	n := w.node.Clone()
	var before, after []*graph.Node
	cast := func(from, into string, to tensor.DType) *graph.Node {
		return &graph.Node{
			Name: prefix + "/" + into, OpType: "Cast", Inputs: []string{from}, Outputs: []string{into},
			Attrs: graph.Attrs{"to": int64(to)}, Doc: prefix,
		}
	}
	for j, in := range n.Inputs {
		if in != "" && a.types[in] == w.from {
			wide := fmt.Sprintf("%s/in%d", prefix, j)
			before = append(before, cast(in, wide, w.to))
			n.Inputs[j] = wide
		}
	}
	for j, out := range n.Outputs {
		if out != "" && a.types[out] == w.from {
			wide := fmt.Sprintf("%s/out%d", prefix, j)
			after = append(after, cast(wide, out, w.from))
			n.Outputs[j] = wide
		}
	}
	a.graph.Nodes[i] = n
	a.graph.Nodes = slices.Insert(a.graph.Nodes, i+1, after...)
	a.graph.Nodes = slices.Insert(a.graph.Nodes, i, before...)
}
