package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// gruBefore are the weights of a GRU whose reset gate works on the hidden state, before it is multiplied.
type gruBefore struct {
	input, product *graph.Node // the Splits of x W + a, in three, and of hidden R + b, in two
	places         [3]int      // which pieces of the first are the update gate, the reset gate and what is new
	states         [2]int      // which pieces of the second are the update and the reset gate
	wBias, rBias   []float32
}

// isGRUBefore recognises
//
//	z = sigmoid(xz + hz),  r = sigmoid(xr + hr),  hidden' = z * hidden + (1 - z) * tanh(xh + (r * hidden) Rh)
//
// where xz, xr and xh are the thirds of x W + a, and hz and hr the halves of hidden R + b, in any order: Keras's GRU without reset_after.
func (p *cell) isGRUBefore() *gruBefore {
	for k := range len(p.loop.Inputs) - 2 {
		h := p.body.Inputs[2+k].Name
		z, fresh := p.mixed(k)
		made := p.node(fresh, "Tanh")
		if z == "" || made == nil {
			continue
		}
		r := &gruBefore{}
		gate, product, at := p.freshOf(made.Inputs[0], h, r)
		if gate == "" || !p.pair(z, 0, r) || !p.pair(gate, 1, r) {
			continue
		}
		r.places[2] = at
		if r.places[0] == r.places[1] || slices.Contains(r.places[:2], at) || r.states[0] == r.states[1] || !p.equal(r.input, 3) || !p.equal(r.product, 2) {
			continue
		}
		from, rows, bias := p.affine(r.product.Inputs[0])
		size := len(rows)
		if from != h || size == 0 || len(rows[0]) != 2*size || len(product) != size || len(product[0]) != size {
			continue
		}
		p.hidden, r.rBias, p.r = k, bias, nil
		for i, row := range rows {
			all := slices.Clone(row[r.states[0]*size : (r.states[0]+1)*size])
			all = append(all, row[r.states[1]*size:(r.states[1]+1)*size]...)
			p.r = append(p.r, append(all, product[i]...))
		}
		if p.x, p.w, r.wBias = p.affine(r.input.Inputs[0]); p.x == "" || len(p.w) == 0 || len(p.w[0]) != 3*size {
			continue
		}
		if p.goesThrough() && p.onlyHidden() {
			return r
		}
	}
	return nil
}

// mixed matches z * hidden + (1 - z) * fresh, where z is a Sigmoid, and returns what that is of, and fresh.
func (p *cell) mixed(k int) (z, fresh string) {
	h := p.body.Inputs[2+k].Name
	sum := p.node(p.body.Outputs[1+k].Name, "Add")
	if sum == nil {
		return "", ""
	}
	for i := range 8 {
		kept, other := p.node(sum.Inputs[i%2], "Mul"), p.node(sum.Inputs[1-i%2], "Mul")
		if kept == nil || other == nil {
			continue
		}
		j, l := i/2%2, i/4
		gate, rest := p.node(kept.Inputs[j], "Sigmoid"), p.node(other.Inputs[l], "Sub")
		if gate == nil || rest == nil || p.pass(kept.Inputs[1-j]) != h || p.pass(rest.Inputs[1]) != p.pass(kept.Inputs[j]) {
			continue
		}
		if _, one := p.floats(rest.Inputs[0]); len(one) == 1 && one[0] == 1 {
			return gate.Inputs[0], other.Inputs[1-l]
		}
	}
	return "", ""
}

// freshOf matches xh + (r * hidden) Rh, where r is a Sigmoid, and returns what that is of, the rows of Rh, and which piece of the input's sum xh is.
func (p *cell) freshOf(name, h string, r *gruBefore) (gate string, rows [][]float32, at int) {
	sum := p.node(name, "Add")
	if sum == nil {
		return "", nil, -1
	}
	for i := range 4 {
		x, place := p.piece(sum.Inputs[i%2])
		from, rows, bias := p.affine(sum.Inputs[1-i%2])
		reset := p.node(from, "Mul")
		if x == nil || len(x.Outputs) != 3 || reset == nil || bias != nil {
			continue
		}
		if g := p.node(reset.Inputs[i/2], "Sigmoid"); g != nil && p.pass(reset.Inputs[1-i/2]) == h {
			r.input = x
			return g.Inputs[0], rows, place
		}
	}
	return "", nil, -1
}

// pair matches a gate: the sum of a piece of the input's and one of the hidden state's.
func (p *cell) pair(name string, gate int, r *gruBefore) bool {
	sum := p.node(name, "Add")
	if sum == nil {
		return false
	}
	for i := range 2 {
		a, place := p.piece(sum.Inputs[i])
		b, state := p.piece(sum.Inputs[1-i])
		if a != nil && a == r.input && b != nil && len(b.Outputs) == 2 && (r.product == nil || r.product == b) {
			r.product, r.places[gate], r.states[gate] = b, place, state
			return true
		}
	}
	return false
}

// gruBefore writes the node.
func (p *cell) gruBefore(g *graph.Graph, r *gruBefore) []*graph.Node {
	size := len(p.r)
	bias := make([]float32, 6*size)
	for gate, place := range r.places {
		if r.wBias != nil {
			copy(bias[gate*size:], r.wBias[place*size:(place+1)*size])
		}
		if r.rBias != nil && gate < 2 {
			copy(bias[(3+gate)*size:], r.rBias[r.states[gate]*size:(r.states[gate]+1)*size])
		}
	}
	return p.write(g, "GRU", graph.Attrs{"hidden_size": int64(size)}, stacked(p.w, r.places[:], size), stacked(p.r, []int{0, 1, 2}, size), tensor.Must(tensor.Of(bias, 1, 6*size)))
}
