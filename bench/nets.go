package main

import (
	"math"
	"math/rand/v2"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// network writes nets with random weights, normal with a deviation of sqrt(2/fan-in).
type network struct {
	*graph.Builder
	random *rand.Rand
}

func newNet(name string, input ...int) *network {
	n := &network{Builder: graph.NewBuilder(name), random: rand.New(rand.NewPCG(1, 2))}
	n.Input("x", tensor.Float32, append(graph.Shape{{Size: -1, Symbol: "N"}}, graph.Dims(input...)...))
	return n
}

// weight adds a variable with this many inputs to each of its sums.
func (n *network) weight(name string, fanIn int, shape ...int) string {
	return n.Init(name, randomTensor(n.random, math.Sqrt(2/float64(fanIn)), shape...))
}

// randomTensor has normally distributed elements.
func randomTensor(random *rand.Rand, deviation float64, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(random.NormFloat64() * deviation)
	}
	return t
}

func (n *network) bias(name string, size int) string {
	return n.Init(name, tensor.Must(tensor.New(tensor.Float32, size)))
}

func (n *network) relu(x string) string { return n.Op("Relu", nil, x) }

func (n *network) dense(name, x string, in, out int) string {
	return n.Op("Gemm", nil, x, n.weight(name+".weight", in, in, out), n.bias(name+".bias", out))
}

// conv is a convolution that keeps the size at stride 1.
func (n *network) conv(name, x string, in, out, kernel, stride int, bias bool) string {
	k, s, p := int64(kernel), int64(stride), int64(kernel/2)
	inputs := []string{x, n.weight(name+".weight", in*kernel*kernel, out, in, kernel, kernel)}
	if bias {
		inputs = append(inputs, n.bias(name+".bias", out))
	}
	return n.Op("Conv", graph.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{s, s}, "pads": []int64{p, p, p, p}}, inputs...)
}

func (n *network) pool(x string, kernel, stride, pad int64) string {
	return n.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{kernel, kernel}, "strides": []int64{stride, stride}, "pads": []int64{pad, pad, pad, pad}}, x)
}

// norm is a normalization by statistics of a plausible size.
func (n *network) norm(name, x string, channels int) string {
	ones, zeros := make([]float32, channels), make([]float32, channels)
	for i := range ones {
		ones[i] = 1
	}
	c := func(what string, v []float32) string { return n.Init(name+"."+what, tensor.Vector(v...)) }
	return n.Op("BatchNormalization", nil, x, c("scale", ones), c("bias", zeros), c("mean", zeros), c("variance", ones))
}

// finish makes x the output.
func (n *network) finish(x string) (*graph.Graph, error) {
	n.Output(n.Name(x, "y"))
	return infer.Build(n.Builder)
}

// denseNet is 784-128-32-10.
func denseNet() (*graph.Graph, error) {
	n := newNet("dense", 784)
	x := n.relu(n.dense("dense1", "x", 784, 128))
	x = n.relu(n.dense("dense2", x, 128, 32))
	return n.finish(n.dense("dense3", x, 32, 10))
}

// convNet is 5x5x32, pool, 5x5x64, pool, 512, 10 over 28 by 28 pixels: the net of many a MNIST tutorial.
func convNet() (*graph.Graph, error) {
	n := newNet("conv", 1, 28, 28)
	x := n.pool(n.relu(n.conv("conv1", "x", 1, 32, 5, 1, true)), 2, 2, 0)
	x = n.pool(n.relu(n.conv("conv2", x, 32, 64, 5, 1, true)), 2, 2, 0)
	x = n.relu(n.dense("dense1", n.Op("Flatten", nil, x), 64*7*7, 512))
	return n.finish(n.dense("dense2", x, 512, 10))
}

// smallConvNet is 5x5x16, pool, 3x3x32, pool, 64, 10 over 28 by 28 pixels, for training.
func smallConvNet() (*graph.Graph, error) {
	n := newNet("smallconv", 1, 28, 28)
	x := n.pool(n.relu(n.conv("conv1", "x", 1, 16, 5, 1, true)), 2, 2, 0)
	x = n.pool(n.relu(n.conv("conv2", x, 16, 32, 3, 1, true)), 2, 2, 0)
	x = n.relu(n.dense("dense1", n.Op("Flatten", nil, x), 32*7*7, 64))
	return n.finish(n.dense("dense2", x, 64, 10))
}

// resnet18 is the usual net for 224 by 224 pixels (He and others, 2015).
func resnet18() (*graph.Graph, error) {
	n := newNet("resnet18", 3, 224, 224)
	x := n.relu(n.norm("stem", n.conv("stem", "x", 3, 64, 7, 2, false), 64))
	x, in := n.pool(x, 3, 2, 1), 64
	for i, out := range []int{64, 128, 256, 512} {
		for j := range 2 {
			name, stride := "block"+itoa(i)+itoa(j), 1
			if i > 0 && j == 0 {
				stride = 2
			}
			side := x
			if in != out {
				side = n.norm(name+".side", n.conv(name+".side", x, in, out, 1, stride, false), out)
			}
			y := n.relu(n.norm(name+".a", n.conv(name+".a", x, in, out, 3, stride, false), out))
			y = n.norm(name+".b", n.conv(name+".b", y, out, out, 3, 1, false), out)
			x, in = n.relu(n.Op("Add", nil, y, side)), out
		}
	}
	x = n.Op("Flatten", nil, n.Op("GlobalAveragePool", nil, x))
	return n.finish(n.dense("dense", x, 512, 1000))
}
