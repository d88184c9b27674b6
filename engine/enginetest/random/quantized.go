package random

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// quantized goes through 8 bits and back, by tensor or by channel. It is for inputs alone: what was computed before may be on both sides of a step.
func quantized(m *maker, v value) (value, bool) {
	if m.inputs[v.name] == nil {
		return value{}, false
	}
	attrs := graph.Attrs{}
	var scale, zero *tensor.Tensor
	if axis := m.IntN(len(v.shape) + 1); axis < len(v.shape) {
		attrs["axis"] = int64(axis)
		scale, zero = m.between(0.01, 0.05, v.shape[axis]), tensor.Must(tensor.New(tensor.Int8, v.shape[axis]))
		for i := range tensor.Data[int8](zero) {
			tensor.Data[int8](zero)[i] = int8(m.IntN(40) - 20)
		}
	} else {
		scale, zero = tensor.Scalar(float32(0.01+0.04*m.Float64())), tensor.Scalar(uint8(100+m.IntN(50)))
	}
	s, z := m.b.Init("scale", scale), m.b.Init("zero", zero)
	q := m.b.Op("QuantizeLinear", attrs, v.name, s, z)
	return m.op(slices.Clone(v.shape), "DequantizeLinear", attrs.Clone(), q, s, z)
}

// integers multiplies an input, quantized by what is in it, with weights of 8 bits.
func integers(m *maker, v value) (value, bool) {
	if m.inputs[v.name] == nil || len(v.shape) < 2 {
		return value{}, false
	}
	n := 1 + m.IntN(6)
	w := tensor.Must(tensor.New(tensor.Int8, v.shape[len(v.shape)-1], n))
	for i := range tensor.Data[int8](w) {
		tensor.Data[int8](w)[i] = int8(m.IntN(255) - 127)
	}
	q := m.b.Ops("DynamicQuantizeLinear", 3, nil, v.name)
	product := m.b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, m.b.Op("MatMulInteger", nil, q[0], m.b.Init("w", w), q[2], m.b.Init("wz", tensor.Scalar(int8(0)))))
	shape := append(slices.Clone(v.shape[:len(v.shape)-1]), n)
	return m.op(shape, "Mul", nil, product, m.b.Op("Mul", nil, q[1], m.b.Float(0.01)))
}
