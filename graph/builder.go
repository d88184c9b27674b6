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
	values map[string]bool
	nodes  map[string]bool
	next   map[string]int // the last number given to each base name
	faults []error
}

// NewBuilder begins an empty graph of that name.
func NewBuilder(name string) *Builder { return Extend(&Graph{Name: name}) }

// Extend goes on with a graph, which the builder changes from then on. New names differ from all that it has.
func Extend(g *Graph) *Builder {
	b := &Builder{g: g, values: map[string]bool{}, nodes: map[string]bool{}, next: map[string]int{}}
	b.take(g)
	return b
}

func (b *Builder) take(g *Graph) {
	for _, v := range g.Inputs {
		b.values[v.Name] = true
	}
	for _, in := range g.Initializers {
		b.values[in.Name] = true
	}
	for _, n := range g.Nodes {
		b.nodes[n.Name] = true
		for _, out := range n.Outputs {
			b.values[out] = true
		}
		for _, sub := range n.Subgraphs() {
			b.take(sub)
		}
	}
}

// Input adds a placeholder of exactly that name.
func (b *Builder) Input(name string, dtype tensor.DType, shape Shape) string {
	if b.values[name] || name == "" {
		b.fail("input %q: the name is empty or in use", name)
	}
	b.values[name] = true
	b.g.Inputs = append(b.g.Inputs, Value{Name: name, DType: dtype, Shape: shape})
	return name
}

// Init adds an initializer, and returns its name: the one given, with a number where that is in use.
func (b *Builder) Init(name string, t *tensor.Tensor) string {
	if t == nil {
		b.fail("initializer %q has no tensor", name)
	}
	name = b.unique(b.values, name)
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
	n := &Node{Name: b.unique(b.nodes, op), OpType: op, Domain: domain, Inputs: inputs, Attrs: attrs}
	for len(n.Inputs) > 0 && n.Inputs[len(n.Inputs)-1] == "" {
		n.Inputs = n.Inputs[:len(n.Inputs)-1]
	}
	for range outputs {
		n.Outputs = append(n.Outputs, b.unique(b.values, op))
	}
	b.g.Nodes = append(b.g.Nodes, n)
	return n.Outputs
}

// Name gives a value another name, wherever it is used, and returns that.
func (b *Builder) Name(value, name string) string {
	switch {
	case value == name:
		return name
	case !b.values[value]:
		b.fail("there is no value %q to name %q", value, name)
		return name
	case b.values[name] || name == "":
		b.fail("value %q cannot be named %q: the name is empty or in use", value, name)
		return value
	}
	delete(b.values, value)
	b.values[name] = true
	b.g.Rename(func(v string) string {
		if v == value {
			return name
		}
		return v
	})
	return name
}

// Output makes values outputs of the graph. Their types are left to InferShapes.
func (b *Builder) Output(values ...string) {
	for _, v := range values {
		if !b.values[v] {
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
func (b *Builder) Unique(base string) string { return b.unique(b.values, base) }

// Graph returns the graph: sorted, valid, with shapes inferred, and with the lowest opset that has its operators where
// it had none. The builder must not be used afterwards.
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
	if err := InferShapes(g); err != nil {
		return nil, err
	}
	return g, nil
}

func (b *Builder) fail(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...)))
}

func (b *Builder) unique(used map[string]bool, base string) string {
	if base == "" {
		base = "value"
	}
	name := base
	for used[name] {
		b.next[base]++
		name = base + "_" + strconv.Itoa(b.next[base])
	}
	used[name] = true
	return name
}

// SplitOp is the inverse of OpName.
func SplitOp(name string) (domain, opType string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return OnnxDomain, name
}
