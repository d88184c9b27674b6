package tensorflow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

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
