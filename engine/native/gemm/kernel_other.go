//go:build (!amd64 && !arm64) || purego

package gemm

// machineKernels is empty: there is no assembly for this processor or build.
func machineKernels() []*Kernel { return nil }
