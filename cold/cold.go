// Package cold keeps caches within what they may have in memory: it decides which values leave, sees to it that a store has them before
// (write-behind, a reader of the cache), and brings them back when they are asked for. How a value is replaced by a stub and back
// is package grid's, and how it is kept package store's.
package cold

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

// Config says what there is beside the caches' own configuration.
type Config struct {
	// Stores are what caches may name. Who opened them closes them, after Close.
	Stores map[string]Store
	// MaxEntries and MaxBytes (of values) bound what all caches of this node together have in memory that may leave it; 0 for no bound.
	MaxEntries, MaxBytes int64
	// Wait is how long a put waits for room, or for the store to catch up, before it is a grid.ErrFull; 2 s if 0.
	Wait time.Duration
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
}

// Store is a store with the limits of what waits for it. Over them, puts wait.
type Store struct {
	Store store.Store
	// MaxLagEntries and MaxLagBytes bound what is written and not in the store yet, of each cache on this node: DefaultLagEntries and
	// DefaultLagBytes if 0. MaxLag bounds how long it waits; 0 for no bound.
	MaxLagEntries, MaxLagBytes int64
	MaxLag                     time.Duration
}

// The limits of what waits for a store, where a configuration has none.
const (
	DefaultLagEntries = 100_000
	DefaultLagBytes   = 256 << 20
	defaultWait       = 2 * time.Second
)

// ErrConfig says that a configuration is faulty; the message lists every fault.
var ErrConfig = errors.New("configuration not usable")

// ErrForeign says that a store has the values of another grid.
var ErrForeign = errors.New("store belongs to another grid")

// Validate reports every fault at once, as an ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check(c.MaxEntries >= 0, "max_entries", "%d must not be negative", c.MaxEntries)
	l.Check(c.MaxBytes >= 0, "max_bytes", "%d must not be negative", c.MaxBytes)
	l.Check(c.Wait >= 0, "wait", "%v must not be negative", c.Wait)
	for name, s := range c.Stores {
		l.Check(s.Store != nil, "stores."+name, "is not open")
		l.Check(s.MaxLagEntries >= 0, "stores."+name+".max_lag_entries", "%d must not be negative", s.MaxLagEntries)
		l.Check(s.MaxLagBytes >= 0, "stores."+name+".max_lag_bytes", "%d must not be negative", s.MaxLagBytes)
		l.Check(s.MaxLag >= 0, "stores."+name+".max_lag", "%v must not be negative", s.MaxLag)
	}
	if err := l.Err(); err != nil {
		return fmt.Errorf("cold: %w: %w", ErrConfig, err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	stores := make(map[string]Store, len(c.Stores))
	for name, s := range c.Stores {
		if s.MaxLagEntries == 0 {
			s.MaxLagEntries = DefaultLagEntries
		}
		if s.MaxLagBytes == 0 {
			s.MaxLagBytes = DefaultLagBytes
		}
		stores[name] = s
	}
	c.Stores = stores
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Cold is what is behind the caches of one node. It is the grid's Tiers: New comes before grid.Open, Start after it, and Close before
// the grid's.
type Cold struct {
	cfg Config
	// used is what all caches have in memory here that may leave it, under what is taken by writes that are not counted yet, and
	// wanted by writes that wait.
	used, under, wanted total
	room                room
	ctx                 context.Context //nolint:containedctx // the life of what runs here, from New to Close
	cancel              context.CancelFunc
	running             sync.WaitGroup
	steps               steps
	lookEvery           time.Duration

	mu         sync.Mutex
	grid       *grid.Grid // nil before Start
	identities map[string]*identity
	tiers      map[string]*tier
	ending     map[string]<-chan struct{} // closed when the last tier of this name that was stopped has ended
	closed     bool
}

var _ grid.Tiers = (*Cold)(nil)

// New does no I/O.
func New(cfg Config) (*Cold, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Cold{cfg: cfg.withDefaults(), ctx: ctx, cancel: cancel, steps: rightSteps(), lookEvery: lookEverySoOften, tiers: make(map[string]*tier), ending: make(map[string]<-chan struct{})}, nil
}

// Tier implements grid.Tiers.
func (c *Cold) Tier(cache *grid.Cache, config grid.CacheConfig) (grid.Tier, error) {
	var s Store
	if config.Store != "" {
		var ok bool
		if s, ok = c.cfg.Stores[config.Store]; !ok {
			return nil, fmt.Errorf("%w: no store %q on this node; there %s; add stores.%[2]s to its configuration, as it was before or is on the other nodes", grid.ErrConfig, config.Store, c.storeNames())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.tiers[config.Name]
	bounded := config.MaxEntries > 0 || config.MaxBytes > 0 || c.cfg.MaxEntries > 0 || c.cfg.MaxBytes > 0
	if config.Store == "" && (config.Evict != grid.EvictDrop || !bounded) || c.closed {
		c.stop(old)
		return nil, nil
	}
	if old != nil && old.c == cache {
		if have := old.config.Load(); have.Store == config.Store && have.Policy == config.Policy {
			old.configure(config)
			return old, nil
		}
	}
	c.stop(old)
	t := newTier(c, cache, config, s)
	t.before = c.ending[config.Name]
	c.tiers[config.Name] = t
	if c.grid != nil {
		t.start(c.grid)
	}
	return t, nil
}

func (c *Cold) storeNames() string {
	if len(c.cfg.Stores) == 0 {
		return "are none"
	}
	return "is " + strings.Join(c.Stores(), ", ")
}

// Stores implements grid.Tiers.
func (c *Cold) Stores() []string { return slices.Sorted(maps.Keys(c.cfg.Stores)) }

// stop ends a tier, which goes on ending after it. Lock is held.
func (c *Cold) stop(t *tier) {
	if t == nil {
		return
	}
	t.cancel()
	if c.grid == nil {
		close(t.ended)
	}
	c.ending[t.name] = t.ended
	delete(c.tiers, t.name)
}

// Deleted implements grid.Tiers.
func (c *Cold) Deleted(cache string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop(c.tiers[cache])
}

// Start begins to write behind and to evict, in the caches that there are and in those to come. It is an ErrForeign where a store has the
// values of another grid, and an ErrOtherStore where the grid's is another one.
func (c *Cold) Start(ctx context.Context, g *grid.Grid) error {
	if err := c.identify(ctx, g); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grid = g
	for _, t := range c.tiers {
		t.start(g)
	}
	return nil
}

// isFormer refuses a store with a revision that the grid's streams have come to, or may come to.
func isFormer(ctx context.Context, s store.Store, first grid.Sequence, o store.Owner) error {
	all, err := s.Namespaces(ctx)
	if err != nil {
		return err
	}
	for _, namespace := range all {
		if namespace == store.GridNamespace {
			continue
		}
		for info, err := range s.List(ctx, namespace, store.ListOptions{Deleted: true}) {
			switch {
			case errors.Is(err, store.ErrCorrupt):
			case err != nil:
				return err
			case grid.Sequence(info.Revision) >= first:
				return fmt.Errorf("%w: it has entries of %s, such as %s/%q at revision %d, which cannot be told from this grid's own; only a new grid takes them: start with an empty node.data",
					ErrForeign, cmp.Or(o.From, "an unknown one"), namespace, info.Key, info.Revision)
			}
		}
	}
	return nil
}

// Apart implements grid.Tiers: a store with entries is this grid's, whose streams are lost, or nobody's.
func (c *Cold) Apart(ctx context.Context, id string) (bool, error) {
	for name, s := range c.cfg.Stores {
		o, err := store.ReadOwner(ctx, s.Store)
		if err != nil {
			return false, fmt.Errorf("store %s: %w", name, err)
		}
		if o.Grid != "" && o.Grid != id {
			continue // Start refuses it
		}
		empty, err := store.IsEmpty(ctx, s.Store)
		if err != nil {
			return false, fmt.Errorf("store %s: %w", name, err)
		}
		if !empty {
			return true, nil
		}
	}
	return false, nil
}

// saveTime is how long the stores may take at a stop to get what volatile caches have.
const saveTime = 10 * time.Second

// save saves the volatile caches.
func (c *Cold) save(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	c.mu.Lock()
	g, tiers := c.grid, slices.Collect(maps.Values(c.tiers))
	c.mu.Unlock()
	if g == nil {
		return
	}
	var saving sync.WaitGroup
	for _, t := range tiers {
		saving.Go(func() {
			if err := t.save(ctx, g); err != nil {
				c.cfg.Logger.Error("a volatile cache is not saved, and begins empty", "cache", t.name, "error", err)
			}
		})
	}
	saving.Wait()
}

// Close saves what volatile caches have, to which nothing may be written any more, and stops writing and evicting. What durable caches have that is
// not in the stores goes there after the next start.
func (c *Cold) Close(ctx context.Context) error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if !again {
		c.save(ctx)
	}
	c.cancel()
	done := make(chan struct{})
	go func() {
		c.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close: a store does not end a call: %w", ctx.Err())
	}
}

// total is an amount of all caches.
type total struct{ entries, bytes atomic.Int64 }

func (t *total) add(a amount) {
	t.entries.Add(a.entries)
	t.bytes.Add(a.bytes)
}

func (t *total) amount() amount { return amount{t.entries.Load(), t.bytes.Load()} }

// room is where writes wait until something leaves memory, or the store has caught up.
type room struct {
	waiting atomic.Int64
	mu      sync.Mutex
	more    chan struct{} // nil while nobody waits
}

// wait returns a channel that is closed when there may be more room than now.
func (r *room) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more == nil {
		r.more = make(chan struct{})
	}
	return r.more
}

func (r *room) tell() {
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// wake has all caches look whether something must leave, since the node is full.
func (c *Cold) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tiers {
		t.wakeUp()
	}
}
