package cold_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/grid"
)

// BenchmarkHit reads entries that are in memory, of a cache without limits and of those that may evict: the second is to take at most
// 1.1 times as long.
func BenchmarkHit(b *testing.B) {
	for name, config := range map[string]grid.CacheConfig{
		"no limits": {},
		"tinylfu":   {MaxEntries: 20_000, Store: "cold"},
		"s3fifo":    {MaxEntries: 20_000, Store: "cold", Policy: grid.PolicyS3FIFO},
		"lru":       {MaxEntries: 20_000, Store: "cold", Policy: grid.PolicyLRU},
	} {
		b.Run(name, func(b *testing.B) {
			n := open(b, setup{})
			c := cache(b, n, config)
			keys := make([]string, 10_000)
			for i := range keys {
				keys[i] = fmt.Sprint(i)
				put(b, c, keys[i], string(make([]byte, 784)))
			}
			i := 0
			for b.Loop() {
				if _, err := c.Get(b.Context(), keys[i%len(keys)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkCold reads entries that come from the store, and puts into a full cache.
func BenchmarkCold(b *testing.B) {
	for _, what := range []string{"get", "put"} {
		b.Run(what, func(b *testing.B) {
			n := open(b, setup{})
			c := cache(b, n, grid.CacheConfig{MaxEntries: 1000, Store: "cold"})
			const keys = 5000
			for i := range keys {
				put(b, c, fmt.Sprint(i), string(make([]byte, 784)))
			}
			i := 0
			for b.Loop() {
				if what == "get" {
					get(b, c, fmt.Sprint(i%keys))
				} else {
					put(b, c, fmt.Sprint(keys+i), string(make([]byte, 784)))
				}
				i++
			}
		})
	}
}
