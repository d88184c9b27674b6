package diagram

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// group makes the boxes for nodes of a level that are all in the scopes path: a box for each of the next scopes, and one for each node that is in no further one. Their lines make no cycle, and they are in
// topological order.
func (l *level) group(nodes []int32, path []string, key string) []*box {
	byName := map[string]int32{}
	of := make(map[int32]int32, len(nodes)) // node -> group
	var groups [][]int32
	for _, i := range nodes {
		g := int32(len(groups))
		if names := l.scope(i); len(names) > len(path) {
			if old, ok := byName[names[len(path)]]; ok {
				g = old
			} else {
				byName[names[len(path)]] = g
			}
		}
		if int(g) == len(groups) {
			groups = append(groups, nil)
		}
		of[i], groups[g] = g, append(groups[g], i)
	}
	groups = l.split(groups, of)
	order := l.sorted(groups, of)
	boxes := make([]*box, len(order))
	pieces := map[string]int{}
	for at, g := range order {
		boxes[at] = l.boxOf(groups[g], path, pieces)
	}
	return gather(l, boxes, path, key)
}

// boxOf makes the box of a group. Scopes with one scope in them and nothing else are one box. pieces counts the boxes of each scope.
func (l *level) boxOf(nodes []int32, path []string, pieces map[string]int) *box {
	if len(nodes) == 1 {
		inner := l.scope(nodes[0])[len(path):] // scopes that have no other node here
		return &box{kind: operator, level: l, nodes: nodes, key: fmt.Sprintf("%s@%d", l.prefix, nodes[0]), title: strings.Join(append(slices.Clip(inner), ownName(l.Nodes[nodes[0]])), "/")}
	}
	common := l.scope(nodes[0])
	for _, i := range nodes[1:] {
		names := l.scope(i)
		n := 0
		for n < min(len(common), len(names)) && common[n] == names[n] {
			n++
		}
		common = common[:n]
	}
	b := &box{kind: scope, level: l, nodes: nodes, path: common, title: strings.Join(common[len(path):], "/"), key: l.prefix + strings.Join(common, "/")}
	if pieces[b.key]++; pieces[b.key] > 1 {
		b.title = fmt.Sprintf("%s (%d)", b.title, pieces[b.key])
	}
	return b
}

// gather puts boxes that follow each other into parts where there are too many.
func gather(l *level, boxes []*box, path []string, key string) []*box {
	if len(boxes) <= maxChildren {
		return boxes
	}
	parts := min((len(boxes)+partSize-1)/partSize, maxChildren/3)
	var out []*box
	for p := range parts {
		first, end := len(boxes)*p/parts, len(boxes)*(p+1)/parts
		part := &box{kind: scope, level: l, path: path, title: fmt.Sprintf("part %d of %d", p+1, parts), key: fmt.Sprintf("%s#%d", key, p+1), inside: boxes[first:end]}
		for _, b := range part.inside {
			part.nodes = append(part.nodes, b.nodes...)
		}
		slices.Sort(part.nodes)
		out = append(out, part)
	}
	return out
}

// split cuts groups that are before and after each other into pieces that are not. Groups that are in no cycle stay whole.
func (l *level) split(groups [][]int32, of map[int32]int32) [][]int32 {
	cyclic := l.cyclic(groups, of)
	if len(cyclic) == 0 {
		return groups
	}
	// The nodes of these groups, in a topological order that stays in a group for as long as it can.
	waits := map[int32]int{}
	next := map[int32][]int32{}
	ready := make([][]int32, len(groups))
	var turn []int32 // groups with something ready
	become := func(i int32) {
		g := of[i]
		if len(ready[g]) == 0 {
			turn = append(turn, g)
		}
		ready[g] = append(ready[g], i)
	}
	var all []int32
	for _, g := range cyclic {
		all = append(all, groups[g]...)
	}
	slices.Sort(all)
	within := make(map[int32]bool, len(all))
	for _, i := range all {
		within[i] = true
	}
	for _, i := range all {
		for _, p := range l.needs[i] {
			if within[p] {
				waits[i]++
				next[p] = append(next[p], i)
			}
		}
		if waits[i] == 0 {
			become(i)
		}
	}
	whole := slices.Clone(groups)
	for _, g := range cyclic {
		whole[g] = nil
	}
	for ; len(turn) > 0; turn = turn[1:] {
		g := turn[0]
		var piece []int32
		for len(ready[g]) > 0 {
			i := ready[g][0]
			if ready[g] = ready[g][1:]; len(ready[g]) == 0 {
				ready[g] = nil
			}
			piece = append(piece, i)
			for _, to := range next[i] {
				if waits[to]--; waits[to] > 0 {
					continue
				}
				if of[to] == g {
					ready[g] = append(ready[g], to)
				} else {
					become(to)
				}
			}
		}
		slices.Sort(piece)
		whole = append(whole, piece)
	}
	whole = slices.DeleteFunc(whole, func(p []int32) bool { return len(p) == 0 })
	for g, nodes := range whole {
		for _, i := range nodes {
			of[i] = int32(g)
		}
	}
	return whole
}

// edges calls yield with each pair of groups of which the second takes something of the first; a pair may come several times.
func (l *level) edges(groups [][]int32, of map[int32]int32, yield func(from, to int32)) {
	for to, nodes := range groups {
		for _, i := range nodes {
			for _, p := range l.needs[i] {
				if from, ok := of[p]; ok && from != int32(to) {
					yield(from, int32(to))
				}
			}
		}
	}
}

// cyclic returns the groups that are left when those that nothing is before are taken away, again and again, and then those that nothing is after.
func (l *level) cyclic(groups [][]int32, of map[int32]int32) []int32 {
	gone := make([]bool, len(groups))
	peel := func(reverse bool) {
		waits, next := make([]int, len(groups)), make([][]int32, len(groups))
		l.edges(groups, of, func(from, to int32) {
			if reverse {
				from, to = to, from
			}
			if !gone[from] && !gone[to] {
				waits[to]++
				next[from] = append(next[from], to)
			}
		})
		var queue []int32
		for g := range groups {
			if waits[g] == 0 && !gone[g] {
				queue = append(queue, int32(g))
			}
		}
		for ; len(queue) > 0; queue = queue[1:] {
			gone[queue[0]] = true
			for _, to := range next[queue[0]] {
				if waits[to]--; waits[to] == 0 {
					queue = append(queue, to)
				}
			}
		}
	}
	peel(false)
	peel(true)
	var left []int32
	for g := range groups {
		if !gone[g] {
			left = append(left, int32(g))
		}
	}
	return left
}

// sorted returns the groups in topological order, the one with the first node first where there is a choice.
func (l *level) sorted(groups [][]int32, of map[int32]int32) []int32 {
	waits, next := make([]int, len(groups)), make([][]int32, len(groups))
	l.edges(groups, of, func(from, to int32) {
		waits[to]++
		next[from] = append(next[from], to)
	})
	h := &firstFirst{groups: groups}
	for g := range groups {
		if waits[g] == 0 {
			h.ready = append(h.ready, int32(g))
		}
	}
	heap.Init(h)
	var order []int32
	for h.Len() > 0 {
		g := heap.Pop(h).(int32)
		order = append(order, g)
		for _, to := range next[g] {
			if waits[to]--; waits[to] == 0 {
				heap.Push(h, to)
			}
		}
	}
	return order
}

// firstFirst is a heap of groups by their first node.
type firstFirst struct {
	groups [][]int32
	ready  []int32
}

func (h *firstFirst) Len() int { return len(h.ready) }
func (h *firstFirst) Less(a, b int) bool {
	return cmp.Less(h.groups[h.ready[a]][0], h.groups[h.ready[b]][0])
}
func (h *firstFirst) Swap(a, b int) { h.ready[a], h.ready[b] = h.ready[b], h.ready[a] }
func (h *firstFirst) Push(g any)    { h.ready = append(h.ready, g.(int32)) }
func (h *firstFirst) Pop() any {
	g := h.ready[len(h.ready)-1]
	h.ready = h.ready[:len(h.ready)-1]
	return g
}
