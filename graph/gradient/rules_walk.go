package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A walk is what Scan and Loop have alike: states that a body makes anew from step to step, what it reads and what it gives at each.
type walk struct {
	n      *graph.Node
	body   *graph.Graph
	states int // how many
	in     int // which of the body's and the node's inputs is the first state
	out    int // which of the body's outputs
	// first are the dimensions along which elements are read and given, and whether from the end; Loop reads none.
	inAxes, outAxes       []int64
	inReverse, outReverse []bool
}

func (w *walk) elements() int { return len(w.inAxes) }

func scanGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	w := &walk{n: n, body: n.Attrs.Graph("body")}
	elements := int(n.Attrs.Int("num_scan_inputs", 0))
	w.states = len(n.Inputs) - elements
	if w.body == nil || elements < 1 || w.states < 0 || len(w.body.Inputs) != len(n.Inputs) || len(w.body.Outputs) < w.states {
		return nil, fmt.Errorf("%w: %s: its body does not fit it", ErrNoGradient, nodeName(n))
	}
	given := len(w.body.Outputs) - w.states
	w.inAxes, w.outAxes = axesFor(n.Attrs, "scan_input_axes", elements), axesFor(n.Attrs, "scan_output_axes", given)
	w.inReverse, w.outReverse = waysFor(n.Attrs, "scan_input_directions", elements), waysFor(n.Attrs, "scan_output_directions", given)
	return t.walkGradient(w, dy)
}

func axesFor(attrs graph.Attrs, name string, n int) []int64 {
	axes := attrs.Ints(name, nil)
	if len(axes) != n {
		return make([]int64, n)
	}
	return slices.Clone(axes)
}

func waysFor(attrs graph.Attrs, name string, n int) []bool {
	ways := make([]bool, n)
	for i, way := range attrs.Ints(name, nil) {
		if i < n {
			ways[i] = way != 0
		}
	}
	return ways
}

func loopGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	w := &walk{n: n, body: n.Attrs.Graph("body"), states: len(n.Inputs) - 2, in: 2, out: 1}
	if w.body == nil || w.states < 0 || len(w.body.Inputs) != len(n.Inputs) || len(w.body.Outputs) < 1+w.states {
		return nil, fmt.Errorf("%w: %s: its body does not fit it", ErrNoGradient, nodeName(n))
	}
	given := len(w.body.Outputs) - 1 - w.states
	w.outAxes, w.outReverse = make([]int64, given), make([]bool, given)
	return t.walkGradient(w, dy)
}

// keepStates makes a node give the states before each step too, along a first axis, and the number of the step where it is a Loop. It returns their names.
func (t *tape) keepStates(w *walk) (states []string, step string) {
	n := w.n
	for len(n.Outputs) < len(w.body.Outputs)-w.out {
		n.Outputs = append(n.Outputs, "")
	}
	for i, out := range n.Outputs {
		if out == "" {
			n.Outputs[i] = t.name("output")
		}
	}
	keep := func(input string, dtype tensor.DType) string {
		copied := &graph.Node{Name: t.name("kept"), OpType: "Identity", Inputs: []string{input}, Outputs: []string{t.name("kept")}}
		w.body.Nodes = append(w.body.Nodes, copied)
		w.body.Outputs = append(w.body.Outputs, graph.Value{Name: copied.Outputs[0], DType: dtype})
		n.Outputs = append(n.Outputs, t.name("kept"))
		return n.Outputs[len(n.Outputs)-1]
	}
	for i := range w.states {
		input := w.body.Inputs[w.in+i]
		dtype := t.values[n.Inputs[w.in+i]].DType
		if dtype == tensor.Invalid {
			dtype = input.DType
		}
		states = append(states, keep(input.Name, dtype))
	}
	if n.OpType == "Loop" {
		return states, keep(w.body.Inputs[0].Name, tensor.Int64)
	}
	for _, name := range []string{"scan_output_axes", "scan_output_directions"} {
		if list := n.Attrs.Ints(name, nil); list != nil {
			n.Attrs[name] = append(slices.Clone(list), make([]int64, w.states)...)
		}
	}
	return states, ""
}

// stateType is what is known of a state at every step.
func (t *tape) stateType(w *walk, i int) graph.Value {
	v := t.values[w.n.Inputs[w.in+i]]
	if after, ok := t.values[w.n.Output(i)]; ok && len(after.Shape) == len(v.Shape) {
		return graph.Value{DType: v.DType, Shape: after.Shape}
	}
	open := make(graph.Shape, len(v.Shape))
	for k := range open {
		open[k] = graph.Dim{Size: -1}
	}
	if v.Shape == nil {
		open = nil
	}
	return graph.Value{DType: v.DType, Shape: open}
}

// walkGradient goes through the steps from the last to the first, by a Scan whose body makes each step again from the states before it, which the forward pass keeps. Its
// own states are the gradients of the states, and of what the body captures, added up.
func (t *tape) walkGradient(w *walk, dy []string) ([]string, error) {
	n := w.n
	for i, v := range w.body.Inputs {
		if v.Container != "" {
			return nil, fmt.Errorf("%w: %s: its state %d is a %s", ErrNoGradient, nodeName(n), i-w.in, v.Container)
		}
	}
	var inputs []graph.Value
	if n.OpType == "Loop" {
		inputs = append(inputs, graph.Value{DType: tensor.Int64, Shape: graph.Shape{}}, graph.Value{DType: tensor.Bool, Shape: graph.Shape{}})
	}
	for i := range w.states {
		inputs = append(inputs, t.stateType(w, i))
	}
	for k := range w.elements() {
		v := t.values[n.Inputs[w.in+w.states+k]]
		if s := v.Shape; s != nil {
			axis, err := axisOf(n, w.inAxes[k], len(s))
			if err != nil {
				return nil, err
			}
			v.Shape = slices.Delete(slices.Clone(s), int(axis), int(axis)+1)
		}
		inputs = append(inputs, graph.Value{DType: v.DType, Shape: v.Shape})
	}
	nt, err := t.enter(n, w.body, inputs)
	if err != nil {
		return nil, err
	}
	r := &rewalk{t: t, nt: nt, w: w, dy: dy, captured: t.captured(w.body)}
	r.depend()
	return r.gradient()
}

// A rewalk makes the Scan of a walk's gradient.
type rewalk struct {
	t, nt    *tape
	w        *walk
	dy       []string
	captured []string
	depends  []bool // of each state

	first            []string // of the states of the Scan
	elements         []string // what it goes through
	states, reads    []graph.Value
	axes, directions []int64
	gives            []int64 // directions of what it gives
	giveAxes         []int64
}

// depend settles which states and elements have gradients: a state does that did before or that a step makes of what does.
func (r *rewalk) depend() {
	w, nt := r.w, r.nt
	for _, name := range r.captured {
		nt.depends[name] = true
	}
	for k := range len(w.n.Inputs) - w.in {
		if r.t.depends[w.n.Inputs[w.in+k]] {
			nt.depends[nt.g.Inputs[w.in+k].Name] = true
		}
	}
	for changed := true; changed; {
		nt.follow()
		changed = false
		for i := range w.states {
			in, out := nt.g.Inputs[w.in+i].Name, nt.g.Outputs[w.out+i].Name
			if nt.depends[out] && !nt.depends[in] {
				nt.depends[in], changed = true, true
			}
		}
	}
	for i := range w.states {
		r.depends = append(r.depends, nt.depends[nt.g.Inputs[w.in+i].Name])
	}
}

// state adds a state of the Scan, which begins with a value, and returns its name inside.
func (r *rewalk) state(first string) string {
	name := r.nt.name("gradient")
	r.first = append(r.first, first)
	r.states = append(r.states, graph.Value{Name: name, DType: r.t.dtype})
	return name
}

// element adds what the Scan goes through, which has the given name inside.
func (r *rewalk) element(of, name string, dtype tensor.DType, axis int64, reverse bool) {
	r.elements = append(r.elements, of)
	r.reads = append(r.reads, graph.Value{Name: name, DType: dtype})
	r.axes = append(r.axes, axis)
	r.directions = append(r.directions, way(reverse))
}

func way(reverse bool) int64 {
	if reverse {
		return 1
	}
	return 0
}

func (r *rewalk) gradient() ([]string, error) {
	t, nt, w, n := r.t, r.nt, r.w, r.w.n
	bodyInputs := nt.g.Inputs
	given := len(w.outAxes)
	kept, step := t.keepStates(w)
	if step != "" {
		r.element(step, bodyInputs[0].Name, tensor.Int64, 0, true)
		yes := &graph.Node{Name: nt.name("go"), OpType: "Constant", Outputs: []string{bodyInputs[1].Name}, Attrs: graph.Attrs{"value": tensor.Scalar(true)}}
		nt.forward = append([]*graph.Node{yes}, nt.forward...)
	}
	for i, name := range kept {
		r.element(name, bodyInputs[w.in+i].Name, bodyInputs[w.in+i].DType, 0, true)
	}
	for k := range w.elements() {
		in := bodyInputs[w.in+w.states+k]
		r.element(n.Inputs[w.in+w.states+k], in.Name, in.DType, w.inAxes[k], !w.inReverse[k])
	}
	grads := func(i int) string {
		if i < len(r.dy) {
			return r.dy[i]
		}
		return ""
	}
	for i, depends := range r.depends {
		if depends {
			nt.add(nt.g.Outputs[w.out+i].Name, r.state(t.orZeros(grads(i), n.Outputs[i])))
		}
	}
	var sums []string
	for _, name := range r.captured {
		sums = append(sums, r.state(t.zerosLike(name)))
	}
	for k := range given {
		if g := grads(w.states + k); g != "" {
			name := nt.name("gradient")
			r.element(g, name, t.dtype, w.outAxes[k], !w.outReverse[k])
			nt.add(nt.g.Outputs[w.out+w.states+k].Name, name)
		}
	}
	if err := nt.backward(); err != nil {
		return nil, err
	}
	return r.build(sums), nil
}

// build appends the Scan, and gives its results to what they are the gradients of.
func (r *rewalk) build(sums []string) []string {
	t, nt, w, n := r.t, r.nt, r.w, r.w.n
	var outputs []string
	for i, depends := range r.depends {
		if in := nt.g.Inputs[w.in+i].Name; depends {
			outputs = append(outputs, nt.orZeros(nt.gradient(in), in))
		}
	}
	for i, name := range r.captured {
		sum := sums[i]
		if g := nt.gradient(name); g != "" {
			sum = nt.op("Add", sum, g)
		}
		outputs = append(outputs, sum)
	}
	var given []int // which elements get a gradient
	for k := range w.elements() {
		if in := nt.g.Inputs[w.in+w.states+k].Name; t.want(n, w.in+w.states+k) {
			given = append(given, k)
			outputs = append(outputs, nt.orZeros(nt.gradient(in), in))
			r.giveAxes = append(r.giveAxes, w.inAxes[k])
			r.gives = append(r.gives, way(!w.inReverse[k]))
		}
	}
	body := nt.leave(w.body.Name, slices.Concat(r.states, r.reads), outputs)
	attrs := graph.Attrs{"body": body, "num_scan_inputs": int64(len(r.elements)), "scan_input_axes": r.axes, "scan_input_directions": r.directions}
	if len(given) > 0 {
		attrs["scan_output_axes"], attrs["scan_output_directions"] = r.giveAxes, r.gives
	}
	outs := r.scan(attrs, len(outputs))
	dx := make([]string, len(n.Inputs))
	for i, depends := range r.depends {
		if depends {
			dx[w.in+i], outs = outs[0], outs[1:]
		}
	}
	for _, name := range r.captured {
		t.add(name, outs[0])
		outs = outs[1:]
	}
	for i, k := range given {
		dx[w.in+w.states+k] = outs[i]
	}
	return dx
}

// scan appends the Scan. A Loop may have made no step at all, which onnxruntime's Scan does not take: the states are the first ones then.
func (r *rewalk) scan(attrs graph.Attrs, outputs int) []string {
	t, n := r.t, r.w.n
	inputs := slices.Concat(r.first, r.elements)
	if n.OpType != "Loop" {
		return t.node(graph.OnnxDomain, "Scan", attrs, outputs, inputs...)
	}
	branch := func(what string, make func(b *builder) []string) *graph.Graph {
		b := t.inner(what)
		g := &graph.Graph{Name: b.name(what)}
		for _, out := range make(b) {
			g.Outputs = append(g.Outputs, graph.Value{Name: out, DType: t.dtype})
		}
		g.Nodes = b.nodes
		return g
	}
	some := branch("steps", func(b *builder) []string { return b.node(graph.OnnxDomain, "Scan", attrs, outputs, inputs...) })
	none := branch("none", func(b *builder) (same []string) {
		for _, first := range r.first {
			same = append(same, b.op("Identity", first))
		}
		return same
	})
	any := t.op("Greater", t.op("Size", r.elements[0]), t.constant(tensor.Scalar[int64](0)))
	return t.node(graph.OnnxDomain, "If", graph.Attrs{"then_branch": some, "else_branch": none}, outputs, any)
}
