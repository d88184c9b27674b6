package cold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/grid"
)

const (
	// highShare and lowShare are the watermarks: above the first, a limit less one part in so many, values leave until the second. Small
	// limits have neither: values leave when a write waits.
	highShare, lowShare = 32, 16
	// evictBatch is how many leave together.
	evictBatch = 256
	// triesFirst and triesMost are how many that cannot leave are looked at for a batch: more each time that none can.
	triesFirst, triesMost = 32, 4096
	// blockedFirst and blockedLongest are the pauses while nothing can leave.
	blockedFirst, blockedLongest = 5 * time.Millisecond, 100 * time.Millisecond
)

func (t *tier) wakeUp() {
	select {
	case t.wakes <- struct{}{}:
	default:
	}
}

// high reports whether so much is in memory that values should leave. Lock is held.
func (t *tier) high() bool {
	if t.config.Load().Evict == grid.EvictRefuse {
		return false
	}
	return t.needed().over(less(t.limit(), highShare)) || t.cold.needed().over(less(t.nodeLimit(), highShare))
}

// needed is what the cache has in memory or is about to. Lock is held.
func (t *tier) needed() amount { return t.size.plus(t.under).plus(t.wanted) }

// needed is the same of all caches.
func (c *Cold) needed() amount {
	return c.used.amount().plus(c.under.amount()).plus(c.wanted.amount())
}

// less is a limit less one part in so many.
func less(limit amount, share int64) amount {
	return amount{limit.entries - limit.entries/share, limit.bytes - limit.bytes/share}
}

// excess is what must leave. Lock is held.
func (t *tier) excess() amount {
	if !t.high() {
		return amount{}
	}
	part := func(used, limit int64) int64 {
		if limit == 0 {
			return 0
		}
		return max(0, used-(limit-limit/lowShare))
	}
	limit, node := t.limit(), t.nodeLimit()
	used, all, allUsed := t.needed(), t.cold.needed(), t.cold.used.amount()
	out := amount{part(used.entries, limit.entries), part(used.bytes, limit.bytes)}
	// Of what is too much for the node, each cache gives its share.
	if n := part(all.entries, node.entries); n > 0 && allUsed.entries > 0 {
		out.entries = max(out.entries, (n*t.size.entries+allUsed.entries-1)/allUsed.entries)
	}
	if n := part(all.bytes, node.bytes); n > 0 && allUsed.bytes > 0 {
		out.bytes = max(out.bytes, int64(float64(n)*float64(t.size.bytes)/float64(allUsed.bytes))+1)
	}
	return out
}

// evictLoop has values leave until the tier ends.
func (t *tier) evictLoop() {
	pause, tries := blockedFirst, triesFirst
	for {
		select {
		case <-t.wakes:
		case <-t.ctx.Done():
			return
		}
		for {
			t.mu.Lock()
			excess := t.excess()
			t.mu.Unlock()
			if excess == (amount{}) || t.ctx.Err() != nil {
				break
			}
			n, err := t.evict(t.ctx, excess, tries)
			t.mu.Lock()
			t.blocked = err
			t.mu.Unlock()
			if n > 0 {
				pause, tries = blockedFirst, triesFirst
				continue
			}
			select {
			case <-time.After(pause):
			case <-t.more:
			case <-t.ctx.Done():
			}
			pause, tries = min(2*pause, blockedLongest), min(2*tries, triesMost)
		}
	}
}

var (
	errReaders = errors.New("readers of the cache have not passed what should leave memory")
	errWriting = errors.New("what should leave memory is being written")
	errNobody  = errors.New("nothing is in memory that may leave")
)

// evict has up to a batch of values leave, and returns how many did; if none, why.
func (t *tier) evict(ctx context.Context, excess amount, tries int) (n int, err error) {
	passed := make(map[int]grid.Sequence)
	var batch []grid.Resident
	var hands []*value
	why := errNobody
	if t.unpark(ctx, passed) {
		why = errReaders
	}
	for tries > 0 && len(batch) < evictBatch && (excess.entries > 0 || excess.bytes > 0) {
		t.mu.Lock()
		v := t.policy.victim()
		var key string
		writing := false
		if v != nil {
			key, writing = v.key, t.writing[v.key] > 0
		}
		t.mu.Unlock()
		if v == nil {
			break
		}
		if writing {
			why = errWriting
			t.release(v, false) // the write brings it back into the policy, or where it fails a second does
			tries--
			continue
		}
		r, ok := t.c.Resident(key)
		if !ok { // its removal is on the way here
			t.release(v, false)
			tries--
			continue
		}
		at, err := t.passed(ctx, r.Partition, passed)
		if err != nil {
			t.release(v, true)
			why = err
			break
		}
		if grid.Sequence(r.Revision) > at {
			why = errReaders
			t.park(v, r)
			tries--
			continue
		}
		batch, hands = append(batch, r), append(hands, v)
		excess = excess.minus(amount{1, int64(r.Size)})
	}
	if len(batch) == 0 {
		return 0, fmt.Errorf("nothing can leave memory: %w", why)
	}
	if enough := t.enough(batch); enough < len(batch) {
		for _, v := range hands[enough:] {
			t.release(v, true)
		}
		batch, hands = batch[:enough], hands[:enough]
	}
	if len(batch) == 0 {
		return 0, nil
	}
	leave := t.c.Demote
	if t.config.Load().Evict == grid.EvictDrop {
		leave = t.c.Evict
	}
	for i, err := range leave(ctx, batch) {
		t.release(hands[i], err != nil)
		switch {
		case err == nil:
			n++
			t.evictions.Add(1)
		case errors.Is(err, grid.ErrRevision), errors.Is(err, grid.ErrNotOwner):
			// It was written meanwhile, or is another node's.
		default:
			why = err
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("nothing can leave memory: %w", why)
}

// enough returns how many of a batch still have to leave: a write that was counted as under way and as done when the batch was
// begun counts once by now.
func (t *tier) enough(batch []grid.Resident) int {
	t.mu.Lock()
	excess := t.excess()
	t.mu.Unlock()
	n := 0
	for ; n < len(batch) && (excess.entries > 0 || excess.bytes > 0); n++ {
		excess = excess.minus(amount{1, int64(batch[n].Size)})
	}
	return n
}

// passed returns up to where all readers have come in a partition: the one that writes behind is one of them.
func (t *tier) passed(ctx context.Context, partition int, known map[int]grid.Sequence) (grid.Sequence, error) {
	if at, ok := known[partition]; ok {
		return at, nil
	}
	if t.store.Store != nil && t.reader.Load() == nil {
		return 0, nil // it is asked for before: a reader that opens meanwhile may have no position yet
	}
	at, err := t.cold.steps.passed(ctx, t.c, partition)
	if errors.Is(err, grid.ErrNotOwner) {
		at, err = 0, nil
	}
	known[partition] = at
	return at, err
}

// release gives back a value that the evictor has in hand. It may have come back into the policy, or gone, meanwhile.
func (t *tier) release(v *value, stays bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.in != inNone || t.values[v.key] != v {
		return
	}
	if stays {
		t.policy.putBack(v)
		return
	}
	t.parked.put(v, parkedAt{until: time.Now().Add(time.Second)}) // that it left comes by Gone
}

// park keeps a value apart until readers have passed it.
func (t *tier) park(v *value, r grid.Resident) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.in == inNone && t.values[v.key] == v {
		t.parked.put(v, parkedAt{partition: r.Partition, revision: r.Revision})
	}
}

// unpark takes back what readers have passed, and reports whether something still waits for them.
func (t *tier) unpark(ctx context.Context, passed map[int]grid.Sequence) bool {
	t.mu.Lock()
	partitions := t.parked.partitions()
	t.mu.Unlock()
	for _, p := range partitions {
		if _, err := t.passed(ctx, p, passed); err != nil {
			t.cold.cfg.Logger.Debug("ask how far readers are", "cache", t.name, "partition", p, "error", err)
		}
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range t.parked.due(passed, now) {
		if v.used {
			v.used = false
			t.policy.add(v)
			continue
		}
		t.policy.putBack(v)
	}
	return len(t.parked.partitions()) > 0
}
