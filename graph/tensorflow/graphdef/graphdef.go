// Package graphdef reads TensorFlow's graph files: GraphDef, MetaGraphDef and SavedModel, in protobuf's binary and text forms.
// Checkpoints are left to package checkpoint, and what operators mean to package tensorflow.
//
// A graph is a list of nodes. A node has a name, an operator, inputs and attributes. An input is "node" or "node:output" for a
// tensor, "^node" for mere order, and "node:argument:index" in the body of a function. Attributes stay in the bytes that were
// read and are decoded when they are asked for, so that reading a graph costs little more than its names, and weights are not copied.
//
// Field numbers are those of TensorFlow's graph.proto, node_def.proto, attr_value.proto, tensor.proto, function.proto,
// op_def.proto, meta_graph.proto, saved_model.proto and saved_object_graph.proto.
package graphdef

import (
	"errors"
	"fmt"
	"unsafe"
)

var (
	// ErrFormat says that the bytes are not a valid file of TensorFlow's: truncated, of another format, or contradictory. The
	// message says where.
	ErrFormat = errors.New("not a valid TensorFlow file")
	// ErrUnsupported says that a valid file uses what cannot be read here; the message names it.
	ErrUnsupported = errors.New("not supported")
)

// A Graph is a GraphDef: nodes, and the library of functions that they call.
type Graph struct {
	Nodes     []*Node
	Functions []*Function
	// Producer is the version of what wrote the graph, and MinConsumer what it asks of its readers; 0 where they are left out.
	Producer, MinConsumer int64
}

// A Node applies an operator, or calls the function of that name.
type Node struct {
	Name, Op, Device string
	Inputs           []string
	Attrs            Attrs
}

// A Function is a FunctionDef.
type Function struct {
	Name            string
	Inputs, Outputs []Arg
	Nodes           []*Node
	// Return has the tensor that each output is, as "node:argument:index" or the name of an input.
	Return map[string]string
	// ControlReturn has the nodes that run in any case, for what they do.
	ControlReturn []string
	Attrs         Attrs
}

// An Arg is an input or output of a function, or of an operator's definition.
type Arg struct {
	Name string
	// Type is the element type where it is fixed; TypeAttr names the attribute that has it otherwise.
	Type     DataType
	TypeAttr string
	// NumberAttr names the attribute that says how many tensors the argument is, TypeListAttr the one that lists their types.
	NumberAttr, TypeListAttr string
}

// budget counts what decoding allocates beside the bytes that were read, so that a small file cannot ask for much.
type budget struct{ left int }

func newBudget(data []byte) *budget { return &budget{left: 3*len(data) + 16<<20} }

func (b *budget) charge(n int) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("%w: it has more parts than its size can justify", ErrFormat)
	}
	return nil
}

const (
	nodeCost   = int(unsafe.Sizeof(Node{})) + 8
	stringCost = int(unsafe.Sizeof(""))
	attrCost   = int(unsafe.Sizeof(Attr{}))
)

// DecodeGraph reads a GraphDef in its binary form. The graph keeps data, which must not change.
func DecodeGraph(data []byte) (*Graph, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	return decodeGraph(data, newBudget(data))
}

func decodeGraph(data []byte, mem *budget) (*Graph, error) {
	g := &Graph{}
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			n, err := decodeNode(s.bytes("node"), mem)
			if err != nil {
				return nil, fmt.Errorf("node %d: %w", len(g.Nodes), err)
			}
			g.Nodes = append(g.Nodes, n)
		case 2:
			if err := g.library(s.bytes("library"), mem); err != nil {
				return nil, fmt.Errorf("library: %w", err)
			}
		case 3: // before there were versions
			g.Producer = max(g.Producer, s.int("version"))
		case 4:
			v := scan(s.bytes("versions"))
			for v.next() {
				switch v.num {
				case 1:
					g.Producer = v.int("producer")
				case 2:
					g.MinConsumer = v.int("min_consumer")
				}
			}
			if v.err != nil {
				return nil, fmt.Errorf("versions: %w", v.err)
			}
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return g, nil
}

func (g *Graph) library(data []byte, mem *budget) error {
	s := scan(data)
	for s.next() {
		if s.num != 1 {
			continue
		}
		f, err := decodeFunction(s.bytes("function"), mem)
		if err != nil {
			return fmt.Errorf("function %d: %w", len(g.Functions), err)
		}
		g.Functions = append(g.Functions, f)
	}
	return s.err
}

func decodeNode(data []byte, mem *budget) (*Node, error) {
	n := &Node{}
	if err := mem.charge(nodeCost + len(data)/2); err != nil {
		return nil, err
	}
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			n.Name = s.str("name")
		case 2:
			n.Op = s.str("op")
		case 3:
			if s.err = mem.charge(2 * stringCost); s.err == nil {
				n.Inputs = append(n.Inputs, s.str("input"))
			}
		case 4:
			n.Device = s.str("device")
		case 5:
			a, err := decodeAttr(s.bytes("attr"))
			if err == nil {
				err = mem.charge(2 * attrCost)
			}
			if err != nil {
				return nil, fmt.Errorf("%q (%s): %w", n.Name, n.Op, err)
			}
			n.Attrs = append(n.Attrs, a)
		}
	}
	if s.err != nil {
		return nil, fmt.Errorf("%q (%s): %w", n.Name, n.Op, s.err)
	}
	return n, nil
}

// An Op is an operator's definition, as far as it says how arguments and tensors go together.
type Op struct {
	Name            string
	Inputs, Outputs []Arg
}

func decodeOp(data []byte, mem *budget) (Op, error) {
	var op Op
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			op.Name = s.str("name")
		case 2, 3:
			a, err := decodeArg(s.bytes("arg"))
			if err == nil {
				err = mem.charge(2 * int(unsafe.Sizeof(Arg{})))
			}
			if err != nil {
				return op, fmt.Errorf("%q: %w", op.Name, err)
			}
			if s.num == 2 {
				op.Inputs = append(op.Inputs, a)
			} else {
				op.Outputs = append(op.Outputs, a)
			}
		}
	}
	return op, s.err
}

func decodeArg(data []byte) (Arg, error) {
	var a Arg
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			a.Name = s.str("name")
		case 3:
			a.Type = DataType(s.int("type"))
		case 4:
			a.TypeAttr = s.str("type_attr")
		case 5:
			a.NumberAttr = s.str("number_attr")
		case 6:
			a.TypeListAttr = s.str("type_list_attr")
		}
	}
	return a, s.err
}
