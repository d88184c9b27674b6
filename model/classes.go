package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Scores says where a classifier's scores are and how they become probabilities.
type Scores struct {
	Output int    // position among the outputs
	Kind   string // "probabilities", "logits" or "log_probabilities"
}

// Scores finds the output that has one number a label, and what these numbers are. ok is false where the model has
// no labels, and err says that it has labels but no such output.
func (m *Model) Scores() (s Scores, ok bool, err error) {
	if len(m.Labels) == 0 {
		return Scores{}, false, nil
	}
	for i, v := range m.Outputs() {
		if !v.DType.IsFloat() || v.Shape != nil && !endsIn(v.Shape, len(m.Labels)) {
			continue
		}
		kind := m.Output
		if kind == "" || kind == "auto" {
			kind = m.kindOf(v.Name)
		}
		return Scores{Output: i, Kind: kind}, true, nil
	}
	return Scores{}, false, fmt.Errorf("%w: there are %d labels, and no output (%s) with as many numbers an item", ErrInvalid, len(m.Labels), list(m.Outputs()))
}

func endsIn(s graph.Shape, n int) bool {
	if len(s) == 0 {
		return false
	}
	last := s[len(s)-1]
	return !last.Known() || last.Size == int64(n)
}

// kindOf follows value back through operators that do not change numbers to the one that computes them.
func (m *Model) kindOf(value string) string {
	producer := map[string]*graph.Node{}
	for _, n := range m.Graph.Nodes {
		for _, o := range n.Outputs {
			producer[o] = n
		}
	}
	for n := producer[value]; n != nil; n = producer[n.Input(0)] {
		switch n.Op() {
		case "Softmax", "Sigmoid":
			return "probabilities"
		case "LogSoftmax":
			return "log_probabilities"
		case "ai.onnx.ml.Normalizer":
			return "probabilities"
		case "ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.LinearClassifier", "ai.onnx.ml.SVMClassifier":
			return kindOfClassifier(n)
		case "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout":
		default:
			return "logits"
		}
	}
	return "logits"
}

// kindOfClassifier goes by what becomes of the scores in the end. What a forest adds up as it is are shares where all are positive, and a machine of
// support vectors has numbers from which its probabilities come.
func kindOfClassifier(n *graph.Node) string {
	switch n.Attrs.String("post_transform", "NONE") {
	case "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO":
		return "probabilities"
	}
	weights := n.Attrs.Floats("class_weights", nil)
	positive := len(weights) > 0 && slices.Min(weights) >= 0
	if positive || len(n.Attrs.Floats("prob_a", nil)) > 0 {
		return "probabilities"
	}
	return "logits"
}

// Probabilities turns one item's scores into probabilities in place. It is an error where one is not a number, or
// all are minus infinity.
func (s Scores) Probabilities(scores []float32) error {
	highest := float32(math.Inf(-1))
	for i, v := range scores {
		if v != v {
			return fmt.Errorf("score %d is not a number", i)
		}
		highest = max(highest, v)
	}
	switch s.Kind {
	case "probabilities":
		return nil
	case "log_probabilities":
		for i, v := range scores {
			scores[i] = float32(math.Exp(float64(v)))
		}
		return nil
	}
	if math.IsInf(float64(highest), 0) {
		return fmt.Errorf("the highest score is %v", highest)
	}
	var sum float64
	for i, v := range scores {
		e := math.Exp(float64(v - highest))
		scores[i] = float32(e)
		sum += e
	}
	for i := range scores {
		scores[i] = float32(float64(scores[i]) / sum)
	}
	return nil
}

// Row copies the numbers of item i of a batch of n as float32 into dst, which must have their number. The tensor's
// type is one of the floating-point types.
func Row(dst []float32, t *tensor.Tensor, i, n int) error {
	if n == 0 || t.Size()%n != 0 || t.Size()/n != len(dst) {
		return fmt.Errorf("an output of shape %v has not %d numbers for each of %d items", t.Shape(), len(dst), n)
	}
	at := i * len(dst)
	switch d := t.Raw().(type) {
	case []float32:
		copy(dst, d[at:])
	case []float64:
		for j := range dst {
			dst[j] = float32(d[at+j])
		}
	case []tensor.Half:
		for j := range dst {
			dst[j] = d[at+j].Float32()
		}
	case []tensor.BHalf:
		for j := range dst {
			dst[j] = d[at+j].Float32()
		}
	default:
		return fmt.Errorf("scores of type %v are no numbers", t.DType())
	}
	return nil
}
