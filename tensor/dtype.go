package tensor

import (
	"fmt"
	"math"
)

// A DType is the type of a tensor's elements. Its numbers are those of ONNX's TensorProto.DataType.
type DType uint8

// The element types of ONNX's opset 27. Those from Float8E4M3FN on are small: they are stored, moved, cast and quantized, and no
// arithmetic is done in them. See small.go.
const (
	Invalid    DType = 0
	Float32    DType = 1
	Uint8      DType = 2
	Int8       DType = 3
	Uint16     DType = 4
	Int16      DType = 5
	Int32      DType = 6
	Int64      DType = 7
	String     DType = 8
	Bool       DType = 9
	Float16    DType = 10
	Float64    DType = 11
	Uint32     DType = 12
	Uint64     DType = 13
	Complex64  DType = 14
	Complex128 DType = 15
	BFloat16   DType = 16

	Float8E4M3FN   DType = 17
	Float8E4M3FNUZ DType = 18
	Float8E5M2     DType = 19
	Float8E5M2FNUZ DType = 20
	Uint4          DType = 21
	Int4           DType = 22
	Float4E2M1     DType = 23
	Float8E8M0     DType = 24
	Uint2          DType = 25
	Int2           DType = 26
)

// Valid reports whether d is one of the types above other than Invalid.
func (d DType) Valid() bool { return d != Invalid && int(d) < len(kinds) }

// String returns the lower-case name, such as "float32".
func (d DType) String() string {
	if int(d) < len(kinds) {
		return kinds[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Size returns the bytes of one element in memory; 0 for String, whose elements vary. What takes less than a byte in a file (see
// Bits) takes one in memory.
func (d DType) Size() int {
	if int(d) < len(kinds) {
		return kinds[d].size
	}
	return 0
}

// align is what an element's address must be a multiple of.
func (d DType) align() uintptr {
	if d == Complex64 || d == Complex128 {
		return uintptr(d.Size() / 2)
	}
	return uintptr(max(d.Size(), 1))
}

// IsFloat reports whether d is a real floating-point type.
func (d DType) IsFloat() bool {
	return d == Float32 || d == Float64 || d == Float16 || d == BFloat16
}

// IsInteger reports whether d is a signed or unsigned integer type; Bool is none.
func (d DType) IsInteger() bool { return d.IsSigned() || d.IsUnsigned() }

// IsSigned reports whether d is a signed integer type.
func (d DType) IsSigned() bool { return d == Int8 || d == Int16 || d == Int32 || d == Int64 }

// IsUnsigned reports whether d is an unsigned integer type.
func (d DType) IsUnsigned() bool { return d == Uint8 || d == Uint16 || d == Uint32 || d == Uint64 }

// ParseDType is the inverse of String.
func ParseDType(name string) (DType, error) {
	for d, k := range kinds {
		if k.name == name && d != int(Invalid) {
			return DType(d), nil
		}
	}
	return Invalid, fmt.Errorf("unknown element type %q", name)
}

// Half is an IEEE 754 binary16 number, held as its bits.
type Half uint16

// BHalf is a bfloat16 number, the upper half of a float32, held as its bits.
type BHalf uint16

// Float32 widens h exactly.
func (h Half) Float32() float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h) & 0x3ff
	switch exp {
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0:
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// HalfOf rounds f to the nearest Half, ties to even. What is too large becomes an infinity; a NaN stays one.
func HalfOf(f float32) Half {
	b := math.Float32bits(f)
	sign := Half(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // a NaN keeps its upper payload bits and is quiet
		return sign | 0x7e00 | Half(b>>13&0x3ff)
	case b >= 0x477ff000: // rounds to at least 2^16
		return sign | 0x7c00
	case b >= 0x38800000: // normal
		b += 0xfff + b>>13&1
		return sign | Half((b-0x38000000)>>13)
	case b < 0x33000000: // below half of the smallest subnormal
		return sign
	}
	exp := b >> 23
	frac := b&0x7fffff | 0x800000
	shift := 126 - exp
	half := uint32(1) << (shift - 1)
	frac += half - 1 + frac>>shift&1
	return sign | Half(frac>>shift)
}

// HalfOf64 rounds f to the nearest Half in one step, so that no double rounding occurs.
func HalfOf64(f float64) Half { return HalfOf(roundToOdd(f)) }

// Float32 widens b exactly.
func (b BHalf) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// BHalfOf rounds f to the nearest BHalf, ties to even. A NaN stays one.
func BHalfOf(f float32) BHalf {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return BHalf(b>>16 | 0x40)
	}
	return BHalf((b + 0x7fff + b>>16&1) >> 16)
}

// BHalfOf64 rounds f to the nearest BHalf in one step.
func BHalfOf64(f float64) BHalf { return BHalfOf(roundToOdd(f)) }

// roundToOdd narrows f so that a second rounding to fewer bits gives what one rounding of f would have.
func roundToOdd(f float64) float32 {
	n := float32(f)
	back := float64(n)
	if back == f || n != n {
		return n
	}
	b := math.Float32bits(n)
	if b&1 == 1 {
		return n
	}
	if math.IsInf(back, 0) {
		return math.Nextafter32(n, 0)
	}
	if math.Abs(back) > math.Abs(f) {
		return math.Float32frombits(b - 1)
	}
	return math.Float32frombits(b + 1)
}
