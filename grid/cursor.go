package grid

import (
	"context"
	"slices"
	"sync"
	"time"
)

// cursor is where a reader stands in one partition that this node owns. Changes come from the feed, in order, and wait in a
// queue until they are given out; what the queue has no room for is read from the index later. A key has at most one change
// that waits and one that is given out.
type cursor struct {
	r *Reader
	t *tenure

	mu sync.Mutex
	// order has what is not done, in the order of the stream; some of it is done or overwritten. What is before next was
	// looked at.
	order  []*item
	next   int
	byKey  map[string]*item // those that wait
	flying map[string]*item // those that are given out
	held   map[string]*item // those that wait for one of their key that is given out
	freed  []*item          // those that were held, and can be given out
	bytes  int              // of the values that wait

	behind  bool     // changes from missed on are to be read from the index
	missed  Sequence // only while behind
	offered Sequence // the last change that is known
	paused  bool     // nothing is given out: the position is being moved
	stopped bool
	idle    chan struct{} // closed when nothing is given out; nil while nobody waits for that

	progress chan struct{} // closed when more is done; nil while nobody waits for that

	position position // as it is written down
	moved    int      // changes done since then
	writing  sync.Mutex
}

// item is a change on its way through a cursor.
type item struct {
	cursor *cursor
	key    string
	seq    Sequence // the change's place, which is its revision
	kind   EventType
	entry  Entry
	size   int // of the value
	shared bool
	at     time.Time // when it was written; zero where that is not known
	load   bool      // the entry is to be read: what the index has is without it
	state  itemState
}

type itemState uint8

const (
	itemWaits itemState = iota
	itemFlies
	itemOver // done, or overwritten before it was given out
)

// newCursor begins where the reader's position is, or where a new reader is to begin.
func newCursor(ctx context.Context, r *Reader, t *tenure) (*cursor, error) {
	c := &cursor{r: r, t: t, byKey: make(map[string]*item), flying: make(map[string]*item), held: make(map[string]*item)}
	at, err := t.readPosition(ctx, r.cfg.Cache, r.cfg.Name)
	if err != nil {
		return nil, err
	}
	if at.none() {
		at = position{Begun: t.fence, stored: at.stored}
		if r.cfg.Start == StartNew {
			if at.Position, err = c.beginNew(ctx); err != nil {
				return nil, err
			}
		}
		if at.stored, err = t.writePosition(ctx, r.cfg.Cache, r.cfg.Name, at); err != nil {
			return nil, err
		}
	}
	c.checkPosition(&at)
	c.position = at
	c.behind, c.missed, c.offered = true, at.Position+1, at.Position
	return c, nil
}

// beginNew is where a reader begins that passes over what is there: at the end, or, where it did so once and its position was lost, at the start, so
// that nothing is lost with it.
func (c *cursor) beginNew(ctx context.Context) (Sequence, error) {
	lost, err := c.t.lostPosition(ctx, c.r.cfg.Cache, c.r.cfg.Name)
	if err != nil {
		return 0, err
	}
	if !lost {
		return c.t.lastOwn(ctx)
	}
	c.t.g.cfg.Logger.Warn("a position was lost with what was damaged on the disk: everything there is given out again", "reader", c.r.cfg.Name,
		"cache", c.r.cfg.Cache, "class", c.t.p.class, "partition", c.t.p.number)
	return 0, nil
}

// checkPosition notices that a position does not fit what is in the stream, as after parts of a folder were restored from another time or lost. One
// behind the results is given out again from there; what has its result is known by that. One that is ahead of the stream would pass over what comes:
// the reader begins anew.
func (c *cursor) checkPosition(at *position) {
	t := c.t
	t.index.mu.Lock()
	end, made := t.index.seq, t.index.madeAfter(c.r.cfg.Name, at.Position)
	t.index.mu.Unlock()
	log := t.g.cfg.Logger.With("reader", c.r.cfg.Name, "cache", c.r.cfg.Cache, "class", t.p.class, "partition", t.p.number, "position", at.Position)
	switch {
	case at.Position > end:
		log.Warn("a position is ahead of its stream, which has gone back: everything there is given out again", "end", end)
		at.Position, at.Again = 0, 0
	case made > 0:
		log.Info("a position is behind what was made: what has no result is made, and nothing twice", "made", made)
	}
}

func (c *cursor) wantsValues() bool { return true }

// offer queues a change. The index is locked.
func (c *cursor) offer(_ int, ch change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.overwritten(ch.entry.Key)
	if c.behind {
		return
	}
	if len(c.byKey) >= c.r.cfg.MaxPending || c.bytes >= readerPendingBytes {
		c.behind, c.missed = true, ch.seq
		return
	}
	c.offered = ch.seq
	c.push(&item{
		cursor: c, key: ch.entry.Key, seq: ch.seq, kind: ch.kind, entry: ch.entry, size: len(ch.entry.Value), at: ch.entry.Created, shared: ch.shared,
	})
	c.r.signal()
}

func (c *cursor) push(it *item) {
	if len(c.order) > 2*(len(c.byKey)+len(c.flying))+orderSlack {
		c.compact()
	}
	c.order = append(c.order, it)
	c.byKey[it.key] = it
	c.bytes += len(it.entry.Value)
}

// overwritten drops a key's change that waits. Lock is held.
func (c *cursor) overwritten(key string) {
	if it := c.byKey[key]; it != nil {
		it.state = itemOver
		c.bytes -= len(it.entry.Value)
		it.entry = Entry{}
		delete(c.byKey, key)
		delete(c.held, key)
	}
}

// fallBehind has what comes after the last known change read from the index. The index is locked.
func (c *cursor) fallBehind(int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.behind {
		c.behind, c.missed = true, c.offered+1
	}
	c.r.signal()
}

// rewind begins a stream that began anew. The index is locked.
func (c *cursor) rewind(int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.order {
		it.state = itemOver
	}
	c.order, c.next, c.freed, c.bytes = nil, 0, nil, 0
	clear(c.byKey)
	clear(c.flying)
	clear(c.held)
	c.behind, c.missed, c.offered = true, 1, 0
	c.position = position{}
	c.r.signal()
}

// take gives out up to most changes, whose values have room; the first of all may be larger. Room shrinks by what is given out.
func (c *cursor) take(ctx context.Context, most int, room *int) ([]Change, error) {
	for {
		c.refill()
		items, again := c.start(most, room)
		if len(items) == 0 {
			return nil, nil
		}
		gone, err := c.load(ctx, items)
		if err != nil {
			c.undo(items)
			return nil, err
		}
		if len(gone) > 0 {
			c.done(gone)
			for _, it := range gone {
				*room += it.size
			}
			items = slices.DeleteFunc(items, func(it *item) bool { return slices.Contains(gone, it) })
		}
		if len(items) > 0 {
			return c.toChanges(items, again), nil
		}
	}
}

// waiting returns how many changes can be given out now, and the bytes of their values that are known.
func (c *cursor) waiting() (n, bytes int) {
	c.refill()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.paused {
		return 0, 0
	}
	return len(c.byKey) - len(c.held), c.bytes
}

// start takes up to most changes out of the queue. What was written up to again is to be made again.
func (c *cursor) start(most int, room *int) (items []*item, again Sequence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.paused {
		return nil, 0
	}
	for len(items) < most && *room > 0 {
		it := c.pick()
		if it == nil {
			break
		}
		*room -= it.size
		items = append(items, it)
	}
	return items, c.position.Again
}

// toChanges is what the reader gets for items.
func (c *cursor) toChanges(items []*item, again Sequence) []Change {
	out := make([]Change, len(items))
	for i, it := range items {
		out[i] = Change{
			Entry: it.entry, Type: Updated, Partition: c.t.p.number, Fence: c.t.fence, Time: it.entry.Created,
			Again: it.seq <= again, item: it,
		}
		if it.shared {
			out[i].Entry = it.entry.clone()
		}
		switch it.kind {
		case Removed, Expired:
			out[i].Type = it.kind
		case evicted:
			out[i].Type = Expired
		}
		it.entry = Entry{}
	}
	return out
}

// pick takes the next change whose key is free. Lock is held.
func (c *cursor) pick() *item {
	for {
		var it *item
		switch {
		case len(c.freed) > 0:
			it, c.freed = c.freed[0], c.freed[1:]
		case c.next < len(c.order):
			it = c.order[c.next]
			c.next++
		default:
			return nil
		}
		if it.state != itemWaits {
			continue
		}
		if c.flying[it.key] != nil {
			c.held[it.key] = it
			continue
		}
		it.state = itemFlies
		c.flying[it.key] = it
		delete(c.byKey, it.key)
		c.bytes -= len(it.entry.Value)
		return it
	}
}

// refill reads changes from the index that the queue had no room for, when half of it is free.
func (c *cursor) refill() {
	c.mu.Lock()
	needed := c.behind && !c.stopped && !c.paused && len(c.byKey) <= c.r.cfg.MaxPending/2
	c.mu.Unlock()
	if !needed {
		return
	}
	x := c.t.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.settle(c.t.g.cfg.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.behind || c.paused {
		return
	}
	found := x.changes(c.r.cache.name, "", c.missed-1, false)
	room := c.r.cfg.MaxPending - len(c.byKey)
	for i, ch := range found {
		if i >= room && ch.seq != found[i-1].seq { // what has the same place is not told apart by it
			c.missed = ch.seq
			return
		}
		c.overwritten(ch.key)
		c.push(&item{cursor: c, key: ch.key, seq: ch.seq, kind: ch.kind, size: ch.size, load: true})
		c.offered = ch.seq
	}
	if c.missed = x.seq + 1; c.t.offering {
		c.behind = false
	}
	c.offered = x.seq
	c.tell()
}

// load reads the entries of changes that came from the index. It returns those that are over: overwritten, or with a
// lifespan that has ended; their key's next change comes by itself.
func (c *cursor) load(ctx context.Context, items []*item) (gone []*item, err error) {
	var places []place
	var loaded []*item
	for _, it := range items {
		if it.load {
			at := c.r.cache.placeOf(it.key)
			at.least = it.seq // or a replica that lags would say that it is over
			places, loaded = append(places, at), append(loaded, it)
		}
	}
	for len(places) > 0 {
		some := places[:min(len(places), readAhead)]
		read := func() ([]stored, error) { return c.r.cache.readWarm(ctx, some, false, false) }
		if c.r.cfg.SkipCold {
			read = func() ([]stored, error) { return c.r.cache.readMany(ctx, some, false) }
		}
		found, err := read()
		if err != nil {
			return nil, err
		}
		for i, s := range found {
			it := loaded[i]
			wants := it.kind == Created || it.kind == Updated
			switch {
			case Sequence(s.revision) != it.seq, wants && !s.found, s.cold:
				gone = append(gone, it)
				continue
			case wants:
				it.entry = s.entry
			default:
				it.entry = Entry{Cache: c.r.cache.name, Key: it.key, Revision: s.revision, Created: s.at}
			}
			c.mu.Lock() // the time is looked at for the lag
			it.load, it.at = false, it.entry.Created
			c.mu.Unlock()
		}
		places, loaded = places[len(some):], loaded[len(some):]
	}
	return gone, nil
}

// done moves over changes that are dealt with.
func (c *cursor) done(items []*item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range items {
		c.land(it)
		it.state = itemOver
	}
	c.moved += len(items)
	c.trim()
	c.tell()
	c.r.noteMoved(c.moved >= flushMoved)
}

// undo gives changes back, to be given out again unless they were overwritten meanwhile.
func (c *cursor) undo(items []*item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range items {
		c.land(it)
		if it.state == itemOver { // the stream began anew
			continue
		}
		if c.byKey[it.key] != nil { // a newer one waits
			it.state = itemOver
			continue
		}
		it.state, it.load, it.entry = itemWaits, true, Entry{}
		c.byKey[it.key] = it
		c.freed = append(c.freed, it)
	}
	c.trim()
	c.r.signal()
}

// land ends the flight of a change, and frees the one that waited for it. Lock is held.
func (c *cursor) land(it *item) {
	if c.flying[it.key] != it {
		return
	}
	delete(c.flying, it.key)
	if h := c.held[it.key]; h != nil {
		delete(c.held, it.key)
		c.freed = append(c.freed, h)
		c.r.signal()
	}
	if len(c.flying) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// trim drops what is over from the front of order. Lock is held.
func (c *cursor) trim() {
	n := 0
	for n < len(c.order) && c.order[n].state == itemOver {
		c.order[n] = nil
		n++
	}
	c.order = c.order[n:]
	c.next = max(0, c.next-n)
	if len(c.order) == 0 {
		c.order = nil
	}
}

// orderSlack is how many changes order may hold at least before it is compacted.
const orderSlack = 64

// compact drops what is over from all of order: keys that are overwritten again and again while nothing is done would fill
// it. Lock is held.
func (c *cursor) compact() {
	kept, next := c.order[:0], 0
	for i, it := range c.order {
		if it.state == itemOver {
			continue
		}
		if kept = append(kept, it); i < c.next {
			next = len(kept)
		}
	}
	clear(c.order[len(kept):])
	c.order, c.next = kept, next
}
