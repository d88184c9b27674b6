package native

import (
	"cmp"
	"slices"
)

// gaps are the free parts of an arena that grows at its end. Neighbouring ones are joined.
type gaps struct {
	bySize []gap // the smallest first, and of those of one size the first in the arena
	from   map[int]int
	to     map[int]int // begins by ends, as from has ends by begins
	top    int         // all beyond it is free
}

type gap struct{ size, at int }

func newGaps() *gaps { return &gaps{from: map[int]int{}, to: map[int]int{}} }

func compareGaps(a, b gap) int { return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.at, b.at)) }

// take returns the begin of size bytes that are free: in the smallest gap that has them, or at the end.
func (g *gaps) take(size int) int {
	if size == 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(g.bySize, gap{size: size}, compareGaps)
	if i == len(g.bySize) {
		g.top += size
		return g.top - size
	}
	best := g.bySize[i]
	g.remove(best.at, best.at+best.size)
	if best.size > size {
		g.add(best.at+size, best.at+best.size)
	}
	return best.at
}

// give frees what was taken.
func (g *gaps) give(lo, hi int) {
	if lo == hi {
		return
	}
	if end, ok := g.from[hi]; ok {
		g.remove(hi, end)
		hi = end
	}
	if begin, ok := g.to[lo]; ok {
		g.remove(begin, lo)
		lo = begin
	}
	if hi == g.top {
		g.top = lo
		return
	}
	g.add(lo, hi)
}

func (g *gaps) add(lo, hi int) {
	i, _ := slices.BinarySearchFunc(g.bySize, gap{hi - lo, lo}, compareGaps)
	g.bySize = slices.Insert(g.bySize, i, gap{hi - lo, lo})
	g.from[lo], g.to[hi] = hi, lo
}

func (g *gaps) remove(lo, hi int) {
	i, _ := slices.BinarySearchFunc(g.bySize, gap{hi - lo, lo}, compareGaps)
	g.bySize = slices.Delete(g.bySize, i, i+1)
	delete(g.from, lo)
	delete(g.to, hi)
}
