package plan

import (
	"math"
	"slices"
)

// flow is a network whose cheapest full flow is a plan: successive shortest paths, as in Ahuja, Magnanti and Orlin, "Network Flows", section 9.7.
// What is there already may be put in as a flow that was begun. Where a cheaper one of the same amount is, it is made cheaper first, by circles of negative cost.
type flow struct {
	out   [][]int // of each vertex, the edges that leave it
	edges []edge  // an edge and the one back are neighbours
	by    []int   // of each vertex, the edge by which the last search came to it
}

type edge struct{ to, room, cost int }

func newFlow(vertices int) *flow { return &flow{out: make([][]int, vertices)} }

// add returns the number of a new edge.
func (f *flow) add(from, to, room, cost int) int {
	id := len(f.edges)
	f.edges = append(f.edges, edge{to, room, cost}, edge{from, 0, -cost})
	f.out[from], f.out[to] = append(f.out[from], id), append(f.out[to], id+1)
	return id
}

// take sends one unit along an edge, and reports whether there was room.
func (f *flow) take(id int) bool {
	if f.edges[id].room == 0 {
		return false
	}
	f.edges[id].room--
	f.edges[id^1].room++
	return true
}

// used is how much goes along an edge.
func (f *flow) used(id int) int { return f.edges[id^1].room }

// fill sends as much as there is room for, the cheapest way.
func (f *flow) fill(source, sink int) {
	for f.search() {
		// What was begun is cheaper by a circle; without any, what is added makes none.
	}
	for {
		f.search(source)
		if f.by[sink] < 0 {
			return
		}
		for v := sink; v != source; v = f.before(v) {
			f.take(f.by[v])
		}
	}
}

// search finds the cheapest ways from some vertices, or from any where there is none: by has the last edge of each, -1 where there is no way. Where it comes around a
// circle of negative cost it sends one unit around that instead, and reports that.
func (f *flow) search(from ...int) (turned bool) {
	n := len(f.out)
	distance, edges, queued := make([]int, n), make([]int, n), make([]bool, n)
	f.by = make([]int, n)
	for v := range n {
		distance[v], f.by[v] = math.MaxInt, -1
		if len(from) == 0 {
			distance[v] = 0
		}
	}
	queue := slices.Clone(from)
	for _, v := range from {
		distance[v] = 0
	}
	if len(from) == 0 {
		for v := range n {
			queue = append(queue, v)
		}
	}
	for _, v := range queue {
		queued[v] = true
	}
	for ; len(queue) > 0; queue = queue[1:] {
		v := queue[0]
		queued[v] = false
		for _, id := range f.out[v] {
			e := f.edges[id]
			if e.room == 0 || distance[v]+e.cost >= distance[e.to] {
				continue
			}
			distance[e.to], f.by[e.to], edges[e.to] = distance[v]+e.cost, id, edges[v]+1
			if edges[e.to] >= n { // it may have come around a circle
				at, steps := f.circle(e.to)
				if at >= 0 {
					f.turn(at)
					return true
				}
				edges[e.to] = steps
			}
			if !queued[e.to] {
				queued[e.to] = true
				queue = append(queue, e.to)
			}
		}
	}
	return false
}

// before is the vertex from which the last search came to v.
func (f *flow) before(v int) int { return f.edges[f.by[v]^1].to }

// circle returns a vertex of the circle by which the last search came to v; or -1, and the edges of the way, where it came without one.
func (f *flow) circle(v int) (at, steps int) {
	for steps := range f.by {
		if f.by[v] < 0 {
			return -1, steps
		}
		v = f.before(v)
	}
	return v, 0
}

// turn sends one unit around the circle that v is on.
func (f *flow) turn(v int) {
	for u := v; ; {
		f.take(f.by[u])
		if u = f.before(u); u == v {
			return
		}
	}
}
