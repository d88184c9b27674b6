//go:build arm64 && !purego

package gemm

import "golang.org/x/sys/cpu"

// machineKernels lists the assembly kernels for arm64, fastest first. Every such processor has NEON; the products of bytes
// came later.
func machineKernels() []*Kernel {
	var ks []*Kernel
	if cpu.ARM64.HasASIMDDP {
		ks = append(ks, newKernel("neon-dot", isaNEONDot, 6, 16, 4, &vectorNEON))
	}
	return append(ks, newKernel("neon", isaNEON, 6, 16, 4, &vectorNEON))
}
