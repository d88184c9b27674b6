package grid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// A dump is what a partition has at one sequence: its messages in their order, read from the stream itself. A stream has the last message
// of each key, so one that is overwritten before the dump comes to it is missing there and comes later. What was read up to a sequence is
// what the partition had at it only where nothing behind that sequence had been written by then: a dump ends where the stream ends.

// Kept is a message of a partition as a dump has it. Its header, its value and its strings belong to whoever gets it.
type Kept struct {
	// Cache and Key name an entry or what was removed; Reader, in place of Key, the position of a reader of Cache.
	Cache, Key, Reader string
	Sequence           Sequence
	Time               time.Time
	// Header has the headers of the message that mean something in another grid.
	Header map[string]string
	Value  []byte
}

// keptHeaders are the headers that a dump keeps.
var keptHeaders = []string{
	headerOperation, headerMarker, headerTTL, HeaderType, HeaderLifespan, HeaderIdle, HeaderLabels, HeaderRevision, HeaderSource, HeaderStub,
	HeaderCreated, HeaderReason, HeaderDamaged,
}

// DumpOptions say what a dump does with values that are in a store.
type DumpOptions struct {
	// SkipCold leaves them there: the dump has stubs, which are worth something only with that store.
	SkipCold bool
	// Lost is called for an entry whose value the store does not have; it is left out.
	Lost func(cache, key string, err error)
}

// DumpEnd says of which moment a dump is.
type DumpEnd struct {
	Sequence Sequence
	Time     time.Time
}

const (
	// dumpTogether and dumpBytes bound what a dump holds while values come from a store.
	dumpTogether = 64
	dumpBytes    = 16 << 20
	// dumpPull is what the server sends before it is asked for more; the largest message fits.
	dumpPull = 16 << 20
	// dumpQuiet is how long nothing comes until it is asked whether there is more.
	dumpQuiet = 250 * time.Millisecond
	// dumpAnew is after how many such times another consumer is tried.
	dumpAnew = 8
	// dumpTries is how often the end may move on until this node holds its own writes, for dumpHold at most.
	dumpTries = 8
	dumpHold  = 200 * time.Millisecond
)

// Classes returns the classes of caches that are in use.
func (g *Grid) Classes() []Class {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []Class{Durable}
	if g.classes[Volatile] != nil {
		out = append(out, Volatile)
	}
	return out
}

// DumpSize returns how many messages a partition has, and their bytes, which are about what Dump gives.
func (g *Grid) DumpSize(ctx context.Context, class Class, partition int) (messages, bytes int64, err error) {
	p, err := g.partitionOf(ctx, class, partition)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	state, err := g.stateOf(ctx, p)
	return int64(state.Msgs), int64(state.Bytes), err
}

// Dump gives what a partition has, in the order of its stream; a key that is written meanwhile may come more than once, and the last
// counts. Where it returns nil, that is what the partition had at the sequence that it returns. What take returns ends it.
// A partition whose writers are faster than take for good is not done before they pause.
func (g *Grid) Dump(ctx context.Context, class Class, partition int, o DumpOptions, take func(Kept) error) (DumpEnd, error) {
	p, err := g.partitionOf(ctx, class, partition)
	if err != nil {
		return DumpEnd{}, err
	}
	d := &dump{g: g, p: p, o: o, take: take}
	if err := d.run(ctx); err != nil {
		return DumpEnd{}, fmt.Errorf("read %s partition %d: %w", class, partition, err)
	}
	return DumpEnd{Sequence: d.last, Time: d.at}, nil
}

func (g *Grid) partitionOf(ctx context.Context, class Class, partition int) (*partition, error) {
	parts, err := g.class(ctx, class)
	if err != nil {
		return nil, err
	}
	if partition < 0 || partition >= len(parts) {
		return nil, fmt.Errorf("%w: there is no partition %d of %d", ErrConfig, partition, len(parts))
	}
	return parts[partition], nil
}

func (g *Grid) stateOf(ctx context.Context, p *partition) (jetstream.StreamState, error) {
	stream, err := g.stream(ctx, p)
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return stream.CachedInfo().State, nil
}

// dump is one Dump under way.
type dump struct {
	g    *Grid
	p    *partition
	o    DumpOptions
	take func(Kept) error

	last  Sequence // what was read up to
	at    time.Time
	moved int // how often the end was met, and had moved on

	// waiting has what was read and not given yet, because values before it come from a store.
	waiting      []dumped
	waitingBytes int
	colds        int

	held   func() // ends the holding of writes; nil where nothing is held
	holder *time.Timer
}

// dumped is a message with what is known of it where its value is in a store.
type dumped struct {
	kept Kept
	cold *stored
	out  bool // it is left out
}

func (d *dump) run(ctx context.Context) error {
	if err := d.askEnd(ctx, true); err != nil || !d.at.IsZero() {
		return err
	}
	messages, err := d.messages(ctx)
	if err != nil {
		return err
	}
	defer func() { messages.Stop() }()
	defer d.release()
	for quiet := 0; d.at.IsZero(); {
		m, err := messages.Next(jetstream.NextMaxWait(dumpQuiet))
		switch {
		case errors.Is(err, nats.ErrTimeout):
			if err := d.flush(ctx); err != nil {
				return err
			}
			if err := d.askEnd(ctx, true); err != nil {
				return err
			}
			// A consumer is on any of a cluster's nodes. After a stream's promotion one was seen that gave nothing: another one is tried.
			if quiet++; quiet%dumpAnew == 0 && d.at.IsZero() {
				d.g.cfg.Logger.Debug("a dump reads on by another consumer", "stream", d.p.stream, "after", d.last)
				anew, err := d.messages(ctx)
				if err != nil {
					return err
				}
				messages.Stop()
				messages = anew
			}
			continue
		case err != nil:
			return apiError(err)
		}
		quiet = 0
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.read(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// messages begins to read the stream behind what was read. Its reads are long, and must not stand before those of clients.
func (d *dump) messages(ctx context.Context) (jetstream.MessagesContext, error) {
	from := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if d.last > 0 {
		from = jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(d.last) + 1}
	}
	consumer, err := d.g.events.OrderedConsumer(ctx, d.p.stream, from)
	if err != nil {
		return nil, apiError(err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(dumpPull))
	if err != nil {
		return nil, apiError(err)
	}
	return messages, nil
}

// read takes one message.
func (d *dump) read(ctx context.Context, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	d.last = Sequence(meta.Sequence.Stream)
	if k, ok := d.keep(m, meta); ok {
		if err := d.add(k, m); err != nil {
			return err
		}
	}
	if meta.NumPending > 0 && d.colds < dumpTogether && len(d.waiting) < 16*dumpTogether && d.waitingBytes < dumpBytes && d.colds > 0 {
		return nil
	}
	if err := d.flush(ctx); err != nil || meta.NumPending > 0 {
		return err
	}
	return d.askEnd(ctx, false)
}

// keep is a message as the dump has it. It is false for what is no entry's and no reader's.
func (d *dump) keep(m jetstream.Msg, meta *jetstream.MsgMetadata) (Kept, bool) {
	k := Kept{Sequence: Sequence(meta.Sequence.Stream), Time: meta.Timestamp, Value: m.Data()}
	if reader, ok := strings.CutPrefix(m.Subject(), d.p.subject(reserved, readerToken+".")); ok {
		k.Cache, k.Reader, ok = strings.Cut(reader, ".")
		return k, ok
	}
	var ok bool
	if k.Cache, k.Key, ok = d.p.parse(m.Subject()); !ok {
		return k, false
	}
	for _, name := range keptHeaders {
		if v := m.Headers()[name]; len(v) > 0 {
			if k.Header == nil {
				k.Header = make(map[string]string, 4)
			}
			k.Header[name] = v[0]
		}
	}
	return k, true
}

// add puts a message to those that wait.
func (d *dump) add(k Kept, m jetstream.Msg) error {
	one := dumped{kept: k}
	if _, stub := k.Header[HeaderStub]; stub && !d.o.SkipCold {
		in := message{seq: k.Sequence, at: k.Time}
		in.readHeaders(appendHeader(nil, m.Headers()))
		if in.kind == kindStub {
			s := stored{seq: in.seq, at: in.at, revision: in.revision, kind: in.kind, size: in.size, found: true, cold: true}
			s.entry = in.entry(k.Cache, k.Key, nil)
			if e := s.entry.Expires; e.IsZero() || d.g.cfg.Now().Before(e) {
				one.cold = &s
				d.colds++
				d.waitingBytes += s.size
			}
		}
	}
	d.waiting = append(d.waiting, one)
	d.waitingBytes += len(k.Value)
	return nil
}

// flush gives what waits, with the values that are in a store.
func (d *dump) flush(ctx context.Context) error {
	if d.colds > 0 {
		if err := d.load(ctx); err != nil {
			return err
		}
	}
	for i := range d.waiting {
		if d.waiting[i].out {
			continue
		}
		if err := d.take(d.waiting[i].kept); err != nil {
			return err
		}
	}
	clear(d.waiting)
	d.waiting, d.waitingBytes, d.colds = d.waiting[:0], 0, 0
	return nil
}

// load reads the values of cold entries that wait.
func (d *dump) load(ctx context.Context) error {
	loads, ctx := errgroup.WithContext(ctx)
	loads.SetLimit(loadsAtOnce)
	var lost sync.Mutex
	for i := range d.waiting {
		one := &d.waiting[i]
		if one.cold == nil {
			continue
		}
		loads.Go(func() error {
			c, err := d.g.Cache(ctx, one.kept.Cache)
			if errors.Is(err, ErrNoCache) {
				one.out = true // it was deleted
				return nil
			}
			if err != nil {
				return err
			}
			at := c.placeOf(one.kept.Key)
			limited, cancel := d.g.limited(ctx)
			defer cancel()
			value, err := c.load(limited, at, *one.cold, false)
			if errors.Is(err, ErrNotFound) || errors.Is(err, ErrLost) {
				one.out = true
				now, readErr := c.read(limited, at, false)
				if readErr != nil {
					return readErr
				}
				if now.seq == one.cold.seq && d.o.Lost != nil { // else it was written since, and comes later
					lost.Lock()
					defer lost.Unlock()
					d.o.Lost(c.name, at.key, fmt.Errorf("%w: the store does not have revision %d", ErrLost, one.cold.revision))
				}
				return nil
			}
			if err != nil {
				return err
			}
			one.kept.Value = value
			delete(one.kept.Header, HeaderStub)
			delete(one.kept.Header, headerOperation)
			return nil
		})
	}
	return loads.Wait()
}

// askEnd notes that the dump is whole where the stream ends at what was read. Quiet says that nothing came for a while: then what the stream had
// behind may have been an old marker, which is gone.
func (d *dump) askEnd(ctx context.Context, quiet bool) error {
	limited, cancel := d.g.limited(ctx)
	defer cancel()
	now := d.g.cfg.Now()
	state, err := d.g.stateOf(limited, d.p)
	if err != nil {
		return err
	}
	end := Sequence(state.LastSeq)
	if end == d.last || quiet && (state.Msgs == 0 || d.last > 0 && d.nothingBehind(limited)) {
		d.last, d.at = end, now
		return nil
	}
	if d.moved++; !quiet && d.moved%dumpTries == 0 {
		return d.hold(limited)
	}
	return nil
}

// nothingBehind reports whether the stream has no message behind what was read.
func (d *dump) nothingBehind(ctx context.Context) bool {
	stream, err := d.g.js.Stream(ctx, d.p.stream)
	if err != nil {
		return false
	}
	_, err = stream.GetMsg(ctx, uint64(d.last)+1, jetstream.WithGetMsgSubject(">"))
	return errors.Is(err, jetstream.ErrMsgNotFound)
}

// hold keeps this node's writes to the partition waiting for a moment, in which the end stands still. Those of other nodes go on; their
// pauses are met in the end.
func (d *dump) hold(ctx context.Context) error {
	d.release()
	if err := d.p.flow.flight.Acquire(ctx, flightMax); err != nil {
		return contextError(ctx)
	}
	var once sync.Once
	d.held = func() { once.Do(func() { d.p.flow.flight.Release(flightMax) }) }
	d.holder = time.AfterFunc(dumpHold, d.held)
	return nil
}

// release ends hold.
func (d *dump) release() {
	if d.held != nil {
		d.holder.Stop()
		d.held()
		d.held = nil
	}
}
