//go:build !race

package gemm_test

// rounds is how often a test repeats itself.
func rounds(n int) int { return n }
