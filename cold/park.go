package cold

import (
	"container/heap"
	"time"

	"github.com/millrace/millrace/grid"
)

// parking is where values are that should leave memory and cannot yet.
type parking struct {
	at map[*value]parkedAt
	// waits has them by partition, the lowest revision first, and some that are not parked any more.
	waits map[int]*revisions
	left  []parkedValue // those with a time, soonest first
}

// parkedAt is what a parked value waits for: readers, or a time.
type parkedAt struct {
	partition int
	revision  grid.Revision
	until     time.Time
}

type parkedValue struct {
	v  *value
	at parkedAt
}

func newParking() parking {
	return parking{at: make(map[*value]parkedAt), waits: make(map[int]*revisions)}
}

func (p *parking) put(v *value, at parkedAt) {
	v.in = inParked
	p.at[v] = at
	if !at.until.IsZero() {
		p.left = append(p.left, parkedValue{v, at})
		return
	}
	r := p.waits[at.partition]
	if r == nil {
		r = &revisions{}
		p.waits[at.partition] = r
	}
	heap.Push(r, parkedValue{v, at})
}

// take takes one out.
func (p *parking) take(v *value) {
	delete(p.at, v)
	v.in = inNone
}

// partitions returns where readers are waited for.
func (p *parking) partitions() []int {
	var out []int
	for partition, r := range p.waits {
		for len(*r) > 0 && p.at[(*r)[0].v] != (*r)[0].at {
			heap.Pop(r)
		}
		if len(*r) > 0 {
			out = append(out, partition)
		}
	}
	return out
}

// due takes out what readers have passed, and what waited for a time that has come.
func (p *parking) due(passed map[int]grid.Sequence, now time.Time) (out []*value) {
	for partition, at := range passed {
		r := p.waits[partition]
		for r != nil && len(*r) > 0 && grid.Sequence((*r)[0].at.revision) <= at {
			if one := heap.Pop(r).(parkedValue); p.at[one.v] == one.at {
				p.take(one.v)
				out = append(out, one.v)
			}
		}
	}
	for len(p.left) > 0 && !now.Before(p.left[0].at.until) {
		if one := p.left[0]; p.at[one.v] == one.at {
			p.take(one.v)
			out = append(out, one.v)
		}
		p.left = p.left[1:]
	}
	return out
}

type revisions []parkedValue

func (r revisions) Len() int           { return len(r) }
func (r revisions) Less(i, j int) bool { return r[i].at.revision < r[j].at.revision }
func (r revisions) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *revisions) Push(x any)        { *r = append(*r, x.(parkedValue)) }
func (r *revisions) Pop() any {
	old := *r
	last := old[len(old)-1]
	old[len(old)-1] = parkedValue{}
	*r = old[:len(old)-1]
	return last
}
