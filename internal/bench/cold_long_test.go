//go:build long

package bench_test

import (
	"testing"
	"time"
)

// TestGetsWhileAMillionLeave holds how long gets take while 1,000,000 entries leave memory: p99.99 is at most 20 ms, and the longest takes at most
// three times as long as where as many are put and stay. It wants a machine that does nothing else.
func TestGetsWhileAMillionLeave(t *testing.T) {
	const n, limit = 1_000_000, 20_000
	_, plain := getsWhilePut(t, n, 0)
	tail, longest := getsWhilePut(t, n, limit)
	if tail > 20*time.Millisecond {
		t.Errorf("p99.99 of the gets is %v", tail)
	}
	if longest > 3*plain {
		t.Errorf("the longest get took %v, and %v where nothing left", longest, plain)
	}
}
