package grid

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Start says where a new consumer begins.
type Start string

const (
	// StartAll begins with what is there; the default.
	StartAll Start = "all"
	// StartNew begins with what is written from now on.
	StartNew Start = "new"
)

// ackWait is how long a message may be worked on without a mark of progress before it is given out
// again: so that work resumes soon after a crash.
const ackWait = 5 * time.Second

// A request for messages that gets lost is made again when two heartbeats have not come: well within the time in
// which work is to go on. The library's own 30 s and 15 s would let a consumer stand still for half a minute.
const (
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
)

// ConsumerConfig describes a durable consumer.
type ConsumerConfig struct {
	// Name is the consumer's for ever: [A-Za-z0-9_-]{1,64}. Consumers of one name share the work.
	Name string
	// Cache is what it reads.
	Cache string
	// Start is where it begins when it is made.
	Start Start
	// MaxAckPending is how many messages of a partition may be given out without an
	// acknowledgement; 4,096 if 0. It cannot be under 1.
	MaxAckPending int
	// Prefetch is how many messages wait in this process at most; 4,096 if 0.
	Prefetch int
}

var consumerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	if c.Start == "" {
		c.Start = StartAll
	}
	if c.MaxAckPending == 0 {
		c.MaxAckPending = 4096
	}
	if c.Prefetch == 0 {
		c.Prefetch = 4096
	}
	return c
}

// Validate reports every fault at once.
func (c ConsumerConfig) Validate() error {
	var faults []error
	if !consumerName.MatchString(c.Name) {
		faults = append(faults, fmt.Errorf("name %q does not match %s", c.Name, consumerName))
	}
	if c.Start != "" && c.Start != StartAll && c.Start != StartNew {
		faults = append(faults, fmt.Errorf("start %q is neither %s nor %s", c.Start, StartAll, StartNew))
	}
	if c.MaxAckPending < 0 || c.Prefetch < 0 {
		faults = append(faults, fmt.Errorf("max ack pending %d and prefetch %d must not be negative", c.MaxAckPending, c.Prefetch))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("consumer: %w: %w", ErrConfig, errors.Join(faults...))
}

// Message is a change of an entry that a consumer has to deal with.
type Message struct {
	// Entry has the key and the revision; where Type is Updated also the rest.
	Entry Entry
	// Type is Updated for any entry that was written, Removed or Expired for one that is gone.
	Type      EventType
	Partition int
	// Time is when it was stored.
	Time time.Time
	// Deliveries counts how often it was given out, this time included.
	Deliveries uint64

	msg jetstream.Msg
}

// Ack says that the message is dealt with. An acknowledgement that is lost (in a crash) makes the
// message come again.
func (m Message) Ack() error { return m.settle(m.msg.Ack) }

// Nak gives the message back, to come again after a delay.
func (m Message) Nak(delay time.Duration) error {
	return m.settle(func() error { return m.msg.NakWithDelay(delay) })
}

// Progress says that the message is worked on: it comes again 5 s after the last mark.
func (m Message) Progress() error { return connError(m.msg.InProgress()) }

func (m Message) settle(how func() error) error {
	if err := how(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("acknowledge %s/%s: %w", m.Entry.Cache, m.Entry.Key, connError(err))
	}
	return nil
}

// Consumer gives out the changes of a cache from all partitions. It is durable: what was not
// acknowledged comes again, also after a restart.
type Consumer struct {
	g      *Grid
	cfg    ConsumerConfig
	parts  []*part
	wake   chan struct{}
	ended  chan struct{}
	marker sync.WaitGroup

	pulling sync.Mutex // guards pulls and heads
	pulls   []jetstream.ConsumeContext
	heads   []jetstream.Consumer

	mu       sync.Mutex
	queue    []Message
	since    []time.Time // when each was received or marked, like queue
	bytes    int
	space    *sync.Cond // signalled when there is room in queue
	stopping bool       // deliveries are being ended
	closed   bool
}

// prefetchBytes bounds the values that wait in one consumer.
const prefetchBytes = 64 << 20

// Consume makes a durable consumer, or goes on with the one of that name.
func (g *Grid) Consume(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
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
	c := &Consumer{g: g, cfg: cfg, parts: cache.parts, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.space = sync.NewCond(&c.mu)
	c.marker.Go(c.markWaiting)
	if err := c.start(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("consume %s as %s: %w", cfg.Cache, cfg.Name, err)
	}
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.consumers[c] = struct{}{}
	}
	g.mu.Unlock()
	if closed {
		c.Close()
		return nil, ErrClosed
	}
	return c, nil
}

func (c *Consumer) start(ctx context.Context) error {
	c.pulling.Lock()
	defer c.pulling.Unlock()
	policy := jetstream.DeliverAllPolicy
	if c.cfg.Start == StartNew {
		policy = jetstream.DeliverNewPolicy
	}
	for _, p := range c.parts {
		config := jetstream.ConsumerConfig{
			Durable:       c.cfg.Name,
			Description:   "Millrace consumer of " + c.cfg.Cache,
			DeliverPolicy: policy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       ackWait,
			MaxAckPending: c.cfg.MaxAckPending,
			FilterSubject: p.prefix + c.cfg.Cache + ".>",
			MaxWaiting:    64,
		}
		// One that is there keeps its place, and how it began.
		if have, err := c.g.events.Consumer(ctx, p.stream, c.cfg.Name); err == nil {
			was := have.CachedInfo().Config
			config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = was.DeliverPolicy, was.OptStartSeq, was.OptStartTime
			if was.FilterSubject != config.FilterSubject {
				return fmt.Errorf("%w: a consumer of this name reads %s", ErrConfig, was.FilterSubject)
			}
		} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return apiError(err)
		}
		head, err := c.g.events.CreateOrUpdateConsumer(ctx, p.stream, config)
		if err != nil {
			return apiError(err)
		}
		c.heads = append(c.heads, head)
		pull, err := head.Consume(func(m jetstream.Msg) { c.take(p, m) },
			jetstream.PullMaxMessagesWithBytesLimit(max(1, c.cfg.Prefetch/2), feedBytes),
			jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat),
			jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
				c.g.cfg.Logger.Debug("grid consumer", "consumer", c.cfg.Name, "stream", p.stream, "error", err)
			}))
		if err != nil {
			return apiError(err)
		}
		c.pulls = append(c.pulls, pull)
	}
	return nil
}

// restart makes the consumer anew on streams that were made anew. What waits is gone with them.
func (c *Consumer) restart(ctx context.Context) error {
	c.stopPulls()
	c.mu.Lock()
	closed := c.closed
	c.queue, c.since, c.bytes = nil, nil, 0
	c.mu.Unlock()
	if closed {
		return nil
	}
	if err := c.start(ctx); err != nil {
		return fmt.Errorf("consume %s as %s: %w", c.cfg.Cache, c.cfg.Name, err)
	}
	return nil
}

// stopPulls ends the deliveries, and returns when none is under way.
func (c *Consumer) stopPulls() {
	c.mu.Lock()
	c.stopping = true
	c.space.Broadcast()
	c.mu.Unlock()
	c.pulling.Lock()
	for _, pull := range c.pulls {
		pull.Stop()
		<-pull.Closed()
	}
	c.pulls, c.heads = nil, nil
	c.pulling.Unlock()
	c.mu.Lock()
	c.stopping = false
	c.mu.Unlock()
}

// take queues a message. While the queue is full it blocks, so that no more are asked for.
func (c *Consumer) take(p *part, m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		c.g.cfg.Logger.Warn("a consumer got a message without metadata", "subject", m.Subject(), "error", err)
		return
	}
	cache, key, ok := p.parse(m.Subject())
	if !ok {
		// Not an entry: some NATS client's own. It would come again for ever.
		if err := m.Ack(); err != nil {
			c.g.cfg.Logger.Debug("acknowledge", "subject", m.Subject(), "error", err)
		}
		return
	}
	out := Message{
		Type: Updated, Partition: p.number, Time: meta.Timestamp, Deliveries: meta.NumDelivered, msg: m,
		Entry: decode(cache, key, m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp),
	}
	switch kindOf(m.Headers()) {
	case kindRemoved:
		out.Type = Removed
	case kindExpired:
		out.Type = Expired
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && !c.stopping && (len(c.queue) >= c.cfg.Prefetch || c.bytes >= prefetchBytes) {
		c.space.Wait()
	}
	if c.closed || c.stopping {
		return // it comes again
	}
	c.queue, c.since = append(c.queue, out), append(c.since, time.Now())
	c.bytes += len(out.Entry.Value)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Fetch waits for a message, then returns all that are here, up to max, oldest first. Each must be
// acknowledged. After Close it returns ErrClosed. It is for one goroutine at a time.
func (c *Consumer) Fetch(ctx context.Context, max int) ([]Message, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, fmt.Errorf("consumer %s: %w", c.cfg.Name, ErrClosed)
		}
		if n := min(len(c.queue), max); n > 0 {
			out := make([]Message, n)
			copy(out, c.queue)
			rest := copy(c.queue, c.queue[n:])
			clear(c.queue[rest:])
			c.queue = c.queue[:rest]
			c.since = append(c.since[:0], c.since[n:]...)
			for i := range out {
				c.bytes -= len(out[i].Entry.Value)
			}
			c.space.Broadcast()
			c.mu.Unlock()
			return out, nil
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-c.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// markWaiting keeps messages that wait in the queue from coming again.
func (c *Consumer) markWaiting() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			var old []Message
			c.mu.Lock()
			for i, at := range c.since {
				if now.Sub(at) > ackWait/2-time.Second/2 {
					c.since[i] = now
					old = append(old, c.queue[i])
				}
			}
			c.mu.Unlock()
			for _, m := range old {
				if err := m.Progress(); err != nil {
					c.g.cfg.Logger.Debug("mark progress", "consumer", c.cfg.Name, "error", err)
					break
				}
			}
		case <-c.ended:
			return
		}
	}
}

// Lag returns how many messages are not acknowledged: those under way, and those not given out. The
// server counts a moment later than it stores.
func (c *Consumer) Lag(ctx context.Context) (int64, error) {
	ctx, cancel := c.g.limited(ctx)
	defer cancel()
	var n int64
	c.pulling.Lock()
	heads := c.heads
	c.pulling.Unlock()
	for _, head := range heads {
		info, err := head.Info(ctx)
		if err != nil {
			return 0, fmt.Errorf("lag of consumer %s: %w", c.cfg.Name, apiError(err))
		}
		n += int64(info.NumPending) + int64(info.NumAckPending)
	}
	return n, nil
}

// Close stops giving out messages. The consumer stays in the grid: what was not acknowledged comes
// again when it is opened again.
func (c *Consumer) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	close(c.ended)
	waiting := c.queue
	c.queue, c.since = nil, nil
	c.mu.Unlock()
	c.stopPulls()
	c.marker.Wait()
	// What nobody fetched goes back at once, not after its 5 s.
	for _, m := range waiting {
		if err := m.Nak(0); err != nil {
			break // the connection is gone; it comes again by itself
		}
	}
	c.g.mu.Lock()
	delete(c.g.consumers, c)
	c.g.mu.Unlock()
}

// DeleteConsumer removes a durable consumer of a cache; one that is not there is no error.
func (g *Grid) DeleteConsumer(ctx context.Context, cache, name string) error {
	if !consumerName.MatchString(name) {
		return fmt.Errorf("delete consumer: %w: name %q does not match %s", ErrConfig, name, consumerName)
	}
	c, err := g.Cache(ctx, cache)
	if err != nil {
		return err
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	for _, p := range c.parts {
		have, err := g.events.Consumer(ctx, p.stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err == nil && !strings.HasPrefix(have.CachedInfo().Config.FilterSubject, p.prefix+cache+".") {
			return fmt.Errorf("delete consumer %s: %w: it reads another cache", name, ErrConfig)
		}
		if err == nil {
			err = g.events.DeleteConsumer(ctx, p.stream, name)
		}
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("delete consumer %s: %w", name, apiError(err))
		}
	}
	return nil
}
