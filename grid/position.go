package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// readerToken begins the reserved subjects of positions: reader.<cache>.<reader>.
const readerToken = "reader"

// position is a reader's place in a partition as it is stored.
type position struct {
	// Position is the sequence up to which everything is done.
	Position Sequence `json:"position"`
	// Again is up to where what was made is made again, after the reader was moved back.
	Again Sequence `json:"again,omitempty"`
	// Fence is the number of the owner that wrote it.
	Fence uint64 `json:"fence,omitempty"`
	// Begun is the number of the owner under which the reader began here; 0 where an older version wrote it.
	Begun uint64 `json:"begun,omitempty"`

	// Removed says that the reader has no position here any more. The record stays: a purge would be undone by a kill.
	Removed bool `json:"removed,omitempty"`

	stored Sequence // of the record itself; 0 for none
}

// none reports whether the reader has no position.
func (at position) none() bool { return at.stored == 0 || at.Removed }

// Position is where a reader stands in a partition.
type Position struct {
	Partition int `json:"partition"`
	// Sequence is up to where everything is done, and End where the stream ends.
	Sequence Sequence `json:"sequence"`
	End      Sequence `json:"end"`
	// Changes is how many keys wait or are under way, and Age how long the oldest of them has waited.
	Changes int64         `json:"changes"`
	Age     time.Duration `json:"age"`
	// Open says that a node reads there now.
	Open bool `json:"open"`
}

func (p *partition) positionSubject(cache, reader string) string {
	return p.subject(reserved, readerToken+"."+cache+"."+reader)
}

func (g *Grid) readPosition(ctx context.Context, p *partition, cache, reader string) (position, error) {
	read := g.readStored
	if p.replicated() {
		read = g.readBehind
	}
	m, seq, err := read(ctx, p, p.positionSubject(cache, reader))
	if err != nil {
		return position{}, fmt.Errorf("read the position of %s in partition %d: %w", reader, p.number, err)
	}
	if seq == 0 {
		return position{}, nil
	}
	var at position
	if err := json.Unmarshal(m.data, &at); err != nil {
		return position{}, fmt.Errorf("%w: the position of %s in partition %d: %q", ErrFormat, reader, p.number, m.data)
	}
	at.stored = seq
	return at, nil
}

// writePosition writes a position in place of the one that it was read as.
func (g *Grid) writePosition(ctx context.Context, p *partition, cache, reader string, at position) (Sequence, error) {
	b, err := json.Marshal(at)
	if err != nil {
		return 0, fmt.Errorf("write the position of %s: %w", reader, err)
	}
	w := write{place: place{partition: p, subject: p.positionSubject(cache, reader)}, value: b, header: make(nats.Header, 1)}
	w.expect(at.stored)
	return g.writeOwn(ctx, w)
}

func (t *tenure) readPosition(ctx context.Context, cache, reader string) (position, error) {
	return t.g.readPosition(ctx, t.p, cache, reader)
}

// lostPosition reports whether a reader that has no position here had one: when the folder was opened, records that are no entry's were lost, and
// elsewhere the reader began before that, under another owner's number. Where the grid has one partition, nothing tells a reader that is new then from one that lost its position:
// it counts as the latter, which runs too much and not too little.
func (t *tenure) lostPosition(ctx context.Context, cache, reader string) (bool, error) {
	if !slices.ContainsFunc(t.g.Damages(), func(d Damage) bool {
		return d.Class == t.p.class && d.Partition == t.p.number && (d.Unknown > 0 || d.Everything)
	}) {
		return false, nil
	}
	c, err := t.g.Cache(ctx, cache)
	if err != nil {
		return false, err
	}
	for _, p := range c.partitions {
		if p == t.p {
			continue
		}
		at, err := t.g.readPosition(ctx, p, cache, reader)
		if err != nil {
			return false, err
		}
		if owner := p.tenure(); !at.none() && (owner == nil || at.Begun < owner.fence) {
			return true, nil
		}
	}
	return len(c.partitions) == 1, nil
}

func (t *tenure) writePosition(ctx context.Context, cache, reader string, at position) (Sequence, error) {
	at.Fence = t.fence
	return t.g.writePosition(ctx, t.p, cache, reader, at)
}

// Positions returns where a reader of a cache stands in each partition. Where its owner never had it open, all that is there waits. A reader that was
// opened nowhere is ErrNoReader.
func (g *Grid) Positions(ctx context.Context, cache, reader string) ([]Position, error) {
	c, err := g.readerOf(ctx, cache, reader)
	if err != nil {
		return nil, err
	}
	out := make([]Position, len(c.partitions))
	known := false
	for i, p := range c.partitions {
		a, err := g.ask(ctx, p, question{Op: askPosition, Cache: cache, Reader: reader})
		if err != nil {
			return nil, fmt.Errorf("position of %s: %w", reader, err)
		}
		if a.Position == nil {
			return nil, fmt.Errorf("%w: the owner of partition %d tells no position of %s", ErrFormat, p.number, reader)
		}
		out[i] = *a.Position
		known = known || !a.Unread
	}
	if !known {
		return nil, fmt.Errorf("%w: %s of cache %s", ErrNoReader, reader, cache)
	}
	return out, nil
}

func (g *Grid) readerOf(ctx context.Context, cache, reader string) (*Cache, error) {
	if !readerName.MatchString(reader) {
		return nil, fmt.Errorf("reader: %w: name %q does not match %s", ErrConfig, reader, readerName)
	}
	return g.Cache(ctx, cache)
}

// Seek says where a reader is moved.
type Seek struct {
	// Now is the end of what is written: what waits is left out. Time is the first change at or after it; zero is the start.
	Now  bool
	Time time.Time
}

// seekTo is a Seek on its way.
type seekTo struct {
	Now  bool      `json:"now,omitempty"`
	Time time.Time `json:"time,omitzero"`
}

// Seek moves a reader of a cache in every partition. What it is moved back over is given out again, the newest change of each
// key, as to be made again.
func (g *Grid) Seek(ctx context.Context, cache, reader string, to Seek) error {
	c, err := g.readerOf(ctx, cache, reader)
	if err != nil {
		return err
	}
	if _, err := g.Positions(ctx, cache, reader); err != nil {
		return err
	}
	for _, p := range c.partitions {
		if _, err := g.ask(ctx, p, question{Op: askSeek, Cache: cache, Reader: reader, To: &seekTo{to.Now, to.Time}}); err != nil {
			return fmt.Errorf("move %s: %w", reader, err)
		}
	}
	return nil
}

// DeleteReader removes a reader's positions. One that is not there is no error. A node that has it open stops reading.
func (g *Grid) DeleteReader(ctx context.Context, cache, reader string) error {
	c, err := g.readerOf(ctx, cache, reader)
	if err != nil {
		return err
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	for _, p := range c.partitions {
		for {
			at, err := g.readPosition(ctx, p, cache, reader)
			if err == nil && !at.none() {
				_, err = g.writePosition(ctx, p, cache, reader, position{Removed: true, stored: at.stored})
			}
			if isWrongSequence(err) && ctx.Err() == nil {
				continue // whoever has it open wrote in between
			}
			if err != nil {
				return fmt.Errorf("delete reader %s: %w", reader, err)
			}
			break
		}
	}
	return nil
}

// answerReader answers a question about a reader.
func (t *tenure) answerReader(ctx context.Context, q question) (answer, error) {
	t.mu.Lock()
	var c *cursor
	for r, have := range t.cursors {
		if r.cfg.Name == q.Reader && r.cfg.Cache == q.Cache {
			c = have
		}
	}
	t.mu.Unlock()
	if q.Op == askPosition {
		at, unread, err := t.describe(ctx, c, q)
		return answer{Fence: t.fence, Position: at, Unread: unread}, err
	}
	target, err := t.find(ctx, q.Cache, *q.To)
	if err != nil {
		return answer{}, err
	}
	if c != nil {
		return answer{Fence: t.fence}, c.seek(ctx, target)
	}
	at, err := t.readPosition(ctx, q.Cache, q.Reader)
	if err != nil {
		return answer{}, err
	}
	at.Removed = false
	at.moveTo(target, t.indexEnd())
	_, err = t.writePosition(ctx, q.Cache, q.Reader, at)
	return answer{Fence: t.fence}, err
}

// moveTo changes a position; what lies between it and where it was, or was to be made again, is made again.
func (at *position) moveTo(target, end Sequence) {
	if target < at.Position {
		at.Again = max(at.Again, min(end, at.Position))
	}
	at.Position = target
}

func (t *tenure) indexEnd() Sequence {
	t.index.mu.Lock()
	defer t.index.mu.Unlock()
	return t.index.seq
}

// lastOwn is the place of the last change, with this node's own writes: what it wrote before is not what comes from now on.
func (t *tenure) lastOwn(ctx context.Context) (Sequence, error) {
	if err := t.settled(ctx); err != nil {
		return 0, err
	}
	return t.indexEnd(), nil
}

// find returns the sequence before the first change that a reader is moved to.
func (t *tenure) find(ctx context.Context, cache string, to seekTo) (Sequence, error) {
	switch {
	case to.Now:
		return t.lastOwn(ctx)
	case to.Time.IsZero():
		return 0, nil
	}
	_, seq, err := t.g.askLeader(ctx, t.p.stream, map[string]any{"next_by_subj": t.p.prefix + cache + ".>", "start_time": to.Time.UTC()})
	switch {
	case err != nil:
		return 0, fmt.Errorf("look for %v: %w", to.Time, err)
	case seq == 0:
		return t.lastOwn(ctx)
	}
	return seq - 1, nil
}

// describe tells where a reader stands; unread where this partition has nothing of it.
func (t *tenure) describe(ctx context.Context, c *cursor, q question) (out *Position, unread bool, err error) {
	if c != nil {
		out, err = c.describe(ctx)
		return out, false, err
	}
	at, err := t.readPosition(ctx, q.Cache, q.Reader)
	if err != nil {
		return nil, false, err
	}
	unread = at.none()
	out = &Position{Partition: t.p.number, Sequence: at.Position}
	t.index.mu.Lock()
	waiting := t.index.changes(q.Cache, "", at.Position, false)
	out.End, out.Changes = t.index.seq, int64(len(waiting))
	t.index.mu.Unlock()
	if len(waiting) == 0 {
		return out, unread, nil
	}
	out.Age, err = t.age(ctx, q.Cache, waiting[0].key)
	return out, unread, err
}

// age is how long a key's last change has waited.
func (t *tenure) age(ctx context.Context, cache, key string) (time.Duration, error) {
	c, err := t.g.Cache(ctx, cache)
	if err != nil {
		return 0, err
	}
	s, err := c.read(ctx, c.placeOf(key), false)
	if err != nil || s.at.IsZero() {
		return 0, err
	}
	return max(0, t.g.cfg.Now().Sub(s.at)), nil
}

// seek moves a cursor. What is given out is waited for, since it is in the order of what comes next.
func (c *cursor) seek(ctx context.Context, target Sequence) error {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.paused = false
		c.mu.Unlock()
		c.r.signal()
	}()
	if !c.waitIdle(ctx) {
		return fmt.Errorf("partition %d: what is under way does not end: %w", c.t.p.number, contextError(ctx))
	}
	end := c.t.indexEnd()
	c.writing.Lock() // a write that is under way would put the former place back
	c.mu.Lock()
	at := c.position
	at.Position = c.reached()
	at.moveTo(target, end)
	for _, it := range c.order {
		it.state = itemOver
	}
	c.order, c.next, c.freed, c.bytes = nil, 0, nil, 0
	clear(c.byKey)
	clear(c.held)
	c.behind, c.missed, c.offered = true, target+1, target
	// The next flush writes, also where the place is the same.
	c.position.Again, c.position.Position = at.Again, ^Sequence(0)
	c.mu.Unlock()
	c.writing.Unlock()
	return c.flush(ctx)
}

// describe tells where the cursor stands.
func (c *cursor) describe(ctx context.Context) (*Position, error) {
	x := c.t.index
	x.mu.Lock()
	c.mu.Lock()
	out := &Position{Partition: c.t.p.number, Sequence: c.reached(), End: x.seq, Open: true, Changes: int64(len(c.byKey) + len(c.flying))}
	var key string
	var since time.Time
	if len(c.order) > 0 {
		key, since = c.order[0].key, c.order[0].at
	}
	if c.behind {
		left := x.changes(c.r.cache.name, "", c.missed-1, false)
		out.Changes += int64(len(left))
		if key == "" && len(left) > 0 {
			key = left[0].key
		}
	}
	c.mu.Unlock()
	x.mu.Unlock()
	switch {
	case key == "":
	case since.IsZero(): // it is not here
		var err error
		if out.Age, err = c.t.age(ctx, c.r.cfg.Cache, key); err != nil {
			return nil, err
		}
	default:
		out.Age = max(0, c.t.g.cfg.Now().Sub(since))
	}
	return out, nil
}

// ErrNoReader says that no reader of this name reads the cache.
var ErrNoReader = errors.New("no such reader")

// ReaderName is a reader of a cache that has positions in the grid.
type ReaderName struct{ Cache, Reader string }

// Readers returns the readers that have positions, by cache and name.
func (g *Grid) Readers(ctx context.Context) ([]ReaderName, error) {
	ctx, cancel := g.limited(ctx)
	defer cancel()
	found := map[ReaderName]bool{}
	g.mu.Lock()
	classes := maps.Clone(g.classes)
	g.mu.Unlock()
	for _, parts := range classes {
		for _, p := range parts {
			prefix := p.subject(reserved, readerToken+".")
			subjects, err := g.subjects(ctx, p.stream, prefix+">")
			if err != nil {
				return nil, fmt.Errorf("list the readers: %w", err)
			}
			for _, subject := range subjects {
				cache, reader, ok := strings.Cut(strings.TrimPrefix(subject, prefix), ".")
				if !ok || found[ReaderName{cache, reader}] {
					continue
				}
				at, err := g.readPosition(ctx, p, cache, reader)
				if err != nil {
					return nil, err
				}
				if !at.none() {
					found[ReaderName{cache, reader}] = true
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b ReaderName) int {
		return cmp.Or(strings.Compare(a.Cache, b.Cache), strings.Compare(a.Reader, b.Reader))
	}), nil
}
