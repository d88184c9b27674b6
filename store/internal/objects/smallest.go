package objects

import (
	"container/heap"
	"maps"
	"slices"
)

// Smallest keeps the smallest of many names that come in no order, as groups, in bounded memory: for stores that list in an order of
// their own, of which one looks through all for each page.
type Smallest struct {
	// Max is how many names it keeps, and those of one group more.
	Max int

	groups map[string][]string
	heads  maxHeap
	count  int
	// bound is the head of the smallest group that was left out, "" for none.
	bound string
}

// Add takes a name, which may be left out again later.
func (s *Smallest) Add(n string) {
	head := Alike(n)
	if head == "" {
		head = n
	} else {
		head += "."
	}
	if s.bound != "" && head >= s.bound {
		return
	}
	if s.groups == nil {
		s.groups = map[string][]string{}
	}
	if s.groups[head] == nil {
		heap.Push(&s.heads, head)
	}
	s.groups[head] = append(s.groups[head], n)
	s.count++
	for s.count > s.Max && len(s.heads) > 1 {
		s.bound = heap.Pop(&s.heads).(string)
		s.count -= len(s.groups[s.bound])
		delete(s.groups, s.bound)
	}
}

// Groups returns what was kept, in order, and the head from which on names were left out, "" where none was.
func (s *Smallest) Groups() (groups [][]string, next string) {
	for _, head := range slices.Sorted(maps.Keys(s.groups)) {
		groups = append(groups, s.groups[head])
	}
	return groups, s.bound
}

type maxHeap []string

func (h maxHeap) Len() int           { return len(h) }
func (h maxHeap) Less(i, j int) bool { return h[i] > h[j] }
func (h maxHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *maxHeap) Push(x any)        { *h = append(*h, x.(string)) }
func (h *maxHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
