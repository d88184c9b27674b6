package cold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

const (
	// loadTry is how long one load may take, whoever still waits for it.
	loadTry = 30 * time.Second
	// backWait is how long a value that comes back waits for room; it is given out in any case.
	backWait = 250 * time.Millisecond
)

// Load implements grid.Tier. Who asks for the same value meanwhile gets it of the same load.
func (t *tier) Load(ctx context.Context, cold grid.Cold, back bool) ([]byte, error) {
	if t.store.Store == nil {
		return nil, fmt.Errorf("%w: %s/%s", grid.ErrNoStore, t.name, cold.Entry.Key)
	}
	flight := strconv.FormatUint(uint64(cold.Sequence), 10) + strconv.FormatBool(back) + cold.Entry.Key
	result := t.loads.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(t.ctx, loadTry)
		defer cancel()
		value, err := t.load(ctx, cold)
		if err == nil && back {
			t.back(ctx, cold, value)
		}
		return value, err
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		value, _ := r.Val.([]byte)
		if r.Shared {
			value = bytes.Clone(value)
		}
		return value, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the store does not answer: %w", grid.ErrUnavailable, ctx.Err())
	}
}

// load reads a value from the store.
func (t *tier) load(ctx context.Context, cold grid.Cold) ([]byte, error) {
	e, err := t.store.Store.Get(ctx, t.name, cold.Entry.Key)
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
	size := int64(len(value))
	if err := t.Admit(wait, 1, size); err != nil {
		return
	}
	err := t.cold.steps.activate(ctx, t.c, cold, value)
	t.Release(1, size)
	if err != nil && !errors.Is(err, grid.ErrRevision) && !errors.Is(err, grid.ErrNotFound) && ctx.Err() == nil {
		t.cold.cfg.Logger.Debug("a value was not brought back", "cache", t.name, "key", cold.Entry.Key, "error", err)
	}
}
