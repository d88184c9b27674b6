package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// rnnActivations are what a simple recurrence may be of. Those with a parameter, and what may be without bound, stay a loop.
var rnnActivations = []string{"Tanh", "Relu", "Sigmoid"}

// isRNN recognises
//
//	hidden' = f(x W + hidden R + b)
//
// or f(concat(x, hidden) K + b), where f is one of rnnActivations and x is the step's row of a tensor, as in isLSTM. It returns f, or "".
func (p *cell) isRNN() string {
	for k := range len(p.loop.Inputs) - 2 {
		for _, f := range rnnActivations {
			n := p.node(p.body.Outputs[1+k].Name, f)
			if n == nil || !p.terms(k, n.Inputs[0], 1) || len(p.r) == 0 || len(p.w) == 0 || len(p.r[0]) != len(p.r) || len(p.w[0]) != len(p.r) {
				continue
			}
			if p.hidden = k; p.goesThrough() && p.onlyHidden() {
				return f
			}
		}
	}
	return ""
}

// rnn writes the node.
func (p *cell) rnn(g *graph.Graph, f string) []*graph.Node {
	size := len(p.r)
	bias := make([]float32, 2*size)
	copy(bias, p.bias)
	attrs := graph.Attrs{"hidden_size": int64(size), "activations": []string{f}}
	one := []int{0}
	return p.write(g, "RNN", attrs, stacked(p.w, one, size), stacked(p.r, one, size), tensor.Must(tensor.Of(bias, 1, 2*size)))
}
