// Package fourier computes discrete Fourier transforms of any length. Reading and writing them is left to package native.
package fourier

import (
	"math"
	"math/bits"
	"math/cmplx"
)

// A Transform is a discrete Fourier transform of n numbers. It is safe for concurrent use.
type Transform struct {
	n       int
	inverse bool
	roots   []complex128 // exp(-2 pi i k/n)
	// Where n is no power of two, the transform is a convolution with a chirp, computed by one of a power of two.
	chirp  []complex128
	kernel []complex128
	inner  *Transform
}

// New returns the transform of n numbers, at least 1. The inverse one is not divided by n.
func New(n int, inverse bool) *Transform {
	t := &Transform{n: n, inverse: inverse}
	sign := -1.0
	if inverse {
		sign = 1
	}
	if n&(n-1) == 0 {
		t.roots = make([]complex128, n)
		for k := range t.roots {
			t.roots[k] = cmplx.Exp(complex(0, sign*2*math.Pi*float64(k)/float64(n)))
		}
		return t
	}
	size := 1 << bits.Len(uint(2*n-2))
	t.inner = New(size, false)
	t.chirp = make([]complex128, n)
	t.kernel = make([]complex128, size)
	for k := range n {
		// k*k modulo 2n keeps the angle exact for large k.
		t.chirp[k] = cmplx.Exp(complex(0, sign*math.Pi*float64(k*k%(2*n))/float64(n)))
		t.kernel[k] = cmplx.Conj(t.chirp[k])
		t.kernel[(size-k)%size] = t.kernel[k]
	}
	t.inner.Run(t.kernel)
	return t
}

// Run transforms x in place.
func (t *Transform) Run(x []complex128) {
	if t.n <= 1 {
		return
	}
	if t.inner != nil {
		t.bluestein(x)
		return
	}
	shift := 64 - bits.Len(uint(t.n-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < t.n; half *= 2 {
		step := t.n / (2 * half)
		for from := 0; from < t.n; from += 2 * half {
			for k := range half {
				a, b := x[from+k], x[from+half+k]*t.roots[k*step]
				x[from+k], x[from+half+k] = a+b, a-b
			}
		}
	}
}

func (t *Transform) bluestein(x []complex128) {
	y := make([]complex128, len(t.kernel))
	for k, v := range x {
		y[k] = v * t.chirp[k]
	}
	t.inner.Run(y)
	for k, v := range t.kernel {
		y[k] = cmplx.Conj(y[k] * v) // the conjugate twice makes the transform inverse
	}
	t.inner.Run(y)
	by := complex(1/float64(len(y)), 0)
	for k := range x {
		x[k] = cmplx.Conj(y[k]) * by * t.chirp[k]
	}
}

// Parts returns the real and the imaginary part of a number.
func Parts(v complex128) (re, im float64) { return real(v), imag(v) }
