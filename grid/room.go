package grid

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// room is what a write that is under way may take of its cache's limits.
type room struct {
	c    *Cache
	tier Tier // which the room was taken of; nil for the cache itself
	Need
}

// reserve holds a write against the limits of the disk, the grid and the cache. What is under way
// counts as if it were there, so that the limits hold under concurrent writes; near them a write
// may be refused although one before it fails. Where it may wait for room, it does until wait ends.
func (c *Cache) reserve(ctx, wait context.Context, w write) (room, error) {
	if w.removal || w.own {
		return room{}, nil
	}
	config := c.config.Load()
	if err := c.grid.guard.admit(w.partition.class, len(w.value)); err != nil {
		return room{}, err
	}
	if tier := c.tier(); tier != nil {
		return c.admit(ctx, wait, w.place, len(w.value), tier)
	}
	if config.MaxEntries == 0 && config.MaxBytes == 0 {
		return room{}, nil
	}
	r := room{c: c}
	for again := false; ; again = true {
		var err error
		if r.Need, err = c.adds(ctx, w.place, len(w.value)); err != nil {
			return room{}, err
		}
		// What is reserved is read before what is there: an entry that goes from one to the other counts twice, not at all
		// would let one too many in.
		reservedEntries, reservedBytes := c.counters.reservedEntries.Add(r.Entries), c.counters.reservedBytes.Add(r.Bytes)
		entries, bytes, err := c.holds(ctx, again)
		if err != nil {
			r.release()
			return room{}, err
		}
		entries, bytes = entries+reservedEntries, bytes+reservedBytes
		entriesOver := config.MaxEntries > 0 && r.Entries > 0 && entries > config.MaxEntries
		bytesOver := config.MaxBytes > 0 && r.Bytes > 0 && bytes > config.MaxBytes
		if !entriesOver && !bytesOver {
			return r, nil
		}
		r.release()
		switch {
		case !again: // the second look counts what this node wrote, and no more as what is under way
			if _, _, err := c.holds(ctx, true); err != nil {
				return room{}, err
			}
		case entriesOver:
			return room{}, fmt.Errorf("%w: cache %s has its %d entries", ErrFull, c.name, config.MaxEntries)
		default:
			return room{}, fmt.Errorf("%w: cache %s has no room for %d bytes more of its %d", ErrFull, c.name, r.Bytes, config.MaxBytes)
		}
	}
}

// adds returns what a write of a value adds to what its cache has in memory.
func (c *Cache) adds(ctx context.Context, at place, size int) (Need, error) {
	n := Need{Key: at.key, Size: int64(size)}
	last, live, known := c.guess(at)
	have, cold := int64(last.size), last.cold
	if !known {
		s, err := c.readLast(ctx, at)
		if err != nil {
			return n, err
		}
		live, have, cold = s.found, int64(s.size), s.cold
	}
	if live && !cold {
		n.Bytes = max(0, n.Size-have)
		return n, nil
	}
	return n.Whole(), nil
}

// admit takes room of what is behind the cache. The owner of the partition decides; what another node takes is not counted while
// it is under way.
func (c *Cache) admit(ctx, wait context.Context, at place, size int, tier Tier) (room, error) {
	if at.partition.tenure() == nil {
		q := question{Op: askAdmit, Cache: c.name, Key: []byte(at.key), Size: size, Within: askTry}
		if end, ok := wait.Deadline(); ok {
			q.Within = max(0, time.Until(end))
		}
		_, err := c.grid.ask(ctx, at.partition, q)
		return room{}, err
	}
	need, err := c.adds(ctx, at, size)
	if err != nil {
		return room{}, err
	}
	taken, err := tier.Admit(wait, need)
	if err == nil {
		return room{c, tier, taken}, nil
	}
	// The index may have been behind: what was to be new may be there already.
	if t := at.partition.tenure(); t == nil || t.settled(ctx) != nil {
		return room{}, err
	}
	less, again := c.adds(ctx, at, size)
	if again != nil || less.Entries >= need.Entries && less.Bytes >= need.Bytes {
		return room{}, err
	}
	if taken, err = tier.Admit(wait, less); err != nil {
		return room{}, err
	}
	return room{c, tier, taken}, nil
}

// admit answers a node that wants to write, before that node takes it for dead.
func (t *tenure) admit(ctx context.Context, q question) error {
	c, err := t.g.Cache(ctx, q.Cache)
	if err != nil {
		return err
	}
	at, err := c.place(string(q.Key))
	if err != nil {
		return err
	}
	tier := c.tier()
	if tier == nil || at.partition != t.p {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, min(q.Within, askWait))
	defer cancel()
	r, err := c.admit(ctx, wait, at, q.Size, tier)
	r.release()
	return err
}

// holds returns what a cache has. Where this node owns all of its partitions it counts by itself: as far as its index has
// come, or exactly. Otherwise it asks the owners; what other nodes have under way at that moment is not counted, so that
// several nodes together may go over a limit by that.
func (c *Cache) holds(ctx context.Context, exact bool) (entries, bytes int64, err error) {
	others := slices.ContainsFunc(c.partitions, func(p *partition) bool { return p.tenure() == nil })
	if others || exact {
		a, err := c.count(ctx)
		return a.Entries, a.Bytes, err
	}
	return c.counters.live.Load(), c.counters.bytes.Load(), nil
}

func (r room) release() {
	switch {
	case r.tier != nil:
		r.tier.Release(r.Need)
	case r.c != nil:
		r.c.counters.reservedEntries.Add(-r.Entries)
		r.c.counters.reservedBytes.Add(-r.Bytes)
	}
}

// releaseAfter gives the room back when the entry is counted: by this node's feed, or by the partition's owner.
func (r room) releaseAfter(p *partition, seq Sequence) {
	if r.c == nil {
		return
	}
	if t := p.tenure(); t != nil {
		t.index.after(seq, r.release)
		return
	}
	r.release()
}
