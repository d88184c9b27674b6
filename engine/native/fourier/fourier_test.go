package fourier_test

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/fourier"
)

// Every length against the definition.
func TestTransform(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 60, 64, 97, 100, 128, 243, 1000} {
		for _, inverse := range []bool{false, true} {
			x := make([]complex128, n)
			for i := range x {
				x[i] = complex(r.NormFloat64(), r.NormFloat64())
			}
			sign := -1.0
			if inverse {
				sign = 1
			}
			want := make([]complex128, n)
			for k := range want {
				for i, v := range x {
					want[k] += v * cmplx.Exp(complex(0, sign*2*math.Pi*float64(i*k%n)/float64(n)))
				}
			}
			fourier.New(n, inverse).Run(x)
			for k := range x {
				if cmplx.Abs(x[k]-want[k]) > 1e-11*float64(n) {
					t.Fatalf("length %d, inverse %v: number %d is %v; want %v", n, inverse, k, x[k], want[k])
				}
			}
		}
	}
}

func TestLarge(t *testing.T) {
	const n = 100_003 // a prime
	x := make([]complex128, n)
	x[1] = 1
	fourier.New(n, false).Run(x)
	for _, k := range []int{0, 1, 777, n - 1} {
		if want := cmplx.Exp(complex(0, -2*math.Pi*float64(k)/n)); cmplx.Abs(x[k]-want) > 1e-9 {
			t.Errorf("number %d is %v; want %v", k, x[k], want)
		}
	}
}
