package tensorflow

import (
	"github.com/millrace/millrace/tensor"
)

// compareOps give booleans, or choose by them.
var compareOps = map[string]operator{
	"Equal": one(func(c *call) *value { return c.compare("Equal") }), "NotEqual": one(func(c *call) *value { return c.not(c.compare("Equal")) }),
	"Less": one(func(c *call) *value { return c.compare("Less") }), "LessEqual": one(func(c *call) *value { return c.compare("LessOrEqual") }),
	"Greater": one(func(c *call) *value { return c.compare("Greater") }), "GreaterEqual": one(func(c *call) *value { return c.compare("GreaterOrEqual") }),
	"LogicalAnd": one(func(c *call) *value { return c.onnx("And", nil, c.arg(0), c.arg(1)) }),
	"LogicalOr":  one(func(c *call) *value { return c.onnx("Or", nil, c.arg(0), c.arg(1)) }),
	"LogicalXor": one(func(c *call) *value { return c.onnx("Xor", nil, c.arg(0), c.arg(1)) }),
	"ApproximateEqual": one(func(c *call) *value {
		a, b := c.pair()
		d := c.num("Abs", nil, c.num("Sub", nil, a, b))
		return c.onnx("Less", nil, d, c.like(d, float64(c.float("tolerance", 1e-5))))
	}),
	"Select": one(selectOp), "SelectV2": one(selectV2),
}

func (c *call) compare(op string) *value {
	a, b := c.pair()
	if a.dtype == tensor.Uint64 { // engines compare as int64: with the half of the range taken away, the order is the same
		a, b = c.ordered(a), c.ordered(b)
	}
	if a.dtype == tensor.BFloat16 { // which not every engine compares, while float32 has all its numbers
		a, b = c.cast(a, tensor.Float32), c.cast(b, tensor.Float32)
	}
	return c.onnx(op, nil, a, b)
}

// selectV2 broadcasts all three.
func selectV2(c *call) *value {
	cond := c.arg(0)
	if v := c.chosen(cond); v != nil {
		return v
	}
	return c.where(cond, c.arg(1), c.arg(2))
}

// chosen returns the input that a constant condition takes all elements of, where the result has its shape; else nil.
func (c *call) chosen(cond *value) *value {
	if cond.con == nil || len(c.in) < 3 || cond.con.Size() == 0 {
		return nil
	}
	for i, x := range []bool{true, false} {
		v, other := c.in[1+i], c.in[2-i]
		if !isOnly(cond.con, x) || v.handle != "" || v.bad {
			continue
		}
		if equalShapes(v.shape, other.shape) && (cond.rank() == 0 || equalShapes(cond.shape, v.shape)) {
			return v
		}
		if other.bad && cond.rank() == 0 && other.shape == nil {
			return nil
		}
	}
	return nil
}

// selectOp takes a condition of the operands' shape, a scalar, or one along the first dimension.
func selectOp(c *call) *value {
	cond := c.arg(0)
	if v := c.chosen(cond); v != nil {
		return v
	}
	a, b := c.arg(1), c.arg(2)
	if cond.shape != nil && a.shape != nil && len(cond.shape) == 1 && len(a.shape) > 1 {
		var axes []int64
		for i := 1; i < len(a.shape); i++ {
			axes = append(axes, int64(i))
		}
		cond = c.unsqueeze(cond, axes...)
	}
	return c.where(cond, a, b)
}
