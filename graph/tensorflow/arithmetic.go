package tensorflow

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// arithmeticOps compute from two tensors or more, which are broadcast.
var arithmeticOps = map[string]operator{
	"Add": binary("Add"), "AddV2": binary("Add"), "Sub": binary("Sub"), "Mul": binary("Mul"), "Div": one(divOp), "RealDiv": one(divOp),
	"TruncateDiv": one(divOp), "FloorDiv": one(floorDiv), "FloorMod": one(floorMod), "Mod": one(truncateMod), "TruncateMod": one(truncateMod),
	"DivNoNan": one(divNoNaN), "MulNoNan": one(mulNoNaN), "Xdivy": one(xdivy), "Xlogy": one(xlogy), "Xlog1py": one(xlog1py),
	"Maximum": one(extremum("Max")), "Minimum": one(extremum("Min")), "Pow": one(pow), "SquaredDifference": one(squaredDifference), "Atan2": one(atan2),
	"AddN": one(addN), "AccumulateNV2": one(addN),
}

func (c *call) pair() (a, b *value) {
	a, b = c.arg(0), c.arg(1)
	c.same(a, b)
	return a, b
}

func binary(op string) operator {
	return one(func(c *call) *value {
		a, b := c.pair()
		return c.num(op, nil, a, b)
	})
}

func divOp(c *call) *value {
	a, b := c.pair()
	return c.divide(a, b)
}

// divide rounds integers towards zero. Where TensorFlow would stop at a division by zero the result is 0.
func (c *call) divide(a, b *value) *value {
	if a.dtype.IsFloat() {
		return c.num("Div", nil, a, b)
	}
	return c.integers(func(a, b *value) *value {
		if b.con != nil && !hasElement(b.con, 0, -1) {
			return c.onnx("Div", nil, a, b)
		}
		// Neither 0 nor -1 may divide: the one has no result, the other none for the smallest number; processors stop there.
		zero, minus := c.onnx("Equal", nil, b, c.like(b, 0)), c.onnx("Equal", nil, b, c.like(b, -1))
		safe := c.onnx("Where", nil, c.onnx("Or", nil, zero, minus), c.like(b, 1), b)
		q := c.onnx("Where", nil, minus, c.onnx("Neg", nil, a), c.onnx("Div", nil, a, safe))
		return c.onnx("Where", nil, zero, c.like(b, 0), q)
	}, a, b)
}

// hasElement reports whether a constant of integers has one of these elements.
func hasElement(t *tensor.Tensor, elements ...int64) bool {
	all, ok := intsOf(t)
	return !ok || slices.ContainsFunc(all, func(v int64) bool { return slices.Contains(elements, v) })
}

// integers computes with integers in int64, or in uint64 as it is: by two numbers below 2^63 and what is above.
func (c *call) integers(compute func(a, b *value) *value, a, b *value) *value {
	if a.dtype == tensor.Uint64 {
		c.refuse("ONNX's engines have no division of uint64")
	}
	return c.inType(tensor.Int64, func(in []*value) *value { return compute(in[0], in[1]) }, a, b)
}

func floorDiv(c *call) *value {
	a, b := c.pair()
	if a.dtype.IsFloat() {
		return c.inType(computing(a.dtype), func(in []*value) *value {
			q := c.num("Div", nil, in[0], in[1])
			if in[0].dtype != a.dtype { // which rounds before it goes down
				q = c.cast(c.cast(q, a.dtype), in[0].dtype)
			}
			return c.num("Floor", nil, q)
		}, a, b)
	}
	if a.dtype.IsUnsigned() {
		return c.divide(a, b)
	}
	return c.integers(func(a, b *value) *value {
		q := c.divide(a, b)
		r := c.onnx("Sub", nil, a, c.onnx("Mul", nil, q, b))
		down := c.onnx("And", nil, c.not(c.onnx("Equal", nil, r, c.like(r, 0))), c.signsDiffer(r, b))
		return c.onnx("Sub", nil, q, c.cast(down, tensor.Int64))
	}, a, b)
}

func (c *call) not(v *value) *value { return c.onnx("Not", nil, v) }

// signsDiffer reports where one of two numbers is below zero and the other not.
func (c *call) signsDiffer(a, b *value) *value {
	return c.onnx("Xor", nil, c.onnx("Less", nil, a, c.like(a, 0)), c.onnx("Less", nil, b, c.like(b, 0)))
}

// floorMod has the sign of the divisor.
func floorMod(c *call) *value {
	a, b := c.pair()
	if a.dtype.IsFloat() {
		return c.inType(computing(a.dtype), func(in []*value) *value {
			r := c.remainder(in[0], in[1])
			move := c.onnx("And", nil, c.not(c.onnx("Equal", nil, r, c.like(r, 0))), c.signsDiffer(r, in[1]))
			return c.where(move, c.onnx("Add", nil, r, in[1]), r)
		}, a, b)
	}
	return c.integers(func(a, b *value) *value {
		r := c.remainder(a, b)
		move := c.onnx("And", nil, c.not(c.onnx("Equal", nil, r, c.like(r, 0))), c.signsDiffer(r, b))
		return c.where(move, c.onnx("Add", nil, r, b), r)
	}, a, b)
}

// truncateMod has the sign of the dividend.
func truncateMod(c *call) *value {
	a, b := c.pair()
	if a.dtype.IsFloat() {
		return c.inType(computing(a.dtype), func(in []*value) *value { return c.remainder(in[0], in[1]) }, a, b)
	}
	return c.integers(c.remainder, a, b)
}

// remainder is what a division towards zero leaves.
func (c *call) remainder(a, b *value) *value {
	if a.dtype.IsFloat() {
		return c.onnx("Mod", graph.Attrs{"fmod": int64(1)}, a, b)
	}
	return c.onnx("Sub", nil, a, c.onnx("Mul", nil, c.divide(a, b), b))
}

func divNoNaN(c *call) *value {
	a, b := c.pair()
	return c.where(c.onnx("Equal", nil, b, c.like(b, 0)), c.like(a, 0), c.divide(a, b))
}

func mulNoNaN(c *call) *value {
	a, b := c.pair()
	return c.where(c.onnx("Equal", nil, b, c.like(b, 0)), c.like(a, 0), c.num("Mul", nil, a, b))
}

func xdivy(c *call) *value {
	x, y := c.pair()
	return c.where(c.onnx("Equal", nil, x, c.like(x, 0)), c.like(x, 0), c.divide(x, y))
}

func xlogy(c *call) *value {
	x, y := c.pair()
	return c.inType(computing(x.dtype), func(in []*value) *value {
		return c.where(c.onnx("Equal", nil, in[0], c.like(in[0], 0)), c.like(in[0], 0), c.num("Mul", nil, in[0], c.num("Log", nil, in[1])))
	}, x, y)
}

func xlog1py(c *call) *value {
	x, y := c.pair()
	k := *c
	k.in = []*value{y}
	return c.where(c.onnx("Equal", nil, x, c.like(x, 0)), c.like(x, 0), c.num("Mul", nil, x, log1p(&k)))
}

// extremum is Maximum or Minimum.
func extremum(op string) func(c *call) *value {
	return func(c *call) *value {
		a, b := c.pair()
		return c.num(op, nil, a, b)
	}
}

// pow of integers wraps, as repeated products do: by squaring for as many bits as the exponent has.
func pow(c *call) *value {
	a, b := c.pair()
	if a.dtype.IsFloat() {
		return c.num("Pow", nil, a, b)
	}
	return c.inType(tensor.Int64, func(in []*value) *value {
		base, exp := in[0], in[1]
		bits := 8 * b.dtype.Size()
		if b.con != nil {
			if all, ok := intsOf(b.con); ok {
				most := int64(0)
				for _, v := range all {
					most = max(most, v)
				}
				for bits = 0; most>>bits > 0; bits++ {
				}
			}
		}
		result := c.like(base, 1)
		for i := range bits {
			odd := c.onnx("Equal", nil, c.onnx("Mod", nil, exp, c.like(exp, 2)), c.like(exp, 1))
			result = c.onnx("Where", nil, odd, c.onnx("Mul", nil, result, base), result)
			if i < bits-1 {
				exp = c.onnx("Div", nil, exp, c.like(exp, 2))
				base = c.onnx("Mul", nil, base, base)
			}
		}
		if bits == 0 { // of the shape of both
			return c.onnx("Add", nil, c.onnx("Mul", nil, base, c.like(base, 0)), c.onnx("Add", nil, c.onnx("Mul", nil, exp, c.like(exp, 0)), result))
		}
		return result
	}, a, b)
}

func squaredDifference(c *call) *value {
	a, b := c.pair()
	d := c.num("Sub", nil, a, b)
	return c.num("Mul", nil, d, d)
}

func addN(c *call) *value {
	all := c.args(0)
	if len(all) == 0 {
		c.damaged("it has no inputs")
	}
	c.same(all...)
	sum := all[0]
	for _, v := range all[1:] {
		sum = c.num("Add", nil, sum, v)
	}
	return sum
}

// atan2 is the angle of (x, y), from the arc tangent of their ratio and their signs.
func atan2(c *call) *value {
	y, x := c.pair()
	return c.inType(computing(y.dtype), func(in []*value) *value {
		y, x := in[0], in[1]
		k := func(v float64) *value { return c.like(y, v) }
		abs := func(v *value) *value { return c.onnx("Abs", nil, v) }
		zero := k(0)
		// A zero has a sign, which the reciprocal shows.
		negative := func(v *value) *value {
			return c.onnx("Less", nil, c.where(c.onnx("Equal", nil, v, zero), c.onnx("Div", nil, k(1), v), v), zero)
		}
		ax, ay := abs(x), abs(y)
		steep := c.onnx("Greater", nil, ay, ax)
		small, large := c.where(steep, ax, ay), c.where(steep, ay, ax)
		// Equal ones, infinite or zero, have no ratio.
		ratio := c.where(c.onnx("Equal", nil, small, large), k(1), c.onnx("Div", nil, small, large))
		ratio = c.where(c.onnx("Equal", nil, small, zero), zero, ratio)
		a := c.num("Atan", nil, ratio)
		a = c.where(steep, c.onnx("Sub", nil, k(math.Pi/2), a), a)
		a = c.where(negative(x), c.onnx("Sub", nil, k(math.Pi), a), a)
		a = c.where(negative(y), c.onnx("Neg", nil, a), a)
		unknown := c.onnx("Add", nil, x, y)
		nan := c.onnx("Or", nil, c.not(c.onnx("Equal", nil, x, x)), c.not(c.onnx("Equal", nil, y, y)))
		return c.where(nan, unknown, a)
	}, y, x)
}
