//go:build (!amd64 && !arm64) || purego

package gemm

func machineIntegers(isa) integerKernel { return integersGo }

// None of these is ever reached: there are no assembly kernels in this build.

func integersAsm(_ isa, t *tileArgs, mr, vecs int) { integersTileGo(t, mr) }

func requantizeAsm(_ isa, dst []byte, sums, add []int32, by []float32, r *Requantization, rows int) {
	requantizeGo(dst, sums, add, by, r, rows)
}

func quantizeAsm(isa, []byte, []float32, float32, float32, float32, int32) int { return 0 }

func quantizeByAsm(isa, []byte, []float32, float32, float32, float32, int32) int { return 0 }

func dequantizeAsm(isa, []float32, []byte, int32, float32, bool) int { return 0 }

func transposeBytesAsm(dst []byte, ldd int, src []byte, lds, rows, cols int, flip byte) {
	transposeBytesGo(dst, ldd, src, lds, rows, cols, flip)
}
