//go:build arm64 && !purego

package gemm

import "unsafe"

func tileAsm(_ isa, t *tileArgs, mr int) { tileNEON((*byte)(unsafe.Pointer(t)), mr, t.cols) }

// transposeAsm goes through strips of four rows. Where the size is no multiple of four, the last strip and the last block of
// each lie over the ones before, which are written once more.
func transposeAsm(_ isa, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	if rows < 4 || cols < 4 {
		transposeGo(dst, ldd, src, lds, rows, cols)
		return
	}
	for r := 0; r < rows; r += 4 {
		r := min(r, rows-4)
		transposeStripNEON(&dst[r], 4*ldd, &src[r*lds], 4*lds, cols/4)
		if cols%4 != 0 {
			transposeStripNEON(&dst[(cols-4)*ldd+r], 4*ldd, &src[r*lds+cols-4], 4*lds, 1)
		}
	}
}

func planeAsm(_ isa, t *planeArgs) { planeNEON((*byte)(unsafe.Pointer(t))) }

func copyPlanesAsm(_ isa, t *copyArgs) { copyPlanesNEON((*byte)(unsafe.Pointer(t))) }

func windowsAsm(_ isa, dst []float32, index []int64, src []float32, w *Windows, base int64) {
	var to *int64
	if index != nil {
		to = &index[0]
	}
	if w.Stride == 1 {
		windows1NEON(&dst[0], to, &src[0], &w.Steps[0], len(w.Steps), w.Cols, w.Rows, w.RowStep, base)
		return
	}
	windows2NEON(&dst[0], to, &src[0], &w.Steps[0], len(w.Steps), w.Cols, w.Rows, w.RowStep, base)
}
