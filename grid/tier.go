package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Memory follows which values of a cache are in memory in the partitions that this node owns. Its methods are called in the
// order of the stream, with a partition's index locked: they must not wait, nor call the grid.
type Memory interface {
	// Hot says that a key has a value of so many bytes in memory: it was written, or came back from the store.
	Hot(key string, size int)
	// Gone says that it has none any more: it was removed, has expired or went to the store; or this node owns its partition no more.
	Gone(key string)
}

// Need is the room of a write in memory.
type Need struct {
	Key  string
	Size int64 // of the value
	// Entries and Bytes are what it adds: of a value that is in memory already no entry, and what the new one is longer by.
	Entries, Bytes int64
}

// Whole is the room where nothing of the key is in memory.
func (n Need) Whole() Need { return Need{n.Key, n.Size, 1, n.Size} }

// Tier is what is behind a cache on this node: who decides what leaves memory, and where it comes back from. Package cold has
// the implementation. All methods are for concurrent use.
type Tier interface {
	Memory
	// Used says that a key was read, by this node or, if it owns the partition, by another. It must not wait.
	Used(key string)
	// Admit takes room for what a write adds to memory, and returns what it took: more than was asked for where the value that is written over is about to leave.
	// It waits a while for it, then it is ErrFull. Until Release gives it back, once it is counted or was not stored, the value of the key does not leave.
	Admit(ctx context.Context, need Need) (Need, error)
	Release(taken Need)
	// Load returns the value of a cold entry, or ErrNotFound where the store has another revision, or none. Back asks to bring it
	// back into memory on the way, which the owner of its partition does where there is room.
	Load(ctx context.Context, e Cold, back bool) ([]byte, error)
	// Leave has values of one partition leave memory, and returns for each nil, an ErrStays, or an ErrRevision where the key has changed. Wait says
	// that what readers or the store are about to pass is waited for, for a moment. It is called on the partition's owner.
	Leave(ctx context.Context, some []Resident, wait bool) []error
	// Stored returns when what was written to a partition up to seq is in the store. It is called on the partition's owner.
	Stored(ctx context.Context, partition int, seq Sequence) error
	// Forget says that the cache was deleted: what the store has of a partition up to seq is over. It must not wait.
	Forget(partition int, seq Sequence)
	// Stats returns what Stats.Tier is.
	Stats() TierStats
}

// Tiers makes the tiers of caches.
type Tiers interface {
	// Tier returns what a cache has behind it on this node; nil for nothing. It is called when the cache is taken into use, and
	// again when its configuration has changed. It must not call the grid.
	Tier(c *Cache, config CacheConfig) (Tier, error)
	// Stores returns the names of the stores that caches may name on this node, in order. They do not change.
	Stores() []string
	// Apart reports whether the streams of a grid that are made now have to begin above all that was before: a store that the grid has or may
	// take has revisions of others.
	Apart(ctx context.Context, grid string) (bool, error)
	// Deleted says that a cache was deleted. It must not wait.
	Deleted(cache string)
}

// TierStats are the statistics of what is behind a cache on one node, since it was opened.
type TierStats struct {
	// InMemory is how many values of this node's partitions are in memory, at one moment.
	InMemory int64 `json:"in_memory"`
	// Evictions counts the values that left memory, Loads those that were read from the store, and LoadErrors what could not be.
	Evictions  uint64 `json:"evictions"`
	Loads      uint64 `json:"loads"`
	LoadErrors uint64 `json:"load_errors"`
	// Lag is what is written and not in the store yet, in the partitions that this node owns.
	LagEntries int64         `json:"lag_entries"`
	LagBytes   int64         `json:"lag_bytes"`
	Lag        time.Duration `json:"lag"`
}

// ErrNoStore says that a cold entry cannot be read here, because this node has no store for its cache.
var ErrNoStore = errors.New("no store for the cache on this node")

// ErrLost says that the store does not have what a cold entry stands for.
var ErrLost = errors.New("cold value lost")

// tier returns what is behind the cache; nil for nothing.
func (c *Cache) tier() Tier {
	if t := c.behind.Load(); t != nil {
		return *t
	}
	return nil
}

// tierOf returns what is behind a cache, for indexes; nil for nothing.
func (g *Grid) tierOf(cache string) Tier {
	g.mu.Lock()
	c := g.caches[cache]
	g.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.tier()
}

// makeTier asks for what is behind a cache. The grid is locked.
func (g *Grid) makeTier(c *Cache, config CacheConfig) error {
	if g.cfg.Tiers == nil {
		return nil
	}
	var tier Tier
	var err error
	if config.Store != "" && g.guest() && !slices.Contains(g.cfg.Tiers.Stores(), config.Store) {
		tier = elsewhere{c}
	} else if tier, err = g.cfg.Tiers.Tier(c, config); err != nil {
		return fmt.Errorf("cache %s: %w", config.Name, err)
	}
	if tier == nil {
		c.behind.Store(nil)
	} else {
		c.behind.Store(&tier)
	}
	return nil
}

// attachTier tells what is behind a cache which values are in memory already.
func (g *Grid) attachTier(c *Cache) {
	for _, p := range c.partitions {
		if t := p.tenure(); t != nil {
			t.attachTier(c.name)
		}
	}
}

// attachTiers does so for all caches of a partition that this node begins to own.
func (t *tenure) attachTiers() {
	t.index.mu.Lock()
	names := make([]string, 0, len(t.index.spaces))
	for name := range t.index.spaces {
		names = append(names, name)
	}
	t.index.mu.Unlock()
	for _, name := range names {
		t.attachTier(name)
	}
}

func (t *tenure) attachTier(cache string) {
	x := t.index
	x.mu.Lock()
	defer x.mu.Unlock()
	s, tier := x.spaces[cache], x.tier(cache)
	if s == nil || s.tier == tier {
		return
	}
	s.release()
	s.tier = tier
	if tier == nil {
		return
	}
	for key, r := range s.records {
		if r.state == stateLive && !r.cold {
			tier.Hot(key, int(r.size))
		}
	}
}

// release says that nothing of a keyspace is in memory here any more.
func (s *keyspace) release() {
	if s.tier == nil {
		return
	}
	for key, r := range s.records {
		if r.state == stateLive {
			s.left(key, r)
		}
	}
}

// holds tells who follows what is in memory of an entry that was written, or moved.
func (s *keyspace) holds(key string, r, old record, wasLive bool) {
	switch {
	case s.tier == nil:
	case !r.cold:
		s.tier.Hot(key, int(r.size))
	case wasLive:
		s.left(key, old)
	}
}

// left tells that an entry's value is in memory no more.
func (s *keyspace) left(key string, old record) {
	if s.tier != nil && !old.cold {
		s.tier.Gone(key)
	}
}

// used notes that entries were read. Where another node owns their partitions it is told later.
func (c *Cache) used(at place) {
	tier := c.tier()
	switch {
	case tier == nil:
	case at.partition.tenure() != nil:
		tier.Used(at.key)
	default:
		c.grid.uses.note(at)
	}
}

// throughTo waits until what was written up to seq is in the store, where the cache is written through.
func (c *Cache) throughTo(ctx context.Context, p *partition, seq Sequence) error {
	if seq == 0 || c.config.Load().Write != WriteThrough {
		return nil
	}
	_, err := c.grid.ask(ctx, p, question{Op: askStored, Cache: c.name, From: seq})
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: it is in the cache, and goes to the store later: %w", ErrUnavailable, err)
}

// answerTier answers a node that waits for the store, or tells what it read.
func (t *tenure) answerTier(ctx context.Context, q question) error {
	tier := t.g.tierOf(q.Cache)
	if q.Op == askUsed {
		x, now := t.index, t.g.cfg.Now()
		for _, key := range q.Keys {
			if r, live := x.last(q.Cache, string(key), now); live && r.state == stateLive {
				x.use(q.Cache, string(key), r.revision, now)
			}
			if tier != nil {
				tier.Used(string(key))
			}
		}
		return nil
	}
	if tier == nil {
		return fmt.Errorf("%w: %s", ErrNoStore, q.Cache)
	}
	return tier.Stored(ctx, t.p.number, q.From)
}

// warm returns a cold entry with its value. Back brings it back into memory.
func (c *Cache) warm(ctx context.Context, at place, s stored, back bool) (stored, error) {
	for s.found && s.cold {
		value, err := c.load(ctx, at, s, back)
		if err == nil && value != nil {
			s.entry.Value, s.cold, s.loaded = value, false, true
			return s, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return stored{}, err
		}
		before := s.seq
		if s, err = c.readLast(ctx, at); err != nil {
			return stored{}, err
		}
		if s.cold && s.seq == before {
			if value == nil && err == nil && back { // the owner had no room for it
				back = false
				continue
			}
			return stored{}, fmt.Errorf("%w: the store does not have revision %d of %s/%s", ErrLost, s.revision, c.name, at.key)
		}
	}
	s.loaded = true // for the caller, who found it cold
	return s, nil
}

// load returns the value of a cold entry; nil where the owner was asked to bring it back, and the stream is to be read again.
func (c *Cache) load(ctx context.Context, at place, s stored, back bool) ([]byte, error) {
	tier := c.tier()
	if back && at.partition.tenure() == nil {
		_, err := c.grid.ask(ctx, at.partition, question{Op: askBack, Cache: c.name, Key: []byte(at.key), From: s.seq})
		return nil, err
	}
	if tier == nil {
		return nil, fmt.Errorf("%w: %s/%s is in the store %q", ErrNoStore, c.name, at.key, c.config.Load().Store)
	}
	value, err := tier.Load(ctx, s.asCold(at), back)
	if err == nil && value == nil {
		value = []byte{}
	}
	return value, err
}
