package grid

import (
	"container/heap"
	"time"
)

// due is a moment at which a key may be over.
type due struct {
	at         int64 // Unix nanoseconds
	cache, key string
	seq        Sequence
	idle       time.Duration // of a value with a max idle; at is then a guess
	marker     bool          // a marker that is forgotten
	publish    bool          // the server will not write the marker, so the owner does
}

// dueTimes are the moments of a partition, soonest first. Those of overwritten revisions are swept out when they are many.
type dueTimes struct {
	heap   dueHeap
	tidyAt int
}

// tidyMin is how many moments are kept without looking whether they still matter.
const tidyMin = 4096

// add schedules a moment; matters tells whether one is still about the present revision of its key.
func (t *dueTimes) add(d due, matters func(due) bool) {
	heap.Push(&t.heap, d)
	if len(t.heap) < max(t.tidyAt, tidyMin) {
		return
	}
	kept := make(dueHeap, 0, len(t.heap)/2)
	for _, d := range t.heap {
		if matters(d) {
			kept = append(kept, d)
		}
	}
	heap.Init(&kept)
	t.heap, t.tidyAt = kept, 2*len(kept)
}

// next takes the first moment that has come by now, in Unix nanoseconds.
func (t *dueTimes) next(now int64) (due, bool) {
	if len(t.heap) == 0 || t.heap[0].at > now {
		return due{}, false
	}
	return heap.Pop(&t.heap).(due), true
}

// soonest is when the first moment comes.
func (t *dueTimes) soonest() (int64, bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = due{}
	*h = old[:len(old)-1]
	if cap(*h) > 1024 && len(*h) < cap(*h)/4 {
		*h = append(make(dueHeap, 0, len(*h)*2), *h...)
	}
	return last
}
