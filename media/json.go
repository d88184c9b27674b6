package media

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/millrace/millrace/tensor"
)

// datatypes are the Open Inference Protocol's names of element types, in both directions.
var datatypes = map[string]tensor.DType{
	"BOOL": tensor.Bool, "UINT8": tensor.Uint8, "UINT16": tensor.Uint16, "UINT32": tensor.Uint32, "UINT64": tensor.Uint64,
	"INT8": tensor.Int8, "INT16": tensor.Int16, "INT32": tensor.Int32, "INT64": tensor.Int64, "FP16": tensor.Float16,
	"BF16": tensor.BFloat16, "FP32": tensor.Float32, "FP64": tensor.Float64, "BYTES": tensor.String,
}

// Datatype returns the Open Inference Protocol's name of d, "" where it has none (complex numbers).
func Datatype(d tensor.DType) string {
	for name, t := range datatypes {
		if t == d {
			return name
		}
	}
	return ""
}

// ParseDatatype is the inverse of Datatype.
func ParseDatatype(name string) (tensor.DType, error) {
	d, ok := datatypes[name]
	if !ok {
		return tensor.Invalid, fmt.Errorf("%w: unknown datatype %.40q", ErrMalformed, name)
	}
	return d, nil
}

// inferRequest is the Open Inference Protocol's body of an inference request or response, as far as tensors go.
type inferRequest struct {
	Inputs  []jsonTensor `json:"inputs"`
	Outputs []jsonTensor `json:"outputs"`
}

type jsonTensor struct {
	Name     string          `json:"name"`
	Shape    []int           `json:"shape"`
	Datatype string          `json:"datatype"`
	Data     json.RawMessage `json:"data"`
}

// parseJSON reads {"inputs":[tensors]}, {"outputs":[tensors]} or one tensor by itself, whose name may be missing.
func parseJSON(data []byte) (map[string]*tensor.Tensor, error) {
	var body struct {
		inferRequest
		jsonTensor
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	list := body.Inputs
	switch {
	case len(list) > 0:
	case len(body.Outputs) > 0:
		list = body.Outputs
	case body.Data != nil:
		list = []jsonTensor{body.jsonTensor}
	default:
		return nil, fmt.Errorf(`%w: JSON: neither "inputs" nor "data" is there`, ErrMalformed)
	}
	all := make(map[string]*tensor.Tensor, len(list))
	for _, j := range list {
		if all[j.Name] != nil {
			return nil, fmt.Errorf("%w: tensor %q is there twice", ErrMalformed, j.Name)
		}
		t, err := j.parse()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", j.Name, err)
		}
		all[j.Name] = t
	}
	return all, nil
}

func (j jsonTensor) parse() (*tensor.Tensor, error) {
	d, err := ParseDatatype(j.Datatype)
	if err != nil {
		return nil, err
	}
	n, err := tensor.Shape(j.Shape).Check()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// Each element takes at least two bytes of JSON, so that the allocation is bounded by what was sent.
	if n > len(j.Data)/2+1 {
		return nil, fmt.Errorf("%w: shape %v needs %d elements, the data has fewer", ErrShape, tensor.Shape(j.Shape), n)
	}
	t, err := tensor.New(d, j.Shape...)
	if err != nil {
		return nil, err
	}
	p := elements{dst: t, most: n}
	shape, err := p.parse(j.Data)
	if err != nil {
		return nil, err
	}
	if len(shape) != 1 && !shape.Equal(j.Shape) {
		return nil, fmt.Errorf("%w: the data is nested as %v, the shape says %v", ErrShape, shape, tensor.Shape(j.Shape))
	}
	if p.n != n {
		return nil, fmt.Errorf("%w: shape %v needs %d elements, the data has %d", ErrShape, tensor.Shape(j.Shape), n, p.n)
	}
	return t, nil
}

// decodeJSON reads nested arrays in the item's shape, a flat array, or one tensor in the Open Inference Protocol's form.
func (d *Decoder) decodeJSON(dst *tensor.Tensor, at int, data []byte) error {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '{' {
		return d.decodeNamed(dst, at, typeJSON, data)
	}
	p := elements{dst: dst, at: at, most: d.size}
	shape, err := p.parse(data)
	if err != nil {
		return err
	}
	if err := d.fits(shape); err != nil {
		return err
	}
	return checkNaN(dst, at, d.size, d.spec.Shape)
}

// decodeNamed takes the only tensor of a container.
func (d *Decoder) decodeNamed(dst *tensor.Tensor, at int, kind string, data []byte) error {
	all, err := ParseTensors(kind, data)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("%w: it holds %d tensors and the model takes one", ErrShape, len(all))
	}
	for _, t := range all {
		return d.place(dst, at, t)
	}
	return nil
}

// AppendJSON appends t in the Open Inference Protocol's form, {"name":…,"shape":…,"datatype":…,"data":[…]}, with the
// data flat. JSON has no NaN and no infinities: they are ErrNotFinite, and dst comes back as it was. Strings that are
// not UTF-8 and complex numbers, which the protocol lacks, are ErrUnsupportedType.
func AppendJSON(dst []byte, name string, t *tensor.Tensor) ([]byte, error) {
	kind := Datatype(t.DType())
	if kind == "" {
		return dst, fmt.Errorf("%w: tensor %q is %v, which the protocol lacks", ErrUnsupportedType, name, t.DType())
	}
	start := len(dst)
	quoted, err := json.Marshal(name)
	if err != nil {
		return dst, fmt.Errorf("name of a tensor: %w", err)
	}
	dst = append(append(dst, `{"name":`...), quoted...)
	dst = append(append(append(dst, `,"shape":`...), t.Shape().String()...), `,"datatype":"`...)
	dst = append(append(dst, kind...), `","data":[`...)
	for i := range t.Size() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendElement(dst, t, i); err != nil {
			return dst[:start], fmt.Errorf("tensor %q: element %s: %w", name, position(t.Shape(), i), err)
		}
	}
	return append(dst, "]}"...), nil
}

func appendElement(dst []byte, t *tensor.Tensor, i int) ([]byte, error) {
	switch d := t.Raw().(type) {
	case []float32:
		return appendFloat(dst, float64(d[i]), 32)
	case []float64:
		return appendFloat(dst, d[i], 64)
	case []tensor.Half:
		return appendFloat(dst, float64(d[i].Float32()), 32)
	case []tensor.BHalf:
		return appendFloat(dst, float64(d[i].Float32()), 32)
	case []int64:
		return strconv.AppendInt(dst, d[i], 10), nil
	case []int32:
		return strconv.AppendInt(dst, int64(d[i]), 10), nil
	case []int16:
		return strconv.AppendInt(dst, int64(d[i]), 10), nil
	case []int8:
		return strconv.AppendInt(dst, int64(d[i]), 10), nil
	case []uint64:
		return strconv.AppendUint(dst, d[i], 10), nil
	case []uint32:
		return strconv.AppendUint(dst, uint64(d[i]), 10), nil
	case []uint16:
		return strconv.AppendUint(dst, uint64(d[i]), 10), nil
	case []uint8:
		return strconv.AppendUint(dst, uint64(d[i]), 10), nil
	case []bool:
		return strconv.AppendBool(dst, d[i]), nil
	case []string:
		if !utf8.ValidString(d[i]) {
			return dst, fmt.Errorf("%w: the string is not UTF-8", ErrUnsupportedType)
		}
		quoted, err := json.Marshal(d[i])
		return append(dst, quoted...), err
	}
	return dst, fmt.Errorf("%w: %v", ErrUnsupportedType, t.DType())
}

func appendFloat(dst []byte, v float64, bits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, fmt.Errorf("%w: %v", ErrNotFinite, v)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits), nil
}
