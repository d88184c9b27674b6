package grid

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// A read that is to see every write must not be answered from a replica that lacks one. Even the leader may be one: a server that led a partition's stream, and was cut off or stood
// still, answers as its leader for up to 20 s more, and a request to JetStream's API goes to all servers, so that the first answer may be its own. So a message is written to the
// partition after the read began, a barrier: most replicas agree to it, behind all that was acknowledged before. Then any replica is asked for the entry and for the barrier at one moment: where it
// has the barrier it has all before it, and elsewhere another one is asked. Reads of a partition that come together wait for one barrier.

// barrierToken is the reserved subject of barriers.
const barrierToken = "barrier"

// barriers are those of a partition.
type barriers struct {
	// turn is taken by whoever writes one.
	turn chan struct{}
	mu   sync.Mutex
	next *barrier // the one that is not begun, for whoever comes now
}

// barrier is one message. Its sequence, or why it is not there, is known once done is closed.
type barrier struct {
	done chan struct{}
	seq  Sequence
	err  error
	left bool // whoever wrote it gave up
}

func newBarriers() barriers { return barriers{turn: make(chan struct{}, 1)} }

// raiseBarrier returns the sequence of a barrier that was written since the call began.
func (g *Grid) raiseBarrier(ctx context.Context, p *partition) (Sequence, error) {
	for {
		b := p.barriers.wait(ctx, func() (Sequence, error) {
			return g.writeOwn(ctx, write{place: place{partition: p, subject: p.subject(reserved, barrierToken)}})
		})
		switch {
		case ctx.Err() != nil:
			return 0, contextError(ctx)
		case !b.left:
			return b.seq, b.err
		}
	}
}

// wait returns a barrier that was begun after the call, or when ctx has ended. One of those who wait for it writes it.
func (bs *barriers) wait(ctx context.Context, raise func() (Sequence, error)) *barrier {
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
		b.seq, b.err = raise()
		b.left = ctx.Err() != nil
		close(b.done)
	}
	return b
}

// barrierAgain is the pause before another replica is asked, where one had not come to the barrier.
const barrierAgain = time.Millisecond

// readBehind asks for the last message of a subject, as it is after all that was acknowledged before the call; the sequence is 0 where there is none.
func (g *Grid) readBehind(ctx context.Context, p *partition, subject string) (reply, Sequence, error) {
	floor, err := g.raiseBarrier(ctx, p)
	if err != nil {
		return reply{}, 0, fmt.Errorf("have all of %s before it is read: %w", p.stream, err)
	}
	barrier := p.subject(reserved, barrierToken)
	body, err := json.Marshal(map[string]any{"multi_last": []string{subject, barrier}})
	if err != nil {
		return reply{}, 0, fmt.Errorf("read behind %s: %w", barrier, err)
	}
	for {
		all, err := g.asks.readAll(ctx, directGet+p.stream, body)
		if err != nil {
			return reply{}, 0, fmt.Errorf("read %s: %w", p.stream, err)
		}
		var found reply
		var seq, at Sequence
		for _, m := range all.all {
			n, err := m.stored()
			if err != nil {
				return reply{}, 0, err
			}
			switch of, _ := m.header.Value(headerSubject); string(of) {
			case subject:
				found, seq = m, n
			case barrier:
				at = n
			}
		}
		if at >= floor {
			return found, seq, nil
		}
		select {
		case <-ctx.Done():
			return reply{}, 0, contextError(ctx)
		case <-time.After(barrierAgain):
		}
	}
}
