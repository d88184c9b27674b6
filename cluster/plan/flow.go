package plan

import "math"

// flow is a network whose cheapest full flow is a plan: successive shortest paths, as in Ahuja, Magnanti and Orlin, "Network Flows", section 9.7.
// What is there already may be put in as a flow that was begun, where no cheaper one of the same amount is.
type flow struct {
	out   [][]int // of each vertex, the edges that leave it
	edges []edge  // an edge and the one back are neighbours
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
	distance, by := make([]int, len(f.out)), make([]int, len(f.out))
	queued := make([]bool, len(f.out))
	for {
		for v := range distance {
			distance[v], by[v] = math.MaxInt, -1
		}
		distance[source] = 0
		for queue := []int{source}; len(queue) > 0; {
			v := queue[0]
			queue = queue[1:]
			queued[v] = false
			for _, id := range f.out[v] {
				e := f.edges[id]
				if e.room > 0 && distance[v]+e.cost < distance[e.to] {
					distance[e.to], by[e.to] = distance[v]+e.cost, id
					if !queued[e.to] {
						queued[e.to] = true
						queue = append(queue, e.to)
					}
				}
			}
		}
		if by[sink] < 0 {
			return
		}
		for v := sink; v != source; v = f.edges[by[v]^1].to {
			f.take(by[v])
		}
	}
}
