package diagram

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/graph/diagram/layered"
)

// Distances in pixels.
const (
	padding   = 10 // in a closed box, beside the text
	lineSpace = 4  // between lines of text
	margin    = 14 // in an open box, around what is in it
	header    = 22 // of an open box, for its title
	portWidth = 6
	rankGap   = 28
	maxBends  = 40_000 // of the lines in one box
)

// arrange finds the size of a box and, where it is open, the places of all that is in it, the innermost first.
func (s *scene) arrange(b *box) error {
	if b.kind == port {
		b.width = portWidth
		return nil
	}
	if !b.open {
		b.describe()
		b.width, b.height = 2*padding, 2*padding-lineSpace
		for _, t := range b.lines {
			b.width = max(b.width, t.width()+2*padding)
			b.height += t.size + lineSpace
		}
		return nil
	}
	if b.kind == operator {
		b.title = strings.TrimSpace(b.node().OpType + " " + strings.TrimSuffix(b.title, "/"))
	}
	b.title = short(b.title, 2*maxText)
	all := append(append([]*box{}, b.children...), b.ports...)
	number := make(map[*box]int, len(all))
	boxes := make([]layered.Box, len(all))
	for i, c := range all {
		if err := s.arrange(c); err != nil {
			return err
		}
		number[c] = i
		boxes[i] = layered.Box{Width: c.width, Height: c.height, First: c.kind == input, Last: c.kind == output}
	}
	for _, w := range b.order { // a port at the top has lines that begin at it
		boxes[number[w.from]].First = boxes[number[w.from]].First || w.from.kind == port
		boxes[number[w.to]].Last = boxes[number[w.to]].Last || w.to.kind == port
	}
	lines := make([]layered.Line, len(b.order))
	for i, w := range b.order {
		lines[i] = layered.Line{From: number[w.from], To: number[w.to], FromX: w.fromPort.beside(w.from), ToX: w.toPort.beside(w.to)}
		if label := w.label(); label.string != "" {
			lines[i].LabelWidth, lines[i].LabelHeight = label.width()+8, label.size+4
		}
	}
	d, err := layered.Place(boxes, lines, layered.Options{RankGap: rankGap, MaxBends: maxBends})
	if err != nil {
		return fmt.Errorf("place %q: %w", b.title, err)
	}
	title := text{b.title, "title", titleSize}
	b.width, b.height = max(d.Width, title.width())+2*margin, d.Height+2*margin
	left, top := (b.width-d.Width)/2, float64(margin)
	if b.parent != nil {
		b.height += header
		top += header
	}
	move := func(p layered.Point) layered.Point { return layered.Point{X: p.X + left, Y: p.Y + top} }
	for i, c := range all {
		c.at = move(d.Boxes[i])
	}
	for i, w := range b.order {
		w.route = d.Lines[i]
		w.route.Label = move(w.route.Label)
		for k, p := range w.route.Points {
			w.route.Points[k] = move(p)
		}
	}
	return nil
}

// beside is how far a port is from the middle of the open box that it is in; 0 for no port.
func (p *box) beside(b *box) float64 {
	if p == nil {
		return 0
	}
	return p.at.X + p.width/2 - b.width/2
}
