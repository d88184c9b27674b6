package grid

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// loadCaches reads the configurations, and follows them for as long as the grid is open, however short ctx lives.
func (g *Grid) loadCaches(ctx context.Context) error {
	watching, cancel := context.WithCancel(until(g.done))
	bound := context.AfterFunc(ctx, cancel)
	defer bound()
	watch, err := g.meta.Watch(watching, cachePrefix+"*")
	if err != nil {
		cancel()
		if ctx.Err() != nil { // it ended the watch: what is late is not given up
			err = contextError(ctx)
		}
		return fmt.Errorf("read the caches: %w", apiError(err))
	}
	for {
		select {
		case entry := <-watch.Updates():
			if entry == nil {
				if err := g.loadNewest(ctx); err != nil {
					return errors.Join(err, watch.Stop())
				}
				if !bound() {
					cancel()
					return contextError(ctx)
				}
				g.loops.Go(func() {
					defer cancel()
					g.followCaches(watch)
				})
				return nil
			}
			if entry.Operation() != jetstream.KeyValuePut {
				continue
			}
			if _, err := g.adoptEntry(ctx, strings.TrimPrefix(entry.Key(), cachePrefix), entry.Value(), entry.Revision()); err != nil {
				return errors.Join(err, watch.Stop())
			}
		case <-ctx.Done():
			return errors.Join(contextError(ctx), watch.Stop())
		}
	}
}

// loadNewest reads in a cluster what loadCaches may not have seen yet, since a replica answered it that lags: this node's own does when it starts. A node that cannot
// have a cache is to know that before it opens.
func (g *Grid) loadNewest(ctx context.Context) error {
	if !g.clustered() {
		return nil
	}
	prefix := "$KV." + g.meta.Bucket() + "."
	names, err := g.subjects(ctx, "KV_"+g.meta.Bucket(), prefix+cachePrefix+"*")
	if err != nil {
		return fmt.Errorf("read the caches: %w", err)
	}
	var reading errgroup.Group
	reading.SetLimit(cachesAtOnce)
	for _, subject := range names {
		reading.Go(func() error {
			key := strings.TrimPrefix(subject, prefix)
			value, rev, err := g.metaGet(ctx, key)
			if err == nil {
				_, err = g.adoptEntry(ctx, strings.TrimPrefix(key, cachePrefix), value, rev)
			}
			if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, ErrNoCache) {
				return nil // it is deleted
			}
			return err
		})
	}
	return reading.Wait()
}

// cachesAtOnce is how many descriptions of caches a node that opens asks for at a time.
const cachesAtOnce = 16

func (g *Grid) followCaches(watch jetstream.KeyWatcher) {
	for {
		select {
		case entry, ok := <-watch.Updates():
			if !ok {
				if !g.isDone() {
					g.cfg.Logger.Error("caches that other nodes make, change and delete are not followed any more; restart this node")
				}
				return
			}
			if entry == nil {
				continue
			}
			if entry.Operation() != jetstream.KeyValuePut {
				g.forgetCache(strings.TrimPrefix(entry.Key(), cachePrefix), entry.Revision())
				g.usable(strings.TrimPrefix(entry.Key(), cachePrefix), nil)
				continue
			}
			ctx, cancel := context.WithTimeout(until(g.done), g.cfg.Timeout)
			_, err := g.adoptEntry(ctx, strings.TrimPrefix(entry.Key(), cachePrefix), entry.Value(), entry.Revision())
			cancel()
			if errors.Is(err, ErrNoCache) {
				err = nil // it is deleted already
			}
			if err != nil && !g.isDone() {
				g.cfg.Logger.Error("cache configuration not used", "key", entry.Key(), "error", err)
			}
			g.usable(strings.TrimPrefix(entry.Key(), cachePrefix), err)
		case <-g.done:
			if err := watch.Stop(); err != nil {
				g.cfg.Logger.Debug("stop watching caches", "error", err)
			}
			return
		}
	}
}

// usable notes why a cache that the grid has cannot be used on this node, nil where it can.
func (g *Grid) usable(cache string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if delete(g.unusable, cache); errors.Is(err, ErrConfig) {
		g.unusable[cache] = err
	}
}

// cannotUse says which caches of the grid this node cannot use; nil for none.
func (g *Grid) cannotUse() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(g.unusable)) {
		errs = append(errs, g.unusable[name])
	}
	return errors.Join(errs...)
}
