package grid

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PutOptions go with a write. Zero values are the cache's defaults.
type PutOptions struct {
	ContentType string
	// Lifespan and MaxIdle bound the entry's life; negative for none where the cache has a
	// default, at most MaxLifespan (ErrLifespan). Lifespans under 1 s are kept by this node alone.
	Lifespan, MaxIdle time.Duration
	Labels            map[string]string
	// IfRevision makes the write conditional on the key's present revision; 0 for no condition.
	IfRevision Revision
}

// DeleteOptions go with a removal.
type DeleteOptions struct {
	// IfRevision makes it conditional on the key's present revision; 0 for no condition.
	IfRevision Revision
}

const (
	wrongLastSequence = 10071
	// sequenceInProcess is what a server of a cluster answers to a condition on a key that it is still writing: nobody knows yet whether it holds.
	sequenceInProcess = 10164
)

// Put writes an entry and returns its revision once it is stored. The value may be used again
// after Put returns. Errors: ErrRevision for a failed condition, ErrFull, ErrTooLarge, ErrKey,
// ErrNoCache, ErrUnavailable. Puts that arrive together are stored together; one that is alone goes at once.
func (c *Cache) Put(ctx context.Context, key string, value []byte, o PutOptions) (Revision, error) {
	w, err := c.prepare(key, value, o)
	if err != nil {
		return 0, fmt.Errorf("put into %s: %w", c.name, err)
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	return c.put(ctx, w, o.IfRevision)
}

// put is Put for a write that is prepared.
func (c *Cache) put(ctx context.Context, w write, want Revision) (Revision, error) {
	// The sequence changes without the revision where a value goes to a store or comes back: then it is tried again.
	for tried := false; ; tried = true {
		if want > 0 {
			expected, err := c.sequenceOf(ctx, w.place, want, tried)
			if err != nil {
				return 0, err
			}
			w.expect(expected)
		}
		seq, err := c.gather.write(ctx, c, w)
		switch {
		case err == nil:
			c.counters.puts.Add(1)
			return Revision(seq), nil
		case !isWrongSequence(err) || want == 0:
			return 0, fmt.Errorf("put %s/%s: %w", c.name, w.key, err)
		}
		if seq, err := c.taken(ctx, w, err); err != nil || seq != 0 {
			return c.tookPut(w.key, seq, err)
		}
		w.sent = w.sent || errors.Is(err, errSent)
	}
}

// tookPut is what a put returns that was stored though its condition failed, or of which that is not known.
func (c *Cache) tookPut(key string, seq Sequence, err error) (Revision, error) {
	if err != nil {
		return 0, fmt.Errorf("put %s/%s: %w", c.name, key, err)
	}
	c.counters.puts.Add(1)
	return Revision(seq), nil
}

// Create writes an entry whose key has none, else it is ErrExists. IfRevision is not used.
func (c *Cache) Create(ctx context.Context, key string, value []byte, o PutOptions) (Revision, error) {
	w, err := c.prepare(key, value, o)
	if err != nil {
		return 0, fmt.Errorf("create in %s: %w", c.name, err)
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	// What the index knows saves a trip: it may be behind, in which case the condition fails and
	// the stream is asked.
	last, live, known := c.guess(w.place)
	for asked := false; ; asked = true {
		if live || !known || asked {
			s, err := c.readLast(ctx, w.place)
			if err != nil {
				return 0, fmt.Errorf("create %s/%s: %w", c.name, key, err)
			}
			if s.found {
				return 0, fmt.Errorf("%w: %s/%s has revision %d", ErrExists, c.name, key, s.entry.Revision)
			}
			last.seq = s.seq
		}
		w.expect(last.seq)
		seq, err := c.write(ctx, w)
		if err == nil {
			c.counters.puts.Add(1)
			return Revision(seq), nil
		}
		if !isWrongSequence(err) {
			return 0, fmt.Errorf("create %s/%s: %w", c.name, key, err)
		}
		if seq, err := c.taken(ctx, w, err); err != nil || seq != 0 {
			return c.tookPut(key, seq, err)
		}
		w.sent = w.sent || errors.Is(err, errSent)
	}
}

// Delete removes an entry and returns the revision of its removal; ErrNotFound where there is
// none, ErrRevision for a failed condition.
func (c *Cache) Delete(ctx context.Context, key string, o DeleteOptions) (Revision, error) {
	at, err := c.place(key)
	if err != nil {
		return 0, fmt.Errorf("delete from %s: %w", c.name, err)
	}
	if err := c.usable(); err != nil {
		return 0, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	last, live, _ := c.guess(at)
	w := c.removal(at)
	for asked := false; ; asked = true {
		if !live || asked {
			s, err := c.readLast(ctx, at)
			if err != nil {
				return 0, fmt.Errorf("delete %s/%s: %w", c.name, key, err)
			}
			if !s.found && s.kind != kindDamaged {
				return 0, fmt.Errorf("%w: %s/%s", ErrNotFound, c.name, key)
			}
			last.seq, last.revision, last.source = s.seq, s.entry.Revision, s.source
			w.made(s.source, s.reader)
		} else {
			w.made(last.source, c.readerName(at, last))
		}
		if o.IfRevision > 0 && last.revision != o.IfRevision {
			if asked || !live {
				return 0, &RevisionError{Cache: c.name, Key: key, Want: o.IfRevision, Current: last.revision}
			}
			continue // the index may be behind
		}
		w.expect(last.seq)
		seq, err := c.write(ctx, w)
		if err == nil {
			c.counters.deletes.Add(1)
			return Revision(seq), nil
		}
		if !isWrongSequence(err) {
			return 0, fmt.Errorf("delete %s/%s: %w", c.name, key, err)
		}
		if seq, err := c.taken(ctx, w, err); err != nil {
			return 0, fmt.Errorf("delete %s/%s: %w", c.name, key, err)
		} else if seq != 0 {
			c.counters.deletes.Add(1)
			return Revision(seq), nil
		}
		w.sent = w.sent || errors.Is(err, errSent)
	}
}

// guess returns what this node knows of a key without asking, and whether it is an entry. It may be behind; it knows
// nothing of what another node owns.
func (c *Cache) guess(at place) (last record, live, known bool) {
	t := at.partition.tenure()
	if t == nil {
		return record{}, false, false
	}
	last, had := t.index.last(c.name, at.key, c.grid.cfg.Now())
	return last, had && last.state == stateLive, true
}

// readerName is the name of the reader that made what a record is about.
func (c *Cache) readerName(at place, r record) string {
	t := at.partition.tenure()
	if t == nil {
		return ""
	}
	t.index.mu.Lock()
	defer t.index.mu.Unlock()
	return t.index.readers.name(r.reader)
}

// removal is the write that removes an entry.
func (c *Cache) removal(at place) write {
	return write{place: at, removal: true, header: nats.Header{headerOperation: {"DEL"}, headerTTL: {c.grid.markerSeconds()}}}
}

func (g *Grid) markerSeconds() string {
	return strconv.FormatInt(int64(g.markerTTL/time.Second), 10) + "s"
}

// write is one message to a partition.
type write struct {
	place
	header  nats.Header
	value   []byte
	removal bool // takes no room
	own     bool // of the grid itself: it takes no room and no store is waited for
	sent    bool // before, so that it may be stored
}

func (w *write) set(name, value string) {
	if w.header == nil {
		w.header = make(nats.Header, 2)
	}
	w.header[name] = []string{value}
}

// expect makes the write conditional on the key's last sequence, 0 for none.
func (w *write) expect(seq Sequence) { w.set(headerExpected, strconv.FormatUint(uint64(seq), 10)) }

// made says which change the entry was made from that the write replaces, so that reading that change again does not
// bring it back.
func (w *write) made(source Revision, reader string) {
	if reader == "" {
		w.header.Del(HeaderSource)
		return
	}
	w.set(HeaderSource, appendSource(source, 0, reader))
}

// prepare checks a put and makes its message.
func (c *Cache) prepare(key string, value []byte, o PutOptions) (write, error) {
	at, err := c.place(key)
	if err != nil {
		return write{}, err
	}
	if err := c.usable(); err != nil {
		return write{}, err
	}
	config := c.config.Load()
	if int64(len(value)) > config.MaxEntryBytes {
		return write{}, fmt.Errorf("%w: value of %d bytes, %s takes at most %d", ErrTooLarge, len(value), c.name, config.MaxEntryBytes)
	}
	if o.Lifespan == 0 {
		o.Lifespan = config.Lifespan
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = config.MaxIdle
	}
	h, err := o.headers()
	if err != nil {
		return write{}, err
	}
	return write{place: at, header: h, value: value}, nil
}

// write publishes a message and waits until it is stored.
func (c *Cache) write(ctx context.Context, w write) (Sequence, error) {
	room, err := c.reserve(ctx, ctx, w)
	if err != nil {
		return 0, err
	}
	seq, err := c.publish(ctx, w, room)
	if err != nil || w.own {
		return seq, err
	}
	return seq, c.throughTo(ctx, w.partition, seq)
}

// publish is write for what has its room, which it takes over. It waits for no store.
func (c *Cache) publish(ctx context.Context, w write, room room) (Sequence, error) {
	c.writing.RLock()
	defer c.writing.RUnlock()
	if err := c.usable(); err != nil {
		room.release()
		return 0, err
	}
	flow := &w.partition.flow
	weight := w.weight()
	if err := flow.flight.Acquire(ctx, weight); err != nil {
		room.release()
		return 0, contextError(ctx)
	}
	seq, err := c.grid.asks.write(ctx, w)
	flow.flight.Release(weight)
	if err != nil {
		room.release()
		return 0, err
	}
	w.partition.wrote(w.subject, seq)
	c.wroteOwn(&w, seq)
	room.releaseAfter(w.partition, seq)
	return seq, nil
}

func isWrongSequence(err error) bool { return isCode(err, wrongLastSequence) }

func isInProcess(err error) bool { return isCode(err, sequenceInProcess) }

// isReplaced reports whether a key of the grid's description was written by another node meanwhile, or is being written: in a cluster a condition on it fails with either.
func isReplaced(err error) bool { return isWrongSequence(err) || isInProcess(err) }

func isCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// sequenceOf returns the sequence that a write of a key must be conditional on, so that it replaces a revision. The revision
// of a removal or of an entry that is over is refused, which the stream itself would accept. Without ask it is a guess.
func (c *Cache) sequenceOf(ctx context.Context, at place, want Revision, ask bool) (Sequence, error) {
	if t := at.partition.tenure(); t != nil && !ask {
		if uint64(want) <= at.partition.flow.written.Load() {
			if err := t.index.wait(ctx, Sequence(want)); err != nil && !errors.Is(err, ErrNotOwner) {
				return 0, fmt.Errorf("put %s/%s: %w", c.name, at.key, err)
			}
		}
		if r, live, _ := c.guess(at); live {
			if r.revision == want {
				return r.seq, nil
			}
			if Sequence(want) > r.seq {
				return Sequence(want), nil // the index is behind: the stream compares
			}
		}
	}
	s, err := c.readLast(ctx, at)
	if err != nil {
		return 0, fmt.Errorf("put %s/%s: %w", c.name, at.key, err)
	}
	if !s.found || s.entry.Revision != want {
		return 0, &RevisionError{Cache: c.name, Key: at.key, Want: want, Current: s.entry.Revision}
	}
	return s.seq, nil
}
