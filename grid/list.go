package grid

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// ListOptions say which entries are listed.
type ListOptions struct {
	// Prefix limits the keys.
	Prefix string
	// Limit ends the list after so many entries; 0 is all.
	Limit int
	// KeysOnly leaves out all but cache, key and revision, and asks no stream.
	KeysOnly bool
}

// List returns the entries in the order of their keys. It begins from what was there when it was
// called; entries that are removed meanwhile are left out.
func (c *Cache) List(ctx context.Context, o ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		found, err := c.keys(ctx, o)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		if o.KeysOnly {
			for _, f := range found {
				if !yield(Entry{Cache: c.name, Key: f.key, Revision: f.seq}, nil) {
					return
				}
			}
			return
		}
		for len(found) > 0 {
			some := found[:min(len(found), readAhead)]
			found = found[len(some):]
			keys := make([]string, len(some))
			for i, f := range some {
				keys[i] = f.key
			}
			answers, err := c.readMany(ctx, keys, true)
			if err != nil {
				yield(Entry{}, fmt.Errorf("list %s: %w", c.name, err))
				return
			}
			for _, s := range answers {
				if s.found && !yield(s.entry, nil) {
					return
				}
			}
		}
	}
}

type keyAndSeq struct {
	key string
	seq uint64
}

// keys returns what the index has, in order, with this node's own writes.
func (c *Cache) keys(ctx context.Context, o ListOptions) ([]keyAndSeq, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := c.settled(ctx); err != nil {
		return nil, fmt.Errorf("list %s: %w", c.name, err)
	}
	var found []keyAndSeq
	byKey := func(a, b keyAndSeq) int { return strings.Compare(a.key, b.key) }
	for _, p := range c.parts {
		p.mu.Lock()
		p.settle(c.grid.cfg.Now())
		if s := p.spaces[c.name]; s != nil {
			for key, r := range s.records {
				if r.state == stateLive && strings.HasPrefix(key, o.Prefix) {
					found = append(found, keyAndSeq{key, r.seq})
				}
			}
		}
		p.mu.Unlock()
		if o.Limit > 0 && len(found) > o.Limit {
			slices.SortFunc(found, byKey)
			found = found[:o.Limit]
		}
	}
	slices.SortFunc(found, byKey)
	return found, nil
}

// settled waits until the index has this node's own writes.
func (c *Cache) settled(ctx context.Context) error {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	for _, p := range c.parts {
		if err := p.settled(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Size returns how many entries the cache has.
func (c *Cache) Size(ctx context.Context) (int64, error) {
	s, err := c.Stats(ctx)
	return s.Entries, err
}

// Stats are a cache's statistics. The counters are this node's, since it was opened.
type Stats struct {
	Entries int64 `json:"entries"`
	// Bytes are those of the values.
	Bytes   int64  `json:"bytes"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Puts    uint64 `json:"puts"`
	Deletes uint64 `json:"deletes"`
	Expired uint64 `json:"expired"`
	// Listeners is how many listen on this node.
	Listeners int `json:"listeners"`
}

// Stats returns the cache's statistics, without what has expired or was removed.
func (c *Cache) Stats(ctx context.Context) (Stats, error) {
	if err := c.usable(); err != nil {
		return Stats{}, err
	}
	if err := c.settled(ctx); err != nil {
		return Stats{}, fmt.Errorf("statistics of %s: %w", c.name, err)
	}
	n := c.counters
	out := Stats{Hits: n.hits.Load(), Misses: n.misses.Load(), Puts: n.puts.Load(), Deletes: n.deletes.Load(), Expired: n.expired.Load()}
	for _, p := range c.parts {
		p.mu.Lock()
		p.settle(c.grid.cfg.Now())
		if s := p.spaces[c.name]; s != nil {
			out.Entries += s.live
			out.Bytes += s.bytes
			out.Listeners = max(out.Listeners, len(s.listeners))
		}
		p.mu.Unlock()
	}
	return out, nil
}

// Clear removes the entries that are there, each with its removed event. What is written
// meanwhile may stay.
func (c *Cache) Clear(ctx context.Context) error {
	found, err := c.keys(ctx, ListOptions{})
	if err != nil {
		return err
	}
	for len(found) > 0 {
		some := found[:min(len(found), clearBatch)]
		found = found[len(some):]
		writes := make([]write, len(some))
		for i, f := range some {
			p := c.part(f.key)
			w := write{part: p, subject: p.subject(c.name, f.key), header: c.grid.removal(), removal: true, key: f.key}
			w.expect(f.seq)
			writes[i] = w
		}
		for i, r := range c.writeMany(ctx, writes) {
			switch {
			case r.Err == nil:
				c.counters.deletes.Add(1)
			case isWrongSequence(r.Err): // written or removed meanwhile
			default:
				return fmt.Errorf("clear %s: %s: %w", c.name, some[i].key, r.Err)
			}
		}
		if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return nil
}

// clearBatch is how many removals are under way together.
const clearBatch = 1024
