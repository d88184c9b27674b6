package grid_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/grid"
)

// BenchmarkKeyMemory reports what a key costs in memory: in the index alone, and with the server's own part. The values are of
// 10 bytes, since the server keeps recent blocks of its files in memory.
func BenchmarkKeyMemory(b *testing.B) {
	const keys = 200_000
	for b.Loop() {
		g := open(b, grid.Config{Dir: b.TempDir()})
		c := cache(b, g, grid.CacheConfig{Name: "c"})
		empty := heap()
		for at := 0; at < keys; at += 500 {
			puts := make([]grid.Put, 500)
			for i := range puts {
				puts[i] = grid.Put{Key: fmt.Sprintf("%07d", at+i), Value: []byte("0123456789")}
			}
			results, err := c.PutBatch(b.Context(), puts)
			if err != nil {
				b.Fatal(err)
			}
			for _, r := range results {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		}
		if n, err := c.Size(b.Context()); n != keys || err != nil {
			b.Fatal(n, err)
		}
		full := heap()
		grid.DropIndex(g)
		b.ReportMetric(float64(full-empty)/keys, "B/key")
		b.ReportMetric(float64(full-heap())/keys, "index-B/key")
	}
}
