package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// MaxPeerBytes is how many bytes a question to another node, and its answer, have at most.
const MaxPeerBytes = maxPayload - 4<<10

const (
	// peerAnswers is how many questions about one topic a node answers at a time.
	peerAnswers = 64
	// peerLook is how often somebody who waits for an answer looks whether the other node is still there.
	peerLook = 250 * time.Millisecond
)

// ErrNoPeer says that another node is not there, or does not answer about a topic.
var ErrNoPeer = errors.New("the node does not answer")

// peers is the connection over which nodes hand each other work. It is opened when it is first used, and apart from the others: what goes over it is large.
type peers struct {
	mu     sync.Mutex
	nc     *nats.Conn
	closed bool
}

func (g *Grid) peerConn() (*nats.Conn, error) {
	p := &g.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.nc == nil {
		nc, err := g.connect("peers")
		if err != nil {
			return nil, err
		}
		p.nc = nc
	}
	return p.nc, nil
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed = true; p.nc != nil {
		p.nc.Close()
	}
}

// Alone reports whether the grid has this node alone, and never another.
func (g *Grid) Alone() bool { return g.alone() }

// Others returns the other nodes of the grid that were heard of lately, each by the name of its present opening.
func (g *Grid) Others() []string {
	if g.alone() {
		return nil
	}
	return slices.DeleteFunc(g.owners.members.alive(g.node, time.Now()), func(node string) bool { return node == g.node })
}

func (g *Grid) peerSubject(node, topic string) string {
	return fmt.Sprintf("millrace.%s.peer.%s.%s", g.cfg.Name, topic, node)
}

// AnswerPeers answers what other nodes ask this one about a topic, several at a time, until stop is called, which waits for what is being answered.
// The context of an answer ends then. A topic has one who answers on a node.
func (g *Grid) AnswerPeers(topic string, answer func(ctx context.Context, question []byte) []byte) (stop func(), err error) {
	nc, err := g.peerConn()
	if err != nil {
		return nil, fmt.Errorf("answer about %s: %w", topic, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var answering sync.WaitGroup
	room := make(chan struct{}, peerAnswers)
	ended := make(chan struct{})
	sub, err := nc.Subscribe(g.peerSubject(g.node, topic), func(m *nats.Msg) {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		answering.Go(func() {
			defer func() { <-room }()
			if err := m.Respond(answer(ctx, m.Data)); err != nil {
				g.cfg.Logger.Debug("answer another node", "topic", topic, "error", err)
			}
		})
	})
	if err == nil {
		sub.SetClosedHandler(func(string) { close(ended) })
		err = nc.Flush()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("answer about %s: %w", topic, connError(err))
	}
	return func() {
		cancel()
		if err := sub.Unsubscribe(); err == nil {
			<-ended // its callback is not called any more
		}
		answering.Wait()
	}, nil
}

// AskPeer asks another node about a topic. Where that node ends meanwhile, or nobody answers there, it returns ErrNoPeer; the question may have
// been heard.
func (g *Grid) AskPeer(ctx context.Context, node, topic string, question []byte) ([]byte, error) {
	if len(question) > MaxPeerBytes {
		return nil, fmt.Errorf("ask node %s about %s: %w: %d bytes are more than %d", node, topic, ErrTooLarge, len(question), MaxPeerBytes)
	}
	nc, err := g.peerConn()
	if err != nil {
		return nil, fmt.Errorf("ask node %s about %s: %w", node, topic, err)
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		ticker := time.NewTicker(peerLook)
		defer ticker.Stop()
		for {
			select {
			case <-asking.Done():
				return
			case <-g.done:
				cancel()
				return
			case <-ticker.C:
				if !slices.Contains(g.Others(), node) {
					cancel()
					return
				}
			}
		}
	}()
	m, err := nc.RequestWithContext(asking, g.peerSubject(node, topic), question)
	cancel()
	<-looked
	switch {
	case err == nil:
		return m.Data, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("ask node %s about %s: %w", node, topic, contextError(ctx))
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("ask node %s about %s: %w", node, topic, ErrNoPeer)
	}
	return nil, fmt.Errorf("ask node %s about %s: %w", node, topic, connError(err))
}
