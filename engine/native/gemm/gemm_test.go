package gemm_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

// each runs a test once for every kernel of this processor.
func each(t *testing.T, f func(t *testing.T, k *gemm.Kernel)) {
	for _, k := range gemm.Eager() {
		t.Run(k.Name(), func(t *testing.T) { f(t, k) })
	}
}

func random(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// product is a random product with its operands between canaries.
type product struct {
	gemm.Product
	packed bool
}

func (p product) String() string {
	return fmt.Sprintf("m=%d n=%d k=%d transA=%v transB=%v packed=%v alpha=%v beta=%v act=%v bias=%v/%v lda+%d",
		p.M, p.N, p.K, p.TransA, p.TransB, p.packed, p.Alpha, p.Beta, p.Act, p.RowBias != nil, p.ColBias != nil, p.LDA)
}

func randomProduct(r *rand.Rand, m, n, k int) product {
	p := product{packed: r.IntN(2) == 0}
	p.M, p.N, p.K = m, n, k
	p.Alpha = []float32{1, 1, 0.5}[r.IntN(3)]
	p.Beta = []float32{0, 0, 1, -2}[r.IntN(4)]
	p.TransA, p.TransB = r.IntN(2) == 0, r.IntN(2) == 0
	matrix := func(rows, cols int, trans bool) ([]float32, int) {
		if trans {
			rows, cols = cols, rows
		}
		ld := cols + r.IntN(2)*r.IntN(5)
		if rows == 0 || cols == 0 {
			return nil, ld
		}
		return random(r, (rows-1)*ld+cols), ld
	}
	p.A, p.LDA = matrix(m, k, p.TransA)
	p.B, p.LDB = matrix(k, n, p.TransB)
	p.C, p.LDC = matrix(m, n, false)
	if r.IntN(2) == 0 {
		p.ColBias = random(r, n)
	}
	if r.IntN(2) == 0 {
		p.RowBias = random(r, m)
	}
	p.Act = gemm.Activation(r.IntN(3))
	p.Lo, p.Hi = -1, 2
	return p
}

// reference computes p in double precision; the second result bounds the sum of
// the absolute values of the terms, to which rounding errors are proportional.
func reference(p *gemm.Product) (want, size []float64) {
	want, size = make([]float64, len(p.C)), make([]float64, len(p.C))
	for i, v := range p.C {
		want[i] = float64(v)
	}
	for i := range p.M {
		for j := range p.N {
			var s, abs float64
			for l := range p.K {
				a, b := i*p.LDA+l, l*p.LDB+j
				if p.TransA {
					a = l*p.LDA + i
				}
				if p.TransB {
					b = j*p.LDB + l
				}
				v := float64(p.A[a]) * float64(p.B[b])
				s += v
				abs += math.Abs(v)
			}
			s *= float64(p.Alpha)
			at := i*p.LDC + j
			if p.Beta != 0 {
				s += float64(p.Beta) * want[at]
				abs += math.Abs(float64(p.Beta) * want[at])
			}
			if p.ColBias != nil {
				s += float64(p.ColBias[j])
			}
			if p.RowBias != nil {
				s += float64(p.RowBias[i])
			}
			switch p.Act {
			case gemm.Relu:
				s = keepNaN(s, 0, math.Inf(1))
			case gemm.Clip:
				s = keepNaN(s, float64(p.Lo), float64(p.Hi))
			}
			want[at], size[at] = s, abs+4
		}
	}
	return want, size
}

func keepNaN(x, lo, hi float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	return min(max(x, lo), hi)
}

// compare fails where got is further from want than the rounding of depth
// additions explains, in and between the rows of C.
func compare(t *testing.T, what any, got []float32, want, size []float64, depth int) {
	t.Helper()
	for i, g := range got {
		w := want[i]
		if math.IsNaN(w) != math.IsNaN(float64(g)) || math.IsInf(w, 0) && float64(g) != w {
			t.Fatalf("%v: element %d is %v, want %v", what, i, g, w)
		}
		if math.IsNaN(w) || math.IsInf(w, 0) {
			continue
		}
		if d := math.Abs(float64(g) - w); d > size[i]*float64(depth+4)*6e-8 {
			t.Fatalf("%v: element %d is %v, want %v, off by %g", what, i, g, w, d)
		}
	}
}

// prepare packs B where the product says so and makes its scratch memory.
func prepare(t *testing.T, k *gemm.Kernel, p *product) {
	t.Helper()
	if p.packed {
		packed, err := k.PackB(make([]float32, k.PackedLen(p.K, p.N)), p.B, p.K, p.N, p.LDB, p.TransB)
		if err != nil {
			t.Fatal(err)
		}
		p.Packed = packed
	}
	p.Scratch = make([]float32, k.Scratch(&p.Product))
}

// check holds every kernel's result against the reference.
func check(t *testing.T, p product) {
	t.Helper()
	want, size := reference(&p.Product)
	start := p.C
	for _, k := range gemm.Eager() {
		p.C = append([]float32(nil), start...)
		prepare(t, k, &p)
		if err := k.Gemm(&p.Product); err != nil {
			t.Fatalf("%s: %v: %v", k.Name(), p, err)
		}
		compare(t, fmt.Sprintf("%s: %v", k.Name(), p), p.C, want, size, p.K)
		p.Packed = gemm.Packed{}
	}
}

func TestGemmSmallSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for m := range 15 {
		for _, n := range []int{0, 1, 2, 7, 8, 9, 10, 15, 16, 17, 24, 31, 32, 33, 48, 50, 65} {
			for _, depth := range []int{0, 1, 2, 3, 4, 5, 8, 17} {
				p := randomProduct(r, m, n, depth)
				check(t, p)
			}
		}
	}
}

func TestGemmRandomSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range rounds(100) {
		p := randomProduct(r, 1+r.IntN(130), 1+r.IntN(200), 1+r.IntN(150))
		check(t, p)
	}
}

// Sizes beyond one block in each direction.
func TestGemmBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range [][3]int{{1, 70, 5000}, {3, 1100, 300}, {250, 40, 520}, {50, 1100, 260}, {20, 20, 4200}, {50, 300, 450}} {
		for range rounds(2) {
			p := randomProduct(r, size[0], size[1], size[2])
			check(t, p)
		}
	}
}

func TestGemmParallel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range rounds(60) {
		p := randomProduct(r, 1+r.IntN(90), 1+r.IntN(300), 1+r.IntN(300))
		p.Parallel = parallel(1 + i%4)
		check(t, p)
	}
}

// NaN and infinities reach exactly the elements whose sums they take part in,
// also where they meet a zero.
func TestGemmNotANumber(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	r := rand.New(rand.NewPCG(9, 10))
	for range 100 {
		p := randomProduct(r, 1+r.IntN(40), 1+r.IntN(60), 1+r.IntN(40))
		for _, s := range [][]float32{p.A, p.B} {
			for i := range s {
				if r.IntN(3) == 0 {
					s[i] = 0
				}
			}
			s[r.IntN(len(s))] = []float32{nan, inf, -inf}[r.IntN(3)]
		}
		check(t, p)
	}
}

// With Beta 0, C is not read.
func TestGemmBetaZero(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		p := gemm.Product{M: 1, N: 1, K: 1, Alpha: 1, A: []float32{2}, LDA: 1, B: []float32{3}, LDB: 1,
			C: []float32{float32(math.NaN())}, LDC: 1}
		p.Scratch = make([]float32, k.Scratch(&p))
		if err := k.Gemm(&p); err != nil {
			t.Fatal(err)
		}
		if p.C[0] != 6 {
			t.Fatalf("got %v, want 6", p.C[0])
		}
	})
}

func TestKernels(t *testing.T) {
	ks := gemm.Available()
	if ks[0] != gemm.Default() {
		t.Errorf("the default is %s, the fastest is %s", gemm.Default().Name(), ks[0].Name())
	}
	if last := ks[len(ks)-1]; last.Name() != "go" {
		t.Errorf("the last kernel is %s, want go", last.Name())
	}
	ks[0] = nil
	if gemm.Available()[0] == nil {
		t.Error("the list is shared")
	}
}

// Small products are not cut, large ones are, and so are those with few rows
// whose B is large.
func TestGemmCuts(t *testing.T) {
	k := gemm.Default()
	for _, c := range []struct{ m, n, depth, want int }{
		{1, 128, 784, 1}, {100, 32, 128, 1}, {1, 512, 3136, 2}, {100, 128, 784, 2}, {256, 256, 256, 2},
	} {
		count := counter{}
		p := gemm.Product{M: c.m, N: c.n, K: c.depth, Alpha: 1, A: make([]float32, c.m*c.depth), LDA: c.depth,
			B: make([]float32, c.depth*c.n), LDB: c.n, C: make([]float32, c.m*c.n), LDC: c.n, Parallel: &count}
		p.Scratch = make([]float32, k.Scratch(&p))
		if err := k.Gemm(&p); err != nil {
			t.Fatal(err)
		}
		if max(count.parts, 1) != c.want {
			t.Errorf("%d x %d x %d: %d parts, want %d", c.m, c.n, c.depth, count.parts, c.want)
		}
	}
}

func TestGemmRefusesWrongSizes(t *testing.T) {
	k := gemm.Default()
	ok := func() gemm.Product {
		p := gemm.Product{M: 40, N: 50, K: 60, Alpha: 2, A: make([]float32, 2400), LDA: 60,
			B: make([]float32, 3000), LDB: 50, C: make([]float32, 2000), LDC: 50}
		p.Scratch = make([]float32, k.Scratch(&p))
		return p
	}
	p := ok()
	if err := k.Gemm(&p); err != nil {
		t.Fatal(err)
	}
	packed, err := k.PackB(make([]float32, k.PackedLen(60, 49)), p.B, 60, 49, 50, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(p *gemm.Product){
		"negative":     func(p *gemm.Product) { p.M = -1 },
		"short A":      func(p *gemm.Product) { p.A = p.A[1:] },
		"short B":      func(p *gemm.Product) { p.B = p.B[1:] },
		"short C":      func(p *gemm.Product) { p.C = p.C[1:] },
		"stride":       func(p *gemm.Product) { p.LDC = 49 },
		"zero stride":  func(p *gemm.Product) { p.LDA = 0 },
		"column bias":  func(p *gemm.Product) { p.ColBias = make([]float32, 49) },
		"row bias":     func(p *gemm.Product) { p.RowBias = make([]float32, 39) },
		"scratch":      func(p *gemm.Product) { p.Scratch = nil },
		"packed shape": func(p *gemm.Product) { p.Packed = packed },
		"huge":         func(p *gemm.Product) { p.M = 1 << 62 },
	} {
		t.Run(name, func(t *testing.T) {
			p := ok()
			spoil(&p)
			if err := k.Gemm(&p); !errors.Is(err, gemm.ErrShape) {
				t.Fatalf("got %v", err)
			}
		})
	}
	if _, err := k.PackB(make([]float32, 10), p.B, 60, 50, 50, false); !errors.Is(err, gemm.ErrShape) {
		t.Fatalf("short destination: got %v", err)
	}
}

func TestGemmAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(11, 12))
		for range 20 {
			p := randomProduct(r, 1+r.IntN(90), 1+r.IntN(90), 1+r.IntN(90))
			p.Parallel = inline{}
			prepare(t, k, &p)
			if n := testing.AllocsPerRun(5, func() {
				if err := k.Gemm(&p.Product); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Fatalf("%v: %v allocations", p, n)
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(13, 14))
		for range 200 {
			rows, cols := 1+r.IntN(50), 1+r.IntN(50)
			lds, ldd := cols+r.IntN(3), rows+r.IntN(3)
			src, dst := random(r, (rows-1)*lds+cols), random(r, (cols-1)*ldd+rows)
			want := append([]float32(nil), dst...)
			for i := range rows {
				for j := range cols {
					want[j*ldd+i] = src[i*lds+j]
				}
			}
			if err := k.Transpose(dst, ldd, src, lds, rows, cols); err != nil {
				t.Fatal(err)
			}
			for i := range dst {
				if dst[i] != want[i] {
					t.Fatalf("%d x %d: element %d is %v, want %v", rows, cols, i, dst[i], want[i])
				}
			}
		}
		if err := k.Transpose(make([]float32, 5), 2, make([]float32, 6), 3, 2, 3); !errors.Is(err, gemm.ErrShape) {
			t.Fatalf("short destination: got %v", err)
		}
	})
}
