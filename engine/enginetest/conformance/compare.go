package conformance

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/tensor"
)

// A Tolerance says how far a number may be from the expected one: |got-want| <= Abs + Rel*|want|.
type Tolerance struct{ Abs, Rel float64 }

// ONNX is the tolerance that ONNX's own test runner gives its cases.
var ONNX = Tolerance{Abs: 1e-7, Rel: 1e-3}

// Alike compares with the tolerance that engines keep among each other: 1e-6 and 1e-4 for float32, 1e-9 and 1e-7 for
// float64, 2 units in the last place for 16-bit types; everything else must be equal. NaN is alike NaN.
func Alike(got, want *tensor.Tensor) error { return compare(got, want, nil) }

// Within compares floating-point tensors with a tolerance, and everything else exactly.
func Within(got, want *tensor.Tensor, tol Tolerance) error { return compare(got, want, &tol) }

func compare(got, want *tensor.Tensor, tol *Tolerance) error {
	if got == nil {
		return fmt.Errorf("nothing was computed, want %v%v", want.DType(), want.Shape())
	}
	if got.DType() != want.DType() || !got.Shape().Equal(want.Shape()) {
		return fmt.Errorf("got %v%v, want %v%v", got.DType(), got.Shape(), want.DType(), want.Shape())
	}
	switch w := want.Raw().(type) {
	case []float32:
		return numbers(tensor.Data[float32](got), w, pick(tol, Tolerance{1e-6, 1e-4}), func(x float32) float64 { return float64(x) })
	case []float64:
		return numbers(tensor.Data[float64](got), w, pick(tol, Tolerance{1e-9, 1e-7}), func(x float64) float64 { return x })
	case []tensor.Half:
		return halves(tensor.Data[tensor.Half](got), w, tol)
	case []tensor.BHalf:
		return halves(tensor.Data[tensor.BHalf](got), w, tol)
	case []int8:
		return exact(tensor.Data[int8](got), w)
	case []int16:
		return exact(tensor.Data[int16](got), w)
	case []int32:
		return exact(tensor.Data[int32](got), w)
	case []int64:
		return exact(tensor.Data[int64](got), w)
	case []uint8:
		return exact(tensor.Data[uint8](got), w)
	case []uint16:
		return exact(tensor.Data[uint16](got), w)
	case []uint32:
		return exact(tensor.Data[uint32](got), w)
	case []uint64:
		return exact(tensor.Data[uint64](got), w)
	case []bool:
		return exact(tensor.Data[bool](got), w)
	case []string:
		return exact(tensor.Data[string](got), w)
	case []complex64:
		return complexes(tensor.Data[complex64](got), w, pick(tol, Tolerance{1e-6, 1e-4}))
	case []complex128:
		return complexes(tensor.Data[complex128](got), w, pick(tol, Tolerance{1e-9, 1e-7}))
	}
	if want.DType().Small() {
		table := tensor.SmallTable(want.DType())
		for i, b := range want.Bytes() {
			g, w := table[got.Bytes()[i]], table[b]
			if g != w && !(g != g && w != w) {
				return fmt.Errorf("element %d is %v, want %v", i, g, w)
			}
		}
		return nil
	}
	return fmt.Errorf("cannot compare %v", want.DType())
}

// compareValues compares values of any kind, with what is in them.
func compareValues(got, want tensor.Value, tol *Tolerance) error {
	if got.Kind != want.Kind {
		return fmt.Errorf("got a %v, want a %v", got.Kind, want.Kind)
	}
	if want.Kind == tensor.KindTensor {
		return compare(got.Tensor, want.Tensor, tol)
	}
	if len(got.Items) != len(want.Items) {
		return fmt.Errorf("got a %v of %d, want %d", got.Kind, len(got.Items), len(want.Items))
	}
	for i, w := range want.Items {
		if err := compareValues(got.Items[i], w, tol); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

func pick(tol *Tolerance, def Tolerance) Tolerance {
	if tol != nil {
		return *tol
	}
	return def
}

// near reports whether got is want within tol; infinities and NaN must be the same.
func near(got, want float64, tol Tolerance) bool {
	if math.IsNaN(want) || math.IsNaN(got) {
		return math.IsNaN(want) && math.IsNaN(got)
	}
	if math.IsInf(want, 0) || math.IsInf(got, 0) {
		return got == want
	}
	return math.Abs(got-want) <= tol.Abs+tol.Rel*math.Abs(want)
}

func numbers[T any](got, want []T, tol Tolerance, wide func(T) float64) error {
	bad, first, worst := 0, -1, 0.0
	for i := range want {
		g, w := wide(got[i]), wide(want[i])
		if near(g, w, tol) {
			continue
		}
		if bad++; first < 0 {
			first = i
		}
		worst = max(worst, math.Abs(g-w))
	}
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d elements differ by up to %g; element %d is %v, want %v", bad, len(want), worst, first, got[first], want[first])
}

func exact[T comparable](got, want []T) error {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}

func complexes[T complex64 | complex128](got, want []T, tol Tolerance) error {
	for i := range want {
		g, w := complex128(got[i]), complex128(want[i])
		if !near(real(g), real(w), tol) || !near(imag(g), imag(w), tol) {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}

// halfFloat is a 16-bit floating-point number held as its bits.
type halfFloat interface {
	tensor.Half | tensor.BHalf
	Float32() float32
}

func halves[T halfFloat](got, want []T, tol *Tolerance) error {
	if tol != nil {
		return numbers(got, want, *tol, func(x T) float64 { return float64(x.Float32()) })
	}
	for i := range want {
		g, w := got[i].Float32(), want[i].Float32()
		if g != g && w != w {
			continue
		}
		if d := order(uint16(got[i])) - order(uint16(want[i])); d > 2 || d < -2 || g != g || w != w {
			return fmt.Errorf("element %d is %v, want %v", i, g, w)
		}
	}
	return nil
}

// order numbers the bits of a 16-bit float so that neighbours differ by one.
func order(b uint16) int {
	if b&0x8000 != 0 {
		return -int(b & 0x7fff)
	}
	return int(b)
}
