//go:build race

package gemm_test

// The race detector slows plain loops down tenfold.
func rounds(n int) int { return (n + 9) / 10 }
