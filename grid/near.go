package grid

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/millrace/millrace/fault"
)

// NearConfig says how many of a cache's entries each node keeps beside itself for its own gets. The zero value is none.
type NearConfig struct {
	// MaxEntries or MaxBytes, one of the two, bounds what is kept.
	MaxEntries int64 `json:"max_entries,omitempty"`
	MaxBytes   int64 `json:"max_bytes,omitempty"`
	// Staleness is how old an answer may be: a write that was acknowledged longer ago is seen. Usually it is seen at once; this is what holds where the node
	// has lost the connection. DefaultStaleness if 0.
	Staleness time.Duration `json:"staleness,omitempty"`
}

const (
	// DefaultStaleness is that of a near cache where its configuration has none.
	DefaultStaleness = time.Second
	stalenessFrom    = 50 * time.Millisecond
	stalenessTo      = time.Hour
)

func (n NearConfig) on() bool { return n.MaxEntries > 0 || n.MaxBytes > 0 }

func (n NearConfig) check(l *fault.Errors) {
	l.Check(n.MaxEntries >= 0, "near.max_entries", "%d must be at least 0", n.MaxEntries)
	l.Check(n.MaxBytes >= 0, "near.max_bytes", "%d must be at least 0", n.MaxBytes)
	l.Check(n.MaxEntries <= 0 || n.MaxBytes <= 0, "near", "max_entries and max_bytes are both set; one of them bounds a near cache")
	l.Check(n.Staleness == 0 || n.Staleness >= stalenessFrom && n.Staleness <= stalenessTo, "near.staleness", "%v must be from %v to %v", n.Staleness, stalenessFrom, stalenessTo)
	l.Check(n.Staleness == 0 || n.on() || n.MaxEntries < 0 || n.MaxBytes < 0, "near.staleness", "needs max_entries or max_bytes")
}

func (n NearConfig) withDefaults() NearConfig {
	if n.on() && n.Staleness == 0 {
		n.Staleness = DefaultStaleness
	}
	return n
}

// NearStats are the statistics of a near cache on one node.
type NearStats struct {
	Entries int `json:"entries"`
	// Bytes is what the entries take in memory, about.
	Bytes int64 `json:"bytes"`
	// Hits are the gets that it answered, Misses those that it could not; since the node was opened.
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
}

// near keeps entries of a cache on this node. It takes the cache's changes as a listener does, and drops what changed. What this node writes it drops
// before the write returns. An entry is kept as it was read, and answered only while its partition is current: while it is known that every change
// that was acknowledged up to Staleness ago has been taken.
type near struct {
	c       *Cache
	cfg     NearConfig
	items   *otter.Cache[string, *nearItem]
	bytes   atomic.Int64
	stripes [1024]nearStripe
	parts   []nearPart

	wake    chan struct{}
	stop    chan struct{}
	running sync.WaitGroup
}

// nearStripe orders what is kept and what is dropped of some keys.
type nearStripe struct {
	mu      sync.Mutex
	changes uint64 // and readings of these keys so far
}

// nearItem is one entry. It is never changed.
type nearItem struct {
	entry Entry
	seq   Sequence
	kind  kind
	part  int
	epoch uint64
	cost  int64
}

// nearCost is what an entry takes beside its key, value, type and labels, about: the item, and its place in the table and the policy.
const nearCost = 512

func newNear(c *Cache, cfg NearConfig) (*near, error) {
	n := &near{c: c, cfg: cfg, parts: make([]nearPart, len(c.partitions)), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	options := &otter.Options[string, *nearItem]{
		OnAtomicDeletion: func(e otter.DeletionEvent[string, *nearItem]) { n.bytes.Add(-e.Value.cost) },
	}
	if cfg.MaxEntries > 0 {
		options.MaximumSize = int(cfg.MaxEntries)
	} else {
		options.MaximumWeight = uint64(cfg.MaxBytes)
		options.Weigher = func(_ string, it *nearItem) uint32 { return uint32(it.cost) }
	}
	var err error
	n.items, err = otter.New(options)
	return n, err
}

// setNear gives the cache the near cache that its configuration asks for.
func (c *Cache) setNear() error {
	c.nearing.Lock()
	defer c.nearing.Unlock()
	want, have := c.config.Load().Near, c.near.Load()
	switch {
	case c.gone.Load():
		return nil
	case have != nil && have.cfg == want, have == nil && !want.on():
		return nil
	}
	c.near.Store(nil)
	if have != nil {
		have.close()
	}
	if !want.on() {
		return nil
	}
	n, err := newNear(c, want)
	if err != nil {
		return err
	}
	for _, p := range c.partitions {
		p.hub.add(c.name, n)
	}
	n.running.Go(n.run)
	c.near.Store(n)
	return nil
}

// closeNear ends the near cache.
func (c *Cache) closeNear() {
	c.nearing.Lock()
	defer c.nearing.Unlock()
	if n := c.near.Swap(nil); n != nil {
		n.close()
	}
}

func (n *near) close() {
	close(n.stop)
	n.running.Wait()
	for _, p := range n.c.partitions {
		p.hub.remove(n.c.name, n)
	}
	n.c.grid.relays.look()
	n.items.StopAllGoroutines()
}

var nearSeed = maphash.MakeSeed()

func (n *near) stripe(key string) *nearStripe {
	return &n.stripes[maphash.String(nearSeed, key)%uint64(len(n.stripes))]
}

// get answers from what is kept, with a copy that belongs to the caller.
func (n *near) get(key string) (stored, bool) {
	counters := n.c.counters
	it, ok := n.items.GetIfPresent(key)
	if !ok || !n.usable(it) {
		counters.nearMisses.Add(1)
		return stored{}, false
	}
	counters.nearHits.Add(1)
	counters.hits.Add(1)
	e := it.entry.clone()
	return stored{
		entry: e, seq: it.seq, found: true, size: len(e.Value), at: e.Created, revision: e.Revision, kind: it.kind, source: e.source.revision, reader: e.source.reader,
	}, true
}

// usable reports whether an entry may be answered, which is a use of it then.
func (n *near) usable(it *nearItem) bool {
	e := &it.entry
	if !n.parts[it.part].current(it.epoch) {
		n.prove()
		return false
	}
	if !e.Expires.IsZero() && !n.c.grid.cfg.Now().Before(e.Expires) {
		return false
	}
	if e.MaxIdle == 0 && n.c.tier() == nil {
		return true
	}
	at := n.c.placeOf(e.Key)
	if e.MaxIdle > 0 {
		if t := at.partition.tenure(); t == nil {
			n.c.grid.uses.note(at)
		} else if !t.index.use(n.c.name, e.Key, e.Revision, n.c.grid.cfg.Now()) {
			return false
		}
	}
	n.c.used(at)
	return true
}

// minNearIdle is the shortest max idle of an entry that is kept where another node owns it, who hears of uses a second later.
const minNearIdle = 4 * relayEvery

// nearFill is what has to be so still when an entry that was read is kept.
type nearFill struct {
	epoch, changes uint64
	live           bool
}

// begin is called before an entry is read that may be kept.
func (n *near) begin(at place) nearFill {
	s, p := n.stripe(at.key), &n.parts[at.partition.number]
	f := nearFill{epoch: p.epoch.Load()}
	if f.live = p.current(f.epoch); !f.live {
		n.prove()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.changes = s.changes
	return f
}

// keep keeps an entry that was read since begin, unless it changed meanwhile. What changes later is told: the partition was current. What is kept and older
// than what was read is dropped in any case: no get answers with less than one before it.
func (n *near) keep(f nearFill, at place, read stored) {
	it := n.item(f, at, read)
	s := n.stripe(at.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := it != nil && s.changes == f.changes && n.parts[it.part].epoch.Load() == f.epoch
	s.changes++ // what was read before this must not be kept after it
	if have, ok := n.items.GetEntryQuietly(at.key); ok && (read.seq == 0 || have.Value.entry.Revision < read.revision) {
		n.items.Invalidate(at.key)
	}
	if fits {
		n.bytes.Add(it.cost)
		n.items.Set(at.key, it)
	}
}

// item is what is kept of what was read; nil for nothing.
func (n *near) item(f nearFill, at place, read stored) *nearItem {
	part := at.partition.number
	if !f.live || !read.found || read.cold || read.entry.MaxIdle > 0 && read.entry.MaxIdle < minNearIdle && at.partition.tenure() == nil {
		return nil
	}
	e := read.entry.clone()
	it := &nearItem{entry: e, seq: read.seq, kind: read.kind, part: part, epoch: f.epoch, cost: int64(nearCost + len(e.Key) + len(e.Value) + len(e.ContentType))}
	for name, value := range e.Labels {
		it.cost += int64(len(name) + len(value) + 64)
	}
	if n.cfg.MaxBytes > 0 && it.cost > n.cfg.MaxBytes {
		return nil
	}
	return it
}

// changed drops a key that has a revision now, and has what is being read not be kept.
func (n *near) changed(key string, rev Revision) {
	s := n.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	if it, ok := n.items.GetEntryQuietly(key); ok && it.Value.entry.Revision < rev {
		n.items.Invalidate(key)
	}
}

// wroteOwn drops what this node wrote. A move to a store and back is no change.
func (c *Cache) wroteOwn(w *write, seq Sequence) {
	if n := c.near.Load(); n != nil && !w.own {
		n.changed(w.key, Revision(seq))
	}
}

func (n *near) stats() *NearStats {
	n.items.CleanUp() // what is over the bound is dropped later else
	return &NearStats{Entries: n.items.EstimatedSize(), Bytes: n.bytes.Load(), Hits: n.c.counters.nearHits.Load(), Misses: n.c.counters.nearMisses.Load()}
}

// offer is called in the order of the stream. A change with the revision of what is kept is the one that was read.
func (n *near) offer(_ int, ch change) { n.changed(ch.entry.Key, Revision(ch.seq)) }

// fallBehind and rewind drop all of a partition: changes may be missing.
func (n *near) fallBehind(part int) { n.parts[part].drop() }
func (n *near) rewind(part int)     { n.parts[part].drop() }

func (n *near) wantsValues() bool { return false }

// readNear reads what may be kept: from the leader, since the change that a replica lacks may have been told already.
func (c *Cache) readNear(ctx context.Context, at place) (stored, error) {
	m, seq, err := c.grid.readLeader(ctx, at.partition, at.subject)
	if err != nil || seq == 0 {
		return stored{}, err
	}
	return c.stored(ctx, at, seq, m, true)
}
