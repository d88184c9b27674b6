package grid

import (
	"context"
	"errors"
	"fmt"
	"unsafe"
)

// readChanges reads what changed in a partition since the reader's position, and from there on has its changes queued.
func (l *Listener) readChanges(ctx context.Context, part int) error {
	p := l.cache.partitions[part]
	if t := p.tenure(); t != nil && l.readIndex(t, part) {
		return nil
	}
	return l.readRemote(ctx, part, p)
}

// readIndex reads the changes where this node owns the partition. It is false where it does so no more.
func (l *Listener) readIndex(t *tenure, part int) bool {
	x := t.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || !t.offering {
		return false
	}
	x.settle(t.g.cfg.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	if born := l.born[part]; born != 0 && born != x.born {
		l.startOver(part)
	}
	l.born[part] = x.born
	found := x.changes(l.cache.name, l.opts.Prefix, l.positions[part], l.current[part])
	l.live[part] = true
	l.found(part, found, x.seq)
	return true
}

// readRemote asks the owner for the changes. What is relayed meanwhile is queued, and left out where the answer has it. From the first on it is heard where the
// listener falls behind: the relay that this begins may be ended before the owner has answered, by this node owning the partition for a moment.
func (l *Listener) readRemote(ctx context.Context, part int, p *partition) error {
	g := l.cache.grid
	limited, cancel := g.limited(ctx)
	defer cancel()
	l.mu.Lock()
	l.live[part] = true
	l.mu.Unlock()
	if err := g.relays.open(limited, p, l.cache.name); err != nil {
		l.mu.Lock()
		l.live[part] = false
		l.mu.Unlock()
		if errors.Is(err, errNotRemote) {
			return g.settleDown(limited)
		}
		return fmt.Errorf("listen to %s: %w", l.cache.name, err)
	}
	l.mu.Lock()
	from, current, live := l.positions[part], l.current[part], l.live[part]
	l.mu.Unlock()
	if !live {
		return nil
	}
	found, a, err := g.askChanges(limited, p, l.cache.name, l.opts.Prefix, from, current)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.live[part] = false
		return fmt.Errorf("listen to %s: %w", l.cache.name, err)
	}
	if !l.live[part] {
		return nil // it fell behind meanwhile, and is read again
	}
	if born := l.born[part]; born != 0 && born != a.Born {
		l.startOver(part)
		l.born[part] = a.Born
		return nil // the stream began anew, and is read again from its start
	}
	l.born[part] = a.Born
	l.dropUpTo(part, a.Sequence)
	l.found(part, found, a.Sequence)
	return nil
}

// dropUpTo takes events out of the queue that what was read has in it.
// Lock is held.
func (l *Listener) dropUpTo(part int, end Sequence) {
	kept := l.queue[:0]
	for _, q := range l.queue[l.head:] {
		if q.part == part && q.last <= end {
			delete(l.byKey, q.entry.Key)
			l.waits(-q.entry.cost())
			continue
		}
		kept = append(kept, q)
	}
	clear(l.queue[len(kept):])
	l.queue, l.head = kept, 0
}

// found makes the changes that were read, up to end, the next events.
// Lock is held.
func (l *Listener) found(part int, changes []keyChange, end Sequence) {
	l.current[part], l.read[part] = false, end
	l.replayPart, l.replayEnd = part, end
	l.replay = l.replay[:0]
	l.holdReplay(-l.replayHeld)
	for _, c := range changes {
		if l.ahead[c.key].seq < c.seq {
			l.replay = append(l.replay, replayed{keyChange: c})
		}
	}
	l.holdReplay(int64(len(l.replay)) * int64(unsafe.Sizeof(replayed{})))
	if len(l.replay) == 0 {
		l.positions[part] = max(l.positions[part], end)
	}
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
		if e, ok := l.takeReplayed(); ok {
			return e, true, nil
		}
	}
	return Event{}, false, nil
}

// takeReplayed takes the first change that was read, which is ready. It is false where that is no event any more.
func (l *Listener) takeReplayed() (Event, bool) {
	item := l.replay[0]
	l.replay[0] = replayed{}
	l.replay = l.replay[1:]
	l.holdReplay(-item.entry.cost())
	if len(l.replay) == 0 {
		l.holdReplay(-l.replayHeld)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := &l.positions[l.replayPart]
	reached := item.seq
	if len(l.replay) > 0 && l.replay[0].seq == item.seq {
		reached-- // another one of this place is to come
	}
	*at = max(*at, reached)
	if len(l.replay) == 0 && l.live[l.replayPart] {
		*at = max(*at, l.replayEnd)
	}
	if item.skip {
		l.conflated++
		return Event{}, false
	}
	return newEvent(item.kind, *item.entry, NewEventID(l.positions)), true
}

// holdReplay notes what the changes that were read take of the budget.
func (l *Listener) holdReplay(n int64) {
	l.replayHeld += n
	l.share.add(n)
}

// fillMax is how many values are read ahead, and fillBytes how many bytes of them, but for the first one.
const (
	fillMax   = 64
	fillBytes = 1 << 20
)

// fill reads the next values.
func (l *Listener) fill(ctx context.Context) error {
	c := l.cache
	some := l.replay[:min(len(l.replay), fillMax)]
	if l.opts.Values {
		for i, bytes := 0, 0; i < len(some); i++ {
			if bytes += some[i].size; bytes > fillBytes && i > 0 {
				some = some[:i]
			}
		}
	}
	var places []place
	for i := range some {
		item := &some[i]
		item.entry = &Entry{Cache: c.Name(), Key: item.key, Revision: item.revision}
		if l.opts.Values && (item.kind == Created || item.kind == Updated) {
			at := c.placeOf(item.key)
			at.least = item.seq
			places = append(places, at)
		} else {
			item.ready = true
		}
	}
	defer func() {
		for i := range some {
			if some[i].ready {
				l.holdReplay(some[i].entry.cost())
			}
		}
	}()
	if len(places) == 0 {
		return nil
	}
	stored, err := c.readWarm(ctx, places, false, false)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", c.Name(), err)
	}
	next := 0
	for i := range some {
		if item := &some[i]; !item.ready {
			got := stored[next]
			next++
			item.entry, item.ready = &got.entry, true
			item.skip = !got.found || Sequence(got.revision) != item.seq
		}
	}
	return nil
}
