package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/tensor"
)

// minElement is the fewest bytes that an element takes in JSON, with its comma.
const minElement = 2

// readData reads a tensor's data: flat, or nested exactly as the shape says. Nothing is allocated for elements that are
// not there. scratch, if any, is where float32 elements may go.
func readData(s *scanner, dtype tensor.DType, shape []int, scratch *[]float32) (*tensor.Tensor, error) {
	n, err := tensor.Shape(shape).Check()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", serve.ErrRequest, err)
	}
	room := min(n, (len(s.b)-s.i)/minElement+1)
	switch dtype {
	case tensor.Float32:
		return readFloat32(s, shape, n, room, scratch)
	case tensor.Float64:
		return readAll(s, shape, n, room, (*scanner).float64)
	case tensor.Float16:
		return readAll(s, shape, n, room, half)
	case tensor.BFloat16:
		return readAll(s, shape, n, room, bhalf)
	case tensor.Bool:
		return readAll(s, shape, n, room, (*scanner).bool)
	case tensor.String:
		return readAll(s, shape, n, room, (*scanner).string)
	case tensor.Int8:
		return readAll(s, shape, n, room, signed[int8](8))
	case tensor.Int16:
		return readAll(s, shape, n, room, signed[int16](16))
	case tensor.Int32:
		return readAll(s, shape, n, room, signed[int32](32))
	case tensor.Int64:
		return readAll(s, shape, n, room, signed[int64](64))
	case tensor.Uint8:
		return readAll(s, shape, n, room, unsigned[uint8](8))
	case tensor.Uint16:
		return readAll(s, shape, n, room, unsigned[uint16](16))
	case tensor.Uint32:
		return readAll(s, shape, n, room, unsigned[uint32](32))
	case tensor.Uint64:
		return readAll(s, shape, n, room, unsigned[uint64](64))
	}
	return nil, fmt.Errorf("%w: %v elements have no form in this protocol", serve.ErrRequest, dtype)
}

func readFloat32(s *scanner, shape []int, n, room int, scratch *[]float32) (*tensor.Tensor, error) {
	all := *scratch
	if cap(all)-len(all) < room {
		all = make([]float32, 0, max(room, 1024))
	}
	start := len(all)
	leaf := func() (err error) {
		all, err = s.floats(all, start+n)
		return err
	}
	if err := nested(s, shape, leaf, func() int { return len(all) - start }); err != nil {
		return nil, err
	}
	*scratch = all
	return tensor.Of(all[start:len(all):len(all)], shape...)
}

func readAll[T tensor.Element](s *scanner, shape []int, n, room int, element func(*scanner) (T, error)) (*tensor.Tensor, error) {
	all := make([]T, 0, room)
	leaf := func() error {
		for {
			if s.peek() == ']' || len(all) >= n {
				return nil
			}
			v, err := element(s)
			if err != nil {
				return err
			}
			all = append(all, v)
			if s.peek() != ',' {
				return nil
			}
			s.i++
			if s.peek() == ']' {
				return s.unexpected("an element")
			}
		}
	}
	if err := nested(s, shape, leaf, func() int { return len(all) }); err != nil {
		return nil, err
	}
	return tensor.Of(all, shape...)
}

// nested walks the brackets. leaf reads elements up to the closing bracket or the shape's number of them; count tells
// how many there are by now.
func nested(s *scanner, shape []int, leaf func() error, count func() int) error {
	var walk func(depth int) error
	walk = func(depth int) error {
		if err := s.expect('['); err != nil {
			return err
		}
		if s.peek() == '[' {
			if depth >= len(shape)-1 {
				return s.fault("data is nested deeper than its shape %v", tensor.Shape(shape))
			}
			for i := 0; ; i++ {
				if i >= shape[depth] {
					return s.fault("data has more than %d elements in dimension %d of its shape %v", shape[depth], depth, tensor.Shape(shape))
				}
				if err := walk(depth + 1); err != nil {
					return err
				}
				done, err := s.next()
				if err != nil {
					return err
				}
				if done && i+1 != shape[depth] {
					return s.fault("data has %d elements in dimension %d of its shape %v", i+1, depth, tensor.Shape(shape))
				}
				if done {
					return nil
				}
			}
		}
		before := count()
		if err := leaf(); err != nil {
			return err
		}
		switch got := count() - before; {
		case s.peek() != ']' && count() >= tensor.Shape(shape).Size() && s.peek() != 0:
			return s.fault("data has more elements than its shape %v", tensor.Shape(shape))
		case depth > 0 && depth != len(shape)-1 && got > 0:
			return s.fault("data is nested less deep than its shape %v", tensor.Shape(shape))
		case depth > 0 && depth == len(shape)-1 && got != shape[depth]:
			return s.fault("data has %d elements in dimension %d of its shape %v", got, depth, tensor.Shape(shape))
		}
		return s.expect(']')
	}
	if err := walk(0); err != nil {
		return err
	}
	if n := tensor.Shape(shape).Size(); count() != n {
		return s.fault("data has %d elements, its shape %v has %d", count(), tensor.Shape(shape), n)
	}
	return nil
}

func half(s *scanner) (tensor.Half, error) {
	v, err := s.float64()
	h := tensor.HalfOf64(v)
	if err == nil && !math.IsInf(v, 0) && math.IsInf(float64(h.Float32()), 0) {
		err = s.fault("%v is out of FP16's range", v)
	}
	return h, err
}

func bhalf(s *scanner) (tensor.BHalf, error) {
	v, err := s.float64()
	h := tensor.BHalfOf64(v)
	if err == nil && !math.IsInf(v, 0) && math.IsInf(float64(h.Float32()), 0) {
		err = s.fault("%v is out of BF16's range", v)
	}
	return h, err
}

func signed[T int8 | int16 | int32 | int64](bits int) func(*scanner) (T, error) {
	limit := uint64(1) << (bits - 1)
	return func(s *scanner) (T, error) {
		mag, neg, err := s.integer()
		if err != nil {
			return 0, err
		}
		if mag > limit || mag == limit && !neg {
			return 0, s.fault("%s%d is out of INT%d's range", sign(neg), mag, bits)
		}
		if neg {
			return T(-int64(mag)), nil
		}
		return T(mag), nil
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](bits int) func(*scanner) (T, error) {
	limit := uint64(math.MaxUint64) >> (64 - bits)
	return func(s *scanner) (T, error) {
		mag, neg, err := s.integer()
		if err != nil {
			return 0, err
		}
		if mag > limit || neg && mag != 0 {
			return 0, s.fault("%s%d is out of UINT%d's range", sign(neg), mag, bits)
		}
		return T(mag), nil
	}
}

func sign(neg bool) string {
	if neg {
		return "-"
	}
	return ""
}

// readBinary makes a tensor of its bytes in the binary extension: little-endian elements, booleans as one byte, and
// for BYTES a length of four bytes before each element.
func readBinary(raw []byte, dtype tensor.DType, shape []int) (*tensor.Tensor, error) {
	n, err := tensor.Shape(shape).Check()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", serve.ErrRequest, err)
	}
	if dtype != tensor.String {
		t, err := tensor.FromBytes(dtype, raw, shape...)
		if err != nil {
			return nil, fmt.Errorf("%w: binary data: %w", serve.ErrRequest, err)
		}
		return t, nil
	}
	if n > len(raw)/4 {
		return nil, fmt.Errorf("%w: binary data: %d bytes do not hold the %d elements of shape %v", serve.ErrRequest, len(raw), n, tensor.Shape(shape))
	}
	all := make([]string, 0, n)
	for len(all) < n {
		if len(raw) < 4 {
			return nil, fmt.Errorf("%w: binary data ends within element %d", serve.ErrRequest, len(all))
		}
		size := binary.LittleEndian.Uint32(raw)
		raw = raw[4:]
		if uint64(size) > uint64(len(raw)) {
			return nil, fmt.Errorf("%w: binary data: element %d says %d bytes, %d are left", serve.ErrRequest, len(all), size, len(raw))
		}
		all = append(all, string(raw[:size]))
		raw = raw[size:]
	}
	if len(raw) > 0 {
		return nil, fmt.Errorf("%w: binary data: %d bytes are left after the last element", serve.ErrRequest, len(raw))
	}
	return tensor.Of(all, shape...)
}

// appendBinary is the inverse of readBinary.
func appendBinary(dst []byte, t *tensor.Tensor) []byte {
	if t.DType() != tensor.String {
		return append(dst, t.Bytes()...)
	}
	for _, s := range tensor.Data[string](t) {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// isText reports whether all elements of a BYTES tensor can stand in JSON.
func isText(t *tensor.Tensor) bool {
	if t.DType() != tensor.String {
		return true
	}
	for _, s := range tensor.Data[string](t) {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}
