package infer

import (
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
		if part.step.known && part.step.v == 0 {
			return c.fail("step %d is 0", i)
		}
		shape[axis], from[axis] = part.of(shape[axis])
		by[axis] = part.step.int()
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

// of returns the length of a slice of a dimension, and its first index.
func (s slice) of(d graph.Dim) (graph.Dim, int64) {
	if !s.step.known {
		return unknown, 0
	}
	step := s.step.int()
	if s.start.known && s.end.known && !d.Known() {
		// All of a dimension whatever its length, or so many elements from its end, may be known.
		start, end := s.start.int(), s.end.int()
		if step == 1 && start == 0 && end >= 1<<31-1 {
			return d, 0
		}
		return unknown, 0
	}
	if !s.start.known && s.start.symbol == "" || !s.end.known && s.end.symbol == "" {
		return unknown, 0
	}
	if !s.end.known && !d.Known() && s.end.symbol == d.Symbol && s.start.known && s.start.v == 0 && step == 1 {
		return d, 0
	}
	if !s.start.known || !s.end.known || !d.Known() {
		return unknown, 0
	}
	n := d.Size
	start, end := wrap(s.start.int(), n), wrap(s.end.int(), n)
	if step > 0 {
		start, end = min(max(start, 0), n), min(max(end, 0), n)
		if end <= start {
			return known(0), start
		}
		return known((end-start-1)/step + 1), start
	}
	start, end = min(max(start, 0), n-1), min(max(end, -1), n-1)
	if start <= end {
		return known(0), start
	}
	if step < -1<<62 {
		return known(1), start
	}
	return known((start-end-1)/-step + 1), start
}

// wrap counts a negative index from the end.
func wrap(i, n int64) int64 {
	if i < 0 {
		return i + n
	}
	return i
}
