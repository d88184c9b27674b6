package native

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/millrace/millrace/tensor"
)

// dropout passes its input through, or, in training mode, sets a random part of it to zero and scales the rest. With
// attribute seed a session repeats the same sequence; without one the runs of a process differ.
var dropout = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	x := &c.in[0]
	training, ratio := false, float64(c.attrs.Float("ratio", 0.5))
	if c.opset >= 12 {
		ratio = 0.5
		if in := c.opt(1); in.has() {
			t, err := c.known(1)
			if err != nil {
				return err
			}
			v := tensor.Must(tensor.New(tensor.Float64, t.Shape()...))
			if t.Size() != 1 || !castInto(v, t) {
				return c.errf("the ratio must be a number, not %v%v", t.DType(), t.Shape())
			}
			ratio = tensor.Data[float64](v)[0]
		}
		if in := c.opt(2); in.has() {
			t, err := c.known(2)
			if err != nil {
				return err
			}
			if t.DType() != tensor.Bool || t.Size() != 1 {
				return c.errf("training_mode must be one boolean, not %v%v", t.DType(), t.Shape())
			}
			training = tensor.Data[bool](t)[0]
		}
	} else if c.opset < 7 {
		training = !c.attrs.Bool("is_test", false)
	}
	if ratio < 0 || ratio >= 1 || ratio != ratio {
		return c.errf("ratio %v", ratio)
	}
	maskType := tensor.Bool
	if c.opset < 10 {
		maskType = x.dtype
	}
	if !training || ratio == 0 {
		if err := copyOut(c, 0, x); err != nil {
			return err
		}
		if c.wants(1) {
			m, err := c.out(1, maskType, x.shape)
			if err != nil {
				return err
			}
			one := tensor.Must(tensor.New(maskType, 1))
			castInto(one, tensor.Vector[float32](1))
			c.do(func(f *frame) { fillWith(f.t[m], one) })
		}
		return nil
	}
	switch d := x.dtype; d {
	case tensor.Float32:
		return dropoutOf[float32](c, ratio, maskType)
	case tensor.Float64:
		return dropoutOf[float64](c, ratio, maskType)
	default:
		return c.refuse("%v", d)
	}
})

func dropoutOf[T float](c *prep, ratio float64, maskType tensor.DType) error {
	c.random = true
	x := &c.in[0]
	o, err := c.out(0, x.dtype, x.shape)
	if err != nil {
		return err
	}
	m, err := c.out(1, tensor.Bool, x.shape)
	if err != nil {
		return err
	}
	if maskType != tensor.Bool && c.wants(1) {
		return c.refuse("a mask of %v in training mode", maskType)
	}
	seed := rand.Uint64()
	if v, ok := c.attrs["seed"].(float32); ok {
		seed = uint64(math.Float32bits(v))
	} else if v, ok := c.attrs["seed"].(int64); ok {
		seed = uint64(v)
	}
	runs := new(atomic.Uint64)
	keep, scale := uint64((1-ratio)*(1<<53)), T(1/(1-ratio))
	s := x.slot
	c.do(func(f *frame) {
		g := rand.NewPCG(seed, runs.Add(1))
		src, dst, mask := data[T](f, s), data[T](f, o), data[bool](f, m)
		for i, v := range src {
			mask[i] = g.Uint64()>>11 < keep
			dst[i] = 0
			if mask[i] {
				dst[i] = v * scale
			}
		}
	})
	return nil
}
