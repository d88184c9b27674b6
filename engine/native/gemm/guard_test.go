//go:build unix

package gemm_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"github.com/millrace/millrace/engine/native/gemm"
)

// fence gives slices that touch memory which may not be read or written, so
// that a kernel that looks one element too far ends the test.
type fence struct {
	t     *testing.T
	atEnd bool // the forbidden page follows the slice; else it comes before
}

func (f fence) slice(n int) []float32 {
	f.t.Helper()
	if n == 0 {
		return nil
	}
	page := syscall.Getpagesize()
	size := (4*n + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := syscall.Munmap(mem); err != nil {
			f.t.Error(err)
		}
	})
	for _, guard := range [][]byte{mem[:page], mem[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			f.t.Fatal(err)
		}
	}
	at := page
	if f.atEnd {
		at += size - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&mem[at])), n)
}

func (f fence) copy(s []float32) []float32 {
	f.t.Helper()
	c := f.slice(len(s))
	copy(c, s)
	return c
}

func fenced(t *testing.T, test func(t *testing.T, k *gemm.Kernel, f fence)) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		t.Run("end", func(t *testing.T) { test(t, k, fence{t, true}) })
		t.Run("start", func(t *testing.T) { test(t, k, fence{t, false}) })
	})
}

func TestGemmStaysInside(t *testing.T) {
	fenced(t, func(t *testing.T, k *gemm.Kernel, f fence) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range rounds(150) {
			p := randomProduct(r, 1+r.IntN(30), 1+r.IntN(70), 1+r.IntN(30))
			if i%5 == 0 {
				p = randomProduct(r, 50+r.IntN(100), 1+r.IntN(150), 1+r.IntN(50))
			}
			want, size := reference(&p.Product)
			p.A, p.B, p.C = f.copy(p.A), f.copy(p.B), f.copy(p.C)
			if p.ColBias != nil {
				p.ColBias = f.copy(p.ColBias)
			}
			if p.RowBias != nil {
				p.RowBias = f.copy(p.RowBias)
			}
			if p.packed {
				packed, err := k.PackB(f.slice(k.PackedLen(p.K, p.N)), p.B, p.K, p.N, p.LDB, p.TransB)
				if err != nil {
					t.Fatal(err)
				}
				p.Packed = packed
			}
			p.Scratch = f.slice(k.Scratch(&p.Product))
			if err := k.Gemm(&p.Product); err != nil {
				t.Fatal(err)
			}
			compare(t, p, p.C, want, size, p.K)
		}
	})
}

func TestConvStaysInside(t *testing.T) {
	fenced(t, func(t *testing.T, k *gemm.Kernel, f fence) {
		r := rand.New(rand.NewPCG(3, 4))
		for range rounds(60) {
			c := randomConv(r, randomShape(r), 1+r.IntN(2))
			x, w, y := f.copy(c.x), f.copy(c.w), f.copy(c.y)
			forward, err := k.NewConv(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			back, err := k.NewConvInputGrad(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			weights, err := k.NewConvWeightGrad(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			for i, plan := range []*gemm.Conv{forward, back} {
				call := gemm.ConvCall{Batch: c.batch, Src: x, Dst: y, Bias: f.slice(c.shape.Filters), Weights: f.slice(plan.PackedLen()), Add: r.IntN(2) == 0}
				if i == 1 {
					call.Src, call.Dst, call.Bias = y, x, f.slice(c.shape.Channels)
				}
				call.Scratch = f.slice(plan.Scratch(&call))
				if err := plan.Pack(call.Weights, w); err != nil {
					t.Fatal(err)
				}
				if err := plan.Run(&call); err != nil {
					t.Fatal(err)
				}
			}
			call := gemm.ConvWeightCall{Batch: c.batch, Src: x, Grad: y, Dst: w}
			call.Scratch = f.slice(weights.Scratch(&call))
			if err := weights.Run(&call); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestVectorStaysInside(t *testing.T) {
	fenced(t, func(t *testing.T, k *gemm.Kernel, f fence) {
		for n := 1; n < 140; n++ {
			dst, x, y := f.slice(n), f.slice(n), f.slice(n)
			for _, g := range []func(dst, x, y []float32){k.Add, k.Max, k.ReluGrad} {
				g(dst, x, y)
			}
			for _, op := range unaries {
				op.f(k, dst, x)
			}
			k.Affine(dst, x, 1, 2)
			k.Axpy(dst, x, 2)
			k.Clip(dst, x, 0, 1)
			if s := k.Sum(x) + k.Dot(x, y) + k.Largest(x) + k.Smallest(x); s != 0 {
				t.Fatalf("length %d: reductions of zeros give %v", n, s)
			}
		}
	})
}

func TestMaxWindowsStaysInside(t *testing.T) {
	fenced(t, func(t *testing.T, k *gemm.Kernel, f fence) {
		for n := 1; n < 40; n++ {
			for stride := 1; stride <= 2; stride++ {
				w := gemm.Windows{Rows: 2, Cols: n, RowStep: 7, Stride: stride, Steps: []int32{0, 3, 1}}
				if err := k.MaxWindows(f.slice(2*n), nil, f.slice(7+(n-1)*stride+4), &w, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
