// Package infer finds the types and shapes of a graph's values, by operator; it is the one place that computes an output's
// size. Computing values is left to the engines, and changing graphs to package graph.
package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Shapes finds the types and shapes of all values, and puts them into g.Values and g.Outputs (and into those of
// subgraphs). Dimensions go by symbol: what has the length N of an input keeps it. The numbers in small integer tensors
// are followed through Shape, Gather, Concat, arithmetic and so on, so that Reshape, Expand and Resize get shapes where these
// are computed. What cannot be known stays unknown, also the outputs of operators that are not known here. The functions of
// the graph are followed into their bodies.
//
// A contradiction between operands, or with the declared type of a value or the declared shape of an output of the graph, is ErrInvalid with the node's
// name; g is as it was then. Where the declared shape of another value is not so, what was found counts, and g.Notes says so.
//
// Inputs replace the declared type and shape of those inputs, such as the shapes of one run; declared shapes of other values
// that do not fit them give way. The graph must be sorted.
func Shapes(g *graph.Graph, inputs ...graph.Value) error {
	all, err := Find(g, inputs...)
	if err != nil {
		return err
	}
	for _, f := range all {
		f.Graph.Outputs, f.Graph.Values = f.Outputs, f.Values
		if f.Graph == g {
			g.Inputs = f.Inputs
		}
		for _, note := range f.Notes {
			if !slices.Contains(g.Notes, note) && len(g.Notes) < maxNotes {
				g.Notes = append(slices.Clip(g.Notes), note)
			}
		}
	}
	return nil
}

// Found is what inference found of the values of one graph.
type Found struct {
	Graph                   *graph.Graph
	Inputs, Outputs, Values []graph.Value
	Notes                   []string // on shapes that the file declares and that are not so
}

// Find is Shapes for those who leave the graph as it is: it returns what there is to be known of g, and of its subgraphs before it.
func Find(g *graph.Graph, inputs ...graph.Value) ([]Found, error) {
	w := &world{graph: g, functions: functionsOf(g), opset: g.Opset[graph.OnnxDomain], steps: maxSteps + len(g.Nodes), elements: maxElements, lenient: len(inputs) > 0}
	w.families = allRules()
	if w.opset == 0 {
		w.opset = graph.LowestOpset(g)
	}
	s := newInference(w, nil)
	given := make(map[string]graph.Value, len(inputs))
	for _, v := range inputs {
		given[v.Name] = v
	}
	ins := slices.Clone(g.Inputs)
	for i, v := range ins {
		if o, ok := given[v.Name]; ok {
			if o.DType != tensor.Invalid {
				ins[i].DType = o.DType
			}
			ins[i].Shape = o.Shape
			delete(given, v.Name)
		}
	}
	for name := range given {
		return nil, fmt.Errorf("%w: there is no input %q to infer shapes from", graph.ErrInvalid, name)
	}
	if err := s.graph(g, ins); err != nil {
		return nil, err
	}
	return w.found, nil
}

// Build finishes a builder's graph: sorted, valid, with shapes inferred. The builder must not be used afterwards.
func Build(b *graph.Builder) (*graph.Graph, error) {
	g, err := b.Graph()
	if err != nil {
		return nil, err
	}
	if err := Shapes(g); err != nil {
		return nil, err
	}
	return g, nil
}

// allRules are the rules of all operators, by family.
func allRules() []map[string]rule {
	return []map[string]rule{elementRules, reduceRules, productRules, shapeRules, moveRules, windowRules, resizeRules, normRules, makeRules, controlRules, tableRules, attentionRules}
}

func functionsOf(g *graph.Graph) map[[2]string]*graph.Function {
	index := make(map[[2]string]*graph.Function, len(g.Functions))
	for _, f := range g.Functions {
		index[[2]string{f.Domain, f.Name}] = f
	}
	return index
}

// maxNotes is the most notes that a graph gets.
const maxNotes = 100

// maxSteps limits the nodes that are visited beyond the graph's own: those of functions and loops.
const maxSteps = 1 << 18

// maxElements limits the elements of all values together that are followed: a small file may ask for many.
const maxElements = 1 << 20

var errSteps = fmt.Errorf("%w: shape inference takes more than %d steps through functions and loops", graph.ErrInvalid, maxSteps)

// world is what the inference of a graph, its subgraphs and its functions share.
type world struct {
	graph     *graph.Graph
	functions map[[2]string]*graph.Function // by domain and name
	opset     int64
	steps     int
	elements  int // that may still be followed
	depth     int
	lenient   bool // declared shapes give way
	found     []Found
	families  []map[string]rule // not named by a rule itself, which would be a cycle
}

// info is what is known of a value.
type info struct {
	dtype     tensor.DType
	shape     graph.Shape
	container string
	vals      []num // the elements, of a small numeric tensor, in row-major order; nil where not known
}

func (v *info) rank() int {
	if v.shape == nil {
		return -1
	}
	return len(v.shape)
}

// inference goes through the nodes of one graph or function body.
type inference struct {
	*world
	outer    *inference
	values   map[string]*info
	declared map[string]*graph.Value
	held     map[string]bool // outputs of the whole graph, which are what is declared or an error
	notes    []string        // on what was dropped of what is declared
	call     *graph.Node     // of a function's body
	callee   *graph.Function
}

func newInference(w *world, outer *inference) *inference {
	return &inference{world: w, outer: outer, values: map[string]*info{}}
}

func (s *inference) lookup(name string) *info {
	for ; s != nil; s = s.outer {
		if v, ok := s.values[name]; ok {
			return v
		}
	}
	return nil
}

// graph infers g from its inputs.
func (s *inference) graph(g *graph.Graph, inputs []graph.Value) error {
	s.values = make(map[string]*info, len(inputs)+len(g.Initializers)+len(g.Nodes))
	for _, v := range inputs {
		s.values[v.Name] = &info{dtype: v.DType, shape: v.Shape, container: v.Container}
	}
	for _, in := range g.Initializers {
		v := constant(in.Tensor)
		s.spend(v)
		if old, ok := s.values[in.Name]; ok { // listed as an input too
			merged, err := merge(old, v, false)
			if err != nil {
				return fmt.Errorf("%w: initializer %q: %w", graph.ErrInvalid, in.Name, err)
			}
			v = merged
		}
		s.values[in.Name] = v
	}
	s.declared = make(map[string]*graph.Value, len(g.Values)+len(g.Outputs))
	for i := range g.Values {
		s.declared[g.Values[i].Name] = &g.Values[i]
	}
	for i := range g.Outputs {
		s.declared[g.Outputs[i].Name] = &g.Outputs[i]
	}
	if s.outer == nil {
		s.held = make(map[string]bool, len(g.Outputs))
		for _, v := range g.Outputs {
			s.held[v.Name] = true
		}
	}
	if err := s.nodes(g.Nodes); err != nil {
		return err
	}
	s.collect(g, inputs)
	return nil
}

// collect notes what was found of g.
func (s *inference) collect(g *graph.Graph, inputs []graph.Value) {
	outputs := slices.Clone(g.Outputs)
	isOutput := make(map[string]bool, len(outputs))
	for i, v := range outputs {
		isOutput[v.Name] = true
		if found := s.lookup(v.Name); found != nil {
			outputs[i].DType, outputs[i].Shape, outputs[i].Container = found.dtype, found.shape, found.container
		}
	}
	made := 0
	for _, n := range g.Nodes {
		made += len(n.Outputs)
	}
	values := make([]graph.Value, 0, made)
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			found := s.values[out]
			if out == "" || isOutput[out] || found == nil || found.dtype == tensor.Invalid && found.shape == nil {
				continue
			}
			v := graph.Value{Name: out, DType: found.dtype, Shape: found.shape, Container: found.container}
			if d := s.declared[out]; d != nil {
				v.Doc, v.Inferred = d.Doc, d.Inferred
			} else {
				v.Inferred = true
			}
			values = append(values, v)
		}
	}
	s.found = append(s.found, Found{Graph: g, Inputs: inputs, Outputs: outputs, Values: values, Notes: s.notes})
}

func (s *inference) nodes(nodes []*graph.Node) error {
	for i, n := range nodes {
		if s.steps--; s.steps < 0 {
			return errSteps
		}
		if err := s.node(n); err != nil {
			return fmt.Errorf("%s: %w", n.Label(i), err)
		}
	}
	return nil
}

// node infers the outputs of n.
func (s *inference) node(n *graph.Node) error {
	if s.callee != nil {
		for _, sub := range n.Subgraphs() { // which are copied
			graph.Walk(sub.Nodes, func(*graph.Node) { s.steps-- })
			if s.steps < 0 {
				return errSteps
			}
		}
		n = n.Clone()
		n.Bind(s.callee, s.call.Attrs)
	}
	c := &call{inference: s, n: n, attrs: n.Attrs}
	c.in = make([]*info, len(n.Inputs))
	for i, name := range n.Inputs {
		if name != "" {
			if c.in[i] = s.lookup(name); c.in[i] == nil {
				c.in[i] = &info{}
			}
		}
	}
	c.out = make([]info, len(n.Outputs))
	if err := c.infer(); err != nil {
		return err
	}
	for i, name := range n.Outputs {
		if name == "" {
			continue
		}
		v := &c.out[i]
		if d := s.declared[name]; d != nil {
			merged, err := merge(&info{dtype: d.DType, shape: d.Shape, container: d.Container}, v, s.lenient)
			switch {
			case errors.Is(err, errShape) && !s.held[name]:
				s.notes = append(s.notes, fmt.Sprintf("%s: %q is declared with shape %v and has %v, which counts", n.Op(), name, d.Shape, v.shape))
			case err != nil:
				return fmt.Errorf("%w: output %q is declared as %v%v: %w", graph.ErrInvalid, name, d.DType, d.Shape, err)
			default:
				*v = *merged
			}
		}
		s.spend(v)
		s.values[name] = v
	}
	return nil
}

// spend counts the elements of a value that are followed, and forgets them where there are too many.
func (w *world) spend(v *info) {
	if w.elements -= len(v.vals); w.elements < 0 {
		v.vals = nil
	}
}

// function infers a call of f from its body.
func (c *call) function(f *graph.Function) error {
	if c.depth++; c.depth > 100 {
		return fmt.Errorf("%w: functions call each other more than 100 deep", graph.ErrInvalid)
	}
	defer func() { c.depth-- }()
	s := newInference(c.world, nil)
	s.call, s.callee = &graph.Node{Attrs: c.attrs}, f
	opset := c.opset
	if v := f.Opset[graph.OnnxDomain]; v != 0 {
		c.opset = v
	}
	defer func() { c.opset = opset }()
	for i, name := range f.Inputs {
		if i < len(c.in) && c.in[i] != nil {
			s.values[name] = c.in[i]
		}
	}
	if err := s.nodes(f.Nodes); err != nil {
		return fmt.Errorf("in function %s: %w", graph.OpName(f.Domain, f.Name), err)
	}
	for i := range c.out {
		if i < len(f.Outputs) {
			if v := s.values[f.Outputs[i]]; v != nil {
				c.out[i] = *v
			}
		}
	}
	return nil
}

// call is a node whose outputs are being inferred. Rules read in and attrs, and fill out, which is empty at first.
type call struct {
	*inference
	n     *graph.Node
	attrs graph.Attrs
	in    []*info // nil where left out
	out   []info
}

// A rule infers the outputs of one operator.
type rule func(*call) error

func (c *call) infer() error {
	if f := c.functions[[2]string{c.n.Domain, c.n.OpType}]; f != nil {
		return c.function(f)
	}
	if len(c.out) == 0 {
		return nil
	}
	for _, family := range c.families {
		if r, ok := family[c.n.Op()]; ok {
			if err := r(c); err != nil {
				return err
			}
			c.follow()
			return nil
		}
	}
	return nil
}

// arg returns what is known of input i, which is nothing where it is left out or -1; never nil.
func (c *call) arg(i int) *info {
	if i >= 0 && i < len(c.in) && c.in[i] != nil {
		return c.in[i]
	}
	return &info{}
}

// has reports whether input i is given.
func (c *call) has(i int) bool { return i < len(c.in) && c.in[i] != nil }

// set gives output i its type and shape, where the node has that output.
func (c *call) set(i int, dtype tensor.DType, shape graph.Shape) {
	if i < len(c.out) {
		c.out[i].dtype, c.out[i].shape = dtype, shape
	}
}

// fail says that operands contradict each other.
func (c *call) fail(format string, args ...any) error {
	return fmt.Errorf("%w: %w", graph.ErrInvalid, fmt.Errorf(format, args...))
}

// axis brings an axis into [0, rank).
func (c *call) axis(axis int64, rank int) (int, error) {
	k, err := Axis(axis, rank)
	if err != nil {
		return 0, c.fail("%w", err)
	}
	return k, nil
}

// axes brings distinct axes into [0, rank).
func (c *call) axes(axes []int64, rank int) ([]int, error) {
	index, err := Axes(axes, rank)
	if err != nil {
		return nil, c.fail("%w", err)
	}
	return index, nil
}

// wantRank checks a rank where it is known.
func (c *call) wantRank(i, low, high int) error {
	if r := c.arg(i).rank(); r >= 0 && (r < low || r > high) {
		if low == high {
			return c.fail("input %d has shape %v; it must have %d dimensions", i, c.arg(i).shape, low)
		}
		return c.fail("input %d has shape %v, which is not of %d to %d dimensions", i, c.arg(i).shape, low, high)
	}
	return nil
}

// sameType returns the type that all inputs have, where it is known.
func (c *call) sameType(inputs ...int) (tensor.DType, error) {
	dtype := tensor.Invalid
	for _, i := range inputs {
		d := c.arg(i).dtype
		if d == tensor.Invalid {
			continue
		}
		if dtype != tensor.Invalid && d != dtype {
			return dtype, c.fail("inputs of types %v and %v", dtype, d)
		}
		dtype = d
	}
	return dtype, nil
}
