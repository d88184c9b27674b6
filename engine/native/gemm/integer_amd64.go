//go:build amd64 && !purego

package gemm

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// machineIntegers is what this processor has for integers beside a kernel of this set.
func machineIntegers(set isa) integerKernel {
	switch {
	case set == isaAVX512 && cpu.X86.HasAVX512VNNI:
		return integerKernel{isa: isaAVX512, rows: 12, lanes: 16, quad: 4, size: 1}
	case set == isaAVX512 || set == isaAVX2:
		return integerKernel{isa: isaAVX2, rows: 6, lanes: 8, quad: 2, size: 2}
	}
	return integersGo
}

// integersAsm calls the tile for mr rows and one or two vectors, spelled out as [tileAsm] is.
func integersAsm(set isa, t *tileArgs, mr, vecs int) {
	p := (*byte)(unsafe.Pointer(t))
	if set == isaAVX512 {
		if vecs == 2 {
			switch mr {
			case 12:
				tileQuadsAVX512x12x2(p)
			case 11:
				tileQuadsAVX512x11x2(p)
			case 10:
				tileQuadsAVX512x10x2(p)
			case 9:
				tileQuadsAVX512x9x2(p)
			case 8:
				tileQuadsAVX512x8x2(p)
			case 7:
				tileQuadsAVX512x7x2(p)
			case 6:
				tileQuadsAVX512x6x2(p)
			case 5:
				tileQuadsAVX512x5x2(p)
			case 4:
				tileQuadsAVX512x4x2(p)
			case 3:
				tileQuadsAVX512x3x2(p)
			case 2:
				tileQuadsAVX512x2x2(p)
			case 1:
				tileQuadsAVX512x1x2(p)
			}
			return
		}
		switch mr {
		case 12:
			tileQuadsAVX512x12x1(p)
		case 11:
			tileQuadsAVX512x11x1(p)
		case 10:
			tileQuadsAVX512x10x1(p)
		case 9:
			tileQuadsAVX512x9x1(p)
		case 8:
			tileQuadsAVX512x8x1(p)
		case 7:
			tileQuadsAVX512x7x1(p)
		case 6:
			tileQuadsAVX512x6x1(p)
		case 5:
			tileQuadsAVX512x5x1(p)
		case 4:
			tileQuadsAVX512x4x1(p)
		case 3:
			tileQuadsAVX512x3x1(p)
		case 2:
			tileQuadsAVX512x2x1(p)
		case 1:
			tileQuadsAVX512x1x1(p)
		}
		return
	}
	if vecs == 2 {
		switch mr {
		case 6:
			tilePairsAVX2x6x2(p)
		case 5:
			tilePairsAVX2x5x2(p)
		case 4:
			tilePairsAVX2x4x2(p)
		case 3:
			tilePairsAVX2x3x2(p)
		case 2:
			tilePairsAVX2x2x2(p)
		case 1:
			tilePairsAVX2x1x2(p)
		}
		return
	}
	switch mr {
	case 6:
		tilePairsAVX2x6x1(p)
	case 5:
		tilePairsAVX2x5x1(p)
	case 4:
		tilePairsAVX2x4x1(p)
	case 3:
		tilePairsAVX2x3x1(p)
	case 2:
		tilePairsAVX2x2x1(p)
	case 1:
		tilePairsAVX2x1x1(p)
	}
}

func requantizeAsm(set isa, dst []byte, sums, add []int32, by []float32, r *Requantization, rows int) {
	n := len(sums) / rows
	if set == isaAVX512 {
		requantizeAVX512(&dst[0], &sums[0], &add[0], &by[0], rows, n, r.Low, r.High, r.Zero)
		return
	}
	requantizeAVX2(&dst[0], &sums[0], &add[0], &by[0], rows, n, r.Low, r.High, r.Zero)
}

// quantizeAsm, quantizeByAsm and dequantizeAsm do whole vectors, and return how many elements that were.
func quantizeAsm(set isa, dst []byte, x []float32, scale, low, high float32, zero int32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case set == isaAVX512:
		quantizeAVX512(&dst[0], &x[0], n, scale, low, high, zero)
	default:
		quantizeAVX2(&dst[0], &x[0], n, scale, low, high, zero)
	}
	return n
}

func quantizeByAsm(set isa, dst []byte, x []float32, by, low, high float32, zero int32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case set == isaAVX512:
		quantizeByAVX512(&dst[0], &x[0], n, by, low, high, zero)
	default:
		quantizeByAVX2(&dst[0], &x[0], n, by, low, high, zero)
	}
	return n
}

func dequantizeAsm(set isa, dst []float32, x []byte, zero int32, scale float32, signed bool) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case set == isaAVX512 && signed:
		dequantizeSignedAVX512(&dst[0], &x[0], n, zero, scale)
	case set == isaAVX512:
		dequantizeUnsignedAVX512(&dst[0], &x[0], n, zero, scale)
	case signed:
		dequantizeSignedAVX2(&dst[0], &x[0], n, zero, scale)
	default:
		dequantizeUnsignedAVX2(&dst[0], &x[0], n, zero, scale)
	}
	return n
}

// transposeBytesAsm transposes a block of any size, and flips the bits of flip in each byte.
func transposeBytesAsm(dst []byte, ldd int, src []byte, lds, rows, cols int, flip byte) {
	all := uint64(flip) * 0x0101010101010101
	for r := 0; r < rows; r += 16 {
		for c := 0; c < cols; c += 16 {
			transposeBytesAVX512(&dst[c*ldd+r], ldd, &src[r*lds+c], lds, min(16, rows-r), min(16, cols-c), all)
		}
	}
}
