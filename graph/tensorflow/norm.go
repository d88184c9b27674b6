package tensorflow

import (
	"math"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// normOps normalize.
var normOps = map[string]operator{
	"FusedBatchNorm": batchNorm, "FusedBatchNormV2": batchNorm, "FusedBatchNormV3": batchNorm, "LRN": one(lrn),
	"BatchNormWithGlobalNormalization": one(globalNorm),
}

// batchNorm uses the mean and variance that it is given, or, where it trains, those of the batch. The parameters may be float32 beside
// a 16-bit input.
func batchNorm(c *call) []*value {
	x := c.arg(0)
	scale, offset, mean, variance := c.arg(1), c.arg(2), c.arg(3), c.arg(4)
	format := c.string("data_format", "NHWC")
	spatial := 2
	if strings.Contains(format, "D") {
		spatial = 3
	}
	w := &window{first: strings.HasPrefix(format, "NC"), spatial: spatial}
	if x.shape != nil && len(x.shape) != spatial+2 {
		c.damaged("an input of shape %v", x.shape)
	}
	epsilon := c.float("epsilon", 0.0001)
	from := x.dtype
	x = c.cast(x, scale.dtype)
	first := c.toFirst(w, x)
	if !c.bool("is_training", true) {
		y := c.num("BatchNormalization", graph.Attrs{"epsilon": epsilon}, first, scale, offset, mean, variance)
		return []*value{c.cast(c.toLast(w, y), from), mean, variance, mean, variance, c.like(scale, 0)}
	}
	return c.trainNorm(w, first, from, epsilon)
}

// trainNorm normalizes by the batch, and gives its mean and its unbiased variance, or with a factor what is between them and those given.
func (c *call) trainNorm(w *window, x *value, from tensor.DType, epsilon float32) []*value {
	scale, offset := c.arg(1), c.arg(2)
	axes := []int64{0}
	var inner []int64
	for i := range w.spatial {
		axes = append(axes, int64(i+2))
		inner = append(inner, int64(i+1))
	}
	mean := c.reduce("ReduceMean", x, axes, true)
	d := c.onnx("Sub", nil, x, mean)
	variance := c.reduce("ReduceMean", c.onnx("Mul", nil, d, d), axes, true)
	y := c.onnx("Div", nil, d, c.onnx("Sqrt", nil, c.onnx("Add", nil, variance, c.like(variance, float64(epsilon)))))
	y = c.onnx("Add", nil, c.onnx("Mul", nil, y, c.unsqueeze(scale, inner...)), c.unsqueeze(offset, inner...))
	flat := func(v *value) *value { return c.squeeze(v, axes...) }
	mean, variance = flat(mean), flat(variance)
	n := c.cast(c.squeeze(c.product(x, axes), 0), variance.dtype)
	less := c.onnx("Max", nil, c.onnx("Sub", nil, n, c.like(n, 1)), c.like(n, 1))
	unbiased := c.onnx("Mul", nil, variance, c.onnx("Div", nil, n, less))
	outMean, outVariance := mean, unbiased
	if factor := float64(c.float("exponential_avg_factor", 1)); factor != 1 {
		mix := func(old, now *value) *value {
			return c.onnx("Add", nil, c.onnx("Mul", nil, old, c.like(old, 1-factor)), c.onnx("Mul", nil, now, c.like(now, factor)))
		}
		outMean, outVariance = mix(c.arg(3), mean), mix(c.arg(4), unbiased)
	}
	return []*value{c.cast(c.toLast(w, y), from), outMean, outVariance, mean, variance, c.like(scale, 0)}
}

// globalNorm is batch normalization as TensorFlow had it first.
func globalNorm(c *call) *value {
	x, mean, variance, beta, gamma := c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4)
	if !c.bool("scale_after_normalization", true) {
		gamma = c.onnx("Add", nil, c.onnx("Mul", nil, beta, c.like(beta, 0)), c.like(beta, 1))
	}
	w := &window{spatial: 2}
	epsilon := c.float("variance_epsilon", 0.001)
	return c.toLast(w, c.num("BatchNormalization", graph.Attrs{"epsilon": epsilon}, c.toFirst(w, x), gamma, beta, mean, variance))
}

// lrn sums squares over neighbouring channels; ONNX divides alpha by their number.
func lrn(c *call) *value {
	x := c.arg(0)
	radius := c.int("depth_radius", 5)
	if radius < 0 || radius > math.MaxInt32 {
		c.damaged("depth_radius %d", radius)
	}
	size := 2*radius + 1
	w := &window{spatial: 2}
	return c.toLast(w, c.num("LRN", graph.Attrs{
		"size": size, "alpha": c.float("alpha", 1) * float32(size), "beta": c.float("beta", 0.5), "bias": c.float("bias", 1),
	}, c.toFirst(w, x)))
}
