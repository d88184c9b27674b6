package main

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// quantizer writes nets of 8 bits in the two forms that tools export: pairs of QuantizeLinear and DequantizeLinear around
// operators of float32, or the operators QLinearConv and QLinearMatMul. Weights have a scale for each filter.
type quantizer struct {
	*network
	operators bool // the second form
}

// A bytesOf is a quantized value: its name, its scale and zero point, and the mean of its squares, from which scales are chosen.
type bytesOf struct {
	name, scale, zero string
	step              float64
	squares           float64
}

// params makes the scale and the zero point for numbers of this mean square; where all are positive, no byte stands for others.
func (q *quantizer) params(squares float64, positive bool) bytesOf {
	reach, zero := 4*math.Sqrt(squares), uint8(128)
	step := 2 * reach / 255
	if positive {
		step, zero = reach/255*1.4, 0
	}
	step = float64(float32(step))
	return bytesOf{scale: q.Init("scale", tensor.Scalar(float32(step))), zero: q.Init("zero", tensor.Scalar(zero)), step: step, squares: squares}
}

// sums are the params of what a product makes of x, perhaps after a Relu, which leaves half of the squares.
func (q *quantizer) sums(x bytesOf, relu bool) bytesOf {
	if relu {
		return q.params(x.squares, true)
	}
	return q.params(2*x.squares, false)
}

func (q *quantizer) quantize(x string, p bytesOf) bytesOf {
	p.name = q.Op("QuantizeLinear", nil, x, p.scale, p.zero)
	return p
}

func (q *quantizer) dequantize(v bytesOf) string {
	return q.Op("DequantizeLinear", nil, v.name, v.scale, v.zero)
}

// weights are random bytes with a scale for each filter, and a bias.
func (q *quantizer) weights(x bytesOf, fanIn, filters int, shape ...int) (w, scale, zero, bias, biasScale string) {
	t := tensor.Must(tensor.New(tensor.Int8, shape...))
	for i := range tensor.Data[int8](t) {
		tensor.Data[int8](t)[i] = int8(min(max(math.Round(q.random.NormFloat64()*40), -127), 127))
	}
	scales, biases, products := make([]float32, filters), make([]int32, filters), make([]float32, filters)
	for i := range scales {
		scales[i] = float32(math.Sqrt(2/float64(fanIn)) / 40 * (0.8 + 0.4*q.random.Float64()))
		products[i] = scales[i] * float32(x.step)
		biases[i] = int32(0.1 * q.random.NormFloat64() * math.Sqrt(x.squares) / float64(products[i]))
	}
	return q.Init("weights", t), q.Init("scales", tensor.Vector(scales...)), q.Init("zeros", tensor.Must(tensor.New(tensor.Int8, filters))),
		q.Init("bias", tensor.Vector(biases...)), q.Init("products", tensor.Vector(products...))
}

// conv is a convolution, perhaps with a Relu.
func (q *quantizer) conv(x bytesOf, in, out, kernel, stride int, relu bool) bytesOf {
	return q.groups(x, in, out, 1, kernel, stride, relu)
}

// groups is a convolution in groups.
func (q *quantizer) groups(x bytesOf, in, out, groups, kernel, stride int, relu bool) bytesOf {
	k, s, p := int64(kernel), int64(stride), int64(kernel/2)
	attrs := graph.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{s, s}, "pads": []int64{p, p, p, p}, "group": int64(groups)}
	w, scale, zero, bias, biasScale := q.weights(x, in/groups*kernel*kernel, out, out, in/groups, kernel, kernel)
	y := q.sums(x, relu)
	if q.operators {
		y.name = q.Op("QLinearConv", attrs, x.name, x.scale, x.zero, w, scale, zero, y.scale, y.zero, bias)
		return y
	}
	axis := graph.Attrs{"axis": int64(0)}
	v := q.Op("Conv", attrs, q.dequantize(x), q.Op("DequantizeLinear", axis, w, scale, zero), q.Op("DequantizeLinear", axis, bias, biasScale))
	if relu {
		v = q.relu(v)
	}
	return q.quantize(v, y)
}

// dense is a product with a matrix and a bias, perhaps with a Relu.
func (q *quantizer) dense(x bytesOf, in, out int, relu bool) bytesOf {
	w, scale, zero, bias, biasScale := q.weights(x, in, out, in, out)
	y := q.sums(x, relu)
	b := q.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, bias, biasScale)
	var v string
	if q.operators {
		sums := q.sums(x, false)
		sums.name = q.Op("QLinearMatMul", nil, x.name, x.scale, x.zero, w, scale, zero, sums.scale, sums.zero)
		v = q.Op("Add", nil, q.dequantize(sums), b)
	} else {
		v = q.Op("Gemm", nil, q.dequantize(x), q.Op("DequantizeLinear", graph.Attrs{"axis": int64(1)}, w, scale, zero), b)
	}
	if relu {
		v = q.relu(v)
	}
	return q.quantize(v, y)
}

func (q *quantizer) pool(x bytesOf, kernel, stride, pad int64) bytesOf {
	if q.operators {
		x.name = q.network.pool(x.name, kernel, stride, pad)
		return x
	}
	return q.quantize(q.network.pool(q.dequantize(x), kernel, stride, pad), x)
}

func (q *quantizer) flatten(x bytesOf) bytesOf {
	if q.operators {
		x.name = q.Op("Flatten", nil, x.name)
		return x
	}
	return q.quantize(q.Op("Flatten", nil, q.dequantize(x)), x)
}

func (q *quantizer) input() bytesOf { return q.quantize("x", q.params(0.25, false)) }

func (q *quantizer) finish(x bytesOf) (*graph.Graph, error) {
	q.Output(q.Name(q.dequantize(x), "y"))
	return infer.Build(q.Builder)
}

// lenetInt8 is LeNet (LeCun and others, 1998) with Relu and maximum pools, over 28 by 28 pixels.
func lenetInt8(operators bool) func() (*graph.Graph, error) {
	return func() (*graph.Graph, error) {
		q := &quantizer{newNet("lenet-int8", 1, 28, 28), operators}
		x := q.pool(q.conv(q.input(), 1, 6, 5, 1, true), 2, 2, 0)
		x = q.flatten(q.pool(q.conv(x, 6, 16, 5, 1, true), 2, 2, 0))
		return q.finish(q.dense(q.dense(q.dense(x, 784, 120, true), 120, 84, true), 84, 10, false))
	}
}

// resnet18Int8 is resnet18 with its normalizations folded into the weights.
func resnet18Int8(operators bool) func() (*graph.Graph, error) {
	return func() (*graph.Graph, error) {
		q := &quantizer{newNet("resnet18-int8", 3, 224, 224), operators}
		x, in := q.pool(q.conv(q.input(), 3, 64, 7, 2, true), 3, 2, 1), 64
		for i, out := range []int{64, 128, 256, 512} {
			for j := range 2 {
				stride := 1
				if i > 0 && j == 0 {
					stride = 2
				}
				side := x
				if in != out {
					side = q.conv(x, in, out, 1, stride, false)
				}
				y := q.conv(q.conv(x, in, out, 3, stride, true), out, out, 3, 1, false)
				sum := q.relu(q.Op("Add", nil, q.dequantize(y), q.dequantize(side)))
				x, in = q.quantize(sum, q.params((y.squares+side.squares)/2, true)), out
			}
		}
		x = q.quantize(q.Op("GlobalAveragePool", nil, q.dequantize(x)), q.params(x.squares/2, true))
		return q.finish(q.dense(q.flatten(x), 512, 1000, false))
	}
}

// mobilenetInt8 is MobileNet (Howard and others, 2017), its normalizations folded into the weights: half of its convolutions are depthwise.
func mobilenetInt8() (*graph.Graph, error) {
	q := &quantizer{newNet("mobilenet-int8", 3, 224, 224), false}
	x, in := q.conv(q.input(), 3, 32, 3, 2, true), 32
	for _, block := range [][2]int{{64, 1}, {128, 2}, {128, 1}, {256, 2}, {256, 1}, {512, 2}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}} {
		x, in = q.conv(q.groups(x, in, in, in, 3, block[1], true), in, block[0], 1, 1, true), block[0]
	}
	x = q.quantize(q.Op("GlobalAveragePool", nil, q.dequantize(x)), q.params(x.squares/2, true))
	return q.finish(q.dense(q.flatten(x), 1024, 1000, false))
}

// dynamicInt8 is two layers whose inputs are quantized by what is in them, as tools write them that know no examples.
func dynamicInt8() (*graph.Graph, error) {
	n := newNet("dynamic-int8", 768)
	x := "x"
	for _, layer := range [][2]int{{768, 3072}, {3072, 768}} {
		in, out := layer[0], layer[1]
		w := tensor.Must(tensor.New(tensor.Int8, in, out))
		for i := range tensor.Data[int8](w) {
			tensor.Data[int8](w)[i] = int8(min(max(math.Round(n.random.NormFloat64()*40), -127), 127))
		}
		q := n.Ops("DynamicQuantizeLinear", 3, nil, x)
		sums := n.Op("MatMulInteger", nil, q[0], n.Init("weights", w), q[2], n.Init("zero", tensor.Scalar(int8(0))))
		scale := n.Op("Mul", nil, q[1], n.Init("scale", tensor.Scalar(float32(math.Sqrt(2/float64(in))/40))))
		x = n.Op("Mul", nil, n.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, sums), scale)
		x = n.relu(n.Op("Add", nil, x, n.bias("bias", out)))
	}
	n.Output(n.Name(x, "y"))
	return infer.Build(n.Builder)
}
