package checkpoint

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// dtypes are TensorFlow's data types by number. A quantized type holds plain integers; what has no type here cannot be
// read, but is listed.
var dtypes = [...]struct {
	name string
	as   tensor.DType
}{
	1: {"float", tensor.Float32}, 2: {"double", tensor.Float64}, 3: {"int32", tensor.Int32}, 4: {"uint8", tensor.Uint8},
	5: {"int16", tensor.Int16}, 6: {"int8", tensor.Int8}, 7: {"string", tensor.String}, 8: {"complex64", tensor.Complex64},
	9: {"int64", tensor.Int64}, 10: {"bool", tensor.Bool}, 11: {"qint8", tensor.Int8}, 12: {"quint8", tensor.Uint8},
	13: {"qint32", tensor.Int32}, 14: {"bfloat16", tensor.BFloat16}, 15: {"qint16", tensor.Int16}, 16: {"quint16", tensor.Uint16},
	17: {"uint16", tensor.Uint16}, 18: {"complex128", tensor.Complex128}, 19: {"half", tensor.Float16}, 20: {"resource", 0},
	21: {"variant", 0}, 22: {"uint32", tensor.Uint32}, 23: {"uint64", tensor.Uint64}, 24: {"float8_e5m2", 0},
	25: {"float8_e4m3fn", 0}, 26: {"float8_e4m3fnuz", 0}, 27: {"float8_e4m3b11fnuz", 0}, 28: {"float8_e5m2fnuz", 0},
	29: {"int4", 0}, 30: {"uint4", 0}, 31: {"int2", 0}, 32: {"uint2", 0},
}

// A DataType is a data type by TensorFlow's number.
type DataType int32

// String returns TensorFlow's name, such as "float" or "quint8".
func (d DataType) String() string {
	if d > 0 && int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("data type %d", int32(d))
}

// DType returns the type of the elements in memory: quantized types are plain integers. It is tensor.Invalid where there is none.
func (d DataType) DType() tensor.DType {
	if d > 0 && int(d) < len(dtypes) {
		return dtypes[d].as
	}
	return tensor.Invalid
}
