//go:build arm64 && !purego

package gemm

import "unsafe"

// machineIntegers is what this processor has for integers beside a kernel of this set. A vector of B is two registers.
func machineIntegers(set isa) integerKernel {
	switch set {
	case isaNEONDot:
		// SDOT multiplies signed bytes alone.
		return integerKernel{isa: set, rows: 6, lanes: 8, quad: 4, size: 1, flip: 0x80}
	case isaNEON:
		return integerKernel{isa: set, rows: 6, lanes: 8, quad: 2, size: 2}
	}
	return integersGo
}

func integersAsm(set isa, t *tileArgs, mr, vecs int) {
	if set == isaNEONDot {
		tileQuadsNEON((*byte)(unsafe.Pointer(t)), mr, 8*vecs)
		return
	}
	tilePairsNEON((*byte)(unsafe.Pointer(t)), mr, 8*vecs)
}

func requantizeAsm(_ isa, dst []byte, sums, add []int32, by []float32, r *Requantization, rows int) {
	requantizeNEON(&dst[0], &sums[0], &add[0], &by[0], rows, len(sums)/rows, r.Low, r.High, r.Zero)
}

// quantizeAsm, quantizeByAsm and dequantizeAsm do whole vectors, and return how many elements that were.
func quantizeAsm(_ isa, dst []byte, x []float32, scale, low, high float32, zero int32) int {
	n := len(x) &^ 7
	if n > 0 {
		quantizeNEON(&dst[0], &x[0], n, scale, low, high, zero)
	}
	return n
}

func quantizeByAsm(_ isa, dst []byte, x []float32, by, low, high float32, zero int32) int {
	n := len(x) &^ 7
	if n > 0 {
		quantizeByNEON(&dst[0], &x[0], n, by, low, high, zero)
	}
	return n
}

func dequantizeAsm(_ isa, dst []float32, x []byte, zero int32, scale float32, signed bool) int {
	n := len(x) &^ 7
	switch {
	case n == 0:
	case signed:
		dequantizeSignedNEON(&dst[0], &x[0], n, zero, scale)
	default:
		dequantizeUnsignedNEON(&dst[0], &x[0], n, zero, scale)
	}
	return n
}

// transposeBytesAsm transposes a block of any size, and flips the bits of flip in each byte, as [transposeAsm] goes through
// one: eight rows at a time.
func transposeBytesAsm(dst []byte, ldd int, src []byte, lds, rows, cols int, flip byte) {
	if rows < 8 || cols < 8 {
		transposeBytesGo(dst, ldd, src, lds, rows, cols, flip)
		return
	}
	all := uint64(flip) * 0x0101010101010101
	for r := 0; r < rows; r += 8 {
		r := min(r, rows-8)
		transposeBytesNEON(&dst[r], ldd, &src[r*lds], lds, cols/8, all)
		if cols%8 != 0 {
			transposeBytesNEON(&dst[(cols-8)*ldd+r], ldd, &src[r*lds+cols-8], lds, 1, all)
		}
	}
}
