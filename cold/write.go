package cold

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

const (
	// writeBatch is how many changes go to the store together, and writesAtOnce how many batches.
	writeBatch   = 512
	writesAtOnce = 4
	// writeFirst and writeLongest are the pauses before what the store did not take is given to it again.
	writeFirst, writeLongest = 20 * time.Millisecond, 2 * time.Second
	// writeTry is how long one batch may take.
	writeTry = 30 * time.Second
	// lagEvery is how often the lag is measured; between, what is written is added.
	lagEvery = 100 * time.Millisecond
)

// readerPrefix begins the names of readers that write behind.
const readerPrefix = "_store-"

// ReaderName is the name of the reader that writes a cache into a store. Its position is up to where the store has everything.
func ReaderName(store string) string { return readerPrefix + store }

// forgetReaders removes the readers that wrote the cache into stores that it had before: nothing could leave memory that they have
// not passed.
func (t *tier) forgetReaders(g *grid.Grid) {
	forget := func() error {
		all, err := t.cold.steps.readers(t.ctx, g)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.Cache != t.name || !strings.HasPrefix(r.Reader, readerPrefix) || r.Reader == ReaderName(t.config.Load().Store) {
				continue
			}
			if err := g.DeleteReader(t.ctx, r.Cache, r.Reader); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		err := forget()
		if err == nil || errors.Is(err, grid.ErrNoCache) || errors.Is(err, grid.ErrClosed) {
			return
		}
		t.cold.cfg.Logger.Debug("look for readers of former stores", "cache", t.name, "error", err)
		if !pause(t.ctx, writeLongest) {
			return
		}
	}
}

// writeLoop brings what is written to the store, until the tier ends: the newest change of each key, in the order of its revisions.
func (t *tier) writeLoop(g *grid.Grid) {
	r := t.open(g)
	if r == nil {
		return
	}
	t.reader.Store(r)
	close(t.opened)
	var writes errgroup.Group
	writes.SetLimit(writesAtOnce)
	for {
		changes, err := r.Next(t.ctx, writeBatch)
		if t.ctx.Err() != nil || errors.Is(err, grid.ErrClosed) {
			r.Undo(changes)
			break
		}
		if err != nil {
			t.failed(fmt.Errorf("read what is to be stored: %w", err))
			if !pause(t.ctx, writeFirst) {
				break
			}
			continue
		}
		writes.Go(func() error {
			stored := t.cold.steps.write(t, changes, func() {
				r.Done(changes)
				t.evictable()
			})
			if !stored {
				r.Undo(changes)
			}
			return nil
		})
	}
	// Its functions return no error.
	_ = writes.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.cold.cfg.Logger.Debug("the position of the write-behind was not written", "cache", t.name, "error", err)
	}
}

// open opens the reader; nil where the tier ends before.
func (t *tier) open(g *grid.Grid) *grid.Reader {
	for {
		r, err := g.Read(t.ctx, grid.ReaderConfig{Name: ReaderName(t.config.Load().Store), Cache: t.name, SkipCold: true})
		if err == nil {
			return r
		}
		if t.ctx.Err() != nil || errors.Is(err, grid.ErrClosed) || errors.Is(err, grid.ErrNoCache) {
			return nil
		}
		t.failed(fmt.Errorf("begin to store what is written: %w", err))
		if !pause(t.ctx, writeLongest) {
			return nil
		}
	}
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// failed notes why the store does not take what it is given; nil for that it does.
func (t *tier) failed(err error) {
	t.mu.Lock()
	news := (err == nil) != (t.unwritten == nil)
	t.unwritten = err
	t.mu.Unlock()
	switch {
	case !news || t.ctx.Err() != nil:
	case err != nil:
		t.cold.cfg.Logger.Warn("what is written does not go to the store; it is tried again", "cache", t.name, "store", t.config.Load().Store, "error", err)
	default:
		t.cold.cfg.Logger.Info("what is written goes to the store again", "cache", t.name, "store", t.config.Load().Store)
	}
}

// write stores changes, trying again what the store does not take. It is false where the tier ended before.
func (t *tier) write(changes []grid.Change) bool {
	entries := make([]store.Entry, len(changes))
	for i, c := range changes {
		entries[i] = asStored(c)
	}
	for wait, again := writeFirst, false; ; wait, again = min(2*wait, writeLongest), true {
		ctx, cancel := context.WithTimeout(t.ctx, writeTry)
		var outcomes []error
		why := t.rightStore(ctx, again) // one that was away may come back as another
		left := entries
		if why == nil {
			outcomes, left = t.store.Store.PutAll(ctx, t.name, entries), nil
		}
		cancel()
		for i, err := range outcomes {
			// Where the store has a newer revision, that is as good.
			if err != nil && !errors.Is(err, store.ErrStale) {
				left, why = append(left, entries[i]), err
			}
		}
		t.failed(why)
		if why == nil {
			return true
		}
		entries = left
		if !pause(t.ctx, wait) {
			return false
		}
	}
}

// asStored is what a store gets of a change.
func asStored(c grid.Change) store.Entry {
	e := c.Entry
	info := store.Info{Key: e.Key, Revision: uint64(e.Revision)}
	if c.Type != grid.Updated {
		info.Deleted = true
		return store.Entry{Info: info}
	}
	info.Created, info.Expires, info.Lifespan, info.MaxIdle = e.Created, e.Expires, e.Lifespan, e.MaxIdle
	info.ContentType, info.Labels = e.ContentType, e.Labels
	if revision, _, reader := e.Source(); reader != "" {
		info.Extra = map[string]string{"source": strconv.FormatUint(uint64(revision), 10), "reader": reader}
	}
	return store.Entry{Info: info, Value: e.Value}
}

// evictable says that the store has more: writes that wait for that look again, and values may leave.
func (t *tier) evictable() {
	if t.cold.room.waiting.Load() > 0 {
		t.measure()
	}
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// lagLoop measures the lag.
func (t *tier) lagLoop() {
	for pause(t.ctx, lagEvery) {
		t.measure()
	}
}

func (t *tier) measure() {
	r := t.reader.Load()
	if r == nil {
		return
	}
	t.mu.Lock()
	before := t.lag.since
	t.mu.Unlock()
	now := r.Lag()
	t.mu.Lock()
	t.lag.Lag = now
	t.lag.since = t.lag.since.minus(before) // what came while it was measured may be in it or not
	t.mu.Unlock()
	t.cold.room.tell()
}

// fitsLag returns nil where the store may fall behind by one more. Lock is held.
func (t *tier) fitsLag() error {
	n, bytes := t.lag.Entries+t.lag.since.entries, t.lag.Bytes+t.lag.since.bytes
	switch {
	case n >= t.store.MaxLagEntries:
		return fmt.Errorf("%w: %w: %d entries of cache %s wait for store %s, of at most %d", grid.ErrFull, errLag, n, t.name, t.config.Load().Store, t.store.MaxLagEntries)
	case bytes >= t.store.MaxLagBytes:
		return fmt.Errorf("%w: %w: %d bytes of cache %s wait for store %s, of at most %d", grid.ErrFull, errLag, bytes, t.name, t.config.Load().Store, t.store.MaxLagBytes)
	case t.store.MaxLag > 0 && !t.lag.Oldest.IsZero() && time.Since(t.lag.Oldest) > t.store.MaxLag:
		return fmt.Errorf("%w: %w: cache %s waits for store %s for %v, of at most %v", grid.ErrFull, errLag, t.name, t.config.Load().Store,
			time.Since(t.lag.Oldest).Round(time.Millisecond), t.store.MaxLag)
	}
	return nil
}

// Stored implements grid.Tier.
func (t *tier) Stored(ctx context.Context, partition int, seq grid.Sequence) error {
	if t.store.Store == nil {
		return nil
	}
	select {
	case <-t.opened:
	case <-t.ctx.Done():
		return grid.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	err := t.reader.Load().Reached(ctx, partition, seq)
	if err != nil && !errors.Is(err, grid.ErrNotOwner) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.unwritten != nil {
			return fmt.Errorf("%w: %w", err, t.unwritten)
		}
	}
	return err
}
