package layered

import "math"

const (
	alignments = 16
	// steep is how far a line may go to the side for each pixel downwards, before the gap between its rows grows; maxGap is how far it grows.
	steep  = 9
	maxGap = 72
	// bendShare is the room beside a line that goes through a row, as a share of that between boxes.
	bendShare = 0.5
)

// place finds the x of each vertex. Row by row each vertex goes as near as it can to what it is linked with on the row before it, without leaving the order or coming too near to
// its neighbours: the least sum of weighted squares, which pooling neighbours that push each other finds (isotonic regression).
func (n *net) place(o Options) {
	for _, row := range n.rows {
		x := 0.0
		for i, v := range row {
			if i > 0 {
				x += n.gap(row[i-1], v, o)
			}
			n.vertices[v].x = x
		}
		for _, v := range row {
			n.vertices[v].x -= x / 2
		}
	}
	p := placer{net: n, gap: func(a, b int32) float64 { return n.gap(a, b, o) }}
	for i := range alignments {
		both := i >= alignments-4
		if i%2 == 0 {
			for _, row := range n.rows {
				p.align(row, true, both)
			}
		} else {
			for r := len(n.rows) - 1; r >= 0; r-- {
				p.align(n.rows[r], false, both)
			}
		}
	}
	for i := range n.first {
		n.straighten(i, p.gap)
	}
	left := math.Inf(1)
	for i := range n.vertices {
		v := &n.vertices[i]
		left = min(left, v.x-v.width/2)
	}
	for i := range n.vertices {
		n.vertices[i].x -= left
	}
}

// straighten moves the bends of a line onto as few verticals as the room between their neighbours allows.
func (n *net) straighten(line int, gap func(a, b int32) float64) {
	first, count := n.first[line], n.count[line]
	if first < 0 || count < 2 {
		return
	}
	room := func(i int32) (least, most float64) {
		v := &n.vertices[i]
		row := n.rows[v.row]
		least, most = math.Inf(-1), math.Inf(1)
		if v.pos > 0 {
			b := row[v.pos-1]
			least = n.vertices[b].x + gap(b, i)
		}
		if int(v.pos)+1 < len(row) {
			b := row[v.pos+1]
			most = n.vertices[b].x - gap(i, b)
		}
		return least, most
	}
	for k := int32(0); k < count; {
		least, most := math.Inf(-1), math.Inf(1)
		sum, end := 0.0, k
		for ; end < count; end++ {
			l, m := room(first + end)
			if l = max(l, least); l > min(m, most) {
				break
			}
			least, most = l, min(m, most)
			sum += n.vertices[first+end].x
		}
		if end == k { // rounding: there is just the room where it is
			k++
			continue
		}
		x := sum / float64(end-k)
		if begin := n.vertices[first].up[0]; k == 0 {
			x = n.vertices[begin.to].x + begin.far
		} else if goal := n.vertices[first+count-1].down[0]; end == count {
			x = n.vertices[goal.to].x + goal.far
		}
		for x = max(least, min(x, most)); k < end; k++ {
			n.vertices[first+k].x = x
		}
	}
}

// gap is the least distance of the middles of two neighbours on a row.
func (n *net) gap(a, b int32, o Options) float64 {
	gap := o.BoxGap
	if n.vertices[a].width == 0 || n.vertices[b].width == 0 {
		gap = float64(gap * bendShare)
	}
	return (n.vertices[a].width+n.vertices[b].width)/2 + gap
}

// placer has the space that aligning a row needs.
type placer struct {
	*net
	gap    func(a, b int32) float64
	blocks []block
}

// A block is some neighbours that touch, as one.
type block struct {
	sum, weight float64 // of where they want to be, each moved left by the distances before it
	first, end  int
}

func (b block) at() float64 { return b.sum / b.weight }

// align moves the vertices of a row towards those above, or below, or both.
func (p *placer) align(row []int32, up, both bool) {
	p.blocks = p.blocks[:0]
	before := 0.0 // the sum of the least distances
	for i, v := range row {
		if i > 0 {
			before += p.gap(row[i-1], v)
		}
		at, weight := p.wish(&p.vertices[v], up, both)
		p.blocks = append(p.blocks, block{float64((at - before) * weight), weight, i, i + 1})
		for len(p.blocks) > 1 {
			a, b := p.blocks[len(p.blocks)-2], p.blocks[len(p.blocks)-1]
			if a.at() <= b.at() {
				break
			}
			p.blocks = append(p.blocks[:len(p.blocks)-2], block{a.sum + b.sum, a.weight + b.weight, a.first, b.end})
		}
	}
	before = 0
	for _, b := range p.blocks {
		for i := b.first; i < b.end; i++ {
			if i > 0 {
				before += p.gap(row[i-1], row[i])
			}
			p.vertices[row[i]].x = b.at() + before
		}
	}
}

// wish is where a vertex would be best, and how much that weighs. The conversions keep processors from rounding products and sums together, which not all can.
func (p *placer) wish(v *vertex, up, both bool) (at, weight float64) {
	add := func(links []link) {
		for _, l := range links {
			at += float64(l.weight * (p.vertices[l.to].x + l.far - l.at))
			weight += l.weight
		}
	}
	if up || both {
		add(v.up)
	}
	if !up || both {
		add(v.down)
	}
	if weight == 0 {
		return v.x, 0.25
	}
	return at / weight, weight
}

// draw makes the rows' heights of what is on them, and the routes.
func (n *net) draw(boxes []Box, lines []Line, o Options) *Drawing {
	d := &Drawing{Boxes: make([]Point, len(boxes)), Lines: make([]Route, len(lines))}
	top, bottom := make([]float64, len(n.rows)), make([]float64, len(n.rows))
	y := 0.0
	for r, row := range n.rows {
		height, side := 0.0, 0.0
		for _, v := range row {
			height = max(height, n.vertices[v].height)
			for _, l := range n.vertices[v].up {
				side = max(side, math.Abs(n.vertices[l.to].x+l.far-n.vertices[v].x-l.at))
			}
		}
		if r > 0 {
			y += max(o.RankGap/2, min(side/steep, maxGap))
		}
		top[r], bottom[r] = round(y), round(y+height)
		y = bottom[r]
	}
	d.Height = y
	for i := range n.vertices {
		v := &n.vertices[i]
		d.Width = max(d.Width, round(v.x+v.width/2))
		if i < len(boxes) {
			middle := (top[v.row] + bottom[v.row]) / 2
			d.Boxes[i] = Point{round(v.x - v.width/2), round(middle - v.height/2)}
		}
	}
	for i, l := range lines {
		from, to := n.vertices[l.From], n.vertices[l.To]
		begin := Point{round(from.x + l.FromX), d.Boxes[l.From].Y + from.height}
		end := Point{round(to.x + l.ToX), d.Boxes[l.To].Y}
		if n.first[i] < 0 {
			d.Lines[i] = Route{Points: []Point{begin, end}, Direct: true}
			continue
		}
		points := make([]Point, 0, 2*n.count[i]+4)
		points = append(points, begin, Point{begin.X, bottom[from.row]})
		for k := range n.count[i] {
			v := n.vertices[n.first[i]+k]
			x := round(v.x)
			if k == 0 {
				d.Lines[i].Label = Point{x, (top[v.row] + bottom[v.row]) / 2}
			}
			points = append(points, Point{x, top[v.row]}, Point{x, bottom[v.row]})
		}
		d.Lines[i].Points = append(points, Point{end.X, top[to.row]}, end)
	}
	return d
}

// round keeps a tenth of a pixel.
func round(v float64) float64 { return math.Round(v*10) / 10 }
