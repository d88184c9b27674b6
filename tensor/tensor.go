// Package tensor holds dense arrays of numbers, booleans or strings: element types, shapes and tensors.
// Computing with them is left to the engines, and turning bytes of a content type into them to package media.
package tensor

import (
	"fmt"
	"strings"
	"unsafe"
)

// Element lists the Go types of tensor elements, one for each DType.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool | string |
		Half | BHalf | complex64 | complex128 | E4M3FN | E4M3FNUZ | E5M2 | E5M2FNUZ | E8M0 | E2M1 | U4 | I4 | U2 | I2
}

// A Tensor is a dense array in row-major order. Its shape and type do not change; its elements may be written
// through Data by whoever owns it. A Tensor may be read by many goroutines while nobody writes to it.
type Tensor struct {
	dtype DType
	shape Shape
	data  any // a slice of the Element type of dtype
}

// New returns a tensor of zeros (empty strings, false). It returns ErrShape for a bad shape.
func New(dtype DType, shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if !dtype.Valid() {
		return nil, fmt.Errorf("new tensor: unknown element type %v", dtype)
	}
	return &Tensor{dtype: dtype, shape: Shape(shape).Clone(), data: kinds[dtype].ops.make(n)}, nil
}

// Of returns a tensor over data, which it keeps. It returns ErrShape where data has not shape's number of elements.
func Of[T Element](data []T, shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if n != len(data) {
		return nil, fmt.Errorf("%w: %v has %d elements, the data %d", ErrShape, Shape(shape), n, len(data))
	}
	return &Tensor{dtype: DTypeOf[T](), shape: Shape(shape).Clone(), data: data}, nil
}

// Must returns t, and panics on an error: for tensors whose shape the program itself wrote.
func Must(t *Tensor, err error) *Tensor {
	if err != nil {
		panic(err)
	}
	return t
}

// Scalar returns a tensor of rank 0.
func Scalar[T Element](v T) *Tensor {
	return &Tensor{dtype: DTypeOf[T](), shape: Shape{}, data: []T{v}}
}

// Vector returns a tensor of rank 1 over v, which it keeps.
func Vector[T Element](v ...T) *Tensor {
	if v == nil {
		v = []T{}
	}
	return &Tensor{dtype: DTypeOf[T](), shape: Shape{len(v)}, data: v}
}

// DTypeOf returns the DType of T.
func DTypeOf[T Element]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case bool:
		return Bool
	case string:
		return String
	case Half:
		return Float16
	case BHalf:
		return BFloat16
	case complex64:
		return Complex64
	case E4M3FN:
		return Float8E4M3FN
	case E4M3FNUZ:
		return Float8E4M3FNUZ
	case E5M2:
		return Float8E5M2
	case E5M2FNUZ:
		return Float8E5M2FNUZ
	case E8M0:
		return Float8E8M0
	case E2M1:
		return Float4E2M1
	case U4:
		return Uint4
	case I4:
		return Int4
	case U2:
		return Uint2
	case I2:
		return Int2
	}
	return Complex128
}

// DType returns the type of the elements.
func (t *Tensor) DType() DType { return t.dtype }

// Shape returns the dimensions. The caller must not change them.
func (t *Tensor) Shape() Shape { return t.shape }

// Rank returns the number of dimensions.
func (t *Tensor) Rank() int { return len(t.shape) }

// Size returns the number of elements.
func (t *Tensor) Size() int { return t.shape.Size() }

// Raw returns the slice of elements as an any: []float32, []Half, []string and so on, for type switches.
func (t *Tensor) Raw() any { return t.data }

// Data returns the elements, which the tensor shares. It panics where T is not the tensor's type, as an index out
// of range would: check DType first.
func Data[T Element](t *Tensor) []T {
	d, ok := t.data.([]T)
	if !ok {
		panic(fmt.Sprintf("tensor: data of a %v tensor read as %v", t.dtype, DTypeOf[T]()))
	}
	return d
}

// Bytes returns the memory of the elements, little-endian on every platform that Millrace is built for, shared with
// the tensor. It is nil for strings.
func (t *Tensor) Bytes() []byte {
	if t.dtype == String {
		return nil
	}
	return kinds[t.dtype].ops.bytes(t.data)
}

// FromBytes copies little-endian memory into a new tensor. Booleans are read as zero or not, and of what packed types hold in a byte
// the bits that belong to them. It returns ErrShape
// where raw has not exactly the bytes of shape, before anything is allocated.
func FromBytes(dtype DType, raw []byte, shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if dtype.Size() == 0 {
		return nil, fmt.Errorf("%v elements have no fixed size in bytes", dtype)
	}
	if len(raw) != n*dtype.Size() {
		return nil, fmt.Errorf("%w: %v %v needs %d bytes, not %d", ErrShape, dtype, Shape(shape), n*dtype.Size(), len(raw))
	}
	t, err := New(dtype, shape...)
	if err != nil {
		return nil, err
	}
	if b, ok := t.data.([]bool); ok {
		for i, v := range raw {
			b[i] = v != 0
		}
		return t, nil
	}
	if dtype.Bits() < 8 {
		for i, v := range raw {
			t.Bytes()[i] = settled(dtype, v)
		}
		return t, nil
	}
	copy(t.Bytes(), raw)
	return t, nil
}

// View is FromBytes that shares raw with the tensor where raw is aligned for the type (and, for booleans and packed types, holds nothing
// else than they can be), and copies it otherwise. Whoever owns the tensor then owns raw too.
func View(dtype DType, raw []byte, shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if n == 0 || dtype.Size() == 0 || len(raw) != n*dtype.Size() || uintptr(unsafe.Pointer(unsafe.SliceData(raw)))%dtype.align() != 0 {
		return FromBytes(dtype, raw, shape...)
	}
	if dtype == Bool || dtype.Bits() < 8 {
		for _, b := range raw {
			if dtype == Bool && b > 1 || dtype != Bool && settled(dtype, b) != b {
				return FromBytes(dtype, raw, shape...)
			}
		}
	}
	return &Tensor{dtype: dtype, shape: Shape(shape).Clone(), data: kinds[dtype].ops.view(raw, n)}, nil
}

// Overlay returns a tensor over memory that is to be written: it looks at no element, and never copies. raw must have the bytes of shape in
// memory, be aligned for the type, and live as long as the tensor. It is for the arenas of engines.
func Overlay(dtype DType, raw []byte, shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	switch {
	case err != nil:
		return nil, err
	case dtype.Size() == 0:
		return nil, fmt.Errorf("%v elements have no fixed size in bytes", dtype)
	case len(raw) != n*dtype.Size():
		return nil, fmt.Errorf("%w: %v %v needs %d bytes, not %d", ErrShape, dtype, Shape(shape), n*dtype.Size(), len(raw))
	case n == 0:
		return New(dtype, shape...)
	case uintptr(unsafe.Pointer(unsafe.SliceData(raw)))%dtype.align() != 0:
		return nil, fmt.Errorf("memory that is not aligned for %v", dtype)
	}
	return &Tensor{dtype: dtype, shape: Shape(shape).Clone(), data: kinds[dtype].ops.view(raw, n)}, nil
}

// Reshape returns a tensor of another shape that shares t's elements.
func (t *Tensor) Reshape(shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if n != t.Size() {
		return nil, fmt.Errorf("%w: %v cannot become %v", ErrShape, t.shape, Shape(shape))
	}
	return &Tensor{dtype: t.dtype, shape: Shape(shape).Clone(), data: t.data}, nil
}

// Clone returns a copy that shares nothing with t.
func (t *Tensor) Clone() *Tensor {
	c := Must(New(t.dtype, t.shape...))
	if s, ok := t.data.([]string); ok {
		copy(c.data.([]string), s)
		return c
	}
	copy(c.Bytes(), t.Bytes())
	return c
}

// String formats type, shape and the first few elements.
func (t *Tensor) String() string {
	const most = 8
	var b strings.Builder
	fmt.Fprintf(&b, "%v%v", t.dtype, t.shape)
	b.WriteByte('{')
	for i := range min(t.Size(), most) {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, kinds[t.dtype].ops.at(t.data, i))
	}
	if t.Size() > most {
		b.WriteString(" ...")
	}
	b.WriteByte('}')
	return b.String()
}

// Slice returns rows from to below to of the first dimension, sharing t's elements. It returns ErrShape for a scalar
// and for rows that are not there.
func (t *Tensor) Slice(from, to int) (*Tensor, error) {
	if len(t.shape) == 0 || from < 0 || to < from || to > t.shape[0] {
		return nil, fmt.Errorf("%w: rows %d to %d of %v", ErrShape, from, to, t.shape)
	}
	row := t.shape[1:].Size()
	s := &Tensor{dtype: t.dtype, shape: t.shape.Clone()}
	s.shape[0] = to - from
	s.data = kinds[t.dtype].ops.slice(t.data, from*row, to*row)
	return s, nil
}

// Concat returns a new tensor with the rows of parts behind each other, along the first dimension. It returns ErrShape
// where parts differ in type or in another dimension, for scalars, and for no parts.
func Concat(parts ...*Tensor) (*Tensor, error) {
	if len(parts) == 0 || parts[0].Rank() == 0 {
		return nil, fmt.Errorf("%w: nothing that has rows", ErrShape)
	}
	shape := parts[0].shape.Clone()
	shape[0] = 0
	for _, p := range parts {
		if p.dtype != parts[0].dtype || p.Rank() == 0 || !p.shape[1:].Equal(shape[1:]) {
			return nil, fmt.Errorf("%w: rows of %v%v and of %v%v", ErrShape, parts[0].dtype, parts[0].shape, p.dtype, p.shape)
		}
		shape[0] += p.shape[0]
	}
	t, err := New(parts[0].dtype, shape...)
	if err != nil {
		return nil, err
	}
	if to, ok := t.data.([]string); ok {
		for _, p := range parts {
			to = to[copy(to, p.data.([]string)):]
		}
		return t, nil
	}
	to := t.Bytes()
	for _, p := range parts {
		to = to[copy(to, p.Bytes()):]
	}
	return t, nil
}
