package tensorflow

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// forms has what recognises cells see other ways of writing one as the same: in inner, not in the graph. Pieces that are cut out of a sum are a Split of it, hard sigmoids are
// Sigmoids, of which hard says that they are, and a Split of a Sigmoid is Sigmoids of a Split.
func (p *cell) forms() {
	p.cut()
	p.mask()
	p.harden()
	for _, n := range p.body.Nodes {
		if n.OpType != "Split" {
			continue
		}
		of := p.node(n.Inputs[0], "Sigmoid")
		if of == nil {
			continue
		}
		split := &graph.Node{OpType: "Split", Attrs: n.Attrs, Inputs: append([]string{of.Inputs[0]}, n.Inputs[1:]...)}
		for _, out := range n.Outputs {
			inside := out + "/before Sigmoid" // in no file
			split.Outputs = append(split.Outputs, inside)
			p.inner[inside] = split
			p.inner[out] = &graph.Node{OpType: "Sigmoid", Inputs: []string{inside}, Outputs: []string{out}}
		}
	}
}

// cut sees a Split in Slices of one value that cut its second axis of two into equal pieces.
func (p *cell) cut() {
	splits := map[string]*graph.Node{}
	for _, n := range p.body.Nodes {
		if n.OpType == "Split" {
			p.dropEmpty(n)
		}
		if n.OpType != "Slice" {
			continue
		}
		from := p.pass(n.Inputs[0])
		shape := p.named(from).shape
		start, ok1 := p.whole(n.Input(1))
		end, ok2 := p.whole(n.Input(2))
		axis, ok3 := p.whole(n.Input(3))
		step := int64(1)
		if n.Input(4) != "" {
			step, _ = p.whole(n.Input(4))
		}
		if len(shape) != 2 || !shape[1].Known() || !ok1 || !ok2 || !ok3 || axis != 1 && axis != -1 || step != 1 || start < 0 {
			continue
		}
		width := shape[1].Size
		if end = min(end, width); end < 0 {
			end += width
		}
		size := end - start
		if size <= 0 || width%size != 0 || start%size != 0 || width/size > 8 {
			continue
		}
		split := splits[from]
		if split == nil {
			split = &graph.Node{OpType: "Split", Attrs: graph.Attrs{"axis": int64(1)}, Inputs: []string{from}, Outputs: make([]string, width/size)}
			splits[from] = split
		}
		if at := start / size; int64(len(split.Outputs)) == width/size && split.Outputs[at] == "" {
			split.Outputs[at] = n.Outputs[0]
			p.inner[n.Outputs[0]] = split
		}
	}
}

// dropEmpty sees a Split without its pieces of length zero: Keras 2's GRU without reset_after has one.
func (p *cell) dropEmpty(n *graph.Node) {
	sizes := p.constants[n.Input(1)]
	if n.Input(1) == "" || sizes == nil || sizes.con == nil {
		return
	}
	all, ok := intsOf(sizes.con)
	if !ok || len(all) != len(n.Outputs) || !slices.Contains(all, 0) {
		return
	}
	split := &graph.Node{OpType: "Split", Attrs: n.Attrs, Inputs: n.Inputs[:1]}
	size := slices.Max(all)
	for i, out := range n.Outputs {
		switch all[i] {
		case size:
			split.Outputs = append(split.Outputs, out)
		case 0:
		default:
			return
		}
	}
	for _, out := range split.Outputs {
		p.inner[out] = split
	}
}

// whole returns a constant of one integer.
func (p *cell) whole(name string) (int64, bool) {
	v := p.constants[name]
	if v == nil || v.con == nil || v.con.Size() != 1 {
		return 0, false
	}
	all, ok := intsOf(v.con)
	return all[0], ok
}

// harden sees Sigmoids in hard sigmoids, where all are of the same line and no Sigmoid is there.
func (p *cell) harden() {
	lines := map[string]*graph.Node{}
	var line *[2]float32
	for _, n := range p.body.Nodes {
		if n.OpType == "Sigmoid" {
			return
		}
		for _, out := range n.Outputs {
			x, l, ok := p.hardSigmoid(out)
			if !ok {
				continue
			}
			if line != nil && *line != l {
				return
			}
			line = &l
			lines[out] = &graph.Node{OpType: "Sigmoid", Inputs: []string{x}, Outputs: []string{out}}
		}
	}
	p.hard = line
	for out, n := range lines {
		p.inner[out] = n
	}
}

// number returns a constant scalar.
func (p *cell) number(name string) (float64, bool) {
	shape, data := p.floats(name)
	if len(data) != 1 || len(shape) > 1 {
		return 0, false
	}
	return float64(data[0]), true
}

// beside returns what a node of two operands has beside a number.
func (p *cell) beside(n *graph.Node) (other string, number float64, ok bool) {
	for i := range 2 {
		if v, ok := p.number(n.Inputs[i]); ok {
			return n.Inputs[1-i], v, true
		}
	}
	return "", 0, false
}

// hardSigmoid matches min(max(x * a + b, 0), 1), which may be min(max(x + c, 0), d) / d.
func (p *cell) hardSigmoid(name string) (x string, line [2]float32, ok bool) {
	scale := 1.0
	if n := p.inner[p.pass(name)]; n != nil && (n.OpType == "Div" || n.OpType == "Mul") {
		other, v, ok := p.beside(n)
		if !ok || v <= 0 || n.OpType == "Div" && other != n.Inputs[0] {
			return "", line, false
		}
		if name, scale = other, v; n.OpType == "Div" {
			scale = 1 / v
		}
	}
	from, low, high, ok := p.held(name)
	sum := p.node(from, "Add")
	if !ok || low != 0 || math.Abs(high*scale-1) > 1e-6 || sum == nil {
		return "", line, false
	}
	x, b, ok := p.beside(sum)
	if !ok {
		return "", line, false
	}
	a := 1.0
	if n := p.node(x, "Mul"); n != nil {
		if other, v, ok := p.beside(n); ok && v > 0 {
			x, a = other, v
		}
	}
	return x, [2]float32{float32(a * scale), float32(b * scale)}, true
}

// held matches a value that is held between two numbers.
func (p *cell) held(name string) (x string, low, high float64, ok bool) {
	n := p.inner[p.pass(name)]
	if n == nil {
		return "", 0, 0, false
	}
	if n.OpType == "Clip" {
		low, ok1 := p.number(n.Input(1))
		high, ok2 := p.number(n.Input(2))
		return n.Inputs[0], low, high, ok1 && ok2
	}
	if n.OpType != "Min" && n.OpType != "Max" || len(n.Inputs) != 2 {
		return "", 0, 0, false
	}
	between, v, ok1 := p.beside(n)
	inner := p.inner[p.pass(between)]
	if !ok1 || inner == nil || len(inner.Inputs) != 2 || inner.OpType != map[string]string{"Min": "Max", "Max": "Min"}[n.OpType] {
		return "", 0, 0, false
	}
	x, w, ok2 := p.beside(inner)
	if n.OpType == "Min" {
		return x, w, v, ok2 && w < v
	}
	return x, v, w, ok2 && v < w
}

// activate says in the attributes of a recurrence that its Sigmoids are hard, where they are.
func (p *cell) activate(op string, attrs graph.Attrs) {
	if p.hard == nil {
		return
	}
	all := slices.Clone(attrs.Strings("activations", map[string][]string{"LSTM": {"Sigmoid", "Tanh", "Tanh"}, "GRU": {"Sigmoid", "Tanh"}}[op]))
	for i, f := range all {
		if f == "Sigmoid" {
			all[i] = "HardSigmoid"
			attrs["activation_alpha"], attrs["activation_beta"] = []float32{p.hard[0]}, []float32{p.hard[1]}
		}
	}
	attrs["activations"] = all
}

// peel takes from a gate what is added to its piece of the sum: a number, and the memory times a constant for each place, which is a peephole.
func (p *cell) peel(gate int, name string) string {
	memory := p.body.Inputs[2+p.memory].Name
	if gate == outputGate {
		memory = p.pass(p.body.Outputs[1+p.memory].Name)
	}
	for range 4 {
		add := p.node(name, "Add")
		if add == nil {
			break
		}
		rest := ""
		for i := range 2 {
			if v, ok := p.number(add.Inputs[i]); ok && p.plus[gate] == 0 {
				p.plus[gate], rest = float32(v), add.Inputs[1-i]
				break
			}
			if look := p.peephole(add.Inputs[i], memory); look != nil && p.peepholes[gate] == nil && gate != newMemory {
				p.peepholes[gate], rest = look, add.Inputs[1-i]
				break
			}
		}
		if rest == "" {
			break
		}
		name = rest
	}
	return name
}

// peephole matches the memory times a constant for each place.
func (p *cell) peephole(name, memory string) []float32 {
	n := p.node(name, "Mul")
	if n == nil {
		return nil
	}
	for i := range 2 {
		if shape, data := p.floats(n.Inputs[i]); len(shape) == 1 && len(data) > 0 && p.pass(n.Inputs[1-i]) == memory {
			return data
		}
	}
	return nil
}

// peepholeWeights are those of the input, output and forget gate, or nil where there are none.
func (p *cell) peepholeWeights() *tensor.Tensor {
	size, some := len(p.r), false
	all := make([]float32, 3*size)
	for gate := range 3 {
		if p.peepholes[gate] != nil {
			copy(all[gate*size:], p.peepholes[gate])
			some = true
		}
	}
	if !some {
		return nil
	}
	return tensor.Must(tensor.Of(all, 1, 3*size))
}
