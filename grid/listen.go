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
	// Budget, where set, bounds the bytes that wait: over it Next returns ErrBehind. Without it 64 MiB of values may wait, and what is over
	// them is read again from the grid.
	Budget *Budget
	// Fixed is what the listener takes of Budget for as long as it is open, such as the buffer of its socket.
	Fixed int64
}

// maxPendingBytes bounds what waits for one listener without a budget.
const maxPendingBytes = 64 << 20

// Listener delivers a cache's events to one reader. A key's events come in revision order and
// end on the newest; revisions that are overwritten before they are read are left out and counted.
// Next and Events are for one goroutine at a time; Close and Conflated for any.
type Listener struct {
	cache *Cache
	opts  ListenOptions
	share *share

	wake chan struct{}

	mu        sync.Mutex
	queue     []*pending // oldest first
	head      int
	byKey     map[string]*pending
	bytes     int64      // of the queue
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
	given      bool  // an event was returned
	replayHeld int64 // what replay has of the share
}

type pending struct {
	part   int
	seq    Sequence // of the first event that is merged in here
	last   Sequence // of the last one
	kind   EventType
	entry  Entry
	shared bool
}

// cost is what an event takes of a budget. A value that several listeners wait for counts for each.
func (e *Entry) cost() int64 { return int64(eventCost + len(e.Key) + len(e.Value)) }

type reached struct {
	part int
	seq  Sequence
}

type replayed struct {
	keyChange
	entry *Entry
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
	s, err := opts.Budget.open(opts.Fixed)
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", c.Name(), err)
	}
	l := &Listener{
		cache: c, opts: opts, share: s, wake: make(chan struct{}, 1), byKey: make(map[string]*pending), ahead: make(map[string]reached),
		positions: make([]Sequence, n), read: make([]Sequence, n), live: make([]bool, n), born: make([]int64, n), current: make([]bool, n),
	}
	if opts.From != "" {
		var err error
		if l.positions, err = ParseEventID(opts.From, n); err != nil {
			s.close()
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

// Start is the place that the listener began from, to be asked before the first event is taken. It is empty with IncludeCurrent: who
// was cut off begins with the current state again.
func (l *Listener) Start() EventID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opts.From == "" && l.opts.IncludeCurrent {
		return ""
	}
	return NewEventID(l.positions)
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
	if current && errors.Is(err, ErrUnavailable) {
		err = nil // a new owner is asked when events are read: its index begins with all that was written
	}
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
	// Where a partition's owner changes, what a relay brings and what this node's own feed has may overlap.
	if given := l.ahead[e.Key]; given.part == part && c.seq <= given.seq {
		return
	}
	if !l.opts.Values {
		e = Entry{Cache: e.Cache, Key: e.Key, Revision: e.Revision}
	}
	if q := l.byKey[e.Key]; q != nil && c.seq <= q.last {
		return
	} else if q != nil {
		l.waits(e.cost() - q.entry.cost())
		if q.kind != Created || c.kind != Updated {
			q.kind = c.kind
		}
		q.entry, q.last, q.shared = e, c.seq, c.shared
		l.conflated++
	} else {
		q := &pending{part: part, seq: c.seq, last: c.seq, kind: c.kind, entry: e, shared: c.shared}
		l.queue = append(l.queue, q)
		l.byKey[e.Key] = q
		l.waits(e.cost())
	}
	switch {
	case l.share.full(len(l.byKey)):
		l.overrun()
	case len(l.byKey) > l.opts.MaxPending || l.share == nil && l.bytes > maxPendingBytes && len(l.byKey) > 1:
		l.forget()
	}
	l.signal()
}

// waits notes that more waits in the queue, or less.
// Lock is held.
func (l *Listener) waits(n int64) {
	l.bytes += n
	l.share.add(n)
}

// overrun ends the listener for want of room.
// Lock is held.
func (l *Listener) overrun() {
	l.fail(fmt.Errorf("listener of %s: %w: what waits for its reader is over the bound of one listener (%d bytes) or of all (%d)",
		l.cache.Name(), ErrBehind, l.share.budget.each, l.share.budget.all))
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
	l.empty()
	clear(l.live)
}

// empty drops the queue.
// Lock is held.
func (l *Listener) empty() {
	l.waits(-l.bytes)
	l.queue, l.head = nil, 0
	clear(l.byKey)
}

func (l *Listener) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Next returns the next event, waiting for it. After Close it returns ErrClosed, after the
// cache was deleted ErrNoCache, over its budget ErrBehind.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	for {
		l.mu.Lock()
		if l.given && l.err == nil && l.share.full(0) { // each connection brings a reader on by an event at least
			l.overrun()
		}
		l.mu.Unlock()
		if e, ok, err := l.nextReplayed(ctx); err != nil || ok {
			l.given = true
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
			l.given = true
			l.mu.Unlock()
			if shared {
				e.Entry = e.Entry.clone()
			}
			return e, nil
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-l.share.ends():
			l.given = true
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Poll returns the next event where it is in memory already. It is for the goroutine that calls Next.
func (l *Listener) Poll() (e Event, ok bool) {
	for len(l.replay) > 0 {
		if !l.replay[0].ready {
			return Event{}, false
		}
		if e, ok = l.takeReplayed(); ok {
			return e, true
		}
	}
	l.mu.Lock()
	if l.err != nil || l.head == len(l.queue) || slices.Contains(l.live, false) {
		l.mu.Unlock()
		return Event{}, false
	}
	e, shared := l.pop()
	l.mu.Unlock()
	if shared {
		e.Entry = e.Entry.clone()
	}
	return e, true
}

// Hold counts n bytes more, or less where n is negative, as waiting for the listener's reader: events that Next returned and that are on their way
// to it still.
func (l *Listener) Hold(n int) {
	if n < 0 {
		l.share.took()
	}
	l.share.add(int64(n))
}

// Overrun is closed when the listener ends for want of room, which Next tells with ErrBehind: for who waits for the reader. It is nil without a budget.
func (l *Listener) Overrun() <-chan struct{} { return l.share.ends() }

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
	l.waits(-q.entry.cost())
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
	l.share.close()
}

func (l *Listener) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err)
}

// fail makes err, where it is the first, what Next returns, and drops what waits.
// Lock is held.
func (l *Listener) fail(err error) {
	if l.err == nil {
		l.err = err
		l.empty()
	}
	// The reader may have taken the last signal; it looks at err before it waits.
	l.signal()
}
