package native

import (
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// real lists the types that Go computes with.
type real interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

type float interface{ float32 | float64 }

// Which operand of a row is one element for the whole row.
const (
	rowBoth  = iota // none
	rowRight        // the right one
	rowLeft         // the left one
)

// A rowFunc computes one row of an operator with two operands.
type rowFunc[T, R any] func(dst []R, a, b []T, mode int)

// legacyShape returns b's shape as opsets before 7 align it: at attribute axis of a, where broadcast is set.
func (c *prep) legacyShape() error {
	if c.opset >= 7 || c.node.Domain != "" || len(c.in) < 2 {
		return nil
	}
	a, b := &c.in[0], &c.in[1]
	if !c.attrs.Bool("broadcast", false) {
		if !a.shape.Equal(b.shape) {
			return c.errf("shapes %v and %v differ, and attribute broadcast is not set", a.shape, b.shape)
		}
		return nil
	}
	if !c.attrs.Has("axis") {
		return nil
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), len(a.shape))
	if err != nil {
		return err
	}
	tail := len(a.shape) - axis - len(b.shape)
	if tail < 0 {
		return c.errf("shape %v does not fit into %v at axis %d", b.shape, a.shape, axis)
	}
	shape := b.shape.Clone()
	for range tail {
		shape = append(shape, 1)
	}
	b.shape = shape
	return nil
}

// binary prepares an operator of two operands of one type.
func binary[T, R tensor.Element](c *prep, row rowFunc[T, R]) error {
	if err := c.legacyShape(); err != nil {
		return err
	}
	return binaryOf(c, &c.in[0], &c.in[1], row)
}

func binaryOf[T, R tensor.Element](c *prep, a, b *info, row rowFunc[T, R]) error {
	shape := a.shape
	if !shape.Equal(b.shape) {
		var err error
		if shape, err = infer.Broadcast(a.shape, b.shape); err != nil {
			return c.errf("%w", err)
		}
	}
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	o, err := c.out(0, tensor.DTypeOf[R](), shape)
	if err != nil {
		return err
	}
	if a.shape.Equal(shape) {
		c.inplace(o, a.slot)
	} else if b.shape.Equal(shape) {
		c.inplace(o, b.slot)
	}
	binaryStep(c, o, shape, a, b, row)
	return nil
}

func binaryStep[T, R tensor.Element](c *prep, o int, shape tensor.Shape, a, b *info, row rowFunc[T, R]) {
	as, bs, n := a.slot, b.slot, shape.Size()
	mode := rowBoth
	var w *walk
	if a.size() != n || b.size() != n || n == 0 { // else they lie alike, whatever ones their shapes have
		w = newWalk(shape, contiguous(shape), broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape))
		n = w.inner
		if w.step[1] == 0 {
			mode = rowLeft
		} else if w.step[2] == 0 {
			mode = rowRight
		}
	}
	if w == nil || w.outer == 1 {
		if isFloat32[T]() && isFloat32[R]() {
			c.elementwise(n, 1, func(f *frame, lo, hi int) {
				x, y := data[T](f, as), data[T](f, bs)
				if mode != rowLeft {
					x = x[lo:hi]
				}
				if mode != rowRight {
					y = y[lo:hi]
				}
				row(data[R](f, o)[lo:hi], x, y, mode)
			}, o, as, bs)
			return
		}
		chunk := func(f *frame, lo, hi int) {
			x, y := data[T](f, as), data[T](f, bs)
			if mode == rowBoth || mode == rowRight {
				x = x[lo:hi]
			}
			if mode == rowBoth || mode == rowLeft {
				y = y[lo:hi]
			}
			row(data[R](f, o)[lo:hi], x, y, mode)
		}
		c.do(func(f *frame) { f.parallel(n, grain, chunk) })
		return
	}
	chunk := func(f *frame, lo, hi int) {
		d, x, y := data[R](f, o), data[T](f, as), data[T](f, bs)
		for it := w.from(lo, hi); it.more(); it.next() {
			at := &it.at

			row(d[at[0]:at[0]+n], x[at[1]:], y[at[2]:], mode)
		}
	}
	c.do(func(f *frame) { f.parallel(w.outer, max(1, grain/max(n, 8)), chunk) })
}

// each makes a row function of a function of two elements.
func each[T, R any](op func(a, b T) R) rowFunc[T, R] {
	return func(dst []R, a, b []T, mode int) {
		switch mode {
		case rowRight:
			y := b[0]
			a = a[:len(dst)]
			for i := range dst {
				dst[i] = op(a[i], y)
			}
		case rowLeft:
			x := a[0]
			b = b[:len(dst)]
			for i := range dst {
				dst[i] = op(x, b[i])
			}
		default:
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = op(a[i], b[i])
			}
		}
	}
}

// sameType returns an error where not all inputs have the first one's type.
func (c *prep) sameType() error {
	for i := range c.in {
		if c.in[i].has() && c.in[i].dtype != c.in[0].dtype {
			return c.errf("input 0 is %v and input %d is %v", c.in[0].dtype, i, c.in[i].dtype)
		}
	}
	return nil
}

// pair lets a kernel have two inputs alone.
func pair(prepare func(c *prep) error) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if len(c.in) != 2 {
			return c.errf("%d inputs, not 2", len(c.in))
		}
		return prepare(c)
	})
}

// foldBinary prepares an operator of any number of inputs as a chain of two at a time.
func foldBinary[T tensor.Element](c *prep, row rowFunc[T, T]) error {
	switch len(c.in) {
	case 0:
		return c.errf("no inputs")
	case 1:
		return copyOut(c, 0, &c.in[0])
	case 2:
		return binary(c, row)
	}
	shape := c.in[0].shape
	for i := range c.in[1:] {
		s, err := infer.Broadcast(shape, c.in[1+i].shape)
		if err != nil {
			return c.errf("%w", err)
		}
		shape = s
	}
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	acc := info{dtype: c.in[0].dtype, shape: shape, slot: o}
	binaryStep(c, o, shape, &c.in[0], &c.in[1], row)
	for i := range c.in[2:] {
		binaryStep(c, o, shape, &acc, &c.in[2+i], row)
	}
	return nil
}

// copyOut makes output i a copy of an input, or shares its memory.
func copyOut(c *prep, i int, in *info) error {
	if c.intoF { // the converted input is scratch memory
		o, err := c.out(i, in.dtype, in.shape)
		if err != nil {
			return err
		}
		s := in.slot
		c.do(func(f *frame) { copyTensor(f.t[o], f.t[s]) })
		return nil
	}
	return c.alias(i, in, in.shape)
}
