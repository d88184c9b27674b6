// Package diagram draws a model graph as an SVG picture: operators in boxes of their name scopes, the shapes of values on the lines between them, and the bodies of If, Loop and Scan as boxes of their own.
// Coordinates come from package layered; finding shapes is left to package infer, and opening what is closed to those who show the picture.
package diagram

import (
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/graph"
)

// ErrOptions says that the graph cannot be drawn in the way that is asked for: there is no such scope, or too much would be open.
var ErrOptions = errors.New("graph cannot be drawn so")

// Limits of a drawing. A graph of any size has one: what is too much for it is in closed boxes.
const (
	// MaxBoxes is the most boxes that a drawing has, whatever is asked to be open.
	MaxBoxes = 3000
	// MaxLines is the most pieces of lines between boxes and their edges that a drawing has. The closed boxes of the outermost level, each joined with each other one, have fewer.
	MaxLines = 60_000
	// MaxNames is the most names in Options.Open and in Options.Shut.
	MaxNames = 1000
	// autoBoxes is how many boxes there may be where the drawing itself chooses what is open.
	autoBoxes = 100
	// maxChildren is the most boxes in one: where there are more, those that follow each other are gathered into parts.
	maxChildren = 300
	partSize    = 100
	// maxEnds is the most boxes for inputs of a graph, and for outputs; where there are more, one box stands for all.
	maxEnds = 40
	// maxDepth is the most names of a scope that count.
	maxDepth = 24
)

// Options say what is drawn. The zero value draws all of the graph, with as many scopes open as are legible.
type Options struct {
	// Name is the title of the picture; empty takes the graph's.
	Name string
	// Depth is how many levels there are: 1 has closed boxes alone, 2 opens these, and so on. 0 opens whole levels as long as the drawing has at most 100 boxes and MaxLines lines, or all with Scope.
	Depth int
	// Scope draws the nodes of one scope alone, such as "encoder/layer1"; what they take and give are its inputs and outputs.
	Scope string
	// Open and Shut are keys of boxes that are open, or closed, whatever Depth says: those in the attribute data-key of the picture.
	Open, Shut []string
}

// A Drawing is a picture of a graph. It does not change, and keeps nothing of the graph but its names.
type Drawing struct {
	// Nodes are those of the graph, or of the scope, that the drawing stands for; Boxes are what is drawn, and Closed how many of these stand for several nodes each.
	Nodes, Boxes, Closed int
	// Depth is how many levels there are as a whole: as an option with Open and Shut it gives the same drawing, but for what these name.
	Depth int
	// Width and Height are in pixels.
	Width, Height float64
	title         string
	root          *box
}

// Draw draws a graph, which must be sorted and valid (see graph.Graph.Validate). The shapes are those that it has, from a file or from package infer. The same graph and options give the same picture
// always. Time and memory grow with the nodes, and with the boxes of the drawing. The error is ErrOptions.
func Draw(g *graph.Graph, o Options) (*Drawing, error) {
	if o.Depth < 0 {
		return nil, fmt.Errorf("%w: depth %d is less than 0", ErrOptions, o.Depth)
	}
	if len(o.Open) > MaxNames || len(o.Shut) > MaxNames {
		return nil, fmt.Errorf("%w: more than %d boxes are named as open or shut", ErrOptions, MaxNames)
	}
	s, root, err := prepare(g, o)
	if errors.Is(err, errLines) && o.Depth == 0 && o.Scope == "" {
		o.Depth = 1
		s, root, err = prepare(g, o)
	}
	if err != nil {
		return nil, err
	}
	if err := s.arrange(root); err != nil {
		return nil, err
	}
	d := &Drawing{Depth: s.depth, Nodes: len(root.nodes), Width: root.width, Height: root.height, title: o.Name, root: root}
	if d.title == "" {
		d.title = g.Name
	}
	if o.Scope != "" {
		d.title = strings.TrimSpace(d.title + " " + o.Scope)
	}
	d.count(root)
	return d, nil
}

// errLines is ErrOptions where there are more than MaxLines lines.
var errLines = fmt.Errorf("%w: too many lines", ErrOptions)

// prepare makes the boxes and the lines between them.
func prepare(g *graph.Graph, o Options) (*scene, *box, error) {
	s := &scene{Options: o}
	s.top = newLevel(g, nil, "")
	root, err := s.newRoot()
	if err != nil {
		return nil, nil, err
	}
	if err := s.unfold(root); err != nil {
		return nil, nil, err
	}
	return s, root, s.connect(root)
}

func (d *Drawing) count(b *box) {
	for _, c := range b.children {
		d.Boxes++
		if !c.open && (c.kind == scope || len(c.node().Subgraphs()) > 0) {
			d.Closed++
		}
		if c.open {
			d.count(c)
		}
	}
}
