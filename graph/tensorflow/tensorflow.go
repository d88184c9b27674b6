// Package tensorflow turns TensorFlow's graphs into graphs of ONNX operators that compute the same: GraphDef with or without a
// checkpoint, MetaGraphDef, and SavedModel of TensorFlow 1 and 2. Reading the files is left to its subpackages, and running to the engines.
//
// Only what the wanted outputs need is looked at. Variables become constants, functions are put in the place of their calls, and what is
// constant is computed. What cannot be kept exact is refused before anything runs, with every operator that is in the way. See
// DESIGN.md in this folder.
package tensorflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/graph/tensorflow/rewrite"
	"github.com/millrace/millrace/tensor"
)

// ErrChoice says that a file leaves open what is meant: which signature, tags, inputs or outputs. The message lists the choices.
var ErrChoice = errors.New("it is not clear what is wanted")

// Options say what is wanted of a file. The zero value is useful but for Evaluator: it takes the one sensible signature, or the graph's
// placeholders and final outputs.
type Options struct {
	// Evaluator computes constants; it must be given.
	Evaluator graph.Evaluator
	// Checkpoint is the path of the variables' values; empty is the SavedModel's own, or the one beside a .meta file.
	Checkpoint string
	// Tags choose the meta graph of a SavedModel; empty is "serve", or the only one.
	Tags []string
	// Signature chooses what a SavedModel or meta graph takes and gives.
	Signature string
	// Inputs and Outputs are tensors of the graph by name, "images:0" or "images", or keys of the signature. The graph is cut at the inputs,
	// which need not be placeholders. An input may have its shape behind its name: "images[-1,28,28,1]".
	Inputs, Outputs []string
	// Passes rewrite the graph in the end; nil is rewrite.All, and empty leaves each operator as it was translated.
	Passes []rewrite.Pass
}

// A Result is an imported graph.
type Result struct {
	Graph *graph.Graph
	// Notes say what a person might want to know, such as how the variables were found.
	Notes []string
	// Frozen are the initializers that were constants or variables which training left alone, so that training it further leaves them alone too; nil where the file does not
	// say which were trained. What was computed of several is frozen where all of them were.
	Frozen []string
}

// Import opens the file or folder at path, as Open does, and converts it.
func Import(ctx context.Context, path string, opts Options) (*Result, error) {
	s, err := Open(path)
	if err != nil {
		return nil, err
	}
	return s.Import(ctx, opts)
}

// Import converts the graph. The errors are ErrRefused for what cannot be converted, ErrChoice, ErrInvalid, and those of the readers.
func (s *Source) Import(ctx context.Context, opts Options) (*Result, error) {
	if opts.Evaluator == nil {
		return nil, fmt.Errorf("import %s: there is no evaluator for its constants", s.path)
	}
	sel, err := s.choose(opts)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", s.path, err)
	}
	from, err := s.checkpoint(opts)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", s.path, err)
	}
	if from != nil {
		defer from.Close()
	}
	load, err := s.loader()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", s.path, err)
	}
	defer load.Close()
	passes := opts.Passes
	if passes == nil {
		passes = rewrite.All()
	}
	res, err := convert(ctx, sel, from, load, opts.Evaluator, passes)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", s.path, err)
	}
	return res, nil
}

// convert makes the ONNX graph of a selection.
func convert(ctx context.Context, sel *selection, from *checkpoint.Checkpoint, load *loader, ev graph.Evaluator, passes []rewrite.Pass) (*Result, error) {
	res, late, err := assemble(ctx, sel, from, load, ev)
	if err != nil {
		return nil, err
	}
	// From here on nothing but the graph holds the weights.
	if err := settle(ctx, ev, res.Graph, late); err != nil {
		return nil, err
	}
	res.Graph.Opset = map[string]int64{graph.OnnxDomain: stepOpset}
	if err := rewrite.Run(ctx, res.Graph, ev, passes); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := check(res.Graph); err != nil {
		return nil, err
	}
	res.keepFrozen()
	return res, nil
}

// assemble is convert without what is done when the graph is whole; the large constants that are still to be computed are apart.
func assemble(ctx context.Context, sel *selection, from *checkpoint.Checkpoint, load *loader, ev graph.Evaluator) (*Result, map[*graph.Node]bool, error) {
	vs, err := collectVariables(sel.graph, sel.meta, from)
	if err != nil {
		return nil, nil, err
	}
	vs.fallback = sel.noCheckpoint
	c := &converter{
		ctx: ctx, ev: ev, step: infer.NewStepper(stepOpset), variables: vs, load: load, advice: sel.advice,
		functions: map[string]*graphdef.Function{}, bodies: map[string]map[string]*graphdef.Node{}, opOutputs: map[string][]string{},
		fed: map[string]*value{}, names: map[string]int{}, constants: map[string]*value{}, shared: map[string]*value{},
		late: map[*graph.Node]bool{}, made: map[string]*graph.Node{}, trained: map[string]bool{}, decoded: map[*graphdef.Node]*value{},
		left: maxNodes + moreNodes*len(sel.graph.Nodes), grown: maxGrown,
	}
	cut := map[string]bool{}
	for _, in := range sel.inputs {
		cut[in.tensor] = true
	}
	nodes, functions := functional(sel.graph.Nodes, cut)
	for _, f := range slices.Concat(sel.graph.Functions, functions) {
		c.functions[f.Name] = f
		c.left += moreNodes * len(f.Nodes)
	}
	if sel.meta != nil {
		for _, op := range sel.meta.Ops {
			for _, out := range op.Outputs {
				c.opOutputs[op.Name] = append(c.opOutputs[op.Name], out.Name)
			}
		}
	}
	c.main = &scope{nodes: index(nodes), states: map[string]*state{}, writes: map[string]map[string]string{}}
	g := &graph.Graph{Name: sel.name, Producer: sel.producer}
	for _, in := range sel.inputs {
		c.names[in.name] = 0
	}
	for _, out := range sel.outputs {
		c.names[out.name] = 0
	}
	if err := c.feed(g, sel); err != nil {
		return nil, nil, err
	}
	var edges []edge
	var names []string
	for _, out := range sel.outputs {
		edges = append(edges, c.resolve(c.main, out.tensor))
		names = append(names, out.name)
	}
	if err := c.demand(edges); err != nil {
		return nil, nil, err
	}
	if err := c.refused(edges, names); err != nil {
		return nil, nil, err
	}
	if err := c.finish(g, sel, edges); err != nil {
		return nil, nil, err
	}
	return &Result{Graph: g, Notes: append(sel.notes, vs.note()...), Frozen: c.untrained()}, c.late, nil
}

// untrained returns the names of constants that no variable which training changed is in.
func (c *converter) untrained() (names []string) {
	if c.variables.trainable == nil {
		return nil
	}
	for name := range c.constants {
		names = append(names, name)
	}
	for n := range c.late {
		names = append(names, n.Outputs...)
	}
	return slices.DeleteFunc(names, func(name string) bool { return c.trained[name] })
}

// keepFrozen keeps of Frozen what is in the graph and could be trained.
func (r *Result) keepFrozen() {
	could := map[string]bool{}
	for _, in := range r.Graph.Initializers {
		could[in.Name] = in.Tensor.DType().IsFloat() && in.Tensor.Rank() > 0
	}
	r.Frozen = slices.DeleteFunc(r.Frozen, func(name string) bool { return !could[name] })
	slices.Sort(r.Frozen)
}

// stepOpset is the opset whose forms the operator functions write; finish raises what needs a later one.
const stepOpset = 17

// feed makes the inputs of the graph.
func (c *converter) feed(g *graph.Graph, sel *selection) error {
	open := 0
	for _, in := range sel.inputs {
		if len(in.shape) > 0 && !in.shape[0].Known() && in.def == nil {
			open++
		}
	}
	for _, in := range sel.inputs {
		if in.unused {
			continue
		}
		v := graph.Value{Name: in.name, DType: in.dtype, Shape: symbols(in, open == 1 && in.def == nil)}
		if in.def != nil {
			t, err := c.preset(in)
			if err != nil {
				return fmt.Errorf("%w: the default of input %q: %w", ErrInvalid, in.name, err)
			}
			g.Initializers = append(g.Initializers, graph.Initializer{Name: in.name, Tensor: t})
		}
		if err := c.step.Value(v); err != nil {
			return err
		}
		c.fedNames = append(c.fedNames, in.tensor)
		c.fed[in.tensor] = &value{name: in.name, dtype: v.DType, shape: v.Shape}
		g.Inputs = append(g.Inputs, v)
	}
	return nil
}

// preset returns the default of an input, which ONNX has as an initializer of the input's name.
func (c *converter) preset(in input) (*tensor.Tensor, error) {
	t, err := c.load.tensor(in.def)
	if err != nil {
		return nil, err
	}
	if stored, err := t.Stored(); err != nil || stored < t.Shape.Size() && t.Shape.Size()*t.Type.DType().Size() > maxConstant {
		return nil, errors.Join(errors.New("few of its elements are in the file"), err)
	}
	v, err := t.Decode()
	if err == nil && !fits(in.shape, v.Shape()) {
		err = fmt.Errorf("its shape is %v, the input's %v", v.Shape(), in.shape)
	}
	return v, err
}

// fits reports whether a shape is one that another leaves open.
func fits(open graph.Shape, shape tensor.Shape) bool {
	if open == nil {
		return true
	}
	if len(open) != len(shape) {
		return false
	}
	for i, d := range open {
		if d.Known() && d.Size != int64(shape[i]) {
			return false
		}
	}
	return true
}

// symbols names the lengths of an input that are not known: N for the batch where it is the only one, else after the input, since
// nothing says that two inputs agree.
func symbols(in input, only bool) graph.Shape {
	if in.shape == nil {
		return nil
	}
	base := strings.TrimSuffix(in.name, ":0")
	shape := append(graph.Shape{}, in.shape...)
	for i, d := range shape {
		switch {
		case d.Known():
		case i == 0 && only:
			shape[i].Symbol = "N"
		default:
			shape[i].Symbol = fmt.Sprintf("%s_%d", base, i)
		}
	}
	return shape
}
