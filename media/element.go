package media

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// setFloat stores v as element i: rounded to the nearest and clamped for integers, v != 0 for booleans.
func setFloat(t *tensor.Tensor, i int, v float64) error {
	switch d := t.Raw().(type) {
	case []float32:
		d[i] = float32(v)
	case []float64:
		d[i] = v
	case []tensor.Half:
		d[i] = tensor.HalfOf64(v)
	case []tensor.BHalf:
		d[i] = tensor.BHalfOf64(v)
	case []uint8:
		d[i] = uint8(clamp(v, 0, math.MaxUint8))
	case []int8:
		d[i] = int8(clamp(v, math.MinInt8, math.MaxInt8))
	case []uint16:
		d[i] = uint16(clamp(v, 0, math.MaxUint16))
	case []int16:
		d[i] = int16(clamp(v, math.MinInt16, math.MaxInt16))
	case []uint32:
		d[i] = uint32(clamp(v, 0, math.MaxUint32))
	case []int32:
		d[i] = int32(clamp(v, math.MinInt32, math.MaxInt32))
	case []uint64:
		d[i] = uint64(clamp(v, 0, 1<<63))
	case []int64:
		d[i] = int64(clamp(v, -1<<62, 1<<62))
	case []bool:
		d[i] = v != 0
	case []complex64:
		d[i] = complex(float32(v), 0)
	case []complex128:
		d[i] = complex(v, 0)
	default:
		return fmt.Errorf("%w: a number cannot be an element of type %v", ErrUnsupportedType, t.DType())
	}
	return nil
}

func clamp(v, low, high float64) float64 { return math.RoundToEven(min(max(v, low), high)) }

// mapBytes writes lut's element of each byte to dst from at. Bytes lie as the item's elements do.
func mapBytes(dst *tensor.Tensor, at int, lut *tensor.Tensor, g geometry, src []byte) {
	switch d := dst.Raw().(type) {
	case []float32:
		mapTo(d[at:], tensor.Data[float32](lut), g, src)
	case []float64:
		mapTo(d[at:], tensor.Data[float64](lut), g, src)
	case []tensor.Half:
		mapTo(d[at:], tensor.Data[tensor.Half](lut), g, src)
	case []tensor.BHalf:
		mapTo(d[at:], tensor.Data[tensor.BHalf](lut), g, src)
	case []uint8:
		mapTo(d[at:], tensor.Data[uint8](lut), g, src)
	case []int8:
		mapTo(d[at:], tensor.Data[int8](lut), g, src)
	case []uint16:
		mapTo(d[at:], tensor.Data[uint16](lut), g, src)
	case []int16:
		mapTo(d[at:], tensor.Data[int16](lut), g, src)
	case []uint32:
		mapTo(d[at:], tensor.Data[uint32](lut), g, src)
	case []int32:
		mapTo(d[at:], tensor.Data[int32](lut), g, src)
	case []uint64:
		mapTo(d[at:], tensor.Data[uint64](lut), g, src)
	case []int64:
		mapTo(d[at:], tensor.Data[int64](lut), g, src)
	case []bool:
		mapTo(d[at:], tensor.Data[bool](lut), g, src)
	case []complex64:
		mapTo(d[at:], tensor.Data[complex64](lut), g, src)
	case []complex128:
		mapTo(d[at:], tensor.Data[complex128](lut), g, src)
	}
}

func mapTo[T any](dst, lut []T, g geometry, src []byte) {
	dst = dst[:len(src)]
	if g.c <= 1 {
		lut = lut[:256]
		for i, b := range src {
			dst[i] = lut[b]
		}
		return
	}
	if g.planar {
		plane := g.h * g.w
		for c := range g.c {
			part := lut[c*256:][:256]
			for i, b := range src[c*plane:][:plane] {
				dst[c*plane+i] = part[b]
			}
		}
		return
	}
	for i, b := range src {
		dst[i] = lut[i%g.c*256+int(b)]
	}
}

// convert writes t's elements to dst from at by value. What does not fit the type is an error, never another number;
// rounding to fewer digits of a floating-point type is none.
func convert(dst *tensor.Tensor, at int, t *tensor.Tensor) error {
	if dst.DType() == tensor.String || t.DType() == tensor.String {
		return fmt.Errorf("%w: it holds %v and the model takes %v", ErrShape, t.DType(), dst.DType())
	}
	for i := range t.Size() {
		v, err := floatAt(t, i)
		if err != nil {
			return err
		}
		if !holds(dst.DType(), v) {
			return fmt.Errorf("%w: element %s is %v, which %v cannot hold", ErrShape, position(t.Shape(), i), v, dst.DType())
		}
		if err := setFloat(dst, at+i, v); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether an integer type has v, which is exact up to 2^53; floating-point types hold everything.
func holds(d tensor.DType, v float64) bool {
	if d.IsInteger() {
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return false
		}
		bits := d.Size() * 8
		if d.IsUnsigned() {
			return v >= 0 && v < math.Ldexp(1, bits)
		}
		return v >= -math.Ldexp(1, bits-1) && v < math.Ldexp(1, bits-1)
	}
	return d != tensor.Bool || v == 0 || v == 1
}

// floatAt reads element i of a real or boolean tensor.
func floatAt(t *tensor.Tensor, i int) (float64, error) {
	switch d := t.Raw().(type) {
	case []float32:
		return float64(d[i]), nil
	case []float64:
		return d[i], nil
	case []tensor.Half:
		return float64(d[i].Float32()), nil
	case []tensor.BHalf:
		return float64(d[i].Float32()), nil
	case []uint8:
		return float64(d[i]), nil
	case []int8:
		return float64(d[i]), nil
	case []uint16:
		return float64(d[i]), nil
	case []int16:
		return float64(d[i]), nil
	case []uint32:
		return float64(d[i]), nil
	case []int32:
		return float64(d[i]), nil
	case []uint64:
		return float64(d[i]), nil
	case []int64:
		return float64(d[i]), nil
	case []bool:
		if d[i] {
			return 1, nil
		}
		return 0, nil
	}
	return 0, fmt.Errorf("%w: %v elements are no real numbers", ErrShape, t.DType())
}

// CheckNaN returns ErrNotFinite with the position of the first NaN in t, nil where there is none.
func CheckNaN(t *tensor.Tensor) error { return checkNaN(t, 0, t.Size(), t.Shape()) }

// checkNaN looks at n elements from at, which have the given shape.
func checkNaN(t *tensor.Tensor, at, n int, shape tensor.Shape) error {
	bad := -1
	switch d := t.Raw().(type) {
	case []float32:
		bad = firstNaN(d[at : at+n])
	case []float64:
		bad = firstNaN(d[at : at+n])
	case []tensor.Half:
		for i, v := range d[at : at+n] {
			if v&0x7fff > 0x7c00 {
				bad = i
				break
			}
		}
	case []tensor.BHalf:
		for i, v := range d[at : at+n] {
			if v&0x7fff > 0x7f80 {
				bad = i
				break
			}
		}
	case []complex64:
		bad = firstNaN(d[at : at+n])
	case []complex128:
		bad = firstNaN(d[at : at+n])
	}
	if bad >= 0 {
		return fmt.Errorf("%w: element %s is NaN", ErrNotFinite, position(shape, bad))
	}
	return nil
}

func firstNaN[T comparable](vs []T) int {
	for i, v := range vs {
		if v != v {
			return i
		}
	}
	return -1
}

// position writes the index of a flat element in each dimension, as "[0,3,7]".
func position(shape tensor.Shape, flat int) string {
	at := make([]string, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		at[i] = strconv.Itoa(flat % shape[i])
		flat /= shape[i]
	}
	return "[" + strings.Join(at, ",") + "]"
}
