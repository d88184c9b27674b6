package native

import (
	"slices"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func identity(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if box := c.in[0].box; box != nil {
		return c.give(0, *box)
	}
	return c.alias(0, &c.in[0], c.in[0].shape)
}

// reshape takes the shape from attribute "shape" before opset 5, and from input 1 since.
func reshape(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	var dims []int64
	if c.opset < 5 && c.attrs.Has("shape") {
		dims = c.attrs.Ints("shape", nil)
	} else {
		given, err := c.ints(1)
		if err != nil {
			return err
		}
		dims = toInt64s(given)
	}
	shape, err := infer.Reshape(c.in[0].shape, dims, c.attrs.Bool("allowzero", false))
	if err != nil {
		return c.errf("%w", err)
	}
	return c.alias(0, &c.in[0], shape)
}

func flatten(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := c.in[0].shape
	a := c.attrs.Int("axis", 1)
	if a < -int64(len(in)) || a > int64(len(in)) {
		return c.errf("axis %d is outside rank %d", a, len(in))
	}
	axis := int(a)
	if axis < 0 {
		axis += len(in)
	}
	rows, err := infer.Product(in[:axis]...)
	if err != nil {
		return c.errf("shape %v: %w", in, err)
	}
	columns, err := infer.Product(in[axis:]...)
	if err != nil {
		return c.errf("shape %v: %w", in, err)
	}
	return c.alias(0, &c.in[0], tensor.Shape{rows, columns})
}

// axesOf returns the axes from input i (opsets since), or from attribute "axes" before, not negative, each once.
// given is false where there are none.
func (c *prep) axesOf(i int, since int64, rank int) (axes []int, given bool, err error) {
	if c.opset >= since {
		if !c.opt(i).has() {
			return nil, false, nil
		}
		if axes, err = c.ints(i); err != nil {
			return nil, false, err
		}
	} else {
		if !c.attrs.Has("axes") {
			return nil, false, nil
		}
		axes = toInts(c.attrs.Ints("axes", nil))
	}
	axes = slices.Clone(axes)
	for j, a := range axes {
		if axes[j], err = c.axis(int64(a), rank); err != nil {
			return nil, false, err
		}
	}
	slices.Sort(axes)
	if len(slices.Compact(slices.Clone(axes))) != len(axes) {
		return nil, false, c.errf("an axis is named twice")
	}
	return axes, true, nil
}

func squeeze(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := c.in[0].shape
	axes, given, err := c.axesOf(1, 13, len(in))
	if err != nil {
		return err
	}
	var shape tensor.Shape
	for i, d := range in {
		drop := !given && d == 1 || slices.Contains(axes, i)
		if drop && d != 1 {
			return c.errf("dimension %d of %v is not 1", i, in)
		}
		if !drop {
			shape = append(shape, d)
		}
	}
	return c.alias(0, &c.in[0], shape)
}

func unsqueeze(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := c.in[0].shape
	n := len(c.attrs.Ints("axes", nil))
	if c.opset >= 13 {
		list, err := c.ints(1)
		if err != nil {
			return err
		}
		n = len(list)
	}
	axes, _, err := c.axesOf(1, 13, len(in)+n)
	if err != nil {
		return err
	}
	shape := slices.Clone(in)
	for _, a := range axes {
		shape = slices.Insert(shape, a, 1)
	}
	return c.alias(0, &c.in[0], shape)
}

func transpose(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	rank := len(in.shape)
	perm := toInts(c.attrs.Ints("perm", nil))
	if !c.attrs.Has("perm") {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	seen := make([]bool, rank)
	if len(perm) != rank {
		return c.errf("perm %v does not fit shape %v", perm, in.shape)
	}
	shape, strides := make(tensor.Shape, rank), make([]int, rank)
	from := contiguous(in.shape)
	for i, p := range perm {
		if p < 0 || p >= rank || seen[p] {
			return c.errf("perm %v is no permutation", perm)
		}
		seen[p] = true
		shape[i], strides[i] = in.shape[p], from[p]
	}
	// Where only dimensions of length 1 move, nothing moves in memory.
	moves, last := false, -1
	for _, p := range perm {
		if in.shape[p] != 1 {
			moves = moves || p < last
			last = p
		}
	}
	if !moves {
		return c.alias(0, in, shape)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	return transposed(c, in.dtype, shape, o, in.slot, strides)
}

// shapeOf gives the shape as a tensor, or a part of it.
func shapeOf(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := c.in[0].shape
	bound := func(v int64) int {
		if v < 0 {
			v += int64(len(in))
		}
		return int(max(0, min(v, int64(len(in)))))
	}
	start, end := bound(c.attrs.Int("start", 0)), bound(c.attrs.Int("end", int64(len(in))))
	out := []int64{}
	for i := start; i < end; i++ {
		out = append(out, int64(in[i]))
	}
	c.constant(0, tensor.Vector(out...))
	return nil
}

func sizeOf(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	c.constant(0, tensor.Scalar(int64(c.in[0].size())))
	return nil
}

// constant gives the value of whichever attribute is there.
func constant(c *prep) error {
	var t *tensor.Tensor
	switch {
	case c.attrs.Has("value"):
		t = c.attrs.Tensor("value")
	case c.attrs.Has("value_float"):
		t = tensor.Scalar(c.attrs.Float("value_float", 0))
	case c.attrs.Has("value_floats"):
		t = tensor.Vector(c.attrs.Floats("value_floats", nil)...)
	case c.attrs.Has("value_int"):
		t = tensor.Scalar(c.attrs.Int("value_int", 0))
	case c.attrs.Has("value_ints"):
		t = tensor.Vector(c.attrs.Ints("value_ints", nil)...)
	case c.attrs.Has("value_string"):
		t = tensor.Scalar(c.attrs.String("value_string", ""))
	case c.attrs.Has("value_strings"):
		t = tensor.Vector(c.attrs.Strings("value_strings", nil)...)
	}
	if t == nil {
		return c.refuse("no value, or of another kind")
	}
	c.constant(0, t)
	return nil
}

// constantOfShape fills a tensor of a given shape.
func constantOfShape(c *prep) error {
	dims, err := c.ints(0)
	if err != nil {
		return err
	}
	fill := c.attrs.Tensor("value")
	if fill == nil {
		fill = tensor.Scalar[float32](0)
	}
	if fill.Size() != 1 {
		return c.errf("the value has %d elements, not 1", fill.Size())
	}
	if _, err := tensor.Shape(dims).Check(); err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, fill.DType(), dims)
	if err != nil {
		return err
	}
	c.do(func(f *frame) { fillWith(f.t[o], fill) })
	return nil
}

// fillWith sets all elements of t to the one of v, which has t's type.
func fillWith(t, v *tensor.Tensor) {
	switch t.DType() {
	case tensor.String:
		d, s := tensor.Data[string](t), tensor.Data[string](v)
		for i := range d {
			d[i] = s[0]
		}
	default:
		d, s := t.Bytes(), v.Bytes()
		n := copy(d, s)
		for n < len(d) {
			n += copy(d[n:], d[:n])
		}
	}
}

// expand broadcasts an input to a shape.
func expand(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	dims, err := c.ints(1)
	if err != nil {
		return err
	}
	in := &c.in[0]
	if _, err := tensor.Shape(dims).Check(); err != nil {
		return c.errf("%w", err)
	}
	shape, err := infer.Broadcast(in.shape, dims)
	if err != nil {
		return c.errf("%w", err)
	}
	if shape.Equal(in.shape) {
		return c.alias(0, in, shape)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	return strided(c, in.dtype, shape, o, contiguous(shape), in.slot, 0, broadcastStrides(in.shape, shape))
}
