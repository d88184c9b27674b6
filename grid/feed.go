package grid

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid/internal/wire"
)

const (
	// feedMessages and feedBytes are how much waits in this process for a feed.
	feedMessages = 1 << 16
	feedBytes    = 128 << 20
	// feedHeartbeat is how often the server says that a stream is quiet; two that fail to come end a session.
	feedHeartbeat = 2 * time.Second
	// catchUp is how far behind a feed first reads headers alone, at its own pace. What is pushed comes as fast as the
	// server can.
	catchUp = 16384
	// feedAgain is the pause before a session that failed is begun anew.
	feedAgain = 50 * time.Millisecond
)

// feed reads a partition's stream once, for as long as this node owns it, and gives what comes to the index and the hub.
// The server pushes, without acknowledgement: what is lost on the way is noticed by its number, and read again.
type feed struct {
	t     *tenure
	ready chan struct{} // closed when the index has what was in the stream at the beginning
	begun bool          // whether ready is closed

	mu      sync.Mutex
	broken  error // why the feed does not run at the moment
	still   bool  // it waits for the grid's stream to have moved
	line    line  // that the session came over
	stopped chan struct{}
	ended   chan struct{}
	once    sync.Once
}

func newFeed(t *tenure) *feed {
	return &feed{t: t, ready: make(chan struct{}), stopped: make(chan struct{}), ended: make(chan struct{})}
}

// run reads until close. A session that breaks is begun anew from what is in the index.
func (f *feed) run() {
	defer close(f.ended)
	for {
		f.rest()
		err := f.session()
		select {
		case <-f.stopped:
			return
		default:
		}
		f.note(err)
		f.t.g.cfg.Logger.Debug("grid feed begins anew", "stream", f.t.p.stream, "error", err)
		select {
		case <-f.stopped:
			return
		case <-time.After(feedAgain):
		}
	}
}

// rest waits while the feeds are to stand still.
func (f *feed) rest() {
	moved := f.t.g.standstill.Load()
	if moved == nil {
		return
	}
	f.setStill(true)
	select {
	case <-*moved:
	case <-f.stopped:
	}
	f.setStill(false)
}

func (f *feed) setStill(still bool) {
	f.mu.Lock()
	f.still = still
	f.mu.Unlock()
}

func (f *feed) isStill() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.still
}

func (f *feed) close() {
	f.once.Do(func() { close(f.stopped) })
	<-f.ended
}

func (f *feed) note(err error) {
	f.mu.Lock()
	f.broken = err
	f.mu.Unlock()
}

// trouble returns why the feed does not run; nil where it does.
func (f *feed) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.broken != nil:
		return f.broken
	case f.line == nil: // the index may have all there was, and what comes now does not come here
		return errBegins
	case f.line.broken():
		return errLost
	}
	return nil
}

// errFeed is why a session ends that is begun anew, and errLost the most common reason.
var (
	errFeed   = errors.New("the feed was interrupted")
	errLost   = fmt.Errorf("%w: the connection was lost", errFeed)
	errBegins = errors.New("the feed begins")
)

// session reads the stream until something breaks.
func (f *feed) session() error {
	g := f.t.g
	ctx, end := context.WithCancel(until(f.stopped))
	defer end()
	setup, cancel := context.WithTimeout(ctx, g.askFor())
	defer cancel()
	line, err := g.feeds.open(setup)
	if err != nil {
		return err
	}
	defer context.AfterFunc(until(line.lost()), end)() // what was asked has no answer then
	last, waiting, err := f.prepare(setup)
	if err != nil {
		return err
	}
	if waiting > catchUp {
		if err := f.catchUp(ctx, last); err != nil {
			return err
		}
	}
	sub, err := f.subscribe(ctx, line, last)
	if err != nil {
		return err
	}
	defer sub.end()
	if info := sub.consumer.CachedInfo(); info.NumPending == 0 && info.Delivered.Consumer == 0 && (!f.mayLag() || f.at() >= last) {
		f.caughtUp(last)
	}
	f.mu.Lock()
	f.broken, f.line = nil, line
	f.mu.Unlock()
	return sub.session.wait(f.stopped, line.lost())
}

// placeTries is how often a consumer is made until it is on this node. A cluster puts it on any node that has a replica of the stream: with three of
// them, one in 130 is still elsewhere after so many.
const placeTries = 12

// subscription is a session with the server's side of it.
type subscription struct {
	session  *session
	consumer jetstream.PushConsumer
	end      func()
}

// subscribe has the server push the stream, from what the index does not have. In a cluster what pushes is to be beside the owner, or what is stored would
// cross the network once more, and would stop with another node's death.
func (f *feed) subscribe(ctx context.Context, line line, last Sequence) (*subscription, error) {
	g, p := f.t.g, f.t.p
	for try := 1; ; try++ {
		s := &session{f: f, last: last, end: make(chan error, 1)}
		gate := &gate{to: s.take}
		take := s.take
		if g.cfg.Cluster != nil {
			take = gate.take
		}
		inbox := nats.NewInbox()
		stop, err := line.subscribe(inbox, take)
		if err != nil {
			return nil, fmt.Errorf("feed partition %d: %w", p.number, err)
		}
		asking, cancel := context.WithTimeout(ctx, g.askFor())
		consumer, err := g.js.CreatePushConsumer(asking, p.stream, jetstream.ConsumerConfig{
			DeliverSubject: inbox, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(f.at()) + 1,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, IdleHeartbeat: feedHeartbeat,
			InactiveThreshold: 5 * feedHeartbeat, Description: "Millrace feed",
		})
		cancel()
		if err != nil {
			stop()
			return nil, fmt.Errorf("feed partition %d: %w", p.number, apiError(err))
		}
		info := consumer.CachedInfo()
		of := &subscription{session: s, consumer: consumer, end: func() {
			stop()
			f.deleteConsumer(info.Name)
		}}
		if g.cfg.Cluster == nil || try == placeTries || info.Cluster == nil || info.Cluster.Leader == g.cfg.Cluster.Node || !g.replica(p) {
			return of, nil
		}
		gate.shut() // what it pushed is in the index
		of.end()
	}
}

// gate is where messages go through until it is shut.
type gate struct {
	mu   sync.Mutex
	to   func(*wire.Msg)
	over bool
}

func (g *gate) take(m *wire.Msg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.to(m)
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

// deleteConsumer ends the server's side of a session at once; without it the server does so a while later.
func (f *feed) deleteConsumer(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := f.t.g.js.DeleteConsumer(ctx, f.t.p.stream, name); err != nil {
		f.t.g.cfg.Logger.Debug("end a feed", "stream", f.t.p.stream, "error", err)
	}
}

// prepare returns where the stream ends, and about how many messages the index does not have. A stream that was lost with its server's memory is made
// anew, and the index with it.
func (f *feed) prepare(ctx context.Context) (last Sequence, waiting uint64, err error) {
	g, p := f.t.g, f.t.p
	stream, err := g.stream(ctx, p)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = g.makeStream(ctx, p); err == nil {
			stream, err = g.stream(ctx, p)
		}
	}
	if err != nil {
		return 0, 0, err
	}
	state := stream.CachedInfo().State
	born := bornAt(stream)
	x := f.t.index
	x.mu.Lock()
	another := x.born != 0 && x.born != born
	x.born = born
	x.mu.Unlock()
	p.flow.of(born)
	if another {
		f.startOver()
	}
	last = Sequence(state.LastSeq)
	if f.mayLag() && p.class == Durable {
		last = max(last, Sequence(f.t.fence)) // the lease is in there
	}
	if state.Msgs == 0 && last == Sequence(state.LastSeq) {
		f.caughtUp(last)
	}
	if at := f.at(); at < last {
		waiting = min(uint64(last-at), state.Msgs) // sequences begin anywhere, and most of them are overwritten
	}
	return last, waiting, nil
}

// startOver forgets what was in a stream that is gone.
func (f *feed) startOver() {
	f.t.index.reset()
	f.t.rewind()
}

// at is the last sequence that is in the index.
func (f *feed) at() Sequence {
	f.t.index.mu.Lock()
	defer f.t.index.mu.Unlock()
	return f.t.index.seq
}

// catchUp reads headers up to about last. Changes without their values are offered to nobody: who takes them reads the
// index afterwards.
func (f *feed) catchUp(ctx context.Context, last Sequence) error {
	g, p := f.t.g, f.t.p
	asking, cancel := context.WithTimeout(ctx, g.askFor())
	defer cancel()
	consumer, err := g.events.OrderedConsumer(asking, p.stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(f.at()) + 1, HeadersOnly: true,
	})
	if err != nil {
		return fmt.Errorf("read partition %d: %w", p.number, apiError(err))
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(4096), jetstream.PullExpiry(2*feedHeartbeat), jetstream.PullHeartbeat(feedHeartbeat))
	if err != nil {
		return fmt.Errorf("read partition %d: %w", p.number, apiError(err))
	}
	defer messages.Stop()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	f.t.offer(false)
	defer f.t.offer(true)
	for {
		m, err := messages.Next()
		if err != nil {
			return fmt.Errorf("read partition %d: %w", p.number, apiError(err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read partition %d: %w", p.number, err)
		}
		in := message{seq: Sequence(meta.Sequence.Stream), at: meta.Timestamp}
		in.readHeaders(appendHeader(nil, m.Headers()))
		f.t.take(m.Subject(), &in, nil)
		if in.seq+catchUp/2 >= last || meta.NumPending == 0 {
			return nil
		}
	}
}

// mayLag reports whether what pushes may be behind the stream: then it having nothing more to push does not say that there is nothing more. What comes
// afterwards would be taken for something that is known, and nobody would hear of it.
func (f *feed) mayLag() bool { return f.t.g.cfg.Cluster != nil || f.t.p.replicated() }

// caughtUp says that the index has everything up to where the stream ended, or the stream nothing more.
func (f *feed) caughtUp(last Sequence) {
	f.t.index.mu.Lock()
	f.t.index.advance(last)
	f.t.index.mu.Unlock()
	if !f.begun {
		f.begun = true
		close(f.ready)
	}
}
