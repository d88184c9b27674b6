package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Mode says how BatchNormalization and Dropout work in a training graph.
type Mode string

// The modes.
const (
	// AsWritten leaves every node as its file has it.
	AsWritten Mode = ""
	// Training has BatchNormalization use the batch's statistics, and update the running ones, and Dropout drop.
	Training Mode = "train"
	// Inference has BatchNormalization use the running statistics, and Dropout pass all.
	Inference Mode = "eval"
)

// Modes lists every Mode that has a name.
var Modes = []Mode{Training, Inference}

// Apply brings the nodes of a graph, those of subgraphs included, into the mode. It returns an error where somebody reads what there is in training alone.
func (m Mode) Apply(g *graph.Graph) error {
	if m == AsWritten {
		return nil
	}
	read := map[string]bool{}
	for _, v := range g.Outputs {
		read[v.Name] = true
	}
	graph.Walk(g.Nodes, func(n *graph.Node) {
		for _, in := range n.Inputs {
			read[in] = true
		}
		for _, sub := range n.Subgraphs() {
			for _, v := range sub.Outputs {
				read[v.Name] = true
			}
		}
	})
	var err error
	drops := false
	graph.Walk(g.Nodes, func(n *graph.Node) {
		switch op := n.Op(); {
		case op == "BatchNormalization" && m == Inference:
			for _, out := range n.Outputs[1:] {
				if out != "" && read[out] && err == nil {
					err = fmt.Errorf("%w: %s: its output %q is used, which there is in training alone", ErrOptions, nodeName(n), out)
				}
			}
			n.Outputs = n.Outputs[:1]
			delete(n.Attrs, "training_mode")
		case op == "BatchNormalization":
			if n.Attrs == nil {
				n.Attrs = graph.Attrs{}
			}
			n.Attrs["training_mode"] = int64(1)
		case op == "Dropout" && m == Inference:
			n.Inputs = n.Inputs[:min(2, len(n.Inputs))]
		case op == "Dropout":
			for len(n.Inputs) < 3 {
				n.Inputs = append(n.Inputs, "")
			}
			n.Inputs[2], drops = inTraining, true
		}
	})
	if drops {
		g.Initializers = append(g.Initializers, graph.Initializer{Name: inTraining, Tensor: tensor.Scalar(true)})
	}
	return err
}

// inTraining is the value that makes Dropout drop.
const inTraining = "gradient/training"
