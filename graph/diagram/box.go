package diagram

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/diagram/layered"
)

type kind int

const (
	operator kind = iota
	scope         // nodes of one scope, or a part of them
	body          // a subgraph of an operator
	input
	output
	port // where lines go through the edge of an open box
)

// A box is what is drawn as one.
type box struct {
	kind   kind
	level  *level
	nodes  []int32 // of the level; of an operator the one
	path   []string
	key    string // says the same box in another drawing of the graph; several pieces of a scope have the same
	title  string
	values []string // names of what an input or output stands for

	parent *box
	depth  int
	open   bool
	// inside is what comes to light when it is opened, nil before it was asked for; children is that of an open box.
	inside   []*box
	children []*box

	ins, outs map[value]*box // ports
	ports     []*box
	wires     map[wireEnds]*wire
	order     []*wire

	// Sizes in pixels, and the place in the box around.
	width, height float64
	at            layered.Point
	lines         []text
}

// node is the node of an operator, and an empty one of every other box.
func (b *box) node() *graph.Node {
	if b.kind == operator {
		return b.level.Nodes[b.nodes[0]]
	}
	return &graph.Node{}
}

// scene is a drawing that is being made.
type scene struct {
	Options
	top    *level
	bodies []*level // that are drawn
	boxes  int
	depth  int // how many levels are open as a whole, and one more
}

// newRoot makes the box around all, open.
func (s *scene) newRoot() (*box, error) {
	root := &box{kind: scope, level: s.top, open: true, nodes: s.top.drawn()}
	if s.Scope != "" {
		root.path = pathOf(s.Scope)
		root.nodes = slices.DeleteFunc(root.nodes, func(i int32) bool {
			names := s.top.scope(i)
			return len(names) < len(root.path) || !slices.Equal(names[:len(root.path)], root.path)
		})
		if len(root.nodes) == 0 || len(root.path) == 0 {
			return nil, fmt.Errorf("%w: there is no scope %.200q; %s", ErrOptions, s.Scope, s.scopes())
		}
	}
	root.inside = append(s.ends(root, true), s.top.group(root.nodes, root.path, strings.Join(root.path, "/"))...)
	root.inside = append(root.inside, s.ends(root, false)...)
	s.reveal(root)
	s.boxes = len(root.children)
	return root, nil
}

// scopes says which outermost scopes there are.
func (s *scene) scopes() string {
	seen := map[string]bool{}
	for _, i := range s.top.drawn() {
		if names := s.top.scope(i); len(names) > 0 {
			seen[names[0]] = true
		}
	}
	if len(seen) == 0 {
		return "the names of the graph's nodes have no scopes"
	}
	names := slices.Sorted(maps.Keys(seen))
	more := ""
	if len(names) > 10 {
		names, more = names[:10], ", ..."
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%.80s", name)
	}
	return "the outermost ones are " + strings.Join(names, ", ") + more
}

// ends makes the boxes of the inputs or outputs of the graph, or of the scope.
func (s *scene) ends(root *box, in bool) []*box {
	l := s.top
	if s.Scope == "" {
		if in {
			return l.endBoxes(input, l.Placeholders())
		}
		return l.endBoxes(output, l.Outputs)
	}
	within := make(map[int32]bool, len(root.nodes))
	for _, i := range root.nodes {
		within[i] = true
	}
	seen := map[string]bool{}
	var values []graph.Value
	add := func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		v := graph.Value{Name: name}
		if known := l.values[name]; known != nil {
			v = *known
		}
		values = append(values, v)
	}
	for i, n := range l.Nodes {
		if within[int32(i)] != in || isConstant(n) {
			continue
		}
		for _, name := range n.Uses() {
			if p, ok := l.producer[name]; ok && within[p] != in || in && !ok && l.inputs[name] {
				add(name)
			}
		}
	}
	if in {
		return l.endBoxes(input, values)
	}
	for _, v := range l.Outputs {
		if p, ok := l.producer[v.Name]; ok && within[p] {
			add(v.Name)
		}
	}
	return l.endBoxes(output, values)
}

// endBoxes makes boxes of inputs or outputs, or one for all where there are too many.
func (l *level) endBoxes(k kind, values []graph.Value) []*box {
	var boxes []*box
	for i, v := range values {
		if len(values) > maxEnds && i > 0 {
			boxes[0].values = append(boxes[0].values, v.Name)
		} else {
			boxes = append(boxes, &box{kind: k, level: l, title: v.Name, values: []string{v.Name}})
		}
		if k == input {
			l.ins[v.Name] = boxes[len(boxes)-1]
		}
	}
	if len(values) > maxEnds {
		boxes[0].title = fmt.Sprintf("%d %ss", len(values), [...]string{input: "input", output: "output"}[k])
	}
	return boxes
}

// reveal makes what is inside a box its children.
func (s *scene) reveal(b *box) {
	b.open, b.children = true, b.inside
	for _, c := range b.children {
		c.parent, c.depth = b, b.depth+1
		switch c.kind {
		case operator, scope:
			for _, i := range c.nodes {
				c.level.owner[i] = c
			}
		case body:
			s.bodies = append(s.bodies, c.level)
			s.reveal(c)
		}
	}
}

// look returns what is inside a closed box, and how many boxes more there are when it is open; nothing where it cannot be opened.
func (s *scene) look(b *box) (more int) {
	if b.inside == nil {
		switch b.kind {
		case scope:
			b.inside = b.level.group(b.nodes, b.path, b.key)
		case operator:
			for _, sub := range subgraphs(b.node()) {
				prefix := b.key + "." + sub.name + "/"
				l := newLevel(sub.Graph, b.level, prefix)
				c := &box{kind: body, level: l, title: sub.name, nodes: l.drawn()}
				c.inside = append(l.endBoxes(input, sub.Placeholders()), l.group(c.nodes, nil, prefix)...)
				c.inside = append(c.inside, l.endBoxes(output, sub.Outputs)...)
				b.inside = append(b.inside, c)
			}
		}
	}
	for _, c := range b.inside {
		more++
		if c.kind == body {
			more += len(c.inside)
		}
	}
	return more
}

// A sub is a subgraph of a node, with the name of the attribute that it is in.
type sub struct {
	name string
	*graph.Graph
}

// subgraphs are those of a node, by the names of the attributes.
func subgraphs(n *graph.Node) (all []sub) {
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		switch g := n.Attrs[name].(type) {
		case *graph.Graph:
			all = append(all, sub{name, g})
		case []*graph.Graph:
			for i, g := range g {
				all = append(all, sub{fmt.Sprintf("%s[%d]", name, i), g})
			}
		}
	}
	return all
}

// unfold opens boxes, level by level, as far as the options say.
func (s *scene) unfold(root *box) error {
	open, shut := map[string]bool{}, map[string]bool{}
	for _, key := range s.Open {
		open[key] = true
	}
	for _, key := range s.Shut {
		shut[key] = true
	}
	most := autoBoxes
	if s.Depth > 0 || s.Scope != "" {
		most = MaxBoxes
	}
	auto := true
	s.depth = 1
	front := root.children
	for depth := 1; len(front) > 0; depth++ {
		auto = auto && (s.Depth == 0 || depth < s.Depth)
		more := 0
		if auto {
			for _, b := range front {
				if !shut[b.key] || open[b.key] {
					more += s.look(b)
				}
			}
			if s.boxes+more > most {
				if most == MaxBoxes {
					return fmt.Errorf("%w: it would have %d boxes or more, which is over the limit of %d: give a smaller depth, or one scope", ErrOptions, s.boxes+more, MaxBoxes)
				}
				auto = false
			}
		}
		if auto {
			s.depth = depth + 1
		}
		var next []*box
		for _, b := range front {
			if b.kind == input || b.kind == output || !(open[b.key] || auto && !shut[b.key]) {
				continue
			}
			more := s.look(b)
			if more == 0 {
				continue
			}
			if s.boxes += more; s.boxes > MaxBoxes {
				return fmt.Errorf("%w: with all that is to be open it would have more than %d boxes: close some", ErrOptions, MaxBoxes)
			}
			s.reveal(b)
			for _, c := range b.children {
				if c.kind == body {
					next = append(next, c.children...)
				} else {
					next = append(next, c)
				}
			}
		}
		front = next
	}
	return nil
}
