package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// bitwiseOps work on the bits of integers.
var bitwiseOps = map[string]operator{
	"BitwiseAnd": binaryPlain("BitwiseAnd"), "BitwiseOr": binaryPlain("BitwiseOr"), "BitwiseXor": binaryPlain("BitwiseXor"),
	"Invert": one(func(c *call) *value { return c.onnx("BitwiseNot", nil, c.arg(0)) }), "LeftShift": one(leftShift), "RightShift": one(rightShift),
}

// binaryPlain is an operator that ONNX has for all of TensorFlow's types.
func binaryPlain(op string) operator {
	return one(func(c *call) *value {
		a, b := c.pair()
		return c.onnx(op, nil, a, b)
	})
}

// distance is how far to shift, at most as far as the type has bits.
func (c *call) distance(b *value) *value {
	most := float64(8*b.dtype.Size() - 1)
	if b.dtype == tensor.Uint64 { // what is beyond int64 is too far
		far := c.onnx("Less", nil, c.cast(b, tensor.Int64), c.index(0))
		n := c.onnx("Min", nil, c.cast(b, tensor.Int64), c.index(int64(most)))
		return c.cast(c.onnx("Where", nil, far, c.index(int64(most)), n), tensor.Uint64)
	}
	n := c.onnx("Max", nil, c.onnx("Min", nil, c.cast(b, tensor.Int64), c.index(int64(most))), c.index(0))
	return c.cast(n, tensor.Uint64)
}

// bits are an integer as uint64: with its sign, of a signed type.
func (c *call) bits(v *value) *value {
	if v.dtype == tensor.Uint64 {
		return v
	}
	return c.cast(c.cast(v, tensor.Int64), tensor.Uint64)
}

// unbits undoes bits, keeping the lowest.
func (c *call) unbits(v *value, to tensor.DType) *value {
	if to == tensor.Uint64 {
		return v
	}
	return c.cast(c.cast(v, tensor.Int64), to)
}

func leftShift(c *call) *value {
	a, b := c.pair()
	return c.unbits(c.onnx("BitShift", graph.Attrs{"direction": "LEFT"}, c.bits(a), c.distance(b)), a.dtype)
}

// rightShift keeps the sign: the bits of a negative number are shifted inverted.
func rightShift(c *call) *value {
	a, b := c.pair()
	right := func(v *value) *value {
		return c.onnx("BitShift", graph.Attrs{"direction": "RIGHT"}, v, c.distance(b))
	}
	if a.dtype.IsUnsigned() {
		return c.unbits(right(c.bits(a)), a.dtype)
	}
	x := c.cast(a, tensor.Int64)
	negative := c.onnx("Less", nil, x, c.index(0))
	invert := func(v *value) *value { return c.onnx("Sub", nil, c.index(-1), v) }
	y := c.cast(right(c.cast(c.onnx("Where", nil, negative, invert(x), x), tensor.Uint64)), tensor.Int64)
	return c.cast(c.onnx("Where", nil, negative, invert(y), y), a.dtype)
}
