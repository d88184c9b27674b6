package layered

import (
	"cmp"
	"slices"
)

// Limits on the work of ordering: how often all rows are gone through, less for large graphs, and for how many pairs of links two neighbours are compared.
const (
	sweeps      = 12
	fewSweeps   = 4
	largeNet    = 30_000
	maxCompared = 4096
)

// order puts each row into an order with few crossings: the barycenters of the rows above and below in turn, then exchanges of neighbours. The best order that was seen counts.
func (n *net) order() {
	n.walk()
	best, crossings := n.positions(), n.crossings()
	rounds := sweeps
	if len(n.vertices) > largeNet {
		rounds = fewSweeps
	}
	for i := 0; i < rounds && crossings > 0; i++ {
		n.sweep(i%2 == 0)
		n.exchange()
		if c := n.crossings(); c < crossings {
			best, crossings = n.positions(), c
		}
	}
	n.restore(best)
}

// walk begins with the order in which a walk down from the boxes at the top comes to the vertices: what belongs together lies together.
func (n *net) walk() {
	seen := make([]bool, len(n.vertices))
	rows := make([][]int32, len(n.rows))
	var stack []int32
	for _, row := range n.rows {
		for _, start := range row {
			stack = append(stack, start)
			for len(stack) > 0 {
				v := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				if seen[v] {
					continue
				}
				seen[v] = true
				rows[n.vertices[v].row] = append(rows[n.vertices[v].row], v)
				for _, l := range slices.Backward(n.vertices[v].down) {
					if !seen[l.to] {
						stack = append(stack, l.to)
					}
				}
			}
		}
	}
	n.rows = rows
	n.number()
}

func (n *net) number() {
	for _, row := range n.rows {
		for i, v := range row {
			n.vertices[v].pos = int32(i)
		}
	}
}

func (n *net) positions() [][]int32 {
	c := make([][]int32, len(n.rows))
	for i, row := range n.rows {
		c[i] = slices.Clone(row)
	}
	return c
}

func (n *net) restore(rows [][]int32) {
	n.rows = rows
	n.number()
}

// end is where a link ends on its far row, in places: lines that leave one box from different points keep their order.
func (n *net) end(l link) float64 {
	v := &n.vertices[l.to]
	at := float64(v.pos)
	if v.width > 0 {
		at += l.far / v.width * 0.9
	}
	return at
}

// sweep orders each row by the barycenters of the row before it; vertices without a link there keep their places.
func (n *net) sweep(down bool) {
	type mean struct {
		v  int32
		at float64
	}
	var means []mean
	var places []int32
	for i := range n.rows {
		row := n.rows[i]
		if !down {
			row = n.rows[len(n.rows)-1-i]
		}
		means, places = means[:0], places[:0]
		for k, v := range row {
			links := n.vertices[v].up
			if !down {
				links = n.vertices[v].down
			}
			if len(links) == 0 {
				continue
			}
			sum := 0.0
			for _, l := range links {
				sum += n.end(l)
			}
			means = append(means, mean{v, sum / float64(len(links))})
			places = append(places, int32(k))
		}
		slices.SortStableFunc(means, func(a, b mean) int { return cmp.Compare(a.at, b.at) })
		for k, m := range means {
			row[places[k]] = m.v
			n.vertices[m.v].pos = places[k]
		}
	}
}

// exchange swaps neighbours on a row where that leaves fewer crossings.
func (n *net) exchange() {
	for _, row := range n.rows {
		for i := 0; i+1 < len(row); i++ {
			a, b := &n.vertices[row[i]], &n.vertices[row[i+1]]
			if len(a.up)*len(b.up)+len(a.down)*len(b.down) > maxCompared {
				continue
			}
			u1, u2 := n.pairs(a.up, b.up)
			d1, d2 := n.pairs(a.down, b.down)
			if u2+d2 < u1+d1 {
				row[i], row[i+1] = row[i+1], row[i]
				a.pos, b.pos = b.pos, a.pos
			}
		}
	}
}

// pairs counts how many pairs of links cross with a's vertex before b's, and after it.
func (n *net) pairs(a, b []link) (now, swapped int) {
	for _, x := range a {
		at := n.end(x)
		for _, y := range b {
			switch to := n.end(y); {
			case at > to:
				now++
			case at < to:
				swapped++
			}
		}
	}
	return now, swapped
}

// crossings counts the pairs of pieces that cross between all rows: those whose order above and below differs, by sorting.
func (n *net) crossings() (count int) {
	type piece struct{ above, below float64 }
	var pieces []piece
	var belows, space []float64
	for _, row := range n.rows {
		pieces = pieces[:0]
		for _, v := range row {
			vertex := &n.vertices[v]
			for _, l := range vertex.down {
				above := float64(vertex.pos)
				if vertex.width > 0 {
					above += l.at / vertex.width * 0.9
				}
				pieces = append(pieces, piece{above, n.end(l)})
			}
		}
		slices.SortFunc(pieces, func(a, b piece) int { return cmp.Or(cmp.Compare(a.above, b.above), cmp.Compare(a.below, b.below)) })
		belows = belows[:0]
		for _, p := range pieces {
			belows = append(belows, p.below)
		}
		space = slices.Grow(space[:0], len(belows))[:len(belows)]
		count += inversions(belows, space)
	}
	return count
}

// inversions sorts s by merging, and returns how many pairs were in the wrong order.
func inversions(s, space []float64) (count int) {
	if len(s) < 2 {
		return 0
	}
	m := len(s) / 2
	count = inversions(s[:m], space[:m]) + inversions(s[m:], space[m:])
	copy(space, s)
	a, b := space[:m], space[m:]
	for k := range s {
		if len(b) == 0 || len(a) > 0 && a[0] <= b[0] {
			s[k], a = a[0], a[1:]
		} else {
			s[k], b = b[0], b[1:]
			count += len(a)
		}
	}
	return count
}
