package checkpoint

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/tensor"
)

// ObjectGraphKey is the name of the string in which TensorFlow 2 keeps the object graph.
const ObjectGraphKey = "_CHECKPOINTABLE_OBJECT_GRAPH"

// maxObjectGraph limits the object graph: Open's budget does not count it.
const maxObjectGraph = 256 << 20

// maxDepth limits how far from the root an object is.
const maxDepth = 200

// An ObjectGraph says which object of a Python program has which variables. Node 0 is the root.
type ObjectGraph struct{ Nodes []Object }

// An Object is a node: its children by their names, and its variables.
type Object struct {
	Children   []Child
	Attributes []Attribute
	Slots      []Slot
}

// A Child is an edge to another node.
type Child struct {
	Name string
	Node int
}

// An Attribute is a variable of an object. Key is its name in the checkpoint; FullName is the one that the graph's variable has, "" where
// it is not known.
type Attribute struct{ Name, FullName, Key string }

// A Slot is a variable that an optimizer keeps for another: nodes of the variable and of the slot's own.
type Slot struct {
	Name           string
	Variable, Node int
}

// Objects reads the object graph. ErrNotFound where the checkpoint has none: version 1, and version 2 of TensorFlow 1.
func (c *Checkpoint) Objects() (*ObjectGraph, error) {
	in, err := c.Stat(ObjectGraphKey)
	if err != nil {
		return nil, err
	}
	if in.DType != tensor.String || len(in.Shape) != 0 {
		return nil, fmt.Errorf("checkpoint %s: %w: %s is %v%v, not a string", c.path, ErrFormat, in.Name, in.Type, in.Shape)
	}
	t, err := c.Read(ObjectGraphKey)
	if err != nil {
		return nil, err
	}
	g, err := DecodeObjects([]byte(tensor.Data[string](t)[0]))
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: object graph: %w", c.path, err)
	}
	return g, nil
}

// DecodeObjects reads a TrackableObjectGraph. It allocates a small multiple of the bytes.
func DecodeObjects(b []byte) (*ObjectGraph, error) {
	if len(b) > maxObjectGraph {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrFormat, len(b), maxObjectGraph)
	}
	// Objects take far more memory than an empty message has bytes.
	left := budget(4*len(b) + 40<<20)
	g := &ObjectGraph{}
	f := fieldsOf(b)
	for f.next() {
		if f.num != 1 {
			continue
		}
		if err := left.charge(160); err != nil {
			return nil, err
		}
		o, err := readObject(f.bytes(), &left)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", len(g.Nodes), err)
		}
		g.Nodes = append(g.Nodes, o)
	}
	if f.err != nil {
		return nil, f.err
	}
	if len(g.Nodes) == 0 {
		return nil, fmt.Errorf("%w: it has no nodes", ErrFormat)
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	return g, nil
}

// check refuses edges that lead nowhere, and graphs whose paths would be of any length.
func (g *ObjectGraph) check() error {
	for i, o := range g.Nodes {
		for _, c := range o.Children {
			if c.Node < 0 || c.Node >= len(g.Nodes) {
				return fmt.Errorf("%w: node %d: child %q is node %d of %d", ErrFormat, i, c.Name, c.Node, len(g.Nodes))
			}
		}
		for _, s := range o.Slots {
			if n := len(g.Nodes); s.Variable < 0 || s.Variable >= n || s.Node < 0 || s.Node >= n {
				return fmt.Errorf("%w: node %d: slot %q of node %d is node %d of %d", ErrFormat, i, s.Name, s.Variable, s.Node, n)
			}
		}
	}
	if depth := g.depth(); depth > maxDepth {
		return fmt.Errorf("%w: objects nest %d deep, the limit is %d", ErrFormat, depth, maxDepth)
	}
	return nil
}

// depth returns the number of edges to the node that is farthest from the root.
func (g *ObjectGraph) depth() int {
	seen := make([]bool, len(g.Nodes))
	seen[0] = true
	depth := -1
	for level := []int{0}; len(level) > 0; depth++ {
		var next []int
		for _, n := range level {
			for _, c := range g.Nodes[n].Children {
				if !seen[c.Node] {
					seen[c.Node] = true
					next = append(next, c.Node)
				}
			}
		}
		level = next
	}
	return depth
}

func readObject(b []byte, left *budget) (Object, error) {
	var o Object
	f := fieldsOf(b)
	for f.next() {
		if f.num < 1 || f.num > 3 {
			continue
		}
		part := f.bytes()
		if err := left.charge(100 + len(part)); err != nil {
			return o, err
		}
		texts, ints, err := texts(part)
		if err != nil {
			return o, err
		}
		switch f.num {
		case 1:
			o.Children = append(o.Children, Child{Name: texts[2], Node: ints[1]})
		case 2:
			o.Attributes = append(o.Attributes, Attribute{Name: texts[1], FullName: texts[2], Key: texts[3]})
		case 3:
			o.Slots = append(o.Slots, Slot{Name: texts[2], Variable: ints[1], Node: ints[3]})
		}
	}
	return o, f.err
}

// texts returns the strings and the small numbers in the fields 1 to 3 of a message.
func texts(b []byte) (s [4]string, n [4]int, err error) {
	f := fieldsOf(b)
	for f.next() {
		if f.num > 3 {
			continue
		}
		switch f.typ {
		case protowire.BytesType:
			s[f.num] = string(f.b)
		case protowire.VarintType:
			if n[f.num] = int(int32(f.u)); n[f.num] < 0 {
				return s, n, fmt.Errorf("%w: node %d", ErrFormat, n[f.num])
			}
		}
	}
	return s, n, f.err
}

// Child returns the node that a child's name leads to.
func (g *ObjectGraph) Child(node int, name string) (int, bool) {
	for _, c := range g.Nodes[node].Children {
		if c.Name == name {
			return c.Node, true
		}
	}
	return 0, false
}

// Paths goes through the nodes that can be reached from the root, with the shortest path of names to each, as "layer/kernel";
// the root's is "". Of paths of one length the first in the file's order is taken.
func (g *ObjectGraph) Paths() iter.Seq2[int, string] {
	type step struct {
		from int // in the queue
		name string
		node int
	}
	return func(yield func(int, string) bool) {
		seen := make([]bool, len(g.Nodes))
		seen[0] = true
		queue := []step{{from: -1}}
		for i := 0; i < len(queue); i++ {
			var names []string
			for at := i; queue[at].from >= 0; at = queue[at].from {
				names = append(names, queue[at].name)
			}
			slices.Reverse(names)
			if !yield(queue[i].node, strings.Join(names, "/")) {
				return
			}
			for _, c := range g.Nodes[queue[i].node].Children {
				if !seen[c.Node] {
					seen[c.Node] = true
					queue = append(queue, step{from: i, name: c.Name, node: c.Node})
				}
			}
		}
	}
}
