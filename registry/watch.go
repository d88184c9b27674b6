package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
)

// orphanAge is how old chunks without a manifest are before they count as left over by a push that was cut off.
const orphanAge = time.Hour

// readManifests finds the versions that were pushed before, and removes what pushes that were cut off left behind.
func (r *Registry) readManifests(ctx context.Context) error {
	for e, err := range r.cache.List(ctx, grid.ListOptions{Prefix: manifestPrefix}) {
		if err != nil {
			return err
		}
		r.found(e)
	}
	r.mu.Lock()
	known := map[string]bool{}
	for _, vs := range r.models {
		for _, v := range vs {
			known[v.Push] = true
		}
	}
	r.mu.Unlock()
	orphans := map[string][]string{} // keys of chunks, by push
	for e, err := range r.cache.List(ctx, grid.ListOptions{Prefix: chunkPrefix, KeysOnly: true}) {
		if err != nil {
			return err
		}
		push, _, _ := strings.Cut(strings.TrimPrefix(e.Key, chunkPrefix), "/")
		if !known[push] {
			orphans[push] = append(orphans[push], e.Key)
		}
	}
	for _, keys := range orphans {
		if err := r.removeOrphans(ctx, keys); err != nil {
			return fmt.Errorf("remove what a push left behind: %w", err)
		}
	}
	return nil
}

// removeOrphans removes the chunks of a push without a manifest, unless the last of them was written lately: then the push
// may be under way on another node.
func (r *Registry) removeOrphans(ctx context.Context, keys []string) error {
	last, err := r.cache.Last(ctx, slices.Max(keys))
	if err != nil {
		return err
	}
	if last.Live && time.Since(last.Entry.Created) < orphanAge {
		return nil
	}
	for _, key := range keys {
		if _, err := r.cache.Delete(ctx, key, grid.DeleteOptions{}); err != nil && !errors.Is(err, grid.ErrNotFound) {
			return err
		}
	}
	return nil
}

// found adds the version that a manifest describes. A manifest that does not fit its key is reported and left out.
func (r *Registry) found(e grid.Entry) {
	var f manifest
	err := json.Unmarshal(e.Value, &f)
	if err == nil && f.key() != e.Key {
		err = fmt.Errorf("it says %s version %d", f.Name, f.Version)
	}
	if err == nil {
		err = CheckName(f.Name, 0)
	}
	if err != nil {
		r.log.Error("model manifest is not valid", "key", e.Key, "error", err)
		return
	}
	// Versions of such numbers were made before numbers were counted with care. They can be seen and removed.
	var failure error
	if f.Version < 1 {
		failure = fmt.Errorf("%d is no number of a version, which begin with 1: remove it, and push the model again", f.Version)
	}
	r.mu.Lock()
	old := r.models[f.Name][f.Version]
	var unused engine.Session
	switch {
	case old != nil && !old.kept():
		r.log.Warn("a pushed model hides behind one of the configuration", "model", f.Name, "version", f.Version)
	case old != nil && old.Push == f.Push:
	default:
		if old != nil { // another node removed it and pushed it anew
			unused = r.drop(old)
		}
		r.put(&version{manifest: f, source: f.place(), failure: failure})
	}
	r.mu.Unlock()
	r.close(old, unused)
}

// watch follows what other nodes push and remove.
func (r *Registry) watch(ctx context.Context, l *grid.Listener) {
	defer l.Close()
	for {
		var e grid.Event
		err := r.patiently(ctx, func() (err error) {
			e, err = l.Next(ctx)
			return err
		})
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, grid.ErrClosed) {
				r.log.Error("models of other nodes are no longer followed", "error", err)
			}
			return
		}
		if err := r.patiently(ctx, func() error { return r.follow(ctx, e.Entry.Key) }); err != nil && ctx.Err() == nil {
			r.log.Error("model manifest cannot be read", "key", e.Entry.Key, "error", err)
		}
	}
}

// followAgain is the pause before a grid that did not answer is asked again.
const followAgain = 200 * time.Millisecond

// patiently calls do again while the grid does not answer.
func (r *Registry) patiently(ctx context.Context, do func() error) error {
	for told := false; ; told = true {
		err := do()
		if !errors.Is(err, grid.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if !told {
			r.log.Warn("models of other nodes are followed again when the grid answers", "error", err)
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow brings a version to what the grid has now: the event may be older than what this node did itself.
func (r *Registry) follow(ctx context.Context, key string) error {
	r.pushing.Lock()
	defer r.pushing.Unlock()
	if name, ok := strings.CutPrefix(key, aliasPrefix); ok {
		return r.readAlias(ctx, name)
	}
	if name, ok := strings.CutPrefix(key, settingsPrefix); ok {
		return r.followSettings(ctx, name)
	}
	e, err := r.cache.Get(ctx, key)
	switch {
	case err == nil:
		r.found(e)
	case errors.Is(err, grid.ErrNotFound):
		r.removed(key)
	default:
		return err
	}
	return nil
}

func (r *Registry) removed(key string) {
	name, number, _ := strings.Cut(strings.TrimPrefix(key, manifestPrefix), "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return
	}
	r.mu.Lock()
	v := r.models[name][n]
	r.mu.Unlock()
	if v != nil && v.kept() {
		r.forget(v)
	}
}
