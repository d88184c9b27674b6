package grid

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// sweepEvery bounds how late this node notices an idle entry.
const sweepEvery = 500 * time.Millisecond

// runSweeper writes down the expiry of entries that the server does not expire: idle ones, and
// those with a lifespan under 1 s.
func (g *Grid) runSweeper() {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-g.sweep:
		case <-g.done:
			return
		}
		timer.Reset(g.sweepOnce(until(g.done)))
	}
}

func (g *Grid) wakeSweeper() {
	select {
	case g.sweep <- struct{}{}:
	default:
	}
}

// sweepOnce returns how long nothing more is due.
func (g *Grid) sweepOnce(ctx context.Context) time.Duration {
	next := sweepEvery
	for _, t := range g.tenures() {
		next = min(next, t.sweep(ctx))
	}
	return max(next, 10*time.Millisecond)
}

// sweep writes down what is over in one partition, and returns how long it is until something is again.
func (t *tenure) sweep(ctx context.Context) time.Duration {
	next := sweepEvery
	x := t.index
	x.mu.Lock()
	now := t.g.cfg.Now()
	x.settle(now)
	over := x.overdue
	x.overdue = nil
	if at, ok := x.due.soonest(); ok {
		next = time.Duration(at - now.UnixNano())
	}
	x.mu.Unlock()
	for _, d := range over {
		t.expire(ctx, d)
	}
	return next
}

// expire writes a marker in place of an entry that is over, unless it was written since.
func (t *tenure) expire(ctx context.Context, d due) {
	if !t.valid(time.Now()) {
		return // the next owner does it
	}
	g := t.g
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	w := write{place: place{partition: t.p, subject: t.p.subject(d.cache, Escape(d.key))}, removal: true, header: nats.Header{
		headerMarker: {"MaxAge"}, headerTTL: {g.markerSeconds()},
	}}
	w.expect(d.seq)
	_, err := g.writeOwn(ctx, w)
	if err == nil || isWrongSequence(err) || ctx.Err() != nil {
		return
	}
	g.cfg.Logger.Warn("an expiry was not written down; it is tried again", "cache", d.cache, "key", d.key, "error", err)
	d.at, d.idle = g.cfg.Now().Add(time.Second).UnixNano(), 0
	t.index.mu.Lock()
	t.index.schedule(d)
	t.index.mu.Unlock()
}
