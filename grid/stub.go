package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A value that went to a store leaves a stub in its place: a message without value that says what is known of it, and is a purge
// to other clients of the stream. Stubs and values that come back are conditional on the message that they replace, and keep the
// revision: for clients, listeners and readers nothing has changed.

// Cold is an entry whose value is in a store.
type Cold struct {
	// Entry has no value.
	Entry Entry
	Size  int
	// Sequence is that of the stub, and Partition where it is.
	Sequence  Sequence
	Partition int
}

// Resident is an entry whose value is in memory, in a partition that this node owns.
type Resident struct {
	Key       string
	Partition int
	Revision  Revision
	// Sequence is that of its last message.
	Sequence Sequence
	Size     int
}

// Resident returns what is known of a key whose value is in memory, and false where this node does not own it or it is not.
func (c *Cache) Resident(key string) (Resident, bool) {
	at, err := c.place(key)
	if err != nil {
		return Resident{}, false
	}
	r, live, _ := c.guess(at)
	if !live || r.cold {
		return Resident{}, false
	}
	return r.resident(key, at.partition.number), true
}

// Gone reports whether there is no entry at a key, as far as a revision and on. It is for the owner of the key's partition, others get
// ErrNotOwner.
func (c *Cache) Gone(key string, rev Revision) (bool, error) {
	at, err := c.place(key)
	if err != nil {
		return false, err
	}
	t := at.partition.tenure()
	if t == nil {
		return false, ErrNotOwner
	}
	x := t.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false, ErrNotOwner
	}
	x.settle(c.grid.cfg.Now())
	r, ok := x.lookup(c.name, key)
	return x.seq >= Sequence(rev) && !(ok && r.state == stateLive), nil
}

// Demote puts stubs in the place of values that are in the store, and returns what became of each: nil; ErrRevision where the key
// changed; ErrNotOwner; or as Put's. That the store has the revision, and that readers have passed it, is for the caller to know.
func (c *Cache) Demote(ctx context.Context, some []Resident) []error {
	errs := make([]error, len(some))
	var writes []write
	var index []int
	for from := 0; from < len(some); from += readAhead {
		part := some[from:min(from+readAhead, len(some))]
		places := make([]place, len(part))
		for i, r := range part {
			places[i] = c.placeOf(r.Key)
			places[i].least = r.Sequence
		}
		found, err := c.readMany(ctx, places, false)
		for i := range part {
			if err != nil {
				errs[from+i] = err
				continue
			}
			w, err := c.stub(places[i], found[i], part[i])
			if err != nil {
				errs[from+i] = err
				continue
			}
			writes, index = append(writes, w), append(index, from+i)
		}
	}
	return c.replace(ctx, writes, index, some, errs)
}

// Evict ends entries that leave a full cache without a store: listeners get expired events for the reason ReasonEvicted. Its errors
// are Demote's.
func (c *Cache) Evict(ctx context.Context, some []Resident) []error {
	errs := make([]error, len(some))
	writes, index := make([]write, len(some)), make([]int, len(some))
	for i, r := range some {
		at := c.placeOf(r.Key)
		last, _, _ := c.guess(at)
		w := write{place: at, own: true, header: nats.Header{
			headerMarker: {"MaxAge"}, headerTTL: {c.grid.markerSeconds()}, HeaderReason: {ReasonEvicted},
		}}
		w.made(last.source, c.readerName(at, last))
		w.expect(r.Sequence)
		writes[i], index[i] = w, i
	}
	return c.replace(ctx, writes, index, some, errs)
}

// replace publishes what takes the place of values, as the owner of their partitions.
func (c *Cache) replace(ctx context.Context, writes []write, index []int, some []Resident, errs []error) []error {
	now := time.Now()
	kept, keptIndex := writes[:0], index[:0]
	for i, w := range writes {
		if t := w.partition.tenure(); t == nil || !t.valid(now) {
			errs[index[i]] = ErrNotOwner
			continue
		}
		kept, keptIndex = append(kept, w), append(keptIndex, index[i])
	}
	outcomes := c.writeMany(ctx, kept, true)
	for _, p := range c.partitions { // what left memory is not offered to leave again
		if t := p.tenure(); t != nil {
			if err := t.settled(ctx); err != nil && !errors.Is(err, ErrNotOwner) {
				break
			}
		}
	}
	for i, o := range outcomes {
		switch {
		case o.err == nil:
		case isWrongSequence(o.err):
			errs[keptIndex[i]] = &RevisionError{Cache: c.name, Key: kept[i].key, Want: some[keptIndex[i]].Revision}
		default:
			errs[keptIndex[i]] = fmt.Errorf("move %s/%s: %w", c.name, kept[i].key, o.err)
		}
	}
	return errs
}

// stub is the write that puts a stub in the place of a value.
func (c *Cache) stub(at place, s stored, want Resident) (write, error) {
	if !s.found || s.cold || s.seq != want.Sequence || s.entry.Revision != want.Revision {
		return write{}, &RevisionError{Cache: c.name, Key: at.key, Want: want.Revision}
	}
	w, err := c.moved(at, s.entry)
	if err != nil {
		return write{}, err
	}
	// The server would end a stub without a marker, as it takes it for one. The owner ends it.
	delete(w.header, headerTTL)
	w.set(headerOperation, "PURGE")
	w.set(HeaderStub, strconv.Itoa(len(s.entry.Value)))
	w.expect(s.seq)
	return w, nil
}

// moved is the write of an entry, without its value, that keeps revision, age and origin.
func (c *Cache) moved(at place, e Entry) (write, error) {
	h, err := PutOptions{ContentType: e.ContentType, Lifespan: e.Lifespan, MaxIdle: e.MaxIdle, Labels: e.Labels}.headers()
	if err != nil {
		return write{}, fmt.Errorf("move %s/%s: %w", c.name, at.key, err)
	}
	w := write{place: at, header: h, own: true}
	w.set(HeaderRevision, strconv.FormatUint(uint64(e.Revision), 10))
	w.set(HeaderCreated, strconv.FormatInt(e.Created.UnixNano(), 10))
	if e.source.reader != "" {
		w.set(HeaderSource, appendSource(e.source.revision, e.source.fence, e.source.reader))
	}
	return w, nil
}

// Activate puts the value of a cold entry back in the place of its stub. It is ErrRevision where the stub is there no more,
// ErrNotFound where the entry's time is over, ErrNotOwner, or as Put's. Nobody gets an event.
func (c *Cache) Activate(ctx context.Context, cold Cold, value []byte) error {
	e := cold.Entry
	at, err := c.place(e.Key)
	if err != nil {
		return err
	}
	rest := time.Duration(0)
	if !e.Expires.IsZero() {
		if rest = e.Expires.Sub(c.grid.cfg.Now()); rest <= 0 {
			return fmt.Errorf("%w: %s/%s", ErrNotFound, c.name, e.Key)
		}
	}
	if t := at.partition.tenure(); t == nil || !t.valid(time.Now()) {
		return ErrNotOwner
	}
	if err := c.grid.guard.admit(at.partition.class, len(value)); err != nil {
		return err
	}
	w, err := c.moved(at, e)
	if err != nil {
		return err
	}
	if w.header[headerTTL] != nil {
		w.set(headerTTL, ttlSeconds(rest))
	}
	w.value = value
	w.expect(cold.Sequence)
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	seq, err := c.write(ctx, w)
	switch {
	case isWrongSequence(err):
		return &RevisionError{Cache: c.name, Key: e.Key, Want: e.Revision}
	case err != nil:
		return fmt.Errorf("bring back %s/%s: %w", c.name, e.Key, err)
	}
	if t := at.partition.tenure(); t != nil {
		return t.index.wait(ctx, seq)
	}
	return nil
}

// ttlSeconds is a lifespan as the server counts it.
func ttlSeconds(lifespan time.Duration) string {
	return strconv.FormatInt(int64((lifespan+time.Second-1)/time.Second), 10) + "s"
}

// asCold is what a store is asked for with.
func (s stored) asCold(at place) Cold {
	return Cold{Entry: s.entry, Size: s.size, Sequence: s.seq, Partition: at.partition.number}
}

// bringBack answers a node that wants a cold entry in memory, which may be there again.
func (t *tenure) bringBack(ctx context.Context, q question) error {
	c, err := t.g.Cache(ctx, q.Cache)
	if err != nil {
		return err
	}
	at, err := c.place(string(q.Key))
	if err != nil {
		return err
	}
	s, err := c.readLast(ctx, at)
	if err != nil || !s.found || !s.cold || s.seq != q.From {
		return err
	}
	if _, err = c.load(ctx, at, s, true); errors.Is(err, ErrNotFound) {
		return nil // who asks looks again
	}
	return err
}

// Owned returns how many of the cache's partitions this node owns, and how many there are.
func (c *Cache) Owned() (n, of int) {
	for _, p := range c.partitions {
		if p.tenure() != nil {
			n++
		}
	}
	return n, len(c.partitions)
}

// readersFor is how long a partition's list of a cache's readers is good. One that is made meanwhile elsewhere begins with what
// is there, and reads what is cold from the store.
const readersFor = time.Second

// readerList is which readers of a cache have a position in a partition.
type readerList struct {
	at    time.Time
	names []string
}

// Passed returns up to where in a partition every reader of the cache has come, open or not, by the positions that are written
// down; those of open readers are written first. It is ErrNotOwner where this node does not own the partition.
func (c *Cache) Passed(ctx context.Context, partition int) (Sequence, error) {
	t := c.partitions[partition].tenure()
	if t == nil {
		return 0, ErrNotOwner
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	passed := t.indexEnd()
	open := make(map[string]bool)
	var cursors []*cursor
	t.mu.Lock()
	for r, cursor := range t.cursors {
		if r.cfg.Cache == c.name {
			open[r.cfg.Name] = true
			cursors = append(cursors, cursor)
		}
	}
	list := t.readers[c.name]
	t.mu.Unlock()
	for _, cursor := range cursors {
		if err := cursor.flush(ctx); err != nil {
			return 0, err
		}
		passed = min(passed, cursor.passed())
	}
	if time.Since(list.at) > readersFor {
		var err error
		if list, err = t.listReaders(ctx, c.name); err != nil {
			return 0, err
		}
	}
	for _, name := range list.names {
		if open[name] {
			continue
		}
		at, err := t.readPosition(ctx, c.name, name)
		if err != nil {
			return 0, err
		}
		if !at.none() {
			passed = min(passed, at.Position)
		}
	}
	return passed, nil
}

// passed is how far a cursor has come by what is written down.
func (c *cursor) passed() Sequence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.position.Position, c.reached())
}

func (t *tenure) listReaders(ctx context.Context, cache string) (readerList, error) {
	list := readerList{at: time.Now()}
	stream, err := t.g.js.Stream(ctx, t.p.stream)
	if err != nil {
		return list, fmt.Errorf("open stream %s: %w", t.p.stream, apiError(err))
	}
	prefix := t.p.positionSubject(cache, "")
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err == nil && !ofLeader(info) { // one that lags may not know of a reader that has not passed yet
		err = fmt.Errorf("%w: the leader of %s does not answer", ErrUnavailable, t.p.stream)
	}
	if err != nil {
		return list, fmt.Errorf("list the readers of %s: %w", cache, apiError(err))
	}
	for subject := range info.State.Subjects {
		list.names = append(list.names, subject[len(prefix):])
	}
	slices.Sort(list.names)
	t.mu.Lock()
	t.readers[cache] = list
	t.mu.Unlock()
	return list, nil
}
