package graph

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// A Builder makes a graph in a program. Values go by name: its methods take the names of values that are there and
// return those of new ones. Mistakes are kept, and reported by Graph. It is not safe for concurrent use.
type Builder struct {
	g      *Graph
	values names
	nodes  names
	faults []error
}

// names are those in use, and the last number given to each base name.
type names struct {
	used map[string]bool
	next map[string]int
}

func (n names) unique(base string) string {
	if base == "" {
		base = "value"
	}
	name := base
	for n.used[name] {
		n.next[base]++
		name = base + "_" + strconv.Itoa(n.next[base])
	}
	n.used[name] = true
	return name
}

// NewBuilder begins an empty graph of that name.
func NewBuilder(name string) *Builder { return Extend(&Graph{Name: name}) }

// Extend goes on with a graph, which the builder changes from then on. New names differ from all that it has.
func Extend(g *Graph) *Builder {
	b := &Builder{g: g, values: names{map[string]bool{}, map[string]int{}}, nodes: names{map[string]bool{}, map[string]int{}}}
	b.take(g)
	return b
}

func (b *Builder) take(g *Graph) {
	for _, v := range g.Inputs {
		b.values.used[v.Name] = true
	}
	for _, in := range g.Initializers {
		b.values.used[in.Name] = true
	}
	for _, n := range g.Nodes {
		b.nodes.used[n.Name] = true
		for _, out := range n.Outputs {
			b.values.used[out] = true
		}
		for _, sub := range n.Subgraphs() {
			b.take(sub)
		}
	}
}

// Input adds a placeholder of exactly that name.
func (b *Builder) Input(name string, dtype tensor.DType, shape Shape) string {
	if b.values.used[name] || name == "" {
		b.fail("input %q: the name is empty or in use", name)
	}
	b.values.used[name] = true
	b.g.Inputs = append(b.g.Inputs, Value{Name: name, DType: dtype, Shape: shape})
	return name
}

// Init adds an initializer, and returns its name: the one given, with a number where that is in use.
func (b *Builder) Init(name string, t *tensor.Tensor) string {
	if t == nil {
		b.fail("initializer %q has no tensor", name)
	}
	name = b.values.unique(name)
	b.g.Initializers = append(b.g.Initializers, Initializer{Name: name, Tensor: t})
	return name
}

// Ints adds an initializer of a list of integers, as axes and shapes are.
func (b *Builder) Ints(v ...int64) string { return b.Init("ints", tensor.Vector(v...)) }

// Float adds a float32 scalar as initializer.
func (b *Builder) Float(v float32) string { return b.Init("scalar", tensor.Scalar(v)) }

// Op adds a node with one output, and returns the output's name. opType is "Type", or "domain.Type" outside ONNX's own
// domain; an empty input is one that is left out.
func (b *Builder) Op(opType string, attrs Attrs, inputs ...string) string {
	return b.Ops(opType, 1, attrs, inputs...)[0]
}

// Ops is Op with that number of outputs.
func (b *Builder) Ops(opType string, outputs int, attrs Attrs, inputs ...string) []string {
	domain, op := SplitOp(opType)
	n := &Node{Name: b.nodes.unique(op), OpType: op, Domain: domain, Inputs: inputs, Attrs: attrs}
	for len(n.Inputs) > 0 && n.Inputs[len(n.Inputs)-1] == "" {
		n.Inputs = n.Inputs[:len(n.Inputs)-1]
	}
	for range outputs {
		n.Outputs = append(n.Outputs, b.values.unique(op))
	}
	b.g.Nodes = append(b.g.Nodes, n)
	return n.Outputs
}

// Name gives a value another name, wherever it is used, and returns that.
func (b *Builder) Name(value, name string) string {
	switch {
	case value == name:
		return name
	case !b.values.used[value]:
		b.fail("there is no value %q to name %q", value, name)
		return name
	case b.values.used[name] || name == "":
		b.fail("value %q cannot be named %q: the name is empty or in use", value, name)
		return value
	}
	delete(b.values.used, value)
	b.values.used[name] = true
	b.g.Rename(func(v string) string {
		if v == value {
			return name
		}
		return v
	})
	return name
}

// Output makes values outputs of the graph. Their types are left to shape inference.
func (b *Builder) Output(values ...string) {
	for _, v := range values {
		if !b.values.used[v] {
			b.fail("there is no value %q to be an output", v)
		}
		b.g.Outputs = append(b.g.Outputs, Value{Name: v})
	}
}

// Function adds a function, where there is none of its domain and name.
func (b *Builder) Function(f *Function) {
	if b.g.Function(f.Domain, f.Name) == nil {
		b.g.Functions = append(b.g.Functions, f)
	}
}

// Unique returns a value name that is not in use, and reserves it.
func (b *Builder) Unique(base string) string { return b.values.unique(base) }

// Graph returns the graph: sorted, valid, and with the lowest opset that has its operators where it had none. Types and shapes
// of what nodes compute are left to package infer, whose Build adds them. The builder must not be used afterwards.
func (b *Builder) Graph() (*Graph, error) {
	if err := errors.Join(b.faults...); err != nil {
		return nil, err
	}
	g := b.g
	if g.Opset[OnnxDomain] == 0 {
		if g.Opset == nil {
			g.Opset = map[string]int64{}
		}
		g.Opset[OnnxDomain] = LowestOpset(g)
	}
	if err := g.Sort(); err != nil {
		return nil, err
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return g, nil
}

func (b *Builder) fail(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...)))
}

// SplitOp is the inverse of OpName.
func SplitOp(name string) (domain, opType string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return OnnxDomain, name
}
