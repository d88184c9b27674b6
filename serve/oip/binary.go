package oip

import (
	"encoding/binary"
	"fmt"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/tensor"
)

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
