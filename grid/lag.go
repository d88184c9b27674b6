package grid

import (
	"context"
	"fmt"
	"time"
)

// Lag is what a reader has not dealt with in the partitions that this node owns.
type Lag struct {
	Entries int64
	// Bytes are those of the values, reckoned by the cache's mean.
	Bytes int64
	// Oldest is when the oldest change was written; zero where there is none, or it is not known yet.
	Oldest time.Time
}

// Lag asks no stream.
func (r *Reader) Lag() Lag {
	r.mu.Lock()
	cursors := r.cursors
	r.mu.Unlock()
	var sum Lag
	var values, bytes int64
	for _, c := range cursors {
		n, oldest := c.lag()
		sum.Entries += n
		if !oldest.IsZero() && (sum.Oldest.IsZero() || oldest.Before(sum.Oldest)) {
			sum.Oldest = oldest
		}
		x := c.t.index
		x.mu.Lock()
		if s := x.spaces[r.cache.name]; s != nil {
			values, bytes = values+s.live, bytes+s.bytes
		}
		x.mu.Unlock()
	}
	if values > 0 {
		sum.Bytes = int64(float64(sum.Entries) * float64(bytes) / float64(values))
	}
	return sum
}

func (c *cursor) lag() (n int64, oldest time.Time) {
	c.mu.Lock()
	n = int64(len(c.byKey) + len(c.flying))
	behind, missed := c.behind, c.missed
	for _, it := range c.order {
		if it.state != itemOver {
			oldest = it.at
			break
		}
	}
	c.mu.Unlock()
	if behind {
		n += c.t.index.countAfter(c.r.cache.name, missed-1)
	}
	return n, oldest
}

// countAfter counts the keys that changed after a place.
func (x *index) countAfter(cache string, from Sequence) (n int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.spaces[cache]; s != nil && x.seq > from {
		for _, r := range s.records {
			if Sequence(r.revision) > from {
				n++
			}
		}
	}
	return n
}

// Reached returns when the reader has dealt with everything in a partition up to seq. It is ErrNotOwner where this node does not
// own the partition, ErrClosed after Close.
func (r *Reader) Reached(ctx context.Context, partition int, seq Sequence) error {
	for {
		r.mu.Lock()
		closed := r.closed
		var at *cursor
		for _, c := range r.cursors {
			if c.t.p.number == partition {
				at = c
			}
		}
		r.mu.Unlock()
		switch {
		case closed:
			return fmt.Errorf("reader %s: %w", r.cfg.Name, ErrClosed)
		case at == nil:
			return ErrNotOwner
		}
		progress := at.awaits(seq)
		if progress == nil {
			return nil
		}
		select {
		case <-progress:
		case <-r.ended:
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
}

// awaits returns a channel that is closed when more is done; nil where everything up to seq is.
func (c *cursor) awaits(seq Sequence) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reached() >= seq && !c.stopped {
		return nil
	}
	if c.progress == nil {
		c.progress = make(chan struct{})
	}
	return c.progress
}

// tell wakes who waits in Reached. Lock is held.
func (c *cursor) tell() {
	if c.progress != nil {
		close(c.progress)
		c.progress = nil
	}
}
