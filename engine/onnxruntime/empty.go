//go:build cgo

package onnxruntime

import (
	"fmt"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// fatalEmpty are the operators that end the process (SIGABRT, SIGFPE) in version 1.30 on the processor where an axis has no length: a recurrence of no rows, a product of matrices in an Einsum, the largest of no rows.
var fatalEmpty = map[string]bool{"Einsum": true, "GRU": true, "LSTM": true, "TopK": true}

// fatal returns what to call the first node of a graph, its functions and subgraphs that ends the process where an axis has no length; "" where there is none.
func fatal(g *graph.Graph) (name string) {
	look := func(n *graph.Node) {
		if name == "" && n.Domain == graph.OnnxDomain && fatalEmpty[n.OpType] {
			name = fmt.Sprintf("node %q (%s)", n.Name, n.OpType)
		}
	}
	graph.Walk(g.Nodes, look)
	for _, f := range g.Functions {
		graph.Walk(f.Nodes, look)
	}
	return name
}

// checkEmpty refuses inputs of no elements where they may end the process. What becomes empty only within the graph it does not see.
func (s *Session) checkEmpty(in []*tensor.Tensor) error {
	if s.fatal == "" {
		return nil
	}
	for i, t := range in {
		if t.Size() == 0 {
			return fmt.Errorf("%w: input %q of shape %v has no elements, on which onnxruntime may end the process in %s; the engine native takes it", engine.ErrInput, s.inputs[i].Name, t.Shape(), s.fatal)
		}
	}
	return nil
}
