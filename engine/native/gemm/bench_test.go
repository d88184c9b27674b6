package gemm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

// BenchmarkGemm reports GFLOP/s for each kernel, with B packed beforehand
// (packed), packed in the call (plain), and with transposed operands.
func BenchmarkGemm(b *testing.B) {
	sizes := [][3]int{{256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024},
		{1, 128, 784}, {8, 128, 784}, {100, 128, 784}, {256, 128, 784}, {64, 196, 800}, {1, 512, 3136}, {784, 128, 100}, {128, 32, 100}}
	for _, size := range sizes {
		for _, form := range []string{"packed", "plain", "transA", "transB"} {
			for _, k := range gemm.Available() {
				m, n, depth := size[0], size[1], size[2]
				b.Run(fmt.Sprintf("%dx%dx%d/%s/%s", m, n, depth, form, k.Name()), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 2))
					p := gemm.Product{M: m, N: n, K: depth, Alpha: 1, A: random(r, m*depth), LDA: depth,
						B: random(r, depth*n), LDB: n, C: make([]float32, m*n), LDC: n}
					switch form {
					case "packed":
						var err error
						if p.Packed, err = k.PackB(make([]float32, k.PackedLen(depth, n)), p.B, depth, n, n, false); err != nil {
							b.Fatal(err)
						}
					case "transA":
						p.TransA, p.LDA = true, m
					case "transB":
						p.TransB, p.LDB = true, depth
					}
					p.Scratch = make([]float32, k.Scratch(&p))
					for b.Loop() {
						if err := k.Gemm(&p); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(2*float64(m)*float64(n)*float64(depth)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

// BenchmarkDense runs the net 784-128-32-10, weights packed, and reports
// microseconds an item.
func BenchmarkDense(b *testing.B) {
	layers := []int{784, 128, 32, 10}
	for _, batch := range []int{1, 256} {
		for _, k := range gemm.Available() {
			b.Run(fmt.Sprintf("%d/%s", batch, k.Name()), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				x := random(r, batch*layers[0])
				var net []*gemm.Product
				for i, n := range layers[1:] {
					depth := layers[i]
					packed, err := k.PackB(make([]float32, k.PackedLen(depth, n)), random(r, depth*n), depth, n, n, false)
					if err != nil {
						b.Fatal(err)
					}
					p := &gemm.Product{M: batch, N: n, K: depth, Alpha: 1, A: x, LDA: depth, Packed: packed,
						C: make([]float32, batch*n), LDC: n, ColBias: random(r, n)}
					if i < 2 {
						p.Act = gemm.Relu
					}
					p.Scratch = make([]float32, k.Scratch(p))
					net, x = append(net, p), p.C
				}
				for b.Loop() {
					for _, p := range net {
						if err := k.Gemm(p); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(batch), "us/item")
			})
		}
	}
}
