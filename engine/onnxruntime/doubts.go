package onnxruntime

import (
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// Doubts returns the nodes of g that the library, version 1.30 on the processor, is known to compute wrongly where
// its answer for numbers that models compute with is a matter of the operator, its attributes and what is known of types,
// shapes and constants. docs/engines.md lists them, and what depends on the values alone beside them.
func Doubts(g *graph.Graph) []engine.Doubt {
	c := g.Clone()
	if err := c.Inline(nil); err != nil {
		return nil // Open has its say
	}
	c.Values = nil
	if err := infer.Shapes(c); err != nil {
		return nil
	}
	var found []engine.Doubt
	s := newSuspect(c, nil)
	s.nodes(c, &found)
	return found
}

// suspect is a node under suspicion, with what is known of its graph and those around it.
type suspect struct {
	*graph.Node
	opset  int64
	values map[string]graph.Value
	consts map[string]*tensor.Tensor
	makers map[string]*graph.Node
	outer  *suspect
}

func newSuspect(g *graph.Graph, outer *suspect) *suspect {
	s := &suspect{values: map[string]graph.Value{}, consts: map[string]*tensor.Tensor{}, makers: map[string]*graph.Node{}, outer: outer}
	if s.opset = g.Opset[graph.OnnxDomain]; s.opset == 0 && outer != nil {
		s.opset = outer.opset
	}
	for _, vs := range [][]graph.Value{g.Inputs, g.Values, g.Outputs} {
		for _, v := range vs {
			s.values[v.Name] = v
		}
	}
	for _, in := range g.Initializers {
		s.consts[in.Name] = in.Tensor
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			s.makers[name] = n
		}
		if t := constantOf(n); t != nil {
			s.consts[n.Output(0)] = t
		}
	}
	return s
}

// constantOf returns the value of a Constant, where it is numbers.
func constantOf(n *graph.Node) *tensor.Tensor {
	if n.Op() != "Constant" {
		return nil
	}
	switch a := n.Attrs; {
	case a.Has("value"):
		return a.Tensor("value")
	case a.Has("value_int"):
		return tensor.Scalar(a.Int("value_int", 0))
	case a.Has("value_ints"):
		return tensor.Vector(a.Ints("value_ints", nil)...)
	case a.Has("value_float"):
		return tensor.Scalar(a.Float("value_float", 0))
	case a.Has("value_floats"):
		return tensor.Vector(a.Floats("value_floats", nil)...)
	}
	return nil
}

func (s *suspect) nodes(g *graph.Graph, found *[]engine.Doubt) {
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			newSuspect(sub, s).nodes(sub, found)
		}
		rule := doubts[n.Op()]
		if rule == nil {
			continue
		}
		s.Node = n
		if reason := rule(s); reason != "" {
			d := engine.Doubt{Op: n.Op(), Node: n.Name, Reason: reason}
			if d.Node == "" {
				d.Node = n.Output(0)
			}
			*found = append(*found, d)
		}
	}
}

// value returns what is known of a value, here or around.
func (s *suspect) value(name string) graph.Value {
	for ; s != nil; s = s.outer {
		if v, ok := s.values[name]; ok {
			return v
		}
		if t, ok := s.consts[name]; ok {
			return graph.Value{Name: name, DType: t.DType(), Shape: graph.Dims(t.Shape()...)}
		}
	}
	return graph.Value{}
}

// constant returns the value of input i, or nil where it is not known.
func (s *suspect) constant(i int) *tensor.Tensor { return s.known(s.Input(i)) }

// known is the same for any value.
func (s *suspect) known(name string) *tensor.Tensor {
	for at := s; at != nil && name != ""; at = at.outer {
		if t, ok := at.consts[name]; ok {
			return t
		}
	}
	return nil
}

func (s *suspect) dtype(i int) tensor.DType { return s.value(s.Input(i)).DType }

func (s *suspect) shape(i int) graph.Shape { return s.value(s.Input(i)).Shape }

// dim returns a dimension of input i, or -1.
func (s *suspect) dim(i, axis int) int64 {
	shape := s.shape(i)
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return -1
	}
	return shape[axis].Size
}

// ints returns input i, or nil where it is not known.
func (s *suspect) ints(i int) []int64 {
	switch d := s.rawConstant(i).(type) {
	case []int64:
		return d
	case []int32:
		out := make([]int64, len(d))
		for k, v := range d {
			out[k] = int64(v)
		}
		return out
	}
	return nil
}

func (s *suspect) rawConstant(i int) any {
	if t := s.constant(i); t != nil {
		return t.Raw()
	}
	return nil
}

// floats returns a float32 input i, or nil where it is not known.
func (s *suspect) floats(i int) []float32 {
	d, _ := s.rawConstant(i).([]float32)
	return d
}

// maker returns the node that computes a value, or nil.
func (s *suspect) maker(name string) *graph.Node {
	for ; s != nil; s = s.outer {
		if n, ok := s.makers[name]; ok {
			return n
		}
	}
	return nil
}

// of is the same for another node of the graph.
func (s *suspect) of(n *graph.Node) *suspect {
	o := *s
	o.Node = n
	return &o
}

// doubtful are the operators that Doubts knows, sorted.
func doubtful() []string {
	var ops []string
	for op := range doubts {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	return ops
}
