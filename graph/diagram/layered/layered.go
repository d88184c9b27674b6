// Package layered places the boxes and lines of a directed graph on ranks, from top to bottom, as Sugiyama, Tagawa and Toda do (1981): it chooses ranks, orders each rank
// so that few lines cross, and then finds coordinates. What the boxes mean, and drawing them, is left to the caller.
package layered

import (
	"errors"
	"fmt"
	"math"
)

// ErrInvalid says that a graph cannot be placed: a line has no box at an end, a size is no number, or the lines make a cycle.
var ErrInvalid = errors.New("graph cannot be placed")

// maxLength is the largest width, height and gap, so that sums stay exact.
const maxLength = 1e6

// A Box is what is placed. Sizes are in pixels, at most 1e6.
type Box struct {
	Width, Height float64
	// First puts the box on the first rank where no line ends at it, and Last on the last where none begins.
	First, Last bool
}

// A Line goes from the lower edge of a box to the upper edge of another.
type Line struct {
	From, To int // numbers of boxes
	// FromX and ToX are where the line is on the edge, in pixels from the middle of it.
	FromX, ToX float64
	// LabelWidth and LabelHeight are the room that is kept for a label on the line; 0 for none.
	LabelWidth, LabelHeight float64
}

// A Point is in pixels; y grows downwards.
type Point struct{ X, Y float64 }

// A Route is where a line goes: its points have growing y. Between the points 2i and 2i+1 it goes straight down, through a rank; between ranks it may bend.
type Route struct {
	Points []Point
	// Label is the middle of the room for the label.
	Label Point
	// Direct says that no way was looked for, because the lines of the graph are too long together: the two points are the line's ends, and boxes may be between them. There is
	// no room for a label then.
	Direct bool
}

// A Drawing has the places of all boxes and lines, in the order in which they were given.
type Drawing struct {
	Width, Height float64
	Boxes         []Point // the upper left corners
	Lines         []Route
}

// Options say how much room there is. Zero values take the defaults.
type Options struct {
	// BoxGap is between neighbours on a rank, and RankGap the least between two ranks. The default is 24 and 36.
	BoxGap, RankGap float64
	// MaxBends is the most places where lines go through ranks, all lines together, the short ones first; the longest lines are Direct then. The default is 100,000.
	MaxBends int
}

func (o Options) defaults() Options {
	if o.BoxGap == 0 {
		o.BoxGap = 24
	}
	if o.RankGap == 0 {
		o.RankGap = 36
	}
	if o.MaxBends == 0 {
		o.MaxBends = 100_000
	}
	return o
}

// Place places a graph without cycles. Boxes do not overlap each other, nor the room of labels and of lines that go through their rank. The same graph has the same drawing always, on every
// kind of processor. The time grows with boxes and bends, about as n log n. The error is ErrInvalid.
func Place(boxes []Box, lines []Line, o Options) (*Drawing, error) {
	o = o.defaults()
	if err := check(boxes, lines, o); err != nil {
		return nil, err
	}
	ranks, err := rank(boxes, lines)
	if err != nil {
		return nil, err
	}
	n := spread(boxes, lines, ranks, o)
	n.order()
	n.place(o)
	return n.draw(boxes, lines, o), nil
}

func check(boxes []Box, lines []Line, o Options) error {
	size := func(v float64) bool { return v >= 0 && v <= maxLength } // false for NaN too
	if !size(o.BoxGap) || !size(o.RankGap) || o.MaxBends < 0 {
		return fmt.Errorf("%w: a gap or the number of bends is not from 0 to 1e6", ErrInvalid)
	}
	if len(boxes) > math.MaxInt32/4 || len(lines) > math.MaxInt32/4 {
		return fmt.Errorf("%w: %d boxes and %d lines are too many", ErrInvalid, len(boxes), len(lines))
	}
	for i, b := range boxes {
		if !size(b.Width) || !size(b.Height) {
			return fmt.Errorf("%w: box %d is %v by %v", ErrInvalid, i, b.Width, b.Height)
		}
	}
	for i, l := range lines {
		if l.From < 0 || l.From >= len(boxes) || l.To < 0 || l.To >= len(boxes) {
			return fmt.Errorf("%w: line %d goes from box %d to box %d of %d", ErrInvalid, i, l.From, l.To, len(boxes))
		}
		if !size(l.LabelWidth) || !size(l.LabelHeight) || !(2*math.Abs(l.FromX) <= boxes[l.From].Width) || !(2*math.Abs(l.ToX) <= boxes[l.To].Width) {
			return fmt.Errorf("%w: line %d has a label of %v by %v, and ends %v and %v beside the middles of its boxes", ErrInvalid, i, l.LabelWidth, l.LabelHeight, l.FromX, l.ToX)
		}
	}
	return nil
}
