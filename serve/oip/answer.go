package oip

import (
	"fmt"
	"math"
	"strconv"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/tensor"
)

// encode writes the answer into q.answer: JSON, and behind it the data of the outputs that are binary. It returns the
// length of the JSON where there is binary data, and 0 else.
func (q *inferRequest) encode(name string, version int64, outs []graph.Value, results []*tensor.Tensor) (int, error) {
	b := append(q.answer[:0], `{"model_name":`...)
	b = serve.AppendString(b, name)
	b = strconv.AppendInt(append(b, `,"model_version":"`...), version, 10)
	b = append(b, '"')
	if q.hasID {
		b = serve.AppendString(append(b, `,"id":`...), q.id)
	}
	b = append(b, `,"outputs":[`...)
	someBinary := false
	for i, o := range q.outputs {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendOutput(b, outs[o.index].Name, results[o.index], o.binary); err != nil {
			return 0, err
		}
		someBinary = someBinary || o.binary
	}
	b = append(b, "]}"...)
	length := 0
	if someBinary {
		length = len(b)
		for _, o := range q.outputs {
			if o.binary {
				b = appendBinary(b, results[o.index])
			}
		}
	}
	q.answer = b
	return length, nil
}

func appendOutput(b []byte, name string, t *tensor.Tensor, binary bool) ([]byte, error) {
	datatype, ok := datatypes[t.DType()]
	if !ok {
		return b, badRequest("output %q is of %v, which has no form in this protocol", name, t.DType())
	}
	b = serve.AppendString(append(b, `{"name":`...), name)
	b = append(append(b, `,"datatype":"`...), datatype...)
	b = append(b, `","shape":[`...)
	for i, d := range t.Shape() {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(d), 10)
	}
	b = append(b, ']')
	if binary {
		b = append(b, `,"parameters":{"binary_data_size":`...)
		b = strconv.AppendInt(b, int64(binarySize(t)), 10)
		return append(b, "}}"...), nil
	}
	if !isText(t) {
		return b, badRequest("output %q has bytes that are no UTF-8, which JSON cannot hold: ask for binary_data", name)
	}
	return append(appendData(append(b, `,"data":`...), t), '}'), nil
}

func binarySize(t *tensor.Tensor) int {
	if t.DType() != tensor.String {
		return len(t.Bytes())
	}
	n := 0
	for _, s := range tensor.Data[string](t) {
		n += 4 + len(s)
	}
	return n
}

// appendData writes a tensor's elements, flat. A number that is none becomes null, because JSON has no NaN.
func appendData(b []byte, t *tensor.Tensor) []byte {
	b = append(b, '[')
	switch d := t.Raw().(type) {
	case []float32:
		b = appendAll(b, d, func(b []byte, v float32) []byte { return appendFloat(b, float64(v), 32) })
	case []float64:
		b = appendAll(b, d, func(b []byte, v float64) []byte { return appendFloat(b, v, 64) })
	case []tensor.Half:
		b = appendAll(b, d, func(b []byte, v tensor.Half) []byte { return appendFloat(b, float64(v.Float32()), 32) })
	case []tensor.BHalf:
		b = appendAll(b, d, func(b []byte, v tensor.BHalf) []byte { return appendFloat(b, float64(v.Float32()), 32) })
	case []int8:
		b = appendSigned(b, d)
	case []int16:
		b = appendSigned(b, d)
	case []int32:
		b = appendSigned(b, d)
	case []int64:
		b = appendSigned(b, d)
	case []uint8:
		b = appendUnsigned(b, d)
	case []uint16:
		b = appendUnsigned(b, d)
	case []uint32:
		b = appendUnsigned(b, d)
	case []uint64:
		b = appendUnsigned(b, d)
	case []bool:
		b = appendAll(b, d, strconv.AppendBool)
	case []string:
		b = appendAll(b, d, serve.AppendString)
	}
	return append(b, ']')
}

func appendAll[T any](b []byte, d []T, one func([]byte, T) []byte) []byte {
	for i, v := range d {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return b
}

func appendSigned[T int8 | int16 | int32 | int64](b []byte, d []T) []byte {
	return appendAll(b, d, func(b []byte, v T) []byte { return strconv.AppendInt(b, int64(v), 10) })
}

func appendUnsigned[T uint8 | uint16 | uint32 | uint64](b []byte, d []T) []byte {
	return appendAll(b, d, func(b []byte, v T) []byte { return strconv.AppendUint(b, uint64(v), 10) })
}

// appendFloat writes the shortest decimal that reads back as the same number.
func appendFloat(b []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, bits)
}

// checkResults refuses what an engine should never give, before anything is written.
func checkResults(outs []graph.Value, results []*tensor.Tensor) error {
	if len(results) != len(outs) {
		return fmt.Errorf("the engine gave %d outputs, the model has %d", len(results), len(outs))
	}
	for i, t := range results {
		if t == nil {
			return fmt.Errorf("the engine gave no output %q", outs[i].Name)
		}
	}
	return nil
}
