package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// lines describes the lines along one dimension: outer times inner of them, of length dim, with inner from one element
// to the next.
type lines struct{ outer, dim, inner int }

// softmax is the kernel of Softmax and LogSoftmax. Before opset 13 all dimensions from the axis on are one.
func softmax(logarithm bool) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		l, err := c.softmaxLines(c.in[0].shape)
		if err != nil {
			return err
		}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return softmaxOf[float32](c, l, logarithm)
		case tensor.Float64:
			return softmaxOf[float64](c, l, logarithm)
		default:
			return c.refuseType(d)
		}
	})
}

func (c *prep) softmaxLines(in tensor.Shape) (lines, error) {
	if c.opset < 13 {
		axis := len(in)
		if a := c.attrs.Int("axis", 1); a != int64(len(in)) {
			var err error
			if axis, err = c.axis(a, len(in)); err != nil {
				return lines{}, err
			}
		}
		return lines{in[:axis].Size(), in[axis:].Size(), 1}, nil
	}
	axis, err := c.axis(c.attrs.Int("axis", -1), len(in))
	if err != nil {
		return lines{}, err
	}
	if len(in) == 0 {
		return lines{1, 1, 1}, nil
	}
	return lines{in[:axis].Size(), in[axis], in[axis+1:].Size()}, nil
}

func softmaxOf[T float](c *prep, l lines, logarithm bool) error {
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	if !logarithm {
		c.inplace(o, c.in[0].slot)
	}
	s, k := c.in[0].slot, c.pl.e.kernel
	if l.dim == 0 {
		return nil
	}
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for i := lo; i < hi; i++ {
			at := i/l.inner*l.dim*l.inner + i%l.inner
			end := at + (l.dim-1)*l.inner + 1
			if d, ok := any(dst).([]float32); ok && l.inner == 1 {
				softmaxVector(k, d[at:end], any(src).([]float32)[at:end], logarithm)
				continue
			}
			softmaxLine(dst[at:end], src[at:end], l.inner, logarithm)
		}
	}
	c.do(func(f *frame) { f.parallel(l.outer*l.inner, max(1, grain/8/max(1, l.dim)), part) })
	return nil
}

// softmaxVector is softmaxLine with the vector functions of package gemm. For the logarithm dst must not be src.
func softmaxVector(k *gemm.Kernel, dst, src []float32, logarithm bool) {
	top := k.Largest(src)
	if !logarithm {
		k.Shift(dst, src, -top)
		k.Exp(dst, dst)
		k.Scale(dst, dst, 1/k.Sum(dst))
		return
	}
	k.Shift(dst, src, -top)
	k.Exp(dst, dst)
	sum := float64(k.Sum(dst))
	if math.IsInf(float64(top), 0) {
		k.Shift(dst, src, -top)
		return
	}
	// In two steps, so that nothing is lost where the scores are large.
	k.Shift(dst, src, -top)
	k.Shift(dst, dst, -float32(math.Log(sum)))
}

// softmaxLine sums in float64, and each result is rounded once.
func softmaxLine[T float](dst, src []T, step int, logarithm bool) {
	top := src[0]
	for i := 0; i < len(src); i += step {
		top = max(top, src[i])
	}
	sum := 0.0
	for i := 0; i < len(src); i += step {
		e := math.Exp(float64(src[i]) - float64(top))
		sum += e
		if !logarithm {
			dst[i] = T(e)
		}
	}
	if logarithm {
		shift := float64(top) + math.Log(sum)
		if math.IsInf(float64(top), 0) {
			shift = float64(top)
		}
		for i := 0; i < len(src); i += step {
			dst[i] = T(float64(src[i]) - shift)
		}
		return
	}
	inv := 1 / sum
	for i := 0; i < len(src); i += step {
		dst[i] = T(float64(dst[i]) * inv)
	}
}
