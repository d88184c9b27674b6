package cold

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

// deleted is up to where in each partition what the store has of a deleted cache is over.
type deleted struct {
	mu      sync.Mutex
	upTo    map[int]grid.Sequence
	running bool
}

// forgetTry is how long the store may take to forget a cache. What it keeps after that is of no use, and does no harm: no stub asks for it.
const forgetTry = 10 * time.Minute

// Forget implements grid.Tier. A cache of this name may be there again: only what the deleted one had is removed.
func (t *tier) Forget(partition int, seq grid.Sequence) {
	if t.store.Store == nil {
		return
	}
	t.deleted.mu.Lock()
	defer t.deleted.mu.Unlock()
	if t.deleted.upTo == nil {
		t.deleted.upTo = make(map[int]grid.Sequence)
	}
	t.deleted.upTo[partition] = max(t.deleted.upTo[partition], seq)
	t.cold.mu.Lock()
	closed := t.cold.closed
	t.cold.mu.Unlock()
	if t.deleted.running || closed {
		return
	}
	t.deleted.running = true
	t.cold.running.Go(t.forget)
}

// forget removes what is over, until nothing was added meanwhile.
func (t *tier) forget() {
	ctx, cancel := context.WithTimeout(t.cold.ctx, forgetTry)
	defer cancel()
	select {
	case <-t.ended: // what writes behind has ended
	case <-ctx.Done():
		return
	}
	_, partitions := t.c.Owned()
	for {
		t.deleted.mu.Lock()
		upTo := t.deleted.upTo
		t.deleted.upTo = nil
		t.deleted.running = len(upTo) > 0
		t.deleted.mu.Unlock()
		if len(upTo) == 0 {
			return
		}
		if err := t.forgetUpTo(ctx, partitions, upTo); err != nil {
			t.cold.cfg.Logger.Warn("the store keeps something of a deleted cache, which is of no use", "cache", t.name, "error", err)
		}
	}
}

func (t *tier) forgetUpTo(ctx context.Context, partitions int, upTo map[int]grid.Sequence) error {
	if err := t.rightStore(ctx, true); err != nil {
		return err
	}
	var some []store.Entry
	remove := func() error {
		for _, err := range t.store.Store.PutAll(ctx, t.name, some) {
			if err != nil && !errors.Is(err, store.ErrStale) { // it was put anew meanwhile
				return err
			}
		}
		some = some[:0]
		return nil
	}
	for info, err := range t.store.Store.List(ctx, t.name, store.ListOptions{}) {
		if err != nil {
			return err
		}
		if grid.Sequence(info.Revision) > upTo[grid.Partition(info.Key, partitions)] {
			continue
		}
		if some = append(some, store.Entry{Info: store.Info{Key: info.Key, Revision: info.Revision, Deleted: true}}); len(some) == writeBatch {
			if err := remove(); err != nil {
				return err
			}
		}
	}
	return remove()
}
