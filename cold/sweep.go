package cold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

// sweepEvery is how often the stores are swept.
const sweepEvery = time.Hour

// sweepLoop sweeps until the tier ends.
func (t *tier) sweepLoop() {
	for pause(t.ctx, sweepEvery) {
		if !t.preloading.ready.Load() {
			continue
		}
		if err := t.sweep(t.ctx); err != nil && t.ctx.Err() == nil {
			t.cold.cfg.Logger.Warn("the store was not swept", "cache", t.name, "error", err)
		}
	}
}

// Sweep removes from the stores what the caches have no entry for, and old tombstones. It is done every hour in any case.
func (c *Cold) Sweep(ctx context.Context) error {
	c.mu.Lock()
	var tiers []*tier
	for _, t := range c.tiers {
		if t.store.Store != nil && t.preloading.ready.Load() {
			tiers = append(tiers, t)
		}
	}
	c.mu.Unlock()
	var errs []error
	for _, t := range tiers {
		if err := t.sweep(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sweep the store of %s: %w", t.name, err))
		}
	}
	return errors.Join(errs...)
}

// sweep makes tombstones of copies whose entries are gone: a removal is forgotten when its marker is (an hour, by default), and the store
// may not have been there for as long. What is swept is a copy of one revision: what is put meanwhile is another. A revision that the
// stream has not come to is left alone: the stream is not the one that the copy is of, and the copy may be all there is.
func (t *tier) sweep(ctx context.Context) error {
	if err := t.rightStore(ctx, true); err != nil {
		return err
	}
	if err := t.tidy(ctx); err != nil {
		return err
	}
	if _, err := t.store.Store.Sweep(ctx, t.name); err != nil {
		return fmt.Errorf("remove old tombstones: %w", err)
	}
	return nil
}

// tidy makes tombstones of copies whose entries are gone.
func (t *tier) tidy(ctx context.Context) error {
	var some []store.Entry
	owned, _ := t.c.Owned()
	if owned == 0 {
		return nil
	}
	for info, err := range t.store.Store.List(ctx, t.name, store.ListOptions{}) {
		if errors.Is(err, store.ErrCorrupt) {
			t.cold.cfg.Logger.Error("a copy in the store is damaged", "cache", t.name, "key", info.Key, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		gone, err := t.c.Gone(info.Key, grid.Revision(info.Revision))
		if errors.Is(err, grid.ErrNotOwner) || err == nil && !gone {
			continue
		}
		if err != nil {
			return err
		}
		some = append(some, store.Entry{Info: store.Info{Key: info.Key, Revision: info.Revision, Deleted: true}})
	}
	for len(some) > 0 {
		part := some[:min(len(some), writeBatch)]
		some = some[len(part):]
		for _, err := range t.store.Store.PutAll(ctx, t.name, part) {
			if err != nil && !errors.Is(err, store.ErrStale) {
				return err
			}
		}
	}
	return nil
}
