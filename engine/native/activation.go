package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
)

// These activations are so common that float32 has its own loops; other types go by the functions of unary.go.

// quick is slow for all types but float32, which goes by row. tmp is scratch memory as long as the row.
func quick(slow func(c *prep) error, row func(c *prep) func(k *gemm.Kernel, dst, src, tmp []float32)) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		in := &c.in[0]
		if in.dtype.Size() != 4 || !in.dtype.IsFloat() {
			return slow(c)
		}
		do := row(c)
		if do == nil {
			return slow(c)
		}
		o, err := c.out(0, in.dtype, in.shape)
		if err != nil {
			return err
		}
		tmp, err := c.scratch(in.dtype, in.size())
		if err != nil {
			return err
		}
		c.inplace(o, in.slot)
		s, k := in.slot, c.pl.e.kernel
		c.elementwise(in.size(), 4, func(f *frame, lo, hi int) {
			do(k, data[float32](f, o)[lo:hi], data[float32](f, s)[lo:hi], data[float32](f, tmp)[lo:hi])
		}, o, s, tmp)
		return nil
	})
}

// geluRow is x times a half of 1 + erf(x/sqrt(2)), or its approximation by a tanh.
func geluRow(c *prep) func(k *gemm.Kernel, dst, src, tmp []float32) {
	switch c.attrs.String("approximate", "none") {
	case "none":
		return func(k *gemm.Kernel, dst, src, tmp []float32) {
			k.Scale(tmp, src, 1/math.Sqrt2)
			k.Erf(tmp, tmp)
			k.Affine(tmp, tmp, 0.5, 0.5)
			k.Mul(dst, src, tmp)
		}
	case "tanh":
		return func(k *gemm.Kernel, dst, src, tmp []float32) {
			k.Mul(tmp, src, src)
			k.Affine(tmp, tmp, 0.044715*0.7978845608, 0.7978845608) // times the square root of 2/pi
			k.Mul(tmp, tmp, src)
			k.Tanh(tmp, tmp)
			k.Affine(tmp, tmp, 0.5, 0.5)
			k.Mul(dst, src, tmp)
		}
	}
	return nil // refused by the slow way
}

func leakyRow(c *prep) func(k *gemm.Kernel, dst, src, tmp []float32) {
	alpha := c.attrs.Float("alpha", 0.01)
	if !(alpha > 0 && alpha <= 1) {
		return nil
	}
	return func(k *gemm.Kernel, dst, src, tmp []float32) {
		k.Scale(tmp, src, alpha)
		k.Max(dst, src, tmp)
	}
}

func hardSigmoidRow(c *prep) func(k *gemm.Kernel, dst, src, tmp []float32) {
	alpha, beta := c.attrs.Float("alpha", 0.2), c.attrs.Float("beta", 0.5)
	return func(k *gemm.Kernel, dst, src, _ []float32) {
		k.Affine(dst, src, alpha, beta)
		k.Clip(dst, dst, 0, 1)
	}
}

func hardSwishRow(*prep) func(k *gemm.Kernel, dst, src, tmp []float32) {
	return func(k *gemm.Kernel, dst, src, tmp []float32) {
		k.Affine(tmp, src, 1.0/6, 0.5)
		k.Clip(tmp, tmp, 0, 1)
		k.Mul(dst, src, tmp)
	}
}
