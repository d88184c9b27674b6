package cold

import (
	"context"
	"errors"
	"runtime"

	"github.com/millrace/millrace/grid"
)

// BugStubBeforeStore has values leave before the store has them.
func BugStubBeforeStore(c *Cold) {
	c.steps.write = func(t *tier, changes []grid.Change, done func()) bool {
		done()
		t.write(changes)
		return true
	}
}

// BugStubBeforeReader has values leave that the store has, and another reader has not passed.
func BugStubBeforeReader(c *Cold) {
	c.steps.passed = func(ctx context.Context, cache *grid.Cache, partition int) (grid.Sequence, error) {
		c.mu.Lock()
		g := c.grid
		c.mu.Unlock()
		positions, err := g.Positions(ctx, cache.Name(), ReaderName(cache.Config().Store))
		if err != nil {
			return 0, err
		}
		return positions[partition].Sequence, nil
	}
}

// BugBackAfterDelete brings values back whatever is in their place.
func BugBackAfterDelete(c *Cold) {
	c.steps.activate = func(ctx context.Context, g *grid.Cache, cold grid.Cold, value []byte) error {
		err := g.Activate(ctx, cold, value)
		if !errors.Is(err, grid.ErrRevision) {
			return err
		}
		if cold.Sequence, err = lastOf(ctx, g, cold); err != nil {
			return err
		}
		return g.Activate(ctx, cold, value)
	}
}

// BugBackWhenExpired brings values back whose time is over.
func BugBackWhenExpired(c *Cold) {
	c.steps.activate = func(ctx context.Context, g *grid.Cache, cold grid.Cold, value []byte) error {
		err := g.Activate(ctx, cold, value)
		if !errors.Is(err, grid.ErrNotFound) {
			return err
		}
		if cold.Sequence, err = lastOf(ctx, g, cold); err != nil {
			return err
		}
		e := &cold.Entry
		e.Expires = e.Expires.Add(e.Lifespan)
		e.Lifespan *= 2
		return g.Activate(ctx, cold, value)
	}
}

// HoldBack keeps values from coming back until release is closed.
func HoldBack(release <-chan struct{}) func(*Cold) {
	return func(c *Cold) {
		right := c.steps.activate
		c.steps.activate = func(ctx context.Context, g *grid.Cache, cold grid.Cold, value []byte) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return right(ctx, g, cold, value)
		}
	}
}

// InMemory is how many values of a cache are in memory here at one moment.
func (c *Cold) InMemory(cache string) int64 {
	c.mu.Lock()
	t := c.tiers[cache]
	c.mu.Unlock()
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size.entries
}

// Land returns when no value of a cache is on its way back into memory.
func (c *Cold) Land(ctx context.Context, cache string) error {
	c.mu.Lock()
	t := c.tiers[cache]
	c.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.flights.wait(ctx)
}

func lastOf(ctx context.Context, g *grid.Cache, cold grid.Cold) (grid.Sequence, error) {
	last, err := g.Last(ctx, cold.Entry.Key)
	return last.Sequence, err
}

// WantNoMore has what a cache wanted room for be given up as soon as the evictor asks what may leave for it.
func WantNoMore(c *Cold) {
	right := c.steps.passed
	c.steps.passed = func(ctx context.Context, g *grid.Cache, partition int) (grid.Sequence, error) {
		c.mu.Lock()
		t := c.tiers[g.Name()]
		c.mu.Unlock()
		t.mu.Lock()
		wanted := t.wanted
		t.mu.Unlock()
		t.want(amount{}.minus(wanted))
		return right(ctx, g, partition)
	}
}

// Want has a cache want room for so many entries, and returns when its evictor has looked at that.
func (c *Cold) Want(cache string, entries int64) {
	c.mu.Lock()
	t := c.tiers[cache]
	c.mu.Unlock()
	t.want(amount{entries: entries})
	for range 2 { // it takes the second once it is done with the first
		t.wakes <- struct{}{}
	}
	for len(t.wakes) > 0 {
		runtime.Gosched()
	}
}

// LookNow has a node look which stores it has, as it does now and then.
func LookNow(ctx context.Context, c *Cold) {
	c.mu.Lock()
	all := c.identities
	c.mu.Unlock()
	for _, i := range all {
		_ = i.check(ctx) // Foreign tells
	}
}

// NoReaderList has no list of readers be had until the node is closed, as while a partition has no leader.
func NoReaderList(c *Cold) {
	c.steps.readers = func(ctx context.Context, _ *grid.Grid) ([]grid.ReaderName, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}
