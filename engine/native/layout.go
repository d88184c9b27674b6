package native

import (
	"fmt"
	"slices"
)

// arenaAlign is the alignment of slots in the arena, a cache line's.
const arenaAlign = 64

// layout gives every arena slot its place, so that slots that live at the same time do not overlap, and returns the
// arena's size. It takes the slots by their first node and puts each into the best gap.
func layout(slots []slot, limit int64) (int, error) {
	var order []int
	for i := range slots {
		if slots[i].kind == slotArena {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return slots[a].first - slots[b].first })
	owner := takeOver(slots, order)
	// What an owner's memory is used for, from first to last.
	type block struct{ slot, from, to, lo, hi int }
	var blocks []block
	index := map[int]int{}
	for _, i := range order {
		s := &slots[i]
		from, to := s.first, max(s.last, s.to)
		if s.from >= 0 {
			from = min(from, s.from)
		}
		if k, ok := index[owner[i]]; ok {
			blocks[k].from, blocks[k].to = min(blocks[k].from, from), max(blocks[k].to, to)
			continue
		}
		index[owner[i]] = len(blocks)
		blocks = append(blocks, block{slot: owner[i], from: from, to: to})
	}
	slices.SortStableFunc(blocks, func(a, b block) int { return a.from - b.from })
	if limit < 0 {
		return 0, fmt.Errorf("%w: the outputs alone are larger (engines.native.max_run_bytes)", errTooLarge)
	}
	size := 0
	var live []block
	for _, b := range blocks {
		live = slices.DeleteFunc(live, func(l block) bool { return l.to < b.from })
		need := (slots[b.slot].bytes() + arenaAlign - 1) / arenaAlign * arenaAlign
		best, bestGap, at := -1, -1, 0
		for _, l := range live {
			if gap := l.lo - at; gap >= need && (bestGap < 0 || gap < bestGap) {
				best, bestGap = at, gap
			}
			at = max(at, l.hi)
		}
		if best < 0 {
			best = at
		}
		if int64(best)+int64(need) > limit {
			return 0, fmt.Errorf("%w: a run needs %d bytes beside its outputs, %d are left (engines.native.max_run_bytes)", errTooLarge, best+need, limit)
		}
		b.lo, b.hi = best, best+need
		slots[b.slot].offset = best
		size = max(size, b.hi)
		k, _ := slices.BinarySearchFunc(live, best, func(l block, x int) int { return l.lo - x })
		live = slices.Insert(live, k, b)
	}
	for _, i := range order {
		slots[i].offset = slots[owner[i]].offset
	}
	return size, nil
}

// takeOver settles which slots take over another's memory: those whose node is the last one that uses it. It returns
// the slot whose memory each has in the end.
func takeOver(slots []slot, order []int) []int {
	owner := make([]int, len(slots))
	last := make([]int, len(slots)) // of all slots in an owner's memory
	for i := range slots {
		owner[i], last[i] = i, slots[i].last
	}
	for _, i := range order {
		j := slots[i].into - 1
		if j < 0 || slots[j].last != slots[i].first {
			continue
		}
		if o := owner[j]; last[o] <= slots[i].first {
			owner[i] = o
			last[o] = max(last[o], slots[i].last)
		}
	}
	return owner
}
