package grid

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// reached is how far everything is done. Lock is held.
func (c *cursor) reached() Sequence {
	switch {
	case len(c.order) > 0:
		return c.order[0].seq - 1
	case c.behind:
		return c.missed - 1
	default:
		return c.offered
	}
}

// flush writes the position down where it has moved.
func (c *cursor) flush(ctx context.Context) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	at := c.position
	at.Position = c.reached()
	if at.Again <= at.Position {
		at.Again = 0
	}
	moved := c.moved
	same := at.Position == c.position.Position && at.Again == c.position.Again
	c.mu.Unlock()
	if same {
		return nil
	}
	if !c.t.valid(time.Now()) {
		return ErrNotOwner
	}
	stored, err := c.write(ctx, at)
	if isWrongSequence(err) {
		// Somebody else moved it: the next owner, or who removed the reader.
		c.t.g.cfg.Logger.Warn("a reader stops: its position was changed by somebody else", "reader", c.r.cfg.Name, "partition", c.t.p.number)
		c.halt()
		return ErrNotOwner
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.r.noteMoved(false) // tried again
		return fmt.Errorf("write the position of %s in partition %d: %w", c.r.cfg.Name, c.t.p.number, err)
	}
	if at.stored = stored; c.position.stored < stored {
		c.position = at
		c.moved -= moved
	}
	return nil
}

// write stores a position. An earlier write of this owner's whose answer was lost is no reason to stop, nor is one of a former owner's that came late: where this
// one is, that one was.
func (c *cursor) write(ctx context.Context, at position) (Sequence, error) {
	for {
		stored, err := c.t.writePosition(ctx, c.r.cfg.Cache, c.r.cfg.Name, at)
		if !isWrongSequence(err) {
			return stored, err
		}
		have, readErr := c.t.readPosition(ctx, c.r.cfg.Cache, c.r.cfg.Name)
		if readErr != nil {
			return 0, readErr
		}
		if have.none() || have.Fence > c.t.fence || have.stored == at.stored {
			return 0, err
		}
		at.stored = have.stored
	}
}

// halt gives nothing out any more.
func (c *cursor) halt() {
	c.mu.Lock()
	c.stopped = true
	c.tell()
	c.mu.Unlock()
	c.t.p.hub.remove(c.r.cache.name, c)
	c.r.detach(c)
}

// stopWait is how long a partition waits for what is given out, before it is given up.
const stopWait = time.Second

// stop ends the cursor in good order: what is given out is waited for within the context, and the position written down.
func (c *cursor) stop(ctx context.Context) error {
	c.halt()
	if ctx.Err() != nil {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	c.waitIdle(wait)
	if err := c.flush(ctx); !errors.Is(err, ErrNotOwner) {
		return err
	}
	return nil // the next owner begins where this one was
}

// waitIdle waits until nothing is given out. It reports whether that is so.
func (c *cursor) waitIdle(ctx context.Context) bool {
	c.mu.Lock()
	if len(c.flying) == 0 {
		c.mu.Unlock()
		return true
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
		return true
	case <-ctx.Done():
		return false
	}
}
