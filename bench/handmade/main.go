// Command handmade writes training graphs as a person would write them for onnxruntime: forward pass, softmax cross-entropy,
// backward pass and the update of SGD, by standard operators alone. They are what the graphs of package gradient are
// measured against; making graphs for other nets is left to that package.
//
// Run it in its own folder: it writes dense.onnx and conv.onnx there. Both take x, target, learning_rate and the variables,
// and give loss and each variable's next value as new.<variable>, for batches of 100.
package main

import (
	"fmt"
	"os"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// batch is the number of examples in a step.
const batch = 100

func main() {
	for name, make := range map[string]func() (*graph.Graph, error){"dense.onnx": dense, "conv.onnx": conv} {
		if err := write(name, make); err != nil {
			fmt.Fprintln(os.Stderr, "handmade:", err)
			os.Exit(1)
		}
	}
}

func write(name string, make func() (*graph.Graph, error)) error {
	g, err := make()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	data, err := onnx.Encode(g)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, data, 0o644)
}

// step is a training step being written.
type step struct {
	*graph.Builder
	updates []string
}

func newStep(name string, input ...int) *step {
	s := &step{Builder: graph.NewBuilder(name)}
	s.Input("x", tensor.Float32, graph.Dims(append([]int{batch}, input...)...))
	s.Input("target", tensor.Int64, graph.Dims(batch))
	s.Input("learning_rate", tensor.Float32, graph.Shape{})
	return s
}

// variable is an input: the loop feeds what the step before gave.
func (s *step) variable(name string, shape ...int) string {
	return s.Input(name, tensor.Float32, graph.Dims(shape...))
}

// update makes new.<variable>.
func (s *step) update(variable, gradient string) {
	s.updates = append(s.updates, s.Name(s.Op("Sub", nil, variable, s.Op("Mul", nil, gradient, "learning_rate")), "new."+variable))
}

// loss adds the mean cross-entropy of logits, and returns its gradient by them.
func (s *step) loss(logits string) string {
	out := s.Ops("SoftmaxCrossEntropyLoss", 2, graph.Attrs{"reduction": "mean"}, logits, "target")
	s.Name(out[0], "loss")
	onehot := s.Op("OneHot", graph.Attrs{"axis": int64(-1)}, "target", s.Init("classes", tensor.Vector[int64](10)), s.Init("off_on", tensor.Vector[float32](0, 1)))
	difference := s.Op("Sub", nil, s.Op("Exp", nil, out[1]), onehot)
	return s.Op("Mul", nil, difference, s.Float(1.0/batch))
}

// gemm is x times weights of shape [in, out], plus the bias.
func (s *step) gemm(x, weights, bias string) string { return s.Op("Gemm", nil, x, weights, bias) }

// gemmBack updates a dense layer, and returns the gradient by its input.
func (s *step) gemmBack(x, weights, bias, dy string, wanted bool) (dx string) {
	if wanted {
		dx = s.Op("Gemm", graph.Attrs{"transB": int64(1)}, dy, weights)
	}
	s.update(weights, s.Op("Gemm", graph.Attrs{"transA": int64(1)}, x, dy))
	s.update(bias, s.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, dy, s.Ints(0)))
	return dx
}

func (s *step) relu(x string) string { return s.Op("Relu", nil, x) }

// reluBack lets dy through where y is positive.
func (s *step) reluBack(y, dy string) string {
	return s.Op("Mul", nil, dy, s.Op("Sign", nil, y))
}

func (s *step) graph() (*graph.Graph, error) {
	s.Output(append([]string{"loss"}, s.updates...)...)
	return infer.Build(s.Builder)
}

// dense is the net 784-128-32-10.
func dense() (*graph.Graph, error) {
	s := newStep("handmade_dense", 784)
	sizes := []int{784, 128, 32, 10}
	name := func(layer int) (weights, bias string) {
		return fmt.Sprintf("dense%d.weight", layer+1), fmt.Sprintf("dense%d.bias", layer+1)
	}
	x := []string{"x"}
	for i := range 3 {
		w, b := name(i)
		y := s.gemm(x[i], s.variable(w, sizes[i], sizes[i+1]), s.variable(b, sizes[i+1]))
		if i < 2 {
			y = s.relu(y)
		}
		x = append(x, y)
	}
	dy := s.loss(x[3])
	for i := 2; i >= 0; i-- {
		w, b := name(i)
		if dy = s.gemmBack(x[i], w, b, dy, i > 0); i > 0 {
			dy = s.reluBack(x[i], dy)
		}
	}
	return s.graph()
}

// conv is the net 5x5x16, pool, 3x3x32, pool, 64, 10 over 28 by 28 pixels.
func conv() (*graph.Graph, error) {
	s := newStep("handmade_conv", 1, 28, 28)
	s.variable("conv1.weight", 16, 1, 5, 5)
	s.variable("conv1.bias", 16)
	s.variable("conv2.weight", 32, 16, 3, 3)
	s.variable("conv2.bias", 32)
	s.variable("dense1.weight", 32*7*7, 64)
	s.variable("dense1.bias", 64)
	s.variable("dense2.weight", 64, 10)
	s.variable("dense2.bias", 10)

	a1 := s.relu(s.convolve("x", "conv1", 5))
	p1, i1 := s.pool(a1)
	a2 := s.relu(s.convolve(p1, "conv2", 3))
	p2, i2 := s.pool(a2)
	flat := s.Op("Reshape", nil, p2, s.Ints(batch, 32*7*7))
	a3 := s.relu(s.gemm(flat, "dense1.weight", "dense1.bias"))
	dy := s.loss(s.gemm(a3, "dense2.weight", "dense2.bias"))

	dy = s.reluBack(a3, s.gemmBack(a3, "dense2.weight", "dense2.bias", dy, true))
	dy = s.gemmBack(flat, "dense1.weight", "dense1.bias", dy, true)
	dy = s.Op("Reshape", nil, dy, s.Ints(batch, 32, 7, 7))
	// The pool's output is positive where the activation under its maximum is, so the activation's gradient is taken before
	// the pool's: on a quarter of the numbers.
	dy = s.unpool(s.reluBack(p2, dy), i2, batch, 32, 14, 14)
	dx := s.Op("ConvTranspose", graph.Attrs{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}, dy, "conv2.weight")
	s.convolveBack(p1, "conv2", dy, 3)
	dy = s.unpool(s.reluBack(p1, dx), i1, batch, 16, 28, 28)
	s.convolveBack("x", "conv1", dy, 5)
	return s.graph()
}

// convolve keeps the size.
func (s *step) convolve(x, layer string, kernel int64) string {
	return s.Op("Conv", graph.Attrs{"kernel_shape": []int64{kernel, kernel}, "pads": samePads(kernel)}, x, layer+".weight", layer+".bias")
}

func samePads(kernel int64) []int64 {
	p := kernel / 2
	return []int64{p, p, p, p}
}

// convolveBack updates a convolution. The gradient by the weights is a convolution itself, whose batch are the channels, whose
// channels are the examples, and whose kernel is the gradient of the output.
func (s *step) convolveBack(x, layer, dy string, kernel int64) {
	swap := graph.Attrs{"perm": []int64{1, 0, 2, 3}}
	xt, dyt := s.Op("Transpose", swap, x), s.Op("Transpose", swap, dy)
	each := s.Op("Conv", graph.Attrs{"pads": samePads(kernel)}, xt, dyt)
	s.update(layer+".weight", s.Op("Transpose", swap, each))
	s.update(layer+".bias", s.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, dy, s.Ints(0, 2, 3)))
}

// pool takes the maximum of 2 by 2, and its places.
func (s *step) pool(x string) (y, places string) {
	out := s.Ops("MaxPool", 2, graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, x)
	return out[0], out[1]
}

// unpool brings a gradient back to the places that the maxima came from.
func (s *step) unpool(dy, places string, shape ...int64) string {
	return s.Op("MaxUnpool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, dy, places, s.Ints(shape...))
}
