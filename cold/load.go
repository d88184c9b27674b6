package cold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

const (
	// loadTry is how long one load may take, whoever still waits for it.
	loadTry = 30 * time.Second
	// backWait is how long a value that comes back waits for room.
	backWait = 250 * time.Millisecond
	// backBytes is how much of a cache may be on its way back into memory after it was given out. With more, those who read wait for it.
	backBytes = 8 << 20
)

// flights are the loads that are under way.
type flights struct {
	mu  sync.Mutex
	all map[flightKey]*flight
	// coming is what was given out and is not back in memory yet.
	coming *semaphore.Weighted
}

type flightKey struct {
	key  string
	seq  grid.Sequence
	back bool
}

// flight is one load, for all who ask for the same value until it is back in memory.
type flight struct {
	loaded chan struct{} // closed when value and err are there
	landed chan struct{} // closed when the value is back in memory, or stays away
	value  []byte
	err    error
	shared bool // the value is not the first one's alone who asked; it is settled once loaded is closed
}

func newFlights() flights {
	return flights{all: make(map[flightKey]*flight), coming: semaphore.NewWeighted(backBytes)}
}

// wait returns when all that is under way has landed.
func (f *flights) wait(ctx context.Context) error {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.all))
	f.mu.Unlock()
	for _, one := range all {
		select {
		case <-one.landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Load implements grid.Tier. Nobody waits for the value to be back in memory.
func (t *tier) Load(ctx context.Context, cold grid.Cold, back bool) ([]byte, error) {
	if t.store.Store == nil {
		return nil, fmt.Errorf("%w: %s/%s", grid.ErrNoStore, t.name, cold.Entry.Key)
	}
	key := flightKey{cold.Entry.Key, cold.Sequence, back}
	t.flights.mu.Lock()
	f := t.flights.all[key]
	if f == nil {
		f = &flight{loaded: make(chan struct{}), landed: make(chan struct{}), shared: back}
		t.flights.all[key] = f
		go t.fly(f, key, cold)
	} else if !back {
		f.shared = true
	}
	t.flights.mu.Unlock()
	select {
	case <-f.loaded:
		if f.err == nil && f.shared {
			return bytes.Clone(f.value), nil
		}
		return f.value, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the store does not answer: %w", grid.ErrUnavailable, ctx.Err())
	}
}

// fly loads a value, and brings it back where that is asked for.
func (t *tier) fly(f *flight, key flightKey, cold grid.Cold) {
	ctx, cancel := context.WithTimeout(t.ctx, loadTry)
	defer cancel()
	f.value, f.err = t.load(ctx, cold)
	land := func() {
		t.flights.mu.Lock()
		defer t.flights.mu.Unlock()
		delete(t.flights.all, key)
		close(f.landed)
	}
	size := int64(len(f.value)) + 1<<10
	switch {
	case f.err != nil || !key.back:
		land()
		close(f.loaded)
	case t.flights.coming.TryAcquire(size):
		close(f.loaded)
		t.back(ctx, cold, f.value)
		t.flights.coming.Release(size)
		land()
	default:
		t.back(ctx, cold, f.value)
		land()
		close(f.loaded)
	}
}

// load reads a value from the store.
func (t *tier) load(ctx context.Context, cold grid.Cold) ([]byte, error) {
	if t.rightStore(ctx, false) != nil {
		if err := t.rightStore(ctx, true); err != nil { // it may be the right one again
			return nil, fmt.Errorf("%w: %w", grid.ErrUnavailable, err)
		}
	}
	e, err := t.store.Store.Get(ctx, t.name, cold.Entry.Key)
	if errors.Is(err, store.ErrNotFound) || err == nil && e.Revision != uint64(cold.Entry.Revision) {
		if wrong := t.rightStore(ctx, true); wrong != nil {
			t.loadErrors.Add(1)
			return nil, fmt.Errorf("%w: %w", grid.ErrUnavailable, wrong)
		}
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", grid.ErrNotFound, err)
	case err != nil:
		t.loadErrors.Add(1)
		return nil, fmt.Errorf("%w: %w", grid.ErrUnavailable, err)
	case e.Revision != uint64(cold.Entry.Revision):
		return nil, fmt.Errorf("%w: the store has revision %d of %s/%s, and not %d", grid.ErrNotFound, e.Revision, t.name, e.Key, cold.Entry.Revision)
	case len(e.Value) != cold.Size:
		t.loadErrors.Add(1)
		return nil, fmt.Errorf("%w: the store has %d bytes of %s/%s at revision %d, which had %d", grid.ErrLost, len(e.Value), t.name, e.Key, e.Revision, cold.Size)
	}
	t.loaded.Add(1)
	return e.Value, nil
}

// back brings a value back into memory, where there is room for it before long.
func (t *tier) back(ctx context.Context, cold grid.Cold, value []byte) {
	wait, cancel := context.WithTimeout(ctx, backWait)
	defer cancel()
	taken, err := t.Admit(wait, grid.Need{Key: cold.Entry.Key, Size: int64(len(value))}.Whole())
	if err != nil {
		return
	}
	err = t.cold.steps.activate(ctx, t.c, cold, value)
	t.Release(taken)
	if err != nil && !errors.Is(err, grid.ErrRevision) && !errors.Is(err, grid.ErrNotFound) && ctx.Err() == nil {
		t.cold.cfg.Logger.Debug("a value was not brought back", "cache", t.name, "key", cold.Entry.Key, "error", err)
	}
}
