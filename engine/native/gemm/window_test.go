package gemm_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

func TestMaxWindows(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			w := gemm.Windows{Rows: 1 + r.IntN(4), Cols: 1 + r.IntN(50), RowStep: r.IntN(90), Stride: 1 + r.IntN(3)}
			w.Steps = make([]int32, 1+r.IntN(9))
			last := 0
			for i := range w.Steps {
				w.Steps[i] = int32(r.IntN(40))
				last = max(last, int(w.Steps[i]))
			}
			src := inputs(r, (w.Rows-1)*w.RowStep+(w.Cols-1)*w.Stride+last+1)
			for i := range src {
				if r.IntN(3) == 0 {
					src[i] = float32(r.IntN(3)) // equal ones
				}
			}
			base := r.Int64N(1 << 40)
			n := w.Rows * w.Cols
			dst, index := make([]float32, n+1), make([]int64, n+1)
			dst[n], index[n] = 77, 78
			places := index[:n]
			if r.IntN(3) == 0 {
				places = nil
			}
			if err := k.MaxWindows(dst[:n], places, src, &w, base); err != nil {
				t.Fatalf("%+v: %v", w, err)
			}
			for i := range n {
				at := i/w.Cols*w.RowStep + i%w.Cols*w.Stride
				best, where := src[at+int(w.Steps[0])], w.Steps[0]
				for _, s := range w.Steps {
					if v := float64(src[at+int(s)]); v > float64(best) || math.IsNaN(v) && best == best {
						best, where = float32(v), s
					}
				}
				if dst[i] != best && (dst[i] == dst[i] || best == best) {
					t.Fatalf("%+v: window %d: got %v, want %v", w, i, dst[i], best)
				}
				if places != nil && places[i] != base+int64(at)+int64(where) {
					t.Fatalf("%+v: window %d: at %d, want %d", w, i, places[i]-base, at+int(where))
				}
			}
			if dst[n] != 77 || index[n] != 78 {
				t.Fatalf("%+v: wrote beyond the end", w)
			}
		}
	})
}

func TestMaxWindowsRefusesWrongSizes(t *testing.T) {
	src := make([]float32, 20)
	dst, index := make([]float32, 8), make([]int64, 8)
	ok := gemm.Windows{Rows: 2, Cols: 4, RowStep: 10, Stride: 2, Steps: []int32{0, 3}}
	each(t, func(t *testing.T, k *gemm.Kernel) {
		if err := k.MaxWindows(dst, index, src, &ok, 0); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func(w *gemm.Windows) error{
			"short source":      func(w *gemm.Windows) error { return k.MaxWindows(dst, nil, src[:19], w, 0) },
			"short destination": func(w *gemm.Windows) error { return k.MaxWindows(dst[:7], nil, src, w, 0) },
			"short index":       func(w *gemm.Windows) error { return k.MaxWindows(dst, index[:7], src, w, 0) },
			"no steps":          func(w *gemm.Windows) error { w.Steps = nil; return k.MaxWindows(dst, nil, src, w, 0) },
			"negative step":     func(w *gemm.Windows) error { w.Steps = []int32{1, -1}; return k.MaxWindows(dst, nil, src, w, 0) },
			"negative rows":     func(w *gemm.Windows) error { w.Rows = -1; return k.MaxWindows(dst, nil, src, w, 0) },
			"huge row step":     func(w *gemm.Windows) error { w.RowStep = math.MaxInt; return k.MaxWindows(dst, nil, src, w, 0) },
			"huge stride":       func(w *gemm.Windows) error { w.Stride = math.MaxInt / 2; return k.MaxWindows(dst, nil, src, w, 0) },
			"negative row step": func(w *gemm.Windows) error { w.RowStep = -1; return k.MaxWindows(dst, nil, src, w, 0) },
		} {
			w := ok
			if err := f(&w); !errors.Is(err, gemm.ErrShape) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}

func BenchmarkMaxWindows(b *testing.B) {
	const width = 112
	for _, form := range []struct {
		name  string
		steps []int32
	}{{"2x2", []int32{0, 1, width, width + 1}}, {"3x3", []int32{0, 1, 2, width, width + 1, width + 2, 2 * width, 2*width + 1, 2*width + 2}}} {
		for _, n := range []int{7, 14, 28} {
			for _, k := range gemm.Available() {
				b.Run(fmt.Sprintf("%s/%d/%s", form.name, n, k.Name()), func(b *testing.B) {
					src := random(rand.New(rand.NewPCG(1, 2)), 3*n*width)
					dst, index := make([]float32, n*n), make([]int64, n*n)
					w := gemm.Windows{Rows: n, Cols: n, RowStep: 2 * width, Stride: 2, Steps: form.steps}
					for b.Loop() {
						if err := k.MaxWindows(dst, index, src, &w, 5); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(n*n), "ns/element")
				})
			}
		}
	}
}
