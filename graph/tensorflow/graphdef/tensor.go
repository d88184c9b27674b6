package graphdef

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Tensor is a TensorProto, not decoded yet: its type and shape are known, its elements are still in the file's bytes.
type Tensor struct {
	Type  DataType
	Shape tensor.Shape
	raw   []byte
	// content is all elements in memory order; a tensor that has none has them in one of the typed fields, where the last
	// element stands for all that are missing.
	content []byte
	refs    [][]byte // to elements that are still in the file
}

func decodeTensor(data []byte) (*Tensor, error) {
	t := &Tensor{raw: data, Shape: tensor.Shape{}}
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			t.Type = DataType(s.int("dtype"))
		case 2:
			shape, err := decodeShape(s.bytes("tensor_shape"))
			if err != nil {
				return nil, fmt.Errorf("tensor: %w", err)
			}
			if t.Shape, err = staticShape(shape); err != nil {
				return nil, err
			}
		case 4:
			t.content = s.bytes("tensor_content")
		case fieldRef:
			t.refs = append(t.refs, s.bytes("elements elsewhere"))
		}
	}
	if s.err != nil {
		return nil, fmt.Errorf("tensor: %w", s.err)
	}
	return t, nil
}

func staticShape(shape graph.Shape) (tensor.Shape, error) {
	static, ok := shape.Static()
	if !ok {
		return nil, fmt.Errorf("%w: a tensor's shape is %v", ErrFormat, shape)
	}
	if _, err := static.Check(); err != nil {
		return nil, fmt.Errorf("%w: a tensor: %w", ErrFormat, err)
	}
	return static, nil
}

// typedField returns the field that has the elements of a type, and how it is written.
func typedField(d DataType) (num protowire.Number, typ protowire.Type) {
	switch d.DType() {
	case tensor.Float32:
		return 5, protowire.Fixed32Type
	case tensor.Float64:
		return 6, protowire.Fixed64Type
	case tensor.Int32, tensor.Int16, tensor.Int8, tensor.Uint8, tensor.Uint16:
		return 7, protowire.VarintType
	case tensor.String:
		return 8, protowire.BytesType
	case tensor.Complex64:
		return 9, protowire.Fixed32Type
	case tensor.Int64:
		return 10, protowire.VarintType
	case tensor.Bool:
		return 11, protowire.VarintType
	case tensor.Complex128:
		return 12, protowire.Fixed64Type
	case tensor.Float16, tensor.BFloat16:
		return 13, protowire.VarintType
	case tensor.Uint32:
		return 16, protowire.VarintType
	case tensor.Uint64:
		return 17, protowire.VarintType
	}
	return 0, 0
}

// Stored returns how many elements the file has of the tensor's: all, or the first ones, of which the last stands for the rest.
func (t *Tensor) Stored() (int, error) {
	if size := t.Type.DType().Size(); len(t.content) > 0 && size > 0 {
		return len(t.content) / size, nil
	}
	want, _ := typedField(t.Type)
	n := 0
	s := scan(t.raw)
	for s.next() {
		if s.num != want {
			continue
		}
		switch s.typ {
		case protowire.BytesType:
			switch want {
			case 8:
				n++
			case 5, 9:
				n += len(s.b) / 4
			case 6, 12:
				n += len(s.b) / 8
			default:
				for _, c := range s.b {
					if c < 0x80 {
						n++
					}
				}
			}
		default:
			n++
		}
	}
	if want == 9 || want == 12 {
		n /= 2
	}
	return n, s.err
}

// Decode returns the tensor. It shares memory with the file's bytes where these are aligned. A tensor that the file has few
// elements of takes as much memory as its shape says: ask Stored first.
func (t *Tensor) Decode() (*tensor.Tensor, error) { return t.decode(t.Shape) }

// Last returns the last element that is stored, as a scalar: what stands for all elements where Stored is 1. It is zero where
// nothing is stored.
func (t *Tensor) Last() (*tensor.Tensor, error) {
	n, err := t.Stored()
	if err != nil {
		return nil, err
	}
	all, err := t.decode(tensor.Shape{max(n, 1)})
	if err != nil {
		return nil, err
	}
	if all, err = all.Slice(max(n, 1)-1, max(n, 1)); err != nil {
		return nil, err
	}
	return all.Reshape()
}

func (t *Tensor) decode(shape tensor.Shape) (*tensor.Tensor, error) {
	dtype := t.Type.DType()
	if dtype == tensor.Invalid {
		return nil, fmt.Errorf("%w: a tensor of type %v", ErrUnsupported, t.Type)
	}
	if len(t.content) > 0 && dtype != tensor.String {
		if len(t.content) == dtype.Size() && shape.Size() != 1 { // one element for all, which some writers make
			return t.spread(dtype, shape)
		}
		out, err := tensor.View(dtype, t.content, shape...)
		if err != nil {
			return nil, fmt.Errorf("%w: a tensor: %w", ErrFormat, err)
		}
		return out, nil
	}
	out, err := tensor.New(dtype, shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: a tensor: %w", ErrFormat, err)
	}
	if err := t.fill(out); err != nil {
		return nil, fmt.Errorf("a tensor of %v%v: %w", t.Type, t.Shape, err)
	}
	return out, nil
}

func (t *Tensor) spread(dtype tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	out, err := tensor.New(dtype, shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: a tensor: %w", ErrFormat, err)
	}
	for b := out.Bytes(); len(b) > 0; b = b[len(t.content):] {
		copy(b, t.content)
	}
	return out, nil
}

// fill reads the elements from the typed field.
func (t *Tensor) fill(out *tensor.Tensor) error {
	switch d := out.Raw().(type) {
	case []float32:
		return fillFrom(t, d, func(s *scanner, add func(float32)) { s.floats("float_val", add) })
	case []float64:
		return fillFrom(t, d, func(s *scanner, add func(float64)) { s.doubles("double_val", add) })
	case []int32:
		return fillVarints(t, d)
	case []int16:
		return fillVarints(t, d)
	case []int8:
		return fillVarints(t, d)
	case []uint8:
		return fillVarints(t, d)
	case []uint16:
		return fillVarints(t, d)
	case []int64:
		return fillVarints(t, d)
	case []uint32:
		return fillVarints(t, d)
	case []uint64:
		return fillVarints(t, d)
	case []tensor.Half:
		return fillVarints(t, d)
	case []tensor.BHalf:
		return fillVarints(t, d)
	case []bool:
		return fillFrom(t, d, func(s *scanner, add func(bool)) { s.varints("bool_val", func(v uint64) { add(v != 0) }) })
	case []string:
		return fillFrom(t, d, func(s *scanner, add func(string)) { add(s.str("string_val")) })
	case []complex64:
		var re float32
		odd := false
		return fillFrom(t, d, func(s *scanner, add func(complex64)) {
			s.floats("scomplex_val", func(v float32) {
				if odd {
					add(complex(re, v))
				}
				re, odd = v, !odd
			})
		})
	case []complex128:
		var re float64
		odd := false
		return fillFrom(t, d, func(s *scanner, add func(complex128)) {
			s.doubles("dcomplex_val", func(v float64) {
				if odd {
					add(complex(re, v))
				}
				re, odd = v, !odd
			})
		})
	}
	return fmt.Errorf("%w: type %v", ErrUnsupported, t.Type)
}

func fillVarints[T int32 | int16 | int8 | uint8 | uint16 | int64 | uint32 | uint64 | tensor.Half | tensor.BHalf](t *Tensor, d []T) error {
	return fillFrom(t, d, func(s *scanner, add func(T)) { s.varints("integer values", func(v uint64) { add(T(v)) }) })
}

// fillFrom reads elements in order; the last one is repeated to the end. More than there is room for are a fault.
func fillFrom[T any](t *Tensor, d []T, read func(s *scanner, add func(T))) error {
	want, _ := typedField(t.Type)
	n := 0
	var last T
	s := scan(t.raw)
	for s.next() {
		if s.num != want {
			continue
		}
		read(s, func(v T) {
			if n < len(d) {
				d[n] = v
			}
			n++
			last = v
		})
	}
	if s.err != nil {
		return s.err
	}
	if n > len(d) {
		return fmt.Errorf("%w: %d elements are stored", ErrFormat, n)
	}
	if n > 0 {
		for i := n; i < len(d); i++ {
			d[i] = last
		}
	}
	return nil
}
