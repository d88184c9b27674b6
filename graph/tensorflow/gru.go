package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// gruParts are the weights of a GRU whose reset gate works on the product of the hidden state.
type gruParts struct {
	pieces         []int // which thirds are the update gate, the reset gate and what is new
	wBias, rBias   []float32
	input, product *graph.Node // the Splits of the two sums
}

// isGRU recognises
//
//	z = sigmoid(xz + hz),  r = sigmoid(xr + hr),  hidden' = z * hidden + (1 - z) * tanh(xh + r * hh)
//
// where xz, xr and xh are the thirds of x W + a, in any order, and hz, hr and hh those of hidden R + b: Keras's GRU with reset_after.
func (p *cell) isGRU() *gruParts {
	for k := range len(p.loop.Inputs) - 2 {
		r := &gruParts{pieces: []int{-1, -1, -1}}
		if !p.updates(k, r) || slices.Contains(r.pieces, -1) || r.pieces[0] == r.pieces[1] || r.pieces[0] == r.pieces[2] || r.pieces[1] == r.pieces[2] {
			continue
		}
		from, rows, bias := p.affine(r.product.Inputs[0])
		if from == "" || from != p.body.Inputs[2+k].Name || len(rows) == 0 || len(rows[0]) != 3*len(rows) {
			continue
		}
		p.hidden, p.r, r.rBias = k, rows, bias
		if p.x, p.w, r.wBias = p.affine(r.input.Inputs[0]); p.x == "" || len(p.w) == 0 || len(p.w[0]) != 3*len(p.r) || !p.equal(r.input, 3) || !p.equal(r.product, 3) {
			continue
		}
		if p.goesThrough() && p.onlyHidden() {
			return r
		}
	}
	return nil
}

// updates matches what becomes of a state, from its end.
func (p *cell) updates(k int, r *gruParts) bool {
	h := p.body.Inputs[2+k].Name
	sum := p.node(p.body.Outputs[1+k].Name, "Add")
	if sum == nil {
		return false
	}
	for i := range 2 {
		kept, fresh := p.node(sum.Inputs[i], "Mul"), p.node(sum.Inputs[1-i], "Mul")
		if kept == nil || fresh == nil {
			continue
		}
		for j := range 4 {
			gate := p.node(kept.Inputs[j%2], "Sigmoid")
			rest, made := p.node(fresh.Inputs[j/2], "Sub"), p.node(fresh.Inputs[1-j/2], "Tanh")
			if gate == nil || rest == nil || made == nil || p.pass(kept.Inputs[1-j%2]) != h || p.pass(rest.Inputs[1]) != p.pass(kept.Inputs[j%2]) {
				continue
			}
			if _, one := p.floats(rest.Inputs[0]); len(one) != 1 || one[0] != 1 {
				continue
			}
			return p.gate(gate.Inputs[0], 0, r) && p.candidate(made.Inputs[0], r)
		}
	}
	return false
}

// piece returns which output of a Split a value is.
func (p *cell) piece(name string) (*graph.Node, int) {
	n := p.node(name, "Split")
	if n == nil {
		return nil, -1
	}
	return n, slices.Index(n.Outputs, p.pass(name))
}

// gate matches the sum of two pieces, that of the product of x and that of the hidden state in either order.
func (p *cell) gate(name string, place int, r *gruParts) bool {
	sum := p.node(name, "Add")
	if sum == nil {
		return false
	}
	a, i := p.piece(sum.Inputs[0])
	b, j := p.piece(sum.Inputs[1])
	if a == nil || b == nil || a == b || i != j {
		return false
	}
	if r.input == nil { // the candidate says which is which
		r.input, r.product = a, b
	}
	r.pieces[place] = i
	return a == r.input && b == r.product || a == r.product && b == r.input
}

// candidate matches what is new: xh + r * hh.
func (p *cell) candidate(name string, r *gruParts) bool {
	sum := p.node(name, "Add")
	if sum == nil {
		return false
	}
	for i := range 2 {
		x, at := p.piece(sum.Inputs[i])
		reset := p.node(sum.Inputs[1-i], "Mul")
		if x == nil || reset == nil {
			continue
		}
		for j := range 2 {
			gate := p.node(reset.Inputs[j], "Sigmoid")
			product, at2 := p.piece(reset.Inputs[1-j])
			if gate == nil || product == nil || at != at2 || x == product || x != r.input && x != r.product || product != r.input && product != r.product {
				continue
			}
			r.input, r.product, r.pieces[2] = x, product, at
			return p.gate(gate.Inputs[0], 1, r)
		}
	}
	return false
}

// equal reports whether a Split makes so many equal pieces of the last axis of two.
func (p *cell) equal(n *graph.Node, count int) bool {
	if axis := n.Attrs.Int("axis", 0); len(n.Outputs) != count || axis != 1 && axis != -1 {
		return false
	}
	if n.Input(1) == "" {
		return true
	}
	sizes := p.constants[n.Input(1)]
	if sizes == nil || sizes.con == nil {
		return false
	}
	all, _ := intsOf(sizes.con)
	return len(all) == count && slices.Min(all) == slices.Max(all)
}

// affine matches a product with a constant, to which a constant may be added.
func (p *cell) affine(name string) (from string, rows [][]float32, bias []float32) {
	if sum := p.node(name, "Add"); sum != nil {
		for i := range 2 {
			shape, data := p.floats(sum.Inputs[i])
			if n := len(shape); data != nil && (n == 1 || n == 2 && shape[0] == 1) {
				name, bias = sum.Inputs[1-i], data
				break
			}
		}
	}
	n := p.node(name, "MatMul")
	if n == nil {
		return "", nil, nil
	}
	shape, data := p.floats(n.Inputs[1])
	if len(shape) != 2 || bias != nil && len(bias) != shape[1] {
		return "", nil, nil
	}
	for i := range shape[0] {
		rows = append(rows, data[i*shape[1]:(i+1)*shape[1]])
	}
	return p.pass(n.Inputs[0]), rows, bias
}

// gru writes the node. ONNX's gates are update, reset and what is new.
func (p *cell) gru(g *graph.Graph, r *gruParts) []*graph.Node {
	size := len(p.r)
	bias := make([]float32, 6*size)
	for half, b := range [][]float32{r.wBias, r.rBias} {
		for gate, piece := range r.pieces {
			if b != nil {
				copy(bias[(3*half+gate)*size:], b[piece*size:(piece+1)*size])
			}
		}
	}
	attrs := graph.Attrs{"hidden_size": int64(size), "linear_before_reset": int64(1)}
	return p.write(g, "GRU", attrs, stacked(p.w, r.pieces, size), stacked(p.r, r.pieces, size), tensor.Must(tensor.Of(bias, 1, 6*size)))
}
