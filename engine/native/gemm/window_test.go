package gemm_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

func TestMaxWindows(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 3000 {
			n, stride := 1+r.IntN(50), 1+r.IntN(3)
			steps := make([]int32, 1+r.IntN(9))
			last := 0
			for i := range steps {
				steps[i] = int32(r.IntN(40))
				last = max(last, int(steps[i]))
			}
			src := inputs(r, (n-1)*stride+last+1)
			for i := range src {
				if r.IntN(3) == 0 {
					src[i] = float32(r.IntN(3)) // equal ones
				}
			}
			base := r.Int64N(1 << 40)
			dst, index := make([]float32, n+1), make([]int64, n+1)
			dst[n], index[n] = 77, 78
			if r.IntN(3) == 0 {
				index = nil
				k.MaxWindows(dst[:n], nil, src, steps, stride, base)
			} else {
				k.MaxWindows(dst[:n], index[:n], src, steps, stride, base)
			}
			for i := range n {
				at := i * stride
				best, where := src[at+int(steps[0])], steps[0]
				for _, s := range steps {
					if v := float64(src[at+int(s)]); v > float64(best) || math.IsNaN(v) && best == best {
						best, where = float32(v), s
					}
				}
				if dst[i] != best && (dst[i] == dst[i] || best == best) {
					t.Fatalf("window %d of %d, stride %d, steps %v: got %v, want %v", i, n, stride, steps, dst[i], best)
				}
				if index != nil && index[i] != base+int64(at)+int64(where) {
					t.Fatalf("window %d of %d, stride %d, steps %v: at %d, want %d", i, n, stride, steps, index[i]-base, int64(at)+int64(where))
				}
			}
			if dst[n] != 77 || index != nil && index[n] != 78 {
				t.Fatalf("%d windows: wrote beyond the end", n)
			}
		}
	})
}

func TestMaxWindowsPanicsOutside(t *testing.T) {
	for name, f := range map[string]func(k *gemm.Kernel){
		"short source":  func(k *gemm.Kernel) { k.MaxWindows(make([]float32, 4), nil, make([]float32, 7), []int32{0, 1}, 2, 0) },
		"negative step": func(k *gemm.Kernel) { k.MaxWindows(make([]float32, 4), nil, make([]float32, 9), []int32{0, -1}, 2, 0) },
		"short index": func(k *gemm.Kernel) {
			k.MaxWindows(make([]float32, 4), make([]int64, 3), make([]float32, 9), []int32{0}, 2, 0)
		},
		"no steps": func(k *gemm.Kernel) { k.MaxWindows(make([]float32, 4), nil, make([]float32, 9), nil, 2, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, k *gemm.Kernel) {
				defer func() {
					if recover() == nil {
						t.Error("did not panic")
					}
				}()
				f(k)
			})
		})
	}
}

func BenchmarkMaxWindows(b *testing.B) {
	const width = 112
	for _, form := range []struct {
		name  string
		steps []int32
	}{{"2x2", []int32{0, 1, width, width + 1}}, {"3x3", []int32{0, 1, 2, width, width + 1, width + 2, 2 * width, 2*width + 1, 2*width + 2}}} {
		for _, n := range []int{7, 14, 55} {
			for _, k := range gemm.Available() {
				b.Run(fmt.Sprintf("%s/%d/%s", form.name, n, k.Name()), func(b *testing.B) {
					src := random(rand.New(rand.NewPCG(1, 2)), 3*width)
					dst, index := make([]float32, n), make([]int64, n)
					for b.Loop() {
						k.MaxWindows(dst, index, src, form.steps, 2, 5)
					}
					b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(n), "ns/element")
				})
			}
		}
	}
}
