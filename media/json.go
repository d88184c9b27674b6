package media

import (
	"fmt"

	"github.com/millrace/millrace/media/jsontensor"
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

// dialect is how an entry's JSON is read. Null is no number here.
var dialect = jsontensor.Dialect{Malformed: ErrMalformed, Shape: ErrShape}

// jsonTensor is a tensor in the protocol's form, as far as it was read.
type jsonTensor struct {
	name, datatype string
	shape          []int
	data           int // where data begins, -1 where it is not there
}

// parseJSON reads {"inputs":[tensors]}, {"outputs":[tensors]} or one tensor by itself, whose name may be missing.
func parseJSON(data []byte) (map[string]*tensor.Tensor, error) {
	s := jsontensor.NewScanner(data, dialect)
	alone := jsonTensor{data: -1}
	lists := map[string][]jsonTensor{}
	seen := map[string]bool{}
	err := s.Object(func(field string) error {
		if field != "inputs" && field != "outputs" {
			return alone.field(s, field, seen)
		}
		if seen[field] {
			return s.Fault("%q comes twice", field)
		}
		seen[field] = true
		if s.Null() {
			return nil
		}
		return s.Array(func() error {
			t := jsonTensor{data: -1}
			seen := map[string]bool{}
			err := s.Object(func(field string) error { return t.field(s, field, seen) })
			lists[field] = append(lists[field], t)
			return err
		})
	})
	if err == nil && !s.End() {
		err = s.Fault("something follows the object")
	}
	if err != nil {
		return nil, err
	}
	list := lists["inputs"]
	switch {
	case len(list) > 0:
	case len(lists["outputs"]) > 0:
		list = lists["outputs"]
	case alone.data >= 0:
		list = []jsonTensor{alone}
	default:
		return nil, fmt.Errorf(`%w: JSON: neither "inputs" nor "data" is there`, ErrMalformed)
	}
	all := make(map[string]*tensor.Tensor, len(list))
	for _, j := range list {
		if all[j.name] != nil {
			return nil, fmt.Errorf("%w: tensor %q is there twice", ErrMalformed, j.name)
		}
		t, err := j.parse(s)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", j.name, err)
		}
		all[j.name] = t
	}
	return all, nil
}

// field reads one field of a tensor. Data is read when all that says what it is was found.
func (j *jsonTensor) field(s *jsontensor.Scanner, name string, seen map[string]bool) (err error) {
	switch name {
	case "name", "datatype", "shape", "data":
		if seen[name] {
			return s.Fault("%q comes twice", name)
		}
		seen[name] = true
	}
	switch name {
	case "name":
		j.name, err = s.String()
	case "datatype":
		j.datatype, err = s.String()
	case "shape":
		j.shape, err = s.Shape()
	case "data":
		s.Peek()
		j.data = s.Pos()
		err = s.Skip()
	default:
		err = s.Skip()
	}
	return err
}

func (j jsonTensor) parse(s *jsontensor.Scanner) (*tensor.Tensor, error) {
	d, err := ParseDatatype(j.datatype)
	switch {
	case err != nil:
		return nil, err
	case j.shape == nil:
		return nil, fmt.Errorf("%w: JSON: it has no shape", ErrMalformed)
	case j.data < 0:
		return nil, fmt.Errorf("%w: JSON: it has no data", ErrMalformed)
	}
	return s.At(j.data).Data(d, j.shape, nil)
}

// decodeJSON reads nested arrays in the item's shape, a flat array, or one tensor in the Open Inference Protocol's form.
func (d *Decoder) decodeJSON(dst *tensor.Tensor, at int, data []byte) error {
	python := dialect
	python.Special = true // so that NaN is refused as what it is, and an infinity taken
	s := jsontensor.NewScanner(data, python)
	if d.rows != nil {
		if done, err := d.decodeRow(dst, at, data); done {
			return err
		}
	}
	if s.Peek() == '{' {
		return d.decodeNamed(dst, at, typeJSON, data)
	}
	shape, err := s.Into(dst, at, d.size)
	if err == nil && !s.End() {
		err = s.Fault("nothing more was expected")
	}
	if err != nil {
		return err
	}
	if err := d.fits(shape); err != nil {
		return err
	}
	return checkNaN(dst, at, d.size, d.spec.Shape)
}

// decodeRow reads an object by columns or a flat list of their values; done is false where the JSON is neither.
func (d *Decoder) decodeRow(dst *tensor.Tensor, at int, data []byte) (done bool, err error) {
	s := jsontensor.NewScanner(data, dialect)
	switch {
	case s.Peek() == '{' && d.rows.byName(s):
		err = d.rows.object(s, dst, at)
	case s.Peek() == '[' && s.At(s.Pos()+1).Peek() != '[':
		err = d.rows.list(s, dst, at)
	default:
		return false, nil
	}
	if err == nil && !s.End() {
		err = s.Fault("nothing more was expected")
	}
	return true, err
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
	if i := jsontensor.NotFinite(t); i >= 0 {
		v, err := floatAt(t, i)
		if err != nil {
			return dst, err
		}
		return dst, fmt.Errorf("tensor %q: element %s: %w: %v", name, position(t.Shape(), i), ErrNotFinite, v)
	}
	if i := jsontensor.NotText(t); i >= 0 {
		return dst, fmt.Errorf("tensor %q: element %s: %w: the string is not UTF-8", name, position(t.Shape(), i), ErrUnsupportedType)
	}
	dst = jsontensor.AppendString(append(dst, `{"name":`...), name)
	dst = append(append(append(dst, `,"shape":`...), t.Shape().String()...), `,"datatype":"`...)
	dst = jsontensor.Append(append(append(dst, kind...), `","data":`...), t)
	return append(dst, '}'), nil
}
