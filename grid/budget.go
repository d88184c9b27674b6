package grid

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Budget bounds the bytes that wait for listeners: for each, and for all that share it. Where there is no room, one listener ends with
// ErrBehind, and what waited for it is dropped: one that is over its own bound, or, when all are over theirs, the one whose reader has taken
// nothing for longest, and so on. One that waits alone stays.
// It is safe for concurrent use.
type Budget struct {
	all, each int64
	used      atomic.Int64
	behind    atomic.Uint64

	mu     sync.Mutex
	shares map[*share]struct{}
}

// eventCost is what an event takes in memory beside its key and value, about.
const eventCost = 128

// NewBudget returns a budget of all bytes for all listeners, and each for one. A listener has room for two events whatever their size, so that
// it gets on even where one is larger than each.
func NewBudget(all, each int64) *Budget {
	return &Budget{all: all, each: each, shares: map[*share]struct{}{}}
}

// Used returns how many bytes wait for listeners, with those that Hold was told of.
func (b *Budget) Used() int64 { return b.used.Load() }

// Behind returns how many listeners ended because there was no room.
func (b *Budget) Behind() uint64 { return b.behind.Load() }

// open takes a share that holds fixed bytes for as long as it is open. Without room for those it returns ErrBehind.
func (b *Budget) open(fixed int64) (*share, error) {
	if b == nil {
		return nil, nil //nolint:nilnil // a listener without a budget has no share, and its methods know that
	}
	s := &share{budget: b, bytes: fixed, fixed: fixed, over: make(chan struct{})}
	b.mu.Lock()
	b.shares[s] = struct{}{}
	b.mu.Unlock()
	if b.used.Add(fixed) > b.all && !b.shed() {
		s.close()
		return nil, fmt.Errorf("%w: no room for one more listener: %d bytes are taken of %d for all", ErrBehind, b.used.Load(), b.all)
	}
	return s, nil
}

// shed ends listeners until what waits for the others fits. It is false where that is not enough.
func (b *Budget) shed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	type holder struct {
		s     *share
		bytes int64
		since time.Time
	}
	var staying []holder
	var sum int64
	for s := range b.shares {
		bytes, since, ended := s.look()
		if ended {
			continue // it is about to give back what it has
		}
		sum += bytes
		if bytes > s.fixed {
			staying = append(staying, holder{s, bytes, since})
		}
	}
	slices.SortFunc(staying, func(x, y holder) int { return x.since.Compare(y.since) })
	for i, h := range staying {
		if sum <= b.all || i == len(staying)-1 {
			break
		}
		h.s.end()
		sum -= h.bytes
	}
	return sum <= b.all
}

// A share is what one listener has of a budget. A nil one bounds nothing.
type share struct {
	budget *Budget
	fixed  int64
	over   chan struct{} // closed when the listener is to end

	mu     sync.Mutex
	bytes  int64
	since  time.Time // when the reader took something last, or something began to wait for it
	ended  bool
	closed bool
}

// add takes n bytes, or gives them back where n is negative. It may end listeners, this one too, which over and full tell.
func (s *share) add(n int64) {
	if s == nil || n == 0 {
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	if n > 0 && s.bytes <= s.fixed {
		s.since = time.Now()
	}
	s.bytes += n
	s.mu.Unlock()
	if s.budget.used.Add(n) > s.budget.all && n > 0 {
		s.budget.shed()
	}
}

// took notes that the reader took something.
func (s *share) took() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// full reports whether the listener is to end: the budget said so, or it is over its own bound while more than one event waits.
func (s *share) full(waiting int) bool {
	if s == nil {
		return false
	}
	bytes, _, ended := s.look()
	if !ended && waiting > 1 && bytes > s.budget.each {
		s.end()
		return true
	}
	return ended
}

func (s *share) look() (bytes int64, since time.Time, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.since, s.ended
}

func (s *share) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.closed {
		s.ended = true
		s.budget.behind.Add(1)
		close(s.over)
	}
}

// ends is closed when the listener is to end; nil, which is never, without a budget.
func (s *share) ends() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.over
}

// close gives everything back.
func (s *share) close() {
	if s == nil {
		return
	}
	s.budget.mu.Lock()
	delete(s.budget.shares, s)
	s.budget.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget.used.Add(-s.bytes)
	s.bytes, s.closed = 0, true
}
