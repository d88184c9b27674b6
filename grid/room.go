package grid

import (
	"context"
	"fmt"
)

// room is what a write that is under way may take of its cache's limits.
type room struct {
	c              *Cache
	entries, bytes int64
}

// reserve holds a write against the limits of the disk, the grid and the cache. What is under way
// counts as if it were there, so that the limits hold under concurrent writes; near them a write
// may be refused although one before it fails.
func (c *Cache) reserve(ctx context.Context, w write) (room, error) {
	if w.removal {
		return room{}, nil
	}
	config := c.config.Load()
	if err := c.grid.guard.admit(w.part.class, len(w.value)); err != nil {
		return room{}, err
	}
	if config.MaxEntries == 0 && config.MaxBytes == 0 {
		return room{}, nil
	}
	r := room{c: c}
	for again := false; ; again = true {
		r.entries, r.bytes = c.adds(w)
		entries, bytes := c.counters.reservedEntries.Add(r.entries), c.counters.reservedBytes.Add(r.bytes)
		entriesOver := config.MaxEntries > 0 && r.entries > 0 && c.counters.live.Load()+entries > config.MaxEntries
		bytesOver := config.MaxBytes > 0 && r.bytes > 0 && c.counters.bytes.Load()+bytes > config.MaxBytes
		if !entriesOver && !bytesOver {
			return r, nil
		}
		r.release()
		switch {
		case !again:
			// Before it is refused: what this node wrote is counted, what is over gives its room back.
			if err := c.settled(ctx); err != nil {
				return room{}, err
			}
			c.settle()
		case entriesOver:
			return room{}, fmt.Errorf("%w: cache %s has its %d entries", ErrFull, c.name, config.MaxEntries)
		default:
			return room{}, fmt.Errorf("%w: cache %s has no room for %d bytes more of its %d", ErrFull, c.name, r.bytes, config.MaxBytes)
		}
	}
}

// adds returns what a write adds to its cache.
func (c *Cache) adds(w write) (entries, bytes int64) {
	w.part.mu.Lock()
	defer w.part.mu.Unlock()
	w.part.settle(c.grid.cfg.Now())
	size := int64(len(w.value))
	if s := w.part.spaces[c.name]; s != nil {
		if have, ok := s.records[w.key]; ok && have.state == stateLive {
			return 0, max(0, size-int64(have.size))
		}
	}
	return 1, size
}

func (r room) release() {
	if r.c != nil {
		r.c.counters.reservedEntries.Add(-r.entries)
		r.c.counters.reservedBytes.Add(-r.bytes)
	}
}

// releaseAfter gives the room back when the feed has counted the entry.
func (r room) releaseAfter(p *part, seq uint64) {
	if r.c != nil {
		p.after(seq, r.release)
	}
}

// settle marks what is over in all partitions.
func (c *Cache) settle() {
	now := c.grid.cfg.Now()
	for _, p := range c.parts {
		p.mu.Lock()
		p.settle(now)
		p.mu.Unlock()
	}
}
