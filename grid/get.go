package grid

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stored is what a partition's stream has for a key.
type stored struct {
	entry Entry
	seq   Sequence // of the message, marker or not; 0 for none
	found bool     // whether it is an entry that is not over
	cold  bool     // whether its value is in a store; size is the value's, there or here
	// loaded says that it was there, and is here now.
	loaded bool
	size   int
	at     time.Time
	// revision is that of the message, a marker's too.
	revision Revision
	kind     kind
	source   Revision // of the change that a reader made it from
	reader   string   // who did
}

// Info is what is known of an entry.
type Info struct {
	// Entry has no value, where a method does not say otherwise.
	Entry Entry
	// Size is that of the value, and Cold says that it is in the store alone.
	Size int
	Cold bool
}

func (s stored) info() Info {
	if s.cold {
		s.entry.Value = nil
	}
	return Info{Entry: s.entry, Size: s.size, Cold: s.cold}
}

// Get returns an entry, ErrNotFound, or ErrDamaged. Which of the writes that were acknowledged before it began it sees the cache's consistency says.
func (c *Cache) Get(ctx context.Context, key string) (Entry, error) {
	s, err := c.get(ctx, key, nil)
	return s.entry, err
}

// GetIf is Get that asks the store for a cold entry's value only if that is wanted, going by what is known of the entry. Otherwise it
// returns a cold entry without its value, which stays in the store; a value that is in memory is there in any case.
func (c *Cache) GetIf(ctx context.Context, key string, wanted func(Info) bool) (Info, error) {
	s, err := c.get(ctx, key, wanted)
	return s.info(), err
}

func (c *Cache) get(ctx context.Context, key string, wanted func(Info) bool) (stored, error) {
	near := c.near.Load()
	if near != nil && !c.gone.Load() {
		if s, ok := near.get(key); ok {
			return s, nil
		}
	}
	at, err := c.place(key)
	if err != nil {
		return stored{}, fmt.Errorf("get from %s: %w", c.name, err)
	}
	if err := c.usable(); err != nil {
		return stored{}, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	var s stored
	var fill nearFill
	if near == nil {
		s, err = c.read(ctx, at, true)
	} else {
		fill = near.begin(at)
		s, err = c.readNear(ctx, at)
	}
	if err == nil && s.cold && (wanted == nil || wanted(s.info())) {
		s, err = c.warm(ctx, at, s, true)
	}
	if err != nil {
		return stored{}, fmt.Errorf("get %s/%s: %w", c.name, key, err)
	}
	if near != nil {
		near.keep(fill, at, s)
	}
	if !s.found {
		c.counters.misses.Add(1)
		return stored{}, fmt.Errorf("%w: %s/%s", s.absent(), c.name, key)
	}
	c.hit(at, s.loaded)
	return s, nil
}

// hit counts a get that found its entry, and notes that it was used.
func (c *Cache) hit(at place, loaded bool) {
	c.counters.hits.Add(1)
	if loaded {
		c.counters.coldHits.Add(1)
	}
	c.used(at)
}

// Stat is Get without the value, which is not asked for. It is no use of the entry.
func (c *Cache) Stat(ctx context.Context, key string) (Info, error) {
	s, err := c.look(ctx, key, false)
	s.entry.Value = nil
	return s.info(), err
}

// Peek is Get that changes nothing: it is no use of the entry, and a cold value that it reads stays in the store alone.
func (c *Cache) Peek(ctx context.Context, key string) (Entry, error) {
	s, err := c.look(ctx, key, true)
	return s.entry, err
}

func (c *Cache) look(ctx context.Context, key string, value bool) (stored, error) {
	at, err := c.place(key)
	if err != nil {
		return stored{}, fmt.Errorf("look at %s: %w", c.name, err)
	}
	if err := c.usable(); err != nil {
		return stored{}, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	s, err := c.read(ctx, at, false)
	if err == nil && s.cold && value {
		s, err = c.warm(ctx, at, s, false)
	}
	if err != nil {
		return stored{}, fmt.Errorf("look at %s/%s: %w", c.name, key, err)
	}
	if !s.found {
		return stored{}, fmt.Errorf("%w: %s/%s", s.absent(), c.name, key)
	}
	return s, nil
}

// absent is why there is no entry.
func (s stored) absent() error {
	if s.kind == kindDamaged {
		return ErrDamaged
	}
	return ErrNotFound
}

// read asks the partition's stream for a key's last message, as the cache's consistency says. Where that is a use of the entry
// it extends its idle time.
func (c *Cache) read(ctx context.Context, at place, use bool) (stored, error) {
	m, seq, err := c.askStream(ctx, at)
	if err != nil || seq == 0 {
		return stored{}, err
	}
	return c.stored(ctx, at, seq, m, use)
}

// stored reads the answer to a direct get.
func (c *Cache) stored(ctx context.Context, at place, seq Sequence, m reply, use bool) (stored, error) {
	value, _ := m.header.Value(headerTime)
	when, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil {
		return stored{}, fmt.Errorf("%w: an answer without time", ErrUnavailable)
	}
	in := message{seq: seq, at: when, size: len(m.data)}
	in.readHeaders(m.header)
	return c.storedOf(ctx, at, &in, m.data, use)
}

// storedOf is what a message means for its key; data is its value, which belongs to the entry then.
func (c *Cache) storedOf(ctx context.Context, at place, in *message, data []byte, use bool) (stored, error) {
	s := stored{seq: in.seq, at: in.at, revision: in.revision, kind: in.kind, source: in.source, reader: string(in.reader), size: in.size}
	if !in.kind.value() {
		return s, nil
	}
	s.cold = in.kind == kindStub
	e := in.entry(c.name, at.key, data)
	now := c.grid.cfg.Now()
	s.found = e.Expires.IsZero() || now.Before(e.Expires)
	if s.found && e.MaxIdle > 0 {
		var err error
		if s.found, err = c.touch(ctx, at, in.seq, use); err != nil {
			return stored{}, err
		}
	}
	if s.found {
		s.entry = e
	}
	return s, nil
}

// touch asks the owner whether an entry's idle time is over, and if not extends it where that is a use.
func (c *Cache) touch(ctx context.Context, at place, seq Sequence, use bool) (bool, error) {
	if t := at.partition.tenure(); t != nil {
		return t.index.touch(c.name, at.key, seq, c.grid.cfg.Now(), use), nil
	}
	a, err := c.grid.ask(ctx, at.partition, question{Op: askTouch, Cache: c.name, Key: []byte(at.key), From: seq, Use: use})
	return a.Live, err
}

// GetMany returns the entries that are there for keys, in the order of keys; those that are not
// are left out. The requests are under way together.
func (c *Cache) GetMany(ctx context.Context, keys []string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := c.usable(); err != nil {
			yield(Entry{}, err)
			return
		}
		places := make([]place, len(keys))
		for i, key := range keys {
			var err error
			if places[i], err = c.place(key); err != nil {
				yield(Entry{}, fmt.Errorf("get from %s: %w", c.name, err))
				return
			}
		}
		for len(places) > 0 {
			some := places[:min(len(places), readAhead)]
			places = places[len(some):]
			answers, err := c.readWarm(ctx, some, true, true)
			if err != nil {
				yield(Entry{}, fmt.Errorf("get from %s: %w", c.name, err))
				return
			}
			for i, s := range answers {
				if !s.found {
					c.counters.misses.Add(1)
					continue
				}
				c.hit(some[i], s.loaded)
				if !yield(s.entry, nil) {
					return
				}
			}
		}
	}
}

// readAhead is how many reads are under way together.
const readAhead = 64

// loadsAtOnce is how many values a caller asks a store for together.
const loadsAtOnce = 16

// readWarm is readMany with the values of cold entries. Back brings those back into memory. Where it is not set, an entry whose
// value is lost is left out, and the log says so: who reads everything is not to stop at it for ever.
func (c *Cache) readWarm(ctx context.Context, places []place, use, back bool) ([]stored, error) {
	out, err := c.readMany(ctx, places, use)
	if err != nil || !slices.ContainsFunc(out, func(s stored) bool { return s.cold && s.found }) {
		return out, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	loads, ctx := errgroup.WithContext(ctx)
	loads.SetLimit(loadsAtOnce)
	for i, s := range out {
		if s.cold && s.found {
			loads.Go(func() (err error) {
				out[i], err = c.warm(ctx, places[i], s, back)
				if !back && errors.Is(err, ErrLost) {
					c.grid.cfg.Logger.Error("an entry is left out", "cache", c.name, "key", places[i].key, "error", err)
					return nil
				}
				return err
			})
		}
	}
	return out, loads.Wait()
}

// readMany reads up to readAhead places.
func (c *Cache) readMany(ctx context.Context, places []place, use bool) ([]stored, error) {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	answers, seqs, err := c.askMany(ctx, places)
	if err != nil {
		return nil, err
	}
	out := make([]stored, len(places))
	for i, m := range answers {
		if seqs[i] == 0 {
			continue
		}
		if out[i], err = c.stored(ctx, places[i], seqs[i], m, use); err != nil {
			return nil, err
		}
	}
	return out, nil
}
