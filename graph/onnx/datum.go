package onnx

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// DecodeValue reads a single value, as the files of ONNX's test cases hold it: what container says (see graph.Value), such as
// "sequence", and a tensor where it is empty. External data and maps are refused.
func DecodeValue(data []byte, container string) (tensor.Value, error) {
	d := newDecoder(data, Options{})
	v, err := d.datum(data, container)
	if err != nil {
		return tensor.Value{}, at(err, "value")
	}
	return v, nil
}

// datumCost is what an element of a sequence takes beside its tensor.
const datumCost = 64

// datum reads a TensorProto, SequenceProto or OptionalProto.
func (d *decoder) datum(b []byte, container string) (tensor.Value, error) {
	if err := d.enter(); err != nil {
		return tensor.Value{}, err
	}
	defer d.leave()
	kind, rest, _ := strings.Cut(container, "(")
	rest = strings.TrimSuffix(rest, ")")
	v := tensor.Value{Items: []tensor.Value{}}
	switch kind {
	case "":
		_, t, err := d.tensor(b)
		return tensor.ValueOf(t), err
	case "sequence":
		v.Kind = tensor.KindSequence
	case "optional":
		v.Kind = tensor.KindOptional
	default:
		return v, fmt.Errorf("%w: value of kind %q", ErrUnsupported, container)
	}
	// Tensors, sequences and optionals have fields of their own.
	inner := map[string]int{"": 3, "sequence": 5, "optional": 7}
	want, _, _ := strings.Cut(rest, "(")
	s := scan(b)
	for s.next() {
		if s.num < 3 {
			continue
		}
		if int(s.num) != inner[want] {
			return v, fmt.Errorf("%w: field %d in place of %q in a %s", ErrFormat, s.num, rest, kind)
		}
		if v.Kind == tensor.KindOptional && len(v.Items) == 1 {
			return v, fmt.Errorf("%w: an optional of two values", ErrFormat)
		}
		if err := d.charge(datumCost); err != nil {
			return v, err
		}
		item, err := d.datum(s.bytes("values"), rest)
		if err != nil {
			return v, at(err, "values[%d]", len(v.Items))
		}
		v.Items = append(v.Items, item)
	}
	return v, s.err
}
