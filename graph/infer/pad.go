package infer

import (
	"fmt"
	"slices"
)

func inferPad(c *call) error {
	x := c.arg(0)
	pads, ok := c.attrs.Ints("pads", c.attrs.Ints("paddings", nil)), true
	if c.opset >= 11 {
		pads, ok = c.ints(1)
	}
	var axes []int64
	if c.has(3) && ok {
		axes, ok = c.ints(3)
	}
	if x.shape == nil || !ok {
		c.set(0, x.dtype, unknownOfRank(x.rank()))
		return nil
	}
	begin, end, err := Pads(pads, axes, len(x.shape))
	if err != nil {
		return c.fail("%w", err)
	}
	shape := slices.Clone(x.shape)
	for i, d := range shape {
		switch {
		case d.Known():
			n, err := PadLength(d.Size, begin[i], end[i])
			if err != nil {
				return c.fail("axis %d of shape %v: %w", i, x.shape, err)
			}
			shape[i] = known(n)
		case begin[i] != -end[i]:
			shape[i] = unknown
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// Pads spreads the pads of Pad, begins and then ends, over all dimensions. They are for these axes, or for all where there
// are none.
func Pads(pads, axes []int64, rank int) (begin, end []int64, err error) {
	index, err := AxesOrAll(axes, rank)
	if err != nil {
		return nil, nil, err
	}
	if len(pads) != 2*len(index) {
		return nil, nil, fmt.Errorf("%d pads for %d axes", len(pads), len(index))
	}
	begin, end = make([]int64, rank), make([]int64, rank)
	for i, axis := range index {
		begin[axis], end[axis] = pads[i], pads[len(index)+i]
	}
	return begin, end, nil
}

// PadLength returns the length of a dimension of n elements with these pads; a negative one takes elements away.
func PadLength(n, begin, end int64) (int64, error) {
	length, err := sumOf(n, begin, end)
	switch {
	case err != nil:
		return 0, fmt.Errorf("pads of %d and %d: %w", begin, end, err)
	case length < 0:
		return 0, fmt.Errorf("pads of %d and %d take more than the %d elements that are there", begin, end, n)
	}
	return length, nil
}
