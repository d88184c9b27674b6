package rest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve/rest"
)

// BenchmarkPut puts 784 bytes into a durable cache, through the handler without a connection: one caller, and many at
// once, whose puts are gathered.
func BenchmarkPut(b *testing.B) {
	g, err := grid.Open(b.Context(), grid.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := g.Close(b.Context()); err != nil {
			b.Error(err)
		}
	})
	newCache(b, g, grid.CacheConfig{Name: "c"})
	h, err := rest.New(rest.Config{Grid: g})
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 784)
	var next atomic.Int64
	put := func() {
		r, err := http.NewRequest(http.MethodPut, fmt.Sprintf("/rest/v2/caches/c/%d", next.Add(1)%100_000), bytes.NewReader(value))
		if err != nil {
			b.Error(err)
			return
		}
		w := &discard{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status != 204 {
			b.Errorf("status %d", w.status)
		}
	}
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						put()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// discard answers into nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
