package jsontensor_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/tensor"
)

// BenchmarkData reads arrays as clients send them.
func BenchmarkData(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	list := func(n int, one func() string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = one()
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	long := func() string { return strconv.FormatFloat(float64(rng.Float32()), 'g', -1, 32) }
	for _, c := range []struct {
		name  string
		dtype tensor.DType
		shape []int
		text  string
	}{
		{"float32/short", tensor.Float32, []int{784}, list(784, func() string { return strconv.FormatFloat(rng.Float64(), 'f', 3, 32) })},
		{"float32/long", tensor.Float32, []int{784}, list(784, long)},
		{"float32/nested", tensor.Float32, []int{28, 28}, list(28, func() string { return list(28, long) })},
		{"float32/1M", tensor.Float32, []int{1 << 20}, list(1<<20, long)},
		{"float64", tensor.Float64, []int{784}, list(784, func() string { return strconv.FormatFloat(rng.Float64(), 'g', -1, 64) })},
		{"int64", tensor.Int64, []int{784}, list(784, func() string { return strconv.FormatInt(rng.Int64(), 10) })},
		{"uint8", tensor.Uint8, []int{784}, list(784, func() string { return strconv.Itoa(rng.IntN(256)) })},
	} {
		b.Run(c.name, func(b *testing.B) {
			text, scratch := []byte(c.text), []float32(nil)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				scratch = scratch[:0]
				if _, err := jsontensor.NewScanner(text, strict).Data(c.dtype, c.shape, &scratch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
