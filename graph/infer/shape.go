package infer

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// shapeRules are operators that change the shape and keep the elements, or fill up with more.
var shapeRules = rulesOf(map[string]rule{
	"Reshape":      inferReshape,
	"Flatten":      inferFlatten,
	"Transpose":    inferTranspose,
	"Squeeze":      inferSqueeze,
	"Unsqueeze":    inferUnsqueeze,
	"Expand":       inferExpand,
	"Tile":         inferTile,
	"DepthToSpace": inferDepthToSpace,
	"SpaceToDepth": inferSpaceToDepth,
	"Shape":        inferShapeOf,
	"Size":         inferSizeOf,
	"Pad":          inferPad,
})

func inferFlatten(c *call) error {
	x := c.arg(0)
	if x.shape == nil {
		c.set(0, x.dtype, graph.Shape{unknown, unknown})
		return nil
	}
	axis := c.attrs.Int("axis", 1)
	if axis < -int64(len(x.shape)) || axis > int64(len(x.shape)) {
		return c.fail("axis %d of shape %v", axis, x.shape)
	}
	if axis < 0 {
		axis += int64(len(x.shape))
	}
	rows, err := mulDims(x.shape[:axis]...)
	if err != nil {
		return c.fail("%w", err)
	}
	columns, err := mulDims(x.shape[axis:]...)
	if err != nil {
		return c.fail("%w", err)
	}
	c.set(0, x.dtype, graph.Shape{rows, columns})
	return nil
}

func inferTranspose(c *call) error {
	x := c.arg(0)
	perm := c.attrs.Ints("perm", nil)
	if x.shape == nil {
		rank := -1
		if perm != nil {
			rank = len(perm)
		}
		c.set(0, x.dtype, unknownOfRank(rank))
		return nil
	}
	order := make([]int, len(x.shape))
	for i := range order {
		order[i] = len(order) - 1 - i
	}
	if c.attrs.Has("perm") {
		if len(perm) != len(x.shape) {
			return c.fail("perm %v for shape %v", perm, x.shape)
		}
		var err error
		if order, err = c.axes(perm, len(x.shape)); err != nil {
			return err
		}
	}
	shape := make(graph.Shape, len(order))
	for i, from := range order {
		shape[i] = x.shape[from]
	}
	c.set(0, x.dtype, shape)
	if own, ok := x.shape.Static(); ok && x.vals != nil {
		strides := stridesOf(own)
		size, _ := shape.Static()
		c.out[0].vals = pick(x.vals, size, func(index []int) int {
			at := 0
			for i, from := range order {
				at += index[i] * strides[from]
			}
			return at
		})
	}
	return nil
}

// stridesOf returns how many elements apart neighbours of each dimension are.
func stridesOf(shape tensor.Shape) []int {
	strides := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}

// pick makes the elements of a tensor of that shape, each from where at says.
func pick(vals []num, shape tensor.Shape, at func(index []int) int) []num {
	n, err := shape.Check()
	if err != nil || n > maxFollowed {
		return nil
	}
	out := make([]num, n)
	index := make([]int, len(shape))
	for i := range out {
		k := at(index)
		if k < 0 || k >= len(vals) {
			return nil
		}
		out[i] = vals[k]
		step(index, shape)
	}
	return out
}

func inferExpand(c *call) error {
	x, target := c.arg(0), c.arg(1)
	if target.vals == nil {
		rank := c.length(1)
		if x.shape == nil || rank < 0 {
			c.set(0, x.dtype, nil)
			return nil
		}
		// A dimension that is not 1 stays; where it is 1, the target decides.
		shape := unknownOfRank(max(rank, len(x.shape)))
		for i, d := range x.shape {
			if d.Known() && d.Size != 1 {
				shape[len(shape)-len(x.shape)+i] = d
			}
		}
		c.set(0, x.dtype, shape)
		return nil
	}
	to := make(graph.Shape, len(target.vals))
	for i, v := range target.vals {
		if v.negative() {
			return c.fail("dimension %d of the shape is %d", i, v.int())
		}
		to[i] = v.dim()
	}
	shape, err := broadcast(x.shape, to)
	if err != nil {
		return c.fail("%w", err)
	}
	c.set(0, x.dtype, shape)
	if size, ok := shape.Static(); ok && x.vals != nil {
		if n, err := size.Check(); err == nil && n <= maxFollowed {
			c.out[0].vals = spread(x, size)
		}
	}
	return nil
}

func inferTile(c *call) error {
	x := c.arg(0)
	shape := unknownOfRank(x.rank())
	if repeats := c.arg(1).vals; x.shape != nil && repeats != nil && (c.opset >= 6 || len(c.in) == 2) {
		if len(repeats) != len(x.shape) {
			return c.fail("%d repeats for shape %v", len(repeats), x.shape)
		}
		for i, r := range repeats {
			d, err := repeated(x.shape[i], r)
			if err != nil {
				return c.fail("repeat %d: %w", i, err)
			}
			shape[i] = d
		}
	} else if repeats, axis := c.arg(1).vals, c.arg(2).vals; x.shape != nil && len(c.in) == 3 && len(repeats) == 1 && len(axis) == 1 && axis[0].known {
		// Opset 1: one axis.
		k, err := c.axis(axis[0].int(), len(x.shape))
		if err != nil {
			return err
		}
		shape = slices.Clone(x.shape)
		if shape[k], err = repeated(shape[k], repeats[0]); err != nil {
			return c.fail("%w", err)
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

func repeated(d graph.Dim, times num) (graph.Dim, error) {
	if times.negative() {
		return unknown, fmt.Errorf("%d times", times.int())
	}
	return mulDims(d, times.dim())
}

func inferDepthToSpace(c *call) error {
	x := c.arg(0)
	block := c.attrs.Int("blocksize", 0)
	if block <= 0 || block > math.MaxInt16 {
		return c.fail("blocksize %d", block)
	}
	if err := c.wantRank(0, 4, 4); err != nil || x.shape == nil {
		c.set(0, x.dtype, unknownOfRank(4))
		return err
	}
	depth := unknown
	if d := x.shape[1]; d.Known() {
		if d.Size%(block*block) != 0 {
			return c.fail("%v channels with blocks of %d", d, block)
		}
		depth = known(d.Size / block / block)
	}
	shape := graph.Shape{x.shape[0], depth, unknown, unknown}
	for i := 2; i < 4; i++ {
		var err error
		if shape[i], err = mulDims(x.shape[i], known(block)); err != nil {
			return c.fail("%w", err)
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

func inferSpaceToDepth(c *call) error {
	x := c.arg(0)
	block := c.attrs.Int("blocksize", 0)
	if block <= 0 || block > math.MaxInt16 {
		return c.fail("blocksize %d", block)
	}
	if err := c.wantRank(0, 4, 4); err != nil || x.shape == nil {
		c.set(0, x.dtype, unknownOfRank(4))
		return err
	}
	depth, err := mulDims(x.shape[1], known(block*block))
	if err != nil {
		return c.fail("%w", err)
	}
	shape := graph.Shape{x.shape[0], depth, unknown, unknown}
	for i := 2; i < 4; i++ {
		if d := x.shape[i]; d.Known() {
			if d.Size%block != 0 {
				return c.fail("shape %v with blocks of %d", x.shape, block)
			}
			shape[i] = known(d.Size / block)
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// inferShapeOf follows the lengths as values; start and end came in opset 15.
func inferShapeOf(c *call) error {
	x := c.arg(0)
	if x.shape == nil {
		c.set(0, tensor.Int64, graph.Shape{unknown})
		return nil
	}
	rank := int64(len(x.shape))
	clamp := func(v int64) int64 {
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	start, end := clamp(c.attrs.Int("start", 0)), clamp(c.attrs.Int("end", rank))
	vals := []num{}
	for i := start; i < end; i++ {
		vals = append(vals, numOf(x.shape[i]))
	}
	c.set(0, tensor.Int64, graph.Shape{known(int64(len(vals)))})
	c.out[0].vals = vals
	return nil
}

func inferSizeOf(c *call) error {
	c.set(0, tensor.Int64, graph.Shape{})
	if x := c.arg(0); x.shape != nil {
		n, err := mulDims(x.shape...)
		if err != nil {
			return c.fail("%w", err)
		}
		c.out[0].vals = []num{numOf(n)}
	}
	return nil
}
