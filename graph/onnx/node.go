package onnx

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// nodeName returns the name of a node, or else its operator, for messages.
func nodeName(b []byte) string {
	if name := text(b, 3); name != "" {
		return name
	}
	return text(b, 4)
}

// node reads a NodeProto into n.
func (d *decoder) node(b []byte, n *graph.Node) error {
	overload := ""
	c := count(b, 1, 2, 5)
	if err := d.charge((c[0] + c[1]) * nameCost); err != nil {
		return err
	}
	n.Inputs, n.Outputs = d.list(c[0]), d.list(c[1])
	if c[2] > 0 {
		if err := d.charge(64 + c[2]*80); err != nil {
			return err
		}
		n.Attrs = make(graph.Attrs, c[2])
	}
	i := 0
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			n.Inputs = append(n.Inputs, s.word("input", d))
		case 2:
			n.Outputs = append(n.Outputs, s.word("output", d))
		case 3:
			n.Name = s.word("name", d)
		case 4:
			n.OpType = s.word("op_type", d)
		case 5:
			ab := s.bytes("attribute")
			name, v, err := d.attribute(ab)
			if err != nil {
				return at(err, "%s", place("attribute", i, text(ab, 1)))
			}
			if n.Attrs.Has(name) {
				return fmt.Errorf("%w: two attributes %q", ErrFormat, name)
			}
			n.Attrs[name] = v
			i++
		case 6:
			n.Doc = s.str("doc_string")
		case 7:
			n.Domain = canonical(s.word("domain", d))
		case 8:
			overload = s.str("overload")
		}
	}
	if s.err != nil {
		return s.err
	}
	if n.OpType == "" {
		return fmt.Errorf("%w: op_type is missing", ErrFormat)
	}
	n.OpType = overloaded(n.OpType, overload)
	return nil
}

// distinct makes the names of nodes unique, which ONNX asks for and some exporters do not keep: the second of a name
// gets a number. Nothing refers to nodes by name.
func distinct(nodes []*graph.Node) {
	named := 0
	for _, n := range nodes {
		if n.Name != "" {
			named++
		}
	}
	if named < 2 {
		return
	}
	used := make(map[string]bool, named)
	for _, n := range nodes {
		if n.Name != "" {
			used[n.Name] = true
		}
	}
	if len(used) == named {
		return
	}
	seen := make(map[string]int, len(used))
	for _, n := range nodes {
		if n.Name == "" {
			continue
		}
		if seen[n.Name]++; seen[n.Name] == 1 {
			continue
		}
		base := n.Name
		for used[n.Name] {
			n.Name = base + "_" + strconv.Itoa(seen[base])
			seen[base]++
		}
		used[n.Name] = true
	}
}

// attrKinds are the names of AttributeProto's types by number.
var attrKinds = [...]string{
	1: "FLOAT", 2: "INT", 3: "STRING", 4: "TENSOR", 5: "GRAPH", 6: "FLOATS", 7: "INTS", 8: "STRINGS", 9: "TENSORS",
	10: "GRAPHS", 11: "SPARSE_TENSOR", 12: "SPARSE_TENSORS", 13: "TYPE_PROTO", 14: "TYPE_PROTOS",
}

// kindOf maps the field numbers of AttributeProto's values to its types, for files that leave the type out.
var kindOf = map[protowire.Number]int64{
	2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9, 11: 10, 14: 13, 15: 14, 22: 11, 23: 12,
}

// attrFields are the values of one AttributeProto.
type attrFields struct {
	f       float32
	i       int64
	s       string
	t       *tensor.Tensor
	g       *graph.Graph
	tp      *graph.Value
	floats  []float32
	ints    []int64
	strings []string
	tensors []*tensor.Tensor
	graphs  []*graph.Graph
}

// attribute reads an AttributeProto: its name and its value as graph.Attrs has it.
func (d *decoder) attribute(b []byte) (string, any, error) {
	var name, ref string
	var kind, given int64
	var v attrFields
	n := count(b, 9, 10, 11)
	if err := d.charge(n[0]*nameCost + (n[1]+n[2])*8); err != nil {
		return "", nil, err
	}
	v.strings, v.tensors, v.graphs = room[string](n[0]), room[*tensor.Tensor](n[1]), room[*graph.Graph](n[2])
	s := scan(b)
	for s.next() {
		if k, ok := kindOf[s.num]; ok && given == 0 {
			given = k
		}
		switch s.num {
		case 1:
			name = s.word("name", d)
		case 20:
			kind = s.int("type")
		case 21:
			ref = s.str("ref_attr_name")
		default:
			if err := d.attrField(s, &v); err != nil {
				return "", nil, err
			}
		}
	}
	switch {
	case s.err != nil:
		return "", nil, s.err
	case name == "":
		return "", nil, fmt.Errorf("%w: it has no name", ErrFormat)
	case kind < 0 || kind >= int64(len(attrKinds)):
		return "", nil, fmt.Errorf("%w: type %d", ErrFormat, kind)
	case kind != 0 && given != 0 && kind != given:
		return "", nil, fmt.Errorf("%w: its type is %s, its value %s", ErrFormat, attrKinds[kind], attrKinds[given])
	case kind == 0:
		kind = given
	}
	if ref != "" {
		if d.kinds == nil {
			return "", nil, fmt.Errorf("%w: a reference to attribute %q outside a function", ErrFormat, ref)
		}
		if kind != 0 {
			d.kinds[ref] = attrKinds[kind]
		}
		return name, graph.AttrRef(ref), nil
	}
	value, err := v.value(kind)
	return name, value, err
}

// value returns what belongs to the kind. A value that is left out is zero, as in protobuf.
func (v *attrFields) value(kind int64) (any, error) {
	switch kind {
	case 1:
		return v.f, nil
	case 2:
		return v.i, nil
	case 3:
		return v.s, nil
	case 4:
		if v.t != nil {
			return v.t, nil
		}
	case 5:
		if v.g != nil {
			return v.g, nil
		}
	case 6:
		return orEmpty(v.floats), nil
	case 7:
		return orEmpty(v.ints), nil
	case 8:
		return orEmpty(v.strings), nil
	case 9:
		return orEmpty(v.tensors), nil
	case 10:
		return orEmpty(v.graphs), nil
	case 13:
		if v.tp != nil {
			return *v.tp, nil
		}
	case 0:
		return nil, fmt.Errorf("%w: it has neither type nor value", ErrFormat)
	default:
		return nil, fmt.Errorf("%w: attribute of type %s", ErrUnsupported, attrKinds[kind])
	}
	return nil, fmt.Errorf("%w: a %s without a value", ErrFormat, attrKinds[kind])
}

// room makes an empty slice for n, or nil for none.
func room[T any](n int) []T {
	if n == 0 {
		return nil
	}
	return make([]T, 0, n)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return slices.Clip(s)
}

// attrField reads one field of AttributeProto that holds a value.
func (d *decoder) attrField(s *scanner, v *attrFields) error {
	var err error
	switch s.num {
	case 2:
		v.f = s.float("f")
	case 3:
		v.i = s.int("i")
	case 4:
		v.s = s.str("s")
	case 5:
		if v.t != nil {
			return fmt.Errorf("%w: two tensors", ErrFormat)
		}
		_, v.t, err = d.tensor(s.bytes("t"))
	case 6:
		if v.g != nil {
			return fmt.Errorf("%w: two graphs", ErrFormat)
		}
		v.g, err = d.subgraph(s.bytes("g"))
	case 7:
		v.floats = s.floats("floats", d, v.floats)
	case 8:
		v.ints = s.varints("ints", d, v.ints)
	case 9:
		v.strings = append(v.strings, s.str("strings"))
	case 10:
		var t *tensor.Tensor
		if _, t, err = d.tensor(s.bytes("tensors")); err != nil {
			return at(err, "tensors[%d]", len(v.tensors))
		}
		v.tensors = append(v.tensors, t)
	case 11:
		var g *graph.Graph
		if g, err = d.subgraph(s.bytes("graphs")); err != nil {
			return at(err, "graphs[%d]", len(v.graphs))
		}
		v.graphs = append(v.graphs, g)
	case 14:
		tp := &graph.Value{}
		if err = d.typ(s.bytes("tp"), tp); err == nil {
			v.tp = tp
		}
	}
	return err
}

func (d *decoder) subgraph(b []byte) (*graph.Graph, error) {
	if err := d.charge(graphCost); err != nil {
		return nil, err
	}
	g := &graph.Graph{}
	if err := d.graph(b, g); err != nil {
		return nil, at(err, "graph")
	}
	return g, nil
}
