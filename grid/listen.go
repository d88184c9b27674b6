package grid

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

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
	positions []Sequence // what the reader has, by partition
	read      []Sequence // up to where its index was read, by partition: what a relay brings late is in there
	live      []bool     // whether a partition's changes are queued; else they are read from its owner's index
	born      []int64    // when the stream was made that positions is of; 0 where that is not known
	current   []bool     // partitions whose first reading is the current state, not a resumption
	// ahead is which events the reader has from beyond its position.
	ahead     map[string]reached
	conflated uint64
	err       error

	// The reader's own: what was read from the index of one partition.
	replay     []replayed
	replayPart int
	replayEnd  Sequence
}

type pending struct {
	part   int
	seq    Sequence // of the first event that is merged in here
	last   Sequence // of the last one
	kind   EventType
	entry  Entry
	shared bool
}

type reached struct {
	part int
	seq  Sequence
}

type replayed struct {
	keyChange
	entry Entry
	skip  bool // overwritten meanwhile; the newer event comes by itself
	ready bool
}

// Listen starts a listener. Without From and IncludeCurrent it gets what is written from now on.
// Whether an event is created or updated is told from what the partition's owner has seen: a listener that
// resumes after the owner began gets created for every key that was written before.
func (c *Cache) Listen(ctx context.Context, opts ListenOptions) (*Listener, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if opts.MaxPending <= 0 {
		opts.MaxPending = 1 << 16
	}
	n := len(c.partitions)
	l := &Listener{
		cache: c, opts: opts, wake: make(chan struct{}, 1), byKey: make(map[string]*pending), ahead: make(map[string]reached),
		positions: make([]Sequence, n), read: make([]Sequence, n), live: make([]bool, n), born: make([]int64, n), current: make([]bool, n),
	}
	if opts.From != "" {
		var err error
		if l.positions, err = ParseEventID(opts.From, n); err != nil {
			return nil, err
		}
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	for _, p := range c.partitions {
		p.hub.add(c.name, l)
	}
	for i, p := range c.partitions {
		if err := l.begin(ctx, i, p); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen to %s: %w", c.Name(), err)
		}
	}
	c.grid.relays.look()
	return l, nil
}

// begin finds where the listener stands in a partition. What this node wrote before is no news: it waits until the index has that.
func (l *Listener) begin(ctx context.Context, i int, p *partition) error {
	current := l.opts.From == "" && l.opts.IncludeCurrent
	fromNow := l.opts.From == "" && !current
	end, born, err := l.cache.grid.endOf(ctx, p, func(t *tenure) {
		if fromNow {
			l.mu.Lock()
			l.positions[i], l.live[i] = t.index.seq, t.offering
			l.mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.born[i] = born
	switch {
	case current:
		l.current[i] = true
	case fromNow && !l.live[i]:
		l.positions[i] = end
	case l.positions[i] > end: // of a volatile cache that began anew
		l.positions[i] = 0
	}
	return nil
}

func (l *Listener) wantsValues() bool { return l.opts.Values }

// offer is called in the order of the stream, with the partition's index locked. It does not block.
func (l *Listener) offer(part int, c change) {
	e := c.entry
	if !strings.HasPrefix(e.Key, l.opts.Prefix) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.live[part] || c.seq <= max(l.positions[part], l.read[part]) {
		return
	}
	if !l.opts.Values {
		e = Entry{Cache: e.Cache, Key: e.Key, Revision: e.Revision}
	}
	if q := l.byKey[e.Key]; q != nil {
		l.bytes += len(e.Value) - len(q.entry.Value)
		if q.kind != Created || c.kind != Updated {
			q.kind = c.kind
		}
		q.entry, q.last, q.shared = e, c.seq, c.shared
		l.conflated++
	} else {
		q := &pending{part: part, seq: c.seq, last: c.seq, kind: c.kind, entry: e, shared: c.shared}
		l.queue = append(l.queue, q)
		l.byKey[e.Key] = q
		l.bytes += len(e.Value)
	}
	if len(l.byKey) > l.opts.MaxPending || l.bytes > maxPendingBytes && len(l.byKey) > 1 {
		l.forget()
	}
	l.signal()
}

// fallBehind makes the reader read what changed from the owners' indexes, from where it is.
func (l *Listener) fallBehind(part int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.live[part] {
		return
	}
	l.forget()
	l.signal()
}

// rewind makes the reader begin a partition anew.
func (l *Listener) rewind(part int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.startOver(part)
	}
}

// startOver is rewind with the lock held.
func (l *Listener) startOver(part int) {
	l.forget()
	clear(l.ahead)
	l.positions[part], l.read[part], l.born[part] = 0, 0, 0
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
			if err := l.readChanges(ctx, behind); err != nil {
				return Event{}, err
			}
			continue
		}
		if l.head < len(l.queue) {
			e, shared := l.pop()
			l.mu.Unlock()
			if shared {
				e.Entry = e.Entry.clone()
			}
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
func (l *Listener) pop() (e Event, shared bool) {
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
		l.ahead[q.entry.Key] = reached{q.part, q.last}
		if len(l.ahead) > 2*l.opts.MaxPending {
			maps.DeleteFunc(l.ahead, func(_ string, p reached) bool { return p.seq <= l.positions[p.part] })
		}
	}
	return newEvent(q.kind, q.entry, NewEventID(l.positions)), q.shared
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
func (l *Listener) Close() { l.close(fmt.Errorf("listener of %s: %w", l.cache.Name(), ErrClosed)) }

func (l *Listener) close(err error) {
	for _, p := range l.cache.partitions {
		p.hub.remove(l.cache.name, l)
	}
	l.cache.grid.relays.look()
	l.end(err)
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
