package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// unary prepares an operator of one operand.
func unary[T, R tensor.Element](c *prep, cost int, row func(dst []R, src []T)) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	o, err := c.out(0, tensor.DTypeOf[R](), in.shape)
	if err != nil {
		return err
	}
	c.inplace(o, in.slot)
	s, n := in.slot, in.size()
	if isFloat32[T]() && isFloat32[R]() {
		c.elementwise(n, cost, func(f *frame, lo, hi int) { row(data[R](f, o)[lo:hi], data[T](f, s)[lo:hi]) }, o, s)
		return nil
	}
	chunk := func(f *frame, lo, hi int) { row(data[R](f, o)[lo:hi], data[T](f, s)[lo:hi]) }
	c.do(func(f *frame) { f.parallel(n, max(1, grain/cost), chunk) })
	return nil
}

// mapRow makes a row function of a function of one element.
func mapRow[T, R any](op func(T) R) func(dst []R, src []T) {
	return func(dst []R, src []T) {
		src = src[:len(dst)]
		for i := range dst {
			dst[i] = op(src[i])
		}
	}
}

// floatFunc makes the kernel of a function of real numbers. It is computed in float64, and rounded once.
func floatFunc(op func(c *prep) (func(x float64) float64, error)) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		fn, err := op(c)
		if err != nil {
			return err
		}
		switch c.in[0].dtype {
		case tensor.Float32:
			return unary(c, 8, func(dst, src []float32) {
				src = src[:len(dst)]
				for i := range dst {
					dst[i] = float32(fn(float64(src[i])))
				}
			})
		case tensor.Float64:
			return unary(c, 8, mapRow(fn))
		}
		return c.refuseType(c.in[0].dtype)
	})
}

// plain is floatFunc without attributes.
func plain(fn func(float64) float64) func(c *prep) error {
	return floatFunc(func(*prep) (func(float64) float64, error) { return fn, nil })
}

// alphaFunc is floatFunc with up to two attributes.
func alphaFunc(alpha, beta float32, fn func(x, alpha, beta float64) float64, names ...string) func(c *prep) error {
	return floatFunc(func(c *prep) (func(float64) float64, error) {
		a, b := float64(alpha), float64(beta)
		if len(names) > 0 {
			a = float64(c.attrs.Float(names[0], alpha))
		}
		if len(names) > 1 {
			b = float64(c.attrs.Float(names[1], beta))
		}
		return func(x float64) float64 { return fn(x, a, b) }, nil
	})
}

// vector is plain for float64, with a vector function of package gemm for float32.
func vector(f32 func(k *gemm.Kernel, dst, src []float32), f64 func(float64) float64) func(c *prep) error {
	return floats(func(c *prep) error {
		k := c.pl.e.kernel
		return unary(c, 4, func(dst, src []float32) { f32(k, dst, src) })
	}, func(c *prep) error { return unary(c, 8, mapRow(f64)) })
}

func elu(x, alpha, _ float64) float64 {
	if x < 0 {
		return alpha * math.Expm1(x)
	}
	return x
}

func selu(x, alpha, gamma float64) float64 {
	if x <= 0 {
		return gamma * alpha * math.Expm1(x)
	}
	return gamma * x
}

func leakyRelu(x, alpha, _ float64) float64 {
	if x < 0 {
		return alpha * x
	}
	return x
}

func thresholded(x, alpha, _ float64) float64 {
	if x > alpha || x != x {
		return x
	}
	return 0
}

func celu(x, alpha, _ float64) float64 {
	return math.Max(0, x) + math.Min(0, alpha*math.Expm1(x/alpha))
}

func hardSigmoid(x, alpha, beta float64) float64 { return math.Max(0, math.Min(1, alpha*x+beta)) }

func hardSwish(x float64) float64 { return x * math.Max(0, math.Min(1, x/6+0.5)) }

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func softplus(x float64) float64 {
	if x > 0 {
		return x + math.Log1p(math.Exp(-x))
	}
	return math.Log1p(math.Exp(x))
}

func softsign(x float64) float64 { return x / (1 + math.Abs(x)) }

func mish(x float64) float64 { return x * math.Tanh(softplus(x)) }

// gelu is exact, or with approximate = "tanh" the usual approximation.
func gelu(c *prep) (func(float64) float64, error) {
	switch a := c.attrs.String("approximate", "none"); a {
	case "none":
		return func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }, nil
	case "tanh":
		return func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, nil
	default:
		return nil, c.refuse("approximate %q", a)
	}
}

func relu[T real](dst, src []T) {
	src = src[:len(dst)]
	for i, v := range src {
		if v < 0 {
			v = 0
		}
		dst[i] = v
	}
}

func neg[T real](dst, src []T) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = -v
	}
}

func abs[T real](dst, src []T) {
	src = src[:len(dst)]
	for i, v := range src {
		if v < 0 || v == 0 {
			v = 0 - v
		}
		dst[i] = v
	}
}

func sign[T real](dst, src []T) {
	one := T(1)
	src = src[:len(dst)]
	for i, v := range src {
		switch {
		case v > 0:
			v = 1
		case v < 0:
			v = -one
		}
		dst[i] = v
	}
}

// numberFunc names the functions of any number.
type numberFunc uint8

const (
	fnRelu numberFunc = iota
	fnNeg
	fnAbs
	fnSign
)

func rowOf[T real](fn numberFunc) func(dst, src []T) {
	switch fn {
	case fnRelu:
		return relu[T]
	case fnNeg:
		return neg[T]
	case fnAbs:
		return abs[T]
	}
	return sign[T]
}

// number is the kernel of a function of any number.
func number(fn numberFunc) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		switch c.in[0].dtype {
		case tensor.Float32:
			row := rowOf[float32](fn)
			if k := c.pl.e.kernel; fn == fnRelu {
				row = func(dst, src []float32) { k.Clip(dst, src, 0, float32(math.Inf(1))) }
			} else if fn == fnNeg {
				row = func(dst, src []float32) { k.Scale(dst, src, -1) }
			}
			return unary(c, 1, row)
		case tensor.Float64:
			return unary(c, 1, rowOf[float64](fn))
		case tensor.Int8:
			return unary(c, 1, rowOf[int8](fn))
		case tensor.Int16:
			return unary(c, 1, rowOf[int16](fn))
		case tensor.Int32:
			return unary(c, 1, rowOf[int32](fn))
		case tensor.Int64:
			return unary(c, 1, rowOf[int64](fn))
		case tensor.Uint8:
			return unary(c, 1, rowOf[uint8](fn))
		case tensor.Uint16:
			return unary(c, 1, rowOf[uint16](fn))
		case tensor.Uint32:
			return unary(c, 1, rowOf[uint32](fn))
		case tensor.Uint64:
			return unary(c, 1, rowOf[uint64](fn))
		}
		return c.refuseType(c.in[0].dtype)
	})
}

func not(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if c.in[0].dtype != tensor.Bool {
		return c.refuseType(c.in[0].dtype)
	}
	return unary(c, 1, mapRow(func(b bool) bool { return !b }))
}
