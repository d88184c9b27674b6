package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// recognize puts one node in the place of each loop that is a recurrence which ONNX has.
func (c *converter) recognize(g *graph.Graph) {
	made := map[string]*graph.Node{}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			made[out] = n
		}
	}
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		if n.OpType == "Loop" {
			if p := c.cell(n, made); p != nil && p.isLSTM() {
				nodes = append(nodes, p.lstm(g)...)
				continue
			}
			if p := c.cell(n, made); p != nil {
				if r := p.isGRU(); r != nil {
					nodes = append(nodes, p.gru(g, r)...)
					continue
				}
			}
			if p := c.cell(n, made); p != nil {
				if r := p.isGRUBefore(); r != nil {
					nodes = append(nodes, p.gruBefore(g, r)...)
					continue
				}
			}
			if p := c.cell(n, made); p != nil {
				if r := p.isGRUCell(); r != nil {
					nodes = append(nodes, p.gruBefore(g, r)...)
					continue
				}
			}
			if p := c.cell(n, made); p != nil {
				if f := p.isRNN(); f != "" {
					nodes = append(nodes, p.rnn(g, f)...)
					continue
				}
			}
		}
		nodes = append(nodes, n)
	}
	g.Nodes = nodes
}

// A cell is the body of a loop that goes through a tensor step by step.
type cell struct {
	*converter
	loop  *graph.Node
	body  *graph.Graph
	outer map[string]*graph.Node
	inner map[string]*graph.Node

	hidden, memory int         // which states they are
	x              string      // what it goes through, [steps, batch, width]
	pieces         [4]int      // which pieces of the sum are the gates: input, output, forget, and what is new
	plus           [4]float32  // what is added to a piece
	w, r           [][]float32 // by row: weights of the input and of the hidden state
	bias           []float32
	peepholes      [4][]float32      // what the memory is multiplied with in a gate
	lengths        string            // of the rows, where steps behind them do nothing
	masks          map[string]string // what stands for a value behind its row's length
	hard           *[2]float32       // the line that a Sigmoid is of, where they are hard sigmoids
}

const (
	inputGate = iota
	outputGate
	forgetGate
	newMemory
)

// cell prepares the body of a counted loop.
func (c *converter) cell(n *graph.Node, outer map[string]*graph.Node) *cell {
	body := n.Attrs.Graph("body")
	p := &cell{converter: c, loop: n, body: body, outer: outer, inner: map[string]*graph.Node{}, hidden: -1, memory: -1}
	if n.Inputs[0] == "" || n.Inputs[1] != "" {
		return nil
	}
	for _, in := range body.Nodes {
		for _, out := range in.Outputs {
			p.inner[out] = in
		}
	}
	p.forms()
	return p
}

// isLSTM recognises
//
//	memory' = sigmoid(f) * memory + sigmoid(i) * tanh(g),   hidden' = sigmoid(o) * tanh(memory')
//
// where to i and f the memory times a constant may be added, and to o memory' times one (peepholes), and f, i, g and o are the quarters of x W + hidden R + b, in any order, or of concat(x, hidden) K + b; x is the step's row of a tensor that the loop goes
// through from its begin to its end. What the loop collects is hidden'.
func (p *cell) isLSTM() bool {
	n, body := p.loop, p.body
	var gates [4]string
	states := len(n.Inputs) - 2
	for k := range states {
		if p.memoryOf(k, &gates) {
			p.memory = k
		}
	}
	if p.memory < 0 {
		return false
	}
	next := p.pass(body.Outputs[1+p.memory].Name)
	for k := range states {
		if a, b, ok := p.both(body.Outputs[1+k].Name, "Mul", "Sigmoid", "Tanh"); ok && p.pass(b) == next {
			gates[outputGate] = a
			if p.hidden < 0 && p.sums(k, gates) {
				p.hidden = k
			}
		}
	}
	if p.hidden < 0 || !p.goesThrough() {
		return false
	}
	return p.onlyHidden()
}

// onlyHidden reports whether the loop gives nothing but its memory and its hidden state.
func (p *cell) onlyHidden() bool {
	n, states := p.loop, len(p.loop.Inputs)-2
	// What else comes out has to be the hidden state too. A state that is never read is what was written last: where there was no step, that is zero.
	steps := p.named(p.x).shape[0]
	for k, out := range p.body.Outputs[1:] {
		if k == p.memory || k == p.hidden {
			continue
		}
		if p.pass(out.Name) != p.pass(p.body.Outputs[1+p.hidden].Name) {
			return false
		}
		if k < states && steps.Size < 1 && !p.zero(n.Inputs[2+p.hidden]) {
			return false
		}
	}
	return p.masked()
}

// pass goes back through what only passes a value on.
func (p *cell) pass(name string) string {
	for n := p.inner[name]; n != nil && n.OpType == "Identity"; n = p.inner[name] {
		name = n.Inputs[0]
	}
	return name
}

func (p *cell) node(name, op string) *graph.Node {
	if n := p.inner[p.pass(name)]; n != nil && n.OpType == op {
		return n
	}
	return nil
}

// both matches a node of two operands that are these operators, in either order, and returns what those take.
func (p *cell) both(name, op, first, second string) (a, b string, ok bool) {
	n := p.node(name, op)
	if n == nil {
		return "", "", false
	}
	for i := range 2 {
		x, y := p.node(n.Inputs[i], first), p.node(n.Inputs[1-i], second)
		if x != nil && y != nil {
			return x.Inputs[0], y.Inputs[0], true
		}
	}
	return "", "", false
}

// memoryOf reports whether a state is the memory, and notes three of the gates.
func (p *cell) memoryOf(k int, gates *[4]string) bool {
	n := p.node(p.body.Outputs[1+k].Name, "Add")
	if n == nil {
		return false
	}
	for i := range 2 {
		kept := p.node(n.Inputs[i], "Mul")
		in, fresh, ok := p.both(n.Inputs[1-i], "Mul", "Sigmoid", "Tanh")
		if kept == nil || !ok {
			continue
		}
		for j := range 2 {
			if f := p.node(kept.Inputs[j], "Sigmoid"); f != nil && p.pass(kept.Inputs[1-j]) == p.body.Inputs[2+k].Name {
				gates[inputGate], gates[newMemory], gates[forgetGate] = in, fresh, f.Inputs[0]
				return true
			}
		}
	}
	return false
}

// floats returns a constant of float32.
func (p *cell) floats(name string) (tensor.Shape, []float32) {
	v := p.constants[p.pass(name)]
	if v == nil || v.con == nil || v.con.DType() != tensor.Float32 {
		return nil, nil
	}
	return v.con.Shape(), tensor.Data[float32](v.con)
}

// sums matches the gates as the pieces of one sum, in which state k is the hidden one.
func (p *cell) sums(k int, gates [4]string) bool {
	var split *graph.Node
	p.plus, p.peepholes = [4]float32{}, [4][]float32{}
	for g, name := range gates {
		name = p.peel(g, name)
		n := p.node(name, "Split")
		if n == nil || split != nil && n != split || len(n.Outputs) != 4 {
			return false
		}
		split = n
		p.pieces[g] = slices.Index(n.Outputs, p.pass(name))
	}
	seen := [4]bool{}
	for _, i := range p.pieces {
		if seen[i] {
			return false
		}
		seen[i] = true
	}
	if axis := split.Attrs.Int("axis", 0); axis != 1 && axis != -1 {
		return false
	}
	if sizes := p.constants[split.Input(1)]; split.Input(1) != "" {
		if sizes == nil || sizes.con == nil {
			return false
		}
		if all, _ := intsOf(sizes.con); len(all) != 4 || slices.Min(all) != slices.Max(all) {
			return false
		}
	}
	if !p.terms(k, split.Inputs[0], 4) || len(p.r) == 0 || len(p.w) == 0 || len(p.r[0]) != 4*len(p.r) || len(p.w[0]) != len(p.r[0]) {
		return false
	}
	return !slices.ContainsFunc(p.peepholes[:], func(look []float32) bool { return look != nil && len(look) != len(p.r) })
}

// terms takes a sum of that many gates apart: products of the input and of the hidden state with constants, and constants.
func (p *cell) terms(k int, sum string, gates int) bool {
	p.x, p.w, p.r, p.bias = "", nil, nil, nil
	hidden := p.body.Inputs[2+k].Name
	queue := []string{sum}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if shape, data := p.floats(name); data != nil {
			if len(shape) != 1 || p.bias != nil {
				return false
			}
			p.bias = data
			continue
		}
		if n := p.node(name, "Add"); n != nil && len(queue) < 8 {
			queue = append(queue, n.Inputs...)
			continue
		}
		n := p.node(name, "MatMul")
		if n == nil {
			return false
		}
		shape, data := p.floats(n.Inputs[1])
		if len(shape) != 2 {
			return false
		}
		rows := make([][]float32, shape[0])
		for i := range rows {
			rows[i] = data[i*shape[1] : (i+1)*shape[1]]
		}
		from := p.pass(n.Inputs[0])
		switch concat := p.node(from, "Concat"); {
		case from == hidden && p.r == nil:
			p.r = rows
		case concat != nil && len(concat.Inputs) == 2 && p.pass(concat.Inputs[1]) == hidden && p.x == "" && p.r == nil && (concat.Attrs.Int("axis", 0) == 1 || concat.Attrs.Int("axis", 0) == -1):
			own := shape[1] / gates
			if own < 1 || own >= len(rows) {
				return false
			}
			p.x, p.w, p.r = concat.Inputs[0], rows[:len(rows)-own], rows[len(rows)-own:]
		case p.x == "" && concat == nil:
			p.x, p.w = from, rows
		default:
			return false
		}
	}
	return p.x != "" && (p.bias == nil || len(p.bias) == gates*len(p.r))
}

// goesThrough reports whether the input of each step is the step's row of a tensor, all of whose rows are gone through.
func (p *cell) goesThrough() bool {
	n := p.node(p.x, "Gather")
	if n == nil || n.Attrs.Int("axis", 0) != 0 || p.inner[n.Inputs[0]] != nil {
		return false
	}
	if !p.isStep(n.Inputs[1]) || slices.ContainsFunc(p.body.Inputs, func(v graph.Value) bool { return v.Name == n.Inputs[0] }) {
		return false
	}
	x := p.named(n.Inputs[0])
	if x.dtype != tensor.Float32 || len(x.shape) != 3 || x.shape[2].Size != int64(len(p.w)) || p.lengths == "" && !p.isLength(p.loop.Inputs[0], x.shape[0], 8) {
		return false
	}
	p.x = n.Inputs[0]
	return true
}

// isLength reports whether a count is known to be a length, by so many nodes before it.
func (p *cell) isLength(name string, d graph.Dim, depth int) bool {
	if e := p.step.Elements(name); len(e) == 1 {
		if e[0].Known {
			return d.Known() && e[0].Value == d.Size
		}
		if e[0].Symbol != "" {
			return e[0].Symbol == d.Symbol
		}
	}
	n := p.outer[name]
	switch {
	case n == nil || depth == 0:
		return false
	case n.OpType == "Cast" || n.OpType == "Identity":
		return p.isLength(n.Inputs[0], d, depth-1)
	case n.OpType == "Min":
		return !slices.ContainsFunc(n.Inputs, func(in string) bool { return !p.isLength(in, d, depth-1) })
	}
	return false
}

// zero reports whether a value outside of the loop is zero everywhere.
func (p *cell) zero(name string) bool {
	if n := p.outer[name]; n != nil && (n.OpType == "Expand" || n.OpType == "Identity") {
		name = n.Inputs[0]
	}
	v := p.constants[name]
	if v == nil || v.con == nil || v.con.DType() != tensor.Float32 {
		return false
	}
	return !slices.ContainsFunc(tensor.Data[float32](v.con), func(x float32) bool { return x != 0 })
}

// lstm writes the node. ONNX's gates are input, output, forget and new memory, each with its weights by row.
func (p *cell) lstm(g *graph.Graph) []*graph.Node {
	size := len(p.r)
	bias := make([]float32, 8*size)
	for gate, piece := range p.pieces {
		for i := range size {
			b := p.plus[gate]
			if p.bias != nil {
				b += p.bias[piece*size+i]
			}
			bias[gate*size+i] = b
		}
	}
	w, r := stacked(p.w, p.pieces[:], size), stacked(p.r, p.pieces[:], size)
	return p.write(g, "LSTM", graph.Attrs{"hidden_size": int64(size)}, w, r, tensor.Must(tensor.Of(bias, 1, 8*size)))
}

// stacked has the weights of each gate by row, one gate under the other.
func stacked(rows [][]float32, pieces []int, size int) *tensor.Tensor {
	data := make([]float32, 0, len(pieces)*size*len(rows))
	for _, piece := range pieces {
		for i := range size {
			for _, row := range rows {
				data = append(data, row[piece*size+i])
			}
		}
	}
	return tensor.Must(tensor.Of(data, 1, len(pieces)*size, len(rows)))
}

// write puts the operator in the place of the loop.
func (p *cell) write(g *graph.Graph, op string, attrs graph.Attrs, w, r, b *tensor.Tensor) []*graph.Node {
	constant := func(what string, t *tensor.Tensor) string {
		name := p.unique(p.loop.Name + "/" + what)
		g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: t})
		return name
	}
	p.activate(op, attrs)
	n := &graph.Node{Name: p.unique(p.loop.Name + "/" + op), OpType: op, Attrs: attrs}
	n.Inputs = []string{p.x, constant("W", w), constant("R", r), constant("B", b)}
	first, second := constant("axis", tensor.Vector[int64](0)), constant("axis", tensor.Vector[int64](1))
	var before, after []*graph.Node
	start := []string{p.loop.Inputs[2+p.hidden]}
	if p.memory >= 0 {
		start = append(start, p.loop.Inputs[2+p.memory])
	}
	if slices.ContainsFunc(start, func(name string) bool { return !p.zero(name) }) {
		n.Inputs = append(n.Inputs, "")
		for _, name := range start {
			wide := p.unique(name + "/Unsqueeze")
			before = append(before, &graph.Node{Name: wide, OpType: "Unsqueeze", Inputs: []string{name, first}, Outputs: []string{wide}})
			n.Inputs = append(n.Inputs, wide)
		}
	}
	if p.lengths != "" { // where states begin with zero, so that there is no input for them yet
		name, nodes := p.limit(constant)
		before = append(before, nodes...)
		n.Inputs = append(n.Inputs, name)
	}
	if look := p.peepholeWeights(); look != nil {
		for len(n.Inputs) < 7 {
			n.Inputs = append(n.Inputs, "")
		}
		n.Inputs = append(n.Inputs, constant("P", look))
	}
	n.Outputs = []string{"", "", ""}
	for k, out := range p.loop.Outputs {
		place, axis := 1, first
		switch {
		case k == p.memory:
			place = 2
		case k >= len(p.loop.Inputs)-2:
			place, axis = 0, second
		}
		if n.Outputs[place] == "" {
			n.Outputs[place] = p.unique(n.Name + []string{"/Y", "/Y_h", "/Y_c"}[place])
		}
		from := n.Outputs[place]
		if place == 0 {
			var nodes []*graph.Node
			from, nodes = p.turns(from, constant)
			after = append(after, nodes...)
		}
		after = append(after, &graph.Node{Name: out, OpType: "Squeeze", Inputs: []string{from, axis}, Outputs: []string{out}})
	}
	for len(n.Outputs) > 1 && n.Outputs[len(n.Outputs)-1] == "" {
		n.Outputs = n.Outputs[:len(n.Outputs)-1]
	}
	return append(append(before, n), after...)
}
