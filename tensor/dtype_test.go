package tensor_test

import (
	"math"
	"testing"

	"github.com/millrace/millrace/tensor"
)

// All 65,536 numbers of 16 bits widen to what IEEE 754 says, and come back the same.
func TestHalfExact(t *testing.T) {
	for i := range 1 << 16 {
		h := tensor.Half(i)
		got, want := h.Float32(), half(uint16(i), 5)
		if got != want && !(isNaN(got) && isNaN(want)) || math.Signbit(float64(got)) != (i>>15 == 1) {
			t.Fatalf("Half %#04x is %v, want %v", i, got, want)
		}
		if back := tensor.HalfOf(got); back != h && !isNaN(got) {
			t.Fatalf("Half %#04x came back as %#04x", i, back)
		} else if !isNaN(back.Float32()) && isNaN(got) || back&0x8000 != h&0x8000 {
			t.Fatalf("the NaN %#04x came back as %#04x", i, back)
		}
		b := tensor.BHalf(i)
		gotB, wantB := b.Float32(), half(uint16(i), 8)
		if gotB != wantB && !(isNaN(gotB) && isNaN(wantB)) || math.Signbit(float64(gotB)) != (i>>15 == 1) {
			t.Fatalf("BHalf %#04x is %v, want %v", i, gotB, wantB)
		}
		if back := tensor.BHalfOf(gotB); back != b && !isNaN(gotB) {
			t.Fatalf("BHalf %#04x came back as %#04x", i, back)
		} else if !isNaN(back.Float32()) && isNaN(gotB) || back&0x8000 != b&0x8000 {
			t.Fatalf("the NaN %#04x came back as %#04x", i, back)
		}
	}
}

func isNaN(f float32) bool { return f != f }

// half is the value of a 16-bit float with that many bits of exponent, computed from the definition.
func half(bits uint16, exponent int) float32 {
	fraction := 15 - exponent
	e := int(bits>>fraction) & (1<<exponent - 1)
	f := float64(bits & (1<<fraction - 1))
	bias := 1<<(exponent-1) - 1
	var v float64
	switch {
	case e == 1<<exponent-1 && f != 0:
		return float32(math.NaN())
	case e == 1<<exponent-1:
		v = math.Inf(1)
	case e == 0:
		v = math.Ldexp(f, 1-bias-fraction)
	default:
		v = math.Ldexp(1+math.Ldexp(f, -fraction), e-bias)
	}
	if bits>>15 == 1 {
		v = -v
	}
	return float32(v)
}

// Between any two neighbours, what is just below the middle, in the middle and just above it rounds to the nearest, ties
// to even: from float32, and from float64, where the distance to the middle may be less than a float32 can tell.
func TestHalfRounding(t *testing.T) {
	kinds := []struct {
		name   string
		last   uint16 // the largest finite number
		value  func(uint16) float64
		from32 func(float32) uint16
		from64 func(float64) uint16
	}{
		{"Half", 0x7bff, func(b uint16) float64 { return float64(tensor.Half(b).Float32()) },
			func(f float32) uint16 { return uint16(tensor.HalfOf(f)) }, func(f float64) uint16 { return uint16(tensor.HalfOf64(f)) }},
		{"BHalf", 0x7f7f, func(b uint16) float64 { return float64(tensor.BHalf(b).Float32()) },
			func(f float32) uint16 { return uint16(tensor.BHalfOf(f)) }, func(f float64) uint16 { return uint16(tensor.BHalfOf64(f)) }},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			check := func(f float64, want uint16) {
				t.Helper()
				for _, sign := range []uint16{0, 0x8000} {
					v := f
					if sign != 0 {
						v = -f
					}
					if got := k.from64(v); got != want|sign {
						t.Fatalf("%v (%x) rounds to %#04x, want %#04x", v, v, got, want|sign)
					}
					if single := float32(v); float64(single) == v {
						if got := k.from32(single); got != want|sign {
							t.Fatalf("float32 %v rounds to %#04x, want %#04x", v, got, want|sign)
						}
					}
				}
			}
			for low := range k.last + 1 {
				a := k.value(low)
				high := low + 1
				b := k.value(high)
				if low == k.last { // the next would be a power of two, and is an infinity
					b = a + (a - k.value(low-1))
				}
				middle := a + (b-a)/2
				even := low + low&1
				check(a, low)
				check(middle, even)
				for _, near := range []float64{math.Nextafter(middle, a), float64(math.Nextafter32(float32(middle), float32(a)))} {
					check(near, low)
				}
				check(math.Nextafter(middle, math.MaxFloat64), high)
				if f := math.Nextafter32(float32(middle), math.MaxFloat32); float64(f) > middle {
					check(float64(f), high)
				}
			}
			check(math.Inf(1), k.last+1)
			check(math.MaxFloat64, k.last+1)
			check(math.SmallestNonzeroFloat64, 0)
			if got := k.from64(math.NaN()); !math.IsNaN(k.value(got)) {
				t.Errorf("NaN rounds to %#04x", got)
			}
		})
	}
}

func TestDType(t *testing.T) {
	for d := tensor.Float32; d <= tensor.Int2; d++ {
		if !d.Valid() {
			t.Errorf("%v is not valid", d)
		}
		if back, err := tensor.ParseDType(d.String()); err != nil || back != d {
			t.Errorf("%v parses as %v (%v)", d, back, err)
		}
		x, err := tensor.New(d, 3)
		if err != nil || x.DType() != d || x.Size() != 3 {
			t.Errorf("New(%v): %v, %v", d, x, err)
			continue
		}
		if d != tensor.String && len(x.Bytes()) != 3*d.Size() {
			t.Errorf("%v: %d bytes for 3 elements of %d", d, len(x.Bytes()), d.Size())
		}
		kinds := 0
		for _, is := range []bool{d.IsFloat(), d.IsSigned(), d.IsUnsigned()} {
			if is {
				kinds++
			}
		}
		if kinds > 1 || d.IsInteger() != (d.IsSigned() || d.IsUnsigned()) {
			t.Errorf("%v: float %v, signed %v, unsigned %v", d, d.IsFloat(), d.IsSigned(), d.IsUnsigned())
		}
	}
	for _, d := range []tensor.DType{tensor.Invalid, 27, 255} {
		if d.Valid() || d.Size() != 0 {
			t.Errorf("%v is valid", d)
		}
		if _, err := tensor.New(d, 1); err == nil {
			t.Errorf("New(%v) gave no error", d)
		}
	}
	for _, name := range []string{"", "invalid", "float", "FLOAT32"} {
		if d, err := tensor.ParseDType(name); err == nil {
			t.Errorf("ParseDType(%q) is %v", name, d)
		}
	}
}
