package tensorflow

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// A variable is one of the graph's.
type variable struct {
	node  *graphdef.Node // VarHandleOp, Variable or VariableV2
	name  string         // its own: shared_name, or the node's
	dtype graphdef.DataType
	shape graph.Shape
	value *value // once it was read
}

// How a variable's key in the checkpoint was found.
const (
	byObjects = "the object graph"
	byRestore = "the restore operators"
	byName    = "their names"
)

// key is where a variable's value is: a tensor of the checkpoint, or a slice of it.
type key struct {
	name  string
	slice *checkpoint.Slice // nil for all of it
}

// variables finds the values of a graph's variables.
type variables struct {
	from     *checkpoint.Checkpoint // nil where there is none
	fallback string                 // what to say then
	all      map[string]*variable   // by node
	objects  map[string]key         // by node
	restores map[string]key         // by node
	found    map[string]int         // how many were found how
	// trainable are those that training changed, by node; nil where the file does not say.
	trainable map[string]bool
}

// collectVariables lists the variables of a graph, with where the object graph and the restore operators say that they are.
func collectVariables(g *graphdef.Graph, meta *graphdef.MetaGraph, from *checkpoint.Checkpoint) (*variables, error) {
	vs := &variables{from: from, all: map[string]*variable{}, objects: map[string]key{}, restores: map[string]key{}, found: map[string]int{}}
	for _, n := range g.Nodes {
		if !isVariable(n.Op) {
			continue
		}
		v := &variable{node: n, name: n.Name}
		var err, err2, err3 error
		v.dtype, err = n.Attrs.Type("dtype", graphdef.Float)
		v.shape, _, err2 = n.Attrs.Shape("shape")
		shared, err3 := n.Attrs.String("shared_name", "")
		if err := errors.Join(err, err2, err3); err != nil {
			return nil, fmt.Errorf("%w: variable %q: %w", ErrInvalid, n.Name, err)
		}
		if shared != "" && n.Op == "VarHandleOp" {
			v.name = shared
		}
		vs.all[n.Name] = v
	}
	if len(vs.all) == 0 {
		return vs, nil
	}
	nodes := index(g.Nodes)
	if err := vs.collectRestores(g, nodes); err != nil {
		return nil, err
	}
	if meta != nil {
		vs.collectTrainable(g, meta)
	}
	if meta != nil && meta.Objects != nil && from != nil {
		if err := vs.collectObjects(g, meta.Objects); err != nil {
			return nil, err
		}
	}
	return vs, nil
}

func isVariable(op string) bool { return op == "VarHandleOp" || op == "VariableV2" || op == "Variable" }

// collectObjects goes from the node that a function binds to the same object of the checkpoint, by the names of the edges from the root.
func (vs *variables) collectObjects(g *graphdef.Graph, saved *graphdef.ObjectGraph) error {
	stored, err := vs.from.Objects()
	if errors.Is(err, checkpoint.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	keys := objectKeys(saved, stored)
	byName := map[string][]int{}
	for i, o := range saved.Nodes {
		if o.Kind == "variable" {
			byName[o.Variable] = append(byName[o.Variable], i)
		}
	}
	captures(g, saved, func(name string, object int) {
		if k, ok := keys[object]; ok && vs.all[name] != nil {
			vs.objects[name] = key{name: k}
		}
	})
	for name, v := range vs.all { // those that no call binds, where the name says which
		if _, ok := vs.objects[name]; !ok && len(byName[v.name]) == 1 {
			if k, ok := keys[byName[v.name][0]]; ok {
				vs.objects[name] = key{name: k}
			}
		}
	}
	return nil
}

// collectTrainable learns which variables training changed: from the object graph, or from the collection of TensorFlow 1.
func (vs *variables) collectTrainable(g *graphdef.Graph, meta *graphdef.MetaGraph) {
	set := map[string]bool{}
	for _, tensor := range meta.Trainable {
		name, _ := splitTensor(tensor)
		set[name] = true
	}
	if meta.Objects != nil {
		byName := map[string]bool{}
		for _, o := range meta.Objects.Nodes {
			if o.Kind == "variable" && o.Trainable {
				byName[o.Variable] = true
			}
		}
		for name, v := range vs.all {
			if byName[v.name] {
				set[name] = true
			}
		}
		captures(g, meta.Objects, func(name string, object int) {
			if object < 0 || object >= len(meta.Objects.Nodes) || vs.all[name] == nil {
				return
			}
			if meta.Objects.Nodes[object].Trainable {
				set[name] = true
			} else {
				delete(set, name) // another one has the same name
			}
		})
	}
	if len(set) > 0 {
		vs.trainable = set
	}
}

// captures calls do with each value that a call gives a function beside its arguments, and the object that it is.
func captures(g *graphdef.Graph, saved *graphdef.ObjectGraph, do func(name string, object int)) {
	for _, n := range g.Nodes {
		f, err := n.Attrs.Func("f")
		if n.Op != "PartitionedCall" && n.Op != "StatefulPartitionedCall" || err != nil {
			continue
		}
		objects := saved.Bound[f.Name]
		data := slices.DeleteFunc(slices.Clone(n.Inputs), func(in string) bool { return strings.HasPrefix(in, "^") })
		if len(objects) > len(data) {
			continue
		}
		for i, in := range data[len(data)-len(objects):] {
			name, _ := splitTensor(in)
			do(name, objects[i])
		}
	}
}

// objectKeys pairs the two object graphs, and returns the checkpoint's key of each node that is a variable.
func objectKeys(saved *graphdef.ObjectGraph, stored *checkpoint.ObjectGraph) map[int]string {
	keys := map[int]string{}
	if len(saved.Nodes) == 0 || len(stored.Nodes) == 0 {
		return keys
	}
	pairs := map[int]int{0: 0}
	queue := []int{0}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		o := stored.Nodes[pairs[i]]
		for _, a := range o.Attributes {
			if a.Name == "VARIABLE_VALUE" && a.Key != "" {
				keys[i] = a.Key
			}
		}
		children := make(map[string]int, len(o.Children))
		for _, child := range o.Children {
			children[child.Name] = child.Node
		}
		for _, child := range saved.Nodes[i].Children {
			to, ok := children[child.Name]
			if _, seen := pairs[child.Node]; seen || !ok || child.Node < 0 || child.Node >= len(saved.Nodes) || to < 0 || to >= len(stored.Nodes) {
				continue
			}
			pairs[child.Node] = to
			queue = append(queue, child.Node)
		}
	}
	return keys
}

// find returns where a variable is in the checkpoint, and how that is known.
func (vs *variables) find(v *variable) (key, string, error) {
	for _, try := range []struct {
		keys map[string]key
		how  string
	}{{vs.objects, byObjects}, {vs.restores, byRestore}} {
		if k, ok := try.keys[v.node.Name]; ok && vs.from.Has(k.name) {
			return k, try.how, nil
		}
	}
	for _, name := range []string{v.name, v.node.Name} {
		for _, suffix := range []string{"", "/.ATTRIBUTES/VARIABLE_VALUE"} {
			if vs.from.Has(name + suffix) {
				return key{name: name + suffix}, byName, nil
			}
		}
	}
	if k, ok := vs.part(v); ok {
		return k, byName, nil
	}
	var others []string
	for info := range vs.from.List() {
		others = append(others, strconv.Quote(info.Name))
	}
	return key{}, "", fmt.Errorf("the checkpoint has no value for it; it has %s", cmp.Or(some(others), "none"))
}

// part finds a part of a partitioned variable: "w/part_2" is the third along the axis in which the parts are shorter than "w".
func (vs *variables) part(v *variable) (key, bool) {
	i := strings.LastIndex(v.name, "/part_")
	if i < 0 || !vs.from.Has(v.name[:i]) {
		return key{}, false
	}
	number, err := strconv.Atoi(v.name[i+len("/part_"):])
	if err != nil {
		return key{}, false
	}
	info, err := vs.from.Stat(v.name[:i])
	own, ok := v.shape.Static()
	if err != nil || !ok || len(own) != len(info.Shape) {
		return key{}, false
	}
	s := &checkpoint.Slice{Start: make([]int, len(own)), Length: own}
	for axis := range own {
		if own[axis] == info.Shape[axis] {
			continue
		}
		for j := range number {
			before := vs.byName(fmt.Sprintf("%s/part_%d", v.name[:i], j))
			if before == nil || len(before.shape) != len(own) {
				return key{}, false
			}
			s.Start[axis] += int(before.shape[axis].Size)
		}
		if s.Start[axis]+own[axis] > info.Shape[axis] {
			return key{}, false
		}
	}
	return key{name: v.name[:i], slice: s}, true
}

func (vs *variables) byName(name string) *variable {
	for _, v := range vs.all {
		if v.name == name {
			return v
		}
	}
	return nil
}

// read returns a variable's value as a constant.
func (c *call) read(v *variable) *value {
	if v.value != nil {
		return v.value
	}
	vs := c.variables
	if vs.from == nil {
		c.refuse("the variable's value is not in the file; %s", vs.fallback)
	}
	k, how, err := vs.find(v)
	if err != nil {
		c.refuse("%v", err)
	}
	var t *tensor.Tensor
	if k.slice != nil {
		t, err = vs.from.ReadSlice(k.name, *k.slice)
	} else {
		t, err = vs.from.Read(k.name)
	}
	if err != nil {
		panic(stopped{err: fmt.Errorf("read variable %q: %w", v.name, err)})
	}
	want := v.dtype.DType()
	if t.DType() != want {
		c.damaged("variable %q is %v, and %v in the checkpoint", v.name, want, t.DType())
	}
	if shape, ok := v.shape.Static(); ok && !shape.Equal(t.Shape()) {
		c.damaged("variable %q has shape %v, and %v in the checkpoint", v.name, shape, t.Shape())
	}
	vs.found[how]++
	c.grown += 2 * t.Size() * t.DType().Size()
	v.value = &value{name: c.unique(v.name), dtype: t.DType(), shape: graph.Dims(t.Shape()...), con: t}
	if vs.trainable[v.node.Name] {
		c.trained[v.value.name] = true
	}
	return v.value
}

// note says how the variables were found.
func (vs *variables) note() []string {
	var notes []string
	for _, how := range slices.Sorted(maps.Keys(vs.found)) {
		notes = append(notes, fmt.Sprintf("%d variables were found by %s", vs.found[how], how))
	}
	return notes
}
