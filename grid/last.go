package grid

import (
	"context"
	"fmt"
)

// Last is what a partition has last of a key: an entry, or the mark of a removal or expiry.
type Last struct {
	// Sequence is what a condition on the key's last sequence must name; 0 for a key that was never written.
	Sequence uint64
	// Entry is the entry where Live, else empty.
	Entry Entry
	Live  bool
}

// Last asks the grid for a key's last message.
func (c *Cache) Last(ctx context.Context, key string) (Last, error) {
	if err := c.usable(); err != nil {
		return Last{}, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	s, err := c.read(ctx, key, false)
	if err != nil {
		return Last{}, fmt.Errorf("last of %s/%s: %w", c.name, key, err)
	}
	return Last{Sequence: s.seq, Entry: s.entry, Live: s.found}, nil
}

// Sequence returns a key's last sequence as far as this node has seen it, its own writes included, without asking the
// grid: good for a condition that is tried again with Last when it fails.
func (c *Cache) Sequence(ctx context.Context, key string) (uint64, error) {
	p := c.part(key)
	if err := p.caughtUp(ctx, c.name, key); err != nil {
		return 0, fmt.Errorf("last of %s/%s: %w", c.name, key, err)
	}
	seq, _ := p.last(c.name, key, c.grid.cfg.Now())
	return seq, nil
}
