package gemm_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

func TestGemm64(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		m, n, k := r.IntN(20), r.IntN(80), r.IntN(80)
		p := gemm.Product64{M: m, N: n, K: k, Alpha: r.NormFloat64(), Beta: float64(i % 3), TransA: r.IntN(2) == 0, TransB: r.IntN(2) == 0}
		matrix := func(rows, cols int, trans bool) ([]float64, int) {
			if trans {
				rows, cols = cols, rows
			}
			s := make([]float64, rows*(cols+2))
			for i := range s {
				s[i] = r.NormFloat64()
			}
			return s, cols + 2
		}
		p.A, p.LDA = matrix(m, k, p.TransA)
		p.B, p.LDB = matrix(k, n, p.TransB)
		p.C, p.LDC = matrix(m, n, false)
		want := append([]float64(nil), p.C...)
		if p.Beta == 0 && m*n > 0 {
			p.C[0] = math.NaN()
		}
		for i := range m {
			for j := range n {
				s := 0.0
				for l := range k {
					a, b := i*p.LDA+l, l*p.LDB+j
					if p.TransA {
						a = l*p.LDA + i
					}
					if p.TransB {
						b = j*p.LDB + l
					}
					s += p.A[a] * p.B[b]
				}
				want[i*p.LDC+j] = p.Alpha*s + p.Beta*want[i*p.LDC+j]
			}
		}
		if err := gemm.Gemm64(&p); err != nil {
			t.Fatal(err)
		}
		for i, v := range p.C {
			if !(math.Abs(v-want[i]) <= 1e-12*(1+math.Abs(want[i])*10)) {
				t.Fatalf("%d x %d x %d: element %d is %v, want %v", m, k, n, i, v, want[i])
			}
		}
	}
	for _, p := range []gemm.Product64{
		{M: -1},
		{M: 2, N: 1, K: 2, A: make([]float64, 3), LDA: 2, B: make([]float64, 2), LDB: 1, C: make([]float64, 2), LDC: 1},
		{M: 2, N: 1, K: 2, A: make([]float64, 4), LDA: 2, B: make([]float64, 1), LDB: 1, C: make([]float64, 2), LDC: 1},
		{M: 2, N: 1, K: 2, A: make([]float64, 4), LDA: 2, B: make([]float64, 2), LDB: 1, C: make([]float64, 1), LDC: 1},
	} {
		if err := gemm.Gemm64(&p); !errors.Is(err, gemm.ErrShape) {
			t.Errorf("%+v: got %v", p, err)
		}
	}
}
