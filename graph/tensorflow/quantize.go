package tensorflow

import (
	"math"
	"math/bits"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// quantizeOps mark where a network is to be quantized.
var quantizeOps = map[string]operator{
	"FakeQuantWithMinMaxArgs": one(fakeQuantArgs), "FakeQuantWithMinMaxVars": one(fakeQuantVars),
	"FakeQuantWithMinMaxVarsPerChannel": one(fakeQuantVars),
}

func fakeQuantArgs(c *call) *value {
	return c.fakeQuant(c.arg(0), []float32{c.float("min", -6)}, []float32{c.float("max", 6)}, false)
}

// fakeQuantVars has its range in tensors.
func fakeQuantVars(c *call) *value {
	low, high := c.arg(1), c.arg(2)
	per := c.op == "FakeQuantWithMinMaxVarsPerChannel"
	if low.con == nil || high.con == nil {
		return c.fakeQuantDynamic(c.arg(0), low, high)
	}
	l, ok1 := low.con.Raw().([]float32)
	h, ok2 := high.con.Raw().([]float32)
	if !ok1 || !ok2 || len(l) != len(h) || !per && len(l) != 1 {
		c.damaged("a range of %v and %v", low.shape, high.shape)
	}
	return c.fakeQuant(c.arg(0), l, h, per)
}

// levels returns the smallest and the largest number of a quantized element.
func (c *call) levels() (low, high float32) {
	n := c.int("num_bits", 8)
	if n < 2 || n > 16 {
		c.damaged("num_bits %d", n)
	}
	if c.bool("narrow_range", false) {
		low = 1
	}
	return low, float32(int64(1)<<n - 1)
}

// nudge moves a range so that zero is one of its steps, as TensorFlow does, in float32.
func nudge(low, high, qmin, qmax float32) (nudgedLow, nudgedHigh, scale float32, zero float32) {
	scale = (high - low) / (qmax - qmin)
	from := qmin - low/scale
	switch {
	case from < qmin:
		zero = qmin
	case from > qmax:
		zero = qmax
	default:
		zero = float32(math.Round(float64(from)))
	}
	return (qmin - zero) * scale, (qmax - zero) * scale, scale, zero
}

// fakeQuant quantizes and dequantizes. The result is a pair of QuantizeLinear and DequantizeLinear where 8 bits will do and ties,
// which TensorFlow rounds up and ONNX to even, have no place: where the step has many digits.
func (c *call) fakeQuant(x *value, low, high []float32, per bool) *value {
	qmin, qmax := c.levels()
	n := len(low)
	lows, highs, scales, inverse, zeros := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n), make([]uint8, n)
	linear := qmax <= 255
	for i := range n {
		if low[i] == 0 && high[i] == 0 { // nothing but zero
			scales[i], inverse[i] = 1, 0
			linear = false
			continue
		}
		if !(low[i] < high[i]) {
			c.damaged("a range from %v to %v", low[i], high[i])
		}
		var zero float32
		lows[i], highs[i], scales[i], zero = nudge(low[i], high[i], qmin, qmax)
		inverse[i], zeros[i] = 1/scales[i], uint8(min(zero, 255))
		linear = linear && bits.TrailingZeros32(math.Float32bits(scales[i])|1<<23) < 12
	}
	list := func(v []float32) *value {
		if !per {
			return c.constant(c.hint("range"), tensor.Scalar(v[0]))
		}
		return c.constant(c.hint("range"), tensor.Vector(v...))
	}
	var clipped *value
	if linear && !per { // what is no number has no place among 256 steps, so that Clip may do with it what it likes
		clipped = c.onnx("Clip", nil, x, list(lows), list(highs))
	} else {
		clipped = c.onnx("Min", nil, c.onnx("Max", nil, x, list(lows)), list(highs))
	}
	if linear {
		zero := c.constant(c.hint("zero"), tensor.Scalar(zeros[0]))
		var attrs graph.Attrs
		if per {
			zero = c.constant(c.hint("zero"), tensor.Vector(zeros...))
			attrs = graph.Attrs{"axis": int64(c.needRank(x) - 1)}
		}
		q := c.onnx("QuantizeLinear", attrs, clipped, list(scales), zero)
		return c.onnx("DequantizeLinear", attrs, q, list(scales), zero)
	}
	return c.steps(clipped, list(lows), list(scales), list(inverse))
}

// steps rounds to the steps of a range, up where there is a tie.
func (c *call) steps(clipped, low, scale, inverse *value) *value {
	steps := c.onnx("Mul", nil, c.onnx("Sub", nil, clipped, low), inverse)
	steps = c.onnx("Floor", nil, c.onnx("Add", nil, steps, c.like(steps, 0.5)))
	return c.onnx("Add", nil, c.onnx("Mul", nil, steps, scale), low)
}

// fakeQuantDynamic is for a range that is computed when the model runs.
func (c *call) fakeQuantDynamic(x, low, high *value) *value {
	qmin, qmax := c.levels()
	k := func(v float32) *value { return c.scalar(tensor.Float32, float64(v)) }
	scale := c.onnx("Div", nil, c.onnx("Sub", nil, high, low), k(qmax-qmin))
	from := c.onnx("Sub", nil, k(qmin), c.onnx("Div", nil, low, scale))
	zero := c.onnx("Floor", nil, c.onnx("Add", nil, c.onnx("Min", nil, c.onnx("Max", nil, from, k(qmin)), k(qmax)), k(0.5)))
	nudgedLow := c.onnx("Mul", nil, c.onnx("Sub", nil, k(qmin), zero), scale)
	nudgedHigh := c.onnx("Mul", nil, c.onnx("Sub", nil, k(qmax), zero), scale)
	clipped := c.onnx("Min", nil, c.onnx("Max", nil, x, nudgedLow), nudgedHigh)
	y := c.steps(clipped, nudgedLow, scale, c.onnx("Div", nil, k(1), scale))
	none := c.onnx("And", nil, c.onnx("Equal", nil, low, k(0)), c.onnx("Equal", nil, high, k(0)))
	return c.where(none, k(0), y)
}
