package grid

import (
	"context"
	"errors"
	"fmt"
)

// elsewhere is what is behind a cache on a node that owns no partitions and lacks the cache's store: what only the store has, the owners give it.
type elsewhere struct{ c *Cache }

var _ Tier = elsewhere{}

// valuePart is how much of a value one answer has at most. As JSON it is a third larger, and an answer is to be below maxPayload.
const valuePart = 4 << 20

// Hot implements Memory.
func (elsewhere) Hot(string, int) {}

// Gone implements Memory.
func (elsewhere) Gone(string) {}

// Used implements Tier. The owners hear of reads from the cache itself.
func (elsewhere) Used(string) {}

// Admit implements Tier. The owners take the room.
func (elsewhere) Admit(_ context.Context, need Need) (Need, error) { return need, nil }

// Release implements Tier.
func (elsewhere) Release(Need) {}

// Load implements Tier: it asks the owner of the entry's partition for what the store has.
func (e elsewhere) Load(ctx context.Context, cold Cold, _ bool) ([]byte, error) {
	at, err := e.c.place(cold.Entry.Key)
	if err != nil {
		return nil, err
	}
	var value []byte
	for {
		a, err := e.c.grid.ask(ctx, at.partition, question{Op: askValue, Cache: e.c.name, Key: []byte(cold.Entry.Key), From: cold.Sequence, Offset: len(value)})
		if err != nil {
			return nil, err
		}
		if !a.Live {
			return nil, fmt.Errorf("%w: %s/%s at its stub %d", ErrNotFound, e.c.name, cold.Entry.Key, cold.Sequence)
		}
		value = append(value, a.Value...)
		if !a.More || len(a.Value) == 0 {
			return value, nil
		}
	}
}

// Leave implements Tier. It is asked on owners alone.
func (elsewhere) Leave(_ context.Context, some []Resident, _ bool) []error {
	errs := make([]error, len(some))
	for i := range errs {
		errs[i] = ErrNotOwner
	}
	return errs
}

// Stored implements Tier. It is asked on owners alone.
func (elsewhere) Stored(context.Context, int, Sequence) error { return ErrNotOwner }

// Forget implements Tier.
func (elsewhere) Forget(int, Sequence) {}

// Stats implements Tier.
func (elsewhere) Stats() TierStats { return TierStats{} }

// coldValue answers a node that lacks the store: a part of the value whose stub is there, live where it is, and whether there is more of it.
func (t *tenure) coldValue(ctx context.Context, q question) (part []byte, live, more bool, err error) {
	c, err := t.g.Cache(ctx, q.Cache)
	if err != nil {
		return nil, false, false, err
	}
	at, err := c.place(string(q.Key))
	if err != nil {
		return nil, false, false, err
	}
	s, err := c.readLast(ctx, at)
	if err != nil || !s.found || !s.cold || s.seq != q.From {
		return nil, false, false, err
	}
	value, err := c.load(ctx, at, s, false)
	if errors.Is(err, ErrNotFound) {
		return nil, false, false, nil // who asks looks again
	}
	if err != nil {
		return nil, false, false, err
	}
	value = value[min(len(value), max(0, q.Offset)):]
	if len(value) > valuePart {
		return value[:valuePart], true, true, nil
	}
	return value, true, false, nil
}
