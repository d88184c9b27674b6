package grid

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// EventType is what happened to an entry.
type EventType uint8

// The types of events.
const (
	Created EventType = iota + 1
	Updated
	Removed
	Expired
)

func (t EventType) String() string {
	switch t {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Removed:
		return "removed"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("EventType(%d)", uint8(t))
}

// EventID is a place in a grid's events: the last sequence of every partition, as unsigned varints
// in base64url without padding. It is opaque to clients.
type EventID string

// NewEventID makes the id of a place: the last sequence of every partition.
func NewEventID(positions []uint64) EventID {
	b := make([]byte, 0, 64)
	for _, p := range positions {
		b = binary.AppendUvarint(b, p)
	}
	return EventID(base64.RawURLEncoding.EncodeToString(b))
}

// ParseEventID reads an id of a grid with n partitions; what is none is ErrEventID.
func ParseEventID(id EventID, n int) ([]uint64, error) {
	b, err := base64.RawURLEncoding.DecodeString(string(id))
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not base64url", ErrEventID, string(id))
	}
	out := make([]uint64, 0, n)
	for len(b) > 0 && len(out) < n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, fmt.Errorf("%w: %q has a broken number", ErrEventID, string(id))
		}
		out, b = append(out, v), b[size:]
	}
	if len(out) != n || len(b) != 0 {
		return nil, fmt.Errorf("%w: %q is not of a grid with %d partitions", ErrEventID, string(id), n)
	}
	return out, nil
}

// Event is what a listener gets.
type Event struct {
	Type EventType
	// Entry has the key and the revision; of created and updated events the rest too, where the
	// listener asked for values.
	Entry Entry
	// ID resumes after this event. Where revisions were conflated, a listener that resumes may
	// get events once more that were delivered just before.
	ID EventID
}

// ListenOptions say which events a listener gets.
type ListenOptions struct {
	// From resumes: first comes the newest event of every key that changed since.
	From EventID
	// IncludeCurrent begins with a created event for every entry that is there. From, where
	// set, goes before it.
	IncludeCurrent bool
	// Values asks for whole entries.
	Values bool
	// Prefix limits the keys.
	Prefix string
	// MaxPending is how many keys' events wait in memory for a slow reader; 65,536 if 0. What is
	// over it is read again from the grid when the reader comes to it: nothing is lost.
	MaxPending int
}

// maxPendingBytes bounds the values that wait for one listener.
const maxPendingBytes = 64 << 20

// Listener delivers a cache's events to one reader. A key's events come in revision order and
// end on the newest; revisions that are overwritten before they are read are left out and counted.
// Next and Events are for one goroutine at a time; Close and Conflated for any.
type Listener struct {
	cache *Cache
	opts  ListenOptions

	wake chan struct{}

	mu        sync.Mutex
	queue     []*pending // oldest first
	head      int
	byKey     map[string]*pending
	bytes     int
	positions []uint64 // what the reader has, by partition
	live      []bool   // whether the feed's events of a partition are queued; else they are read from the index
	current   []bool   // partitions whose first reading is the current state, not a resumption
	// ahead is which events the reader has from beyond its position.
	ahead     map[string]place
	conflated uint64
	err       error

	// The reader's own: what was read from the index for one partition.
	replay     []replayed
	replayPart int
	replayEnd  uint64
}

type pending struct {
	part  int
	seq   uint64 // of the first event that is merged in here
	last  uint64 // of the last one
	kind  EventType
	entry Entry
}

type place struct {
	part int
	seq  uint64
}

type replayed struct {
	kind  EventType
	key   string
	seq   uint64
	entry Entry
	skip  bool // overwritten meanwhile; the newer event comes by itself
	ready bool
}

// Listen starts a listener. Without From and IncludeCurrent it gets what is written from now on.
// Whether an event is created or updated is told from what this node has seen: a listener that
// resumes across a restart of the node gets created for every key that was written since.
func (c *Cache) Listen(ctx context.Context, opts ListenOptions) (*Listener, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if opts.MaxPending <= 0 {
		opts.MaxPending = 1 << 16
	}
	n := len(c.parts)
	l := &Listener{
		cache: c, opts: opts, wake: make(chan struct{}, 1), byKey: make(map[string]*pending), ahead: make(map[string]place),
		positions: make([]uint64, n), live: make([]bool, n), current: make([]bool, n),
	}
	if opts.From != "" {
		var err error
		if l.positions, err = ParseEventID(opts.From, n); err != nil {
			return nil, err
		}
	}
	for _, p := range c.parts {
		// What this node wrote before is no news.
		if err := p.settled(ctx); err != nil {
			return nil, fmt.Errorf("listen to %s: %w", c.Name(), err)
		}
	}
	for i, p := range c.parts {
		p.mu.Lock()
		s := p.space(c.Name(), c.grid)
		s.listeners = append(slices.Clip(s.listeners), l)
		l.mu.Lock()
		switch {
		case opts.From != "":
			if l.positions[i] > p.seq { // of a volatile cache that began anew
				l.positions[i] = 0
			}
		case opts.IncludeCurrent:
			l.current[i] = true
		default:
			l.positions[i], l.live[i] = p.seq, true
		}
		l.mu.Unlock()
		p.mu.Unlock()
	}
	return l, nil
}

// offer is called by the feed, in order, with the partition locked. It does not block.
func (l *Listener) offer(part int, seq uint64, kind EventType, e Entry) {
	if !strings.HasPrefix(e.Key, l.opts.Prefix) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.live[part] {
		return
	}
	if !l.opts.Values {
		e = Entry{Cache: e.Cache, Key: e.Key, Revision: e.Revision}
	}
	if q := l.byKey[e.Key]; q != nil {
		l.bytes += len(e.Value) - len(q.entry.Value)
		if q.kind != Created || kind != Updated {
			q.kind = kind
		}
		q.entry, q.last = e, seq
		l.conflated++
	} else {
		q := &pending{part: part, seq: seq, last: seq, kind: kind, entry: e}
		l.queue = append(l.queue, q)
		l.byKey[e.Key] = q
		l.bytes += len(e.Value)
	}
	if len(l.byKey) > l.opts.MaxPending || l.bytes > maxPendingBytes && len(l.byKey) > 1 {
		l.forget()
	}
	l.signal()
}

// forget drops what waits, to be read from the index.
// Lock is held.
func (l *Listener) forget() {
	l.queue, l.head, l.bytes = nil, 0, 0
	clear(l.byKey)
	clear(l.live)
}

func (l *Listener) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Next returns the next event, waiting for it. After Close it returns ErrClosed, after the
// cache was deleted ErrNoCache.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := l.nextReplayed(ctx); err != nil || ok {
			return e, err
		}
		l.mu.Lock()
		if l.err != nil {
			l.mu.Unlock()
			return Event{}, l.err
		}
		if behind := slices.Index(l.live, false); behind >= 0 {
			l.mu.Unlock()
			l.readIndex(behind)
			continue
		}
		if l.head < len(l.queue) {
			e := l.pop()
			l.mu.Unlock()
			return e, nil
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// pop takes the oldest event. Its position is that of the first event merged into it, so that an
// id never claims what still waits.
func (l *Listener) pop() Event {
	q := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	switch {
	case l.head == len(l.queue):
		l.queue, l.head = l.queue[:0], 0
	case l.head >= 1024 && l.head*2 >= len(l.queue):
		l.queue, l.head = slices.Delete(l.queue, 0, l.head), 0
	}
	delete(l.byKey, q.entry.Key)
	l.bytes -= len(q.entry.Value)
	l.positions[q.part] = max(l.positions[q.part], q.seq)
	if q.last > q.seq {
		l.ahead[q.entry.Key] = place{q.part, q.last}
		if len(l.ahead) > 2*l.opts.MaxPending {
			maps.DeleteFunc(l.ahead, func(_ string, p place) bool { return p.seq <= l.positions[p.part] })
		}
	}
	return Event{Type: q.kind, Entry: q.entry, ID: NewEventID(l.positions)}
}

// readIndex reads what changed in a partition since the reader's position, and from there on has
// the feed queue its events.
func (l *Listener) readIndex(part int) {
	p := l.cache.parts[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(l.cache.grid.cfg.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	from, current := l.positions[part], l.current[part]
	l.live[part], l.current[part] = true, false
	l.replayPart, l.replayEnd = part, p.seq
	l.replay = l.replay[:0]
	s := p.spaces[l.cache.Name()]
	if s == nil {
		return
	}
	for key, r := range s.records {
		if r.seq <= from || !strings.HasPrefix(key, l.opts.Prefix) || l.ahead[key].seq >= r.seq {
			continue
		}
		item := replayed{key: key, seq: r.seq}
		switch {
		case r.state == stateLive && (current || r.since > from):
			item.kind = Created
		case r.state == stateLive:
			item.kind = Updated
		case current || r.state == stateOverdue:
			continue // never seen; or its expiry is still to come
		case r.state == stateRemoved:
			item.kind = Removed
		default:
			item.kind = Expired
		}
		l.replay = append(l.replay, item)
	}
	slices.SortFunc(l.replay, func(a, b replayed) int { return cmp.Compare(a.seq, b.seq) })
}

// nextReplayed returns the next event of what readIndex found.
func (l *Listener) nextReplayed(ctx context.Context) (Event, bool, error) {
	for len(l.replay) > 0 {
		l.mu.Lock()
		err := l.err
		l.mu.Unlock()
		if err != nil {
			return Event{}, false, err
		}
		if !l.replay[0].ready {
			if err := l.fill(ctx); err != nil {
				return Event{}, false, err
			}
		}
		item := l.replay[0]
		l.replay = l.replay[1:]
		l.mu.Lock()
		at := &l.positions[l.replayPart]
		*at = max(*at, item.seq)
		if len(l.replay) == 0 && l.live[l.replayPart] {
			*at = max(*at, l.replayEnd)
		}
		id := NewEventID(l.positions)
		if item.skip {
			l.conflated++
		}
		l.mu.Unlock()
		if !item.skip {
			return Event{Type: item.kind, Entry: item.entry, ID: id}, true, nil
		}
	}
	return Event{}, false, nil
}

// fillMax is how many values are read ahead.
const fillMax = 64

// fill reads the next values.
func (l *Listener) fill(ctx context.Context) error {
	c := l.cache
	some := l.replay[:min(len(l.replay), fillMax)]
	var keys []string
	for i := range some {
		item := &some[i]
		item.entry = Entry{Cache: c.Name(), Key: item.key, Revision: item.seq}
		if l.opts.Values && (item.kind == Created || item.kind == Updated) {
			keys = append(keys, item.key)
		} else {
			item.ready = true
		}
	}
	if len(keys) == 0 {
		return nil
	}
	stored, err := c.readMany(ctx, keys, false)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", c.Name(), err)
	}
	next := 0
	for i := range some {
		if item := &some[i]; !item.ready {
			got := stored[next]
			next++
			item.entry, item.ready = got.entry, true
			item.skip = !got.found || got.seq != item.seq
		}
	}
	return nil
}

// Events returns the events until the context ends or the listener is closed, which end the
// sequence, or another error.
func (l *Listener) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := l.Next(ctx)
			switch {
			case err == nil:
				if !yield(e, nil) {
					return
				}
			case errors.Is(err, ErrClosed) || ctx.Err() != nil:
				return
			default:
				yield(Event{}, err)
				return
			}
		}
	}
}

// Conflated returns how many overwritten revisions the reader was spared.
func (l *Listener) Conflated() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conflated
}

// Close ends the listener; a waiting Next returns ErrClosed.
func (l *Listener) Close() {
	for _, p := range l.cache.parts {
		p.mu.Lock()
		if s := p.spaces[l.cache.Name()]; s != nil {
			if i := slices.Index(s.listeners, l); i >= 0 {
				s.listeners = slices.Delete(slices.Clone(s.listeners), i, i+1)
			}
		}
		p.mu.Unlock()
	}
	l.end(fmt.Errorf("listener of %s: %w", l.cache.Name(), ErrClosed))
}

func (l *Listener) end(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
		l.queue, l.byKey = nil, nil
		l.head = 0
	}
	l.mu.Unlock()
	// The reader may have taken the last signal; it looks at err before it waits.
	l.signal()
}
