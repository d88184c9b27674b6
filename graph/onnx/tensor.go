package onnx

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// tensorFields are the fields of one TensorProto.
type tensorFields struct {
	name     string
	dims     []int64
	dtype    int64
	raw      []byte
	floats   []float32
	ints     []int64 // int32_data, int64_data or uint64_data
	intField int32
	doubles  []float64
	strings  []string
	external []entry
	location int64
	typed    bool // one of the typed fields has data
}

// maxEntries limits what a tensor says about its external data; ONNX knows five keys.
const maxEntries = 16

// entry is one key and value of a tensor's external data.
type entry struct{ key, value string }

// tensor reads a TensorProto: its name and the tensor.
func (d *decoder) tensor(b []byte) (string, *tensor.Tensor, error) {
	var f tensorFields
	if err := d.charge(initCost); err != nil {
		return "", nil, err
	}
	if err := d.tensorFields(b, &f); err != nil {
		return "", nil, err
	}
	dtype, err := dtypeOf(f.dtype)
	if err != nil {
		return "", nil, err
	}
	shape, err := shapeOf(f.dims)
	if err != nil {
		return "", nil, err
	}
	t, err := d.content(&f, dtype, shape)
	if err != nil {
		return "", nil, err
	}
	return f.name, t, nil
}

func (d *decoder) tensorFields(b []byte, f *tensorFields) error {
	n := count(b, 6, 13)
	if n[1] > maxEntries {
		return fmt.Errorf("%w: %d entries of external data", ErrFormat, n[1])
	}
	if err := d.charge(n[0] * nameCost); err != nil {
		return err
	}
	if n[0] > 0 {
		f.strings = make([]string, 0, n[0])
	}
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			if f.dims = s.varints("dims", d, f.dims); len(f.dims) > graph.MaxRank {
				return fmt.Errorf("%w: more than %d dimensions", ErrUnsupported, graph.MaxRank)
			}
		case 2:
			f.dtype = s.int("data_type")
		case 3:
			return fmt.Errorf("%w: a tensor in segments, or a sequence or optional in its place", ErrUnsupported)
		case 4:
			f.floats = s.floats("float_data", d, f.floats)
		case 5, 7, 11:
			if f.intField != 0 && f.intField != int32(s.num) {
				return fmt.Errorf("%w: data in two fields", ErrFormat)
			}
			f.intField = int32(s.num)
			f.ints = s.varints("integer data", d, f.ints)
		case 6:
			f.strings = append(f.strings, s.str("string_data"))
		case 8:
			f.name = s.str("name")
		case 9:
			f.raw = s.bytes("raw_data")
		case 10:
			f.doubles = s.doubles("double_data", d, f.doubles)
		case 13:
			e := scan(s.bytes("external_data"))
			var kv entry
			for e.next() {
				switch e.num {
				case 1:
					kv.key = e.str("key")
				case 2:
					kv.value = e.str("value")
				}
			}
			if e.err != nil {
				return at(e.err, "external_data")
			}
			f.external = append(f.external, kv)
		case 14:
			f.location = s.int("data_location")
		}
	}
	if s.err != nil {
		return s.err
	}
	f.typed = len(f.floats)+len(f.ints)+len(f.doubles)+len(f.strings) > 0
	return nil
}

func shapeOf(dims []int64) (tensor.Shape, error) {
	shape := make(tensor.Shape, len(dims))
	for i, v := range dims {
		n, ok := toInt(v)
		if !ok {
			return nil, fmt.Errorf("%w: dimension %d is %d", ErrFormat, i, v)
		}
		shape[i] = n
	}
	if _, err := shape.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return shape, nil
}

// content makes the tensor from whichever field holds its data.
func (d *decoder) content(f *tensorFields, dtype tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	switch {
	case f.location != 0 && f.location != 1:
		return nil, fmt.Errorf("%w: data_location %d", ErrFormat, f.location)
	case f.location == 1:
		if f.typed || len(f.raw) > 0 {
			return nil, fmt.Errorf("%w: data both inside and external", ErrFormat)
		}
		return d.readExternal(f.external, dtype, shape)
	case f.typed && len(f.raw) > 0:
		return nil, fmt.Errorf("%w: data both raw and typed", ErrFormat)
	case dtype == tensor.String && len(f.raw) > 0:
		return nil, fmt.Errorf("%w: strings as raw data", ErrFormat)
	case !f.typed && dtype != tensor.String:
		return d.fromRaw(f.raw, dtype, shape)
	}
	t, err := f.fromTyped(d, dtype, shape)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return t, nil
}

func (d *decoder) fromRaw(raw []byte, dtype tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	if want := dtype.PackedSize(shape.Size()); want != len(raw) {
		return nil, fmt.Errorf("%w: %v%v needs %d bytes of data, there are %d", ErrFormat, dtype, shape, want, len(raw))
	}
	if err := d.charge(dtype.Size()*shape.Size() - len(raw)); err != nil { // packed elements take a byte each in memory
		return nil, err
	}
	t, err := fromFile(dtype, raw, shape, d.opts.Share)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return t, nil
}

// fromFile makes a tensor of its bytes in a file, which it may keep where share says so.
func fromFile(dtype tensor.DType, raw []byte, shape tensor.Shape, share bool) (*tensor.Tensor, error) {
	if share && dtype.Bits() >= 8 {
		return tensor.View(dtype, raw, shape...)
	}
	return tensor.Unpack(dtype, raw, shape...)
}

// fromTyped makes a tensor from the typed fields, each of which serves several element types.
func (f *tensorFields) fromTyped(d *decoder, dtype tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	switch dtype {
	case tensor.Float32:
		return tensor.Of(f.floats, shape...)
	case tensor.Complex64:
		return pairs(f.floats, shape, func(re, im float32) complex64 { return complex(re, im) })
	case tensor.Float64:
		return tensor.Of(f.doubles, shape...)
	case tensor.Complex128:
		return pairs(f.doubles, shape, func(re, im float64) complex128 { return complex(re, im) })
	case tensor.String:
		if f.strings == nil {
			f.strings = []string{}
		}
		return tensor.Of(f.strings, shape...)
	}
	want := int32(5)
	switch dtype {
	case tensor.Int64:
		want = 7
	case tensor.Uint32, tensor.Uint64:
		want = 11
	}
	if len(f.ints) > 0 && f.intField != want {
		return nil, fmt.Errorf("%v data in field %d, not %d", dtype, f.intField, want)
	}
	if err := d.charge(len(f.ints) * dtype.Size() * max(1, 8/dtype.Bits())); err != nil {
		return nil, err
	}
	if dtype.Small() {
		return bytesOf(f.ints, dtype, shape)
	}
	switch dtype {
	case tensor.Int64:
		return tensor.Of(f.ints, shape...)
	case tensor.Int32:
		return narrow[int32](f.ints, shape, math.MinInt32, math.MaxInt32)
	case tensor.Int16:
		return narrow[int16](f.ints, shape, math.MinInt16, math.MaxInt16)
	case tensor.Int8:
		return narrow[int8](f.ints, shape, math.MinInt8, math.MaxInt8)
	case tensor.Uint16:
		return narrow[uint16](f.ints, shape, 0, math.MaxUint16)
	case tensor.Uint8:
		return narrow[uint8](f.ints, shape, 0, math.MaxUint8)
	case tensor.Uint32:
		return narrow[uint32](f.ints, shape, 0, math.MaxUint32)
	case tensor.Uint64:
		return narrow[uint64](f.ints, shape, math.MinInt64, math.MaxInt64) // the same 64 bits
	case tensor.Float16:
		return narrow[tensor.Half](f.ints, shape, 0, math.MaxUint16)
	case tensor.BFloat16:
		return narrow[tensor.BHalf](f.ints, shape, 0, math.MaxUint16)
	}
	bools := make([]bool, len(f.ints))
	for i, v := range f.ints {
		bools[i] = v != 0
	}
	return tensor.Of(bools, shape...)
}

// bytesOf makes a tensor of a small type, of which each integer has a byte as it is in a file: packed where the type is.
func bytesOf(ints []int64, dtype tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	raw := make([]byte, len(ints))
	for i, v := range ints {
		if v < math.MinInt8 || v > math.MaxUint8 {
			return nil, fmt.Errorf("integer %d of %v data is %d, which is no byte", i, dtype, v)
		}
		raw[i] = byte(v)
	}
	return tensor.Unpack(dtype, raw, shape...)
}

type integer interface {
	int8 | int16 | int32 | uint8 | uint16 | uint32 | uint64 | tensor.Half | tensor.BHalf
}

func narrow[T integer](ints []int64, shape tensor.Shape, low, high int64) (*tensor.Tensor, error) {
	out := make([]T, len(ints))
	for i, v := range ints {
		if v < low || v > high {
			return nil, fmt.Errorf("element %d is %d, which does not fit %v", i, v, tensor.DTypeOf[T]())
		}
		out[i] = T(v)
	}
	return tensor.Of(out, shape...)
}

func pairs[P float32 | float64, C complex64 | complex128](v []P, shape tensor.Shape, join func(re, im P) C) (*tensor.Tensor, error) {
	if len(v)%2 != 0 {
		return nil, fmt.Errorf("an odd number of parts of complex numbers")
	}
	out := make([]C, len(v)/2)
	for i := range out {
		out[i] = join(v[2*i], v[2*i+1])
	}
	return tensor.Of(out, shape...)
}
