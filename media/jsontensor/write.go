package jsontensor

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/millrace/millrace/tensor"
)

// Append appends t's elements as a flat array. Numbers have the fewest digits that read back as the same. JSON has no NaN and no
// infinities: they become null, and bytes that are no UTF-8 U+FFFD; see [NotFinite] and [NotText]. t must not be complex:
// such numbers have no form.
func Append(dst []byte, t *tensor.Tensor) []byte {
	dst = append(dst, '[')
	switch d := t.Raw().(type) {
	case []float32:
		dst = appendAll(dst, d, func(b []byte, v float32) []byte { return appendFloat(b, float64(v), 32) })
	case []float64:
		dst = appendAll(dst, d, func(b []byte, v float64) []byte { return appendFloat(b, v, 64) })
	case []tensor.Half:
		dst = appendAll(dst, d, func(b []byte, v tensor.Half) []byte { return appendFloat(b, float64(v.Float32()), 32) })
	case []tensor.BHalf:
		dst = appendAll(dst, d, func(b []byte, v tensor.BHalf) []byte { return appendFloat(b, float64(v.Float32()), 32) })
	case []int8:
		dst = appendSigned(dst, d)
	case []int16:
		dst = appendSigned(dst, d)
	case []int32:
		dst = appendSigned(dst, d)
	case []int64:
		dst = appendSigned(dst, d)
	case []uint8:
		dst = appendUnsigned(dst, d)
	case []uint16:
		dst = appendUnsigned(dst, d)
	case []uint32:
		dst = appendUnsigned(dst, d)
	case []uint64:
		dst = appendUnsigned(dst, d)
	case []bool:
		dst = appendAll(dst, d, strconv.AppendBool)
	case []string:
		dst = appendAll(dst, d, AppendString)
	}
	return append(dst, ']')
}

// NotFinite returns the index of the first NaN or infinity, -1 where there is none.
func NotFinite(t *tensor.Tensor) int {
	switch d := t.Raw().(type) {
	case []float32:
		return first(d, func(v float32) bool { return v-v != 0 })
	case []float64:
		return first(d, func(v float64) bool { return v-v != 0 })
	case []tensor.Half:
		return first(d, func(v tensor.Half) bool { return v&0x7c00 == 0x7c00 })
	case []tensor.BHalf:
		return first(d, func(v tensor.BHalf) bool { return v&0x7f80 == 0x7f80 })
	}
	return -1
}

// NotText returns the index of the first string that is no UTF-8, -1 where there is none.
func NotText(t *tensor.Tensor) int {
	if d, ok := t.Raw().([]string); ok {
		return first(d, func(v string) bool { return !utf8.ValidString(v) })
	}
	return -1
}

func first[T any](d []T, is func(T) bool) int {
	for i, v := range d {
		if is(v) {
			return i
		}
	}
	return -1
}

func appendAll[T any](b []byte, d []T, one func([]byte, T) []byte) []byte {
	for i, v := range d {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return b
}

func appendSigned[T int8 | int16 | int32 | int64](b []byte, d []T) []byte {
	return appendAll(b, d, func(b []byte, v T) []byte { return strconv.AppendInt(b, int64(v), 10) })
}

func appendUnsigned[T uint8 | uint16 | uint32 | uint64](b []byte, d []T) []byte {
	return appendAll(b, d, func(b []byte, v T) []byte { return strconv.AppendUint(b, uint64(v), 10) })
}

func appendFloat(b []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, bits)
}

// AppendString appends s to dst as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
