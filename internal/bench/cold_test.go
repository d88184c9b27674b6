package bench_test

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/bench"
)

// getsWhilePut logs what gets took while n entries were put, of which no more than limit stay in memory.
func getsWhilePut(t *testing.T, n, limit int) (tail, longest time.Duration) {
	t.Helper()
	began := time.Now()
	times, err := bench.GetsWhilePut(t.Context(), bench.Options{Engine: "native", Store: bench.DiskStore(t.TempDir())}, n, limit)
	if err != nil {
		t.Fatal(err)
	}
	if len(times) == 0 {
		t.Fatal("there was no get")
	}
	tail, longest = bench.Quantile(times, 0.9999), slices.Max(times)
	t.Logf("%d entries, %d in memory at most (0: all), in %v: %d gets, p50 %v, p99.9 %v, p99.99 %v, the longest %v",
		n, limit, time.Since(began).Round(time.Millisecond), len(times), bench.Quantile(times, 0.5), bench.Quantile(times, 0.999), tail, longest)
	return tail, longest
}

// Everything that has to leave memory does so while it is measured; where nothing does, the measurement would wait for ever.
func TestGetsWhilePut(t *testing.T) {
	getsWhilePut(t, 3000, 1000)
	getsWhilePut(t, 3000, 0)
}
