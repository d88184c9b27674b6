package layered

import (
	"fmt"
	"slices"
)

// rank gives each box a rank, 0 at the top: below all boxes that have a line to it, as high as that allows; then what has more lines down than up sinks towards what it has lines to.
func rank(boxes []Box, lines []Line) ([]int32, error) {
	down, up := neighbours(len(boxes), lines)
	waits := make([]int32, len(boxes))
	order := make([]int32, 0, len(boxes))
	for b := range boxes {
		waits[b] = int32(len(up.of(b)))
		if waits[b] == 0 {
			order = append(order, int32(b))
		}
	}
	ranks := make([]int32, len(boxes))
	for i := 0; i < len(order); i++ {
		b := order[i]
		for _, l := range down.of(int(b)) {
			to := lines[l].To
			ranks[to] = max(ranks[to], ranks[b]+1)
			if waits[to]--; waits[to] == 0 {
				order = append(order, int32(to))
			}
		}
	}
	if len(order) < len(boxes) {
		b := slices.IndexFunc(waits, func(n int32) bool { return n > 0 })
		return nil, fmt.Errorf("%w: its lines make a cycle, at or above box %d", ErrInvalid, b)
	}
	var last int32
	for _, r := range ranks {
		last = max(last, r)
	}
	for _, b := range slices.Backward(order) {
		ins, outs := up.of(int(b)), down.of(int(b))
		if len(outs) == 0 {
			if boxes[b].Last {
				ranks[b] = last
			}
			continue
		}
		if len(outs) < len(ins) || len(ins) == 0 && boxes[b].First || len(outs) == len(ins) && len(ins) > 0 {
			continue
		}
		room := last
		for _, l := range outs {
			room = min(room, ranks[lines[l].To]-1)
		}
		ranks[b] = room
	}
	return ranks, nil
}

// lists are the numbers of lines by box, in one array.
type lists struct{ start, all []int32 }

func (l lists) of(i int) []int32 { return l.all[l.start[i]:l.start[i+1]] }

// neighbours lists the lines that begin at each box, and those that end there.
func neighbours(boxes int, lines []Line) (down, up lists) {
	by := func(end func(Line) int) lists {
		l := lists{make([]int32, boxes+1), make([]int32, len(lines))}
		for _, line := range lines {
			l.start[end(line)+1]++
		}
		for i := range boxes {
			l.start[i+1] += l.start[i]
		}
		next := slices.Clone(l.start)
		for i, line := range lines {
			l.all[next[end(line)]] = int32(i)
			next[end(line)]++
		}
		return l
	}
	return by(func(l Line) int { return l.From }), by(func(l Line) int { return l.To })
}
