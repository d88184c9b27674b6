package grid

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// A server that led a partition's stream, and was cut off or stood still, answers as its leader for up to 5 s more. So before a read that is to see every write, the
// leader proves that it leads: most replicas must agree to a change after the read began. The change is a purge of a subject that no entry has: it alone goes through
// the replicas' agreement, stores nothing and takes no sequence. The former leader gets no agreement, and from it that it is none. Reads of a
// partition that come together wait for one proof.

// purgeStream is followed by the name of a stream.
const purgeStream = "$JS.API.STREAM.PURGE."

// barriers are the proofs of a partition's leader.
type barriers struct {
	// turn is taken by whoever asks for a proof.
	turn chan struct{}
	mu   sync.Mutex
	next *barrier // the one that has not begun, for whoever comes now
}

// barrier is one proof. What it came to is there once done is closed.
type barrier struct {
	done chan struct{}
	err  error
	left bool // whoever asked for it gave up
}

func newBarriers() barriers { return barriers{turn: make(chan struct{}, 1)} }

// proveLeader returns once a partition's leader has proved that it leads, since the call began.
func (g *Grid) proveLeader(ctx context.Context, p *partition) error {
	for {
		b := p.barriers.wait(ctx, func() error { return g.prove(ctx, p) })
		switch {
		case ctx.Err() != nil:
			return contextError(ctx)
		case !b.left:
			return b.err
		}
	}
}

// wait returns a proof that began after the call, or when ctx has ended. One of those who wait for it asks for it.
func (bs *barriers) wait(ctx context.Context, prove func() error) *barrier {
	bs.mu.Lock()
	if bs.next == nil {
		bs.next = &barrier{done: make(chan struct{})}
	}
	b := bs.next
	bs.mu.Unlock()
	select {
	case <-b.done:
		return b
	case <-ctx.Done():
		return b
	case bs.turn <- struct{}{}:
	}
	defer func() { <-bs.turn }()
	bs.mu.Lock()
	begun := bs.next != b
	if !begun {
		bs.next = nil
	}
	bs.mu.Unlock()
	if !begun { // who began it has ended it: it had the turn
		b.err = prove()
		b.left = ctx.Err() != nil
		close(b.done)
	}
	return b
}

// prove asks again while a leader is elected.
func (g *Grid) prove(ctx context.Context, p *partition) error {
	// The prefix without its last dot is no entry's subject.
	body, err := json.Marshal(map[string]string{"filter": p.prefix[:len(p.prefix)-1]})
	if err != nil {
		return fmt.Errorf("have the leader of %s prove itself: %w", p.stream, err)
	}
	for {
		err := g.proveOnce(ctx, p.stream, body)
		if g.cfg.Cluster == nil || !inElection(err) || !g.asks.link.comesBack(ctx) {
			return err
		}
	}
}

func (g *Grid) proveOnce(ctx context.Context, stream string, body []byte) error {
	m, err := g.asks.read(ctx, purgeStream+stream, body)
	if err != nil {
		return fmt.Errorf("have the leader of %s prove itself: %w", stream, err)
	}
	var a struct {
		Error   *jetstream.APIError `json:"error"`
		Success bool                `json:"success"`
	}
	err = json.Unmarshal(m.data, &a)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the leader of %s: %w", ErrUnavailable, stream, err)
	case a.Error != nil:
		return fmt.Errorf("%w: the leader of %s: %w", ErrUnavailable, stream, apiError(a.Error))
	case !a.Success:
		return fmt.Errorf("%w: the leader of %s answers %q", ErrUnavailable, stream, m.data)
	}
	return nil
}
