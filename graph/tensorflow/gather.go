package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// gatherOps take and put elements by index.
var gatherOps = map[string]operator{
	"Gather": one(func(c *call) *value { return c.gather(c.arg(0), c.arg(1), 0, 0) }), "GatherV2": one(gatherV2), "GatherNd": one(gatherND),
	"ResourceGather": one(resourceGather), "ResourceGatherNd": one(resourceGatherND), "OneHot": one(oneHot), "ScatterNd": one(scatterND),
	"TopK": topK, "TopKV2": topK, "TensorScatterUpdate": one(tensorScatter("none")), "TensorScatterAdd": one(tensorScatter("add")),
	"TensorScatterSub": one(tensorScatter("sub")), "TensorScatterMax": one(tensorScatter("max")), "TensorScatterMin": one(tensorScatter("min")),
}

func gatherV2(c *call) *value {
	x, at := c.arg(0), c.arg(1)
	axis := c.constInt(2, "axis")
	batch := c.int("batch_dims", 0)
	if batch < 0 {
		batch += int64(c.needRank(at))
	}
	if axis < 0 {
		axis += int64(c.needRank(x))
	}
	return c.gather(x, at, int(axis), int(batch))
}

func resourceGather(c *call) *value {
	x := c.read(c.handle(0))
	batch := c.int("batch_dims", 0)
	return c.gather(x, c.arg(1), int(batch), int(batch))
}

func resourceGatherND(c *call) *value { return c.gatherND(c.read(c.handle(0)), c.arg(1), 0) }

// gather takes along an axis; the first batch axes of both are gone through together.
func (c *call) gather(x, at *value, axis, batch int) *value {
	if at.dtype != tensor.Int32 && at.dtype != tensor.Int64 {
		at = c.cast(at, tensor.Int64)
	}
	if batch == 0 {
		return c.onnx("Gather", graph.Attrs{"axis": int64(axis)}, x, at)
	}
	rank, indexRank := c.needRank(x), c.needRank(at)
	if axis < batch || axis >= rank || batch > indexRank {
		c.damaged("axis %d and batch_dims %d of shapes %v and %v", axis, batch, x.shape, at.shape)
	}
	// The axis comes to stand behind the batch; afterwards what stood between goes back before what was taken.
	perm := identityPerm(rank)
	perm = append(append(append([]int64{}, perm[:batch]...), int64(axis)), append(append([]int64{}, perm[batch:axis]...), perm[axis+1:]...)...)
	y := c.onnx("GatherND", graph.Attrs{"batch_dims": int64(batch)}, c.transpose(x, perm...), c.unsqueeze(c.cast(at, tensor.Int64), -1))
	between, picked := axis-batch, indexRank-batch
	back := identityPerm(batch)
	for i := range between {
		back = append(back, int64(batch+picked+i))
	}
	for i := range picked {
		back = append(back, int64(batch+i))
	}
	for i := batch + picked + between; i < rank-1+picked; i++ {
		back = append(back, int64(i))
	}
	return c.transpose(y, back...)
}

func gatherND(c *call) *value { return c.gatherND(c.arg(0), c.arg(1), c.int("batch_dims", 0)) }

func (c *call) gatherND(x, at *value, batch int64) *value {
	if len(at.shape) > 0 && at.last().Size == 0 { // no index: all of x, for each
		shape := c.concat(c.slice(c.shapeOf(at), []int64{0}, []int64{0}, []int64{-1}), c.shapeOf(x))
		return c.expand(x, shape)
	}
	var attrs graph.Attrs
	if batch != 0 {
		attrs = graph.Attrs{"batch_dims": batch}
	}
	return c.onnx("GatherND", attrs, x, c.cast(at, tensor.Int64))
}

// oneHot compares: an index beyond the depth, or a negative one, is off everywhere.
func oneHot(c *call) *value {
	at, depth, on, off := c.arg(0), c.arg(1), c.arg(2), c.arg(3)
	c.same(on, off)
	axis := c.int("axis", -1)
	rank := c.needRank(at)
	if axis < 0 {
		axis += int64(rank) + 1
	}
	if axis < 0 || axis > int64(rank) {
		c.damaged("axis %d", axis)
	}
	wide := c.cast(at, tensor.Int64)
	steps := c.onnx("Range", nil, c.index(0), c.cast(depth, tensor.Int64), c.index(1))
	var after []int64
	for i := int64(1); i <= int64(rank)-axis; i++ {
		after = append(after, i)
	}
	hit := c.onnx("Equal", nil, c.unsqueeze(wide, axis), c.unsqueeze(steps, after...))
	return c.where(hit, on, off)
}

// scatterND sums what falls on one place.
func scatterND(c *call) *value {
	at, updates, shape := c.arg(0), c.arg(1), c.arg(2)
	return c.scatter(c.onnx("Expand", nil, c.like(updates, 0), c.cast(shape, tensor.Int64)), at, updates, "add")
}

func tensorScatter(reduction string) func(c *call) *value {
	return func(c *call) *value {
		x, at, updates := c.arg(0), c.arg(1), c.arg(2)
		c.same(x, updates)
		if reduction == "sub" {
			return c.scatter(x, at, c.num("Sub", nil, c.like(updates, 0), updates), "add")
		}
		return c.scatter(x, at, updates, reduction)
	}
}

func (c *call) scatter(x, at, updates *value, reduction string) *value {
	at = c.cast(at, tensor.Int64)
	if reduction == "none" {
		return c.onnx("ScatterND", nil, x, at, updates)
	}
	attrs := graph.Attrs{"reduction": reduction}
	if x.dtype == tensor.Bool {
		c.refuse("it sums booleans")
	}
	sum := func(in []*value) *value { return c.onnx("ScatterND", attrs, in[0], at, in[1]) }
	if x.dtype == tensor.Float16 || x.dtype == tensor.BFloat16 { // which not every engine joins
		return c.inType(tensor.Float32, sum, x, updates)
	}
	return sum([]*value{x, updates})
}

// topK gives the lower index first among equal elements.
func topK(c *call) []*value {
	x := c.arg(0)
	var k *value
	if c.op == "TopK" {
		k = c.i64(c.int("k", 0))
	} else {
		k = c.reshape(c.cast(c.arg(1), tensor.Int64), 1)
	}
	attrs := graph.Attrs{"axis": int64(-1)}
	if !c.bool("sorted", true) {
		attrs["sorted"] = int64(1) // one order of those that will do
	}
	out := c.nums("TopK", 2, attrs, x, k)
	out[1] = c.cast(out[1], c.dtype("index_type", graphdef.Int32))
	return out
}
