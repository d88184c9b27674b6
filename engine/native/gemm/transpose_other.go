//go:build !amd64 || purego

package gemm

// transposeAsm is never reached: there are no assembly kernels in this build.
func transposeAsm(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeGo(dst, ldd, src, lds, rows, cols)
}
