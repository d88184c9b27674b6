package grid

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/grid/internal/wire"
)

// line is a connection that feeds are pushed over, or what scans ask for.
type line interface {
	// subscribe has take called with what comes to a subject, one after the other, until stop is called.
	subscribe(subject string, take func(*wire.Msg)) (stop func(), err error)
	// request publishes with a subject for the answers. The server sees it after the subscriptions that were made before.
	request(subject, reply string, data []byte) error
	// lost is closed when the connection breaks.
	lost() <-chan struct{}
	// broken reports whether the connection broke since the line was opened, also where lost is yet to be closed.
	broken() bool
}

// lines gives feeds the connection that they share, and scans theirs. It has nothing else to carry.
type lines interface {
	open(ctx context.Context) (line, error)
	// check asks the server for a sign of life: a connection may break long before that is seen here.
	check(ctx context.Context) error
	close()
}

// natsLines is a connection of nats.go, to a server outside.
type natsLines struct {
	nc *nats.Conn

	mu   sync.Mutex
	gone chan struct{} // closed when the connection breaks, and replaced
}

func newNATSLines(g *Grid, name string) (lines, error) {
	l := &natsLines{gone: make(chan struct{})}
	var err error
	if l.nc, err = g.connect(name, nats.DisconnectErrHandler(func(*nats.Conn, error) { l.lose() })); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *natsLines) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.gone)
	l.gone = make(chan struct{})
}

func (l *natsLines) open(context.Context) (line, error) {
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	of := &natsLine{nc: l.nc, gone: gone, epoch: l.nc.Stats().Reconnects}
	if !l.nc.IsConnected() {
		return nil, errLost
	}
	return of, nil
}

func (l *natsLines) check(ctx context.Context) error { return connError(l.nc.FlushWithContext(ctx)) }

func (l *natsLines) close() { l.nc.Close() }

// natsLine is the connection between two breaks.
type natsLine struct {
	nc    *nats.Conn
	gone  chan struct{}
	epoch uint64 // how often the connection had been made anew
}

func (l *natsLine) subscribe(subject string, take func(*wire.Msg)) (stop func(), err error) {
	sub, err := l.nc.Subscribe(subject, func(m *nats.Msg) { take(wireMsg(m)) })
	if err != nil {
		return nil, connError(err)
	}
	stop = func() {
		// The connection may be gone: what Unsubscribe says of it does not matter.
		_ = sub.Unsubscribe()
	}
	if err := sub.SetPendingLimits(feedMessages, feedBytes); err != nil {
		stop()
		return nil, connError(err)
	}
	return stop, nil
}

func (l *natsLine) request(subject, reply string, data []byte) error {
	return connError(l.nc.PublishRequest(subject, reply, data))
}

func (l *natsLine) lost() <-chan struct{} { return l.gone }

func (l *natsLine) broken() bool {
	// What is closed when the connection breaks is closed by another goroutine, a while after.
	return !l.nc.IsConnected() || l.nc.Stats().Reconnects != l.epoch || isDone(l.gone)
}

// wireLines is a connection of our own client, to the server in this process. It is dialled when somebody needs it, and again
// after the server was restarted.
type wireLines struct {
	server *embedded
	name   string
	onLost func() // called when a connection broke; may be nil

	mu      sync.Mutex
	current *wireLine
	closed  bool
}

func (l *wireLines) open(ctx context.Context) (line, error) {
	of, err := l.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFeed, err)
	}
	return of, nil
}

// dial returns the connection that there is, or a new one.
func (l *wireLines) dial(ctx context.Context) (*wireLine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.current != nil {
		if !l.current.broken() {
			return l.current, nil
		}
		l.current.conn.Close()
		l.current = nil
	}
	conn, err := l.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	of := &wireLine{gone: make(chan struct{})}
	of.conn, err = wire.Dial(ctx, conn, l.name, func(error) {
		of.lose()
		if l.onLost != nil {
			l.onLost()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.current = of
	return of, nil
}

// check has nothing to ask: the server is in this process.
func (l *wireLines) check(context.Context) error { return nil }

// drop breaks the connection that there is, if any: who uses it begins anew over another one. It returns when nothing comes over it any more.
func (l *wireLines) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		l.current.conn.Close()
		l.current.lose()
	}
}

func (l *wireLines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.current != nil {
		l.current.conn.Close()
	}
}

// wireLine is one connection, which does not come back.
type wireLine struct {
	conn *wire.Conn
	gone chan struct{}
	once sync.Once // closes gone
}

func (l *wireLine) lose() { l.once.Do(func() { close(l.gone) }) }

func (l *wireLine) subscribe(subject string, take func(*wire.Msg)) (stop func(), err error) {
	id, err := l.conn.Subscribe(subject, take)
	if err != nil {
		return nil, err
	}
	return func() {
		// The connection may be gone: what Unsubscribe says of it does not matter.
		_ = l.conn.Unsubscribe(id)
	}, nil
}

func (l *wireLine) request(subject, reply string, data []byte) error {
	var b wire.Batch
	if err := b.Publish(subject, []byte(reply), nil, data); err != nil {
		return wireError(err)
	}
	return wireError(l.conn.Send(&b))
}

func (l *wireLine) lost() <-chan struct{} { return l.gone }

func (l *wireLine) broken() bool { return isDone(l.gone) }

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
