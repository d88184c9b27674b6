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
	IfRevision uint64
}

// DeleteOptions go with a removal.
type DeleteOptions struct {
	// IfRevision makes it conditional on the key's present revision; 0 for no condition.
	IfRevision uint64
}

const wrongLastSequence = 10071

// Put writes an entry and returns its revision once it is stored. The value may be used again
// after Put returns. Errors: ErrRevision for a failed condition, ErrFull, ErrTooLarge, ErrKey,
// ErrNoCache, ErrUnavailable.
func (c *Cache) Put(ctx context.Context, key string, value []byte, o PutOptions) (uint64, error) {
	w, err := c.prepare(key, value, o)
	if err != nil {
		return 0, fmt.Errorf("put into %s: %w", c.name, err)
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	if o.IfRevision > 0 {
		if err := c.checkRevision(ctx, w.part, key, o.IfRevision); err != nil {
			return 0, err
		}
		w.expect(o.IfRevision)
	}
	seq, err := c.write(ctx, w)
	if isWrongSequence(err) {
		return 0, c.revisionError(ctx, key, o.IfRevision)
	}
	if err != nil {
		return 0, fmt.Errorf("put %s/%s: %w", c.name, key, err)
	}
	c.counters.puts.Add(1)
	return seq, nil
}

// Create writes an entry whose key has none, else it is ErrExists. IfRevision is not used.
func (c *Cache) Create(ctx context.Context, key string, value []byte, o PutOptions) (uint64, error) {
	w, err := c.prepare(key, value, o)
	if err != nil {
		return 0, fmt.Errorf("create in %s: %w", c.name, err)
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	// What the index knows saves a trip: it may be behind, in which case the condition fails and
	// the stream is asked.
	last, live := w.part.last(c.name, key, c.grid.cfg.Now())
	for asked := false; ; asked = true {
		if live || asked {
			s, err := c.read(ctx, key, false)
			if err != nil {
				return 0, fmt.Errorf("create %s/%s: %w", c.name, key, err)
			}
			if s.found {
				return 0, fmt.Errorf("%w: %s/%s has revision %d", ErrExists, c.name, key, s.entry.Revision)
			}
			last = s.seq
		}
		w.expect(last)
		seq, err := c.write(ctx, w)
		if err == nil {
			c.counters.puts.Add(1)
			return seq, nil
		}
		if !isWrongSequence(err) {
			return 0, fmt.Errorf("create %s/%s: %w", c.name, key, err)
		}
	}
}

// Delete removes an entry and returns the revision of its removal; ErrNotFound where there is
// none, ErrRevision for a failed condition.
func (c *Cache) Delete(ctx context.Context, key string, o DeleteOptions) (uint64, error) {
	if err := checkKey(key); err != nil {
		return 0, fmt.Errorf("delete from %s: %w", c.name, err)
	}
	if err := c.usable(); err != nil {
		return 0, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	p := c.part(key)
	w := write{part: p, subject: p.subject(c.name, key), header: c.grid.removal(), removal: true}
	last, live := p.last(c.name, key, c.grid.cfg.Now())
	for asked := false; ; asked = true {
		if !live || asked {
			s, err := c.read(ctx, key, false)
			if err != nil {
				return 0, fmt.Errorf("delete %s/%s: %w", c.name, key, err)
			}
			if !s.found {
				return 0, fmt.Errorf("%w: %s/%s", ErrNotFound, c.name, key)
			}
			last = s.seq
		}
		if o.IfRevision > 0 && last != o.IfRevision {
			if asked || !live {
				return 0, &RevisionError{Cache: c.name, Key: key, Want: o.IfRevision, Current: last}
			}
			continue // the index may be behind
		}
		w.expect(last)
		seq, err := c.write(ctx, w)
		if err == nil {
			c.counters.deletes.Add(1)
			return seq, nil
		}
		if !isWrongSequence(err) {
			return 0, fmt.Errorf("delete %s/%s: %w", c.name, key, err)
		}
	}
}

func (g *Grid) removal() nats.Header {
	return nats.Header{headerOperation: {"DEL"}, headerTTL: {g.markerSeconds()}}
}

func (g *Grid) markerSeconds() string {
	return strconv.FormatInt(int64(g.markerTTL/time.Second), 10) + "s"
}

// write is one message to a partition.
type write struct {
	part    *part
	subject string
	header  nats.Header
	value   []byte
	removal bool // takes no room
	unread  bool // nobody asks what revision it got
	key     string
}

func (w *write) set(name, value string) {
	if w.header == nil {
		w.header = make(nats.Header, 2)
	}
	w.header[name] = []string{value}
}

// flightMax bounds what is on its way to a partition; a server refuses more than 10,000 messages.
const flightMax = 4096

// weight is the write's share of flightMax.
func (w *write) weight() int64 { return min(1+int64(len(w.value))>>13, flightMax) }

// expect makes the write conditional on the key's last sequence, 0 for none.
func (w *write) expect(seq uint64) { w.set(headerExpected, strconv.FormatUint(seq, 10)) }

// prepare checks a put and makes its message.
func (c *Cache) prepare(key string, value []byte, o PutOptions) (write, error) {
	if err := checkKey(key); err != nil {
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
	p := c.part(key)
	return write{part: p, subject: p.subject(c.name, key), header: h, value: value, key: key}, nil
}

// write publishes a message and waits until it is stored.
func (c *Cache) write(ctx context.Context, w write) (uint64, error) {
	c.writing.RLock()
	defer c.writing.RUnlock()
	if err := c.usable(); err != nil {
		return 0, err
	}
	room, err := c.reserve(ctx, w)
	if err != nil {
		return 0, err
	}
	weight := w.weight()
	if err := w.part.flight.Acquire(ctx, weight); err != nil {
		room.release()
		return 0, contextError(ctx)
	}
	m, err := c.grid.asks.write(ctx, w)
	w.part.flight.Release(weight)
	if err != nil {
		room.release()
		return 0, err
	}
	a, err := parseAck(m.Data)
	if err != nil {
		room.release()
		return 0, apiError(err)
	}
	w.part.wrote(a.seq)
	room.releaseAfter(w.part, a.seq)
	return a.seq, nil
}

func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == wrongLastSequence
}

// checkRevision refuses a condition on the revision of a removal or of an entry that is over,
// which the stream itself would accept.
func (c *Cache) checkRevision(ctx context.Context, p *part, key string, want uint64) error {
	if want <= p.written.Load() {
		if err := p.wait(ctx, want); err != nil {
			return fmt.Errorf("put %s/%s: %w", c.name, key, err)
		}
	}
	if _, live := p.last(c.name, key, c.grid.cfg.Now()); live {
		return nil // the stream compares
	}
	s, err := c.read(ctx, key, false)
	if err != nil {
		return fmt.Errorf("put %s/%s: %w", c.name, key, err)
	}
	if !s.found || s.entry.Revision != want {
		return &RevisionError{Cache: c.name, Key: key, Want: want, Current: s.entry.Revision}
	}
	return nil
}

func (c *Cache) revisionError(ctx context.Context, key string, want uint64) error {
	e := &RevisionError{Cache: c.name, Key: key, Want: want}
	if s, err := c.read(ctx, key, false); err == nil && s.found {
		e.Current = s.entry.Revision
	}
	return e
}

// last returns a key's last sequence as far as the feed has come, and whether it is an entry.
func (p *part) last(cache, key string, now time.Time) (seq uint64, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(now)
	s := p.spaces[cache]
	if s == nil {
		return 0, false
	}
	r := s.records[key]
	return r.seq, r.seq > 0 && r.state == stateLive
}
