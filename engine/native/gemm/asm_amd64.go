//go:build amd64 && !purego

package gemm

import "unsafe"

// tileAsm calls the tile for mr rows and the vectors that t.cols needs. The
// calls are spelled out because a call through a variable would move t to the
// heap.
func tileAsm(set isa, t *tileArgs, mr int) {
	p := (*byte)(unsafe.Pointer(t))
	if set == isaAVX512 {
		if t.cols > 16 {
			switch mr {
			case 12:
				tileAVX512x12x2(p)
			case 11:
				tileAVX512x11x2(p)
			case 10:
				tileAVX512x10x2(p)
			case 9:
				tileAVX512x9x2(p)
			case 8:
				tileAVX512x8x2(p)
			case 7:
				tileAVX512x7x2(p)
			case 6:
				tileAVX512x6x2(p)
			case 5:
				tileAVX512x5x2(p)
			case 4:
				tileAVX512x4x2(p)
			case 3:
				tileAVX512x3x2(p)
			case 2:
				tileAVX512x2x2(p)
			case 1:
				tileAVX512x1x2(p)
			}
			return
		}
		switch mr {
		case 12:
			tileAVX512x12x1(p)
		case 11:
			tileAVX512x11x1(p)
		case 10:
			tileAVX512x10x1(p)
		case 9:
			tileAVX512x9x1(p)
		case 8:
			tileAVX512x8x1(p)
		case 7:
			tileAVX512x7x1(p)
		case 6:
			tileAVX512x6x1(p)
		case 5:
			tileAVX512x5x1(p)
		case 4:
			tileAVX512x4x1(p)
		case 3:
			tileAVX512x3x1(p)
		case 2:
			tileAVX512x2x1(p)
		case 1:
			tileAVX512x1x1(p)
		}
		return
	}
	if t.cols > 8 {
		switch mr {
		case 6:
			tileAVX2x6x2(p)
		case 5:
			tileAVX2x5x2(p)
		case 4:
			tileAVX2x4x2(p)
		case 3:
			tileAVX2x3x2(p)
		case 2:
			tileAVX2x2x2(p)
		case 1:
			tileAVX2x1x2(p)
		}
		return
	}
	switch mr {
	case 6:
		tileAVX2x6x1(p)
	case 5:
		tileAVX2x5x1(p)
	case 4:
		tileAVX2x4x1(p)
	case 3:
		tileAVX2x3x1(p)
	case 2:
		tileAVX2x2x1(p)
	case 1:
		tileAVX2x1x1(p)
	}
}

func transposeAsm(set isa, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	if set == isaAVX512 {
		for r := 0; r < rows; r += 16 {
			h := min(16, rows-r)
			for c := 0; c < cols; c += 16 {
				transposeBlockAVX512(&dst[c*ldd+r], 4*ldd, &src[r*lds+c], 4*lds, h, min(16, cols-c))
			}
		}
		return
	}
	for r := 0; r < rows; r += 8 {
		h := min(8, rows-r)
		for c := 0; c < cols; c += 8 {
			transposeBlockAVX2(&dst[c*ldd+r], 4*ldd, &src[r*lds+c], 4*lds, h, min(8, cols-c))
		}
	}
}

func planeAsm(set isa, t *planeArgs) {
	p := (*byte)(unsafe.Pointer(t))
	if set == isaAVX512 {
		planeAVX512(p)
		return
	}
	planeAVX2(p)
}

func copyPlanesAsm(set isa, t *copyArgs) {
	p := (*byte)(unsafe.Pointer(t))
	if set == isaAVX512 {
		copyPlanesAVX512(p)
		return
	}
	copyPlanesAVX2(p)
}

func windowsAsm(set isa, dst []float32, index []int64, src []float32, w *Windows, base int64) {
	var to *int64
	if index != nil {
		to = &index[0]
	}
	steps, taps := &w.Steps[0], len(w.Steps)
	switch {
	case set == isaAVX512 && w.Stride == 1:
		windows1AVX512(&dst[0], to, &src[0], steps, taps, w.Cols, w.Rows, w.RowStep, base)
	case set == isaAVX512:
		windows2AVX512(&dst[0], to, &src[0], steps, taps, w.Cols, w.Rows, w.RowStep, base)
	case w.Stride == 1:
		windows1AVX2(&dst[0], to, &src[0], steps, taps, w.Cols, w.Rows, w.RowStep, base)
	default:
		windows2AVX2(&dst[0], to, &src[0], steps, taps, w.Cols, w.Rows, w.RowStep, base)
	}
}
