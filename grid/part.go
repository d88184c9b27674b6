package grid

import (
	"container/heap"
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// part is what this node knows of one partition of a class: which keys there are, in which
// revision. Only its feed changes it, in the order of the stream.
type part struct {
	class  Class
	number int
	stream string
	prefix string // subject up to the cache's name

	mu      sync.Mutex
	seq     uint64 // the last sequence that is in here
	spaces  map[string]*keyspace
	due     dueHeap
	waiters []waiter
	// unread has the keys that this node wrote without waiting until they are in here, each with the sequence up to
	// which that takes, and unreadTo the largest of these.
	unread   map[entryKey]uint64
	unreadTo uint64
	// overdue waits for the sweeper, which writes these expiries down.
	overdue []due
	tidyAt  int

	// written is the last sequence that this node got acknowledged.
	written atomic.Uint64
	flight  *semaphore.Weighted // what is on its way to the stream
}

// entryKey is a key of a cache.
type entryKey struct{ cache, key string }

// maxUnread is how many keys may be written ahead of the index.
const maxUnread = 8192

// tidyMin is how many due moments are kept without looking whether they still matter.
const tidyMin = 4096

// waiter is called once everything up to seq is in, with the partition locked.
type waiter struct {
	seq  uint64
	call func()
}

// keyspace is the keys of one cache in one partition.
type keyspace struct {
	records   map[string]record
	peak      int   // the most records since the map was made; a map does not shrink by itself
	live      int64 // records with a value that is not over
	bytes     int64 // their values
	idle      map[string]time.Time
	listeners []*Listener
	counters  *counters
}

// record is what is known of a key.
type record struct {
	seq     uint64
	since   uint64 // the sequence that created the present entry: older ones saw it removed or absent
	expires int64  // Unix nanoseconds, 0 for never
	size    uint32
	state   state
}

type state uint8

const (
	stateLive state = iota
	stateRemoved
	stateExpired // its marker came
	stateOverdue // its lifespan is over, its marker has not come
)

// due is a moment at which a key may be over.
type due struct {
	at         int64
	cache, key string
	seq        uint64
	idle       time.Duration // of a value with a max idle; at is then a guess
	marker     bool          // a marker that is forgotten
	publish    bool          // the server will not write the marker, so this node does
}

type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = due{}
	*h = old[:len(old)-1]
	if cap(*h) > 1024 && len(*h) < cap(*h)/4 {
		*h = append(make(dueHeap, 0, len(*h)*2), *h...)
	}
	return last
}

func (p *part) space(cache string, g *Grid) *keyspace {
	s := p.spaces[cache]
	if s == nil {
		s = &keyspace{records: make(map[string]record), counters: g.counters(cache)}
		p.spaces[strings.Clone(cache)] = s
	}
	return s
}

// apply takes a stored message in. It returns the event that it makes; false where the index has
// something newer.
// Lock is held.
func (p *part) apply(s *keyspace, k kind, e Entry, seq uint64, now time.Time, markerTTL time.Duration) (EventType, bool) {
	p.settle(now)
	old, had := s.records[e.Key]
	if had && old.seq >= seq {
		return 0, false
	}
	wasLive := had && old.state == stateLive
	if wasLive {
		s.count(-1, -int64(old.size))
	}
	key := e.Key
	if !had {
		key = strings.Clone(key) // not the whole subject
	}
	if k == kindValue {
		r := record{seq: seq, since: seq, size: uint32(len(e.Value))}
		if wasLive {
			r.since = old.since
		}
		s.count(1, int64(r.size))
		if !e.Expires.IsZero() {
			r.expires = e.Expires.UnixNano()
			p.schedule(due{at: r.expires, cache: e.Cache, key: key, seq: seq, publish: e.Lifespan < time.Second})
		}
		if e.MaxIdle > 0 {
			if s.idle == nil {
				s.idle = make(map[string]time.Time)
			}
			s.idle[key] = now
			p.schedule(due{at: now.Add(e.MaxIdle).UnixNano(), cache: e.Cache, key: key, seq: seq, idle: e.MaxIdle, publish: true})
		} else if s.idle != nil {
			delete(s.idle, key)
		}
		s.set(key, r)
		if wasLive {
			return Updated, true
		}
		return Created, true
	}
	r := record{seq: seq, since: seq, state: stateRemoved}
	event := Removed
	if k == kindExpired {
		r.state, event = stateExpired, Expired
	}
	if s.idle != nil {
		delete(s.idle, key)
	}
	s.set(key, r)
	p.schedule(due{at: e.Created.Add(markerTTL).UnixNano(), cache: e.Cache, key: key, seq: seq, marker: true})
	// Also of a key that had no entry here: it may have come and gone faster than the feed.
	return event, true
}

func (s *keyspace) count(entries, bytes int64) {
	s.live += entries
	s.bytes += bytes
	s.counters.live.Add(entries)
	s.counters.bytes.Add(bytes)
}

func (s *keyspace) set(key string, r record) {
	s.records[key] = r
	s.peak = max(s.peak, len(s.records))
}

// drop forgets a key. When most are gone the map is made anew, which frees its memory.
func (s *keyspace) drop(key string) {
	delete(s.records, key)
	if s.peak > 4096 && len(s.records) < s.peak/4 {
		smaller := make(map[string]record, len(s.records)*2)
		for k, r := range s.records {
			smaller[k] = r
		}
		s.records, s.peak = smaller, len(smaller)
	}
}

// settle marks what is over by now and forgets old markers. What this node must write down as
// expired is left in overdue for the grid's sweeper.
// Lock is held.
func (p *part) settle(now time.Time) {
	t := now.UnixNano()
	for len(p.due) > 0 && p.due[0].at <= t {
		d := heap.Pop(&p.due).(due)
		s, r, ok := p.find(d)
		if !ok {
			continue // written since
		}
		if d.marker {
			s.drop(d.key)
			continue
		}
		if d.idle > 0 && r.state == stateLive {
			if end := s.idle[d.key].Add(d.idle).UnixNano(); end > t {
				d.at = end
				heap.Push(&p.due, d)
				continue
			}
		}
		if r.state == stateLive {
			r.state = stateOverdue
			s.count(-1, -int64(r.size))
			s.records[d.key] = r
		}
		if d.publish {
			p.overdue = append(p.overdue, d)
		}
	}
}

// find returns the record that a due moment is about, unless the key was written since.
func (p *part) find(d due) (*keyspace, record, bool) {
	s := p.spaces[d.cache]
	if s == nil {
		return nil, record{}, false
	}
	r, ok := s.records[d.key]
	return s, r, ok && r.seq == d.seq
}

// schedule adds a due moment. Moments of overwritten revisions are swept out when they are many.
func (p *part) schedule(d due) {
	heap.Push(&p.due, d)
	if len(p.due) < p.tidyAt {
		return
	}
	kept := make(dueHeap, 0, len(p.due)/2)
	for _, d := range p.due {
		if _, _, ok := p.find(d); ok {
			kept = append(kept, d)
		}
	}
	heap.Init(&kept)
	p.due, p.tidyAt = kept, max(2*len(kept), tidyMin)
}

// advance says that everything up to seq is in, and wakes who waited for it.
// Lock is held.
func (p *part) advance(seq uint64) {
	p.seq = max(p.seq, seq)
	if len(p.waiters) == 0 {
		return
	}
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if w.seq <= p.seq {
			w.call()
		} else {
			kept = append(kept, w)
		}
	}
	p.waiters = kept
}

// wrote notes that this node got a write acknowledged.
func (p *part) wrote(seq uint64) {
	for {
		old := p.written.Load()
		if seq <= old || p.written.CompareAndSwap(old, seq) {
			return
		}
	}
}

// wait returns when everything up to seq is in.
func (p *part) wait(ctx context.Context, seq uint64) error {
	p.mu.Lock()
	if p.seq >= seq {
		p.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	p.waiters = append(p.waiters, waiter{seq: seq, call: func() { close(c) }})
	p.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// after calls f once everything up to seq is in. f must not block.
func (p *part) after(seq uint64, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seq >= seq {
		f()
		return
	}
	p.waiters = append(p.waiters, waiter{seq: seq, call: f})
}

// settled waits for this node's own writes, so that what is counted includes them.
func (p *part) settled(ctx context.Context) error { return p.wait(ctx, p.written.Load()) }
