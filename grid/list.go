package grid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid/internal/wire"
)

// ListOptions say which entries are listed.
type ListOptions struct {
	// Prefix limits the keys.
	Prefix string
	// After is the key behind which the list begins; empty for the first.
	After string
	// Limit ends the list after so many entries; 0 is all.
	Limit int
	// KeysOnly leaves out all but cache, key and revision, and asks no stream.
	KeysOnly bool
	// More, where it is set, is called with the last key of a list that Limit has ended, before its first entry: a list After
	// that key goes on behind it.
	More func(last string)
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
				if !yield(Entry{Cache: c.name, Key: f.key, Revision: f.revision}, nil) {
					return
				}
			}
			return
		}
		for s, err := range c.readAll(ctx, found, true) {
			if !yield(s.entry, err) || err != nil {
				return
			}
		}
	}
}

// ListInfo returns what is known of the entries, in the order of their keys, without their values, which are not asked for. KeysOnly
// makes no difference.
func (c *Cache) ListInfo(ctx context.Context, o ListOptions) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		found, err := c.keys(ctx, o)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for s, err := range c.readAll(ctx, found, false) {
			s.entry.Value = nil
			if !yield(s.info(), err) || err != nil {
				return
			}
		}
	}
}

// readAll reads what the streams have for keys, in their order, with the values of cold entries where values are wanted.
func (c *Cache) readAll(ctx context.Context, found []keyChange, values bool) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		scanning := len(found) >= scanFrom && c.grid.scanning.TryAcquire(1)
		if scanning {
			defer c.grid.scanning.Release(1)
		}
		buf := make([]stored, 0, readAhead)
		for len(found) > 0 {
			some := found[:min(len(found), readAhead)]
			var scan []scanned
			if scanning {
				some = found[:scanSize(found, values)]
				scan = c.scan(ctx, some, values)
			}
			found = found[len(some):]
			for len(some) > 0 {
				n := min(len(some), readAhead)
				var met []scanned
				if scan != nil {
					met, scan = scan[:n], scan[n:]
				}
				answers, err := c.readFound(ctx, buf, some[:n], met, values)
				if err != nil {
					yield(stored{}, fmt.Errorf("list %s: %w", c.name, err))
					return
				}
				some = some[n:]
				for _, s := range answers {
					if s.found && !yield(s, nil) {
						return
					}
				}
			}
		}
	}
}

// scanSize returns how many of the keys fit one scan's memory.
func scanSize(found []keyChange, values bool) int {
	size := 0
	for i, f := range found {
		if size += scanOverhead; values {
			size += f.size
		}
		if size > scanBytes && i > 0 {
			return i
		}
	}
	return len(found)
}

// readFound reads up to readAhead keys, of which a scan may have met some. What it returns lies in buf where that has room.
func (c *Cache) readFound(ctx context.Context, buf []stored, some []keyChange, met []scanned, values bool) ([]stored, error) {
	out := buf[:0]
	var missing []int
	var asked []place
	ask := func(i int) {
		at := c.placeOf(some[i].key)
		at.least = some[i].seq
		missing, asked = append(missing, i), append(asked, at)
	}
	for i, f := range some {
		out = append(out, stored{})
		if met == nil || met[i].block == nil {
			ask(i)
			continue
		}
		m := met[i]
		data := m.block[m.header:]
		in := message{seq: f.seq, at: m.at, size: len(data)}
		in.readHeaders(wire.Header(m.block[:m.header:m.header]))
		if values && in.kind == kindStub {
			ask(i) // the value is to be got in any case
			continue
		}
		at := place{key: f.key}
		if in.idle > 0 {
			at = c.placeOf(f.key)
		}
		var err error
		if out[i], err = c.storedOf(ctx, at, &in, data, values); err != nil {
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	read := c.readMany
	if values {
		read = func(ctx context.Context, places []place, use bool) ([]stored, error) {
			return c.readWarm(ctx, places, use, false)
		}
	}
	answers, err := read(ctx, asked, values)
	if err != nil {
		return nil, err
	}
	for i, n := range missing {
		out[n] = answers[i]
	}
	return out, nil
}

// Newest returns what is known of the entries that were written last, the newest first, up to limit, without their values.
func (c *Cache) Newest(ctx context.Context, prefix string, limit int) ([]Info, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	var out []Info
	// Revisions of different partitions cannot be compared, so that each gives as many as are wanted.
	for _, p := range c.partitions {
		a, err := c.grid.ask(ctx, p, question{Op: askKeys, Cache: c.name, Prefix: []byte(prefix), Limit: limit, Newest: true})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", c.name, err)
		}
		for some := range slices.Chunk(a.Changes, readAhead) {
			found := make([]keyChange, len(some))
			for i, w := range some {
				found[i].key = string(w.Key)
			}
			answers, err := c.readFound(ctx, nil, found, nil, false)
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", c.name, err)
			}
			for _, s := range answers {
				if s.found {
					s.entry.Value = nil
					out = append(out, s.info())
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Info) int {
		return cmp.Or(b.Entry.Created.Compare(a.Entry.Created), strings.Compare(a.Entry.Key, b.Entry.Key))
	})
	return out[:min(len(out), limit)], nil
}

// keys returns the entries that are there, in the order of their keys, with this node's own writes.
func (c *Cache) keys(ctx context.Context, o ListOptions) ([]keyChange, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	limit := o.Limit
	if limit > 0 && o.More != nil {
		limit++ // one more shows whether it goes on
	}
	parts := make([][]keyChange, len(c.partitions))
	asks, ctx := errgroup.WithContext(ctx)
	for i, p := range c.partitions {
		asks.Go(func() (err error) {
			parts[i], err = c.grid.askKeys(ctx, p, c.name, o.Prefix, o.After, limit)
			return err
		})
	}
	if err := asks.Wait(); err != nil {
		return nil, fmt.Errorf("list %s: %w", c.name, err)
	}
	found := merge(parts, limit)
	if o.Limit > 0 && len(found) > o.Limit {
		found = found[:o.Limit]
		if o.More != nil {
			o.More(found[o.Limit-1].key)
		}
	}
	return found, nil
}

// merge joins lists that are in the order of their keys, up to limit keys where it is not 0.
func merge(parts [][]keyChange, limit int) []keyChange {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]keyChange, 0, n)
	for len(out) < n {
		least := -1
		for i, p := range parts {
			if len(p) > 0 && (least < 0 || p[0].key < parts[least][0].key) {
				least = i
			}
		}
		out = append(out, parts[least][0])
		parts[least] = parts[least][1:]
	}
	return out
}

// count asks the owners how many entries there are and what their values take, cold ones too.
func (c *Cache) count(ctx context.Context) (sum answer, err error) {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	for _, p := range c.partitions {
		a, err := c.grid.ask(ctx, p, question{Op: askCount, Cache: c.name})
		if err != nil {
			return answer{}, err
		}
		sum.Entries, sum.Bytes = sum.Entries+a.Entries, sum.Bytes+a.Bytes
		sum.Cold, sum.ColdBytes = sum.Cold+a.Cold, sum.ColdBytes+a.ColdBytes
	}
	return sum, nil
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
	Bytes int64 `json:"bytes"`
	// Cold are those of them whose values are in the store alone, and ColdBytes their values.
	Cold      int64 `json:"cold,omitempty"`
	ColdBytes int64 `json:"cold_bytes,omitempty"`
	// InMemory are those whose values are in memory: at one moment where this node owns all partitions, else one partition after another.
	InMemory int64 `json:"in_memory"`
	// Hits are the gets that found an entry, ColdHits those of them that had to wait for the store.
	Hits     uint64 `json:"hits"`
	ColdHits uint64 `json:"cold_hits,omitempty"`
	Misses   uint64 `json:"misses"`
	Puts     uint64 `json:"puts"`
	Deletes  uint64 `json:"deletes"`
	// Expired counts what ended in the partitions that this node owns.
	Expired uint64 `json:"expired"`
	// Evicted counts what ended there because a cache without a store was full.
	Evicted uint64 `json:"evicted,omitempty"`
	// Damaged is how many keys there have entries that were damaged on the disk and cannot be read.
	Damaged int64 `json:"damaged,omitempty"`
	// Listeners is how many listen on this node.
	Listeners int `json:"listeners"`
	// Near is what is kept beside this node; nil where nothing is.
	Near *NearStats `json:"near,omitempty"`
	// Tier is what is behind the cache; nil where there is nothing.
	Tier *TierStats `json:"tier,omitempty"`
}

// HitRate is which share of the gets found an entry in memory, from 0 to 1; false where there was no get yet.
func (s Stats) HitRate() (rate float64, ok bool) {
	all := s.Hits + s.Misses
	if all == 0 {
		return 0, false
	}
	return float64(s.Hits-min(s.Hits, s.ColdHits)) / float64(all), true
}

// Stats returns the cache's statistics, without what has expired or was removed.
func (c *Cache) Stats(ctx context.Context) (Stats, error) {
	if err := c.usable(); err != nil {
		return Stats{}, err
	}
	n := c.counters
	out := Stats{
		Hits: n.hits.Load(), ColdHits: n.coldHits.Load(), Misses: n.misses.Load(), Puts: n.puts.Load(), Deletes: n.deletes.Load(), Expired: n.expired.Load(), Evicted: n.evicted.Load(),
		Damaged: n.damaged.Load(),
	}
	a, err := c.count(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("statistics of %s: %w", c.name, err)
	}
	out.Entries, out.Bytes, out.Cold, out.ColdBytes = a.Entries, a.Bytes, a.Cold, a.ColdBytes
	out.InMemory = a.Entries - a.Cold
	if n := c.near.Load(); n != nil {
		out.Near = n.stats()
	}
	if tier := c.tier(); tier != nil {
		s := tier.Stats()
		out.Tier = &s
		if owned, of := c.Owned(); owned == of { // partition by partition, a value that leaves and another that comes count both
			out.InMemory = s.InMemory
		}
	}
	for _, p := range c.partitions {
		out.Listeners = max(out.Listeners, len(p.hub.listeners(c.name)))
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
			w := c.removal(c.placeOf(f.key))
			w.expect(f.seq)
			writes[i] = w
		}
		for i, o := range c.writeMany(ctx, writes, false) {
			switch {
			case o.err == nil:
				c.counters.deletes.Add(1)
			case isWrongSequence(o.err):
				// Written or removed meanwhile; or it went to a store or came back.
				_, err := c.Delete(ctx, some[i].key, DeleteOptions{IfRevision: some[i].revision})
				if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrRevision) {
					return fmt.Errorf("clear %s: %w", c.name, err)
				}
			default:
				return fmt.Errorf("clear %s: %s: %w", c.name, some[i].key, o.err)
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
