package grid

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotOwner says that this node does not own the partition of a key (any more): what its reader made of it is another
// node's to store.
var ErrNotOwner = errors.New("another node owns the partition")

// Made is an entry that a reader made of a change.
type Made struct {
	Key     string
	Value   []byte
	Options PutOptions // IfRevision is not used
	// Reader made it from the source's Revision.
	Reader   string
	Revision Revision
	// Expect is the sequence of what the entry replaces, as MadeOf or Last tells it.
	Expect Sequence
}

// MadeOf is what the owner of a key's partition knows of it.
type MadeOf struct {
	// Sequence is the condition of the next write of the key; 0 for one that was never written.
	Sequence Sequence
	// Live says that there is an entry, else it was removed, has expired, or never was.
	Live bool
	// Reader made the entry, or what was there before it was removed or expired, from the source's Revision; "" for what no
	// reader made.
	Reader   string
	Revision Revision
}

// MadeOf returns what is known of a key, what PutMade wrote here included, without asking the grid. It is ErrNotOwner where
// this node does not own the key's partition.
func (c *Cache) MadeOf(ctx context.Context, key string) (MadeOf, error) {
	at, err := c.place(key)
	if err != nil {
		return MadeOf{}, fmt.Errorf("look into %s: %w", c.name, err)
	}
	t := at.partition.tenure()
	if t == nil {
		return MadeOf{}, ErrNotOwner
	}
	if err := t.index.caughtUp(ctx, c.name, key); err != nil {
		return MadeOf{}, fmt.Errorf("look for %s/%s: %w", c.name, key, err)
	}
	x := t.index
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(c.grid.cfg.Now())
	r, ok := x.lookup(c.name, key)
	if !ok {
		return MadeOf{}, nil
	}
	return MadeOf{Sequence: r.seq, Live: r.state == stateLive, Reader: x.readers.name(r.reader), Revision: r.source}, nil
}

// PutMade stores what a reader made, as one batch a partition, and returns what became of each: nil; a *RevisionError, where
// the key has something else than expected; ErrNotOwner; or as Put's. It does not tell the revisions.
func (c *Cache) PutMade(ctx context.Context, made []Made) []error {
	errs := make([]error, len(made))
	writes := make([]write, 0, len(made))
	index := make([]int, 0, len(made))
	now := time.Now() // leases go by the monotonic clock
	for i, m := range made {
		w, err := c.prepare(m.Key, m.Value, m.Options)
		if err == nil {
			err = w.makeFor(m, now)
		}
		if err != nil {
			errs[i] = fmt.Errorf("put into %s: %w", c.name, err)
			continue
		}
		writes, index = append(writes, w), append(index, i)
	}
	for j, o := range c.writeMany(ctx, writes, true) {
		i := index[j]
		switch {
		case o.err == nil:
			c.counters.puts.Add(1)
		case isWrongSequence(o.err):
			errs[i] = &RevisionError{Cache: c.name, Key: made[i].Key, Want: Revision(made[i].Expect)}
		default:
			errs[i] = fmt.Errorf("put %s/%s: %w", c.name, made[i].Key, o.err)
		}
	}
	return errs
}

// makeFor turns a write into that of something made, which only the owner of its partition does.
func (w *write) makeFor(m Made, now time.Time) error {
	t := w.partition.tenure()
	if t == nil || !t.valid(now) {
		return ErrNotOwner
	}
	w.set(HeaderSource, appendSource(m.Revision, t.fence, m.Reader))
	w.expect(m.Expect)
	return nil
}

// Source returns what an entry says of the change that a reader made it from: the source's revision, the fencing number of
// the owner that stored it, and the reader's name; "" for what no reader made.
func (e Entry) Source() (revision Revision, fence uint64, reader string) {
	return e.source.revision, e.source.fence, e.source.reader
}
