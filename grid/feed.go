package grid

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// feedBuffer is how much of a stream is under way to a feed.
const (
	feedMessages = 4096
	feedBytes    = 32 << 20
)

// feed reads a partition's stream for as long as the grid is open: it fills the part's index and
// hands events to listeners. There is one a partition, however many listeners there are.
type feed struct {
	g    *Grid
	p    *part
	stop jetstream.ConsumeContext
	// last is where the stream ended when the feed began; ready is closed when that is in.
	last  uint64
	ready chan struct{}
}

func (g *Grid) startFeed(ctx context.Context, p *part) (*feed, error) {
	stream, err := g.events.Stream(ctx, p.stream)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", p.stream, apiError(err))
	}
	state := stream.CachedInfo().State
	f := &feed{g: g, p: p, last: state.LastSeq, ready: make(chan struct{})}
	if state.Msgs == 0 {
		f.caughtUp()
	}
	from := p.seq + 1 // nobody else knows p yet
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from}
	consumer, err := stream.OrderedConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("feed partition %d: %w", p.number, apiError(err))
	}
	f.stop, err = consumer.Consume(f.take,
		jetstream.PullMaxMessagesWithBytesLimit(feedMessages, feedBytes),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			g.cfg.Logger.Debug("grid feed", "stream", p.stream, "error", err)
		}))
	if err != nil {
		return nil, fmt.Errorf("feed partition %d: %w", p.number, apiError(err))
	}
	return f, nil
}

func (f *feed) close() {
	f.stop.Stop()
	<-f.stop.Closed()
}

func (f *feed) caughtUp() {
	f.p.mu.Lock()
	f.p.advance(f.last)
	f.p.mu.Unlock()
	close(f.ready)
}

// take is called with one message after the other.
func (f *feed) take(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		f.g.cfg.Logger.Warn("the grid's feed got a message without metadata", "subject", m.Subject(), "error", err)
		return
	}
	seq := meta.Sequence.Stream
	f.p.take(m.Subject(), m.Headers(), m.Data(), seq, meta.Timestamp, f.g)
	select {
	case <-f.ready:
	default:
		if seq >= f.last || meta.NumPending == 0 {
			f.caughtUp()
		}
	}
}

// take puts one stored message into the index and offers its event.
func (p *part) take(subject string, h nats.Header, value []byte, seq uint64, at time.Time, g *Grid) {
	cache, key, ok := p.parse(subject)
	now := g.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.advance(seq)
	if !ok {
		return // not an entry: some NATS client's own
	}
	e := decode(cache, key, h, value, seq, at)
	s := p.space(cache, g)
	event, visible := p.apply(s, kindOf(h), e, seq, now, g.markerTTL)
	if !visible {
		return
	}
	if event == Expired {
		s.counters.expired.Add(1)
	}
	for _, l := range s.listeners {
		l.offer(p.number, seq, event, e)
	}
	if len(p.overdue) > 0 {
		g.wakeSweeper()
	}
}

// parse splits an entry's subject.
func (p *part) parse(subject string) (cache, key string, ok bool) {
	if len(subject) <= len(p.prefix) || subject[:len(p.prefix)] != p.prefix {
		return "", "", false
	}
	cache, token, ok := strings.Cut(subject[len(p.prefix):], ".")
	if !ok {
		return "", "", false
	}
	key, err := Unescape(token)
	return cache, key, err == nil
}
