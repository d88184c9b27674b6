package native

import (
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// tensorScatter writes rows into a cache along an axis, each batch entry's from its own place on.
func tensorScatter(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	in, update := &c.in[0], &c.in[1]
	axis, err := c.axis(c.attrs.Int("axis", -2), len(in.shape))
	if err != nil {
		return err
	}
	if axis < 1 {
		return c.errf("axis %d of shape %v, whose first dimension is the batch", axis, in.shape)
	}
	want := in.shape.Clone()
	want[axis] = at(update.shape, axis)
	if update.dtype != in.dtype || !update.shape.Equal(want) || want[axis] > in.shape[axis] {
		return c.errf("an update %v%v for a cache %v%v along axis %d", update.dtype, update.shape, in.dtype, in.shape, axis)
	}
	a := placeArgs{in: in.slot, update: update.slot, indices: -1, batch: in.shape[0], outer: in.shape[1:axis].Size(), dim: in.shape[axis], rows: want[axis], inner: in.shape[axis+1:].Size()}
	if index := c.opt(2); index.has() {
		if !isIndex(index.dtype) || !index.shape.Equal(tensor.Shape{a.batch}) {
			return c.errf("write_indices %v%v for a batch of %d", index.dtype, index.shape, a.batch)
		}
		a.indices = index.slot
	}
	switch mode := c.attrs.String("mode", "linear"); mode {
	case "linear":
	case "circular":
		a.circular = true
	default:
		return c.refuse("mode %q", mode)
	}
	if a.o, err = c.out(0, in.dtype, in.shape); err != nil {
		return err
	}
	return byWord(c, in.dtype, placeOf[uint8], placeOf[uint16], placeOf[uint32], placeOf[uint64], placeOf[complex128], placeOf[string], a)
}

type placeArgs struct {
	o, in, update, indices         int
	batch, outer, dim, rows, inner int
	circular                       bool
}

func placeOf[T word](c *prep, a placeArgs) error {
	c.step(func(f *frame) error {
		dst, update := words[T](f, a.o), words[T](f, a.update)
		copy(dst, words[T](f, a.in))
		for b := range a.batch {
			first := 0
			if a.indices >= 0 {
				first = indexOf(f.t[a.indices], b)
			}
			if first < 0 || !a.circular && first > a.dim-a.rows {
				return c.errf("write index %d of %d rows in a cache of %d", first, a.rows, a.dim)
			}
			for i := b * a.outer; i < (b+1)*a.outer; i++ {
				for r := range a.rows {
					to := i*a.dim + (first%a.dim+r)%a.dim // a write index may be as large as an integer can
					copy(dst[to*a.inner:(to+1)*a.inner], update[(i*a.rows+r)*a.inner:])
				}
			}
		}
		return nil
	})
	return nil
}

// centerCropPad cuts the middle out, or puts zeros around; an odd element is at the end.
func centerCropPad(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	in := &c.in[0]
	sizes, err := c.ints(1)
	if err != nil {
		return err
	}
	axes, err := infer.AxesOrAll(c.attrs.Ints("axes", nil), len(in.shape))
	if err != nil {
		return c.errf("%w", err)
	}
	if len(sizes) != len(axes) {
		return c.errf("%d sizes for %d axes of shape %v", len(sizes), len(axes), in.shape)
	}
	shape, block, to, start := in.shape.Clone(), in.shape.Clone(), zeros(len(in.shape)), zeros(len(in.shape))
	for i, axis := range axes {
		if sizes[i] < 0 {
			return c.errf("size %d of axis %d", sizes[i], axis)
		}
		shape[axis] = sizes[i]
		block[axis] = min(in.shape[axis], sizes[i])
		start[axis], to[axis] = (in.shape[axis]-block[axis])/2, (sizes[i]-block[axis])/2
	}
	if _, err := shape.Check(); err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	if !shape.Equal(block) {
		if err := byWord(c, in.dtype, emptyOf[uint8], emptyOf[uint16], emptyOf[uint32], emptyOf[uint64], emptyOf[complex128], emptyOf[string], o); err != nil {
			return err
		}
	}
	return region(c, in.dtype, block, o, shape, to, in, start, ones(len(in.shape)))
}

func emptyOf[T word](c *prep, o int) error {
	c.do(func(f *frame) { clear(words[T](f, o)) })
	return nil
}

// bitCast takes the bits of elements for another type of the same size. What is not zero is true.
func bitCast(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in, v := &c.in[0], c.attrs.Int("to", 0)
	to := tensor.Invalid
	if v > 0 && v < 256 {
		to = tensor.DType(v)
	}
	if in.dtype == tensor.String || !to.Valid() || to == tensor.String {
		return c.refuse("%v to %v", in.dtype, to)
	}
	if to.Bits() != in.dtype.Bits() {
		return c.errf("%v has %d bits, %v %d", in.dtype, in.dtype.Bits(), to, to.Bits())
	}
	if to == in.dtype {
		return c.alias(0, in, in.shape)
	}
	o, err := c.out(0, to, in.shape)
	if err != nil {
		return err
	}
	s := in.slot
	c.do(func(f *frame) {
		if d, ok := f.t[o].Raw().([]bool); ok {
			for i, b := range f.t[s].Bytes() {
				d[i] = b != 0
			}
			return
		}
		if to.Bits() < 8 {
			for i, b := range f.t[s].Bytes() {
				f.t[o].Bytes()[i] = tensor.SmallOfInteger(to, b)
			}
			return
		}
		copy(f.t[o].Bytes(), f.t[s].Bytes())
	})
	return nil
}
