package grid

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Start says where a new reader begins.
type Start string

const (
	// StartAll begins with what is there; the default.
	StartAll Start = "all"
	// StartNew begins with what is written from now on.
	StartNew Start = "new"
)

// ReaderConfig describes a reader.
type ReaderConfig struct {
	// Name is the reader's for ever: [A-Za-z0-9_-]{1,64}. Readers of one name on several nodes share the work by partition.
	Name string
	// Cache is what it reads.
	Cache string
	// Start is where it begins when it is made.
	Start Start
	// SkipCold passes over entries whose values are in a store alone: for who has them written there.
	SkipCold bool
	// MaxPending is how many changes of a partition wait in this process at most; 16,384 if 0. What is over it is read from
	// the grid when its turn comes.
	MaxPending int
}

var readerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

const (
	// readerPendingBytes bounds the values that wait for a reader in one partition.
	readerPendingBytes = 16 << 20
	// readerBatchBytes bounds the values that are given out at a time.
	readerBatchBytes = 16 << 20
)

func (c ReaderConfig) withDefaults() ReaderConfig {
	if c.Start == "" {
		c.Start = StartAll
	}
	if c.MaxPending == 0 {
		c.MaxPending = 1 << 14
	}
	return c
}

// Validate reports every fault at once.
func (c ReaderConfig) Validate() error {
	var faults []error
	if !readerName.MatchString(c.Name) {
		faults = append(faults, fmt.Errorf("name %q does not match %s", c.Name, readerName))
	}
	if c.Start != "" && c.Start != StartAll && c.Start != StartNew {
		faults = append(faults, fmt.Errorf("start %q is neither %s nor %s", c.Start, StartAll, StartNew))
	}
	if c.MaxPending < 0 {
		faults = append(faults, fmt.Errorf("max pending %d must not be negative", c.MaxPending))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("reader: %w: %w", ErrConfig, errors.Join(faults...))
}

// Change is the newest change of an entry that a reader has to deal with.
type Change struct {
	// Entry has the key and the revision; where Type is Updated also the rest. It belongs to who got it.
	Entry Entry
	// Type is Updated for any entry that was written, Removed or Expired for one that is gone.
	Type EventType
	// Partition is the key's, and Fence the number of this node's ownership of it.
	Partition int
	Fence     uint64
	// Time is when it was stored.
	Time time.Time
	// Again says that the reader was moved back: what it made of the change before is to be made once more.
	Again bool

	item *item
}

// Reader is a named, durable place in a cache's changes. It gives out the newest change of each key, from the partitions
// that this node owns, each at least once: what was not done when a node stopped is given out again by the next owner, and
// what was done shortly before a crash too. A key that changes while its change is given out waits until that is done.
// Next is for one goroutine at a time, the rest for any.
type Reader struct {
	g     *Grid
	cfg   ReaderConfig
	cache *Cache
	wake  chan struct{} // there may be something to give out
	ended chan struct{}

	moved   chan struct{} // a position has moved
	urgent  chan struct{} // far enough to be written at once
	flusher sync.WaitGroup

	mu      sync.Mutex
	cursors []*cursor // of the partitions that this node owns
	turn    int       // the cursor that is asked first
	closed  bool
}

// Read opens a reader of a cache, or makes it. A position is kept for each partition under a reserved key of its stream.
func (g *Grid) Read(ctx context.Context, cfg ReaderConfig) (*Reader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cache, err := g.Cache(ctx, cfg.Cache)
	if err != nil {
		return nil, err
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	r := &Reader{
		g: g, cfg: cfg, cache: cache, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		moved: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
	}
	g.mu.Lock()
	for other := range g.readers {
		if other.cfg.Name == cfg.Name && other.cfg.Cache == cfg.Cache {
			g.mu.Unlock()
			return nil, fmt.Errorf("read %s as %s: %w: it is open on this node", cfg.Cache, cfg.Name, ErrConfig)
		}
	}
	closed := g.closed
	if !closed {
		g.readers[r] = struct{}{}
	}
	g.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	r.flusher.Go(r.flush)
	for _, p := range cache.partitions {
		if t := p.tenure(); t != nil {
			if err := r.attach(ctx, t); err != nil && !errors.Is(err, ErrNotOwner) {
				return nil, errors.Join(fmt.Errorf("read %s as %s: %w", cfg.Cache, cfg.Name, err), r.Close(ctx))
			}
		}
	}
	return r, nil
}

// attachReaders begins the partition for every reader of this node.
func (g *Grid) attachReaders(t *tenure) {
	g.mu.Lock()
	var readers []*Reader
	for r := range g.readers {
		if slices.Contains(r.cache.partitions, t.p) {
			readers = append(readers, r)
		}
	}
	g.mu.Unlock()
	for _, r := range readers {
		g.running.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(until(g.done), g.cfg.Timeout)
				err := r.attach(ctx, t)
				cancel()
				if err == nil || errors.Is(err, ErrNotOwner) || errors.Is(err, ErrClosed) || g.isDone() {
					return
				}
				g.cfg.Logger.Warn("a reader cannot begin a partition; it is tried again", "reader", r.cfg.Name, "partition", t.p.number, "error", err)
				if g.settleDown(until(g.done)) != nil {
					return
				}
			}
		})
	}
}

// attach begins a partition that this node owns, where that was not done.
func (r *Reader) attach(ctx context.Context, t *tenure) error {
	t.attaching.Lock()
	defer t.attaching.Unlock()
	t.mu.Lock()
	ended, have := t.ended, t.cursors[r] != nil
	t.mu.Unlock()
	if ended {
		return ErrNotOwner
	}
	if have {
		return nil
	}
	c, err := newCursor(ctx, r, t)
	if err != nil {
		return err
	}
	// It is offered changes before Next can see it: from where the index was read on, none is missed.
	t.p.hub.add(r.cache.name, c)
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.cursors = append(slices.Clip(r.cursors), c)
	}
	r.mu.Unlock()
	if closed {
		c.halt()
		return ErrClosed
	}
	t.mu.Lock()
	ended = t.ended
	if !ended {
		t.cursors[r] = c
		delete(t.readers, r.cache.name) // this one may be new
	}
	t.mu.Unlock()
	if ended {
		c.halt()
		return ErrNotOwner
	}
	r.signal()
	return nil
}

func (r *Reader) detach(c *cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.cursors, c); i >= 0 {
		r.cursors = slices.Delete(slices.Clone(r.cursors), i, i+1)
	}
}

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Next waits for a change, then returns all that are here, up to most or to 16 MiB of values, those of a partition in the order
// of the stream. Each must be given to Done or Undo. After Close it returns ErrClosed. While the grid does not
// answer it waits.
func (r *Reader) Next(ctx context.Context, most int) ([]Change, error) {
	warned := false
	for {
		r.mu.Lock()
		closed, cursors, turn := r.closed, r.cursors, r.turn
		r.turn++
		r.mu.Unlock()
		if closed {
			return nil, fmt.Errorf("reader %s: %w", r.cfg.Name, ErrClosed)
		}
		out, failed := r.gather(ctx, cursors, turn, most, readerBatchBytes)
		if failed != nil && len(out) == 0 && (ctx.Err() != nil || !errors.Is(failed, ErrUnavailable)) {
			return nil, fmt.Errorf("read %s as %s: %w", r.cfg.Cache, r.cfg.Name, failed)
		}
		if len(out) > 0 {
			return out, nil
		}
		if failed != nil { // it passes: the connection is made anew for ever
			if !warned {
				r.g.cfg.Logger.Warn("a reader waits for the grid", "reader", r.cfg.Name, "cache", r.cfg.Cache, "error", failed)
				warned = true
			}
			if err := r.g.settleDown(ctx); err != nil {
				return nil, fmt.Errorf("read %s as %s: %w", r.cfg.Cache, r.cfg.Name, err)
			}
			continue
		}
		select {
		case <-r.wake:
		case <-r.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Take returns at once up to most changes, or up to as many bytes of values, as Next would, where least of them or more are here or the bytes are;
// nothing else. It may be called while another goroutine is in Next.
func (r *Reader) Take(ctx context.Context, least, most, bytes int) ([]Change, error) {
	r.mu.Lock()
	closed, cursors, turn := r.closed, r.cursors, r.turn
	r.turn++
	r.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("reader %s: %w", r.cfg.Name, ErrClosed)
	}
	n, size := r.waiting(cursors)
	if n == 0 || n < least && size < bytes {
		return nil, nil
	}
	out, err := r.gather(ctx, cursors, turn, most, bytes)
	if err != nil && len(out) == 0 {
		return nil, fmt.Errorf("read %s as %s: %w", r.cfg.Cache, r.cfg.Name, err)
	}
	return out, nil
}

// Waiting returns how many changes could be given out now, at least, and the bytes of their values that are in memory. It counts no more than MaxPending
// of a partition.
func (r *Reader) Waiting() (n, bytes int) {
	r.mu.Lock()
	cursors := r.cursors
	r.mu.Unlock()
	return r.waiting(cursors)
}

func (r *Reader) waiting(cursors []*cursor) (n, bytes int) {
	for _, c := range cursors {
		some, of := c.waiting()
		n, bytes = n+some, bytes+of
	}
	return n, bytes
}

// gather takes changes from cursors, beginning with that of the turn. An error that does not pass comes alone: what was taken is given back.
func (r *Reader) gather(ctx context.Context, cursors []*cursor, turn, most, room int) (out []Change, failed error) {
	for i := range cursors {
		if len(out) == most || room <= 0 {
			r.signal() // there may be more
			break
		}
		c := cursors[(turn+i)%len(cursors)]
		some, err := c.take(ctx, most-len(out), &room)
		if err != nil {
			if failed = err; ctx.Err() != nil || !errors.Is(err, ErrUnavailable) {
				r.Undo(out)
				return nil, err
			}
			continue
		}
		out = append(out, some...)
	}
	return out, failed
}

// Done says that changes are dealt with: what was made of them is stored, or refused for good. The reader's positions move
// over them, and are written down within 100 ms or 1,000 changes.
func (r *Reader) Done(changes []Change) { r.settle(changes, (*cursor).done) }

// Undo takes the place of Done for changes that are not dealt with: they are given out again, unless they are overwritten
// first, here or by the partition's next owner.
func (r *Reader) Undo(changes []Change) { r.settle(changes, (*cursor).undo) }

func (r *Reader) settle(changes []Change, how func(*cursor, []*item)) {
	var items []*item
	for i, c := range changes {
		items = append(items, c.item)
		if i+1 == len(changes) || changes[i+1].item.cursor != c.item.cursor {
			how(c.item.cursor, items)
			items = items[:0]
		}
	}
}

const (
	// flushEvery and flushMoved are how far a position may be behind what is done.
	flushEvery = 100 * time.Millisecond
	flushMoved = 1000
)

// flush writes positions down, until Close.
func (r *Reader) flush() {
	for {
		select {
		case <-r.moved:
		case <-r.ended:
			return
		}
		timer := time.NewTimer(flushEvery)
		select {
		case <-timer.C:
		case <-r.urgent:
		case <-r.ended:
			timer.Stop()
			return
		}
		timer.Stop()
		r.mu.Lock()
		cursors := r.cursors
		r.mu.Unlock()
		for _, c := range cursors {
			ctx, cancel := context.WithTimeout(until(r.g.done), r.g.cfg.Timeout)
			if err := c.flush(ctx); err != nil {
				r.g.cfg.Logger.Debug("a position was not written", "reader", r.cfg.Name, "error", err)
			}
			cancel()
		}
	}
}

func (r *Reader) noteMoved(urgent bool) {
	select {
	case r.moved <- struct{}{}:
	default:
	}
	if urgent {
		select {
		case r.urgent <- struct{}{}:
		default:
		}
	}
}

// Close stops giving out changes, and writes the positions down within the context. The reader stays in the grid: what was
// not done comes again when it is opened again.
func (r *Reader) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	cursors := r.cursors
	close(r.ended)
	r.mu.Unlock()
	r.flusher.Wait()
	var errs []error
	for _, c := range cursors {
		c.t.mu.Lock()
		delete(c.t.cursors, r)
		c.t.mu.Unlock()
		errs = append(errs, c.stop(ctx))
	}
	r.g.mu.Lock()
	delete(r.g.readers, r)
	r.g.mu.Unlock()
	return errors.Join(errs...)
}
