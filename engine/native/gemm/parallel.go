package gemm

// Parallel spreads the parts of one call over the caller's threads. The engine
// implements it; this package starts no goroutine of its own.
type Parallel interface {
	// Workers is how many parts may run at the same time, at least 1. It must
	// not change between sizing the scratch memory and the call.
	Workers() int
	// Run calls t.Do(i) exactly once for each i in [0, n), in any order and
	// possibly at the same time, and returns after the last one returned.
	Run(n int, t Task)
}

// Task is a call that was cut into parts. A task's parts write to different
// memory.
type Task interface {
	Do(i int)
}

func workers(p Parallel) int {
	if p == nil {
		return 1
	}
	return max(1, p.Workers())
}

// run does the n parts of t, on the calling goroutine where there is one part
// or no Parallel.
func run(p Parallel, n int, t Task) {
	if p == nil || n == 1 {
		for i := range n {
			t.Do(i)
		}
		return
	}
	p.Run(n, t)
}

// share cuts n units into parts pieces that differ by at most one unit and
// returns where piece i begins and ends.
func share(n, parts, i int) (lo, hi int) {
	q, r := n/parts, n%parts
	lo = i*q + min(i, r)
	hi = lo + q
	if i < r {
		hi++
	}
	return lo, hi
}
