//go:build amd64 && !purego

package gemm

import "golang.org/x/sys/cpu"

// machineKernels lists the assembly kernels that this processor and its
// operating system support, fastest first.
func machineKernels() []*Kernel {
	var ks []*Kernel
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
		ks = append(ks, newKernel("avx512", isaAVX512, 12, 32, 16, &vectorAVX512))
	}
	if x.HasAVX2 && x.HasFMA {
		ks = append(ks, newKernel("avx2", isaAVX2, 6, 16, 8, &vectorAVX2))
	}
	return ks
}
