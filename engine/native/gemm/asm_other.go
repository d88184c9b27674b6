//go:build (!amd64 && !arm64) || purego

package gemm

// None of these is ever reached: there are no assembly kernels in this build.

func tileAsm(_ isa, t *tileArgs, mr int) { tileGo(t, mr) }

func planeAsm(_ isa, t *planeArgs) { planeGo(t) }

func transposeAsm(_ isa, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeGo(dst, ldd, src, lds, rows, cols)
}

func copyPlanesAsm(_ isa, t *copyArgs) { copyPlanesGo(t) }

func windowsAsm(_ isa, dst []float32, index []int64, src []float32, w *Windows, base int64) {
	windowsGo(dst, index, src, w, base)
}
