package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Sets of element types that ONNX operators take.
var (
	halfTypes   = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16}
	floatTypes  = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16}
	wideTypes   = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}
	numberTypes = append(slices.Clone(wideTypes), tensor.Int8, tensor.Int16, tensor.Uint8, tensor.Uint16)
	signedTypes = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64}
)

// taken are the types that ONNX operators of opset 17 take, where that is not all numbers.
var taken = map[string][]tensor.DType{
	"Neg": signedTypes, "Pow": {tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int32, tensor.Int64},
	"Sqrt": floatTypes, "Exp": floatTypes, "Log": floatTypes, "Reciprocal": floatTypes, "Floor": floatTypes, "Ceil": floatTypes,
	"Round": halfTypes, "Sin": halfTypes, "Cos": halfTypes, "Tan": halfTypes, "Asin": halfTypes, "Acos": halfTypes, "Atan": halfTypes,
	"Sinh": halfTypes, "Cosh": halfTypes, "Asinh": halfTypes, "Acosh": halfTypes, "Atanh": halfTypes,
	"Erf": floatTypes, "IsNaN": floatTypes, "IsInf": {tensor.Float32, tensor.Float64},
	"Relu": signedTypes, "Sigmoid": floatTypes, "Tanh": floatTypes, "Softplus": halfTypes, "Softsign": halfTypes, "Elu": halfTypes,
	"Selu": halfTypes, "LeakyRelu": halfTypes, "Softmax": floatTypes, "LogSoftmax": floatTypes,
	"ReduceSum": wideTypes, "ReduceMean": floatTypes, "ReduceProd": wideTypes,
	"ReduceMax": append(slices.Clone(wideTypes), tensor.Int8, tensor.Uint8), "ReduceMin": append(slices.Clone(wideTypes), tensor.Int8, tensor.Uint8),
	"MatMul": wideTypes, "Conv": halfTypes, "ConvTranspose": halfTypes, "AveragePool": halfTypes, "BatchNormalization": floatTypes,
	"MaxPool": append(slices.Clone(halfTypes), tensor.Int8, tensor.Uint8), "LRN": floatTypes, "CumSum": wideTypes,
	"TopK":   append(slices.Clone(halfTypes), tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64),
	"Einsum": append(slices.Clone(halfTypes), tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64),
	"Clip":   halfTypes, // of floats alone
	"Range":  {tensor.Float32, tensor.Float64, tensor.Int16, tensor.Int32, tensor.Int64},
}

// widened is the type that computes what d would, wrapping included, for an operator that does not take d.
func widened(d tensor.DType) tensor.DType {
	switch d {
	case tensor.Float16, tensor.BFloat16:
		return tensor.Float32
	case tensor.Int8, tensor.Int16, tensor.Uint8, tensor.Uint16:
		return tensor.Int32
	case tensor.Int32, tensor.Uint32, tensor.Uint64, tensor.Bool:
		return tensor.Int64
	}
	return tensor.Invalid
}

// num is onnx for operators on numbers: where ONNX does not take the type, it computes in a wider one, and casts back what has
// that type.
func (c *call) num(op string, attrs graph.Attrs, in ...*value) *value {
	return c.nums(op, 1, attrs, in...)[0]
}

// nums is num with several outputs.
func (c *call) nums(op string, outputs int, attrs graph.Attrs, in ...*value) []*value {
	from := in[0].dtype
	to := from
	types, ok := taken[op]
	if !ok {
		types = numberTypes
	}
	for !slices.Contains(types, to) {
		if to = widened(to); to == tensor.Invalid {
			c.refuse("ONNX has no %s of %v", op, from)
		}
	}
	if to == from {
		return c.multi(op, outputs, attrs, in...)
	}
	wide := make([]*value, len(in))
	for i, v := range in {
		wide[i] = v
		if v != nil && v.dtype == from {
			wide[i] = c.cast(v, to)
		}
	}
	out := c.multi(op, outputs, attrs, wide...)
	for i, v := range out {
		if v.dtype == to {
			out[i] = c.cast(v, from)
		}
	}
	return out
}

// same casts nothing and refuses operands of different types, which TensorFlow does not have.
func (c *call) same(in ...*value) {
	for _, v := range in[1:] {
		if v.dtype != in[0].dtype {
			c.damaged("operands of types %v and %v", in[0].dtype, v.dtype)
		}
	}
}

// in computes in a type: its arguments are cast there and the result back to the type of the first one.
func (c *call) inType(d tensor.DType, compute func(in []*value) *value, in ...*value) *value {
	from := in[0].dtype
	if from == d {
		return compute(in)
	}
	wide := make([]*value, len(in))
	for i, v := range in {
		wide[i] = c.cast(v, d)
	}
	return c.cast(compute(wide), from)
}
