package grid

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// thawTimeout bounds what follows the restart of the server.
const thawTimeout = time.Minute

// failWrites answers writes that the server will not answer.
func (g *Grid) failWrites(err error) {
	if g.asks != nil {
		g.asks.fail(err, false)
	}
}

// thaw restarts the server in this process, after which frozen streams take writes. Connections,
// and what reads durable streams, find it again by themselves; volatile caches begin empty.
func (g *Grid) thaw() error {
	if err := g.server.restart(); err != nil {
		return fmt.Errorf("restart the server: %w", err)
	}
	ctx, cancel := context.WithTimeout(g.done, thawTimeout)
	defer cancel()
	g.making.Lock()
	defer g.making.Unlock()
	g.mu.Lock()
	feeds := g.feeds
	var consumers []*Consumer
	for c := range g.consumers {
		if c.parts[0].class == Volatile {
			consumers = append(consumers, c)
		}
	}
	g.mu.Unlock()
	var errs []error
	for i, f := range feeds {
		if f.p.class != Volatile {
			continue
		}
		f.close()
		f.p.reset()
		if err := g.makeStream(ctx, f.p, Bucket(g.cfg.Name, f.p.class, f.p.number)); err != nil {
			errs = append(errs, err)
			continue
		}
		again, err := g.startFeed(ctx, f.p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.mu.Lock()
		g.feeds[i] = again
		g.mu.Unlock()
	}
	for _, c := range consumers {
		errs = append(errs, c.restart(ctx))
	}
	return errors.Join(errs...)
}

// reset forgets what was in a stream that is gone. Listeners begin with the new one.
func (p *part) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(p.written.Swap(0)) // nobody waits for what is gone
	p.seq, p.due, p.overdue, p.tidyAt = 0, nil, nil, tidyMin
	for _, s := range p.spaces {
		s.count(-s.live, -s.bytes)
		s.records, s.peak, s.idle = make(map[string]record), 0, nil
		for _, l := range s.listeners {
			l.rewind(p.number)
		}
	}
}

// rewind makes the reader begin a partition anew.
func (l *Listener) rewind(part int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.forget()
	clear(l.ahead)
	l.positions[part] = 0
	l.signal()
}
