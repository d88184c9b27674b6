package graphdef

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph"
)

// An Attr is an attribute, not decoded yet.
type Attr struct {
	Name string
	raw  []byte // AttrValue
}

// Attrs are a node's attributes. The typed readers return the default where an attribute is left out, as a SavedModel leaves out
// those with TensorFlow's default, and ErrFormat where it is of another kind.
type Attrs []Attr

func decodeAttr(entry []byte) (Attr, error) {
	var a Attr
	s := scan(entry)
	for s.next() {
		switch s.num {
		case 1:
			a.Name = s.str("attr key")
		case 2:
			a.raw = s.bytes("attr value")
		}
	}
	return a, s.err
}

// Has reports whether the attribute is there.
func (as Attrs) Has(name string) bool {
	return slices.ContainsFunc(as, func(a Attr) bool { return a.Name == name })
}

// With returns the attributes with those that refer to an argument of the function ("placeholder") replaced by what the function
// is called with, or removed.
func (as Attrs) With(call Attrs) (Attrs, error) {
	out := as
	for i, a := range as {
		ref, err := a.placeholder()
		if err != nil {
			return nil, err
		}
		if ref == "" {
			continue
		}
		if &out[0] == &as[0] {
			out = slices.Clone(as)
		}
		out[i].raw = nil
		for _, c := range call {
			if c.Name == ref {
				out[i].raw = c.raw
			}
		}
		if out[i].raw == nil {
			out[i].Name = ""
		}
	}
	return out, nil
}

func (a Attr) placeholder() (string, error) {
	name := ""
	s := scan(a.raw)
	for s.next() {
		if s.num == 9 {
			name = s.str("placeholder")
		}
	}
	if s.err != nil {
		return "", fmt.Errorf("attribute %q: %w", a.Name, s.err)
	}
	return name, nil
}

// find returns the fields of the attribute, or nil where it is left out.
func (as Attrs) find(name string) *scanner {
	for _, a := range as {
		if a.Name == name {
			return scan(a.raw)
		}
	}
	return nil
}

// Kinds of attributes are the fields of AttrValue.
const (
	kindList   = 1
	kindString = 2
	kindInt    = 3
	kindFloat  = 4
	kindBool   = 5
	kindType   = 6
	kindShape  = 7
	kindTensor = 8
	kindFunc   = 10
)

var kindNames = map[protowire.Number]string{
	kindList: "list", kindString: "string", kindInt: "int", kindFloat: "float", kindBool: "bool", kindType: "type", kindShape: "shape",
	kindTensor: "tensor", kindFunc: "func", 9: "placeholder",
}

// value returns a scanner at the value of that kind; nil where the attribute is left out.
func (as Attrs) value(name string, kind protowire.Number) (*scanner, error) {
	s := as.find(name)
	if s == nil {
		return nil, nil
	}
	other := protowire.Number(0)
	for s.next() {
		if s.num == kind {
			return s, nil
		}
		other = s.num
	}
	switch {
	case s.err != nil:
		return nil, fmt.Errorf("attribute %q: %w", name, s.err)
	case other == 0: // zero, which protobuf may leave out
		return &scanner{num: kind, typ: zeroType(kind)}, nil
	}
	return nil, fmt.Errorf("%w: attribute %q is of kind %s, not %s", ErrFormat, name, kindNames[other], kindNames[kind])
}

func zeroType(kind protowire.Number) protowire.Type {
	switch kind {
	case kindInt, kindBool, kindType:
		return protowire.VarintType
	case kindFloat:
		return protowire.Fixed32Type
	}
	return protowire.BytesType
}

func scalarAttr[T any](as Attrs, name string, kind protowire.Number, def T, read func(*scanner) T) (T, error) {
	s, err := as.value(name, kind)
	if s == nil || err != nil {
		return def, err
	}
	v := read(s)
	if s.err != nil {
		return def, fmt.Errorf("attribute %q: %w", name, s.err)
	}
	return v, nil
}

// Int returns an integer.
func (as Attrs) Int(name string, def int64) (int64, error) {
	return scalarAttr(as, name, kindInt, def, func(s *scanner) int64 { return s.int("i") })
}

// Bool returns a boolean.
func (as Attrs) Bool(name string, def bool) (bool, error) {
	return scalarAttr(as, name, kindBool, def, func(s *scanner) bool { return s.int("b") != 0 })
}

// Float returns a float.
func (as Attrs) Float(name string, def float32) (float32, error) {
	return scalarAttr(as, name, kindFloat, def, func(s *scanner) float32 {
		if !s.want("f", protowire.Fixed32Type) {
			return 0
		}
		return math.Float32frombits(uint32(s.u))
	})
}

// String returns a string.
func (as Attrs) String(name, def string) (string, error) {
	return scalarAttr(as, name, kindString, def, func(s *scanner) string { return s.str("s") })
}

// Type returns a data type.
func (as Attrs) Type(name string, def DataType) (DataType, error) {
	return scalarAttr(as, name, kindType, def, func(s *scanner) DataType { return DataType(s.int("type")) })
}

// Shape returns a shape, and whether the attribute is there. A length or rank that is not known stays so.
func (as Attrs) Shape(name string) (graph.Shape, bool, error) {
	s, err := as.value(name, kindShape)
	if s == nil || err != nil {
		return nil, false, err
	}
	shape, err := decodeShape(s.bytes("shape"))
	if err != nil {
		return nil, false, fmt.Errorf("attribute %q: %w", name, err)
	}
	return shape, true, s.err
}

// Tensor returns a tensor that is not decoded yet, or nil.
func (as Attrs) Tensor(name string) (*Tensor, error) {
	s, err := as.value(name, kindTensor)
	if s == nil || err != nil {
		return nil, err
	}
	t, err := decodeTensor(s.bytes("tensor"))
	if err != nil {
		return nil, fmt.Errorf("attribute %q: %w", name, err)
	}
	return t, s.err
}

// A Call is the function that an attribute names, with the attributes it is called with.
type Call struct {
	Name  string
	Attrs Attrs
}

// Func returns a function, which has no name where the attribute is left out.
func (as Attrs) Func(name string) (Call, error) {
	s, err := as.value(name, kindFunc)
	if s == nil || err != nil {
		return Call{}, err
	}
	return decodeCall(name, s.bytes("func"))
}

func decodeCall(name string, data []byte) (Call, error) {
	var c Call
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			c.Name = s.str("name")
		case 2:
			a, err := decodeAttr(s.bytes("attr"))
			if err != nil {
				return c, fmt.Errorf("attribute %q: %w", name, err)
			}
			c.Attrs = append(c.Attrs, a)
		}
	}
	if s.err != nil {
		return c, fmt.Errorf("attribute %q: %w", name, s.err)
	}
	return c, nil
}

// list calls item at each field of that kind in a list; it returns whether the attribute is there.
func (as Attrs) list(name string, kind protowire.Number, item func(*scanner)) (bool, error) {
	s, err := as.value(name, kindList)
	if s == nil || err != nil {
		return false, err
	}
	l := scan(s.bytes("list"))
	for l.next() {
		if l.num == kind {
			item(l)
		} else {
			return true, fmt.Errorf("%w: attribute %q has elements of field %d, not %d", ErrFormat, name, l.num, kind)
		}
	}
	if l.err != nil {
		return true, fmt.Errorf("attribute %q: %w", name, l.err)
	}
	return true, nil
}

// Ints returns a list of integers.
func (as Attrs) Ints(name string, def []int64) ([]int64, error) {
	out := []int64{}
	there, err := as.list(name, 3, func(s *scanner) { s.varints("i", func(v uint64) { out = append(out, int64(v)) }) })
	if !there {
		return def, err
	}
	return out, err
}

// Types returns a list of data types.
func (as Attrs) Types(name string) ([]DataType, error) {
	var out []DataType
	_, err := as.list(name, 6, func(s *scanner) { s.varints("type", func(v uint64) { out = append(out, DataType(v)) }) })
	return out, err
}

// Strings returns a list of strings.
func (as Attrs) Strings(name string) ([]string, error) {
	var out []string
	_, err := as.list(name, 2, func(s *scanner) { out = append(out, s.str("s")) })
	return out, err
}

// Shapes returns a list of shapes.
func (as Attrs) Shapes(name string) ([]graph.Shape, error) {
	var out []graph.Shape
	_, err := as.list(name, 7, func(s *scanner) {
		shape, err := decodeShape(s.bytes("shape"))
		if err != nil {
			s.err = err
		}
		out = append(out, shape)
	})
	return out, err
}

// Funcs returns a list of functions.
func (as Attrs) Funcs(name string) ([]Call, error) {
	var out []Call
	_, err := as.list(name, 9, func(s *scanner) {
		c, err := decodeCall(name, s.bytes("func"))
		if err != nil {
			s.err = err
		}
		out = append(out, c)
	})
	return out, err
}

// maxRank is the largest number of dimensions that TensorFlow has.
const maxRank = 254

// decodeShape reads a TensorShapeProto; nil is of unknown rank.
func decodeShape(data []byte) (graph.Shape, error) {
	shape := graph.Shape{}
	unknown := false
	s := scan(data)
	for s.next() {
		switch s.num {
		case 2:
			size := int64(0)
			d := scan(s.bytes("dim"))
			for d.next() {
				if d.num == 1 {
					size = d.int("size")
				}
			}
			if d.err != nil {
				return nil, d.err
			}
			if len(shape) == maxRank {
				return nil, fmt.Errorf("%w: a shape of more than %d dimensions", ErrFormat, maxRank)
			}
			if size < -1 {
				return nil, fmt.Errorf("%w: dimension %d of a shape is %d", ErrFormat, len(shape), size)
			}
			shape = append(shape, graph.Dim{Size: size})
		case 3:
			unknown = s.int("unknown_rank") != 0
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	if unknown {
		return nil, nil
	}
	return shape, nil
}

// FuncAttr makes an attribute that names a function.
func FuncAttr(name, function string) Attr {
	call := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), function)
	return Attr{Name: name, raw: protowire.AppendBytes(protowire.AppendTag(nil, kindFunc, protowire.BytesType), call)}
}
