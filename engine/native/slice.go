package native

import (
	"math"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func concat(c *prep) error {
	if err := c.need(max(1, len(c.in))); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	first := &c.in[0]
	def := int64(0)
	if c.opset < 4 {
		def = 1
	} else if !c.attrs.Has("axis") {
		return c.refuse("no axis")
	}
	if len(first.shape) == 0 {
		return c.errf("scalars cannot be joined")
	}
	axis, err := c.axis(c.attrs.Int("axis", def), len(first.shape))
	if err != nil {
		return err
	}
	shape := first.shape.Clone()
	shape[axis] = 0
	for i := range c.in {
		s := c.in[i].shape
		if len(s) != len(shape) {
			return c.errf("input %d has shape %v, input 0 %v", i, s, first.shape)
		}
		for d := range s {
			if d != axis && s[d] != shape[d] {
				return c.errf("input %d has shape %v, input 0 %v", i, s, first.shape)
			}
		}
		shape[axis] += s[axis]
		if shape[axis] < 0 {
			return c.errf("axis %d is too long", axis)
		}
	}
	if len(c.in) == 1 {
		return c.alias(0, first, shape)
	}
	o, err := c.out(0, first.dtype, shape)
	if err != nil {
		return err
	}
	to := zeros(len(shape))
	for i := range c.in {
		in := &c.in[i]
		if err := region(c, in.dtype, in.shape, o, shape, to, in, zeros(len(shape)), ones(len(shape))); err != nil {
			return err
		}
		to[axis] += in.shape[axis]
	}
	return nil
}

// slice takes its bounds from attributes before opset 10, from inputs since.
func slice(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	rank := len(in.shape)
	var starts, ends, axes, steps []int
	var err error
	if c.opset < 10 {
		starts, ends = toInts(c.attrs.Ints("starts", nil)), toInts(c.attrs.Ints("ends", nil))
		if c.attrs.Has("axes") {
			axes = toInts(c.attrs.Ints("axes", nil))
		}
	} else {
		if starts, err = c.ints(1); err != nil {
			return err
		}
		if ends, err = c.ints(2); err != nil {
			return err
		}
		if c.opt(3).has() {
			if axes, err = c.ints(3); err != nil {
				return err
			}
		}
		if c.opt(4).has() {
			if steps, err = c.ints(4); err != nil {
				return err
			}
		}
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if steps == nil {
		steps = ones(len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		return c.errf("%d starts, %d ends, %d axes and %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	index, err := infer.Axes(toInt64s(axes), rank)
	if err != nil {
		return c.errf("%w", err)
	}
	from, by, shape := zeros(rank), ones(rank), in.shape.Clone()
	for i, a := range index {
		length, first, step, err := infer.SliceRange(int64(in.shape[a]), int64(starts[i]), int64(ends[i]), int64(steps[i]))
		if err != nil {
			return c.errf("%w", err)
		}
		shape[a], from[a], by[a] = int(length), int(first), int(step)
	}
	if shape.Equal(in.shape) && !anyNegative(by) {
		return c.alias(0, in, shape)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	return region(c, in.dtype, shape, o, shape, zeros(rank), in, from, by)
}

func anyNegative(v []int) bool {
	for _, x := range v {
		if x < 0 {
			return true
		}
	}
	return false
}

func split(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	if len(in.shape) == 0 {
		return c.errf("a scalar cannot be split")
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), len(in.shape))
	if err != nil {
		return err
	}
	dim, n := in.shape[axis], len(c.n.out)
	var given []int64
	switch {
	case c.opset < 13 && c.attrs.Has("split"):
		given = c.attrs.Ints("split", nil)
	case c.opt(1).has():
		sizes, err := c.ints(1)
		if err != nil {
			return err
		}
		given = toInt64s(sizes)
	}
	sizes, err := infer.SplitLengths(int64(dim), n, given, c.attrs.Int("num_outputs", int64(n)), c.opset >= 18)
	if err != nil {
		return c.errf("%w", err)
	}
	at := zeros(len(in.shape))
	for i, s := range toInts(sizes) {
		shape := in.shape.Clone()
		shape[axis] = s
		if c.wants(i) {
			o, err := c.out(i, in.dtype, shape)
			if err != nil {
				return err
			}
			if err := region(c, in.dtype, shape, o, shape, zeros(len(shape)), in, at, ones(len(shape))); err != nil {
				return err
			}
		}
		at = append([]int(nil), at...)
		at[axis] += s
	}
	return nil
}

// tile repeats; in opset 1 by a number along one axis, since 6 by a number for each.
func tile(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	in := &c.in[0]
	var repeats []int
	var err error
	if c.opset < 6 {
		n, err := c.scalarInt(1)
		if err != nil {
			return err
		}
		a, err := c.scalarInt(2)
		if err != nil {
			return err
		}
		axis, err := c.axis(int64(a), len(in.shape))
		if err != nil {
			return err
		}
		repeats = ones(len(in.shape))
		if len(repeats) > 0 {
			repeats[axis] = n
		}
	} else if repeats, err = c.ints(1); err != nil {
		return err
	}
	if len(repeats) != len(in.shape) {
		return c.errf("%d repeats for shape %v", len(repeats), in.shape)
	}
	shape := make(tensor.Shape, len(repeats))
	// Seen as [repeat, dim, repeat, dim, ...], the input is repeated where it has stride 0.
	var view tensor.Shape
	var strides []int
	st := contiguous(in.shape)
	for i, r := range repeats {
		n, err := infer.Product(in.shape[i], r)
		if err != nil || r < 0 {
			return c.errf("%d repeats of %d elements", r, in.shape[i])
		}
		shape[i] = n
		view, strides = append(view, r, in.shape[i]), append(strides, 0, st[i])
	}
	if shape.Equal(in.shape) {
		return c.alias(0, in, shape)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	w := squeezed(view, contiguous(view), strides)
	return strided(c, in.dtype, w.shape, o, w.a, in.slot, 0, w.b)
}

type squeezedView struct {
	shape tensor.Shape
	a, b  []int
}

// squeezed leaves dimensions of length 1 out, so that views with twice the dimensions fit.
func squeezed(shape tensor.Shape, a, b []int) (v squeezedView) {
	for i, d := range shape {
		if d != 1 {
			v.shape, v.a, v.b = append(v.shape, d), append(v.a, a[i]), append(v.b, b[i])
		}
	}
	return v
}

// scalarInt reads an integer input of one element of any numeric type.
func (c *prep) scalarInt(i int) (int, error) {
	t, err := c.known(i)
	if err != nil {
		return 0, err
	}
	if t.Size() != 1 {
		return 0, c.errf("input %d must have one element, not %v", i, t.Shape())
	}
	v := tensor.Must(tensor.New(tensor.Int64, t.Shape()...))
	if !castInto(v, t) {
		return 0, c.errf("input %d must be a number, not %v", i, t.DType())
	}
	return int(tensor.Data[int64](v)[0]), nil
}

// depthToSpace moves channels into blocks of pixels, and spaceToDepth back.
func depthToSpace(c *prep) error {
	return rearrange(c, func(s tensor.Shape, b int) (view tensor.Shape, perm []int, shape tensor.Shape, ok bool) {
		n, ch, h, w := s[0], s[1], s[2], s[3]
		high, err := infer.Product(h, b)
		wide, err2 := infer.Product(w, b)
		if ch%(b*b) != 0 || err != nil || err2 != nil {
			return nil, nil, nil, false
		}
		shape = tensor.Shape{n, ch / (b * b), high, wide}
		if c.attrs.String("mode", "DCR") == "CRD" {
			return tensor.Shape{n, ch / (b * b), b, b, h, w}, []int{0, 1, 4, 2, 5, 3}, shape, true
		}
		return tensor.Shape{n, b, b, ch / (b * b), h, w}, []int{0, 3, 4, 1, 5, 2}, shape, true
	})
}

func spaceToDepth(c *prep) error {
	return rearrange(c, func(s tensor.Shape, b int) (view tensor.Shape, perm []int, shape tensor.Shape, ok bool) {
		n, ch, h, w := s[0], s[1], s[2], s[3]
		depth, err := infer.Product(ch, b, b)
		if h%b != 0 || w%b != 0 || err != nil {
			return nil, nil, nil, false
		}
		return tensor.Shape{n, ch, h / b, b, w / b, b}, []int{0, 3, 5, 1, 2, 4}, tensor.Shape{n, depth, h / b, w / b}, true
	})
}

func rearrange(c *prep, how func(s tensor.Shape, b int) (view tensor.Shape, perm []int, shape tensor.Shape, ok bool)) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	b := int(c.attrs.Int("blocksize", 0))
	if m := c.attrs.String("mode", "DCR"); m != "DCR" && m != "CRD" {
		return c.refuse("mode %q", m)
	}
	if len(in.shape) != 4 || b < 1 || b > math.MaxInt16 {
		return c.errf("blocks of %d in shape %v", b, in.shape)
	}
	view, perm, shape, ok := how(in.shape, b)
	if !ok {
		return c.errf("blocks of %d do not divide shape %v", b, in.shape)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	st := contiguous(view)
	to, from := make(tensor.Shape, len(perm)), make([]int, len(perm))
	for i, p := range perm {
		to[i], from[i] = view[p], st[p]
	}
	return strided(c, in.dtype, to, o, contiguous(to), in.slot, 0, from)
}
