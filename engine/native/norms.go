package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// order reads attribute p, which was a float at first: the sum of the p-th powers, and its p-th root.
func (c *prep) order() (float64, error) {
	p := 2.0
	switch c.attrs.Kind("p") {
	case "INT":
		p = float64(c.attrs.Int("p", 2))
	case "FLOAT":
		p = float64(c.attrs.Float("p", 2))
	}
	if !(p > 0) {
		return 0, c.errf("p is %v", p)
	}
	return p, nil
}

func power(x, p float64) float64 {
	switch x = math.Abs(x); p {
	case 1:
		return x
	case 2:
		return x * x
	}
	return math.Pow(x, p)
}

func root(sum, p float64) float64 {
	switch p {
	case 1:
		return sum
	case 2:
		return math.Sqrt(sum)
	}
	return math.Pow(sum, 1/p)
}

// lpPool is the norm of each window.
var lpPool = floats(lpPoolOf[float32], lpPoolOf[float64])

func lpPoolOf[T float](c *prep) error {
	x := c.in[0].shape
	p, err := c.order()
	if err != nil {
		return err
	}
	w, err := c.windowOf(x, toInts(c.attrs.Ints("kernel_shape", nil)), c.attrs.Bool("ceil_mode", false))
	if err != nil {
		return err
	}
	o, err := c.out(0, c.in[0].dtype, w.outShape(x[0], x[1]))
	if err != nil {
		return err
	}
	s := c.in[0].slot
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for plane := lo; plane < hi; plane++ {
			normPlane(w, dst[plane*w.outSize():(plane+1)*w.outSize()], src[plane*w.inSize():(plane+1)*w.inSize()], p)
		}
	}
	c.do(func(f *frame) { f.parallel(x[0]*x[1], max(1, grain/max(1, w.outSize()*w.kernelSize())), part) })
	return nil
}

func normPlane[T float](w *window, dst, src []T, p float64) {
	at := 0
	for oz := range w.out[0] {
		z, z0, z1 := w.span(0, oz)
		for oy := range w.out[1] {
			y, y0, y1 := w.span(1, oy)
			for ox := range w.out[2] {
				x, x0, x1 := w.span(2, ox)
				sum := 0.0
				for kz := z0; kz < z1; kz++ {
					for ky := y0; ky < y1; ky++ {
						base := ((z+kz*w.dilation[0])*w.in[1]+y+ky*w.dilation[1])*w.in[2] + x
						for kx := x0; kx < x1; kx++ {
							sum += power(float64(src[base+kx*w.dilation[2]]), p)
						}
					}
				}
				dst[at] = T(root(sum, p))
				at++
			}
		}
	}
}

// globalLpPool is the norm of all that a channel has.
var globalLpPool = floats(globalLpPoolOf[float32], globalLpPoolOf[float64])

func globalLpPoolOf[T float](c *prep) error {
	in := c.in[0].shape
	p, err := c.order()
	if err != nil {
		return err
	}
	if len(in) < 2 {
		return c.errf("shape %v has no channels", in)
	}
	shape := append(in[:2].Clone(), ones(len(in)-2)...)
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	s, n := c.in[0].slot, in[2:].Size()
	c.do(func(f *frame) {
		src := data[T](f, s)
		for i := range data[T](f, o) {
			sum := 0.0
			for _, v := range src[i*n : (i+1)*n] {
				sum += power(float64(v), p)
			}
			data[T](f, o)[i] = T(root(sum, p))
		}
	})
	return nil
}

// lpNorm divides each line along an axis by its norm; a line of zeros stays.
var lpNorm = floats(lpNormOf[float32], lpNormOf[float64])

func lpNormOf[T float](c *prep) error {
	in := c.in[0].shape
	axis, err := c.axis(c.attrs.Int("axis", -1), len(in))
	if err != nil {
		return err
	}
	p, err := c.order()
	if err != nil {
		return err
	}
	if len(in) == 0 {
		in = tensor.Shape{1}
	}
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	s, dim, inner := c.in[0].slot, in[axis], in[axis+1:].Size()
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for i := lo; i < hi; i++ {
			from := i/inner*dim*inner + i%inner
			sum := 0.0
			for k := range dim {
				sum += power(float64(src[from+k*inner]), p)
			}
			by := root(sum, p)
			if by == 0 {
				by = 1
			}
			for k := range dim {
				dst[from+k*inner] = T(float64(src[from+k*inner]) / by)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(in[:axis].Size()*inner, max(1, grain/max(1, dim)), part) })
	return nil
}
