package gradient

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A tape is a training graph in the making: the model's nodes, what is known of their values, and the gradients so far.
type tape struct {
	*builder
	g         *graph.Graph
	forward   []*graph.Node
	values    map[string]graph.Value
	known     map[string]*tensor.Tensor // initializers and Constant nodes
	inputs    []graph.Value             // with a default, beyond the model's
	makers    map[string]*graph.Node
	variables []string        // in the order of the graph's initializers
	depends   map[string]bool // values that depend on a variable, differentiably
	matters   map[string]bool // values that the loss depends on
	parts     map[string][]string
	indices   map[string]string // MaxPool's output: its indices
	stats     []statistic
	names     map[string]string // values of ours: the outputs' names that they get at the end
}

// A statistic is a running mean or variance, and the value that replaces it.
type statistic struct{ name, updated string }

func newTape(g *graph.Graph) (*tape, error) {
	t := &tape{
		builder: &builder{prefix: "gradient/", opset: g.Opset[graph.OnnxDomain], consts: map[string]string{}, used: map[string]bool{}, calls: map[string]bool{}, ours: map[string]bool{}},
		g:       g, forward: g.Nodes, values: map[string]graph.Value{}, known: map[string]*tensor.Tensor{}, makers: map[string]*graph.Node{},
		depends: map[string]bool{}, matters: map[string]bool{}, parts: map[string][]string{}, indices: map[string]string{}, names: map[string]string{},
	}
	for _, list := range [][]graph.Value{g.Values, g.Outputs, g.Inputs} {
		for _, v := range list {
			t.values[v.Name] = v
			t.used[v.Name] = true
		}
	}
	for _, in := range g.Initializers {
		t.known[in.Name] = in.Tensor
		t.values[in.Name] = graph.Value{Name: in.Name, DType: in.Tensor.DType(), Shape: graph.Dims(in.Tensor.Shape()...)}
		t.used[in.Name] = true
	}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			t.makers[out] = n
			t.used[out] = true
		}
		if n.OpType == "Constant" && n.Domain == graph.OnnxDomain {
			if c := constantOf(n); c != nil {
				t.known[n.Output(0)] = c
				t.values[n.Output(0)] = graph.Value{Name: n.Output(0), DType: c.DType(), Shape: graph.Dims(c.Shape()...)}
			}
		}
	}
	return t, nil
}

// constantOf returns the tensor of a Constant node, or nil where it is of a kind that no rule reads.
func constantOf(n *graph.Node) *tensor.Tensor {
	switch {
	case n.Attrs.Has("value"):
		return n.Attrs.Tensor("value")
	case n.Attrs.Has("value_int"):
		return tensor.Scalar(n.Attrs.Int("value_int", 0))
	case n.Attrs.Has("value_ints"):
		return tensor.Vector(slices.Clone(n.Attrs.Ints("value_ints", nil))...)
	case n.Attrs.Has("value_float"):
		return tensor.Scalar(n.Attrs.Float("value_float", 0))
	case n.Attrs.Has("value_floats"):
		return tensor.Vector(slices.Clone(n.Attrs.Floats("value_floats", nil))...)
	}
	return nil
}

// shape returns what is known of a value's shape; nil where not even the rank is.
func (t *tape) shape(name string) graph.Shape { return t.values[name].Shape }

// rank returns the number of dimensions of a value, or an error that names the node that needs it.
func (t *tape) rank(n *graph.Node, name string) (int, error) {
	s := t.shape(name)
	if s == nil {
		return 0, fmt.Errorf("%w: %s: the rank of %q is not known", ErrNoGradient, nodeName(n), name)
	}
	return len(s), nil
}

// axis makes an axis of a value of that rank non-negative.
func axisOf(n *graph.Node, axis int64, rank int) (int64, error) {
	k, err := infer.Axis(axis, rank)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrNoGradient, nodeName(n), err)
	}
	return int64(k), nil
}

// constInts returns the elements of a constant integer value, and whether it is one.
func (t *tape) constInts(name string) ([]int64, bool) {
	c := t.known[name]
	if c == nil || name == "" {
		return nil, false
	}
	switch c.DType() {
	case tensor.Int64:
		return tensor.Data[int64](c), true
	case tensor.Int32:
		var v []int64
		for _, x := range tensor.Data[int32](c) {
			v = append(v, int64(x))
		}
		return v, true
	}
	return nil, false
}

// numLike returns a constant scalar of the type of a value.
func (t *tape) numLike(name string, v float64) string {
	d := t.values[name].DType
	if !d.IsFloat() {
		d = t.dtype
	}
	return t.constant(scalarOf(d, v))
}

// want reports whether input i of n needs a gradient.
func (t *tape) want(n *graph.Node, i int) bool {
	name := n.Input(i)
	return name != "" && t.depends[name]
}

// add notes a part of the gradient of a value.
func (t *tape) add(value, part string) {
	if part != "" && t.depends[value] {
		t.parts[value] = append(t.parts[value], part)
	}
}

// gradient sums the parts of a value's gradient; "" where there are none.
func (t *tape) gradient(value string) string {
	parts := t.parts[value]
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	case 2:
		return t.op("Add", parts[0], parts[1])
	}
	return t.op("Sum", parts...)
}

// chooseVariables settles what is differentiated by.
func (t *tape) chooseVariables(opts Options) error {
	frozen := map[string]bool{}
	for _, name := range opts.Frozen {
		if t.known[name] == nil {
			return fmt.Errorf("%w: frozen %q is not an initializer of the model", ErrOptions, name)
		}
		frozen[name] = true
	}
	statistic := map[string]bool{}
	for _, n := range t.forward {
		if n.Op() == "BatchNormalization" {
			statistic[n.Input(3)], statistic[n.Input(4)] = true, true
		}
	}
	named := map[string]bool{}
	for _, name := range opts.Variables {
		switch c := t.known[name]; {
		case c == nil || t.makers[name] != nil:
			return fmt.Errorf("%w: variable %q is not an initializer of the model", ErrOptions, name)
		case frozen[name]:
			return fmt.Errorf("%w: variable %q is frozen too", ErrOptions, name)
		case statistic[name]:
			return fmt.Errorf("%w: variable %q is a statistic of BatchNormalization", ErrOptions, name)
		case !c.DType().IsFloat():
			return fmt.Errorf("%w: variable %q has type %v", ErrOptions, name, c.DType())
		}
		named[name] = true
	}
	for _, in := range t.g.Initializers {
		chosen := named[in.Name]
		if len(opts.Variables) == 0 {
			chosen = in.Tensor.DType().IsFloat() && in.Tensor.Rank() > 0 && !frozen[in.Name] && !statistic[in.Name]
		}
		if chosen {
			t.variables = append(t.variables, in.Name)
		}
	}
	if len(t.variables) == 0 {
		return fmt.Errorf("%w: the model has no variables that are not frozen", ErrOptions)
	}
	return nil
}

// trace finds what depends on the variables and what the prediction depends on, and drops the variables that do not
// reach it.
func (t *tape) trace(prediction string, explicit []string) error {
	t.matters[prediction] = true
	for i := len(t.forward) - 1; i >= 0; i-- {
		n := t.forward[i]
		if slices.ContainsFunc(n.Outputs, func(o string) bool { return t.matters[o] }) {
			for k, in := range n.Inputs {
				if in != "" && t.differentiable(n, k) {
					t.matters[in] = true
				}
			}
			for _, sub := range n.Subgraphs() {
				for _, name := range sub.Captures() {
					t.matters[name] = true
				}
			}
		}
	}
	for _, v := range t.variables {
		if !t.matters[v] && slices.Contains(explicit, v) {
			return fmt.Errorf("%w: the prediction %q does not depend on variable %q", ErrOptions, prediction, v)
		}
	}
	t.variables = slices.DeleteFunc(t.variables, func(v string) bool { return !t.matters[v] })
	for _, v := range t.variables {
		if t.dtype == tensor.Invalid {
			t.dtype = t.known[v].DType()
		}
		if d := t.known[v].DType(); d != t.dtype {
			return fmt.Errorf("%w: variables of types %v and %v in one model", ErrOptions, t.dtype, d)
		}
		t.depends[v] = true
	}
	t.follow()
	if !t.depends[prediction] {
		return fmt.Errorf("%w: the prediction %q depends on no variable", ErrOptions, prediction)
	}
	return nil
}

// differentiable reports whether a gradient flows through input k of n.
func (t *tape) differentiable(n *graph.Node, k int) bool {
	op := n.Op()
	if zeroGradient[op] {
		return false
	}
	if op == "If" || op == "Loop" && k < 2 {
		return false
	}
	if op == "Cast" && !tensor.DType(n.Attrs.Int("to", 0)).IsFloat() {
		return false
	}
	r, ok := rules[op]
	return !ok || r.inputs == 0 || k < r.inputs
}

// backward goes through the nodes from the loss to the variables.
func (t *tape) backward() error {
	for i := len(t.forward) - 1; i >= 0; i-- {
		n := t.forward[i]
		if zeroGradient[n.Op()] || !slices.ContainsFunc(n.Uses(), func(in string) bool { return t.depends[in] }) {
			continue
		}
		dy := make([]string, len(n.Outputs))
		some := false
		for k, out := range n.Outputs {
			if out != "" {
				dy[k] = t.gradient(out)
				some = some || dy[k] != ""
			}
		}
		if !some {
			continue
		}
		r, ok := ruleOf(n.Op())
		if !ok {
			return fmt.Errorf("%w: %s is between a variable and the loss, and %s has no gradient", ErrNoGradient, nodeName(n), n.Op())
		}
		for k := 1; k < len(dy); k++ {
			if dy[k] != "" && !r.many {
				return fmt.Errorf("%w: %s: output %d has no gradient", ErrNoGradient, nodeName(n), k)
			}
		}
		if d := t.values[n.Output(0)].DType; d.IsFloat() && d != t.dtype && n.Op() != "Cast" && n.Op() != "CastLike" && len(n.Subgraphs()) == 0 {
			return fmt.Errorf("%w: %s computes in %v, the variables are %v", ErrNoGradient, nodeName(n), d, t.dtype)
		}
		dx, err := r.f(t, n, dy)
		if err != nil {
			return err
		}
		for k, part := range dx {
			if t.want(n, k) {
				t.add(n.Inputs[k], part)
			}
		}
	}
	return nil
}

// addFunctions writes the functions that are called into the graph.
func (t *tape) addFunctions() error {
	for _, name := range slices.Sorted(maps.Keys(t.calls)) {
		f, err := newFunction(name, t.dtype, t.opset)
		if err != nil {
			return err
		}
		t.g.Functions = append(t.g.Functions, f)
		t.g.Opset[graph.MillraceDomain] = 1
	}
	return nil
}
