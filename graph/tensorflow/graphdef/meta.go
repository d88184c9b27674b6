package graphdef

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/graph"
)

// A MetaGraph is a MetaGraphDef: a graph with its signatures, and how its variables were saved.
type MetaGraph struct {
	Tags       []string
	TensorFlow string // the version that wrote it
	// Ops are definitions of the operators in the graph, where the file has them.
	Ops        []Op
	Graph      *Graph
	Saver      *Saver
	Signatures map[string]Signature
	Objects    *ObjectGraph
	// Assets are files in the model's folder assets, by the tensor that their name is fed to.
	Assets map[string]string
	// Trainable are the variables that training changed, as tensors, such as w:0; nil where the file does not say (TensorFlow 2 says it of the objects).
	Trainable []string
}

// A Saver says by which tensors and nodes the graph saves and restores its variables.
type Saver struct{ Filename, Save, Restore string }

// A Signature names what a model takes and gives.
type Signature struct {
	Method          string
	Inputs, Outputs map[string]TensorInfo
	// Defaults are inputs that may be left out.
	Defaults map[string]*Tensor
}

// A TensorInfo is a tensor of the graph. Name is empty for what is no plain tensor; Kind says what it is then.
type TensorInfo struct {
	Name, Kind string
	Type       DataType
	Shape      graph.Shape
}

// An ObjectGraph says which object of the Python program that was saved is what. Node 0 is the root.
type ObjectGraph struct {
	Nodes []Object
	// Bound has for each function the nodes whose values it takes after its arguments.
	Bound map[string][]int
}

// An Object is a node of the object graph.
type Object struct {
	Children []Child
	// Kind is "variable", "asset", "function", "constant", "resource", "user" and so on.
	Kind string
	// Variable is the variable's name, of those that are variables, and Trainable says that training changed it.
	Variable  string
	Trainable bool
}

// A Child is an edge to another node.
type Child struct {
	Name string
	Node int
}

// DecodeMeta reads a MetaGraphDef in its binary form. It keeps data, which must not change.
func DecodeMeta(data []byte) (*MetaGraph, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	m, err := decodeMeta(data, newBudget(data))
	if err != nil {
		return nil, err
	}
	if m.Graph == nil {
		return nil, fmt.Errorf("%w: a meta graph without a graph", ErrFormat)
	}
	return m, nil
}

// DecodeSavedModel reads a SavedModel's file in its binary form. It keeps data, which must not change.
func DecodeSavedModel(data []byte) ([]*MetaGraph, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	mem := newBudget(data)
	var all []*MetaGraph
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			if v := s.int("saved_model_schema_version"); v > 1 {
				return nil, fmt.Errorf("%w: a SavedModel of schema version %d", ErrUnsupported, v)
			}
		case 2:
			m, err := decodeMeta(s.bytes("meta_graphs"), mem)
			if err != nil {
				return nil, fmt.Errorf("meta graph %d: %w", len(all), err)
			}
			if m.Graph == nil {
				return nil, fmt.Errorf("meta graph %d: %w: it has no graph", len(all), ErrFormat)
			}
			all = append(all, m)
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: a SavedModel without a meta graph", ErrFormat)
	}
	return all, nil
}

func decodeMeta(data []byte, mem *budget) (*MetaGraph, error) {
	m := &MetaGraph{Signatures: map[string]Signature{}, Assets: map[string]string{}}
	s := scan(data)
	var err error
	for err == nil && s.next() {
		switch s.num {
		case 1:
			err = m.info(s.bytes("meta_info_def"), mem)
		case 2:
			m.Graph, err = decodeGraph(s.bytes("graph_def"), mem)
		case 3:
			m.Saver, err = decodeSaver(s.bytes("saver_def"))
		case 4:
			if key, value := s.entry("collection_def"); key == "trainable_variables" {
				if m.Trainable, err = decodeCollection(value, mem); err != nil {
					err = fmt.Errorf("collection %q: %w", key, err)
				}
			}
		case 5:
			if err = mem.charge(512); err != nil {
				break
			}
			key, value := s.entry("signature_def")
			if m.Signatures[key], err = decodeSignature(value, mem); err != nil {
				err = fmt.Errorf("signature %q: %w", key, err)
			}
		case 6:
			if err = mem.charge(128); err == nil {
				err = m.asset(s.bytes("asset_file_def"))
			}
		case 7:
			if m.Objects, err = decodeObjects(s.bytes("object_graph_def"), mem); err != nil {
				err = fmt.Errorf("object graph: %w", err)
			}
		}
	}
	if err == nil {
		err = s.err
	}
	return m, err
}

func (m *MetaGraph) info(data []byte, mem *budget) error {
	s := scan(data)
	for s.next() {
		switch s.num {
		case 2:
			ops := scan(s.bytes("stripped_op_list"))
			for ops.next() {
				if ops.num != 1 {
					continue
				}
				op, err := decodeOp(ops.bytes("op"), mem)
				if err == nil {
					err = mem.charge(128)
				}
				if err != nil {
					return fmt.Errorf("operator list: %w", err)
				}
				m.Ops = append(m.Ops, op)
			}
			if ops.err != nil {
				return fmt.Errorf("operator list: %w", ops.err)
			}
		case 4:
			if err := mem.charge(2 * stringCost); err != nil {
				return err
			}
			m.Tags = append(m.Tags, s.str("tags"))
		case 5:
			m.TensorFlow = s.str("tensorflow_version")
		}
	}
	return s.err
}

func (m *MetaGraph) asset(data []byte) error {
	var info TensorInfo
	file := ""
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			var err error
			if info, err = decodeTensorInfo(s.bytes("tensor_info")); err != nil {
				return err
			}
		case 2:
			file = s.str("filename")
		}
	}
	m.Assets[info.Name] = file
	return s.err
}

func decodeSaver(data []byte) (*Saver, error) {
	v := &Saver{}
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			v.Filename = s.str("filename_tensor_name")
		case 2:
			v.Save = s.str("save_tensor_name")
		case 3:
			v.Restore = s.str("restore_op_name")
		}
	}
	return v, s.err
}

func decodeSignature(data []byte, mem *budget) (Signature, error) {
	sig := Signature{Inputs: map[string]TensorInfo{}, Outputs: map[string]TensorInfo{}, Defaults: map[string]*Tensor{}}
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1, 2:
			if err := mem.charge(256); err != nil {
				return sig, err
			}
			key, value := s.entry("tensor")
			info, err := decodeTensorInfo(value)
			if err != nil {
				return sig, fmt.Errorf("%q: %w", key, err)
			}
			if s.num == 1 {
				sig.Inputs[key] = info
			} else {
				sig.Outputs[key] = info
			}
		case 3:
			sig.Method = s.str("method_name")
		case 4:
			if err := mem.charge(256); err != nil {
				return sig, err
			}
			key, value := s.entry("defaults")
			t, err := decodeTensor(value)
			if err != nil {
				return sig, fmt.Errorf("default of %q: %w", key, err)
			}
			sig.Defaults[key] = t
		}
	}
	return sig, s.err
}

func decodeTensorInfo(data []byte) (TensorInfo, error) {
	var info TensorInfo
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			info.Name = s.str("name")
		case 2:
			info.Type = DataType(s.int("dtype"))
		case 3:
			var err error
			if info.Shape, err = decodeShape(s.bytes("tensor_shape")); err != nil {
				return info, err
			}
		case 4:
			info.Kind = "a sparse tensor"
		case 5:
			info.Kind = "a composite tensor"
		}
	}
	return info, s.err
}

// decodeCollection reads the names of a collection of variables: VariableDefs as bytes, or, of the oldest graphs, the names of their tensors.
func decodeCollection(data []byte, mem *budget) (names []string, err error) {
	add := func(name string) {
		if err == nil {
			err = mem.charge(2 * stringCost)
		}
		if err == nil && name != "" {
			names = append(names, name)
		}
	}
	s := scan(data)
	for err == nil && s.next() {
		switch s.num {
		case 1:
			for v := scan(s.bytes("node_list")); err == nil && v.next(); {
				if v.num == 1 {
					add(v.str("value"))
				}
			}
		case 2:
			for v := scan(s.bytes("bytes_list")); err == nil && v.next(); {
				if v.num != 1 {
					continue
				}
				d := scan(v.bytes("value"))
				for err == nil && d.next() {
					if d.num == 1 {
						add(d.str("variable_name"))
					}
				}
				err = errors.Join(err, d.err)
			}
		}
	}
	return names, errors.Join(err, s.err)
}

// objectKinds are the fields of SavedObject that say what it is.
var objectKinds = map[int32]string{
	4: "user", 5: "asset", 6: "function", 7: "variable", 8: "concrete function", 9: "constant", 10: "resource", 12: "captured tensor",
}

func decodeObjects(data []byte, mem *budget) (*ObjectGraph, error) {
	g := &ObjectGraph{Bound: map[string][]int{}}
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			o, err := decodeObject(s.bytes("nodes"), mem)
			if err != nil {
				return nil, fmt.Errorf("node %d: %w", len(g.Nodes), err)
			}
			g.Nodes = append(g.Nodes, o)
		case 2:
			if err := mem.charge(128); err != nil {
				return nil, err
			}
			name, value := s.entry("concrete_functions")
			var bound []int
			f := scan(value)
			for f.next() {
				if f.num == 2 {
					f.varints("bound_inputs", func(v uint64) { bound = append(bound, int(int32(v))) })
				}
			}
			if f.err == nil {
				f.err = mem.charge(16 * len(bound))
			}
			if f.err != nil {
				return nil, fmt.Errorf("function %q: %w", name, f.err)
			}
			g.Bound[name] = bound
		}
	}
	return g, s.err
}

func decodeObject(data []byte, mem *budget) (Object, error) {
	var o Object
	if err := mem.charge(160); err != nil {
		return o, err
	}
	s := scan(data)
	for s.next() {
		if kind, ok := objectKinds[int32(s.num)]; ok {
			o.Kind = kind
		}
		switch s.num {
		case 1:
			if err := mem.charge(64); err != nil {
				return o, err
			}
			var c Child
			e := scan(s.bytes("children"))
			for e.next() {
				switch e.num {
				case 1:
					c.Node = int(int32(e.int("node_id")))
				case 2:
					c.Name = e.str("local_name")
				}
			}
			if e.err != nil {
				return o, e.err
			}
			o.Children = append(o.Children, c)
		case 7:
			v := scan(s.bytes("variable"))
			for v.next() {
				switch v.num {
				case 3:
					o.Trainable = v.int("trainable") != 0
				case 6:
					o.Variable = v.str("name")
				}
			}
			if v.err != nil {
				return o, v.err
			}
		}
	}
	return o, s.err
}
