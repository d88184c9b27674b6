package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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
	for e, err := range r.cache.List(ctx, grid.ListOptions{Prefix: chunkPrefix, KeysOnly: true}) {
		if err != nil {
			return err
		}
		push, _, _ := strings.Cut(strings.TrimPrefix(e.Key, chunkPrefix), "/")
		if known[push] || time.Since(e.Created) < orphanAge {
			continue
		}
		if _, err := r.cache.Delete(ctx, e.Key, grid.DeleteOptions{}); err != nil && !errors.Is(err, grid.ErrNotFound) {
			return fmt.Errorf("remove what a push left behind: %w", err)
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
		err = CheckName(f.Name, f.Version)
	}
	if err != nil {
		r.log.Error("model manifest is not valid", "key", e.Key, "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.models[f.Name][f.Version]; old != nil {
		if old.fixed != nil {
			r.log.Warn("a pushed model hides behind one of the configuration", "model", f.Name, "version", f.Version)
		}
		return
	}
	r.put(&version{manifest: f, source: "pushed"})
}

// watch follows what other nodes push and remove.
func (r *Registry) watch(ctx context.Context, l *grid.Listener) {
	defer close(r.done)
	defer l.Close()
	for {
		e, err := l.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, grid.ErrClosed) {
				r.log.Error("models of other nodes are no longer followed", "error", err)
			}
			return
		}
		switch e.Type {
		case grid.Created, grid.Updated:
			r.found(e.Entry)
		default:
			r.removed(e.Entry.Key)
		}
	}
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
	if v != nil && v.fixed == nil {
		r.forget(v)
	}
}
