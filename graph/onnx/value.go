package onnx

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// appendValue reads a ValueInfoProto.
func (d *decoder) appendValue(b []byte, to []graph.Value, what string) ([]graph.Value, error) {
	v := graph.Value{}
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			v.Name = s.word("name", d)
		case 2:
			if err := d.typ(s.bytes("type"), &v); err != nil {
				return nil, at(err, "%s", place(what, len(to), text(b, 1)))
			}
		case 3:
			v.Doc = s.str("doc_string")
		}
	}
	if s.err != nil {
		return nil, at(s.err, "%s", place(what, len(to), v.Name))
	}
	return append(to, v), nil
}

// typ reads a TypeProto into v.
func (d *decoder) typ(b []byte, v *graph.Value) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	s := scan(b)
	for s.next() {
		var err error
		switch s.num {
		case 1:
			err = d.tensorType(s.bytes("tensor_type"), v)
		case 4:
			err = d.container(s.bytes("sequence_type"), "sequence", v)
		case 5:
			err = d.mapType(s.bytes("map_type"), v)
		case 7:
			err = fmt.Errorf("%w: value of an opaque type", ErrUnsupported)
		case 8:
			err = fmt.Errorf("%w: value of a sparse tensor type", ErrUnsupported)
		case 9:
			err = d.container(s.bytes("optional_type"), "optional", v)
		}
		if err != nil {
			return err
		}
	}
	return s.err
}

// container reads the element type of a sequence or an optional.
func (d *decoder) container(b []byte, kind string, v *graph.Value) error {
	s := scan(b)
	for s.next() {
		if s.num == 1 {
			if err := d.typ(s.bytes("elem_type"), v); err != nil {
				return at(err, "%s", kind)
			}
		}
	}
	if v.Container != "" {
		kind += "(" + v.Container + ")"
	}
	v.Container = kind
	return s.err
}

// mapType reads the type of a map, whose values are tensors.
func (d *decoder) mapType(b []byte, v *graph.Value) error {
	s := scan(b)
	key := tensor.Invalid
	for s.next() {
		var err error
		switch s.num {
		case 1:
			key, err = dtypeOf(s.int("key_type"))
		case 2:
			err = d.typ(s.bytes("value_type"), v)
		}
		if err != nil {
			return at(err, "map")
		}
	}
	if s.err == nil && (v.Container != "" || key == tensor.Invalid) {
		return fmt.Errorf("%w: a map of %v to %q", ErrUnsupported, key, v.Container)
	}
	v.Container = graph.MapOf(key)
	return s.err
}

func (d *decoder) tensorType(b []byte, v *graph.Value) error {
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			elem := s.int("elem_type")
			if elem == 0 {
				continue
			}
			dtype, err := dtypeOf(elem)
			if err != nil {
				return err
			}
			v.DType = dtype
		case 2:
			shape, err := d.shape(s.bytes("shape"))
			if err != nil {
				return at(err, "shape")
			}
			v.Shape = shape
		}
	}
	return s.err
}

func (d *decoder) shape(b []byte) (graph.Shape, error) {
	n := count(b, 1)[0]
	if n > graph.MaxRank {
		return nil, fmt.Errorf("%w: %d dimensions, at most %d are read", ErrUnsupported, n, graph.MaxRank)
	}
	if err := d.charge(n * 24); err != nil {
		return nil, err
	}
	shape := make(graph.Shape, 0, n)
	s := scan(b)
	for s.next() {
		if s.num != 1 {
			continue
		}
		dim := graph.Dim{Size: -1}
		f := scan(s.bytes("dim"))
		for f.next() {
			switch f.num {
			case 1:
				// Some exporters write a negative length where it is not known.
				dim = graph.Dim{Size: max(f.int("dim_value"), -1)}
			case 2:
				dim = graph.Dim{Size: -1, Symbol: symbol(f.str("dim_param"))}
			}
		}
		if f.err != nil {
			return nil, at(f.err, "dim[%d]", len(shape))
		}
		shape = append(shape, dim)
	}
	return shape, s.err
}

// symbol is the name of a dimension; empty for what tools write where a dimension has none. Two of those need not be equal.
func symbol(name string) string {
	switch name = strings.TrimSpace(name); strings.ToLower(name) {
	case "?", "-1", "*", "none", "null", "unknown":
		return ""
	}
	return name
}

func dtypeOf(v int64) (tensor.DType, error) {
	if v <= 0 || v > 255 || !tensor.DType(v).Valid() {
		return tensor.Invalid, fmt.Errorf("%w: unknown element type %d", ErrFormat, v)
	}
	return tensor.DType(v), nil
}
