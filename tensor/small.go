package tensor

import (
	"fmt"
	"math"
	"sync"
)

// The small types. In memory each element takes a byte: the code of a floating-point number, the value of an integer, which must be
// within the type's range. In files those under 8 bits are packed; see Pack.
type (
	// E4M3FN is a float8 with 4 bits of exponent and 3 of mantissa, without infinities, up to 448.
	E4M3FN uint8
	// E4M3FNUZ is E4M3FN with one zero and one NaN, up to 240.
	E4M3FNUZ uint8
	// E5M2 is a float8 with 5 bits of exponent and 2 of mantissa, with infinities, up to 57344.
	E5M2 uint8
	// E5M2FNUZ is E5M2 without infinities, with one zero and one NaN.
	E5M2FNUZ uint8
	// E8M0 is a power of two from 2^-127 to 2^127, or a NaN: the scale of a block of numbers.
	E8M0 uint8
	// E2M1 is a float4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
	E2M1 uint8
	// U4 is an integer from 0 to 15.
	U4 uint8
	// I4 is an integer from -8 to 7.
	I4 int8
	// U2 is an integer from 0 to 3.
	U2 uint8
	// I2 is an integer from -2 to 1.
	I2 int8
)

// Float32 widens v exactly.
func (v E4M3FN) Float32() float32 { return formatE4M3FN.table()[v] }

// Float32 widens v exactly.
func (v E4M3FNUZ) Float32() float32 { return formatE4M3FNUZ.table()[v] }

// Float32 widens v exactly.
func (v E5M2) Float32() float32 { return formatE5M2.table()[v] }

// Float32 widens v exactly.
func (v E5M2FNUZ) Float32() float32 { return formatE5M2FNUZ.table()[v] }

// Float32 widens v exactly.
func (v E8M0) Float32() float32 {
	if v == 0xff {
		return float32(math.NaN())
	}
	return float32(math.Ldexp(1, int(v)-127))
}

// Float32 widens v exactly.
func (v E2M1) Float32() float32 { return formatE2M1.table()[v&15] }

// A miniFormat is a floating-point format of up to 8 bits: a sign, an exponent and mant bits of mantissa.
type miniFormat struct {
	bits, mant, bias int
	largest          uint8 // the code of the largest number
	infinity, nan    uint8 // codes without sign; infinity is 0 where there is none
	oneZero          bool  // the code of -0 is the only NaN
	table            func() *[256]float32
}

func newFormat(f miniFormat) *miniFormat {
	f.table = sync.OnceValue(func() *[256]float32 {
		var t [256]float32
		for code := range 1 << f.bits {
			t[code] = f.value(uint8(code))
		}
		return &t
	})
	return &f
}

// The formats, by ONNX's documents of float8 and float4. An E2M1 has no NaN: what is cast of one is left to the implementation, and
// becomes -0 as in ONNX's cases.
var (
	formatE4M3FN   = newFormat(miniFormat{bits: 8, mant: 3, bias: 7, largest: 0x7e, nan: 0x7f})
	formatE4M3FNUZ = newFormat(miniFormat{bits: 8, mant: 3, bias: 8, largest: 0x7f, nan: 0x80, oneZero: true})
	formatE5M2     = newFormat(miniFormat{bits: 8, mant: 2, bias: 15, largest: 0x7b, infinity: 0x7c, nan: 0x7e})
	formatE5M2FNUZ = newFormat(miniFormat{bits: 8, mant: 2, bias: 16, largest: 0x7f, nan: 0x80, oneZero: true})
	formatE2M1     = newFormat(miniFormat{bits: 4, mant: 1, bias: 1, largest: 0x7})
)

func (f *miniFormat) sign() uint8 { return 1 << (f.bits - 1) }

// value is the number of a code.
func (f *miniFormat) value(code uint8) float32 {
	if f.oneZero && code == f.nan {
		return float32(math.NaN())
	}
	mag := code &^ f.sign()
	if mag > f.largest {
		if f.infinity != 0 && mag == f.infinity {
			return float32(math.Inf(1 - 2*int(code>>(f.bits-1))))
		}
		return float32(math.NaN())
	}
	exp, frac := int(mag>>f.mant), int(mag&(1<<f.mant-1))
	if exp > 0 {
		frac += 1 << f.mant
	}
	v := math.Ldexp(float64(frac), max(exp, 1)-f.bias-f.mant)
	if code&f.sign() != 0 {
		v = -v
	}
	return float32(v)
}

// round returns the code of the number that is nearest to v, ties to even. What is too large becomes the largest number where
// saturate says so or the format has neither an infinity nor a NaN, else the infinity, or NaN where there is none.
func (f *miniFormat) round(v float32, saturate bool) uint8 {
	var sign uint8
	if math.Signbit(float64(v)) {
		sign = f.sign()
	}
	a := math.Abs(float64(v))
	switch {
	case v != v && f.bits == 4:
		return f.sign()
	case v != v && f.oneZero:
		return f.nan
	case v != v:
		return sign | f.nan
	}
	exp := 1 - f.bias
	if a > 0 {
		_, e := math.Frexp(a)
		exp = max(e-1, exp)
	}
	q := math.RoundToEven(math.Ldexp(a, f.mant-exp)) // infinite for an infinity
	limit := math.Ldexp(float64(f.value(f.largest)), f.mant-exp)
	switch {
	case q > limit && (saturate || f.bits == 4):
		return sign | f.largest
	case q > limit && f.infinity != 0:
		return sign | f.infinity
	case q > limit && f.oneZero:
		return f.nan
	case q > limit:
		return sign | f.nan
	case q == 0 && f.oneZero:
		return 0
	}
	return sign | uint8((exp+f.bias-1)<<f.mant+int(q))
}

// A Rounding says what a cast to a small type does with numbers that the type has not.
type Rounding struct {
	// Saturate makes the largest number of what is too large for a float8 (and for E8M0 the smallest of what is too small), in place
	// of an infinity or a NaN.
	Saturate bool
	// Mode is how E8M0 rounds: "up" (the default, to the next power of two), "down" or "nearest", which rounds halves up.
	Mode string
}

// Small reports whether d is one of the small types: float8, float4, and integers of 4 and 2 bits.
func (d DType) Small() bool { return d >= Float8E4M3FN && d <= Int2 }

// SmallInteger reports whether d is an integer of fewer than 8 bits.
func (d DType) SmallInteger() bool { return d == Uint4 || d == Int4 || d == Uint2 || d == Int2 }

// Bits returns the bits of one element in a file, 8 times Size but for the packed types: 4 for Int4, Uint4 and Float4E2M1, 2 for Int2 and
// Uint2. It is 0 for String.
func (d DType) Bits() int {
	if int(d) < len(kinds) {
		return kinds[d].bits
	}
	return 0
}

// PackedSize returns the bytes that n elements of type d take in a file.
func (d DType) PackedSize(n int) int {
	if d.Bits() < 8 {
		return (n*d.Bits() + 7) / 8
	}
	return n * d.Size()
}

// SmallOf returns the byte that holds f in memory as a d, which must be a small type. Floating-point types round to nearest, ties to
// even. Integers round so too, and keep the lower bits of what does not fit; a NaN or an infinity becomes 0.
func SmallOf(d DType, f float64, r Rounding) uint8 {
	if d.SmallInteger() {
		f = math.RoundToEven(f)
		if !(math.Abs(f) < 1<<62) {
			f = 0
		}
		return SmallOfInteger(d, uint8(int64(f)))
	}
	v := roundToOdd(f)
	switch d {
	case Float8E4M3FN:
		return formatE4M3FN.round(v, r.Saturate)
	case Float8E4M3FNUZ:
		return formatE4M3FNUZ.round(v, r.Saturate)
	case Float8E5M2:
		return formatE5M2.round(v, r.Saturate)
	case Float8E5M2FNUZ:
		return formatE5M2FNUZ.round(v, r.Saturate)
	case Float4E2M1:
		return formatE2M1.round(v, r.Saturate)
	}
	return powerOf(f, r)
}

// SmallOfInteger returns the byte that holds the lower bits of low in memory as a packed type d: those that fit.
func SmallOfInteger(d DType, low uint8) uint8 {
	shift := 8 - d.Bits()
	if d == Int4 || d == Int2 {
		return uint8(int8(low<<shift) >> shift)
	}
	return low << shift >> shift
}

// powerOf rounds f to an E8M0. Its sign is left out, as ONNX leaves negative numbers open.
func powerOf(f float64, r Rounding) uint8 {
	const nan = 0xff
	f = math.Abs(f)
	switch {
	case f != f:
		return nan
	case f < 0x1p-127:
		if r.Saturate {
			return 0
		}
		return nan
	case math.IsInf(f, 0):
		if r.Saturate {
			return nan - 1
		}
		return nan
	}
	frac, e := math.Frexp(f) // f = frac * 2^e, frac in [0.5, 1)
	code := e - 1 + 127
	switch r.Mode {
	case "down":
	case "nearest":
		if frac >= 0.75 {
			code++
		}
	default:
		if frac > 0.5 {
			code++
		}
	}
	if code >= nan {
		if r.Saturate {
			return nan - 1
		}
		return nan
	}
	return uint8(code)
}

// smallValue is the number that a byte of a small type stands for.
func smallValue(d DType, b uint8) float32 {
	switch d {
	case Float8E4M3FN:
		return E4M3FN(b).Float32()
	case Float8E4M3FNUZ:
		return E4M3FNUZ(b).Float32()
	case Float8E5M2:
		return E5M2(b).Float32()
	case Float8E5M2FNUZ:
		return E5M2FNUZ(b).Float32()
	case Float8E8M0:
		return E8M0(b).Float32()
	case Float4E2M1:
		return E2M1(b).Float32()
	case Int4, Int2:
		return float32(int8(b))
	}
	return float32(b)
}

// SmallTable returns the number that each byte of a tensor of the small type d stands for.
func SmallTable(d DType) *[256]float32 {
	var t [256]float32
	for b := range t {
		t[b] = smallValue(d, uint8(b))
	}
	return &t
}

// Pack returns the elements as files have them: Bytes, but for types under 8 bits with the elements of a byte from its lowest bits on, and zeros
// after the last. It shares memory with t where nothing needs packing, and is nil for strings.
func Pack(t *Tensor) []byte {
	raw, bits := t.Bytes(), t.dtype.Bits()
	if bits >= 8 || raw == nil {
		return raw
	}
	out := make([]byte, t.dtype.PackedSize(len(raw)))
	each := 8 / bits
	for i, v := range raw {
		out[i/each] |= v & (1<<bits - 1) << (i % each * bits)
	}
	return out
}

// Unpack is the inverse of Pack: it makes a tensor of raw, which it copies. It returns ErrShape where raw has not the bytes of shape.
func Unpack(dtype DType, raw []byte, shape ...int) (*Tensor, error) {
	bits := dtype.Bits()
	if bits >= 8 || bits == 0 {
		return FromBytes(dtype, raw, shape...)
	}
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if want := dtype.PackedSize(n); len(raw) != want {
		return nil, fmt.Errorf("%w: %v %v needs %d bytes, not %d", ErrShape, dtype, Shape(shape), want, len(raw))
	}
	t, err := New(dtype, shape...)
	if err != nil {
		return nil, err
	}
	out, each := t.Bytes(), 8/bits
	for i := range out {
		v := raw[i/each] >> (i % each * bits) & (1<<bits - 1)
		out[i] = settled(dtype, v)
	}
	return t, nil
}

// settled is the byte in memory of what may be any byte: within the range of the packed types.
func settled(d DType, b uint8) uint8 {
	if d == Float4E2M1 {
		return b & 15
	}
	if d.SmallInteger() {
		return SmallOfInteger(d, b)
	}
	return b
}
