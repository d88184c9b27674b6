package infer

import (
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
