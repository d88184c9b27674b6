// Package tensor holds dense arrays of numbers, booleans or strings: element types, shapes and tensors.
// Computing with them is left to the engines, and turning bytes of a content type into them to package media.
package tensor

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"
)

// Element lists the Go types of tensor elements, one for each DType.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool | string |
		Half | BHalf | complex64 | complex128
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
	t := &Tensor{dtype: dtype, shape: Shape(shape).Clone()}
	switch dtype {
	case Float32:
		t.data = make([]float32, n)
	case Float64:
		t.data = make([]float64, n)
	case Int8:
		t.data = make([]int8, n)
	case Int16:
		t.data = make([]int16, n)
	case Int32:
		t.data = make([]int32, n)
	case Int64:
		t.data = make([]int64, n)
	case Uint8:
		t.data = make([]uint8, n)
	case Uint16:
		t.data = make([]uint16, n)
	case Uint32:
		t.data = make([]uint32, n)
	case Uint64:
		t.data = make([]uint64, n)
	case Bool:
		t.data = make([]bool, n)
	case String:
		t.data = make([]string, n)
	case Float16:
		t.data = make([]Half, n)
	case BFloat16:
		t.data = make([]BHalf, n)
	case Complex64:
		t.data = make([]complex64, n)
	case Complex128:
		t.data = make([]complex128, n)
	default:
		return nil, fmt.Errorf("new tensor: unknown element type %v", dtype)
	}
	return t, nil
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
	switch d := t.data.(type) {
	case []float32:
		return bytesOf(d)
	case []float64:
		return bytesOf(d)
	case []int8:
		return bytesOf(d)
	case []int16:
		return bytesOf(d)
	case []int32:
		return bytesOf(d)
	case []int64:
		return bytesOf(d)
	case []uint8:
		return d
	case []uint16:
		return bytesOf(d)
	case []uint32:
		return bytesOf(d)
	case []uint64:
		return bytesOf(d)
	case []bool:
		return bytesOf(d)
	case []Half:
		return bytesOf(d)
	case []BHalf:
		return bytesOf(d)
	case []complex64:
		return bytesOf(d)
	case []complex128:
		return bytesOf(d)
	}
	return nil
}

func bytesOf[T Element](d []T) []byte {
	if len(d) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(d))), len(d)*int(unsafe.Sizeof(d[0])))
}

// FromBytes copies little-endian memory into a new tensor. Booleans are read as zero or not. It returns ErrShape
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
	copy(t.Bytes(), raw)
	return t, nil
}

// View is FromBytes that shares raw with the tensor where raw is aligned for the type (and, for booleans, holds only
// zeros and ones), and copies it otherwise. Whoever owns the tensor then owns raw too.
func View(dtype DType, raw []byte, shape ...int) (*Tensor, error) {
	n, err := Shape(shape).Check()
	if err != nil {
		return nil, err
	}
	if n == 0 || len(raw) != n*dtype.Size() || uintptr(unsafe.Pointer(unsafe.SliceData(raw)))%dtype.align() != 0 {
		return FromBytes(dtype, raw, shape...)
	}
	t := &Tensor{dtype: dtype, shape: Shape(shape).Clone()}
	switch dtype {
	case Float32:
		t.data = viewOf[float32](raw, n)
	case Float64:
		t.data = viewOf[float64](raw, n)
	case Int8:
		t.data = viewOf[int8](raw, n)
	case Int16:
		t.data = viewOf[int16](raw, n)
	case Int32:
		t.data = viewOf[int32](raw, n)
	case Int64:
		t.data = viewOf[int64](raw, n)
	case Uint8:
		t.data = raw[:n:n]
	case Uint16:
		t.data = viewOf[uint16](raw, n)
	case Uint32:
		t.data = viewOf[uint32](raw, n)
	case Uint64:
		t.data = viewOf[uint64](raw, n)
	case Float16:
		t.data = viewOf[Half](raw, n)
	case BFloat16:
		t.data = viewOf[BHalf](raw, n)
	case Complex64:
		t.data = viewOf[complex64](raw, n)
	case Complex128:
		t.data = viewOf[complex128](raw, n)
	case Bool:
		for _, b := range raw {
			if b > 1 {
				return FromBytes(dtype, raw, shape...)
			}
		}
		t.data = viewOf[bool](raw, n)
	default:
		return FromBytes(dtype, raw, shape...)
	}
	return t, nil
}

func viewOf[T Element](raw []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n)
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
		fmt.Fprint(&b, t.at(i))
	}
	if t.Size() > most {
		b.WriteString(" ...")
	}
	b.WriteByte('}')
	return b.String()
}

func (t *Tensor) at(i int) any {
	switch d := t.data.(type) {
	case []float32:
		return d[i]
	case []float64:
		return d[i]
	case []int8:
		return d[i]
	case []int16:
		return d[i]
	case []int32:
		return d[i]
	case []int64:
		return d[i]
	case []uint8:
		return d[i]
	case []uint16:
		return d[i]
	case []uint32:
		return d[i]
	case []uint64:
		return d[i]
	case []bool:
		return d[i]
	case []string:
		return strconv.Quote(d[i])
	case []Half:
		return d[i].Float32()
	case []BHalf:
		return d[i].Float32()
	case []complex64:
		return d[i]
	}
	return t.data.([]complex128)[i]
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
	a, b := from*row, to*row
	switch d := t.data.(type) {
	case []float32:
		s.data = d[a:b:b]
	case []float64:
		s.data = d[a:b:b]
	case []int8:
		s.data = d[a:b:b]
	case []int16:
		s.data = d[a:b:b]
	case []int32:
		s.data = d[a:b:b]
	case []int64:
		s.data = d[a:b:b]
	case []uint8:
		s.data = d[a:b:b]
	case []uint16:
		s.data = d[a:b:b]
	case []uint32:
		s.data = d[a:b:b]
	case []uint64:
		s.data = d[a:b:b]
	case []bool:
		s.data = d[a:b:b]
	case []string:
		s.data = d[a:b:b]
	case []Half:
		s.data = d[a:b:b]
	case []BHalf:
		s.data = d[a:b:b]
	case []complex64:
		s.data = d[a:b:b]
	case []complex128:
		s.data = d[a:b:b]
	}
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
