package cold

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

// preloading is what a tier does with what its store has before it is used.
type preloading struct {
	done chan struct{} // closed when it has ended, in whatever way
	err  error         // why it failed; set before done is closed
	// ready says that everything that the store has is of the stream, or may be taken for that: it can be swept.
	ready atomic.Bool
}

// The marks in a store's GridNamespace, by cache: that the copies of a former stream were taken in, and that a volatile cache was saved.
const takenPrefix, savedPrefix = "taken-", "saved-"

// Loaded returns when what caches load at their start is loaded, or why that failed.
func (c *Cold) Loaded(ctx context.Context) error {
	c.mu.Lock()
	var tiers []*tier
	for _, t := range c.tiers {
		if t.store.Store != nil {
			tiers = append(tiers, t)
		}
	}
	c.mu.Unlock()
	var errs []error
	for _, t := range tiers {
		select {
		case <-t.preloading.done:
			if err := t.preloading.err; err != nil {
				errs = append(errs, fmt.Errorf("preload cache %s: %w", t.name, err))
			}
		case <-ctx.Done():
			return fmt.Errorf("preload cache %s: %w", t.name, ctx.Err())
		}
	}
	return errors.Join(errs...)
}

// preload does what is done once, at the tier's start. What the store refuses for a while is tried again for as long.
func (t *tier) preload(g *grid.Grid) {
	defer close(t.preloading.done)
	begun := time.Now()
	for {
		n, err := t.preloadOnce(t.ctx, g)
		if err == nil {
			if n > 0 {
				t.cold.cfg.Logger.Info("a cache has what its store has", "cache", t.name, "entries", n, "seconds", time.Since(begun).Seconds())
			}
			t.preloading.ready.Store(true)
			return
		}
		if errors.Is(err, errNotTaken) {
			return
		}
		if t.ctx.Err() != nil || !store.Retryable(err) && !errors.Is(err, grid.ErrUnavailable) {
			t.preloading.err = err
			if t.ctx.Err() == nil {
				t.cold.cfg.Logger.Error("a cache does not have what its store has", "cache", t.name, "error", err)
			}
			return
		}
		t.cold.cfg.Logger.Warn("a cache waits for its store", "cache", t.name, "error", err)
		if !pause(t.ctx, writeLongest) {
			t.preloading.err = t.ctx.Err()
			return
		}
	}
}

// preloadOnce returns how many entries came from the store.
func (t *tier) preloadOnce(ctx context.Context, g *grid.Grid) (n int64, err error) {
	config := *t.config.Load()
	if config.Class == grid.Volatile {
		if n, err = t.loadSaved(ctx, g, config); err != nil {
			return n, err
		}
	} else if n, err = t.takeIn(ctx, config); err != nil {
		return n, err
	}
	most := int64(0)
	switch config.Preload {
	case "", grid.PreloadNone, grid.PreloadKeys:
	case grid.PreloadAll:
		most = math.MaxInt64
	default:
		if most, err = strconv.ParseInt(config.Preload, 10, 64); err != nil {
			return n, fmt.Errorf("%w: preload %q", grid.ErrConfig, config.Preload)
		}
	}
	return n, t.warm(ctx, most)
}

// takeIn makes entries of the copies of a former stream, once. What this stream has written, and has no entry for, was removed: it stays so.
func (t *tier) takeIn(ctx context.Context, config grid.CacheConfig) (int64, error) {
	if !t.apart() {
		return 0, nil
	}
	taken, err := t.marked(ctx, takenPrefix)
	if err != nil || taken {
		return 0, err
	}
	if config.Preload == "" || config.Preload == grid.PreloadNone {
		for info, err := range t.store.Store.List(ctx, t.name, store.ListOptions{}) {
			if err == nil && t.former(info) {
				t.cold.cfg.Logger.Warn("the store has entries of a cache that are not in it: preload: keys takes them in", "cache", t.name)
				return 0, errNotTaken
			}
			if err != nil && !errors.Is(err, store.ErrCorrupt) {
				return 0, err
			}
		}
		return 0, nil
	}
	n, err := t.restore(ctx, t.former)
	if err != nil {
		return n, err
	}
	return n, t.mark(ctx, takenPrefix)
}

// apart reports whether the cache's streams were made to begin above what a store had.
func (t *tier) apart() bool {
	_, partitions := t.c.Owned()
	for p := range partitions {
		if t.c.First(p) > 1 {
			return true
		}
	}
	return false
}

// former reports whether a copy is of a stream before this one.
func (t *tier) former(info store.Info) bool {
	_, partitions := t.c.Owned()
	return grid.Sequence(info.Revision) < t.c.First(grid.Partition(info.Key, partitions))
}

// loadSaved gives a volatile cache back what it had at an orderly stop. After any other end the cache begins empty: among what the store has
// might be what was removed last.
func (t *tier) loadSaved(ctx context.Context, g *grid.Grid, config grid.CacheConfig) (n int64, err error) {
	if !g.Private() { // its memory is the servers', which go on
		return 0, nil
	}
	saved, err := t.marked(ctx, savedPrefix)
	if err != nil {
		return 0, err
	}
	if saved && config.Preload != grid.PreloadNone {
		if n, err = t.restore(ctx, func(store.Info) bool { return true }); err != nil {
			return n, err
		}
	}
	// From now on what is removed is not in the store's copy at once.
	if saved {
		if err := t.unmark(ctx, savedPrefix); err != nil {
			return n, err
		}
	}
	return n, t.tidy(ctx)
}

// restore makes cold entries of copies.
func (t *tier) restore(ctx context.Context, which func(store.Info) bool) (n int64, err error) {
	var some []grid.Cold
	flush := func() error {
		for i, err := range t.c.Restore(ctx, some) {
			switch {
			case err == nil:
				n++
			case errors.Is(err, grid.ErrNotFound), errors.Is(err, grid.ErrNotOwner):
			case errors.Is(err, grid.ErrForeign):
				return fmt.Errorf("%w: was the clock set back, or is the store another grid's?", err)
			case errors.Is(err, grid.ErrTooLarge), errors.Is(err, grid.ErrKey), errors.Is(err, grid.ErrLifespan):
				t.cold.cfg.Logger.Error("an entry of the store cannot be one of the cache", "cache", t.name, "key", some[i].Entry.Key, "error", err)
			default:
				return err
			}
		}
		some = some[:0]
		return nil
	}
	for info, err := range t.store.Store.List(ctx, t.name, store.ListOptions{}) {
		if errors.Is(err, store.ErrCorrupt) {
			t.cold.cfg.Logger.Error("a copy in the store is damaged", "cache", t.name, "key", info.Key, "error", err)
			continue
		}
		if err != nil {
			return n, err
		}
		if !which(info) {
			continue
		}
		if some = append(some, asCold(info)); len(some) == writeBatch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, flush()
}

// asCold is the entry that a copy is of.
func asCold(info store.Info) grid.Cold {
	e := grid.Entry{
		Key: info.Key, Revision: grid.Revision(info.Revision), Created: info.Created, Expires: info.Expires, Lifespan: info.Lifespan,
		MaxIdle: info.MaxIdle, ContentType: info.ContentType, Labels: info.Labels,
	}
	if source, err := strconv.ParseUint(info.Extra["source"], 10, 64); err == nil && info.Extra["reader"] != "" {
		e = e.WithSource(grid.Revision(source), info.Extra["reader"])
	}
	return grid.Cold{Entry: e, Size: int(info.Size)}
}

// warm brings the values of the newest entries into memory, as many as there is room for.
func (t *tier) warm(ctx context.Context, most int64) error {
	if most == 0 {
		return nil
	}
	t.mu.Lock()
	limit := t.limit().entries
	t.mu.Unlock()
	if limit > 0 {
		most = min(most, limit)
	}
	var keys []string
	if most == math.MaxInt64 {
		keys = t.c.ColdKeys()
	} else {
		newest, err := t.c.Newest(ctx, "", int(most))
		if err != nil {
			return err
		}
		for _, i := range newest {
			if i.Cold {
				keys = append(keys, i.Entry.Key)
			}
		}
	}
	for some := range slices.Chunk(keys, warmBatch) {
		if t.full() {
			break
		}
		if err := t.c.Warm(ctx, some); err != nil {
			return err
		}
		if err := t.flights.wait(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// warmBatch is how many values come back between two looks at what room there is.
const warmBatch = 64

// full reports whether there is no room for another value without one that leaves.
func (t *tier) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := amount{1, 1}
	return t.size.plus(t.under).plus(one).over(t.limit()) || t.cold.used.amount().plus(t.cold.under.amount()).plus(one).over(t.nodeLimit()) || t.high()
}

// marked reports whether the store has a mark for the cache.
func (t *tier) marked(ctx context.Context, prefix string) (bool, error) {
	_, err := t.store.Store.Stat(ctx, store.GridNamespace, prefix+t.name)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// mark sets a mark. Its revision is the time: it replaces that of the last time.
func (t *tier) mark(ctx context.Context, prefix string) error {
	return t.store.Store.Put(ctx, store.GridNamespace, store.Entry{Info: store.Info{Key: prefix + t.name, Revision: uint64(time.Now().UnixNano())}})
}

// unmark removes the mark that is there, whatever the clock says.
func (t *tier) unmark(ctx context.Context, prefix string) error {
	info, err := t.store.Store.Stat(ctx, store.GridNamespace, prefix+t.name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.store.Store.Delete(ctx, store.GridNamespace, info.Key, max(info.Revision, uint64(time.Now().UnixNano())))
}

// errNotTaken says that the store has what the cache was not to take in: it is not swept.
var errNotTaken = errors.New("the store has entries that the cache has not")

// saveLook is the pause between two looks at what the store does not have yet.
const saveLook = 5 * time.Millisecond

// save brings everything of a volatile cache into the store and says so there, at an orderly stop.
func (t *tier) save(ctx context.Context, g *grid.Grid) error {
	if !g.Private() || t.config.Load().Class != grid.Volatile || t.store.Store == nil {
		return nil
	}
	select {
	case <-t.preloading.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !t.preloading.ready.Load() {
		return fmt.Errorf("it was not loaded: %w", t.preloading.err)
	}
	_, partitions := t.c.Owned()
	for p := range partitions {
		if err := t.c.Settled(ctx, p); err != nil {
			return err
		}
	}
	for r := t.reader.Load(); r == nil || r.Lag().Entries > 0; r = t.reader.Load() {
		if !pause(ctx, saveLook) {
			t.mu.Lock()
			defer t.mu.Unlock()
			return errors.Join(fmt.Errorf("the store does not have everything: %w", ctx.Err()), t.unwritten)
		}
	}
	if err := t.tidy(ctx); err != nil {
		return err
	}
	return t.mark(ctx, savedPrefix)
}
