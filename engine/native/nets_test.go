package native_test

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// netBuilder writes convolutional nets with made-up weights.
type netBuilder struct {
	g    *graph.Graph
	n    int
	seed uint32
}

func newNet(name string, dims ...int) *netBuilder {
	b := &netBuilder{g: &graph.Graph{Name: name, Opset: map[string]int64{"": 17}}}
	b.g.Inputs = []graph.Value{{Name: "x", DType: tensor.Float32, Shape: append(graph.Shape{{Size: -1, Symbol: "N"}}, graph.Dims(dims...)...)}}
	return b
}

func (b *netBuilder) weight(scale float32, dims ...int) string {
	w := make([]float32, tensor.Shape(dims).Size())
	for i := range w {
		b.seed = b.seed*1664525 + 1013904223
		w[i] = (float32(b.seed>>8)/(1<<23) - 1) * scale
	}
	b.n++
	name := fmt.Sprintf("w%d", b.n)
	b.g.Initializers = append(b.g.Initializers, graph.Initializer{Name: name, Tensor: tensor.Must(tensor.Of(w, dims...))})
	return name
}

func (b *netBuilder) positive(n int) string {
	w := make([]float32, n)
	for i := range w {
		w[i] = 0.5 + float32(i%7)/10
	}
	b.n++
	name := fmt.Sprintf("v%d", b.n)
	b.g.Initializers = append(b.g.Initializers, graph.Initializer{Name: name, Tensor: tensor.Vector(w...)})
	return name
}

func (b *netBuilder) op(op string, attrs graph.Attrs, in ...string) string {
	b.n++
	out := fmt.Sprintf("t%d", b.n)
	b.g.Nodes = append(b.g.Nodes, node(op, attrs, in, out))
	return out
}

func (b *netBuilder) conv(x string, in, out, k, stride int, bias bool) string {
	p := int64(k / 2)
	inputs := []string{x, b.weight(1/float32(k*k), out, in, k, k)}
	if bias {
		inputs = append(inputs, b.weight(0.1, out))
	}
	return b.op("Conv", graph.Attrs{"kernel_shape": []int64{int64(k), int64(k)}, "strides": []int64{int64(stride), int64(stride)}, "pads": []int64{p, p, p, p}}, inputs...)
}

func (b *netBuilder) norm(x string, n int) string {
	return b.op("BatchNormalization", nil, x, b.positive(n), b.weight(0.1, n), b.weight(0.1, n), b.positive(n))
}

func (b *netBuilder) relu(x string) string { return b.op("Relu", nil, x) }

func (b *netBuilder) pool(x string, k, stride, pad int64) string {
	return b.op("MaxPool", graph.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{stride, stride}, "pads": []int64{pad, pad, pad, pad}}, x)
}

func (b *netBuilder) dense(x string, in, out int) string {
	return b.op("Gemm", graph.Attrs{"transB": int64(1)}, x, b.weight(0.1, out, in), b.weight(0.1, out))
}

func (b *netBuilder) finish(x string) *graph.Graph {
	b.g.Outputs = []graph.Value{{Name: x, DType: tensor.Float32}}
	return b.g
}

// convNet is 5x5x32, pool, 5x5x64, pool, 512, 10 over 28 by 28 pixels.
func convNet() *graph.Graph {
	b := newNet("conv", 1, 28, 28)
	x := b.pool(b.relu(b.conv("x", 1, 32, 5, 1, true)), 2, 2, 0)
	x = b.pool(b.relu(b.conv(x, 32, 64, 5, 1, true)), 2, 2, 0)
	x = b.relu(b.dense(b.op("Flatten", nil, x), 64*7*7, 512))
	return b.finish(b.op("Softmax", nil, b.dense(x, 512, 10)))
}

// resnet18 is the usual one for images of size by size pixels.
func resnet18(size int) *graph.Graph {
	b := newNet("resnet18", 3, size, size)
	x := b.pool(b.relu(b.norm(b.conv("x", 3, 64, 7, 2, false), 64)), 3, 2, 1)
	in := 64
	for i, out := range []int{64, 128, 256, 512} {
		for j := range 2 {
			stride := 1
			if i > 0 && j == 0 {
				stride = 2
			}
			side := x
			if stride != 1 || in != out {
				p := b.op("Conv", graph.Attrs{"strides": []int64{int64(stride), int64(stride)}}, x, b.weight(0.1, out, in, 1, 1))
				side = b.norm(p, out)
			}
			y := b.relu(b.norm(b.conv(x, in, out, 3, stride, false), out))
			y = b.norm(b.conv(y, out, out, 3, 1, false), out)
			x = b.relu(b.op("Add", nil, y, side))
			in = out
		}
	}
	return b.finish(b.dense(b.op("Flatten", nil, b.op("GlobalAveragePool", nil, x)), 512, 1000))
}

func ramp(dims ...int) *tensor.Tensor {
	x := make([]float32, tensor.Shape(dims).Size())
	for i := range x {
		x[i] = float32(i%97)/97 - 0.3
	}
	return tensor.Must(tensor.Of(x, dims...))
}
