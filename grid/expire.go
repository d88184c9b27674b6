package grid

import (
	"context"
	"strconv"
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
		case <-g.done.Done():
			return
		}
		timer.Reset(g.sweepOnce())
	}
}

func (g *Grid) wakeSweeper() {
	select {
	case g.sweep <- struct{}{}:
	default:
	}
}

// sweepOnce returns how long nothing more is due.
func (g *Grid) sweepOnce() time.Duration {
	next := sweepEvery
	g.mu.Lock()
	all := make([]*part, 0, 2*g.partitions)
	for _, parts := range g.classes {
		all = append(all, parts...)
	}
	g.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		now := g.cfg.Now()
		p.settle(now)
		over := p.overdue
		p.overdue = nil
		if len(p.due) > 0 {
			next = min(next, time.Duration(p.due[0].at-now.UnixNano()))
		}
		p.mu.Unlock()
		for _, d := range over {
			g.expire(p, d)
		}
	}
	return max(next, 10*time.Millisecond)
}

// expire writes a marker in place of an entry that is over, unless it was written since.
func (g *Grid) expire(p *part, d due) {
	ctx, cancel := context.WithTimeout(g.done, g.cfg.Timeout)
	defer cancel()
	w := write{part: p, subject: p.subject(d.cache, d.key), removal: true, header: nats.Header{
		headerMarker:   {"MaxAge"},
		headerTTL:      {g.markerSeconds()},
		headerExpected: {strconv.FormatUint(d.seq, 10)},
	}}
	m, err := g.asks.write(ctx, w)
	if err == nil {
		var a ack
		if a, err = parseAck(m.Data); err == nil {
			p.wrote(a.seq)
		}
	}
	if err == nil || isWrongSequence(err) || g.done.Err() != nil {
		return
	}
	g.cfg.Logger.Warn("an expiry was not written down; it is tried again", "cache", d.cache, "key", d.key, "error", err)
	d.at, d.idle = g.cfg.Now().Add(time.Second).UnixNano(), 0
	p.mu.Lock()
	p.schedule(d)
	p.mu.Unlock()
}
