package train

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// ErrHead says that a model has no last layer that can be replaced. The message says what is in its place.
var ErrHead = errors.New("the head cannot be replaced")

// replaceHead gives a classifier's file a last dense layer of its own for so many classes, whose weights are drawn by the seed. What comes before it stays, and so does what comes after it that
// changes no number of scores: Softmax, LogSoftmax, Identity, Flatten.
func replaceHead(g *graph.Graph, classes int, seed uint64) error {
	if len(g.Outputs) != 1 {
		return fmt.Errorf("%w: the model has %d outputs, and it must have one", ErrHead, len(g.Outputs))
	}
	producer := map[string]*graph.Node{}
	users := map[string]int{}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			producer[o] = n
		}
		for _, in := range n.Uses() {
			users[in]++
		}
	}
	value := g.Outputs[0].Name
	n := producer[value]
	for n != nil && slices.Contains([]string{"Softmax", "LogSoftmax", "Identity", "Flatten"}, n.Op()) {
		value = n.Inputs[0]
		n = producer[value]
	}
	product, bias := n, ""
	if n != nil && n.Op() == "Add" {
		for k, in := range n.Inputs {
			if p := producer[in]; p != nil && p.Op() == "MatMul" {
				product, bias = p, n.Inputs[1-k]
			}
		}
	}
	op := "an input"
	if product != nil {
		op = product.Op()
	}
	if op == "Gemm" && len(product.Inputs) > 2 {
		bias = product.Inputs[2]
	}
	if op != "Gemm" && op != "MatMul" {
		return fmt.Errorf("%w: its scores come from %s, and must come from a dense layer (Gemm, or MatMul with or without Add)", ErrHead, op)
	}
	old := g.Initializer(product.Inputs[1])
	if old == nil || old.Rank() != 2 || old.DType() != tensor.Float32 || bias != "" && g.Initializer(bias) == nil {
		return fmt.Errorf("%w: the weights of its last %s are no float32 initializers of two dimensions", ErrHead, op)
	}
	if op == "Gemm" && product.Attrs.Int("transA", 0) != 0 {
		return fmt.Errorf("%w: its last Gemm takes its input transposed", ErrHead)
	}
	in, shape := old.Shape()[0], []int{old.Shape()[0], classes}
	if op == "Gemm" && product.Attrs.Int("transB", 0) != 0 {
		in, shape = old.Shape()[1], []int{classes, old.Shape()[1]}
	}
	if users[value] > 1 || users[product.Outputs[0]] > 1 {
		return fmt.Errorf("%w: the scores of its last %s are used in several places", ErrHead, op)
	}
	b := graph.Extend(g)
	made := &net{b: b, random: rand.New(rand.NewPCG(seed, 0x4ead))}
	product.Inputs[1] = made.weights("head.weight", in, 1, shape...)
	switch zeros := made.zeros("head.bias", classes); {
	case op == "Gemm":
		product.Inputs = append(product.Inputs[:2], zeros)
	case bias != "":
		n.Inputs[slices.Index(n.Inputs, bias)] = zeros
	}
	// What was declared of the scores is of as many as there were.
	g.Values = nil
	out := &g.Outputs[0]
	if len(out.Shape) > 0 {
		out.Shape = slices.Clone(out.Shape)
		out.Shape[len(out.Shape)-1] = graph.Dim{Size: int64(classes)}
	}
	g.Prune()
	if _, err := infer.Build(b); err != nil {
		return fmt.Errorf("%w: %w", ErrHead, err)
	}
	return nil
}
