package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// indexOps find places, and take apart and put together by them. The lengths of their results depend on the elements.
var indexOps = map[string]operator{
	"Where": one(whereOp), "DynamicPartition": dynamicPartition, "DynamicStitch": one(dynamicStitch), "ParallelDynamicStitch": one(dynamicStitch),
	"Unique": unique, "UniqueV2": unique, "UniqueWithCounts": unique, "UniqueWithCountsV2": unique, "ReverseSequence": one(reverseSequence),
	"NonMaxSuppression": one(nonMax), "NonMaxSuppressionV2": one(nonMax), "NonMaxSuppressionV3": one(nonMax),
}

// whereOp gives the places of what is not zero, a row each.
func whereOp(c *call) *value {
	x := c.arg(0)
	if x.dtype != tensor.Bool {
		x = c.not(c.onnx("Equal", nil, x, c.like(x, 0)))
	}
	return c.transpose(c.onnx("NonZero", nil, x), 1, 0)
}

func dynamicPartition(c *call) []*value {
	x, parts := c.arg(0), c.cast(c.arg(1), tensor.Int64)
	n := c.int("num_partitions", 0)
	if n < 1 || n > 1<<16 {
		c.damaged("num_partitions %d", n)
	}
	rank := c.needRank(parts)
	rows := c.reshapeTo(x, c.concat(c.i64(-1), c.rest(x, rank)))
	flat := c.reshape(parts, -1)
	out := make([]*value, n)
	for i := range out {
		at := c.squeeze(c.onnx("NonZero", nil, c.onnx("Equal", nil, flat, c.index(int64(i)))), 0)
		out[i] = c.onnx("Gather", graph.Attrs{"axis": int64(0)}, rows, at)
	}
	return out
}

// dynamicStitch puts rows at their places; of several at one place the last one stays.
func dynamicStitch(c *call) *value {
	n := len(c.in) / 2
	if n == 0 {
		c.damaged("it has no inputs")
	}
	var places, rows []*value
	for i := range n {
		at, x := c.cast(c.arg(i), tensor.Int64), c.arg(n+i)
		places = append(places, c.reshape(at, -1))
		rows = append(rows, c.reshapeTo(x, c.concat(c.i64(-1), c.rest(x, c.needRank(at)))))
	}
	at, all := c.concat(places...), c.join(0, rows...)
	last := c.onnx("ReduceMax", graph.Attrs{"axes": []int64{0}, "keepdims": int64(1)}, c.concat(c.i64(-1), at))
	size := c.onnx("Add", nil, last, c.i64(1))
	count := c.squeeze(c.dim(at, 0), 0)
	order := c.onnx("Range", nil, c.index(0), count, c.index(1))
	from := c.onnx("ScatterElements", graph.Attrs{"reduction": "max"}, c.onnx("Expand", nil, c.index(0), size), at, order)
	return c.onnx("Gather", graph.Attrs{"axis": int64(0)}, all, from)
}

// unique keeps the first of equal elements, in their order.
func unique(c *call) []*value {
	x := c.arg(0)
	attrs := graph.Attrs{"sorted": int64(0)}
	if len(c.in) > 1 {
		axis := c.constInts(1, "axis")
		if len(axis) > 0 && c.needRank(x) != 1 {
			attrs["axis"] = axis[0]
		}
	}
	if len(attrs) == 1 && c.needRank(x) != 1 {
		c.damaged("an input of rank %d", c.needRank(x))
	}
	from := x.dtype
	if x.dtype != tensor.Float32 && x.dtype != tensor.Float64 {
		x = c.cast(x, tensor.Int64)
		if from.IsFloat() {
			c.refuse("it looks for equal elements of %v", from)
		}
	}
	out := c.multi("Unique", 4, attrs, x)
	to := c.dtype("out_idx", graphdef.Int32)
	return []*value{c.cast(out[0], from), c.cast(out[2], to), c.cast(out[3], to)}
}

// reverseSequence turns the first so many elements of each sequence round.
func reverseSequence(c *call) *value {
	x, lengths := c.arg(0), c.cast(c.arg(1), tensor.Int64)
	rank := c.needRank(x)
	batch, seq := c.axis(c.int("batch_dim", 0), rank), c.axis(c.int("seq_dim", 0), rank)
	if batch == seq {
		c.damaged("batch_dim and seq_dim are both %d", batch)
	}
	perm := []int64{int64(batch), int64(seq)}
	for i := range rank {
		if i != batch && i != seq {
			perm = append(perm, int64(i))
		}
	}
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	first := c.transpose(x, perm...)
	steps := c.unsqueeze(c.onnx("Range", nil, c.index(0), c.squeeze(c.dim(first, 1), 0), c.index(1)), 0)
	n := c.unsqueeze(lengths, 1)
	at := c.onnx("Where", nil, c.onnx("Less", nil, steps, n), c.onnx("Sub", nil, c.onnx("Sub", nil, n, c.index(1)), steps), steps)
	y := c.onnx("GatherND", graph.Attrs{"batch_dims": int64(1)}, first, c.unsqueeze(at, 2))
	return c.transpose(y, back...)
}

// nonMax selects boxes by their scores, leaving out those that overlap a better one.
func nonMax(c *call) *value {
	boxes, scores, most := c.arg(0), c.arg(1), c.cast(c.arg(2), tensor.Int64)
	boxes, scores = c.cast(boxes, tensor.Float32), c.cast(scores, tensor.Float32)
	in := []*value{c.unsqueeze(boxes, 0), c.unsqueeze(scores, 0, 1), c.reshape(most, 1)}
	if len(c.in) > 3 {
		in = append(in, c.reshape(c.cast(c.arg(3), tensor.Float32), 1))
	} else {
		in = append(in, c.constant(c.hint("threshold"), tensor.Vector(c.float("iou_threshold", 0.5))))
	}
	if len(c.in) > 4 {
		in = append(in, c.reshape(c.cast(c.arg(4), tensor.Float32), 1))
	}
	y := c.onnx("NonMaxSuppression", nil, in...)
	return c.cast(c.squeeze(c.slice(y, []int64{1}, []int64{2}, []int64{3}), 1), tensor.Int32)
}
