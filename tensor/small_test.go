package tensor_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/millrace/millrace/tensor"
)

var smallFloats = []tensor.DType{tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ, tensor.Float4E2M1}

// byFormula is the number of a code, by the formulas of ONNX's documents.
func byFormula(d tensor.DType, code int) float64 {
	bits, mant, bias := 8, 3, 7
	switch d {
	case tensor.Float8E4M3FNUZ:
		bias = 8
	case tensor.Float8E5M2:
		mant, bias = 2, 15
	case tensor.Float8E5M2FNUZ:
		mant, bias = 2, 16
	case tensor.Float4E2M1:
		bits, mant, bias = 4, 1, 1
	}
	code &= 1<<bits - 1
	sign := 1.0
	if code>>(bits-1) == 1 {
		sign = -1
	}
	exp := code >> mant & (1<<(bits-1-mant) - 1)
	frac := float64(code&(1<<mant-1)) / float64(int(1)<<mant)
	switch {
	case (d == tensor.Float8E4M3FNUZ || d == tensor.Float8E5M2FNUZ) && code == 0x80:
		return math.NaN()
	case d == tensor.Float8E4M3FN && code&0x7f == 0x7f:
		return math.NaN()
	case d == tensor.Float8E5M2 && exp == 31 && frac == 0:
		return math.Inf(int(sign))
	case d == tensor.Float8E5M2 && exp == 31:
		return math.NaN()
	case exp == 0:
		return sign * frac * math.Pow(2, float64(1-bias))
	}
	return sign * (1 + frac) * math.Pow(2, float64(exp-bias))
}

func TestSmallValues(t *testing.T) {
	for _, d := range smallFloats {
		table := tensor.SmallTable(d)
		for code := range 256 {
			got, want := float64(table[code]), byFormula(d, code)
			if got != want && !(got != got && want != want) || math.Signbit(got) != math.Signbit(want) && want == want {
				t.Errorf("%v %#x is %v, want %v", d, code, got, want)
			}
		}
	}
	for code := range 255 {
		if got, want := tensor.E8M0(code).Float32(), float32(math.Pow(2, float64(code-127))); got != want {
			t.Errorf("E8M0 %d is %v, want %v", code, got, want)
		}
	}
	if v := tensor.E8M0(255).Float32(); v == v {
		t.Errorf("E8M0 255 is %v", v)
	}
	known := map[float64]float32{448: tensor.E4M3FN(0x7e).Float32(), 240: tensor.E4M3FNUZ(0x7f).Float32(), 57344: tensor.E5M2FNUZ(0x7f).Float32(),
		-57344: tensor.E5M2(0xfb).Float32(), 6: tensor.E2M1(7).Float32()}
	for want, got := range known {
		if float64(got) != want {
			t.Errorf("the largest number is %v, want %v", got, want)
		}
	}
}

// TestSmallRounding seeks the nearest of all codes for numbers on, between and halfway between them.
func TestSmallRounding(t *testing.T) {
	for _, d := range smallFloats {
		var all []float64
		for code := range 1 << d.Bits() {
			if v := byFormula(d, code); v == v && !math.IsInf(v, 0) {
				all = append(all, v)
			}
		}
		slices.Sort(all)
		largest := all[len(all)-1]
		var numbers []float64
		for i, v := range all {
			numbers = append(numbers, v, math.Nextafter(v, math.Inf(1)), math.Nextafter(v, math.Inf(-1)))
			if i > 0 {
				half := (v + all[i-1]) / 2
				numbers = append(numbers, half, math.Nextafter(half, math.Inf(1)), math.Nextafter(half, math.Inf(-1)))
			}
		}
		for _, v := range numbers {
			want := math.Inf(1)
			for _, c := range all {
				dc, dw := math.Abs(c-v), math.Abs(want-v)
				if dc < dw || dc == dw && even(d, c) {
					want = c
				}
			}
			for _, saturate := range []bool{true, false} {
				code := tensor.SmallOf(d, v, tensor.Rounding{Saturate: saturate})
				got := byFormula(d, int(code))
				if math.Abs(v) > largest && !saturate {
					continue // within half a step of the largest, it rounds to it; see TestSmallOverflow
				}
				if got != want {
					t.Errorf("%v of %v is %v (%#x), want %v", d, v, got, code, want)
				}
			}
		}
	}
}

// even reports whether a number has a code with the last bit zero.
func even(d tensor.DType, v float64) bool {
	for code := range 1 << d.Bits() {
		if byFormula(d, code) == v {
			return code&1 == 0
		}
	}
	return false
}

// TestSmallOverflow has the tables of ONNX's Cast.
func TestSmallOverflow(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		d                  tensor.DType
		v                  float64
		saturated, without uint8
	}{
		{tensor.Float8E4M3FN, inf, 0x7e, 0x7f},
		{tensor.Float8E4M3FN, -inf, 0xfe, 0xff},
		{tensor.Float8E4M3FN, 464, 0x7e, 0x7e}, // halfway to what is no number, and even
		{tensor.Float8E4M3FN, 465, 0x7e, 0x7f},
		{tensor.Float8E4M3FN, -1e6, 0xfe, 0xff},
		{tensor.Float8E4M3FN, nan, 0x7f, 0x7f},
		{tensor.Float8E4M3FN, math.Copysign(0, -1), 0x80, 0x80},
		{tensor.Float8E4M3FNUZ, inf, 0x7f, 0x80},
		{tensor.Float8E4M3FNUZ, -1e6, 0xff, 0x80},
		{tensor.Float8E4M3FNUZ, nan, 0x80, 0x80},
		{tensor.Float8E4M3FNUZ, math.Copysign(0, -1), 0, 0},
		{tensor.Float8E4M3FNUZ, -1e-9, 0, 0},
		{tensor.Float8E5M2, inf, 0x7b, 0x7c},
		{tensor.Float8E5M2, -inf, 0xfb, 0xfc},
		{tensor.Float8E5M2, 1e6, 0x7b, 0x7c},
		{tensor.Float8E5M2, -1e-9, 0x80, 0x80},
		{tensor.Float8E5M2FNUZ, -inf, 0xff, 0x80},
		{tensor.Float8E5M2FNUZ, 1e6, 0x7f, 0x80},
		{tensor.Float8E5M2FNUZ, nan, 0x80, 0x80},
		{tensor.Float4E2M1, inf, 7, 7},
		{tensor.Float4E2M1, -8, 15, 15},
		{tensor.Float4E2M1, nan, 8, 8},
		{tensor.Float8E8M0, inf, 254, 255},
		{tensor.Float8E8M0, nan, 255, 255},
		{tensor.Float8E8M0, 0, 0, 255},
		{tensor.Float8E8M0, 0x1p-130, 0, 255},
		{tensor.Float8E8M0, 0x1p127 * 1.5, 254, 255},
	} {
		for saturate, want := range map[bool]uint8{true: c.saturated, false: c.without} {
			if got := tensor.SmallOf(c.d, c.v, tensor.Rounding{Saturate: saturate}); got != want {
				t.Errorf("%v of %v, saturate %v: %#x, want %#x", c.d, c.v, saturate, got, want)
			}
		}
	}
}

func TestE8M0Modes(t *testing.T) {
	for _, c := range []struct {
		v                 float64
		up, down, nearest float64
	}{
		{1, 1, 1, 1}, {1.1, 2, 1, 1}, {1.25, 2, 1, 1}, {1.5, 2, 1, 2}, {1.75, 2, 1, 2}, {0.124, 0.125, 0.0625, 0.125}, {3, 4, 2, 4},
		{0x1p-127, 0x1p-127, 0x1p-127, 0x1p-127}, {0x1.8p-127, 0x1p-126, 0x1p-127, 0x1p-126},
	} {
		for mode, want := range map[string]float64{"up": c.up, "": c.up, "down": c.down, "nearest": c.nearest} {
			got := tensor.E8M0(tensor.SmallOf(tensor.Float8E8M0, c.v, tensor.Rounding{Saturate: true, Mode: mode})).Float32()
			if float64(got) != want {
				t.Errorf("%v %q is %v, want %v", c.v, mode, got, want)
			}
		}
	}
}

func TestSmallIntegers(t *testing.T) {
	ranges := map[tensor.DType][2]int{tensor.Int4: {-8, 7}, tensor.Uint4: {0, 15}, tensor.Int2: {-2, 1}, tensor.Uint2: {0, 3}}
	for d, r := range ranges {
		n := r[1] - r[0] + 1
		for v := -300; v <= 300; v++ {
			want := ((v-r[0])%n+n)%n + r[0]
			if got := tensor.SmallOf(d, float64(v), tensor.Rounding{}); got != uint8(want) {
				t.Errorf("%v of %v is %d, want %d", d, v, int8(got), want)
			}
			if got := tensor.SmallOfInteger(d, uint8(v)); got != uint8(want) {
				t.Errorf("%v of the integer %v is %d, want %d", d, v, int8(got), want)
			}
		}
		if got := tensor.SmallOf(d, 0.5, tensor.Rounding{}); got != 0 {
			t.Errorf("%v of 0.5 is %d", d, got)
		}
		if got := tensor.SmallOf(d, math.NaN(), tensor.Rounding{}); got != 0 {
			t.Errorf("%v of NaN is %d", d, got)
		}
	}
}

func TestPack(t *testing.T) {
	four := tensor.Vector[tensor.I4](-8, 7, -1)
	if got := tensor.Pack(four); !bytes.Equal(got, []byte{0x78, 0x0f}) {
		t.Errorf("int4 is packed as %x", got)
	}
	two := tensor.Vector[tensor.U2](1, 2, 3, 0, 3)
	if got := tensor.Pack(two); !bytes.Equal(got, []byte{0x39, 0x03}) {
		t.Errorf("uint2 is packed as %x", got)
	}
	for _, d := range []tensor.DType{tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2, tensor.Float4E2M1} {
		for n := range 10 {
			raw := make([]byte, d.PackedSize(n))
			for i := range raw {
				raw[i] = byte(0xe4 + 37*i)
			}
			if used := n * d.Bits() % 8; used > 0 {
				raw[len(raw)-1] &= 1<<used - 1
			}
			x, err := tensor.Unpack(d, raw, n)
			if err != nil {
				t.Fatal(err)
			}
			if got := tensor.Pack(x); !bytes.Equal(got, raw) {
				t.Errorf("%v, %d elements: %x came back as %x", d, n, raw, got)
			}
		}
		if _, err := tensor.Unpack(d, make([]byte, 3), 2); err == nil {
			t.Errorf("%v: 3 bytes for 2 elements", d)
		}
		if x, err := tensor.View(d, []byte{0xff, 0x81}, 2); err != nil || len(tensor.Pack(x)) != 1 || (d == tensor.Int4) != (x.String() == "int4[2]{-1 1}") {
			t.Errorf("%v of bytes with bits that it has not: %v, %v", d, x, err)
		}
	}
	if x := tensor.Vector[tensor.E4M3FN](0x7e); !bytes.Equal(tensor.Pack(x), []byte{0x7e}) || x.String() != "float8e4m3fn[1]{448}" {
		t.Errorf("%v packs as %x", x, tensor.Pack(x))
	}
}
