package native

import (
	"fmt"
	"slices"
)

// arenaAlign is the alignment of slots in the arena, a cache line's.
const arenaAlign = 64

// layout gives every arena slot its place, so that slots that live at the same time do not overlap, and returns the
// arena's size. It takes the slots by their first node and puts each into the smallest gap that it fits.
func layout(slots []slot, limit int64) (int, error) {
	var order []int
	for i := range slots {
		if slots[i].kind == slotArena {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(slots[a].first - slots[b].first) })
	owner := takeOver(slots, order)
	// What an owner's memory is used for, from first to last.
	type block struct {
		slot, from, to int32
		lo, hi         int
	}
	var blocks []block
	index := make([]int32, len(slots)) // 1 + the block of an owner
	for _, i := range order {
		s := &slots[i]
		from, to := s.first, max(s.last, s.to)
		if s.from >= 0 {
			from = min(from, s.from)
		}
		if k := index[owner[i]] - 1; k >= 0 {
			blocks[k].from, blocks[k].to = min(blocks[k].from, from), max(blocks[k].to, to)
			continue
		}
		index[owner[i]] = int32(len(blocks)) + 1
		blocks = append(blocks, block{slot: owner[i], from: from, to: to})
	}
	slices.SortStableFunc(blocks, func(a, b block) int { return int(a.from - b.from) })
	ending := make([]int, len(blocks))
	for i := range ending {
		ending[i] = i
	}
	slices.SortFunc(ending, func(a, b int) int { return int(blocks[a].to - blocks[b].to) })
	if limit < 0 {
		return 0, fmt.Errorf("%w: the outputs alone are larger (engines.native.max_run_bytes)", errTooLarge)
	}
	size := 0
	free := newGaps()
	for i := range blocks {
		b := &blocks[i]
		for ; blocks[ending[0]].to < b.from; ending = ending[1:] {
			gone := &blocks[ending[0]]
			free.give(gone.lo, gone.hi)
		}
		need := (slots[b.slot].bytes() + arenaAlign - 1) / arenaAlign * arenaAlign
		b.lo = free.take(need)
		if b.hi = b.lo + need; int64(b.hi) > limit {
			return 0, fmt.Errorf("%w: a run needs %d bytes beside its outputs, %d are left (engines.native.max_run_bytes)", errTooLarge, b.hi, limit)
		}
		slots[b.slot].offset = b.lo
		size = max(size, b.hi)
	}
	for _, i := range order {
		slots[i].offset = slots[owner[i]].offset
	}
	return size, nil
}

// takeOver settles which slots take over another's memory: those whose node is the last one that uses it. It returns
// the slot whose memory each has in the end.
func takeOver(slots []slot, order []int) []int32 {
	owner := make([]int32, len(slots))
	last := make([]int32, len(slots)) // of all slots in an owner's memory
	for i := range slots {
		owner[i], last[i] = int32(i), slots[i].last
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
