package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A grid that takes a backup in is a new one, whose streams begin above every revision that the backup has. So entries keep their revisions,
// whatever the number of partitions: what is written later has higher ones. Until all is there, no node opens it.

// Taking says which backup a new grid is to take in.
type Taking struct {
	// Backup is its name: a restore that was cut short is gone on with by the same one alone.
	Backup string
	// Above is the highest revision that it has.
	Above Sequence
	// ID is what the grid is called for stores; empty for a new id. With that of the backup's grid it goes on with the stores of that grid.
	ID string
}

var (
	// ErrNotNew says that a grid has something already, so that no backup can be taken in.
	ErrNotNew = errors.New("grid is not new")
	// ErrUnfinished says that a grid has a part of a backup.
	ErrUnfinished = errors.New("restore was not finished")
)

// takingKey is where the grid notes that it takes a backup in.
const takingKey = "restore"

// taking is what stands there.
type taking struct {
	Backup string    `json:"backup"`
	Done   time.Time `json:"done,omitzero"`
}

// checkTaking looks whether the grid may be opened: to take a backup in where it is new or has a part of that backup, else where it has no part.
func (g *Grid) checkTaking(ctx context.Context) error {
	want := g.cfg.Taking
	var have taking
	entry, err := g.meta.Get(ctx, takingKey)
	switch {
	case err == nil:
		if err := json.Unmarshal(entry.Value(), &have); err != nil {
			return fmt.Errorf("%w: the grid's note of a restore, %q: %w", ErrFormat, entry.Value(), err)
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return fmt.Errorf("read the grid's description: %w", apiError(err))
	}
	unfinished := have.Backup != "" && have.Done.IsZero()
	switch {
	case want == nil && unfinished:
		return fmt.Errorf("%w: the grid has a part of the backup %s; run millrace restore again, or remove the grid's data", ErrUnfinished, have.Backup)
	case want == nil || unfinished && have.Backup == want.Backup:
		return nil
	case unfinished:
		return fmt.Errorf("%w: it has a part of the backup %s, not of %s; go on with that one, or remove the grid's data", ErrNotNew, have.Backup, want.Backup)
	}
	switch _, err := g.meta.Get(ctx, gridKey); {
	case err == nil:
		return fmt.Errorf("%w: a backup is restored into a grid that was never opened; name another data folder, or another grid.name on a NATS server", ErrNotNew)
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return fmt.Errorf("read the grid's description: %w", apiError(err))
	}
	return g.noteTaking(ctx, taking{Backup: want.Backup})
}

func (g *Grid) noteTaking(ctx context.Context, t taking) error {
	b, err := json.Marshal(t)
	if err == nil {
		_, err = g.meta.Put(ctx, takingKey, b)
	}
	if err != nil {
		return fmt.Errorf("note the restore: %w", apiError(err))
	}
	return nil
}

// A Loader takes dumps into a grid that was opened to take a backup in. It is for one goroutine.
type Loader struct {
	g *Grid
	// positions of readers, by class, cache and reader; of each by the partition that they were in.
	positions map[readerOfClass]map[int]position
	counts    LoadCounts
}

// LoadCounts is what a Loader has done.
type LoadCounts struct {
	Entries int64 `json:"entries"`
	// Expired is what has expired since the backup.
	Expired int64 `json:"expired"`
	// Dropped is messages of caches that are no more.
	Dropped int64 `json:"dropped"`
}

type readerOfClass struct {
	class         Class
	cache, reader string
}

// Loader returns what takes dumps in. The caches have to be there.
func (g *Grid) Loader() (*Loader, error) {
	if g.cfg.Taking == nil {
		return nil, fmt.Errorf("%w: it was not opened to take a backup in", ErrNotNew)
	}
	return &Loader{g: g, positions: map[readerOfClass]map[int]position{}}, nil
}

// loadTime is how long one Load may take: nobody waits for a single one of its writes.
const loadTime = time.Minute

// Load takes in what Dump gave of one partition, in its order; the same again changes nothing. It is ErrFull where there is no room, or as Put's.
func (l *Loader) Load(ctx context.Context, class Class, partition int, some []Kept) error {
	ctx, cancel := context.WithTimeout(ctx, max(loadTime, l.g.cfg.Timeout))
	defer cancel()
	byCache := map[string][]write{}
	for _, k := range some {
		if k.Reader != "" {
			if err := l.position(class, partition, k); err != nil {
				return err
			}
			continue
		}
		c, err := l.g.Cache(ctx, k.Cache)
		if errors.Is(err, ErrNoCache) || err == nil && c.Config().Class != class {
			l.counts.Dropped++
			continue
		}
		if err != nil {
			return err
		}
		w, err := l.write(c, k)
		if err != nil {
			return fmt.Errorf("restore %s/%q: %w", k.Cache, k.Key, err)
		}
		byCache[k.Cache] = append(byCache[k.Cache], w)
	}
	for _, name := range slices.Sorted(maps.Keys(byCache)) {
		c, err := l.g.Cache(ctx, name)
		if err != nil {
			return err
		}
		for i, o := range c.writeMany(ctx, byCache[name], true) {
			if o.err != nil {
				return fmt.Errorf("restore %s/%q: %w", name, byCache[name][i].key, o.err)
			}
		}
	}
	return nil
}

// Counts tells what was done.
func (l *Loader) Counts() LoadCounts { return l.counts }

// write is what a message of a dump becomes here: the same, with its revision and its age, and with what is left of its life.
func (l *Loader) write(c *Cache, k Kept) (write, error) {
	at, err := c.place(k.Key)
	if err != nil {
		return write{}, err
	}
	if len(k.Value) > MaxValueBytes {
		return write{}, fmt.Errorf("%w: value of %d bytes, at most %d", ErrTooLarge, len(k.Value), MaxValueBytes)
	}
	h := make(nats.Header, len(k.Header)+2)
	for _, name := range keptHeaders {
		if v, ok := k.Header[name]; ok {
			h[name] = []string{v}
		}
	}
	in := message{seq: k.Sequence, at: k.Time, size: len(k.Value)}
	in.readHeaders(appendHeader(nil, h))
	if in.revision == 0 || Sequence(in.revision) > l.g.cfg.Taking.Above {
		return write{}, fmt.Errorf("%w: revision %d is above %d, the highest that the backup says it has", ErrFormat, in.revision, l.g.cfg.Taking.Above)
	}
	w := write{place: at, header: h, value: k.Value, own: true}
	w.set(HeaderRevision, strconv.FormatUint(uint64(in.revision), 10))
	w.set(HeaderCreated, strconv.FormatInt(in.at.UnixNano(), 10))
	now := l.g.cfg.Now()
	expires := in.expires()
	switch {
	case in.kind == kindDamaged:
		return w, nil
	case !in.kind.value():
		w.set(headerTTL, ttlSeconds(max(time.Second, l.g.markerTTL-now.Sub(in.at))))
		return w, nil
	case !expires.IsZero() && !now.Before(expires):
		l.counts.Expired++
		return l.expired(w, in), nil
	}
	delete(w.header, headerTTL)
	if in.lifespan > 0 {
		w.set(HeaderLifespan, in.lifespan.String())
		if in.kind == kindValue && serverExpires(in.lifespan) {
			w.set(headerTTL, ttlSeconds(expires.Sub(now)))
		}
	}
	l.counts.Entries++
	return w, l.g.guard.admit(at.partition.class, len(k.Value))
}

// expired is the marker of an entry whose time is over: readers that had the entry before them hear of its end.
func (l *Loader) expired(w write, in message) write {
	w.value = nil
	w.header = nats.Header{
		headerMarker: {"MaxAge"}, headerTTL: {l.g.markerSeconds()},
		HeaderRevision: w.header[HeaderRevision], HeaderCreated: w.header[HeaderCreated],
	}
	w.made(in.source, string(in.reader))
	return w
}

func (l *Loader) position(class Class, partition int, k Kept) error {
	if !cacheName.MatchString(k.Cache) || !readerName.MatchString(k.Reader) {
		return fmt.Errorf("%w: a position of reader %q of cache %q", ErrFormat, k.Reader, k.Cache)
	}
	var at position
	if err := json.Unmarshal(k.Value, &at); err != nil {
		return fmt.Errorf("%w: the position of %s in partition %d: %q", ErrFormat, k.Reader, partition, k.Value)
	}
	of := readerOfClass{class, k.Cache, k.Reader}
	if l.positions[of] == nil {
		l.positions[of] = map[int]position{}
	}
	l.positions[of][partition] = at
	return nil
}

// Finish writes the positions of readers, for which keeps is true, and ends the restore. Of is how many partitions the dumped grid had. Where several of its
// partitions have become one, a reader stands at the least of their positions: what it had done beyond it is given out again, and known by what
// was made of it.
func (l *Loader) Finish(ctx context.Context, of int, keeps func(cache, reader string) bool) error {
	for r, by := range l.positions {
		c, err := l.g.Cache(ctx, r.cache)
		if errors.Is(err, ErrNoCache) || err == nil && c.Config().Class != r.class || !keeps(r.cache, r.reader) {
			continue
		}
		if err != nil {
			return err
		}
		for q, p := range c.partitions {
			at, ok := merged(by, q, len(c.partitions), of)
			if !ok {
				continue
			}
			have, err := l.g.readPosition(ctx, p, r.cache, r.reader)
			if err != nil {
				return err
			}
			at.stored = have.stored
			if _, err := l.g.writePosition(ctx, p, r.cache, r.reader, at); err != nil {
				return fmt.Errorf("restore the position of %s: %w", r.reader, err)
			}
		}
	}
	// Who reads or listens here finds all of it in the index: as events it would come at places that lie behind.
	for _, t := range l.g.tenures() {
		if err := t.settled(ctx); err != nil {
			return fmt.Errorf("partition %d: %w", t.p.number, err)
		}
	}
	return l.g.noteTaking(ctx, taking{Backup: l.g.cfg.Taking.Backup, Done: l.g.cfg.Now()})
}

// merged is where a reader stands in partition q of n, by where it stood in those of the partitions before whose keys are there now: the numbers of
// partitions are powers of two, so that these are the ones that have the same remainder by the lesser.
func merged(by map[int]position, q, n, of int) (out position, ok bool) {
	least := min(n, of)
	first := true
	for p := q % least; p < of; p += least {
		at, has := by[p]
		if at.Removed {
			at, has = position{}, false
		}
		ok = ok || has
		if first {
			out.Position = at.Position
		}
		first = false
		out.Position, out.Again = min(out.Position, at.Position), max(out.Again, at.Again)
	}
	return out, ok
}
