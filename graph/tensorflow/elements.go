package tensorflow

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// elementOps work on one tensor, element by element.
var elementOps = map[string]operator{
	"Abs": unary("Abs"), "Neg": one(neg), "Sign": one(sign), "Square": one(square), "Sqrt": unary("Sqrt"), "Rsqrt": one(rsqrt),
	"Reciprocal": one(reciprocal), "Inv": one(reciprocal), "Exp": unary("Exp"), "Log": unary("Log"), "Expm1": one(expm1), "Log1p": one(log1p),
	"Floor": unary("Floor"), "Ceil": unary("Ceil"), "Round": one(round), "Rint": one(round),
	"Sin": unary("Sin"), "Cos": unary("Cos"), "Tan": unary("Tan"), "Asin": unary("Asin"), "Acos": unary("Acos"), "Atan": unary("Atan"),
	"Sinh": unary("Sinh"), "Cosh": unary("Cosh"), "Asinh": unary("Asinh"), "Acosh": unary("Acosh"), "Atanh": unary("Atanh"),
	"Erf": unary("Erf"), "Erfc": one(erfc),
	"IsNan": one(isNaN), "IsInf": one(isInf), "IsFinite": one(isFinite), "LogicalNot": one(func(c *call) *value { return c.onnx("Not", nil, c.arg(0)) }),
	"Cast": one(castOp), "ZerosLike": one(zerosLike), "OnesLike": one(onesLike), "ClipByValue": one(clip),
}

// unary is an operator that ONNX has under that name.
func unary(op string) operator {
	return one(func(c *call) *value { return c.num(op, nil, c.arg(0)) })
}

func neg(c *call) *value {
	x := c.arg(0)
	if x.dtype.IsUnsigned() { // which wraps
		return c.num("Sub", nil, c.like(x, 0), x)
	}
	return c.num("Neg", nil, x)
}

// sign of a NaN is one, and of zero is zero.
func sign(c *call) *value {
	x := c.arg(0)
	y := c.num("Sign", nil, x)
	if x.dtype.IsFloat() {
		return c.where(c.onnx("Equal", nil, x, x), y, x)
	}
	return y
}

func square(c *call) *value { return c.num("Mul", nil, c.arg(0), c.arg(0)) }

func rsqrt(c *call) *value {
	x := c.arg(0)
	return c.inType(computing(x.dtype), func(in []*value) *value {
		return c.num("Div", nil, c.like(in[0], 1), c.num("Sqrt", nil, in[0]))
	}, x)
}

// computing is the type in which a formula of several steps is computed: 16-bit numbers would lose digits at each step.
func computing(d tensor.DType) tensor.DType {
	if d == tensor.Float16 || d == tensor.BFloat16 {
		return tensor.Float32
	}
	return d
}

func reciprocal(c *call) *value {
	x := c.arg(0)
	if x.dtype.IsInteger() {
		return c.divide(c.like(x, 1), x)
	}
	return c.num("Div", nil, c.like(x, 1), x)
}

// round goes to the nearest, ties to even.
func round(c *call) *value {
	x := c.arg(0)
	if !x.dtype.IsFloat() {
		return x
	}
	return c.num("Round", nil, x)
}

// precise computes float32 and shorter in float64, for formulas that lose digits.
func (c *call) precise(compute func(x *value) *value, x *value) *value {
	return c.inType(tensor.Float64, func(in []*value) *value { return compute(in[0]) }, x)
}

// log1p keeps the digits of small numbers: log(1+x) x / ((1+x) - 1), in which the error of 1+x cancels.
func log1p(c *call) *value {
	return c.precise(func(x *value) *value {
		u := c.onnx("Add", nil, x, c.like(x, 1))
		d := c.onnx("Sub", nil, u, c.like(x, 1))
		y := c.onnx("Div", nil, c.onnx("Mul", nil, c.onnx("Log", nil, u), x), d)
		y = c.where(c.onnx("Equal", nil, d, c.like(x, 0)), x, y)
		return c.where(c.onnx("Equal", nil, x, c.like(x, math.Inf(1))), x, c.where(c.onnx("Equal", nil, x, c.like(x, -1)), c.like(x, math.Inf(-1)), y))
	}, c.arg(0))
}

// expm1 keeps the digits of small numbers in the same way: (e^x - 1) x / log(e^x).
func expm1(c *call) *value {
	return c.precise(func(x *value) *value {
		u := c.onnx("Exp", nil, x)
		d := c.onnx("Sub", nil, u, c.like(x, 1))
		y := c.onnx("Div", nil, c.onnx("Mul", nil, d, x), c.onnx("Log", nil, u))
		y = c.where(c.onnx("Equal", nil, d, c.like(x, 0)), x, y)
		plain := c.onnx("Or", nil, c.onnx("Equal", nil, u, c.like(x, math.Inf(1))), c.onnx("Less", nil, x, c.like(x, -1)))
		return c.where(plain, d, y)
	}, c.arg(0))
}

// erfc is 1 - erf. Where that loses its digits it is small beside the tolerance of its type.
func erfc(c *call) *value {
	return c.precise(func(x *value) *value { return c.onnx("Sub", nil, c.like(x, 1), c.onnx("Erf", nil, x)) }, c.arg(0))
}

func isNaN(c *call) *value { return c.num("IsNaN", nil, c.arg(0)) }

func isInf(c *call) *value { return c.num("IsInf", nil, c.arg(0)) }

func isFinite(c *call) *value {
	x := c.arg(0)
	d := c.num("Sub", nil, x, x) // not a number where x is none or infinite
	return c.onnx("Equal", nil, d, d)
}

// where picks from a or b, which may be broadcast.
func (c *call) where(cond, a, b *value) *value {
	if cond.con != nil && cond.con.Size() == 1 && cond.rank() == 0 && a.dtype == b.dtype && equalShapes(a.shape, b.shape) {
		if isTrue(cond.con) {
			return a
		}
		return b
	}
	if a.dtype == tensor.Bool { // for which not every engine has a kernel
		return c.onnx("Or", nil, c.onnx("And", nil, cond, a), c.onnx("And", nil, c.not(cond), b))
	}
	if a.dtype == tensor.BFloat16 { // likewise
		return c.inType(tensor.Float32, func(in []*value) *value { return c.onnx("Where", nil, cond, in[0], in[1]) }, a, b)
	}
	return c.onnx("Where", nil, cond, a, b)
}

func equalShapes(a, b graph.Shape) bool {
	if a == nil || b == nil || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameDims(a[i], b[i]) {
			return false
		}
	}
	return true
}

// castOp changes the type as C does on the processors that TensorFlow is used on: a number beyond the range of int32 or int64 becomes the
// smallest one, and shorter integers keep the lowest bits.
func castOp(c *call) *value {
	x, to := c.arg(0), c.dtype("DstT", 0)
	if to == tensor.String || to == tensor.Complex64 || to == tensor.Complex128 {
		c.refuse("it casts to %s", typeName(to))
	}
	if !x.dtype.IsFloat() || !to.IsInteger() {
		return c.cast(x, to)
	}
	return c.truncate(x, to)
}

// truncate casts floating-point numbers to integers.
func (c *call) truncate(x *value, to tensor.DType) *value {
	via, least, bound := tensor.Int64, float64(math.MinInt64), math.Ldexp(1, 63)
	if to == tensor.Int32 || to.Size() < 4 {
		via, least, bound = tensor.Int32, math.MinInt32, math.Ldexp(1, 31)
	}
	if to == tensor.Uint64 {
		// Numbers from 2^63 on are what is above, with the highest bit set.
		wide := c.cast(x, computing(x.dtype))
		half := c.like(wide, math.Ldexp(1, 63))
		high := c.onnx("GreaterOrEqual", nil, wide, half)
		low := c.cast(c.where(high, c.onnx("Sub", nil, wide, half), wide), tensor.Int64)
		return c.cast(c.where(high, c.onnx("Add", nil, low, c.like(low, math.MinInt64)), low), to)
	}
	wide := c.cast(x, computing(x.dtype))
	inside := c.onnx("And", nil, c.onnx("Less", nil, wide, c.like(wide, bound)), c.onnx("Greater", nil, wide, c.like(wide, -bound)))
	y := c.cast(c.where(inside, wide, c.like(wide, 0)), via)
	y = c.where(inside, y, c.like(y, least))
	return c.cast(y, to)
}

func (c *call) fill(v *value, x float64) *value {
	if v.dtype == tensor.String || v.handle != "" {
		c.refuse("it makes %s", cmpText(v))
	}
	element := c.like(v, x)
	return c.expand(element, c.shapeOf(v))
}

func cmpText(v *value) string {
	if v.handle != "" {
		return v.handle + "s"
	}
	return typeName(v.dtype)
}

func zerosLike(c *call) *value { return c.fill(c.shaped(0), 0) }

func onesLike(c *call) *value { return c.fill(c.shaped(0), 1) }

// shaped returns input i for its type and shape alone: its elements may be what cannot be converted, where its shape is known.
func (c *call) shaped(i int) *value {
	if i >= len(c.in) {
		c.damaged("it has %d inputs and needs %d", len(c.in), i+1)
	}
	v := c.in[i]
	if _, static := v.shape.Static(); v.bad && !static {
		panic(stopped{})
	}
	if v.handle != "" {
		c.refuse("input %d is a %s, not a tensor", i, v.handle)
	}
	return v
}

// clip is minimum, then maximum.
func clip(c *call) *value {
	x := c.arg(0)
	return c.num("Max", nil, c.num("Min", nil, x, c.arg(2)), c.arg(1))
}
