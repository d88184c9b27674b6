package infer

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
)

// axesArg returns the axes of the second input (from opset 13 on) or of the attribute. known is false where they are
// computed, given where there are any.
func (c *call) axesArg() (axes []int64, given, known bool) {
	if c.has(1) {
		axes, known = c.ints(1)
		return axes, true, known
	}
	return c.attrs.Ints("axes", nil), c.attrs.Has("axes"), true
}

func inferSqueeze(c *call) error {
	x := c.arg(0)
	axes, given, ok := c.axesArg()
	switch {
	case x.shape == nil:
		c.set(0, x.dtype, nil)
		return nil
	case !ok:
		rank := -1
		if n := c.length(1); n >= 0 && n <= len(x.shape) {
			rank = len(x.shape) - n
		}
		c.set(0, x.dtype, unknownOfRank(rank))
		return nil
	}
	shape := graph.Shape{}
	if !given {
		for _, d := range x.shape {
			if !d.Known() { // it may be 1
				c.set(0, x.dtype, nil)
				return nil
			}
			if d.Size != 1 {
				shape = append(shape, d)
			}
		}
		c.set(0, x.dtype, shape)
		return nil
	}
	index, err := c.axes(axes, len(x.shape))
	if err != nil {
		return err
	}
	for i, d := range x.shape {
		if !slices.Contains(index, i) {
			shape = append(shape, d)
		} else if d.Known() && d.Size != 1 {
			return c.fail("axis %d of shape %v is not 1", i, x.shape)
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

func inferUnsqueeze(c *call) error {
	x := c.arg(0)
	axes, given, ok := c.axesArg()
	if !given {
		return c.fail("it has no axes")
	}
	if x.shape == nil || !ok {
		rank := -1
		if n := c.length(1); x.shape != nil && n >= 0 {
			rank = len(x.shape) + n
		}
		c.set(0, x.dtype, unknownOfRank(rank))
		return nil
	}
	shape := make(graph.Shape, len(x.shape)+len(axes))
	index, err := c.axes(axes, len(shape))
	if err != nil {
		return err
	}
	k := 0
	for i := range shape {
		if slices.Contains(index, i) {
			shape[i] = known(1)
			continue
		}
		shape[i] = x.shape[k]
		k++
	}
	c.set(0, x.dtype, shape)
	return nil
}

// AxesOrAll brings axes into [0, rank); all axes where nil is given.
func AxesOrAll(axes []int64, rank int) ([]int, error) {
	if axes != nil {
		return Axes(axes, rank)
	}
	index := make([]int, rank)
	for i := range index {
		index[i] = i
	}
	return index, nil
}

// Axes brings distinct axes into [0, rank).
func Axes(axes []int64, rank int) ([]int, error) {
	index := make([]int, len(axes))
	for i, a := range axes {
		k, err := Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(index[:i], k) {
			return nil, fmt.Errorf("axis %d twice", a)
		}
		index[i] = k
	}
	return index, nil
}

// Axis brings an axis into [0, rank).
func Axis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d of a value of rank %d", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}
