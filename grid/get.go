package grid

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const directGet = "$JS.API.DIRECT.GET."

// stored is what a partition's stream has for a key.
type stored struct {
	entry Entry
	seq   uint64 // of the message, marker or not; 0 for none
	found bool   // whether it is an entry that is not over
}

// Get returns an entry, or ErrNotFound. It sees every write that was acknowledged before it began.
func (c *Cache) Get(ctx context.Context, key string) (Entry, error) {
	if err := checkKey(key); err != nil {
		return Entry{}, fmt.Errorf("get from %s: %w", c.name, err)
	}
	if err := c.usable(); err != nil {
		return Entry{}, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	s, err := c.read(ctx, key, true)
	if err != nil {
		return Entry{}, fmt.Errorf("get %s/%s: %w", c.name, key, err)
	}
	if !s.found {
		c.counters.misses.Add(1)
		return Entry{}, fmt.Errorf("%w: %s/%s", ErrNotFound, c.name, key)
	}
	c.counters.hits.Add(1)
	return s.entry, nil
}

// read asks the partition's stream for a key's last message. Where that is a use of the entry it
// extends its idle time.
func (c *Cache) read(ctx context.Context, key string, use bool) (stored, error) {
	p := c.part(key)
	m, err := c.grid.asks.read(ctx, directGet+p.stream+"."+p.subject(c.name, key))
	if err != nil {
		return stored{}, err
	}
	return c.stored(p, key, m, use)
}

func (p *part) subject(cache, key string) string { return p.prefix + cache + "." + Escape(key) }

// stored reads the answer to a direct get.
func (c *Cache) stored(p *part, key string, m *nats.Msg, use bool) (stored, error) {
	switch s := status(m); s {
	case "":
	case "404":
		return stored{}, nil
	default:
		return stored{}, fmt.Errorf("%w: the stream answers %s %s", ErrUnavailable, s, first(m.Header, "Description"))
	}
	seq, err := strconv.ParseUint(first(m.Header, headerSequence), 10, 64)
	if err != nil {
		return stored{}, fmt.Errorf("%w: an answer without sequence", ErrUnavailable)
	}
	at, err := time.Parse(time.RFC3339Nano, first(m.Header, headerTime))
	if err != nil {
		return stored{}, fmt.Errorf("%w: an answer without time", ErrUnavailable)
	}
	s := stored{seq: seq}
	if kindOf(m.Header) != kindValue {
		return s, nil
	}
	s.entry = decode(c.name, key, m.Header, m.Data, seq, at)
	now := c.grid.cfg.Now()
	s.found = s.entry.Expires.IsZero() || now.Before(s.entry.Expires)
	if s.found && s.entry.MaxIdle > 0 {
		s.found = p.touch(c.name, key, seq, now, use)
	}
	if !s.found {
		s.entry = Entry{}
	}
	return s, nil
}

// touch looks whether an entry's idle time is over, and if not extends it where that is a use.
func (p *part) touch(cache, key string, seq uint64, now time.Time, use bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(now)
	s := p.spaces[cache]
	if s == nil {
		return p.seq < seq
	}
	r, ok := s.records[key]
	if !ok {
		// The feed has yet to bring it; or it is over, and its marker was forgotten since the message was read.
		return p.seq < seq
	}
	if r.seq < seq {
		return true
	}
	if r.state != stateLive {
		return false // over; or its marker came after the message was read
	}
	if use && r.seq == seq {
		s.idle[key] = now
	}
	return true
}

// GetMany returns the entries that are there for keys, in the order of keys; those that are not
// are left out. The requests are under way together.
func (c *Cache) GetMany(ctx context.Context, keys []string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := c.usable(); err != nil {
			yield(Entry{}, err)
			return
		}
		for _, key := range keys {
			if err := checkKey(key); err != nil {
				yield(Entry{}, fmt.Errorf("get from %s: %w", c.name, err))
				return
			}
		}
		for len(keys) > 0 {
			some := keys[:min(len(keys), readAhead)]
			keys = keys[len(some):]
			answers, err := c.readMany(ctx, some, true)
			if err != nil {
				yield(Entry{}, fmt.Errorf("get from %s: %w", c.name, err))
				return
			}
			for _, s := range answers {
				if !s.found {
					c.counters.misses.Add(1)
					continue
				}
				c.counters.hits.Add(1)
				if !yield(s.entry, nil) {
					return
				}
			}
		}
	}
}

// readAhead is how many reads are under way together.
const readAhead = 64

// readMany reads up to readAhead keys.
func (c *Cache) readMany(ctx context.Context, keys []string, use bool) ([]stored, error) {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	r := c.grid.asks
	out := make([]stored, len(keys))
	waits := make([]*single, len(keys))
	ids := make([]uint64, len(keys))
	defer func() {
		for i, s := range waits {
			if s != nil {
				r.forget(ids[i])
			}
		}
	}()
	for i, key := range keys {
		s := &single{c: make(chan answerOrError, 1)}
		id, reply, err := r.expect(s, false)
		if err != nil {
			return nil, err
		}
		waits[i], ids[i] = s, id
		p := c.part(key)
		if err := r.nc.PublishRequest(directGet+p.stream+"."+p.subject(c.name, key), reply, nil); err != nil {
			return nil, connError(err)
		}
	}
	for i, s := range waits {
		select {
		case a := <-s.c:
			waits[i] = nil
			if a.err != nil {
				return nil, a.err
			}
			var err error
			if out[i], err = c.stored(c.part(keys[i]), keys[i], a.msg, use); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, contextError(ctx)
		}
	}
	return out, nil
}
