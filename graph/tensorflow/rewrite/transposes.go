package rewrite

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// layoutOps want channels as the second axis. A converter of a format that has them last puts a Transpose before and behind each.
var layoutOps = []string{
	"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "InstanceNormalization", "LRN", "Resize",
	"DepthToSpace", "SpaceToDepth",
}

// maxPushes limits the steps for each node of the graph: a Transpose that forks is pushed on both ways.
const maxPushes = 64

// transposes moves a Transpose behind a convolution or the like over what comes after, until it meets its inverse and both go:
//
//	Conv, Transpose, Relu, Transpose, Conv becomes Conv, Relu, Conv.
//
// Axes and constants of the nodes on the way are changed. Where that leaves no fewer of them, the graph stays as it was.
func transposes(w *work) (int, error) {
	nodes, before := w.g.Clone().Nodes, w.count("Transpose")
	m := &mover{work: w, outer: map[*graph.Node]bool{}, left: maxPushes * (len(w.g.Nodes) + 1)}
	for _, n := range w.g.Nodes {
		if standard(n, "Transpose") && n.Attrs.Ints("perm", nil) != nil && w.inLayout(n.Inputs[0]) {
			m.outer[n] = true
		}
	}
	pushes := 0
	for {
		moved := 0
		for _, n := range slices.Clone(w.g.Nodes) {
			if !m.outer[n] || w.gone[n] {
				continue
			}
			for _, u := range w.usersOf(n.Outputs[0]) {
				if m.left--; m.left < 0 {
					break
				}
				ok, err := m.push(n, u)
				if err != nil {
					return 0, err
				}
				if ok {
					moved++
				}
			}
			if out := n.Outputs[0]; w.fanout(out) == 0 && !w.outputs[out] {
				w.drop(n)
			}
		}
		pushes += moved
		if moved == 0 || m.left < 0 {
			break
		}
	}
	if w.count("Transpose") >= before {
		w.g.Nodes, w.gone, w.stale = nodes, map[*graph.Node]bool{}, true
		w.g.Prune() // the constants that were made on the way
		return 0, nil
	}
	return pushes, nil
}

// inLayout reports whether a value comes from such an operator, over a few that may follow it in its own layout.
func (w *work) inLayout(name string) bool {
	for range 4 {
		n := w.made[name]
		if !standard(n, "Slice", "Pad", "Cast", "Clip", "Relu") {
			return standard(n, layoutOps...)
		}
		name = n.Inputs[0]
	}
	return false
}

func (w *work) count(op string) int {
	count := 0
	for _, n := range w.g.Nodes {
		if !w.gone[n] && standard(n, op) {
			count++
		}
	}
	return count
}

// mover is work with the Transposes that may move.
type mover struct {
	*work
	outer map[*graph.Node]bool
	left  int
}

// push moves a Transpose t over a node that takes its output. Other users of the output keep t. It reports whether it did.
func (m *mover) push(t, n *graph.Node) (bool, error) {
	if n.Domain != graph.OnnxDomain || len(n.Subgraphs()) > 0 {
		return false, nil
	}
	perm := t.Attrs.Ints("perm", nil)
	switch n.OpType {
	case "Transpose":
		return m.compose(t, n), nil
	case "Reshape":
		return m.ones(t, n), nil
	case "Relu", "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish", "Gelu", "Erf", "Exp", "Log",
		"Sqrt", "Reciprocal", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Cast", "Identity", "Not", "IsNaN", "IsInf", "Sin", "Cos", "Tan", "Clip", "QuantizeLinear", "DequantizeLinear":
		return m.pointwise(t, n, perm), nil
	case "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "PRelu", "And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Where", "Mod":
		return m.together(n, perm)
	case "Concat":
		return m.concat(n, perm)
	case "Pad":
		return m.pad(t, n, perm), nil
	case "Slice":
		return m.slice(t, n, perm), nil
	case "Split":
		return m.split(t, n, perm), nil
	case "Softmax", "LogSoftmax", "Hardmax":
		axis, ok := normal([]int64{n.Attrs.Int("axis", -1)}, len(perm))
		return ok && m.move(t, n, graph.Attrs{"axis": perm[axis[0]]}, perm), nil
	case "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp":
		return m.reduce(t, n, perm), nil
	case "ArgMax", "ArgMin":
		axis, ok := normal([]int64{n.Attrs.Int("axis", 0)}, len(perm))
		return ok && m.shrink(t, n, perm, axis, graph.Attrs{"axis": perm[axis[0]]}, -1, n.Attrs.Bool("keepdims", true)), nil
	case "Squeeze":
		axes, ok := m.axesInput(n, len(perm))
		return ok && m.shrink(t, n, perm, axes, nil, 1, false), nil
	case "Unsqueeze":
		return m.widen(t, n, perm), nil
	case "Shape":
		return m.shape(t, n, perm), nil
	}
	return false, nil
}

// over has n take what t takes, and puts a Transpose behind each of its outputs. attrs are set in n.
func (m *mover) over(n *graph.Node, attrs graph.Attrs, perm []int64) {
	if attrs != nil {
		n.Attrs = n.Attrs.Clone()
		if n.Attrs == nil {
			n.Attrs = graph.Attrs{}
		}
		for name, v := range attrs {
			n.Attrs[name] = v
		}
	}
	same := true
	for i, p := range perm {
		same = same && int64(i) == p
	}
	if same {
		return
	}
	n.Outputs = slices.Clone(n.Outputs)
	for i, out := range n.Outputs {
		if out == "" || m.fanout(out) == 0 && !m.outputs[out] {
			continue
		}
		inner := m.names.Unique(out + "/first")
		v := m.values[out]
		v.Name = inner
		if len(v.Shape) == len(perm) {
			shape := make(graph.Shape, len(perm))
			for j, p := range perm {
				shape[p] = v.Shape[j]
			}
			v.Shape = shape
		}
		m.values[inner] = v
		n.Outputs[i] = inner
		m.made[inner] = n
		back := &graph.Node{Name: m.names.Unique(out + "/Transpose"), OpType: "Transpose", Attrs: graph.Attrs{"perm": slices.Clone(perm)}, Inputs: []string{inner}, Outputs: []string{out}}
		m.outer[back] = true
		m.add(back)
	}
}

// move is over for a node whose first input alone is t's.
func (m *mover) move(t, n *graph.Node, attrs graph.Attrs, perm []int64) bool {
	if n.Inputs[0] != t.Outputs[0] || slices.Contains(n.Inputs[1:], t.Outputs[0]) {
		return false
	}
	m.setInput(n, 0, t.Inputs[0])
	m.over(n, attrs, perm)
	return true
}

// compose makes one Transpose of two, or none.
func (m *mover) compose(t, n *graph.Node) bool {
	first, second := t.Attrs.Ints("perm", nil), n.Attrs.Ints("perm", nil)
	if len(first) != len(second) {
		return false
	}
	perm, same := make([]int64, len(first)), true
	for i, p := range second {
		perm[i] = first[p]
		same = same && perm[i] == int64(i)
	}
	if same && m.alias(n, t.Inputs[0]) {
		return true
	}
	if same {
		return false
	}
	m.setInput(n, 0, t.Inputs[0])
	n.Attrs = graph.Attrs{"perm": perm}
	m.outer[n] = true
	return true
}

// ones has a Reshape take what comes before a Transpose that moves nothing but axes of length one.
func (m *mover) ones(t, n *graph.Node) bool {
	if n.Inputs[0] != t.Outputs[0] || !onlyOnes(t.Attrs.Ints("perm", nil), m.values[t.Inputs[0]].Shape) {
		return false
	}
	dims, ok := m.ints(n.Input(1))
	if !ok || slices.Contains(dims, 0) && !n.Attrs.Bool("allowzero", false) {
		return false
	}
	m.setInput(n, 0, t.Inputs[0])
	return true
}

// onlyOnes reports whether a permutation keeps the order of all axes that are not of length one.
func onlyOnes(perm []int64, shape graph.Shape) bool {
	if len(perm) != len(shape) {
		return false
	}
	last := int64(-1)
	for _, p := range perm {
		if d := shape[p]; d.Known() && d.Size == 1 {
			continue
		}
		if p < last {
			return false
		}
		last = p
	}
	return true
}

// pointwise moves over a node that looks at each element of its first input alone: its others must be scalars.
func (m *mover) pointwise(t, n *graph.Node, perm []int64) bool {
	for _, name := range n.Inputs[1:] {
		if name != "" && m.rank(name) != 0 {
			return false
		}
	}
	return m.move(t, n, nil, perm)
}

// together moves all Transposes before a node that broadcasts: they must be the same, and what has none constant or a scalar.
func (m *mover) together(n *graph.Node, perm []int64) (bool, error) {
	return m.all(n, perm, func(name string) (string, bool, error) {
		if m.rank(name) == 0 {
			return name, true, nil
		}
		c := m.consts[name]
		if c == nil || c.Rank() > len(perm) {
			return "", false, nil
		}
		if c.Size() == 1 {
			return name, true, nil
		}
		wide := slices.Concat(slices.Repeat([]int{1}, len(perm)-c.Rank()), c.Shape())
		t, err := c.Reshape(wide...)
		if err != nil {
			return "", false, err
		}
		t, err = m.compute("Transpose", graph.Attrs{"perm": inverse(perm)}, t)
		if err != nil {
			return "", false, err
		}
		return m.constant(name+"/first", t), true, nil
	}, nil)
}

// concat moves over a Concat all of whose inputs have the same Transpose or are constant.
func (m *mover) concat(n *graph.Node, perm []int64) (bool, error) {
	axis, ok := normal([]int64{n.Attrs.Int("axis", 0)}, len(perm))
	if !ok {
		return false, nil
	}
	return m.all(n, perm, func(name string) (string, bool, error) {
		c := m.consts[name]
		if c == nil || c.Rank() != len(perm) {
			return "", false, nil
		}
		t, err := m.compute("Transpose", graph.Attrs{"perm": inverse(perm)}, c)
		if err != nil {
			return "", false, err
		}
		return m.constant(name+"/first", t), true, nil
	}, graph.Attrs{"axis": perm[axis[0]]})
}

// all moves the Transposes before a node behind it; other says what takes the place of an input that has none.
func (m *mover) all(n *graph.Node, perm []int64, other func(name string) (string, bool, error), attrs graph.Attrs) (bool, error) {
	inputs := make([]string, len(n.Inputs))
	for i, name := range n.Inputs {
		if t := m.made[name]; standard(t, "Transpose") && slices.Equal(t.Attrs.Ints("perm", nil), perm) {
			inputs[i] = t.Inputs[0]
		} else if m.consts[name] == nil && m.rank(name) != 0 {
			return false, nil
		}
	}
	for i, name := range n.Inputs {
		if inputs[i] != "" {
			continue
		}
		to, ok, err := other(name)
		if err != nil || !ok {
			return false, err
		}
		inputs[i] = to
	}
	for i, name := range inputs {
		m.setInput(n, i, name)
	}
	m.over(n, attrs, perm)
	return true, nil
}

// inverse undoes a permutation.
func inverse(perm []int64) []int64 {
	out := make([]int64, len(perm))
	for i, p := range perm {
		out[p] = int64(i)
	}
	return out
}
