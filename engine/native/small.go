package native

import (
	"unsafe"

	"github.com/millrace/millrace/tensor"
)

// rounding reads how a cast or a quantization to a small type rounds.
func (c *prep) rounding() (tensor.Rounding, error) {
	r := tensor.Rounding{Saturate: c.attrs.Int("saturate", 1) != 0, Mode: c.attrs.String("round_mode", "up")}
	switch r.Mode {
	case "up", "down", "nearest":
		return r, nil
	}
	return r, c.errf("round_mode is %q, not up, down or nearest", r.Mode)
}

// toSmall returns a step that casts an input to a slot of a small type.
func (c *prep) toSmall(o int, in *info, r tensor.Rounding) func(f *frame) {
	s, n, rows := in.slot, in.size(), in.carries == carriesRows
	return func(f *frame) {
		n := n
		if rows {
			n = f.rows(n)
		}
		castSmall(f.t[o], f.t[s], n, r)
	}
}

// castSmall converts the first n elements of src to dst's type, which is a small one.
func castSmall(dst, src *tensor.Tensor, n int, r tensor.Rounding) {
	d, out := dst.DType(), dst.Bytes()
	switch s := src.Raw().(type) {
	case []float32:
		smallFloats(d, out, s[:n], r)
	case []float64:
		smallFloats(d, out, s[:n], r)
	case []int8:
		smallIntegers(d, out, s[:n], r)
	case []int16:
		smallIntegers(d, out, s[:n], r)
	case []int32:
		smallIntegers(d, out, s[:n], r)
	case []int64:
		smallIntegers(d, out, s[:n], r)
	case []uint8:
		smallIntegers(d, out, s[:n], r)
	case []uint16:
		smallIntegers(d, out, s[:n], r)
	case []uint32:
		smallIntegers(d, out, s[:n], r)
	case []uint64:
		smallIntegers(d, out, s[:n], r)
	case []bool:
		of := [2]uint8{tensor.SmallOf(d, 0, r), tensor.SmallOf(d, 1, r)}
		for i, v := range s[:n] {
			out[i] = of[0]
			if v {
				out[i] = of[1]
			}
		}
	case []tensor.Half:
		for i, v := range s[:n] {
			out[i] = tensor.SmallOf(d, float64(v.Float32()), r)
		}
	case []tensor.BHalf:
		for i, v := range s[:n] {
			out[i] = tensor.SmallOf(d, float64(v.Float32()), r)
		}
	default: // small to small, each byte alike
		var of [256]uint8
		for b, v := range tensor.SmallTable(src.DType()) {
			of[b] = tensor.SmallOf(d, float64(v), r)
		}
		for i, b := range src.Bytes()[:n] {
			out[i] = of[b]
		}
	}
}

func smallFloats[S float32 | float64](d tensor.DType, out []byte, src []S, r tensor.Rounding) {
	for i, v := range src {
		out[i] = tensor.SmallOf(d, float64(v), r)
	}
}

// smallIntegers keeps the lower bits for integer types, as between all integers.
func smallIntegers[S integer](d tensor.DType, out []byte, src []S, r tensor.Rounding) {
	if d.SmallInteger() {
		for i, v := range src {
			out[i] = tensor.SmallOfInteger(d, uint8(v))
		}
		return
	}
	for i, v := range src {
		out[i] = tensor.SmallOf(d, float64(v), r)
	}
}

// castFromSmall converts the first n elements of src, which is of a small type.
func castFromSmall(dst any, src *tensor.Tensor, n int) bool {
	d, raw := src.DType(), src.Bytes()[:n]
	switch {
	case d == tensor.Int4 || d == tensor.Int2:
		return castFrom(dst, signedBytes(raw))
	case d.SmallInteger():
		return castFrom(dst, raw)
	}
	table := tensor.SmallTable(d)
	var buf [256]float32
	for at := 0; at < n; at += len(buf) {
		some := raw[at:min(at+len(buf), n)]
		for i, b := range some {
			buf[i] = table[b]
		}
		if !castFrom(part8(dst, at, len(some)), buf[:len(some)]) {
			return false
		}
	}
	return true
}

func signedBytes(raw []byte) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw))
}
