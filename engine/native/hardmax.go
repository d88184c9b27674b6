package native

import "github.com/millrace/millrace/tensor"

// hardmax is one at the first largest element of each line, and zero elsewhere. Lines are those of Softmax.
var hardmax = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	l, err := c.softmaxLines(c.in[0].shape)
	if err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return hardmaxOf[float32](c, l)
	case tensor.Float64:
		return hardmaxOf[float64](c, l)
	default:
		return c.refuseType(d)
	}
})

func hardmaxOf[T float](c *prep, l lines) error {
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	s := c.in[0].slot
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for i := lo; i < hi; i++ {
			at := i/l.inner*l.dim*l.inner + i%l.inner
			best := 0
			for k := range l.dim {
				dst[at+k*l.inner] = 0
				// The first NaN counts as the largest, as for ArgMax.
				if v, top := src[at+k*l.inner], src[at+best*l.inner]; v > top || v != v && top == top {
					best = k
				}
			}
			dst[at+best*l.inner] = 1
		}
	}
	if c.in[0].size() > 0 {
		c.do(func(f *frame) { f.parallel(l.outer*l.inner, max(1, grain/l.dim), part) })
	}
	return nil
}

type shrinkArgs struct{ bias, lambda float64 }

// shrink moves what is farther from zero than lambd towards it by bias, and makes all else zero.
var shrink = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	a := shrinkArgs{float64(c.attrs.Float("bias", 0)), float64(c.attrs.Float("lambd", 0.5))}
	return byReal(c, c.in[0].dtype, shrinkOf[float32], shrinkOf[float64], shrinkOf[int8], shrinkOf[int16], shrinkOf[int32], shrinkOf[int64],
		shrinkOf[uint8], shrinkOf[uint16], shrinkOf[uint32], shrinkOf[uint64], a)
})

func shrinkOf[T real](c *prep, a shrinkArgs) error {
	return unary(c, 2, mapRow(func(v T) T {
		switch x := float64(v); {
		case x < -a.lambda:
			return T(x + a.bias)
		case x > a.lambda:
			return T(x - a.bias)
		case x != x:
			return v
		}
		return 0
	}))
}
