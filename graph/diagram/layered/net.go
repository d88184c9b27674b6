package layered

import (
	"cmp"
	"slices"
)

// A vertex takes room on a row: a box, a label, or a line that goes through. Boxes are on even rows and labels on odd ones.
type vertex struct {
	width, height float64
	row           int32
	pos           int32   // in its row
	x             float64 // of the middle
	up, down      []link
}

// A link is one end of a piece of a line that goes from a row to the next.
type link struct {
	to     int32   // the vertex at the other end
	at     float64 // where the piece is here, from the middle
	far    float64 // where it is there
	weight float64 // how much it wants to be straight
}

// net is the graph cut into pieces, each from a row to the next.
type net struct {
	vertices []vertex // the boxes first
	rows     [][]int32
	first    []int32 // of each line the first vertex between its boxes, -1 for a Direct one; they follow each other
	count    []int32 // how many there are
}

// Pieces between two bends want to be straight the most, those between boxes the least.
const (
	boxToBox   = 1
	boxToBend  = 2
	bendToBend = 8
)

// spread puts vertices where lines go through rows, the shortest lines first.
func spread(boxes []Box, lines []Line, ranks []int32, o Options) *net {
	n := &net{vertices: make([]vertex, len(boxes), len(boxes)+len(lines)), first: make([]int32, len(lines)), count: make([]int32, len(lines))}
	rows := int32(0)
	for i, b := range boxes {
		n.vertices[i] = vertex{width: b.Width, height: b.Height, row: 2 * ranks[i]}
		rows = max(rows, 2*ranks[i]+1)
	}
	byLength := make([]int32, len(lines))
	for i := range lines {
		byLength[i] = int32(i)
	}
	length := func(i int32) int32 { return ranks[lines[i].To] - ranks[lines[i].From] }
	slices.SortStableFunc(byLength, func(a, b int32) int { return cmp.Compare(length(a), length(b)) })
	left := max(o.MaxBends, 0)
	for _, i := range byLength {
		bends := int(2*length(i) - 1)
		if left -= bends; left < 0 {
			n.first[i], left = -1, 0
			continue
		}
		n.cut(lines[i], i, bends)
	}
	n.rows = make([][]int32, rows)
	for v := range n.vertices {
		row := n.vertices[v].row
		n.vertices[v].pos = int32(len(n.rows[row]))
		n.rows[row] = append(n.rows[row], int32(v))
	}
	return n
}

// cut makes the vertices and links of a line.
func (n *net) cut(l Line, i int32, bends int) {
	n.first[i], n.count[i] = int32(len(n.vertices)), int32(bends)
	last, at := int32(l.From), l.FromX
	row := n.vertices[l.From].row
	for k := range bends {
		v := vertex{row: row + int32(k) + 1}
		if k == 0 {
			v.width, v.height = l.LabelWidth, l.LabelHeight
		}
		n.vertices = append(n.vertices, v)
		this := int32(len(n.vertices) - 1)
		weight := float64(bendToBend)
		if k == 0 {
			weight = boxToBend
		}
		if bends == 1 {
			weight = boxToBox
		}
		n.join(last, this, at, 0, weight)
		last, at = this, 0
	}
	weight := float64(boxToBend)
	if bends == 1 {
		weight = boxToBox
	}
	n.join(last, int32(l.To), at, l.ToX, weight)
}

func (n *net) join(a, b int32, at, to, weight float64) {
	n.vertices[a].down = append(n.vertices[a].down, link{b, at, to, weight})
	n.vertices[b].up = append(n.vertices[b].up, link{a, to, at, weight})
}
