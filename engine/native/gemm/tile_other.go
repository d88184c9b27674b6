//go:build !amd64 || purego

package gemm

// tileAsm is never reached: there are no assembly kernels in this build.
func tileAsm(_ isa, t *tileArgs, mr int) { tileGo(t, mr) }

func planeAsm(_ isa, t *planeArgs) { planeGo(t) }
