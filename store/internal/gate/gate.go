// Package gate lets calls into something until it is closed, and closes it when the last call has left. What is closed then is left to
// the caller.
package gate

import (
	"context"
	"sync"

	"github.com/millrace/millrace/store"
)

// Gate is open as its zero value.
type Gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// Enter begins a call, which Leave ends. It fails where the context has ended or the gate is closed.
func (g *Gate) Enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return store.ErrClosed
	}
	g.inside.Add(1)
	return nil
}

// Leave ends a call.
func (g *Gate) Leave() { g.inside.Done() }

// Close keeps further calls out, waits for those inside, and reports whether it was this call that closed the gate.
func (g *Gate) Close() bool {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
	return first
}
