package grid

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/grid/internal/wire"
)

// link is the connection of a requester.
type link interface {
	// post begins messages that are sent together.
	post() *outbox
	// comesBack waits a moment for a server that does not answer, and says whether to ask it again.
	comesBack(ctx context.Context) bool
	close()
}

// outbox is messages that are sent together. It is not safe for concurrent use, and gone when it was sent.
type outbox struct {
	link  *wireLink  // it goes to one of the two
	nats  *nats.Conn // which collects by itself
	batch wire.Batch
	// The reply subject and header block of one message, used again for each.
	reply []byte
	block wire.Header
}

// add puts a message in. Data must not change until the outbox was sent.
func (o *outbox) add(subject, reply string, h nats.Header, data []byte) error {
	if o.nats != nil {
		return connError(o.nats.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Header: h, Data: data}))
	}
	o.reply, o.block = append(o.reply[:0], reply...), appendHeader(o.block[:0], h)
	return wireError(o.batch.Publish(subject, o.reply, o.block, data))
}

// send sends what was added.
func (o *outbox) send(ctx context.Context) error {
	if o.nats != nil {
		return nil
	}
	return o.link.send(ctx, o)
}

func wireError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wire.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, wire.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// natsLink is a link to a server outside, over nats.go.
type natsLink struct {
	nc  *nats.Conn // another's to close
	sub *nats.Subscription
}

func newNATSLink(nc *nats.Conn, r *requester) (link, error) {
	sub, err := nc.Subscribe(r.prefix+">", func(m *nats.Msg) { r.receive(wireMsg(m)) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	return &natsLink{nc: nc, sub: sub}, nil
}

func (l *natsLink) post() *outbox { return &outbox{nats: l.nc} }

// comesBack is false: what the server outside does nobody knows here.
func (l *natsLink) comesBack(context.Context) bool { return false }

func (l *natsLink) close() {
	// The connection is closed right after; what Unsubscribe says of it does not matter.
	_ = l.sub.Unsubscribe()
}

// wireLink is a link to the server in this process.
type wireLink struct {
	r     *requester
	lines *wireLines

	mu   sync.Mutex
	line *wireLine // the one that answers come over
}

func newWireLink(lines *wireLines, r *requester) link {
	l := &wireLink{r: r, lines: lines}
	lines.onLost = func() { r.fail(errGone, true) }
	return l
}

// outboxes keep the buffers of those that were sent.
var outboxes = sync.Pool{New: func() any { return new(outbox) }}

func (l *wireLink) post() *outbox {
	o := outboxes.Get().(*outbox)
	o.link = l
	return o
}

func (l *wireLink) send(ctx context.Context, o *outbox) error {
	defer func() {
		o.batch.Reset()
		outboxes.Put(o)
	}()
	line, err := l.open(ctx)
	if err != nil {
		return err
	}
	err = line.conn.Send(&o.batch)
	if err == nil || errors.Is(err, wire.ErrClosed) || errors.Is(err, wire.ErrTooLarge) {
		return wireError(err)
	}
	return fmt.Errorf("%w: %w", errGone, err)
}

// linkAgain is the pause before a server that is being restarted is dialled again.
const linkAgain = 20 * time.Millisecond

// open returns the line, on which answers are received. While the server is being restarted it waits.
func (l *wireLink) open(ctx context.Context) (*wireLine, error) {
	for {
		line, err := l.try(ctx)
		if err == nil || errors.Is(err, ErrClosed) {
			return line, err
		}
		if !l.comesBack(ctx) {
			return nil, fmt.Errorf("%w: %w", contextError(ctx), err)
		}
	}
}

// comesBack is false when the context ends: the server in this process is restarted when it is away.
func (l *wireLink) comesBack(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(linkAgain):
		return true
	}
}

func (l *wireLink) try(ctx context.Context) (*wireLine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line != nil && !l.line.broken() {
		return l.line, nil
	}
	line, err := l.lines.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := line.conn.Subscribe(l.r.prefix+">", l.r.receive); err != nil {
		return nil, wireError(err)
	}
	l.line = line
	return line, nil
}

func (l *wireLink) close() { l.lines.close() }

// wireMsg gives a message of nats.go the form that it has on the wire.
func wireMsg(m *nats.Msg) *wire.Msg {
	out := &wire.Msg{Subject: []byte(m.Subject), Header: appendHeader(nil, m.Header), Data: m.Data}
	if m.Reply != "" {
		out.Reply = []byte(m.Reply)
	}
	return out
}

// appendHeader writes headers as a block; none of them is an empty block.
func appendHeader(b wire.Header, h nats.Header) wire.Header {
	if status := first(h, "Status"); status != "" {
		b = append(b, "NATS/1.0 "+status+" "+first(h, "Description")+"\r\n"...)
	}
	for name, values := range h {
		for _, value := range values {
			b = b.Append(name, value)
		}
	}
	return b
}

func first(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
