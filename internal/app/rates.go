package app

import (
	"sync"
	"time"
)

// rates turns counters into how many a second, over about the last two seconds. It is safe for concurrent use.
type rates struct {
	mu   sync.Mutex
	seen map[string][]sample
}

type sample struct {
	at time.Time
	n  uint64
}

const (
	rateSpan  = 2 * time.Second
	rateShort = 200 * time.Millisecond // two samples are at least this far apart
)

// of notes a counter's value and returns its rate; 0 for a counter that was not asked for lately.
func (r *rates) of(name string, n uint64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string][]sample{}
	}
	now := time.Now()
	s := r.seen[name]
	for len(s) > 1 && now.Sub(s[1].at) > rateSpan {
		s = s[1:]
	}
	if len(s) == 0 || now.Sub(s[len(s)-1].at) >= rateShort {
		s = append(s, sample{now, n})
	}
	r.seen[name] = s
	took := now.Sub(s[0].at)
	if took < rateShort || n < s[0].n {
		return 0
	}
	return float64(n-s[0].n) / took.Seconds()
}
