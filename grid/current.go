package grid

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// nearPart is what a near cache knows of one partition.
type nearPart struct {
	// until is up to when what is kept may be answered, in nanoseconds since nearStart; 0 while nothing may.
	until atomic.Int64
	// epoch counts how often everything was dropped.
	epoch atomic.Uint64
	asked atomic.Bool // somebody wanted something since the last look

	mu      sync.Mutex // held to change until and epoch
	proving atomic.Bool
}

// nearStart is what times count from, by the clock that goes on while nobody sets it.
var nearStart = time.Now()

// current reports whether what was kept in an epoch may be answered now.
func (p *nearPart) current(epoch uint64) bool {
	if !p.asked.Load() {
		p.asked.Store(true)
	}
	return p.epoch.Load() == epoch && int64(time.Since(nearStart)) < p.until.Load()
}

func (p *nearPart) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch.Add(1)
	p.until.Store(0)
}

// proved says that all that was acknowledged before a moment has been taken, unless everything was dropped meanwhile.
func (p *nearPart) proved(epoch uint64, at time.Time, staleness time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch.Load() == epoch && !at.IsZero() {
		p.until.Store(max(p.until.Load(), int64(at.Sub(nearStart)+staleness)))
	}
}

// prove has the partitions looked at now that are wanted and not current.
func (n *near) prove() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// nearPause is the least time between two looks.
const nearPause = 10 * time.Millisecond

// run proves again and again, four times in the time that a proof holds, that the partitions are current that somebody reads.
func (n *near) run() {
	g := n.c.grid
	every := min(n.cfg.Staleness/4, relayEvery)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var proofs sync.WaitGroup
	defer proofs.Wait()
	var last time.Time
	for {
		select {
		case <-timer.C:
			for i := range n.parts {
				p := &n.parts[i]
				// Beside one another: a dead owner must not keep the others waiting.
				if p.asked.Swap(false) && p.proving.CompareAndSwap(false, true) {
					proofs.Go(func() {
						defer p.proving.Store(false)
						n.proveOne(i)
					})
				}
			}
			last = time.Now()
			timer.Reset(every)
		case <-n.wake:
			timer.Reset(max(0, nearPause-time.Since(last)))
		case <-n.stop:
			return
		case <-g.done:
			return
		}
	}
}

func (n *near) proveOne(part int) {
	g, p := n.c.grid, &n.parts[part]
	ctx, cancel := context.WithTimeout(until(n.stop), g.cfg.Timeout)
	defer cancel()
	epoch := p.epoch.Load()
	at, err := g.current(ctx, n.c.partitions[part], n.c.name)
	if err != nil {
		g.cfg.Logger.Debug("a near cache is not current", "cache", n.c.name, "partition", part, "error", err)
		return
	}
	p.proved(epoch, at, n.cfg.Staleness)
}

// current returns a moment for which it is known that every change that was acknowledged before it has been offered to those who take the cache's changes
// on this node; zero where that is not known yet.
func (g *Grid) current(ctx context.Context, p *partition, cache string) (time.Time, error) {
	t := p.tenure()
	if t == nil && !g.alone() {
		return g.relays.current(ctx, p, cache)
	}
	if t == nil {
		return time.Time{}, ErrNotOwner
	}
	asked := time.Now()
	if _, err := t.answer(ctx, question{Op: askEnd}); err != nil {
		return time.Time{}, err
	}
	t.index.mu.Lock()
	defer t.index.mu.Unlock()
	if !t.offering || p.tenure() != t {
		return time.Time{}, nil
	}
	return asked, nil
}

// current is Grid.current where another node owns the partition: what its owner has sent by the time that it answers must have come.
func (r *relays) current(ctx context.Context, p *partition, cache string) (time.Time, error) {
	key := relayKey{p, cache}
	r.mu.Lock()
	s := r.running[key]
	r.mu.Unlock()
	if s == nil {
		return time.Time{}, r.open(ctx, p, cache)
	}
	asked := time.Now()
	a, err := r.g.ask(ctx, p, question{Op: askRelay, Cache: cache, Values: s.values})
	if err != nil {
		return time.Time{}, err
	}
	if a.Unfed {
		return time.Time{}, nil
	}
	at, same := s.promised(asked, a)
	if !same {
		return time.Time{}, r.renew(ctx, s)
	}
	return at, nil
}

// promised notes what an owner had sent by the time that it answered, and returns when the last such question was asked whose answer came true.
func (s *relay) promised(asked time.Time, a answer) (at time.Time, same bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fence != a.Fence || s.number/outletSpan != a.Sent/outletSpan {
		return time.Time{}, false
	}
	switch {
	case s.taken >= a.Sent:
		s.proven = asked
	case s.due <= s.taken: // an earlier promise is waited for first, or none would come true under a flood
		s.due, s.dueAsked = a.Sent, asked
	}
	return s.proven, true
}

// took notes that a message was handed on.
func (s *relay) took(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken < s.due && s.due <= number {
		s.proven = s.dueAsked
	}
	s.taken = max(s.taken, number)
}

// restart makes number the last message that is asked for no more: what was promised counts no more, and what was sent before, by another owner perhaps whose numbers say
// nothing of this one's, is not waited for.
// Lock is held.
func (s *relay) restart(fence, number uint64) {
	s.fence, s.number, s.taken, s.sent = fence, number, number, number
	s.due, s.proven = 0, time.Time{}
}
