package tensor

import (
	"strconv"
	"unsafe"
)

// A kind is what the package knows of an element type: its name, the bytes of an element in memory (0: they vary), the bits of one in a
// file, and how slices of its Go type are made and read.
type kind struct {
	name string
	size int
	bits int
	ops  elements
}

// elements works on slices of one Go type, behind any.
type elements interface {
	make(n int) any
	view(raw []byte, n int) any
	slice(d any, a, b int) any
	bytes(d any) []byte
	at(d any, i int) any
}

// kinds is indexed by DType.
var kinds = [...]kind{
	Invalid: {name: "invalid"}, Float32: kindOf[float32]("float32"), Uint8: kindOf[uint8]("uint8"), Int8: kindOf[int8]("int8"),
	Uint16: kindOf[uint16]("uint16"), Int16: kindOf[int16]("int16"), Int32: kindOf[int32]("int32"), Int64: kindOf[int64]("int64"),
	String: {name: "string", ops: elementsOf[string]{}}, Bool: kindOf[bool]("bool"), Float16: kindOf[Half]("float16"),
	Float64: kindOf[float64]("float64"), Uint32: kindOf[uint32]("uint32"), Uint64: kindOf[uint64]("uint64"),
	Complex64: kindOf[complex64]("complex64"), Complex128: kindOf[complex128]("complex128"), BFloat16: kindOf[BHalf]("bfloat16"),
	Float8E4M3FN: kindOf[E4M3FN]("float8e4m3fn"), Float8E4M3FNUZ: kindOf[E4M3FNUZ]("float8e4m3fnuz"),
	Float8E5M2: kindOf[E5M2]("float8e5m2"), Float8E5M2FNUZ: kindOf[E5M2FNUZ]("float8e5m2fnuz"),
	Float8E8M0: kindOf[E8M0]("float8e8m0"), Float4E2M1: kindOf[E2M1]("float4e2m1").packed(4),
	Uint4: kindOf[U4]("uint4").packed(4), Int4: kindOf[I4]("int4").packed(4),
	Uint2: kindOf[U2]("uint2").packed(2), Int2: kindOf[I2]("int2").packed(2),
}

func kindOf[T Element](name string) kind {
	var z T
	size := int(unsafe.Sizeof(z))
	return kind{name: name, size: size, bits: 8 * size, ops: elementsOf[T]{}}
}

// packed is k where files have several elements in a byte.
func (k kind) packed(bits int) kind {
	k.bits = bits
	return k
}

type elementsOf[T Element] struct{}

func (elementsOf[T]) make(n int) any { return make([]T, n) }

func (elementsOf[T]) view(raw []byte, n int) any {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n)
}

func (elementsOf[T]) slice(d any, a, b int) any { return d.([]T)[a:b:b] }

func (elementsOf[T]) bytes(d any) []byte {
	s := d.([]T)
	if len(s) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// at returns an element as it is printed: a number of fewer bits than Go has by its value.
func (elementsOf[T]) at(d any, i int) any {
	switch v := any(d.([]T)[i]).(type) {
	case string:
		return strconv.Quote(v)
	case interface{ Float32() float32 }:
		return v.Float32()
	default:
		return v
	}
}
