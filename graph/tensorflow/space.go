package tensorflow

import (
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// spaceOps move elements between space, depth and batch.
var spaceOps = map[string]operator{
	"SpaceToDepth": one(spaceToDepth), "DepthToSpace": one(depthToSpace), "SpaceToBatchND": one(spaceToBatchND), "BatchToSpaceND": one(batchToSpaceND),
	"SpaceToBatch": one(spaceToBatch), "BatchToSpace": one(batchToSpace),
}

// blocks reads the block size and the layout, and moves channels last.
func (c *call) blocks() (x *value, block int64, first bool) {
	x = c.arg(0)
	block = c.int("block_size", 0)
	if block < 1 || block > 1<<16 {
		c.damaged("block_size %d", block)
	}
	switch format := c.string("data_format", "NHWC"); format {
	case "NHWC":
	case "NCHW":
		first = true
		x = c.transpose(x, 0, 2, 3, 1)
	default:
		c.refuse("data format %s", format)
	}
	if rank := c.needRank(x); rank != 4 {
		c.damaged("an input of rank %d", rank)
	}
	return x, block, first
}

func (c *call) unblock(y *value, first bool) *value {
	if first {
		return c.transpose(y, 0, 3, 1, 2)
	}
	return y
}

// over returns the length of an axis, times and divided by numbers, as a list of one.
func (c *call) over(x *value, axis int, times, by int64) *value {
	return c.onnx("Div", nil, c.onnx("Mul", nil, c.dim(x, axis), c.i64(times)), c.i64(by))
}

func spaceToDepth(c *call) *value {
	x, b, first := c.blocks()
	y := c.reshapeTo(x, c.concat(c.dim(x, 0), c.over(x, 1, 1, b), c.i64(b), c.over(x, 2, 1, b), c.i64(b), c.dim(x, 3)))
	y = c.transpose(y, 0, 1, 3, 2, 4, 5)
	return c.unblock(c.reshapeTo(y, c.concat(c.dim(x, 0), c.over(x, 1, 1, b), c.over(x, 2, 1, b), c.over(x, 3, b*b, 1))), first)
}

func depthToSpace(c *call) *value {
	x, b, first := c.blocks()
	y := c.reshapeTo(x, c.concat(c.dim(x, 0), c.dim(x, 1), c.dim(x, 2), c.i64(b), c.i64(b), c.over(x, 3, 1, b*b)))
	y = c.transpose(y, 0, 1, 3, 2, 4, 5)
	return c.unblock(c.reshapeTo(y, c.concat(c.dim(x, 0), c.over(x, 1, b, 1), c.over(x, 2, b, 1), c.over(x, 3, 1, b*b))), first)
}

func product(v []int64) int64 {
	p := int64(1)
	for _, x := range v {
		p *= x
	}
	return p
}

// blockSizes reads and checks the sizes of blocks.
func (c *call) blockSizes(x *value, block []int64) []int64 {
	if len(block) >= c.needRank(x) {
		c.damaged("%d block sizes of a tensor of rank %d", len(block), len(x.shape))
	}
	for _, b := range block {
		if b < 1 || b > 1<<16 {
			c.damaged("block sizes %v", block)
		}
	}
	return block
}

// columns returns the two columns of a list of m pairs.
func (c *call) columns(pairs *value, m int) (begins, ends *value) {
	if shape, ok := pairs.shape.Static(); ok && (len(shape) != 2 || shape[0] != m || shape[1] != 2) {
		c.damaged("pairs of shape %v for %d axes", shape, m)
	}
	pairs = c.cast(pairs, tensor.Int64)
	column := func(i int64) *value { return c.squeeze(c.slice(pairs, []int64{1}, []int64{i}, []int64{i + 1}), 1) }
	return column(0), column(1)
}

func spaceToBatchND(c *call) *value {
	return c.spaceToBatch(c.arg(0), c.constInts(1, "block shape"), c.arg(2))
}

func spaceToBatch(c *call) *value {
	b := c.int("block_size", 0)
	return c.spaceToBatch(c.arg(0), []int64{b, b}, c.arg(1))
}

// spaceToBatch pads, and moves the place within a block to the batch.
func (c *call) spaceToBatch(x *value, block []int64, paddings *value) *value {
	block = c.blockSizes(x, block)
	m, rank := len(block), len(x.shape)
	begins, ends := c.columns(paddings, m)
	rest := c.i64(make([]int64, rank-m-1)...)
	pads := c.concat(c.i64(0), begins, rest, c.i64(0), ends, rest)
	if p, ok := c.knownInts(pads); !ok || slices.ContainsFunc(p, func(p int64) bool { return p != 0 }) {
		x = c.padBy(x, pads)
	}
	shape := []*value{c.dim(x, 0)}
	final := []*value{c.over(x, 0, product(block), 1)}
	var inner, perm []int64
	for i := range m {
		shape = append(shape, c.over(x, 1+i, 1, block[i]), c.i64(block[i]))
		final = append(final, c.over(x, 1+i, 1, block[i]))
		perm = append(perm, int64(2+2*i))
		inner = append(inner, int64(1+2*i))
	}
	perm = append(append(perm, 0), inner...)
	for i := 1 + m; i < rank; i++ {
		shape, final = append(shape, c.dim(x, i)), append(final, c.dim(x, i))
		perm = append(perm, int64(m+i))
	}
	return c.reshapeTo(c.transpose(c.reshapeTo(x, c.concat(shape...)), perm...), c.concat(final...))
}

func batchToSpaceND(c *call) *value {
	x, block, crops := c.arg(0), c.constInts(1, "block shape"), c.arg(2)
	if y := c.dilated(block, crops); y != nil {
		return y
	}
	return c.batchToSpace(x, block, crops)
}

func batchToSpace(c *call) *value {
	b := c.int("block_size", 0)
	return c.batchToSpace(c.arg(0), []int64{b, b}, c.arg(1))
}

// batchToSpace undoes spaceToBatch.
func (c *call) batchToSpace(x *value, block []int64, crops *value) *value {
	block = c.blockSizes(x, block)
	m, rank := len(block), len(x.shape)
	begins, ends := c.columns(crops, m)
	shape := []*value{c.i64(block...), c.over(x, 0, 1, product(block))}
	final := []*value{c.over(x, 0, 1, product(block))}
	perm := []int64{int64(m)}
	for i := range m {
		shape = append(shape, c.dim(x, 1+i))
		final = append(final, c.over(x, 1+i, block[i], 1))
		perm = append(perm, int64(m+1+i), int64(i))
	}
	for i := 1 + m; i < rank; i++ {
		shape, final = append(shape, c.dim(x, i)), append(final, c.dim(x, i))
		perm = append(perm, int64(m+i))
	}
	y := c.reshapeTo(c.transpose(c.reshapeTo(x, c.concat(shape...)), perm...), c.concat(final...))
	axes := identityPerm(m + 1)[1:]
	starts, ok1 := c.knownInts(begins)
	after, ok2 := c.knownInts(ends)
	if ok1 && ok2 {
		for i, n := range after {
			if after[i] = -n; n == 0 {
				after[i] = math.MaxInt64
			}
		}
		return c.cutAxes(y, axes, starts, after, nil)
	}
	lengths := c.slice(c.shapeOf(y), []int64{0}, []int64{1}, []int64{int64(m + 1)})
	return c.onnx("Slice", nil, y, begins, c.onnx("Sub", nil, lengths, ends), c.i64(axes...))
}
