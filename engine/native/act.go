package native

import "github.com/millrace/millrace/engine/native/gemm"

// An activation is what a kernel does to its result before it stores it. Fusion sets it.
type activation struct {
	kind   gemm.Activation
	lo, hi float32
}

// applyTo applies an activation to results. NaN stays NaN.
func applyTo[T real](a activation, d []T) {
	switch a.kind {
	case gemm.Relu:
		for i, v := range d {
			if v < 0 {
				d[i] = 0
			}
		}
	case gemm.Clip:
		lo, hi := T(a.lo), T(a.hi)
		for i, v := range d {
			if v < lo {
				v = lo
			}
			if v > hi {
				v = hi
			}
			d[i] = v
		}
	}
}
