package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
)

// updateChunk is how many elements an optimizer's update takes at a time: they stay in the first-level cache.
const updateChunk = 1024

// update prepares an optimizer's update: states tensors of one shape (the variable, its gradient, the optimizer's
// state), then scalars. The outputs are the new variable and the new states.
func update[T float](states int, names int, row func(v vectors[T], in [4][]T, out [3][]T, k [8]T)) func(c *prep) error {
	return func(c *prep) error {
		if err := c.need(states + names); err != nil {
			return err
		}
		p := &c.in[0]
		for i := range c.in {
			in := &c.in[i]
			if in.dtype != p.dtype || i < states && !in.shape.Equal(p.shape) || i >= states && in.size() != 1 {
				return c.errf("input %d is %v%v for a variable %v%v", i, in.dtype, in.shape, p.dtype, p.shape)
			}
		}
		var from [4]int
		var to [3]int
		var scalars [8]int
		for i := range states {
			from[i] = c.in[i].slot
		}
		for i := range names {
			scalars[i] = c.in[states+i].slot
		}
		for i := range states - 1 {
			o, err := c.out(i, p.dtype, p.shape)
			if err != nil {
				return err
			}
			to[i] = o
		}
		v := vectors[T]{c.pl.e.kernel}
		part := func(f *frame, lo, hi int) {
			var k [8]T
			for i := range names {
				k[i] = data[T](f, scalars[i])[0]
			}
			for ; lo < hi; lo += updateChunk {
				end := min(hi, lo+updateChunk)
				var in [4][]T
				var out [3][]T
				for i := range states {
					in[i] = data[T](f, from[i])[lo:end]
				}
				for i := range states - 1 {
					out[i] = data[T](f, to[i])[lo:end]
				}
				row(v, in, out, k)
			}
		}
		n := p.size()
		c.do(func(f *frame) { f.parallel(n, grain, part) })
		return nil
	}
}

// vectors are the functions of gemm for float32, and plain loops for float64.
type vectors[T float] struct{ k *gemm.Kernel }

// scale sets dst = x*a.
func (v vectors[T]) scale(dst, x []T, a T) {
	if d, ok := any(dst).([]float32); ok {
		v.k.Scale(d, any(x).([]float32), float32(a))
		return
	}
	for i, e := range x {
		dst[i] = e * a
	}
}

// axpy sets dst += x*a.
func (v vectors[T]) axpy(dst, x []T, a T) {
	if d, ok := any(dst).([]float32); ok {
		v.k.Axpy(d, any(x).([]float32), float32(a))
		return
	}
	for i, e := range x {
		dst[i] += e * a
	}
}

// add sets dst = x + y, mul dst = x*y, div dst = x/y.
func (v vectors[T]) add(dst, x, y []T) {
	if d, ok := any(dst).([]float32); ok {
		v.k.Add(d, any(x).([]float32), any(y).([]float32))
		return
	}
	addRow(dst, x, y, rowBoth)
}

func (v vectors[T]) mul(dst, x, y []T) {
	if d, ok := any(dst).([]float32); ok {
		v.k.Mul(d, any(x).([]float32), any(y).([]float32))
		return
	}
	mulRow(dst, x, y, rowBoth)
}

func (v vectors[T]) div(dst, x, y []T) {
	if d, ok := any(dst).([]float32); ok {
		v.k.Div(d, any(x).([]float32), any(y).([]float32))
		return
	}
	divRow(dst, x, y, rowBoth)
}

// root sets dst = sqrt(x)*a + b.
func (v vectors[T]) root(dst, x []T, a, b T) {
	if d, ok := any(dst).([]float32); ok {
		v.k.Sqrt(d, any(x).([]float32))
		v.k.Affine(d, d, float32(a), float32(b))
		return
	}
	for i, e := range x {
		dst[i] = T(math.Sqrt(float64(e)))*a + b
	}
}

// momentumRow: b' = momentum*b + g; p' = p - rate*b'.
func momentumRow[T float](v vectors[T], in [4][]T, out [3][]T, k [8]T) {
	v.scale(out[1], in[2], k[1])
	v.add(out[1], out[1], in[1])
	v.scale(out[0], out[1], -k[0])
	v.add(out[0], out[0], in[0])
}

// nesterovRow: b' = momentum*b + g; p' = p - rate*(g + momentum*b').
func nesterovRow[T float](v vectors[T], in [4][]T, out [3][]T, k [8]T) {
	v.scale(out[1], in[2], k[1])
	v.add(out[1], out[1], in[1])
	v.scale(out[0], out[1], k[1])
	v.add(out[0], out[0], in[1])
	v.scale(out[0], out[0], -k[0])
	v.add(out[0], out[0], in[0])
}

// rmsPropRow: v' = alpha*v + rest*g*g; p' = p - rate*g/(sqrt(v') + eps).
func rmsPropRow[T float](v vectors[T], in [4][]T, out [3][]T, k [8]T) {
	v.mul(out[0], in[1], in[1])
	v.scale(out[1], in[2], k[1])
	v.axpy(out[1], out[0], k[2])
	v.root(out[0], out[1], 1, k[3])
	v.div(out[0], in[1], out[0])
	v.scale(out[0], out[0], -k[0])
	v.add(out[0], out[0], in[0])
}

// adamRow: m' = beta1*m + rest1*g; v' = beta2*v + rest2*g*g; p' = p - rate*m'/(sqrt(v')/root + eps).
func adamRow[T float](v vectors[T], in [4][]T, out [3][]T, k [8]T) {
	v.scale(out[1], in[2], k[1])
	v.axpy(out[1], in[1], k[2])
	v.mul(out[0], in[1], in[1])
	v.scale(out[2], in[3], k[3])
	v.axpy(out[2], out[0], k[4])
	v.root(out[0], out[2], 1/k[5], k[6])
	v.div(out[0], out[1], out[0])
	v.scale(out[0], out[0], -k[0])
	v.add(out[0], out[0], in[0])
}

var (
	momentumUpdate = floats(update(3, 2, momentumRow[float32]), update(3, 2, momentumRow[float64]))
	nesterovUpdate = floats(update(3, 2, nesterovRow[float32]), update(3, 2, nesterovRow[float64]))
	rmsPropUpdate  = floats(update(3, 4, rmsPropRow[float32]), update(3, 4, rmsPropRow[float64]))
	adamUpdate     = floats(update(4, 7, adamRow[float32]), update(4, 7, adamRow[float64]))
)
