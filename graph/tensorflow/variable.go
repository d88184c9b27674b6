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
	for _, n := range g.Nodes {
		f, err := n.Attrs.Func("f")
		if n.Op != "PartitionedCall" && n.Op != "StatefulPartitionedCall" || err != nil {
			continue
		}
		bound := saved.Bound[f.Name]
		data := slices.DeleteFunc(slices.Clone(n.Inputs), func(in string) bool { return strings.HasPrefix(in, "^") })
		if len(bound) > len(data) {
			continue
		}
		for i, in := range data[len(data)-len(bound):] {
			name, _ := splitTensor(in)
			if k, ok := keys[bound[i]]; ok && vs.all[name] != nil {
				vs.objects[name] = key{name: k}
			}
		}
	}
	for name, v := range vs.all { // those that no call binds, where the name says which
		if _, ok := vs.objects[name]; !ok && len(byName[v.name]) == 1 {
			if k, ok := keys[byName[v.name][0]]; ok {
				vs.objects[name] = key{name: k}
			}
		}
	}
	return nil
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

// collectRestores reads what the graph's own savers say: the names that are restored into variables, and those under which they are
// saved.
func (vs *variables) collectRestores(g *graphdef.Graph, nodes map[string]*graphdef.Node) error {
	for _, n := range g.Nodes {
		data := slices.DeleteFunc(slices.Clone(n.Inputs), func(in string) bool { return strings.HasPrefix(in, "^") })
		switch n.Op {
		case "Assign", "AssignVariableOp":
			if len(data) < 2 {
				continue
			}
			target, _ := splitTensor(data[0])
			if vs.all[target] == nil {
				continue
			}
			if k, ok := restored(nodes, data[1]); ok {
				vs.restores[target] = k
			}
		case "SaveV2", "SaveSlices", "Save":
			vs.saved(nodes, n.Op, data)
		}
	}
	return nil
}

// saved reads the names and slices of a save operator.
func (vs *variables) saved(nodes map[string]*graphdef.Node, op string, data []string) {
	first := 3
	if op == "Save" {
		first = 2
	}
	if len(data) < first {
		return
	}
	names, slices := stringsAt(nodes, data[1]), []string(nil)
	if op != "Save" {
		slices = stringsAt(nodes, data[2])
	}
	for i, in := range data[first:] {
		target := source(nodes, in)
		if vs.all[target] == nil || i >= len(names) {
			continue
		}
		spec := ""
		if i < len(slices) {
			spec = slices[i]
		}
		if k, err := sliceKey(names[i], spec); err == nil {
			if _, ok := vs.restores[target]; !ok {
				vs.restores[target] = k
			}
		}
	}
}

// source follows operators that only pass a variable on.
func source(nodes map[string]*graphdef.Node, text string) string {
	name, _ := splitTensor(text)
	for range 8 {
		n := nodes[name]
		if n == nil || len(n.Inputs) == 0 || n.Op != "Identity" && n.Op != "ReadVariableOp" {
			break
		}
		name, _ = splitTensor(n.Inputs[0])
	}
	return name
}

// restored returns what a restore operator reads for the tensor that text names.
func restored(nodes map[string]*graphdef.Node, text string) (key, bool) {
	name, out := splitTensor(text)
	for range 8 {
		n := nodes[name]
		if n == nil {
			return key{}, false
		}
		switch n.Op {
		case "Identity", "Reshape":
			if len(n.Inputs) == 0 {
				return key{}, false
			}
			name, out = splitTensor(n.Inputs[0])
			continue
		case "RestoreV2", "RestoreSlice", "Restore":
			return restoreKey(nodes, n, out)
		}
		return key{}, false
	}
	return key{}, false
}

func restoreKey(nodes map[string]*graphdef.Node, n *graphdef.Node, out int) (key, bool) {
	if len(n.Inputs) < 2 {
		return key{}, false
	}
	names := stringsAt(nodes, n.Inputs[1])
	var specs []string
	if n.Op != "Restore" && len(n.Inputs) > 2 {
		specs = stringsAt(nodes, n.Inputs[2])
	}
	if out >= len(names) {
		return key{}, false
	}
	spec := ""
	if out < len(specs) {
		spec = specs[out]
	}
	k, err := sliceKey(names[out], spec)
	return k, err == nil
}

// stringsAt returns the strings of the constant that text names.
func stringsAt(nodes map[string]*graphdef.Node, text string) []string {
	n := nodes[source(nodes, text)]
	if n == nil || n.Op != "Const" {
		return nil
	}
	t, err := n.Attrs.Tensor("value")
	if err != nil || t == nil || t.Type != graphdef.String {
		return nil
	}
	if stored, err := t.Stored(); err != nil || t.Shape.Size() > stored+1 {
		return nil
	}
	v, err := t.Decode()
	if err != nil {
		return nil
	}
	return tensor.Data[string](v)
}

// sliceKey reads "784 128 0,392:-": the shape of the whole, then a start and a length, or "-" for all, of each dimension.
func sliceKey(name, spec string) (key, error) {
	words := strings.Fields(spec)
	if len(words) == 0 {
		return key{name: name}, nil
	}
	parts := strings.Split(words[len(words)-1], ":")
	if len(parts) != len(words)-1 {
		return key{}, fmt.Errorf("%w: the slice %q of %q", ErrInvalid, spec, name)
	}
	s := &checkpoint.Slice{}
	for i, p := range parts {
		size, err := strconv.Atoi(words[i])
		if err != nil || size < 0 {
			return key{}, fmt.Errorf("%w: the slice %q of %q", ErrInvalid, spec, name)
		}
		start, length := 0, size
		if p != "-" {
			if _, err := fmt.Sscanf(p, "%d,%d", &start, &length); err != nil || start < 0 || length < 0 || length > size || start > size-length {
				return key{}, fmt.Errorf("%w: the slice %q of %q", ErrInvalid, spec, name)
			}
		}
		s.Start, s.Length = append(s.Start, start), append(s.Length, length)
	}
	return key{name: name, slice: s}, nil
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
	t, err := vs.from.Read(k.name)
	if err != nil {
		panic(stopped{err: fmt.Errorf("read variable %q: %w", v.name, err)})
	}
	if k.slice != nil {
		if t, err = cut(t, *k.slice); err != nil {
			panic(stopped{err: fmt.Errorf("read variable %q: %w", v.name, err)})
		}
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
	return v.value
}

// cut copies a slice of a tensor.
func cut(t *tensor.Tensor, s checkpoint.Slice) (*tensor.Tensor, error) {
	shape := t.Shape()
	if len(s.Start) != len(shape) {
		return nil, fmt.Errorf("a slice of %d dimensions of a variable of %d", len(s.Start), len(shape))
	}
	for i := range shape {
		if s.Start[i]+s.Length[i] > shape[i] {
			return nil, fmt.Errorf("the slice ends at %d of dimension %d, which has %d", s.Start[i]+s.Length[i], i, shape[i])
		}
	}
	out, err := tensor.New(t.DType(), s.Length...)
	if err != nil || out.Size() == 0 {
		return out, err
	}
	src, dst, size := t.Bytes(), out.Bytes(), t.DType().Size()
	if size == 0 {
		return nil, fmt.Errorf("a slice of a variable of %v", t.DType())
	}
	if len(shape) == 0 {
		copy(dst, src)
		return out, nil
	}
	at := slices.Clone(s.Start)
	row := s.Length[len(shape)-1] * size
	for ; len(dst) > 0; dst = dst[row:] {
		offset := 0
		for i, n := range shape {
			offset = offset*n + at[i]
		}
		copy(dst[:row], src[offset*size:])
		for i := len(shape) - 2; i >= 0; i-- {
			if at[i]++; at[i] < s.Start[i]+s.Length[i] {
				break
			}
			at[i] = s.Start[i]
		}
	}
	return out, nil
}

// note says how the variables were found.
func (vs *variables) note() []string {
	var notes []string
	for _, how := range slices.Sorted(maps.Keys(vs.found)) {
		notes = append(notes, fmt.Sprintf("%d variables were found by %s", vs.found[how], how))
	}
	return notes
}

// isAssign reports whether an operator changes a variable.
func isAssign(op string) bool {
	for _, prefix := range []string{"Assign", "ResourceApply", "ResourceSparseApply", "ResourceScatter", "Apply", "SparseApply", "ScatterAdd", "ScatterSub", "ScatterUpdate", "ScatterMul", "ScatterDiv", "ScatterMin", "ScatterMax", "ScatterNdUpdate", "ScatterNdAdd", "ScatterNdSub", "ResourceStridedSliceAssign", "CountUpTo", "ResourceCountUpTo", "RngReadAndSkip", "StatefulUniform", "StatefulStandardNormal"} {
		if strings.HasPrefix(op, prefix) {
			return op != "ApplyAdagradV3"
		}
	}
	return false
}

// checkWrites refuses to read a variable that something before the node assigns to, or that the function around it assigns to in any
// case: its value would be another one in the next run.
func (c *call) checkWrites(v *variable) {
	for sc := c.st.sc; sc != nil; sc = sc.outer {
		node := c.st.node.Name
		if sc != c.st.sc {
			node = c.inner(sc).node.Name
		}
		if op := c.assigned(sc, node)[v.node.Name]; op != "" {
			panic(stopped{fault: &fault{op: op, reason: fmt.Sprintf("the output depends on variable %q, which the model assigns to when it runs", v.name)}})
		}
		if sc.fn == nil {
			continue
		}
		for _, name := range sc.fn.ControlReturn {
			if op := c.assigned(sc, name)[v.node.Name]; op != "" {
				panic(stopped{fault: &fault{op: op, reason: fmt.Sprintf("the output depends on variable %q, which the model assigns to when it runs", v.name)}})
			}
		}
	}
}

// inner returns the call in sc that c's node is in.
func (c *call) inner(sc *scope) *state {
	s := c.st.sc
	for s.outer != sc {
		s = s.outer
	}
	return s.call
}

// assigned returns the variables (by node) that a node of a scope or anything before it assigns to, with the operator that does.
func (c *converter) assigned(sc *scope, root string) map[string]string {
	if m, ok := sc.writes[root]; ok {
		return m
	}
	type frame struct {
		name string
		next int
	}
	sc.writes[root] = nil
	stack := []frame{{name: root}}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		n := sc.nodes[f.name]
		if n != nil && f.next < len(n.Inputs) {
			in := strings.TrimPrefix(n.Inputs[f.next], "^")
			f.next++
			in, _, _ = strings.Cut(in, ":")
			if _, seen := sc.writes[in]; !seen && sc.nodes[in] != nil {
				sc.writes[in] = nil
				stack = append(stack, frame{name: in})
			}
			continue
		}
		if n != nil {
			sc.writes[f.name] = c.assignedBy(sc, n)
		}
		stack = stack[:len(stack)-1]
	}
	return sc.writes[root]
}

// assignedBy joins what the inputs of a node, whose own are known, and it itself assign to.
func (c *converter) assignedBy(sc *scope, n *graphdef.Node) map[string]string {
	var all map[string]string
	shared := true
	add := func(m map[string]string) {
		switch {
		case len(m) == 0:
		case all == nil:
			all = m
		default:
			if shared {
				all, shared = maps.Clone(all), false
			}
			maps.Copy(all, m)
		}
	}
	for _, in := range n.Inputs {
		in, _, _ = strings.Cut(strings.TrimPrefix(in, "^"), ":")
		add(sc.writes[in])
	}
	if isAssign(n.Op) && len(n.Inputs) > 0 {
		if v := c.handleOf(sc, n.Inputs[0]); v != nil {
			add(map[string]string{v.node.Name: n.Op})
		}
	}
	return all
}

// handleOf returns the variable that an input is a handle of, where that can be said without converting anything.
func (c *converter) handleOf(sc *scope, text string) *variable {
	for range 64 {
		name, _, _ := strings.Cut(text, ":")
		if sc.fn != nil {
			if arg := sc.args[name]; len(arg) > 0 {
				return arg[0].variable
			}
		}
		n := sc.nodes[name]
		if n == nil {
			return nil
		}
		if isVariable(n.Op) {
			return c.variables.all[name]
		}
		if len(n.Inputs) == 0 || !strings.Contains(n.Op, "Identity") {
			return nil
		}
		text = n.Inputs[0]
	}
	return nil
}
