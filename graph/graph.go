// Package graph is the model graph: nodes, values, initializers and functions as ONNX has them, with rewriting, inlining and
// folding. Shapes, gradients and file formats are left to its subfolders, and running to the engines.
package graph

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// Domains of operators.
const (
	// OnnxDomain is ONNX's own; files write it as "" or "ai.onnx", graphs always as "".
	OnnxDomain = ""
	// MillraceDomain holds our functions, such as the gradients that standard operators express badly.
	MillraceDomain = "ai.millrace"
)

// A Dim is one dimension of a Shape: known, symbolic, or unknown.
type Dim struct {
	// Size is the length, or -1 where it is not known.
	Size int64
	// Symbol names a dimension that is not known; equal symbols in one graph have equal lengths. May be empty.
	Symbol string
}

// Known reports whether the length is known.
func (d Dim) Known() bool { return d.Size >= 0 }

// String returns the length, the symbol, or "?".
func (d Dim) String() string {
	switch {
	case d.Known():
		return strconv.FormatInt(d.Size, 10)
	case d.Symbol != "":
		return d.Symbol
	}
	return "?"
}

// A Shape is a list of dimensions; nil means that not even the rank is known, and empty is a scalar.
type Shape []Dim

// Dims makes a Shape of lengths; -1 is an unknown one.
func Dims(sizes ...int) Shape {
	s := make(Shape, len(sizes))
	for i, n := range sizes {
		s[i] = Dim{Size: int64(n)}
	}
	return s
}

// Static returns the lengths, and whether all are known.
func (s Shape) Static() (tensor.Shape, bool) {
	if s == nil {
		return nil, false
	}
	t := make(tensor.Shape, len(s))
	for i, d := range s {
		if !d.Known() {
			return nil, false
		}
		t[i] = int(d.Size)
	}
	return t, true
}

// String formats the shape as "[N,1,28,28]"; "[...]" where the rank is unknown.
func (s Shape) String() string {
	if s == nil {
		return "[...]"
	}
	dims := make([]string, len(s))
	for i, d := range s {
		dims[i] = d.String()
	}
	return "[" + strings.Join(dims, ",") + "]"
}

// MaxRank is the largest number of dimensions of a value.
const MaxRank = 64

// A Value is what an edge of the graph carries: its name, element type and shape.
type Value struct {
	Name  string
	DType tensor.DType // Invalid where it is not known
	// Inferred says that no file declares the value.
	Inferred bool
	Shape    Shape
	Doc      string
	// Container is empty for a tensor. Otherwise it says what holds tensors of
	// DType and Shape: "sequence", "optional", "optional(sequence)", "sequence(map[int64])" and so on, outermost first.
	Container string
}

// MapOf returns the container of a map with keys of a type.
func MapOf(key tensor.DType) string { return "map[" + key.String() + "]" }

// MapKey is the inverse of MapOf; ok is false for any other container.
func MapKey(container string) (key tensor.DType, ok bool) {
	for _, key := range []tensor.DType{tensor.Int64, tensor.String, tensor.Int32, tensor.Int16, tensor.Int8, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64} {
		if container == MapOf(key) {
			return key, true
		}
	}
	return tensor.Invalid, false
}

// String formats the value as "name float32[N,10]".
func (v Value) String() string {
	if v.Container != "" {
		return fmt.Sprintf("%s %s of %v%v", v.Name, v.Container, v.DType, v.Shape)
	}
	return fmt.Sprintf("%s %v%v", v.Name, v.DType, v.Shape)
}

// An Initializer is a named constant of the graph; training may change it, which makes it a variable.
type Initializer struct {
	Name   string
	Tensor *tensor.Tensor
}

// A Node applies an operator. An empty name among Inputs or Outputs is an optional one that is left out.
type Node struct {
	Name    string
	OpType  string
	Domain  string // "" is ONNX's own
	Inputs  []string
	Outputs []string
	Attrs   Attrs
	Doc     string
}

// Op returns "OpType", or "domain.OpType" outside ONNX's own domain.
func (n *Node) Op() string { return OpName(n.Domain, n.OpType) }

// OpName returns "opType", or "domain.opType" outside ONNX's own domain.
func OpName(domain, opType string) string {
	if domain == OnnxDomain {
		return opType
	}
	return domain + "." + opType
}

// Input returns the name of input i, or "" where it is left out.
func (n *Node) Input(i int) string {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return ""
}

// Output returns the name of output i, or "" where it is left out.
func (n *Node) Output(i int) string {
	if i < len(n.Outputs) {
		return n.Outputs[i]
	}
	return ""
}

// Clone returns a deep copy but for the tensors in attributes, which are shared.
func (n *Node) Clone() *Node {
	c := *n
	c.Inputs = slices.Clone(n.Inputs)
	c.Outputs = slices.Clone(n.Outputs)
	c.Attrs = n.Attrs.Clone()
	for name, v := range c.Attrs {
		switch v := v.(type) {
		case *Graph:
			c.Attrs[name] = v.Clone()
		case []*Graph:
			subs := make([]*Graph, len(v))
			for i, sub := range v {
				subs[i] = sub.Clone()
			}
			c.Attrs[name] = subs
		}
	}
	return &c
}

// A Function is an operator whose meaning is a body of other operators.
type Function struct {
	Domain, Name    string
	Inputs, Outputs []string
	// Attrs are the attributes that a call must give; Defaults those it may leave out.
	Attrs    []string
	Defaults Attrs
	// Kinds are the kinds ("INT", "FLOATS", ...) of attributes that a file says; nil is good where programs make functions.
	Kinds map[string]string
	Nodes []*Node
	Opset map[string]int64
	Doc   string
}

// A Graph is a directed acyclic graph of operators. Every value has one producer: an input, an initializer or a node.
// A Graph may be read by many goroutines while nobody changes it.
type Graph struct {
	Name         string
	Doc          string
	Producer     string           // name and version of what made the file
	IRVersion    int64            // of the file; 0 lets the writer choose
	Opset        map[string]int64 // version of each domain; ONNX's own under ""
	Inputs       []Value          // placeholders, and the initializers that a file lists as inputs too
	Outputs      []Value
	Nodes        []*Node // in topological order once Validate has passed
	Initializers []Initializer
	Values       []Value // what a file declares, or inference found, of the values in between
	Functions    []*Function
	Metadata     map[string]string // ONNX's metadata_props
	Notes        []string          // on what a file says and is not so; files do not keep them
}

// Initializer returns the tensor of that name, or nil. It searches: index with a map where you ask often.
func (g *Graph) Initializer(name string) *tensor.Tensor {
	for _, in := range g.Initializers {
		if in.Name == name {
			return in.Tensor
		}
	}
	return nil
}

// Placeholders returns the inputs that no initializer gives a value.
func (g *Graph) Placeholders() []Value {
	given := make(map[string]bool, len(g.Initializers))
	for _, in := range g.Initializers {
		given[in.Name] = true
	}
	var ps []Value
	for _, v := range g.Inputs {
		if !given[v.Name] {
			ps = append(ps, v)
		}
	}
	return ps
}

// Function returns the function of that domain and name, or nil.
func (g *Graph) Function(domain, name string) *Function {
	for _, f := range g.Functions {
		if f.Domain == domain && f.Name == name {
			return f
		}
	}
	return nil
}

// Clone returns a deep copy but for the tensors, which are shared.
func (g *Graph) Clone() *Graph {
	c := *g
	c.Opset = maps.Clone(g.Opset)
	c.Metadata = maps.Clone(g.Metadata)
	c.Notes = slices.Clone(g.Notes)
	c.Inputs = cloneValues(g.Inputs)
	c.Outputs = cloneValues(g.Outputs)
	c.Values = cloneValues(g.Values)
	c.Initializers = slices.Clone(g.Initializers)
	c.Nodes = cloneNodes(g.Nodes)
	c.Functions = make([]*Function, len(g.Functions))
	for i, f := range g.Functions {
		fc := *f
		fc.Inputs, fc.Outputs, fc.Attrs = slices.Clone(f.Inputs), slices.Clone(f.Outputs), slices.Clone(f.Attrs)
		fc.Defaults, fc.Opset, fc.Nodes = f.Defaults.Clone(), maps.Clone(f.Opset), cloneNodes(f.Nodes)
		fc.Kinds = maps.Clone(f.Kinds)
		c.Functions[i] = &fc
	}
	return &c
}

func cloneNodes(ns []*Node) []*Node {
	cs := make([]*Node, len(ns))
	for i, n := range ns {
		cs[i] = n.Clone()
	}
	return cs
}

func cloneValues(vs []Value) []Value {
	cs := slices.Clone(vs)
	for i := range cs {
		cs[i].Shape = slices.Clone(cs[i].Shape)
	}
	return cs
}

// An Evaluator runs a small graph without placeholders, for constant folding. Engines give one.
type Evaluator interface {
	Evaluate(ctx context.Context, g *Graph) ([]*tensor.Tensor, error)
}
