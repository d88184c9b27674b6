package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// Cache is a named map of keys to entries.
type Cache struct {
	grid       *Grid
	name       string
	partitions []*partition
	config     atomic.Pointer[CacheConfig]
	counters   *counters
	gather     gather
	behind     atomic.Pointer[Tier] // nil where there is nothing
	near       atomic.Pointer[near] // nil where there is none
	nearing    sync.Mutex           // held to replace it

	// writing is held for reading by writes, and for writing by deletion of the cache.
	writing sync.RWMutex
	gone    atomic.Bool
}

// Name returns the cache's name.
func (c *Cache) Name() string { return c.name }

// Config returns the cache's configuration with its defaults filled in.
func (c *Cache) Config() CacheConfig { return *c.config.Load() }

func (c *Cache) usable() error {
	if c.gone.Load() {
		return fmt.Errorf("%w: %s", ErrNoCache, c.name)
	}
	return nil
}

// CreateCache makes a cache. One that is there with the same configuration is no error; with
// another it is ErrCacheExists.
func (g *Grid) CreateCache(ctx context.Context, config CacheConfig) error {
	if err := config.Validate(); err != nil {
		return err
	}
	config = config.withDefaults()
	ctx, cancel := g.limited(ctx)
	defer cancel()
	if err := g.haveStore(ctx, config); err != nil {
		return err
	}
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("create cache %s: %w", config.Name, err)
	}
	if err := g.finishDeletion(ctx, config.Name); err != nil {
		return fmt.Errorf("create cache %s: %w", config.Name, err)
	}
	if err := g.makeFirst(ctx, config.Class); err != nil {
		return fmt.Errorf("create cache %s: %w", config.Name, err)
	}
	var rev uint64
	var have *Cache // another's
	err = g.patiently(ctx, func(ctx context.Context) (err error) {
		if rev, err = g.meta.Create(ctx, cachePrefix+config.Name, b); !errors.Is(err, jetstream.ErrKeyExists) {
			return apiError(err)
		}
		have, err = g.Cache(ctx, config.Name)
		if g.clustered() && errors.Is(err, ErrNoCache) {
			return fmt.Errorf("%w: another node is making it", ErrUnavailable) // a leader refuses what is under way already
		}
		return err
	})
	if have != nil && err == nil {
		if have.Config() != config {
			return fmt.Errorf("%w: %s has another configuration", ErrCacheExists, config.Name)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("create cache %s: %w", config.Name, err)
	}
	_, err = g.adopt(ctx, config, rev)
	return err
}

// UpdateCache alters a cache's limits, lifespan and max idle, for writes from now on. The class
// cannot change.
func (g *Grid) UpdateCache(ctx context.Context, config CacheConfig) error {
	if err := config.Validate(); err != nil {
		return err
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	c, err := g.Cache(ctx, config.Name)
	if err != nil {
		return err
	}
	if err := g.haveStore(ctx, config); err != nil {
		return err
	}
	if config, err = c.altered(ctx, config); err != nil {
		return err
	}
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("update cache %s: %w", config.Name, err)
	}
	var rev uint64
	if err := g.patiently(ctx, func(ctx context.Context) (err error) {
		rev, err = g.meta.Put(ctx, cachePrefix+config.Name, b)
		return apiError(err)
	}); err != nil {
		return fmt.Errorf("update cache %s: %w", config.Name, err)
	}
	_, err = g.adopt(ctx, config, rev)
	return err
}

// altered returns a configuration for a cache that is there, with the defaults, or why the cache cannot have it.
func (c *Cache) altered(ctx context.Context, config CacheConfig) (CacheConfig, error) {
	if config.Class == "" {
		config.Class = c.Config().Class
	}
	config = config.withDefaults()
	if have := c.Config().Class; have != config.Class {
		return config, fmt.Errorf("cache %s: %w: its class is %s and cannot become %s", config.Name, ErrConfig, have, config.Class)
	}
	if have := c.Config().Store; have != config.Store {
		s, err := c.Stats(ctx)
		if err != nil {
			return config, fmt.Errorf("update cache %s: %w", config.Name, err)
		}
		if s.Cold > 0 {
			return config, fmt.Errorf("cache %s: %w: %d of its entries are in the store %s alone, so it cannot become %q", config.Name, ErrConfig, s.Cold, have, config.Store)
		}
	}
	return config, nil
}

// CheckCache returns what CreateCache, or UpdateCache where there is such a cache, would make of a configuration, and its error; nothing changes.
func (g *Grid) CheckCache(ctx context.Context, config CacheConfig) (CacheConfig, error) {
	if err := config.Validate(); err != nil {
		return config, err
	}
	if err := g.haveStore(ctx, config); err != nil {
		return config, err
	}
	c, err := g.Cache(ctx, config.Name)
	if errors.Is(err, ErrNoCache) {
		return config.withDefaults(), nil
	}
	if err != nil {
		return config, err
	}
	return c.altered(ctx, config)
}

// adopt takes a configuration into use, unless a newer one is.
func (g *Grid) adopt(ctx context.Context, config CacheConfig, rev uint64) (*Cache, error) {
	parts, err := g.class(ctx, config.Class)
	if err != nil {
		return nil, err
	}
	counters := g.counters(config.Name)
	c, err := g.adoptAs(config, rev, parts, counters)
	if err != nil {
		return nil, err
	}
	g.attachTier(c)
	return c, c.setNear()
}

func (g *Grid) adoptAs(config CacheConfig, rev uint64, parts []*partition, counters *counters) (*Cache, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.caches[config.Name]
	if rev <= g.revisions[config.Name] {
		if c == nil {
			return nil, fmt.Errorf("%w: %s", ErrNoCache, config.Name)
		}
		return c, nil
	}
	if c == nil {
		c = &Cache{grid: g, name: config.Name, partitions: parts, counters: counters}
	}
	if err := g.makeTier(c, config); err != nil {
		return nil, err
	}
	c.config.Store(&config)
	g.caches[config.Name], g.revisions[config.Name] = c, rev
	return c, nil
}

// Cache returns a cache by its name, or ErrNoCache. The handle stays usable until the cache is
// deleted.
func (g *Grid) Cache(ctx context.Context, name string) (*Cache, error) {
	if !cacheName.MatchString(name) {
		return nil, fmt.Errorf("%w: %q does not match %s", ErrCacheName, name, cacheName)
	}
	g.mu.Lock()
	c, closed := g.caches[name], g.closed
	g.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if c != nil || g.alone() { // in the process, nobody else makes caches
		if c == nil {
			return nil, fmt.Errorf("%w: %s", ErrNoCache, name)
		}
		return c, nil
	}
	// Another node may have made it a moment ago.
	value, rev, err := g.metaGet(ctx, cachePrefix+name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: %s", ErrNoCache, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", name, apiError(err))
	}
	return g.adoptEntry(ctx, name, value, rev)
}

func (g *Grid) adoptEntry(ctx context.Context, name string, value []byte, rev uint64) (*Cache, error) {
	var config CacheConfig
	if err := json.Unmarshal(value, &config); err != nil {
		return nil, fmt.Errorf("%w: the configuration of cache %s: %w", ErrFormat, name, err)
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return g.adopt(ctx, config.withDefaults(), rev)
}

// Caches returns the configurations of all caches, by name.
func (g *Grid) Caches(ctx context.Context) iter.Seq2[CacheConfig, error] {
	return func(yield func(CacheConfig, error) bool) {
		g.mu.Lock()
		closed := g.closed
		configs := make([]CacheConfig, 0, len(g.caches))
		for _, c := range g.caches {
			configs = append(configs, c.Config())
		}
		g.mu.Unlock()
		if closed {
			yield(CacheConfig{}, ErrClosed)
			return
		}
		slices.SortFunc(configs, func(a, b CacheConfig) int { return strings.Compare(a.Name, b.Name) })
		for _, config := range configs {
			if err := ctx.Err(); err != nil {
				yield(CacheConfig{}, err)
				return
			}
			if !yield(config, nil) {
				return
			}
		}
	}
}

// DeleteCache removes a cache and its entries, without an event for each, and the positions of its readers. Its listeners
// end with ErrNoCache.
func (g *Grid) DeleteCache(ctx context.Context, name string) error {
	c, err := g.Cache(ctx, name)
	if err != nil {
		return err
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	ended, err := g.growing.deletes()
	if err != nil {
		return fmt.Errorf("delete cache %s: %w", name, err)
	}
	defer ended()
	// A deletion that is cut short goes on at the next start, or when a cache of this name is made again.
	if _, err := g.meta.Put(ctx, deletedPrefix+name, []byte(c.Config().Class)); err != nil {
		return fmt.Errorf("delete cache %s: %w", name, g.metaError(err))
	}
	if err := g.meta.Delete(ctx, cachePrefix+name); err != nil {
		return fmt.Errorf("delete cache %s: %w", name, g.metaError(err))
	}
	entry, err := g.meta.History(ctx, cachePrefix+name)
	if err != nil || len(entry) == 0 {
		return fmt.Errorf("delete cache %s: %w", name, g.metaError(err))
	}
	g.forgetCache(name, entry[len(entry)-1].Revision())
	// From here on nobody writes: what is under way ends first.
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := g.finishDeletion(ctx, name); err != nil {
		return fmt.Errorf("delete cache %s: %w", name, err)
	}
	return nil
}

// finishDeletion removes what a deleted cache has left, where there is one of this name.
func (g *Grid) finishDeletion(ctx context.Context, name string) error {
	class, rev, err := g.metaGet(ctx, deletedPrefix+name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for what is left of it: %w", apiError(err))
	}
	parts, err := g.class(ctx, Class(class))
	if err != nil {
		return err
	}
	gone := make([]purged, len(parts))
	for i, p := range parts {
		a, err := g.ask(ctx, p, question{Op: askForget, Cache: name})
		if err != nil {
			return err
		}
		gone[i] = purged{Born: a.Born, UpTo: a.Sequence}
	}
	if err := g.notePurged(ctx, name, Class(class), gone); err != nil {
		return err
	}
	err = g.meta.Delete(ctx, deletedPrefix+name, jetstream.LastRevision(rev))
	if err != nil && !isReplaced(err) {
		return fmt.Errorf("note that it is gone: %w", g.metaError(err))
	}
	return nil
}

// finishDeletions ends the deletions that a crash cut short.
func (g *Grid) finishDeletions(ctx context.Context) error {
	keys, err := g.meta.ListKeysFiltered(ctx, deletedPrefix+"*")
	if err != nil {
		return fmt.Errorf("read the caches: %w", apiError(err))
	}
	var names []string
	for key := range keys.Keys() {
		names = append(names, strings.TrimPrefix(key, deletedPrefix))
	}
	if ctx.Err() != nil { // the list ended with it
		return fmt.Errorf("read the caches: %w", contextError(ctx))
	}
	for _, name := range names {
		if err := g.finishDeletion(ctx, name); err != nil {
			return fmt.Errorf("finish the deletion of cache %s: %w", name, err)
		}
	}
	return nil
}

// forget removes every entry of a deleted cache from a partition, markers and positions of readers too. The owner does it:
// nothing tells other nodes of what is purged. It returns up to where it purged.
func (t *tenure) forget(ctx context.Context, cache string) (Sequence, error) {
	stream, err := t.g.stream(ctx, t.p)
	if err != nil {
		return 0, err
	}
	last := Sequence(stream.CachedInfo().State.LastSeq)
	// Nobody waits later for what is purged now.
	if err := t.index.wait(ctx, last); err != nil {
		return 0, err
	}
	if err := t.p.purge(ctx, stream, cache, last); err != nil {
		return 0, err
	}
	t.index.mu.Lock()
	var tier Tier
	if s := t.index.spaces[cache]; s != nil {
		tier = s.tier
	}
	t.index.mu.Unlock()
	if tier != nil {
		tier.Forget(t.p.number, last)
	}
	t.index.forget(cache, last)
	// Nobody is told of what was purged, and a cache of this name may be there again.
	if takers := t.p.hub.of(cache); takers != nil {
		takers.fallBehind(t.p.number)
	}
	return last, nil
}

// forgetCache takes a cache out of use on this node.
func (g *Grid) forgetCache(name string, rev uint64) {
	g.mu.Lock()
	c := g.caches[name]
	if c == nil || rev <= g.revisions[name] {
		g.mu.Unlock()
		return
	}
	delete(g.caches, name)
	g.revisions[name] = rev
	g.mu.Unlock()
	c.gone.Store(true)
	c.closeNear()
	if g.cfg.Tiers != nil {
		g.cfg.Tiers.Deleted(name)
	}
	c.endListeners(fmt.Errorf("%w: %s was deleted", ErrNoCache, name))
}

func (c *Cache) endListeners(err error) {
	for _, p := range c.partitions {
		for _, l := range p.hub.listeners(c.name) {
			l.close(err)
		}
	}
}
