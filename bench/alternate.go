package main

import (
	"context"
	"runtime"
	"time"
)

// A side is one of two programs that are compared: it does its work n times.
type side func(ctx context.Context, n int) error

// clock is what a measurement reads before and after.
type clock func() time.Duration

var started = time.Now()

func wallTime() time.Duration { return time.Since(started) }

// alternate measures seconds a run. Both sides take turns in blocks of a few milliseconds, or of one run where that is longer; a
// round's pair is the best block of each side, because whatever else the machine does makes a block only slower. Both sides'
// blocks take about the same time, or the shorter ones would be disturbed less.
func alternate(ctx context.Context, o options, now clock, own, peer side) ([]pair, error) {
	const block = 4 * time.Millisecond
	round := 2 * time.Second
	if o.short {
		round = 600 * time.Millisecond
	}
	if o.longer {
		round *= 3
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var n [2]int
	var takes [2]time.Duration
	sides := [2]side{own, peer}
	for i, s := range sides {
		took, err := timed(ctx, now, s, 1) // the first run may prepare something
		if err != nil {
			return nil, err
		}
		for n[i] = 1; took < block/2 && n[i] < 1<<20; {
			n[i] *= 2
			if took, err = timed(ctx, now, s, n[i]); err != nil {
				return nil, err
			}
		}
		takes[i] = took
	}
	for i := range n {
		n[i] *= max(1, int(takes[1-i]/max(1, takes[i])))
	}
	pairs := make([]pair, 0, o.rounds)
	for range o.rounds {
		runtime.GC()
		best := [2]float64{}
		for blocks, begin := 0, time.Now(); blocks < 5 || time.Since(begin) < round; blocks++ {
			for i, s := range sides {
				took, err := timed(ctx, now, s, n[i])
				if err != nil {
					return nil, err
				}
				if each := took.Seconds() / float64(n[i]); best[i] == 0 || each < best[i] {
					best[i] = each
				}
			}
		}
		pairs = append(pairs, pair{own: best[0], peer: best[1]})
	}
	return pairs, nil
}

func timed(ctx context.Context, now clock, s side, n int) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	begin := now()
	err := s(ctx, n)
	return now() - begin, err
}

// mapped gives both sides of pairs another unit.
func mapped(pairs []pair, unit func(seconds float64) float64) []pair {
	out := make([]pair, len(pairs))
	for i, p := range pairs {
		out[i] = pair{unit(p.own), unit(p.peer)}
	}
	return out
}
