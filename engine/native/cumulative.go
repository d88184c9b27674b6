package native

import "github.com/millrace/millrace/tensor"

// cumSum adds up along an axis, and cumProd multiplies.
var (
	cumSum  = cumulative(false)
	cumProd = cumulative(true)
)

func cumulative(product bool) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(2); err != nil {
			return err
		}
		a, err := c.scalarInt(1)
		if err != nil {
			return err
		}
		in := c.in[0].shape
		axis, err := c.axis(int64(a), len(in))
		if err != nil {
			return err
		}
		if len(in) == 0 {
			return c.errf("a scalar has no axis")
		}
		l := lines{in[:axis].Size(), in[axis], in[axis+1:].Size()}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return cumulativeOf[float32](c, l, product)
		case tensor.Float64:
			return cumulativeOf[float64](c, l, product)
		case tensor.Int32:
			return cumulativeOf[int32](c, l, product)
		case tensor.Int64:
			return cumulativeOf[int64](c, l, product)
		case tensor.Uint32:
			return cumulativeOf[uint32](c, l, product)
		case tensor.Uint64:
			return cumulativeOf[uint64](c, l, product)
		default:
			return c.refuseType(d)
		}
	})
}

func cumulativeOf[T real](c *prep, l lines, product bool) error {
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	exclusive, reverse := c.attrs.Bool("exclusive", false), c.attrs.Bool("reverse", false)
	s := c.in[0].slot
	c.do(func(f *frame) {
		src, dst := data[T](f, s), data[T](f, o)
		for i := range f.rows(l.outer * l.inner) {
			at, step := i/l.inner*l.dim*l.inner+i%l.inner, l.inner
			if reverse {
				at, step = at+(l.dim-1)*l.inner, -l.inner
			}
			var so T
			if product {
				so = 1
			}
			for range l.dim {
				next := so + src[at]
				if product {
					next = so * src[at]
				}
				if exclusive {
					dst[at] = so
				} else {
					dst[at] = next
				}
				so = next
				at += step
			}
		}
	})
	return nil
}
