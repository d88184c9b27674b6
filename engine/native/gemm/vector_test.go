package gemm_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1.1754942e-38, 1.17549435e-38, -1.17549435e-38,
	math.MaxFloat32, -math.MaxFloat32, 0.5, 2, math.Sqrt2, 1 / math.Sqrt2, 0.625, 0.92, 88.7, 88.8, -87, -88, -100, -103.9, -104, 20, -20, 1e-20, 3e38}

// inputs are special values and random ones of all magnitudes, n of them.
func inputs(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch r.IntN(4) {
		case 0:
			x[i] = special[r.IntN(len(special))]
		case 1:
			x[i] = math.Float32frombits(r.Uint32())
		case 2:
			x[i] = float32(r.NormFloat64() * 30)
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
	return x
}

// ulps is the distance of got from want in units of want's last place in single
// precision; not a number and infinities count as equal or as far away.
func ulps(got float32, want float64) float64 {
	rounded := float32(want)
	if got == rounded || got != got && want != want {
		return 0
	}
	if math.IsNaN(want) || math.IsNaN(float64(got)) || math.IsInf(float64(rounded), 0) && math.Abs(float64(got)) < 0.9999*math.MaxFloat32 {
		return math.Inf(1)
	}
	if math.IsInf(float64(got), 0) {
		if math.Abs(want) > 0.9999999*math.MaxFloat32 {
			return 1
		}
		return math.Inf(1)
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// around runs f on slices of every length up to 70 and a few longer ones, that
// begin anywhere and lie between canaries, and checks that only dst changed.
func around(t *testing.T, r *rand.Rand, f func(dst, x, y []float32)) {
	t.Helper()
	for n := range 200 {
		if n > 70 {
			n = 70 + r.IntN(400)
		}
		at := 3 + r.IntN(20)
		buf := [3][]float32{}
		for i := range buf {
			buf[i] = inputs(r, n+50)
		}
		before := append([]float32(nil), buf[0]...)
		f(buf[0][at:at+n], buf[1][at:at+n], buf[2][at:at+n])
		for i, v := range buf[0] {
			if (i < at || i >= at+n) && math.Float32bits(v) != math.Float32bits(before[i]) {
				t.Fatalf("length %d: element %d outside of it was written", n, i-at)
			}
		}
	}
}

func TestVectorBinary(t *testing.T) {
	for _, op := range []struct {
		name string
		f    func(k *gemm.Kernel, dst, x, y []float32)
		want func(x, y float32) float32
	}{
		{"Add", (*gemm.Kernel).Add, func(x, y float32) float32 { return x + y }},
		{"Sub", (*gemm.Kernel).Sub, func(x, y float32) float32 { return x - y }},
		{"Mul", (*gemm.Kernel).Mul, func(x, y float32) float32 { return x * y }},
		{"Div", (*gemm.Kernel).Div, func(x, y float32) float32 { return x / y }},
		{"Max", (*gemm.Kernel).Max, func(x, y float32) float32 { return max(x, y) }},
		{"Min", (*gemm.Kernel).Min, func(x, y float32) float32 { return min(x, y) }},
		{"ReluGrad", (*gemm.Kernel).ReluGrad, func(x, y float32) float32 {
			if y > 0 {
				return x
			}
			return 0
		}},
		{"Scale", func(k *gemm.Kernel, dst, x, _ []float32) { k.Scale(dst, x, 1.5) }, func(x, _ float32) float32 { return x * 1.5 }},
		{"Shift", func(k *gemm.Kernel, dst, x, _ []float32) { k.Shift(dst, x, -3) }, func(x, _ float32) float32 { return x - 3 }},
		{"Clip", func(k *gemm.Kernel, dst, x, _ []float32) { k.Clip(dst, x, -1, 6) }, func(x, _ float32) float32 {
			return float32(keepNaN(float64(x), -1, 6))
		}},
	} {
		t.Run(op.name, func(t *testing.T) {
			each(t, func(t *testing.T, k *gemm.Kernel) {
				around(t, rand.New(rand.NewPCG(1, 2)), func(dst, x, y []float32) {
					op.f(k, dst, x, y)
					for i, got := range dst {
						if want := op.want(x[i], y[i]); got != want && (got == got || want == want) {
							t.Fatalf("length %d: x = %v, y = %v: got %v, want %v", len(dst), x[i], y[i], got, want)
						}
					}
				})
			})
		})
	}
}

func TestVectorFused(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(1, 2))
		for n := range 100 {
			x, y := random(r, n), random(r, n)
			affine, axpy := make([]float32, n), append([]float32(nil), y...)
			k.Affine(affine, x, 2.5, -1)
			k.Axpy(axpy, x, 0.7)
			for i := range n {
				if want := float64(x[i])*2.5 - 1; math.Abs(float64(affine[i])-want) > 1e-6*(1+math.Abs(want)) {
					t.Fatalf("affine of %v: got %v, want %v", x[i], affine[i], want)
				}
				if want := float64(y[i]) + float64(x[i])*float64(float32(0.7)); math.Abs(float64(axpy[i])-want) > 1e-6*(1+math.Abs(want)) {
					t.Fatalf("axpy of %v: got %v, want %v", x[i], axpy[i], want)
				}
			}
		}
	})
}

var unaries = []struct {
	name string
	f    func(k *gemm.Kernel, dst, x []float32)
	want func(x float64) float64
	ulps float64
	flat float64 // an absolute error that is allowed besides
}{
	{"Sqrt", (*gemm.Kernel).Sqrt, math.Sqrt, 0.5, 0},
	{"Exp", (*gemm.Kernel).Exp, math.Exp, 2, 0},
	{"Log", (*gemm.Kernel).Log, math.Log, 2, 0},
	{"Tanh", (*gemm.Kernel).Tanh, math.Tanh, 3, 0},
	{"Sigmoid", (*gemm.Kernel).Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 3, 1e-38},
	{"Erf", (*gemm.Kernel).Erf, math.Erf, 3, 0},
}

func TestVectorFunctions(t *testing.T) {
	for _, op := range unaries {
		t.Run(op.name, func(t *testing.T) {
			each(t, func(t *testing.T, k *gemm.Kernel) {
				worst, at := 0.0, float32(0)
				check := func(dst, x []float32) {
					op.f(k, dst, x)
					for i, got := range dst {
						want := op.want(float64(x[i]))
						if math.Abs(float64(got)-want) <= op.flat {
							continue
						}
						if u := ulps(got, want); u > worst {
							worst, at = u, x[i]
						}
					}
				}
				around(t, rand.New(rand.NewPCG(1, 2)), func(dst, x, _ []float32) { check(dst, x) })
				// Every 4999th number there is.
				step := uint64(4999 * 10 / rounds(10))
				dst, x := make([]float32, 4096), make([]float32, 4096)
				for bits := uint64(0); bits < 1<<32; {
					for i := range x {
						x[i] = math.Float32frombits(uint32(bits))
						bits += step
					}
					check(dst, x)
				}
				t.Logf("worst error: %.2f units at %v", worst, at)
				if worst > op.ulps {
					t.Errorf("error of %.2f units at %v, allowed %v", worst, at, op.ulps)
				}
			})
		})
	}
}

func TestVectorReductions(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(1, 2))
		for n := range 300 {
			x, y := random(r, n), random(r, n)
			var sum, dot, size float64
			largest, smallest := math.Inf(-1), math.Inf(1)
			for i, v := range x {
				sum += float64(v)
				dot += float64(v) * float64(y[i])
				size += math.Abs(float64(v)) * (1 + math.Abs(float64(y[i])))
				largest, smallest = max(largest, float64(v)), min(smallest, float64(v))
			}
			limit := size * 6e-8 * float64(n/16+8)
			if got := float64(k.Sum(x)); math.Abs(got-sum) > limit {
				t.Fatalf("sum of %d: got %v, want %v", n, got, sum)
			}
			if got := float64(k.Dot(x, y)); math.Abs(got-dot) > limit {
				t.Fatalf("dot of %d: got %v, want %v", n, got, dot)
			}
			if got := float64(k.Largest(x)); got != largest {
				t.Fatalf("largest of %d: got %v, want %v", n, got, largest)
			}
			if got := float64(k.Smallest(x)); got != smallest {
				t.Fatalf("smallest of %d: got %v, want %v", n, got, smallest)
			}
			if n == 0 {
				continue
			}
			x[r.IntN(n)] = float32(math.NaN())
			for name, got := range map[string]float32{"sum": k.Sum(x), "dot": k.Dot(x, y), "largest": k.Largest(x), "smallest": k.Smallest(x)} {
				if got == got {
					t.Fatalf("%s of %d with a NaN: got %v", name, n, got)
				}
			}
		}
	})
}

func TestVectorAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		dst, x := make([]float32, 100), random(rand.New(rand.NewPCG(1, 2)), 100)
		if n := testing.AllocsPerRun(10, func() {
			k.Exp(dst, x)
			k.Add(dst, dst, x)
			k.Clip(dst, dst, 0, k.Largest(x))
			k.Axpy(dst, x, k.Dot(x, x))
		}); n != 0 {
			t.Fatalf("%v allocations", n)
		}
	})
}

func BenchmarkVector(b *testing.B) {
	const n = 4096
	x, dst := random(rand.New(rand.NewPCG(1, 2)), n), make([]float32, n)
	for _, k := range gemm.Eager() {
		for _, op := range unaries {
			b.Run(op.name+"/"+k.Name(), func(b *testing.B) {
				for b.Loop() {
					op.f(k, dst, x)
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/n, "ns/element")
			})
		}
		b.Run("Add/"+k.Name(), func(b *testing.B) {
			for b.Loop() {
				k.Add(dst, dst, x)
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/n, "ns/element")
		})
	}
}
