package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// The sizes of the nets for sequences and of the residual one.
const (
	recurrentUnits  = 64
	encoderWidth    = 64
	encoderHeads    = 4
	encoderLayers   = 2
	encoderHidden   = 128
	residualFilters = 16
	residualStages  = 3
	residualBlocks  = 2 // a stage
)

// fitsArch returns an ErrData where an architecture is for other examples.
func fitsArch(arch string, data *Set) error {
	needs := ""
	switch arch {
	case CNN, ResNet:
		if !data.Picture() {
			needs = "pictures"
		}
	case LSTM, Transformer:
		if !data.sequence() {
			needs = "sequences, examples [steps,features] of an .npz file"
		}
	}
	if needs == "" {
		return nil
	}
	return fmt.Errorf("%w: arch %s needs %s, and the examples have shape %v", ErrData, arch, needs, data.shape)
}

// normal appends batch normalization, whose running statistics training updates.
func (n *net) normal(x, name string, width int) string {
	ones := func(name string) string {
		t := tensor.Must(tensor.New(tensor.Float32, width))
		for i := range tensor.Data[float32](t) {
			tensor.Data[float32](t)[i] = 1
		}
		return n.b.Init(name, t)
	}
	return n.b.Op("BatchNormalization", graph.Attrs{"epsilon": float32(1e-5), "momentum": float32(0.9), "training_mode": int64(1)}, x, ones(name+".scale"), n.zeros(name+".bias", width), n.zeros(name+".mean", width), ones(name+".var"))
}

// convolution appends one of a square kernel with as many zeros around, and batch normalization.
func (n *net) convolution(x, name string, kernel, stride, in, out int) string {
	k, s, pad := int64(kernel), int64(stride), int64(kernel/2)
	w := n.weights(name+".weight", in*kernel*kernel, math.Sqrt(2), out, in, kernel, kernel)
	x = n.b.Op("Conv", graph.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{s, s}, "pads": []int64{pad, pad, pad, pad}}, x, w)
	return n.normal(x, name, out)
}

// residuals appends the residual net up to the mean over the picture, and returns how many numbers come out.
func (n *net) residuals(x string, channels int) (string, int) {
	filters := residualFilters
	x = n.b.Op("Relu", nil, n.convolution(x, "conv", 3, 1, channels, filters))
	in := filters
	for stage := range residualStages {
		for block := range residualBlocks {
			name := fmt.Sprintf("stage%d.block%d", stage+1, block+1)
			stride := 1
			if block == 0 && stage > 0 {
				stride = 2
			}
			around := x
			if stride != 1 || in != filters {
				around = n.convolution(x, name+".around", 1, stride, in, filters)
			}
			y := n.b.Op("Relu", nil, n.convolution(x, name+".conv1", 3, stride, in, filters))
			y = n.convolution(y, name+".conv2", 3, 1, filters, filters)
			x = n.b.Op("Relu", nil, n.b.Op("Add", nil, y, around))
			in = filters
		}
		filters *= 2
	}
	return n.b.Op("Flatten", nil, n.b.Op("GlobalAveragePool", nil, x)), in
}

// recurrent appends an LSTM over the steps in both directions, and returns its last states side by side and how many numbers they are. The forget gates begin open.
func (n *net) recurrent(x string, features int) (string, int) {
	const h = recurrentUnits
	x = n.b.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, x) // steps first
	bias := tensor.Must(tensor.New(tensor.Float32, 2, 8*h))
	for d := range 2 {
		for i := range h { // input, output, forget, cell
			tensor.Data[float32](bias)[d*8*h+2*h+i] = 1
		}
	}
	y := n.b.Ops("LSTM", 3, graph.Attrs{"hidden_size": int64(h), "direction": "bidirectional"}, x,
		n.weights("lstm.weight", features, 1, 2, 4*h, features), n.weights("lstm.recurrence", h, 1, 2, 4*h, h), n.b.Init("lstm.bias", bias))
	last := n.b.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, y[1]) // [N,2,H]
	return n.b.Op("Flatten", nil, last), 2 * h
}

// encoder appends the transformer up to the mean over the steps, and returns how many numbers come out.
func (n *net) encoder(x string, shape tensor.Shape) (string, int) {
	const d = encoderWidth
	steps := shape[0]
	linear := func(x, name string, in, out int, gain float64) string {
		return n.b.Op("Add", nil, n.b.Op("MatMul", nil, x, n.weights(name+".weight", in, gain, in, out)), n.zeros(name+".bias", out))
	}
	normal := func(x, name string) string {
		ones := tensor.Must(tensor.Of(slices.Repeat([]float32{1}, d), d))
		return n.b.Op("LayerNormalization", graph.Attrs{"axis": int64(-1)}, x, n.b.Init(name+".scale", ones), n.zeros(name+".bias", d))
	}
	x = linear(x, "embed", shape[1], d, 1)
	// With a deviation of 1/8, which the fan-in gives, the order of two marks was learned in 3 of 8 runs, with this in all.
	x = n.b.Op("Add", nil, x, n.weights("place", 1, 0.5, steps, d))
	heads := func(x string) string { // [N,heads,T,d/heads]
		x = n.b.Op("Reshape", nil, x, n.b.Ints(0, int64(steps), encoderHeads, d/encoderHeads))
		return n.b.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, x)
	}
	for layer := range encoderLayers {
		name := fmt.Sprintf("layer%d", layer+1)
		y := normal(x, name+".norm1")
		q, k, v := heads(linear(y, name+".query", d, d, 1)), heads(linear(y, name+".key", d, d, 1)), heads(linear(y, name+".value", d, d, 1))
		scale := n.b.Op("Constant", graph.Attrs{"value": tensor.Scalar(float32(1 / math.Sqrt(d/encoderHeads)))})
		scores := n.b.Op("Mul", nil, n.b.Op("MatMul", nil, q, n.b.Op("Transpose", graph.Attrs{"perm": []int64{0, 1, 3, 2}}, k)), scale)
		y = n.b.Op("MatMul", nil, n.b.Op("Softmax", graph.Attrs{"axis": int64(-1)}, scores), v)
		y = n.b.Op("Reshape", nil, n.b.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, y), n.b.Ints(0, int64(steps), d))
		x = n.b.Op("Add", nil, x, linear(y, name+".out", d, d, 1))
		y = n.b.Op("Relu", nil, linear(normal(x, name+".norm2"), name+".dense1", d, encoderHidden, math.Sqrt(2)))
		x = n.b.Op("Add", nil, x, linear(y, name+".dense2", encoderHidden, d, 1))
	}
	return n.b.Op("ReduceMean", graph.Attrs{"keepdims": int64(0)}, normal(x, "norm"), n.b.Ints(1)), d
}
