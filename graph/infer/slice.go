package infer

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
)

// slice is one axis of a Slice.
type slice struct{ start, end, step num }

func inferSlice(c *call) error {
	x := c.arg(0)
	starts, ends, axes, steps := c.sliceArgs()
	if x.shape == nil {
		c.set(0, x.dtype, nil)
		return nil
	}
	if starts == nil || ends == nil || axes == nil && c.has(3) || steps == nil && c.has(4) {
		c.set(0, x.dtype, c.unknownSlice(axes))
		return nil
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	index, err := c.axes(axes, len(x.shape))
	if err != nil {
		return err
	}
	if len(starts) != len(ends) || len(starts) != len(index) || steps != nil && len(steps) != len(starts) {
		return c.fail("%d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(index), len(steps))
	}
	shape := slices.Clone(x.shape)
	from, by := make([]int64, len(shape)), make([]int64, len(shape))
	for i := range by {
		by[i] = 1
	}
	for i, axis := range index {
		part := slice{starts[i], ends[i], number(1)}
		if steps != nil {
			part.step = steps[i]
		}
		if part.step.is(0) {
			return c.fail("step %d is 0", i)
		}
		shape[axis], from[axis], by[axis] = part.of(shape[axis])
	}
	c.set(0, x.dtype, shape)
	own, ok := x.shape.Static()
	size, ok2 := shape.Static()
	if ok && ok2 && x.vals != nil {
		strides := stridesOf(own)
		c.out[0].vals = pick(x.vals, size, func(index []int) int {
			at := 0
			for i, k := range index {
				at += (int(from[i]) + k*int(by[i])) * strides[i]
			}
			return at
		})
	}
	return nil
}

// sliceArgs reads inputs (opset 10) or attributes; nil is what is not known or not given.
func (c *call) sliceArgs() (starts, ends []num, axes []int64, steps []num) {
	if c.opset >= 10 || len(c.in) > 1 {
		axes, _ = c.ints(3)
		return c.arg(1).vals, c.arg(2).vals, axes, c.arg(4).vals
	}
	list := func(name string) []num {
		out := []num{}
		for _, v := range c.attrs.Ints(name, nil) {
			out = append(out, number(v))
		}
		return out
	}
	return list("starts"), list("ends"), c.attrs.Ints("axes", nil), nil
}

// unknownSlice is the shape where starts, ends or steps are computed.
func (c *call) unknownSlice(axes []int64) graph.Shape {
	x := c.arg(0).shape
	if axes == nil && (c.has(3) || c.length(1) < 0) {
		return unknownOfRank(len(x))
	}
	shape := slices.Clone(x)
	if axes == nil {
		for i := range c.length(1) {
			axes = append(axes, int64(i))
		}
	}
	for _, a := range axes {
		if k, err := c.axis(a, len(x)); err == nil {
			shape[k] = unknown
		}
	}
	return shape
}

// of returns the length of a slice of a dimension, its first index and its step.
func (s slice) of(d graph.Dim) (length graph.Dim, from, by int64) {
	start, end, step := s.start.int(), s.end.int(), s.step.int()
	switch {
	case s.start.known && s.end.known && s.step.known && d.Known():
		n, from, by, err := SliceRange(d.Size, start, end, step)
		if err == nil {
			return known(n), from, by
		}
	case d.Known() || !s.start.is(0) || !s.step.is(1):
	// All of a dimension whatever its length may be known.
	case s.end.known && end >= 1<<31-1, !s.end.known && s.end.symbol != "" && s.end.symbol == d.Symbol:
		return d, 0, 1
	}
	return unknown, 0, 1
}

// SliceRange returns how many elements Slice takes from a dimension of n elements, the first of them, and the step from one to
// the next, which is 1 where there is at most one. Bounds below 0 count from the end. What is outside then is brought to the
// nearest place where a slice in the step's direction can begin or end.
func SliceRange(n, start, end, step int64) (length, from, by int64, err error) {
	if n < 0 || step == 0 {
		return 0, 0, 0, fmt.Errorf("a step of %d through %d elements", step, n)
	}
	start, end = wrap(start, n), wrap(end, n)
	var room int64 // from the first element to where the slice ends
	if step > 0 {
		start, end = min(max(start, 0), n), min(max(end, 0), n)
		room = end - start
	} else {
		start, end = min(max(start, 0), n-1), min(max(end, -1), n-1)
		room = start - end
	}
	switch {
	case room <= 0 || n == 0:
		return 0, 0, 1, nil
	case magnitude(step) >= uint64(room):
		return 1, start, 1, nil
	}
	return int64(uint64(room-1)/magnitude(step)) + 1, start, step, nil
}

// wrap counts a negative index from the end.
func wrap(i, n int64) int64 {
	if i < 0 {
		return i + n
	}
	return i
}
