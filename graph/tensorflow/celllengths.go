package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// mask sees through what TensorFlow 1's dynamic_rnn does with the lengths of its rows: where the step is not before a row's length, states stay as they were, and what is
// collected is zero. masked holds that this is so of all of them.
func (p *cell) mask() {
	masks, lengths := map[string]string{}, ""
	for _, n := range p.body.Nodes {
		if n.OpType != "Where" {
			continue
		}
		of := p.lengthsOf(n.Inputs[0])
		if of == "" || lengths != "" && of != lengths {
			return
		}
		lengths, masks[n.Outputs[0]] = of, p.pass(n.Inputs[1])
	}
	p.lengths, p.masks = lengths, masks
	for _, n := range p.body.Nodes {
		if n.OpType == "Where" {
			p.inner[n.Outputs[0]] = &graph.Node{OpType: "Identity", Inputs: []string{n.Inputs[2]}, Outputs: n.Outputs}
		}
	}
}

// lengthsOf returns the lengths where a condition is that the step is not before them.
func (p *cell) lengthsOf(name string) string {
	wide := p.node(name, "Unsqueeze")
	if wide == nil {
		return ""
	}
	if axis, ok := p.whole(wide.Input(1)); !ok || axis != 1 && axis != -1 {
		return ""
	}
	n := p.node(wide.Inputs[0], "GreaterOrEqual")
	if n == nil || !p.isStep(n.Inputs[0]) || p.inner[n.Inputs[1]] != nil {
		return ""
	}
	for _, v := range p.body.Inputs {
		if v.Name == n.Inputs[1] {
			return ""
		}
	}
	if v := p.named(n.Inputs[1]); len(v.shape) == 1 && (v.dtype == tensor.Int32 || v.dtype == tensor.Int64) {
		return n.Inputs[1]
	}
	return ""
}

// isStep reports whether a value is the number of the iteration.
func (p *cell) isStep(name string) bool {
	at := p.pass(name)
	if cast := p.inner[at]; cast != nil && cast.OpType == "Cast" {
		at = p.pass(cast.Inputs[0])
	}
	return at == p.body.Inputs[0].Name
}

// masked reports whether lengths do to the states and to what is collected what they do in ONNX. States begin with zero: what a row of no steps gives is its
// start in TensorFlow, and zero in some engines.
func (p *cell) masked() bool {
	if p.lengths == "" {
		return true
	}
	states := len(p.loop.Inputs) - 2
	for k, out := range p.body.Outputs[1:] {
		name := out.Name
		for p.masks[name] == "" && p.inner[name] != nil && p.inner[name].OpType == "Identity" {
			name = p.inner[name].Inputs[0]
		}
		kept := p.masks[name]
		switch {
		case kept == "":
			return false
		case k == p.memory || k == p.hidden:
			if kept != p.body.Inputs[2+k].Name || !p.zero(p.loop.Inputs[2+k]) {
				return false
			}
		case k < states || !p.zero(kept):
			return false
		}
	}
	return true
}

// limit writes the lengths as ONNX takes them, from none to as many as the loop has turns, and returns their name with the nodes that make them.
func (p *cell) limit(constant func(what string, t *tensor.Tensor) string) (string, []*graph.Node) {
	var nodes []*graph.Node
	add := func(op string, attrs graph.Attrs, inputs ...string) string {
		name := p.unique(p.loop.Name + "/lengths/" + op)
		nodes = append(nodes, &graph.Node{Name: name, OpType: op, Attrs: attrs, Inputs: inputs, Outputs: []string{name}})
		return name
	}
	name := p.lengths
	if p.named(name).dtype != tensor.Int64 {
		name = add("Cast", graph.Attrs{"to": int64(tensor.Int64)}, name)
	}
	name = add("Max", nil, add("Min", nil, name, p.loop.Inputs[0]), constant("none", tensor.Scalar[int64](0)))
	return add("Cast", graph.Attrs{"to": int64(tensor.Int32)}, name), nodes
}

// turns cuts what an operator gives of each step to as many steps as the loop has turns, where that may be fewer.
func (p *cell) turns(name string, constant func(what string, t *tensor.Tensor) string) (string, []*graph.Node) {
	if p.lengths == "" || p.isLength(p.loop.Inputs[0], p.named(p.x).shape[0], 8) {
		return name, nil
	}
	end, cut := p.unique(name+"/turns"), p.unique(name+"/cut")
	first := constant("first", tensor.Vector[int64](0))
	return cut, []*graph.Node{
		{Name: end, OpType: "Unsqueeze", Inputs: []string{p.loop.Inputs[0], first}, Outputs: []string{end}},
		{Name: cut, OpType: "Slice", Inputs: []string{name, first, end, first}, Outputs: []string{cut}},
	}
}
