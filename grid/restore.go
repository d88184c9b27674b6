package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// firstSequence is where a stream begins that must begin above all that was before it: the microseconds since 1970. No partition takes a
// million messages a second for long, so what a former one came to is below it, and in JSON it is exact until the year 2255.
func firstSequence(now time.Time) uint64 { return uint64(max(1, now.UnixMicro())) }

// First returns where the stream of a partition begins: revisions below it are not of this stream. It is 1 at least.
func (c *Cache) First(partition int) Sequence {
	return max(1, Sequence(c.partitions[partition].first.Load()))
}

// Settled returns when what this node wrote to a partition is known to all who follow it here; ErrNotOwner where this node does not own it.
func (c *Cache) Settled(ctx context.Context, partition int) error {
	t := c.partitions[partition].tenure()
	if t == nil {
		return ErrNotOwner
	}
	return t.settled(ctx)
}

// Private reports whether the grid is in this process alone: its volatile caches begin anew with it.
func (g *Grid) Private() bool { return g.alone() }

// ErrForeign says that a copy's revision is not below what the stream has come to: it is another stream's, and cannot be taken in.
var ErrForeign = errors.New("revision of another stream")

// Restore makes entries, whose values are in the store, of those that have no entry here, and of which nothing is known: not that they were removed,
// either. They keep revision, age and origin. For each it returns nil where the entry is here, now or before; ErrNotFound where it was removed or its time is
// over; ErrNotOwner; ErrForeign; or as Put's.
func (c *Cache) Restore(ctx context.Context, some []Cold) []error {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	errs := make([]error, len(some))
	var writes []write
	var index []int
	for i, cold := range some {
		w, err := c.restored(cold)
		if err != nil || w.partition == nil {
			errs[i] = err
			continue
		}
		writes, index = append(writes, w), append(index, i)
	}
	for j, o := range c.writeMany(ctx, writes, true) {
		if o.err != nil && !isWrongSequence(o.err) { // else it was written meanwhile
			errs[index[j]] = fmt.Errorf("restore %s/%s: %w", c.name, writes[j].key, o.err)
		}
	}
	// Who looks whether a copy's entry is there sees what came back.
	for _, p := range c.partitions {
		t := p.tenure()
		if t == nil {
			continue
		}
		if err := t.settled(ctx); err != nil && !errors.Is(err, ErrNotOwner) {
			for _, i := range index {
				errs[i] = errors.Join(errs[i], err)
			}
			break
		}
	}
	return errs
}

// restored is the write of a stub where nothing is known of the key; without a partition where the entry is there.
func (c *Cache) restored(cold Cold) (write, error) {
	e := cold.Entry
	at, err := c.place(e.Key)
	if err != nil {
		return write{}, err
	}
	t := at.partition.tenure()
	if t == nil || !t.valid(time.Now()) {
		return write{}, ErrNotOwner
	}
	now := c.grid.cfg.Now()
	if !e.Expires.IsZero() && !now.Before(e.Expires) {
		return write{}, fmt.Errorf("%w: %s/%s has expired", ErrNotFound, c.name, e.Key)
	}
	if cold.Size > MaxValueBytes {
		return write{}, fmt.Errorf("%w: %s/%s has %d bytes, of at most %d", ErrTooLarge, c.name, e.Key, cold.Size, MaxValueBytes)
	}
	x := t.index
	x.mu.Lock()
	x.settle(now)
	r, had := x.lookup(c.name, e.Key)
	end := x.seq
	x.mu.Unlock()
	switch {
	case had && r.state == stateLive:
		return write{}, nil
	case had:
		return write{}, fmt.Errorf("%w: %s/%s was removed", ErrNotFound, c.name, e.Key)
	case e.Revision == 0 || Sequence(e.Revision) > max(end, c.First(at.partition.number)-1):
		return write{}, fmt.Errorf("%w: %s/%s has revision %d, and the stream has come to %d", ErrForeign, c.name, e.Key, e.Revision, end)
	}
	w, err := c.moved(at, e)
	if err != nil {
		return write{}, err
	}
	delete(w.header, headerTTL)
	w.set(headerOperation, "PURGE")
	w.set(HeaderStub, strconv.Itoa(cold.Size))
	w.expect(0)
	return w, nil
}

// WithSource says of an entry which change a reader made it from, as Source tells it.
func (e Entry) WithSource(revision Revision, reader string) Entry {
	e.source = source{revision: revision, reader: reader}
	return e
}

// ColdKeys returns the keys of cold entries in the partitions that this node owns, in no order.
func (c *Cache) ColdKeys() []string {
	var keys []string
	for _, p := range c.partitions {
		t := p.tenure()
		if t == nil {
			continue
		}
		x := t.index
		x.mu.Lock()
		x.settle(c.grid.cfg.Now())
		if s := x.spaces[c.name]; s != nil {
			for key, r := range s.records {
				if r.state == stateLive && r.cold {
					keys = append(keys, key)
				}
			}
		}
		x.mu.Unlock()
	}
	return keys
}

// Warm brings values of entries back into memory, where there is room; an entry that is gone, or that is in memory, is passed over.
func (c *Cache) Warm(ctx context.Context, keys []string) error {
	for some := range slices.Chunk(keys, readAhead) {
		places := make([]place, len(some))
		for i, key := range some {
			places[i] = c.placeOf(key)
		}
		if _, err := c.readWarm(ctx, places, false, true); err != nil && !errors.Is(err, ErrLost) {
			return fmt.Errorf("bring values of %s into memory: %w", c.name, err)
		}
	}
	return nil
}
