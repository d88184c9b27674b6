package grid

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"
)

// index is what the owner of a partition knows of its keys: which there are, in which revision, but no values. Only the
// feed changes it, in the order of the stream.
type index struct {
	markerTTL time.Duration
	counters  func(cache string) *counters
	tier      func(cache string) Tier

	mu      sync.Mutex
	seq     Sequence // the last one that is in here
	born    int64    // when the stream was made, in Unix nanoseconds
	spaces  map[string]*keyspace
	due     dueTimes
	waiters []waiter
	ahead   ahead
	readers readerNames
	overdue []due // waits for the sweeper, which writes these expiries down
	closed  bool  // this node owns the partition no more: nothing is in here
}

func newIndex(markerTTL time.Duration, counters func(string) *counters, tier func(string) Tier) *index {
	return &index{markerTTL: markerTTL, counters: counters, tier: tier, spaces: make(map[string]*keyspace)}
}

// waiter is called once everything up to seq is in, with the index locked.
type waiter struct {
	seq  Sequence
	call func()
}

// keyspace is the keys of one cache in one partition.
type keyspace struct {
	records  map[string]record
	peak     int   // the most records since the map was made; a map does not shrink by itself
	live     int64 // records with a value that is not over
	bytes    int64 // their values
	cold     int64 // those of them whose value is in a store
	coldSize int64 // their values
	idle     map[string]time.Time
	counters *counters
	tier     Tier // what is behind the cache; nil for nothing
}

// record is what is known of a key.
type record struct {
	seq      Sequence // of its last message
	since    Sequence // that created the present entry: older ones saw it removed or absent
	revision Revision
	source   Revision // of the change that it was made from, for what a reader made
	expires  int64    // Unix nanoseconds, 0 for never
	size     uint32
	reader   readerNumber // who made it, 0 for nobody
	state    state
	cold     bool // the value is in a store
}

type state uint8

const (
	stateLive state = iota
	stateRemoved
	stateExpired // its marker came
	stateOverdue // its lifespan is over, its marker has not come
	stateEvicted // its marker came, which says that it left a full cache
	stateDamaged // there was something that cannot be read any more
)

// readerNames numbers the readers that made entries, so that a record has room for who made it.
type readerNames struct {
	numbers map[string]readerNumber
	names   []string
}

type readerNumber uint16

// number returns a reader's number; 0, which is nobody's, when there are too many.
func (r *readerNames) number(name []byte) readerNumber {
	if len(name) == 0 {
		return 0
	}
	if n, ok := r.numbers[string(name)]; ok {
		return n
	}
	if len(r.names) == 1<<16-1 {
		return 0
	}
	if r.numbers == nil {
		r.numbers = make(map[string]readerNumber)
	}
	r.names = append(r.names, string(name))
	r.numbers[string(name)] = readerNumber(len(r.names))
	return readerNumber(len(r.names))
}

func (r *readerNames) name(n readerNumber) string {
	if n == 0 {
		return ""
	}
	return r.names[n-1]
}

// space returns a cache's keys, for the feed. Lock is held.
func (x *index) space(cache string) *keyspace {
	s := x.spaces[cache]
	if s == nil {
		cache = strings.Clone(cache) // not the whole subject
		s = &keyspace{records: make(map[string]record), counters: x.counters(cache), tier: x.tier(cache)}
		x.spaces[cache] = s
	}
	return s
}

// apply takes a stored message in. It returns what it does to its key; 0 where the index has something newer.
// Lock is held.
func (x *index) apply(cache, key string, m *message, now time.Time) EventType {
	x.settle(now)
	s := x.space(cache)
	old, had := s.records[key]
	if had && old.seq >= m.seq {
		return 0
	}
	wasLive := had && old.state == stateLive
	if wasLive {
		s.count(-1, old)
	}
	if had && old.state == stateDamaged {
		s.counters.damaged.Add(-1)
	}
	if !had {
		key = strings.Clone(key)
	}
	r := record{seq: m.seq, since: Sequence(m.revision), revision: m.revision, source: m.source, reader: x.readers.number(m.reader)}
	if !m.kind.value() {
		if wasLive {
			s.left(key, old)
		}
		return x.applyMarker(s, cache, key, m, r, old)
	}
	r.size, r.cold = uint32(m.size), m.kind == kindStub
	if wasLive {
		r.since = old.since
	}
	// A value that went to a store, or came back, is the same revision still.
	moved := had && old.revision == m.revision
	if moved && old.state == stateOverdue {
		// It was over before; what was to mark that met this message in its place.
		r.state, r.expires = stateOverdue, old.expires
		x.overdue = append(x.overdue, due{cache: cache, key: key, seq: m.seq, publish: true})
		s.set(key, r)
		return 0
	}
	s.count(1, r)
	s.holds(key, r, old, wasLive)
	if expires := m.expires(); !expires.IsZero() {
		r.expires = expires.UnixNano()
		// The server takes a stub for a marker, which it ends without another.
		x.schedule(due{at: r.expires, cache: cache, key: key, seq: m.seq, publish: r.cold || !serverExpires(m.lifespan)})
	}
	if m.idle > 0 {
		if s.idle == nil {
			s.idle = make(map[string]time.Time)
		}
		used, ok := s.idle[key]
		if !moved || !ok {
			used = now
		}
		s.idle[key] = used
		x.schedule(due{at: used.Add(m.idle).UnixNano(), cache: cache, key: key, seq: m.seq, idle: m.idle, publish: true})
	} else if s.idle != nil {
		delete(s.idle, key)
	}
	s.set(key, r)
	switch {
	case moved:
		return 0
	case wasLive:
		return Updated
	}
	return Created
}

// applyMarker takes a removal or expiry in. The marker stands for what it ended: who reads its change again must not
// bring it back.
func (x *index) applyMarker(s *keyspace, cache, key string, m *message, r, old record) EventType {
	event := Removed
	r.state = stateRemoved
	switch m.kind {
	case kindDamaged: // nobody is told, or the result of what is lost would be removed too
		r.state = stateDamaged
		s.counters.damaged.Add(1)
		delete(s.idle, key)
		s.set(key, r)
		return 0
	case kindExpired:
		r.state, event = stateExpired, Expired
		s.counters.expired.Add(1)
	case kindEvicted:
		r.state, event = stateEvicted, evicted
		s.counters.evicted.Add(1)
	}
	if r.reader == 0 {
		r.source, r.reader = old.source, old.reader
	}
	if s.idle != nil {
		delete(s.idle, key)
	}
	s.set(key, r)
	x.schedule(due{at: m.at.Add(x.markerTTL).UnixNano(), cache: cache, key: key, seq: m.seq, marker: true})
	// Also of a key that had no entry here: it may have come and gone faster than the feed.
	return event
}

// count adds an entry, or with -1 takes it off.
func (s *keyspace) count(sign int64, r record) {
	bytes := sign * int64(r.size)
	s.live += sign
	s.bytes += bytes
	s.counters.live.Add(sign)
	s.counters.bytes.Add(bytes)
	if r.cold {
		s.cold += sign
		s.coldSize += bytes
	}
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

// settle marks what is over by now and forgets old markers. What the owner must write down as expired is left in
// overdue for the sweeper.
// Lock is held.
func (x *index) settle(now time.Time) {
	t := now.UnixNano()
	for {
		d, ok := x.due.next(t)
		if !ok {
			return
		}
		s, r, ok := x.find(d)
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
				x.schedule(d)
				continue
			}
		}
		if r.state == stateLive {
			s.count(-1, r)
			s.left(d.key, r)
			r.state = stateOverdue
			s.records[d.key] = r
		}
		if d.publish {
			x.overdue = append(x.overdue, d)
		}
	}
}

// schedule adds a due moment. Lock is held.
func (x *index) schedule(d due) {
	x.due.add(d, func(d due) bool { _, _, ok := x.find(d); return ok })
}

// find returns the record that a due moment is about, unless the key was written since. Lock is held.
func (x *index) find(d due) (*keyspace, record, bool) {
	s := x.spaces[d.cache]
	if s == nil {
		return nil, record{}, false
	}
	r, ok := s.records[d.key]
	return s, r, ok && r.seq == d.seq
}

// madeAfter counts what a reader made of changes after a place. Lock is held.
func (x *index) madeAfter(reader string, from Sequence) (n int) {
	number, ok := x.readers.numbers[reader]
	if !ok {
		return 0
	}
	for _, s := range x.spaces {
		for _, r := range s.records {
			if r.reader == number && Sequence(r.source) > from {
				n++
			}
		}
	}
	return n
}

// lookup returns what is known of a key. Lock is held.
func (x *index) lookup(cache, key string) (record, bool) {
	s := x.spaces[cache]
	if s == nil {
		return record{}, false
	}
	r, ok := s.records[key]
	return r, ok
}

// last returns a key's record as of now.
func (x *index) last(cache, key string, now time.Time) (record, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(now)
	return x.lookup(cache, key)
}

// touch looks whether an entry's idle time is over, and if not extends it where that is a use.
func (x *index) touch(cache, key string, seq Sequence, now time.Time, use bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(now)
	r, ok := x.lookup(cache, key)
	if !ok {
		// The feed has yet to bring it; or it is over, and its marker was forgotten since the message was read.
		return x.seq < seq
	}
	if r.seq < seq {
		return true
	}
	if r.state != stateLive {
		return false // over; or its marker came after the message was read
	}
	if use && r.seq == seq {
		x.spaces[cache].idle[key] = now
	}
	return true
}

// use extends the idle time of an entry that has a revision, and returns whether it is not over. What the feed has yet to bring is not over.
func (x *index) use(cache, key string, rev Revision, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(now)
	r, ok := x.lookup(cache, key)
	if !ok || r.revision < rev {
		return true
	}
	if r.state != stateLive {
		return false
	}
	s := x.spaces[cache]
	if _, idles := s.idle[key]; idles && r.revision == rev {
		s.idle[key] = now
	}
	return true
}

// advance says that everything up to seq is in, and wakes who waited for it. Lock is held.
func (x *index) advance(seq Sequence) {
	x.seq = max(x.seq, seq)
	if len(x.waiters) == 0 {
		return
	}
	kept := x.waiters[:0]
	for _, w := range x.waiters {
		if w.seq <= x.seq {
			w.call()
		} else {
			kept = append(kept, w)
		}
	}
	clear(x.waiters[len(kept):])
	x.waiters = kept
}

// wait returns when everything up to seq is in.
func (x *index) wait(ctx context.Context, seq Sequence) error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return ErrNotOwner
	}
	if x.seq >= seq {
		x.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	x.waiters = append(x.waiters, waiter{seq: seq, call: func() { close(c) }})
	x.mu.Unlock()
	select {
	case <-c:
		return x.open()
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// open returns ErrNotOwner once the index is closed.
func (x *index) open() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return ErrNotOwner
	}
	return nil
}

// after calls f once everything up to seq is in. f must not block.
func (x *index) after(seq Sequence, f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.seq >= seq {
		f()
		return
	}
	x.waiters = append(x.waiters, waiter{seq: seq, call: f})
}

// forget drops a cache's keys that were written up to seq.
func (x *index) forget(cache string, seq Sequence) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.spaces[cache]
	if s == nil {
		return
	}
	for key, r := range s.records {
		if r.seq > seq {
			continue
		}
		if r.state == stateLive {
			s.count(-1, r)
			s.left(key, r)
		}
		if r.state == stateDamaged {
			s.counters.damaged.Add(-1)
		}
		delete(s.records, key)
		delete(s.idle, key)
	}
	if len(s.records) == 0 {
		delete(x.spaces, cache)
	}
}

// reset forgets everything, and lets nobody wait for what is gone.
func (x *index) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clear()
}

// close is reset for good.
func (x *index) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.clear()
}

func (x *index) clear() {
	x.advance(math.MaxUint64)
	for _, s := range x.spaces {
		s.counters.live.Add(-s.live)
		s.counters.bytes.Add(-s.bytes)
		for _, r := range s.records {
			if r.state == stateDamaged {
				s.counters.damaged.Add(-1)
			}
		}
		s.release()
	}
	x.seq, x.spaces, x.due, x.overdue, x.ahead = 0, make(map[string]*keyspace), dueTimes{}, nil, ahead{}
}
