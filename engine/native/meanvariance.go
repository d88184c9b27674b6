package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// meanVarianceNorm subtracts the mean over some axes and divides by the deviation.
var meanVarianceNorm = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	drop := make([]bool, len(in.shape))
	for _, a := range c.attrs.Ints("axes", []int64{0, 2, 3}) {
		axis, err := c.axis(a, len(in.shape))
		if err != nil {
			return err
		}
		if axis < len(drop) {
			drop[axis] = true
		}
	}
	p, err := planReduce(c, in.shape, drop)
	if err != nil {
		return err
	}
	switch in.dtype {
	case tensor.Float32:
		return meanVarianceOf[float32](c, p)
	case tensor.Float64:
		return meanVarianceOf[float64](c, p)
	}
	return c.refuseType(in.dtype)
})

func meanVarianceOf[T float](c *prep, p *reducePlan) error {
	const epsilon = 1e-9
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	s := c.in[0].slot
	over := func(base int, do func(at int)) {
		for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
			at := base + it.at[0]
			for range p.inner.inner {
				do(at)
				at += p.inner.step[0]
			}
		}
	}
	part := func(f *frame, lo, hi int) {
		d, x := data[T](f, o), data[T](f, s)
		for it := p.kept.from(lo, hi); it.more(); it.next() {
			base := it.at[1]
			for range p.kept.inner {
				// The differences from the first element keep the digits that a mean far from zero takes; see momentsOf.
				sum, squares, first := 0.0, 0.0, 0.0
				if p.count > 0 {
					first = float64(x[base])
				}
				over(base, func(at int) { sum += float64(x[at]) - first })
				mean := sum / float64(p.count)
				square := func(v float64) float64 { return v * v }
				over(base, func(at int) { squares += square(float64(x[at]) - first - mean) })
				by := math.Sqrt(squares/float64(p.count)) + epsilon
				over(base, func(at int) { d[at] = T((float64(x[at]) - first - mean) / by) })
				base += p.kept.step[1]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(p.kept.outer, max(1, grain/max(1, p.kept.inner*p.count)), part) })
	return nil
}
