package diagram

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph/diagram/layered"
)

// A value is a name at the level that it is from.
type value struct {
	*level
	name string
}

// wireEnds are what lines of values have in common: their boxes in the box around both, and the ports in these.
type wireEnds struct{ from, fromPort, to, toPort *box }

// A wire is a line in a box.
type wire struct {
	wireEnds
	values []value // each once
	// labelled says that this piece, of those of a line through several boxes, has the label.
	labelled bool
	route    layered.Route // in the box
}

// connect makes the wires of all that is drawn. It returns errLines where there are too many.
func (s *scene) connect(root *box) error {
	lines := 0
	for _, l := range append([]*level{s.top}, s.bodies...) {
		for i, n := range l.Nodes {
			to := l.owner[i]
			if to == nil {
				continue
			}
			names := n.Inputs
			if !to.open {
				names = n.Uses()
			}
			for _, name := range names {
				if name != "" {
					lines += l.wire(name, to)
				}
			}
			if lines > MaxLines {
				return fmt.Errorf("%w: it would have more than %d lines: give a smaller depth, or one scope", errLines, MaxLines)
			}
		}
	}
	var outputs func(b *box)
	outputs = func(b *box) {
		for _, c := range b.children {
			if c.kind == output {
				for _, name := range c.values {
					lines += c.level.wire(name, c)
				}
			}
			if c.open {
				outputs(c)
			}
		}
	}
	outputs(root)
	if lines > MaxLines {
		return fmt.Errorf("%w: with its outputs it would have more than %d lines: give a smaller depth, or one scope", errLines, MaxLines)
	}
	return nil
}

// wire makes a line to a box from where a value is made, and returns how many pieces of it are new. Constants have none, and what stays in one box.
func (l *level) wire(name string, to *box) int {
	from := l.find(name)
	if from == nil {
		return 0
	}
	var source *box
	if p, ok := from.producer[name]; ok {
		source = from.owner[p]
	}
	if source == nil {
		source = from.ins[name]
	}
	if source == nil || source == to {
		return 0
	}
	return join(source, to, value{from, name})
}

// join makes the pieces of a line: out of the boxes around its begin, and into those around its end. It returns how many are new.
func join(from, to *box, v value) (made int) {
	var fromPort, toPort *box
	for from.depth > to.depth || from.parent != to.parent {
		if from.depth >= to.depth {
			out := from.parent.portOf(&from.parent.outs, v)
			made += from.parent.add(wireEnds{from, fromPort, out, nil}, v, false)
			from, fromPort = from.parent, out
		}
		if to.depth > from.depth {
			in := to.parent.portOf(&to.parent.ins, v)
			made += to.parent.add(wireEnds{in, nil, to, toPort}, v, false)
			to, toPort = to.parent, in
		}
	}
	if from != to {
		made += from.parent.add(wireEnds{from, fromPort, to, toPort}, v, true)
	}
	return made
}

// portOf returns the port of a value in a box, and makes it at the first time.
func (b *box) portOf(ports *map[value]*box, v value) *box {
	if p := (*ports)[v]; p != nil {
		return p
	}
	if *ports == nil {
		*ports = map[value]*box{}
	}
	p := &box{kind: port, level: v.level, title: v.name, parent: b, depth: b.depth + 1}
	(*ports)[v] = p
	b.ports = append(b.ports, p)
	return p
}

// add adds a value to the wire between two places, and returns 1 where that is new.
func (b *box) add(ends wireEnds, v value, labelled bool) (made int) {
	w := b.wires[ends]
	if w == nil {
		if b.wires == nil {
			b.wires = map[wireEnds]*wire{}
		}
		w = &wire{wireEnds: ends}
		b.wires[ends] = w
		b.order = append(b.order, w)
		made = 1
	}
	w.labelled = w.labelled || labelled
	if len(w.values) < maxChildren && !slices.Contains(w.values, v) {
		w.values = append(w.values, v)
	}
	return made
}
