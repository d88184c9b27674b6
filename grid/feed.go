package grid

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	broken  error  // why the feed does not run at the moment
	epoch   uint64 // how often the connection had been made anew when the session began
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
	if f.broken == nil && f.epoch != f.t.g.feeds.Stats().Reconnects {
		return errLost
	}
	return f.broken
}

// errFeed is why a session ends that is begun anew, and errLost the most common reason.
var (
	errFeed = errors.New("the feed was interrupted")
	errLost = fmt.Errorf("%w: the connection was lost", errFeed)
)

// session reads the stream until something breaks.
func (f *feed) session() error {
	g, p := f.t.g, f.t.p
	lost, epoch := g.lost(), g.feeds.Stats().Reconnects
	if !g.feeds.IsConnected() {
		return errLost
	}
	setup, cancel := context.WithTimeout(until(f.stopped), g.cfg.Timeout)
	defer cancel()
	last, err := f.prepare(setup)
	if err != nil {
		return err
	}
	if last > f.at()+catchUp {
		if err := f.catchUp(until(f.stopped), last); err != nil {
			return err
		}
	}
	s := &session{f: f, end: make(chan error, 1)}
	inbox := g.feeds.NewInbox()
	sub, err := g.feeds.Subscribe(inbox, s.take)
	if err != nil {
		return fmt.Errorf("feed partition %d: %w", p.number, connError(err))
	}
	defer func() {
		// The connection may be gone: what Unsubscribe says of it does not matter.
		_ = sub.Unsubscribe()
	}()
	if err := sub.SetPendingLimits(feedMessages, feedBytes); err != nil {
		return fmt.Errorf("feed partition %d: %w", p.number, connError(err))
	}
	from := uint64(f.at()) + 1
	s.last = last
	setup, cancel = context.WithTimeout(until(f.stopped), g.cfg.Timeout)
	defer cancel()
	consumer, err := g.js.CreatePushConsumer(setup, p.stream, jetstream.ConsumerConfig{
		DeliverSubject: inbox, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, IdleHeartbeat: feedHeartbeat,
		InactiveThreshold: 5 * feedHeartbeat, Description: "Millrace feed",
	})
	if err != nil {
		return fmt.Errorf("feed partition %d: %w", p.number, apiError(err))
	}
	defer f.deleteConsumer(consumer.CachedInfo().Name)
	if info := consumer.CachedInfo(); info.NumPending == 0 && info.Delivered.Consumer == 0 {
		f.caughtUp(last)
	}
	f.mu.Lock()
	f.broken, f.epoch = nil, epoch
	f.mu.Unlock()
	return s.wait(f.stopped, lost)
}

// deleteConsumer ends the server's side of a session at once; without it the server does so a while later.
func (f *feed) deleteConsumer(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := f.t.g.js.DeleteConsumer(ctx, f.t.p.stream, name); err != nil {
		f.t.g.cfg.Logger.Debug("end a feed", "stream", f.t.p.stream, "error", err)
	}
}

// prepare returns where the stream ends. A stream that was lost with its server's memory is made anew, and the index with
// it.
func (f *feed) prepare(ctx context.Context) (last Sequence, err error) {
	g, p := f.t.g, f.t.p
	stream, err := g.js.Stream(ctx, p.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = g.makeStream(ctx, p); err == nil {
			stream, err = g.js.Stream(ctx, p.stream)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("open stream %s: %w", p.stream, apiError(err))
	}
	state := stream.CachedInfo().State
	born := stream.CachedInfo().Created.UnixNano()
	x := f.t.index
	x.mu.Lock()
	another := x.born != 0 && x.born != born
	x.born = born
	x.mu.Unlock()
	p.flow.of(born)
	if another {
		f.startOver()
	}
	if state.Msgs == 0 {
		f.caughtUp(Sequence(state.LastSeq))
	}
	return Sequence(state.LastSeq), nil
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
	consumer, err := g.events.OrderedConsumer(ctx, p.stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(f.at()) + 1, HeadersOnly: true,
	})
	if err != nil {
		return fmt.Errorf("read partition %d: %w", p.number, apiError(err))
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(4096))
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
		in.readHeaders(m.Headers())
		f.t.take(m.Subject(), &in, nil)
		if in.seq+catchUp/2 >= last || meta.NumPending == 0 {
			return nil
		}
	}
}

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

// session is one push consumer's messages. take is called on one goroutine.
type session struct {
	f        *feed
	last     Sequence // where the stream ended when it began
	caughtUp bool
	count    uint64 // of messages so far
	end      chan error
	mu       sync.Mutex
	heard    bool // since the last look
}

func (s *session) fail(err error) {
	select {
	case s.end <- err:
	default:
	}
}

// take is called with one pushed message after the other.
func (s *session) take(m *nats.Msg) {
	s.mu.Lock()
	s.heard = true
	s.mu.Unlock()
	if len(m.Data) == 0 && len(m.Header) > 0 && status(m) != "" {
		s.hear(m)
		return
	}
	d, ok := parseDelivery(m.Reply)
	if !ok {
		s.fail(fmt.Errorf("%w: a message without number: %q", errFeed, m.Reply))
		return
	}
	if s.count++; d.number != s.count {
		s.fail(fmt.Errorf("%w: message %d came as number %d", errFeed, d.number, s.count))
		return
	}
	in := message{seq: d.seq, at: d.at, size: len(m.Data)}
	in.readHeaders(m.Header)
	s.f.t.take(m.Subject, &in, m.Data)
	if !s.caughtUp && (d.seq >= s.last || d.pending == 0) {
		s.caughtUp = true
		s.f.caughtUp(s.last)
	}
}

// hear reads what the server says beside messages: how many it sent, and how far in the stream it has come. What was purged
// there is passed over without a message.
func (s *session) hear(m *nats.Msg) {
	if code := status(m); code != "100" {
		s.fail(fmt.Errorf("%w: the server says %s %s", errFeed, code, first(m.Header, "Description")))
		return
	}
	sent, err := strconv.ParseUint(first(m.Header, "Nats-Last-Consumer"), 10, 64)
	if err != nil {
		return
	}
	if sent != s.count {
		s.fail(fmt.Errorf("%w: the server sent %d messages, %d came", errFeed, sent, s.count))
		return
	}
	if last, err := strconv.ParseUint(first(m.Header, "Nats-Last-Stream"), 10, 64); err == nil {
		x := s.f.t.index
		x.mu.Lock()
		x.advance(Sequence(last))
		x.mu.Unlock()
	}
}

// wait returns why the session is over.
func (s *session) wait(stopped, lost <-chan struct{}) error {
	ticker := time.NewTicker(2*feedHeartbeat + feedHeartbeat/2)
	defer ticker.Stop()
	for {
		select {
		case err := <-s.end:
			return err
		case <-lost:
			return errLost
		case <-stopped:
			return nil
		case <-ticker.C:
			s.mu.Lock()
			heard := s.heard
			s.heard = false
			s.mu.Unlock()
			if !heard {
				return fmt.Errorf("%w: the server is silent", errFeed)
			}
		}
	}
}

// delivery is what the server says of a pushed message in its reply subject,
// $JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.number.time.pending[.token].
type delivery struct {
	seq     Sequence
	number  uint64 // of this message to its consumer
	at      time.Time
	pending uint64
}

func parseDelivery(reply string) (delivery, bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return delivery{}, false
	}
	skip := 3 // stream, consumer, deliveries
	if dots := strings.Count(rest, "."); dots > 6 {
		skip = 5
	} else if dots < 6 {
		return delivery{}, false
	}
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var n [4]uint64
	for i := range n {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		var err error
		if n[i], err = strconv.ParseUint(token, 10, 64); err != nil {
			return delivery{}, false
		}
	}
	return delivery{seq: Sequence(n[0]), number: n[1], at: time.Unix(0, int64(n[2])), pending: n[3]}, true
}

// take puts one stored message into the index and hands its change to who takes it. The value is read only while take
// runs.
func (t *tenure) take(subject string, m *message, value []byte) {
	x := t.index
	cache, key, ok := t.p.parse(subject)
	now := t.g.cfg.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.advance(m.seq)
	if !ok {
		return // not an entry: the grid's own, or some NATS client's
	}
	kind := x.apply(cache, key, m, now)
	if kind == 0 {
		return
	}
	if takers := t.p.hub.of(cache); takers != nil && t.offering {
		c := change{seq: m.seq, kind: kind}
		if takers.values && m.kind == kindValue {
			c.entry = m.entry(cache, key, append(make([]byte, 0, len(value)), value...))
		} else {
			c.entry = Entry{Cache: cache, Key: key, Revision: m.revision, Created: m.at}
		}
		takers.offer(t.p.number, c)
	}
	if len(x.overdue) > 0 {
		t.g.wakeSweeper()
	}
}

// parse splits an entry's subject. The reserved subjects of the partition are none.
func (p *partition) parse(subject string) (cache, key string, ok bool) {
	if len(subject) <= len(p.prefix) || subject[:len(p.prefix)] != p.prefix {
		return "", "", false
	}
	cache, token, ok := strings.Cut(subject[len(p.prefix):], ".")
	if !ok || cache == reserved {
		return "", "", false
	}
	key, err := Unescape(token)
	return cache, key, err == nil
}
