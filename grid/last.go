package grid

import (
	"context"
	"fmt"
)

// Last is what a partition has last of a key: an entry, or the mark of a removal or expiry.
type Last struct {
	// Sequence is what a condition on the key's last sequence must name; 0 for a key that was never written.
	Sequence Sequence
	// Entry is the entry where Live, else empty.
	Entry Entry
	Live  bool
	// Reader made it, or what it marks the end of, from the source's Revision; "" for nobody.
	Reader   string
	Revision Revision
}

// Last asks the grid for a key's last message.
func (c *Cache) Last(ctx context.Context, key string) (Last, error) {
	if err := c.usable(); err != nil {
		return Last{}, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	at, err := c.place(key)
	if err != nil {
		return Last{}, fmt.Errorf("last of %s/%s: %w", c.name, key, err)
	}
	s, err := c.readLast(ctx, at)
	if err != nil {
		return Last{}, fmt.Errorf("last of %s/%s: %w", c.name, key, err)
	}
	return Last{Sequence: s.seq, Entry: s.entry, Live: s.found, Reader: s.reader, Revision: s.source}, nil
}
