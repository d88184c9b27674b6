package native

import "github.com/millrace/millrace/tensor"

// cumProd multiplies along an axis.
var cumProd = viaFloat32(func(c *prep) error {
	axes, err := c.ints(1)
	if err != nil {
		return err
	}
	in := c.in[0].shape
	if len(axes) != 1 || len(in) == 0 {
		return c.errf("shape %v has no axis %v", in, axes)
	}
	axis, err := c.axis(int64(axes[0]), len(in))
	if err != nil {
		return err
	}
	l := lines{in[:axis].Size(), in[axis], in[axis+1:].Size()}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return cumProdOf[float32](c, l)
	case tensor.Float64:
		return cumProdOf[float64](c, l)
	case tensor.Int32:
		return cumProdOf[int32](c, l)
	case tensor.Int64:
		return cumProdOf[int64](c, l)
	case tensor.Uint32:
		return cumProdOf[uint32](c, l)
	case tensor.Uint64:
		return cumProdOf[uint64](c, l)
	default:
		return c.refuseType(d)
	}
})

func cumProdOf[T real](c *prep, l lines) error {
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	exclusive, reverse := c.attrs.Bool("exclusive", false), c.attrs.Bool("reverse", false)
	s := c.in[0].slot
	c.do(func(f *frame) {
		src, dst := data[T](f, s), data[T](f, o)
		for i := range l.outer * l.inner {
			at, step := i/l.inner*l.dim*l.inner+i%l.inner, l.inner
			if reverse {
				at, step = at+(l.dim-1)*l.inner, -l.inner
			}
			product := T(1)
			for range l.dim {
				next := product * src[at]
				if !exclusive {
					product = next
				}
				dst[at], product = product, next
				at += step
			}
		}
	})
	return nil
}
