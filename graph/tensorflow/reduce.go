package tensorflow

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// reduceOps fold axes.
var reduceOps = map[string]operator{
	"Sum": one(reduction("ReduceSum")), "Prod": one(reduction("ReduceProd")), "Max": one(reduction("ReduceMax")), "Min": one(reduction("ReduceMin")),
	"Mean": one(mean), "All": one(all), "Any": one(anyOp), "ArgMax": one(arg("ArgMax")), "ArgMin": one(arg("ArgMin")), "Cumsum": one(cumsum),
	"EuclideanNorm": one(euclideanNorm), "L2Loss": one(l2Loss),
}

// axes returns the axes of a reduction, and whether there are any.
func (c *call) axes(x *value) ([]int64, bool) {
	given := c.constInts(1, "axes")
	if len(given) == 0 {
		return nil, false
	}
	rank := c.needRank(x)
	axes := make([]int64, len(given))
	for i, a := range given {
		axes[i] = int64(c.axis(a, rank))
	}
	slices.Sort(axes)
	return slices.Compact(axes), len(axes) > 0
}

// reduce folds axes by an ONNX operator.
func (c *call) reduce(op string, x *value, axes []int64, keep bool) *value {
	attrs := graph.Attrs{"keepdims": int64(0)}
	if keep {
		attrs["keepdims"] = int64(1)
	}
	switch {
	case op == "ReduceSum" && x.dtype.IsInteger() && x.con == nil:
		return c.sumIntegers(x, axes, attrs)
	case op == "ReduceSum":
		return c.num(op, attrs, x, c.i64(axes...))
	case op == "ReduceProd" && x.dtype.IsInteger() && x.con == nil:
		return c.multiplyIntegers(x, axes, keep)
	case x.dtype == tensor.Uint64: // which engines take for int64
		attrs["axes"] = slices.Clone(axes)
		return c.fromOrdered(c.onnx(op, attrs, c.ordered(x)))
	}
	attrs["axes"] = slices.Clone(axes)
	return c.num(op, attrs, x)
}

// ordered moves numbers of uint64 to int64, in the same order; fromOrdered moves them back.
func (c *call) ordered(x *value) *value {
	return c.onnx("Add", nil, c.cast(x, tensor.Int64), c.index(math.MinInt64))
}

func (c *call) fromOrdered(x *value) *value {
	return c.cast(c.onnx("Add", nil, x, c.index(math.MinInt64)), tensor.Uint64)
}

// sumIntegers wraps, as TensorFlow does. onnxruntime sums integers in float64 and saturates: it gets sums that float64 has exactly.
func (c *call) sumIntegers(x *value, axes []int64, attrs graph.Attrs) *value {
	wide := c.cast(x, tensor.Int64)
	total := func(v *value) *value { return c.onnx("ReduceSum", attrs, v, c.i64(axes...)) }
	if x.dtype.Size() < 8 {
		return c.cast(total(wide), x.dtype)
	}
	half := c.index(1 << 32)
	low := c.onnx("Mod", nil, wide, half)
	high := c.onnx("Div", nil, c.onnx("Sub", nil, wide, low), half)
	return c.cast(c.onnx("Add", nil, c.onnx("Mul", nil, total(high), half), total(low)), x.dtype)
}

// multiplyIntegers wraps too: it multiplies one half of what is to be folded by the other until one element is left.
func (c *call) multiplyIntegers(x *value, axes []int64, keep bool) *value {
	perm := []int64{}
	shape := []*value{c.i64()}
	count := int64(1)
	for i := range x.shape {
		if !slices.Contains(axes, int64(i)) {
			perm = append(perm, int64(i))
			shape = append(shape, c.dim(x, i))
		} else if d := x.shape[i]; d.Known() && count >= 0 {
			count *= d.Size
		} else {
			count = -1
		}
	}
	last := len(perm)
	perm = append(perm, axes...)
	y := c.reshapeTo(c.transpose(c.cast(x, tensor.Int64), perm...), c.concat(append(slices.Clone(shape), c.product(x, axes))...))
	pads := func(end int64) *value {
		p := make([]int64, 2*(last+1))
		p[len(p)-1] = end
		return c.i64(p...)
	}
	rounds := 31
	if count >= 0 {
		for rounds = 0; int64(1)<<rounds < count; rounds++ {
		}
	}
	for range rounds {
		y = c.onnx("Pad", nil, y, pads(1), c.index(1))
		n := c.onnx("Div", nil, c.dim(y, last), c.i64(2))
		at := c.i64(int64(last))
		first := c.onnx("Slice", nil, y, c.i64(0), n, at)
		second := c.onnx("Slice", nil, y, n, c.onnx("Mul", nil, n, c.i64(2)), at)
		y = c.onnx("Mul", nil, first, second)
	}
	final := shape
	if keep {
		final = nil
		for i := range x.shape {
			if slices.Contains(axes, int64(i)) {
				final = append(final, c.i64(1))
			} else {
				final = append(final, c.dim(x, i))
			}
		}
	}
	return c.cast(c.reshapeTo(y, c.concat(final...)), x.dtype)
}

// product is how many elements the axes have together, as a list of one.
func (c *call) product(x *value, axes []int64) *value {
	n := c.i64(1)
	for _, a := range axes {
		n = c.onnx("Mul", nil, n, c.dim(x, int(a)))
	}
	return n
}

func reduction(op string) func(c *call) *value {
	return func(c *call) *value {
		x := c.arg(0)
		if c.arg(1).con == nil {
			return c.reduceBy(op)
		}
		axes, ok := c.axes(x)
		if !ok {
			return x
		}
		if v := c.reduceEmpty(op, x, axes); v != nil {
			return v
		}
		return c.reduce(op, x, axes, c.bool("keep_dims", false))
	}
}

// reduceEmpty gives what a reduction over no elements is, which ONNX does not say; nil where there are some.
func (c *call) reduceEmpty(op string, x *value, axes []int64) *value {
	empty := false
	for _, a := range axes {
		empty = empty || x.shape[a].Size == 0
	}
	if !empty {
		return nil
	}
	var v float64
	switch op {
	case "ReduceSum":
	case "ReduceProd":
		v = 1
	case "ReduceMean":
		v = math.NaN()
	default:
		sign := 1
		if op == "ReduceMax" {
			sign = -1
		}
		v = extreme(x.dtype, sign)
	}
	return c.onnx("Expand", nil, c.like(x, v), c.reducedShape(x, axes))
}

// extreme is the largest (1) or smallest (-1) number of a type.
func extreme(d tensor.DType, sign int) float64 {
	switch {
	case d.IsFloat():
		return math.Inf(sign)
	case d.IsUnsigned() && sign < 0:
		return 0
	case d.IsUnsigned():
		return math.Ldexp(1, 8*d.Size()) - 1
	case sign < 0:
		return -math.Ldexp(1, 8*d.Size()-1)
	}
	return math.Ldexp(1, 8*d.Size()-1) - 1
}

// reducedShape is x's shape with axes folded.
func (c *call) reducedShape(x *value, axes []int64) *value {
	keep := c.bool("keep_dims", false)
	parts := []*value{c.i64()}
	for i := range x.shape {
		switch {
		case !slices.Contains(axes, int64(i)):
			parts = append(parts, c.dim(x, i))
		case keep:
			parts = append(parts, c.i64(1))
		}
	}
	return c.concat(parts...)
}

// mean of integers is their sum, which wraps, by their number, towards zero.
func mean(c *call) *value {
	x := c.arg(0)
	if c.arg(1).con == nil {
		return c.reduceBy("ReduceMean")
	}
	axes, ok := c.axes(x)
	if !ok {
		return x
	}
	if v := c.reduceEmpty("ReduceMean", x, axes); v != nil {
		return v
	}
	keep := c.bool("keep_dims", false)
	if x.dtype.IsFloat() {
		return c.reduce("ReduceMean", x, axes, keep)
	}
	return c.divide(c.reduce("ReduceSum", x, axes, keep), c.cast(c.squeeze(c.product(x, axes), 0), x.dtype))
}

// count returns how many of x's elements along the axes are true.
func (c *call) count(x *value, axes []int64) *value {
	return c.reduce("ReduceSum", c.cast(x, tensor.Int32), axes, c.bool("keep_dims", false))
}

func anyOp(c *call) *value {
	x := c.arg(0)
	axes, ok := c.axes(x)
	if !ok {
		return x
	}
	n := c.count(x, axes)
	return c.onnx("Greater", nil, n, c.like(n, 0))
}

func all(c *call) *value {
	x := c.arg(0)
	axes, ok := c.axes(x)
	if !ok {
		return x
	}
	n := c.count(c.not(x), axes)
	return c.onnx("Equal", nil, n, c.like(n, 0))
}

// arg finds the first of the largest or smallest elements.
func arg(op string) func(c *call) *value {
	return func(c *call) *value {
		x := c.arg(0)
		axis := int64(0)
		if len(c.in) > 1 {
			axis = c.constInt(1, "axis")
		}
		rank := c.needRank(x)
		if rank == 0 {
			return c.scalar(c.dtype("output_type", graphdef.Int64), 0)
		}
		if x.dtype == tensor.Bool {
			x = c.cast(x, tensor.Int32)
		}
		at := int64(c.axis(axis, rank))
		to := c.dtype("output_type", graphdef.Int64)
		if x.dtype == tensor.Uint64 {
			x = c.ordered(x)
		}
		if x.dtype == tensor.Int64 && x.con == nil { // which onnxruntime has ArgMax of in float64 alone
			largest := int64(1)
			if op == "ArgMin" {
				largest = 0
			}
			out := c.multi("TopK", 2, graph.Attrs{"axis": at, "largest": largest}, x, c.i64(1))
			return c.cast(c.squeeze(out[1], at), to)
		}
		return c.cast(c.num(op, graph.Attrs{"axis": at, "keepdims": int64(0)}, x), to)
	}
}

func cumsum(c *call) *value {
	x := c.arg(0)
	attrs := graph.Attrs{}
	if c.bool("exclusive", false) {
		attrs["exclusive"] = int64(1)
	}
	if c.bool("reverse", false) {
		attrs["reverse"] = int64(1)
	}
	return c.num("CumSum", attrs, x, c.index(c.constInt(1, "axis")))
}

func euclideanNorm(c *call) *value {
	x := c.arg(0)
	axes, ok := c.axes(x)
	if !ok {
		return c.num("Abs", nil, x)
	}
	if !x.dtype.IsFloat() {
		return c.truncate(c.onnx("Sqrt", nil, c.cast(c.reduce("ReduceSum", c.num("Mul", nil, x, x), axes, c.bool("keep_dims", false)), tensor.Float64)), x.dtype)
	}
	return c.inType(computing(x.dtype), func(in []*value) *value {
		return c.onnx("Sqrt", nil, c.reduce("ReduceSum", c.onnx("Mul", nil, in[0], in[0]), axes, c.bool("keep_dims", false)))
	}, x)
}

func l2Loss(c *call) *value {
	return c.inType(computing(c.arg(0).dtype), func(in []*value) *value {
		flat := c.reshape(in[0], -1)
		sum := c.reduce("ReduceSum", c.onnx("Mul", nil, flat, flat), []int64{0}, false)
		return c.onnx("Div", nil, sum, c.like(sum, 2))
	}, c.arg(0))
}

// reduceBy folds axes that are computed when the model runs. The rank of the result is known only where it keeps them.
func (c *call) reduceBy(op string) *value {
	x := c.arg(0)
	if !x.dtype.IsFloat() {
		c.refuse("its axes (input 1) must be constant for %v", x.dtype)
	}
	attrs := graph.Attrs{"keepdims": int64(0), "noop_with_empty_axes": int64(1)}
	if c.bool("keep_dims", false) {
		attrs["keepdims"] = int64(1)
	}
	axes := c.cast(c.arg(1), tensor.Int64)
	if axes.rank() == 0 {
		axes = c.unsqueeze(axes, 0)
	}
	return c.num(op, attrs, x, axes)
}
