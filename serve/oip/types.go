package oip

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// datatypes are the protocol's names of element types. What has no name, the protocol cannot carry.
var datatypes = map[tensor.DType]string{
	tensor.Bool: "BOOL", tensor.Uint8: "UINT8", tensor.Uint16: "UINT16", tensor.Uint32: "UINT32", tensor.Uint64: "UINT64",
	tensor.Int8: "INT8", tensor.Int16: "INT16", tensor.Int32: "INT32", tensor.Int64: "INT64",
	tensor.Float16: "FP16", tensor.Float32: "FP32", tensor.Float64: "FP64", tensor.BFloat16: "BF16", tensor.String: "BYTES",
}

// datatypeOf returns the protocol's name, or ours where it has none.
func datatypeOf(d tensor.DType) string {
	if name, ok := datatypes[d]; ok {
		return name
	}
	return d.String()
}

func parseDatatype(name string) tensor.DType {
	for d, n := range datatypes {
		if n == name {
			return d
		}
	}
	return tensor.Invalid
}

// shapeOf writes a declared shape as the protocol does: -1 for a dimension that is not known.
func shapeOf(s graph.Shape) []int64 {
	out := make([]int64, len(s))
	for i, d := range s {
		out[i] = d.Size
		if !d.Known() {
			out[i] = -1
		}
	}
	return out
}
