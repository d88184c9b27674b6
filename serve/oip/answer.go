package oip

import (
	"fmt"
	"strconv"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/tensor"
)

// encode writes the answer into q.answer: JSON, and behind it the data of the outputs that are binary. It returns the
// length of the JSON where there is binary data, and 0 else.
func (q *inferRequest) encode(name string, version int64, outs []graph.Value, results []*tensor.Tensor) (int, error) {
	b := append(q.answer[:0], `{"model_name":`...)
	b = jsontensor.AppendString(b, name)
	b = strconv.AppendInt(append(b, `,"model_version":"`...), version, 10)
	b = append(b, '"')
	if q.hasID {
		b = jsontensor.AppendString(append(b, `,"id":`...), q.id)
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
	b = jsontensor.AppendString(append(b, `{"name":`...), name)
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
	if jsontensor.NotText(t) >= 0 {
		return b, badRequest("output %q has bytes that are no UTF-8, which JSON cannot hold: ask for binary_data", name)
	}
	return append(jsontensor.Append(append(b, `,"data":`...), t), '}'), nil
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
