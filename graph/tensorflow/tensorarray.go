package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// tensorArrayOps are the lists of TensorFlow 1. A handle says nothing here: what is in the array is what the flow carries.
var tensorArrayOps = map[string]operator{
	"TensorArrayV3": tensorArray, "TensorArrayReadV3": one(tensorArrayRead), "TensorArrayWriteV3": one(tensorArrayWrite),
	"TensorArrayGatherV3": one(tensorArrayGather), "TensorArrayScatterV3": one(tensorArrayScatter), "TensorArraySizeV3": one(tensorArraySize),
	"TensorArrayConcatV3": tensorArrayConcat, "TensorArraySplitV3": one(tensorArraySplit), "TensorArrayCloseV3": nothing,
}

const handleOfArray = "tensor array"

func tensorArray(c *call) []*value {
	shape, _, err := c.st.attrs.Shape("element_shape")
	got(c, shape, err)
	l := c.reserve(c.dtype("dtype", graphdef.Float), shape, c.number(c.arg(0)))
	l.dynamic = c.bool("dynamic_size", false)
	return []*value{{handle: handleOfArray}, listValue(l)}
}

func tensorArrayRead(c *call) *value { return c.get(c.list(2), c.arg(1)) }

func tensorArrayWrite(c *call) *value {
	l := c.list(3)
	return listValue(c.set(l, c.arg(1), c.arg(2), l.dynamic))
}

// tensorArrayGather takes elements; all of them in order are the array itself.
func tensorArrayGather(c *call) *value {
	l, at := c.list(2), c.arg(1)
	if l.open == nil && c.inOrder(at, c.sizeOf(l)) {
		return c.all(l)
	}
	return c.gather(c.all(l), at, 0, 0)
}

// inOrder reports whether places are known to be 0, 1 and so on up to a size.
func (c *call) inOrder(at, size *value) bool {
	if places, ok := c.knownInts(at); ok {
		n, known := constant1(size)
		return known && int64(len(places)) == n && !slices.ContainsFunc(places, func(p int64) bool { return p < 0 || p >= n }) && slices.IsSorted(places) &&
			len(slices.Compact(slices.Clone(places))) == len(places)
	}
	n := c.source(at)
	for n != nil && n.OpType == "Cast" {
		n = c.source(c.named(n.Inputs[0]))
	}
	if n == nil || n.OpType != "Range" {
		return false
	}
	first, ok := constant1(c.named(n.Inputs[0]))
	step, ok2 := constant1(c.named(n.Inputs[2]))
	return ok && ok2 && first == 0 && step == 1 && c.equal(c.number(c.named(n.Inputs[1])), size)
}

func tensorArrayScatter(c *call) *value {
	l, at, x := c.list(3), c.arg(1), c.arg(2)
	if c.needRank(x) == 0 {
		c.damaged("it scatters a scalar")
	}
	if x.dtype != l.dtype {
		c.damaged("elements of %v for an array of %v", x.dtype, l.dtype)
	}
	rows := c.squeeze(c.dim(x, 0), 0)
	if l.open == nil && c.inOrder(at, rows) && (l.dynamic || c.equal(c.sizeOf(l), rows)) {
		return listValue(&list{dtype: l.dtype, shape: x.shape[1:], all: x, size: rows, dynamic: l.dynamic})
	}
	if l.dynamic {
		c.refuse("it makes an array longer by writing to places in any order")
	}
	return listValue(c.scatterAll(l, c.cast(at, tensor.Int64), x))
}

func tensorArraySize(c *call) *value { return c.cast(c.count1(c.list(1)), tensor.Int32) }

func tensorArrayConcat(c *call) []*value { return c.joined(c.list(1)) }

func tensorArraySplit(c *call) *value {
	x, sizes := c.arg(1), c.constInts(2, "lengths")
	if c.needRank(x) == 0 || len(sizes) > maxItems {
		c.refuse("it cuts a tensor of shape %v into %d elements", x.shape, len(sizes))
	}
	return listValue(&list{dtype: x.dtype, shape: graph.Shape(nil), size: c.index(int64(len(sizes))), items: c.pieces(x, 0, sizes), short: true})
}
