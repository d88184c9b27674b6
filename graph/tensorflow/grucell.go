package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// isGRUCell recognises
//
//	r, z = sigmoid(concat(x, hidden) K + b) in two,  hidden' = z * hidden + (1 - z) * tanh(concat(x, r * hidden) C + c)
//
// which is TensorFlow 1's GRUCell.
func (p *cell) isGRUCell() *gruBefore {
	for k := range len(p.loop.Inputs) - 2 {
		h := p.body.Inputs[2+k].Name
		z, fresh := p.mixed(k)
		made := p.node(fresh, "Tanh")
		split, update := p.piece(z)
		if z == "" || made == nil || split == nil || !p.equal(split, 2) {
			continue
		}
		from, inner, innerBias := p.affine(made.Inputs[0])
		x, product := p.sides(from)
		reset := p.resets(product, h, split)
		from, gates, gatesBias := p.affine(split.Inputs[0])
		same, state := p.sides(from)
		if reset < 0 || reset == update || x == "" || x != same || state != h || len(inner) != len(gates) || len(inner) == 0 {
			continue
		}
		size := len(inner[0])
		own := len(inner) - size
		if own < 1 || len(gates[0]) != 2*size {
			continue
		}
		r := &gruBefore{places: [3]int{0, 1, 2}}
		p.w, p.r = nil, nil
		for i, row := range gates {
			all := slices.Concat(row[update*size:(update+1)*size], row[reset*size:(reset+1)*size], inner[i])
			if i < own {
				p.w = append(p.w, all)
			} else {
				p.r = append(p.r, all)
			}
		}
		r.wBias = make([]float32, 3*size)
		if gatesBias != nil {
			copy(r.wBias, gatesBias[update*size:(update+1)*size])
			copy(r.wBias[size:], gatesBias[reset*size:(reset+1)*size])
		}
		copy(r.wBias[2*size:], innerBias)
		if p.hidden, p.x = k, x; p.goesThrough() && p.onlyHidden() {
			return r
		}
	}
	return nil
}

// sides returns the two values that are side by side.
func (p *cell) sides(name string) (first, second string) {
	n := p.node(name, "Concat")
	if n == nil || len(n.Inputs) != 2 || n.Attrs.Int("axis", 0) != 1 && n.Attrs.Int("axis", 0) != -1 {
		return "", ""
	}
	return p.pass(n.Inputs[0]), p.pass(n.Inputs[1])
}

// resets matches the hidden state times a Sigmoid of a piece of a Split, and returns which piece, or -1.
func (p *cell) resets(name, h string, split *graph.Node) int {
	n := p.node(name, "Mul")
	if n == nil {
		return -1
	}
	for i := range 2 {
		gate := p.node(n.Inputs[i], "Sigmoid")
		if gate == nil || p.pass(n.Inputs[1-i]) != h {
			continue
		}
		if from, at := p.piece(gate.Inputs[0]); from == split {
			return at
		}
	}
	return -1
}
