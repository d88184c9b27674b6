package graphdef

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// A DataType is a type by TensorFlow's number. Numbers from 101 on are references to variables of the type less 100.
type DataType int32

// The types that the meaning of operators depends on.
const (
	Float    DataType = 1
	Int32    DataType = 3
	String   DataType = 7
	Int64    DataType = 9
	Resource DataType = 20
	Variant  DataType = 21
)

var dataTypes = [...]struct {
	name string
	as   tensor.DType
}{
	0: {"DT_INVALID", 0}, 1: {"DT_FLOAT", tensor.Float32}, 2: {"DT_DOUBLE", tensor.Float64}, 3: {"DT_INT32", tensor.Int32},
	4: {"DT_UINT8", tensor.Uint8}, 5: {"DT_INT16", tensor.Int16}, 6: {"DT_INT8", tensor.Int8}, 7: {"DT_STRING", tensor.String},
	8: {"DT_COMPLEX64", tensor.Complex64}, 9: {"DT_INT64", tensor.Int64}, 10: {"DT_BOOL", tensor.Bool}, 11: {"DT_QINT8", tensor.Int8},
	12: {"DT_QUINT8", tensor.Uint8}, 13: {"DT_QINT32", tensor.Int32}, 14: {"DT_BFLOAT16", tensor.BFloat16},
	15: {"DT_QINT16", tensor.Int16}, 16: {"DT_QUINT16", tensor.Uint16}, 17: {"DT_UINT16", tensor.Uint16},
	18: {"DT_COMPLEX128", tensor.Complex128}, 19: {"DT_HALF", tensor.Float16}, 20: {"DT_RESOURCE", 0}, 21: {"DT_VARIANT", 0},
	22: {"DT_UINT32", tensor.Uint32}, 23: {"DT_UINT64", tensor.Uint64}, 24: {"DT_FLOAT8_E5M2", 0}, 25: {"DT_FLOAT8_E4M3FN", 0},
	26: {"DT_FLOAT8_E4M3FNUZ", 0}, 27: {"DT_FLOAT8_E4M3B11FNUZ", 0}, 28: {"DT_FLOAT8_E5M2FNUZ", 0}, 29: {"DT_INT4", 0},
	30: {"DT_UINT4", 0}, 31: {"DT_INT2", 0}, 32: {"DT_UINT2", 0},
}

// Base returns the type without the mark of a reference.
func (d DataType) Base() DataType {
	if d > 100 {
		return d - 100
	}
	return d
}

// String returns TensorFlow's name, such as "DT_FLOAT".
func (d DataType) String() string {
	base := d.Base()
	if base < 0 || int(base) >= len(dataTypes) {
		return fmt.Sprintf("data type %d", int32(d))
	}
	if base != d {
		return dataTypes[base].name + "_REF"
	}
	return dataTypes[base].name
}

// DType returns the type of the elements in memory; quantized ones are plain integers. It is tensor.Invalid where there is none.
func (d DataType) DType() tensor.DType {
	base := d.Base()
	if base < 0 || int(base) >= len(dataTypes) {
		return tensor.Invalid
	}
	return dataTypes[base].as
}
