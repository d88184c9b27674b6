package infer

import (
	"fmt"
	"strconv"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Stepper infers the values of a graph that a program is writing, node by node, as Shapes does for a whole one. A length that
// is not known gets a symbol of its own, so that what has it later can be told to be equal. It is not safe for concurrent use.
type Stepper struct {
	s       *inference
	symbols int
}

// NewStepper begins a graph of that opset. Its nodes call no functions.
func NewStepper(opset int64) *Stepper {
	w := &world{opset: opset, steps: maxSteps, elements: maxElements, families: allRules()}
	return &Stepper{s: newInference(w, nil)}
}

// Value says what is known of a value without a producer, or adds to what is known of another one. What contradicts what is known
// is ErrInvalid.
func (p *Stepper) Value(v graph.Value) error {
	found := &info{dtype: v.DType, shape: v.Shape, container: v.Container}
	if old, ok := p.s.values[v.Name]; ok {
		merged, err := merge(&info{dtype: v.DType, shape: v.Shape, container: v.Container}, old, false)
		if err != nil {
			return fmt.Errorf("%w: value %q is %v%v, not %v%v", graph.ErrInvalid, v.Name, old.dtype, old.shape, v.DType, v.Shape)
		}
		found = merged
		found.vals = old.vals
	}
	p.s.values[v.Name] = p.named(found)
	return nil
}

// Constant gives a value its elements.
func (p *Stepper) Constant(name string, t *tensor.Tensor) {
	v := constant(t)
	p.s.spend(v)
	p.s.values[name] = v
}

// Node infers the outputs of n, whose inputs are there.
func (p *Stepper) Node(n *graph.Node) error {
	p.s.steps = maxSteps
	if err := p.s.node(n); err != nil {
		return err
	}
	for _, out := range n.Outputs {
		if out != "" {
			p.s.values[out] = p.named(p.s.values[out])
		}
	}
	return nil
}

// named gives the lengths that are not known symbols.
func (p *Stepper) named(v *info) *info {
	var shape graph.Shape
	for i, d := range v.shape {
		if d.Known() || d.Symbol != "" {
			continue
		}
		if shape == nil {
			shape = append(graph.Shape{}, v.shape...)
		}
		p.symbols++
		shape[i].Symbol = "?" + strconv.Itoa(p.symbols)
	}
	if shape == nil {
		return v
	}
	c := *v
	c.shape = shape
	return &c
}

// Lookup returns what is known of a value.
func (p *Stepper) Lookup(name string) graph.Value {
	v := p.s.lookup(name)
	if v == nil {
		return graph.Value{Name: name}
	}
	return graph.Value{Name: name, DType: v.dtype, Shape: v.shape, Container: v.container}
}

// An Element is a number in a small tensor that shapes are computed with: a known integer, or a symbolic length, or neither.
type Element struct {
	Known  bool
	Value  int64
	Symbol string
}

// Elements returns what is known of the elements of a value, or nil.
func (p *Stepper) Elements(name string) []Element {
	v := p.s.lookup(name)
	if v == nil || v.vals == nil {
		return nil
	}
	out := make([]Element, len(v.vals))
	for i, e := range v.vals {
		out[i] = Element{Known: e.known && !e.isReal, Value: e.int(), Symbol: e.symbol}
	}
	return out
}
