package tensorflow

import (
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// segmentOps reduce rows by the number of their segment, and count.
var segmentOps = map[string]operator{
	"SegmentSum": one(segment("add")), "SegmentProd": one(segment("mul")), "SegmentMax": one(segment("max")), "SegmentMin": one(segment("min")),
	"SegmentMean": one(segment("mean")), "UnsortedSegmentSum": one(unsorted("add")), "UnsortedSegmentProd": one(unsorted("mul")),
	"UnsortedSegmentMax": one(unsorted("max")), "UnsortedSegmentMin": one(unsorted("min")),
	"DenseBincount": one(bincount), "Bincount": one(bincount), "LowerBound": one(bound("Less")), "UpperBound": one(bound("LessOrEqual")),
	"InTopK": one(inTopK), "InTopKV2": one(inTopK),
}

// identityOf is the element that a reduction begins with.
func (c *call) identityOf(op string, d tensor.DType) *value {
	switch op {
	case "mul":
		return c.scalar(d, 1)
	case "max":
		return c.scalar(d, lowest(d, -1))
	case "min":
		return c.scalar(d, lowest(d, 1))
	}
	return c.scalar(d, 0)
}

// lowest is extreme, but the largest number of a floating-point type instead of infinity.
func lowest(d tensor.DType, sign int) float64 {
	s := float64(sign)
	switch d {
	case tensor.Float32:
		return s * 3.4028234663852886e38
	case tensor.Float64:
		return s * 1.7976931348623157e308
	case tensor.Float16:
		return s * 65504
	case tensor.BFloat16:
		return s * 3.3895313892515355e38
	}
	return extreme(d, sign)
}

// scatterRows reduces the rows of x into n rows; ids is a list.
func (c *call) scatterRows(op string, x, ids, n *value) *value {
	shape := c.concat(n, c.rest(x, 1))
	base := c.onnx("Expand", nil, c.identityOf(op, x.dtype), shape)
	return c.onnx("ScatterND", graph.Attrs{"reduction": op}, base, c.unsqueeze(ids, 1), x)
}

// rest is the shape of x from an axis on.
func (c *call) rest(x *value, from int) *value {
	parts := []*value{c.i64()}
	for i := from; i < c.needRank(x); i++ {
		parts = append(parts, c.dim(x, i))
	}
	return c.concat(parts...)
}

// segment has sorted ids; the last one says how many segments there are, and one without rows is zero, or one for a product.
func segment(op string) func(c *call) *value {
	return func(c *call) *value {
		x, ids := c.arg(0), c.cast(c.arg(1), tensor.Int64)
		c.needRank(x)
		last := c.onnx("ReduceMax", graph.Attrs{"axes": []int64{0}, "keepdims": int64(1)}, c.concat(c.i64(-1), ids))
		n := c.onnx("Add", nil, last, c.i64(1))
		if op == "add" || op == "mul" {
			return c.scatterRows(op, x, ids, n)
		}
		from := x
		if op == "mean" {
			x = c.cast(x, computing(x.dtype))
		}
		count := c.onnx("ScatterND", graph.Attrs{"reduction": "add"}, c.onnx("Expand", nil, c.index(0), n), c.unsqueeze(ids, 1), c.onnx("Expand", nil, c.index(1), c.shapeOf(ids)))
		var axes []int64
		for i := 1; i < len(x.shape); i++ {
			axes = append(axes, int64(i))
		}
		count = c.unsqueeze(count, axes...)
		if op == "mean" {
			sum := c.scatterRows("add", x, ids, n)
			return c.cast(c.divide(sum, c.cast(c.onnx("Max", nil, count, c.index(1)), sum.dtype)), from.dtype)
		}
		return c.where(c.onnx("Equal", nil, count, c.index(0)), c.like(x, 0), c.scatterRows(op, x, ids, n))
	}
}

// unsorted is told how many segments there are; rows with a negative id are left out.
func unsorted(op string) func(c *call) *value {
	return func(c *call) *value {
		x, ids, n := c.arg(0), c.cast(c.arg(1), tensor.Int64), c.reshape(c.cast(c.arg(2), tensor.Int64), 1)
		rank := c.needRank(ids)
		rows := c.reshapeTo(x, c.concat(c.i64(-1), c.rest(x, rank)))
		ids = c.reshape(ids, -1)
		ids = c.onnx("Where", nil, c.onnx("Less", nil, ids, c.index(0)), n, ids) // to a row behind the last
		y := c.scatterRows(op, rows, ids, c.onnx("Add", nil, n, c.i64(1)))
		return c.onnx("Slice", nil, y, c.i64(0), n, c.i64(0))
	}
}

// bincount counts each number below size, or sums its weights, in each row.
func bincount(c *call) *value {
	x, size, weights := c.cast(c.arg(0), tensor.Int64), c.cast(c.arg(1), tensor.Int64), c.arg(2)
	if c.op == "Bincount" {
		x = c.reshape(x, -1)
		if weights.size() != 0 {
			weights = c.reshape(weights, -1)
		}
	}
	if rank := c.needRank(x); rank != 1 && rank != 2 {
		c.damaged("an input of rank %d", rank)
	}
	steps := c.onnx("Range", nil, c.index(0), c.squeezeAll(size), c.index(1))
	hit := c.onnx("Equal", nil, c.unsqueeze(x, -1), steps)
	axis := []int64{int64(len(x.shape) - 1)}
	switch {
	case weights.size() == 0 || c.bool("binary_output", false):
		count := c.reduce("ReduceSum", c.cast(hit, tensor.Int32), axis, false)
		if c.bool("binary_output", false) {
			return c.cast(c.onnx("Greater", nil, count, c.like(count, 0)), weights.dtype)
		}
		return c.cast(count, weights.dtype)
	case weights.size() < 0 && weights.shape == nil:
		c.refuse("it is not known whether there are weights")
	}
	return c.reduce("ReduceSum", c.where(hit, c.unsqueeze(weights, -1), c.like(weights, 0)), axis, false)
}

// squeezeAll makes a scalar of a value with one element.
func (c *call) squeezeAll(v *value) *value {
	if v.rank() == 0 {
		return v
	}
	return c.reshape(v)
}

// bound counts the numbers of a sorted row that are below a value.
func bound(op string) func(c *call) *value {
	return func(c *call) *value {
		sorted, values := c.pair()
		below := c.onnx(op, nil, c.unsqueeze(sorted, 1), c.unsqueeze(values, 2))
		return c.cast(c.reduce("ReduceSum", c.cast(below, tensor.Int32), []int64{2}, false), c.dtype("out_type", graphdef.Int32))
	}
}

// inTopK says whether the target is among the k largest; nothing can be said where a number is not finite.
func inTopK(c *call) *value {
	x, target := c.arg(0), c.cast(c.arg(1), tensor.Int64)
	var k *value
	if strings.HasSuffix(c.op, "V2") {
		k = c.cast(c.arg(2), tensor.Int64)
	} else {
		k = c.index(c.int("k", 0))
	}
	if rank := c.needRank(x); rank != 2 {
		c.damaged("predictions of rank %d", rank)
	}
	classes := c.dim(x, 1)
	inside := c.onnx("And", nil, c.not(c.onnx("Less", nil, target, c.index(0))), c.onnx("Less", nil, target, classes))
	safe := c.onnx("Where", nil, inside, target, c.index(0))
	at := c.onnx("GatherElements", graph.Attrs{"axis": int64(1)}, x, c.unsqueeze(safe, 1))
	d := c.onnx("Sub", nil, x, x)
	finite := c.onnx("Equal", nil, c.reduce("ReduceSum", c.cast(c.not(c.onnx("Equal", nil, d, d)), tensor.Int32), []int64{1}, false), c.scalar(tensor.Int32, 0))
	more := c.reduce("ReduceSum", c.cast(c.onnx("Greater", nil, x, at), tensor.Int64), []int64{1}, false)
	return c.onnx("And", nil, c.onnx("And", nil, inside, finite), c.onnx("Less", nil, more, c.squeezeAll(k)))
}
