package grid

import (
	"context"
	"fmt"
)

// failWrites answers writes that the server will not answer.
func (g *Grid) failWrites(err error) {
	if g.asks != nil {
		g.asks.fail(err, false)
	}
}

// thaw restarts the server in this process, after which frozen streams take writes. Connections,
// feeds and consumers find it again by themselves; volatile caches begin empty.
func (g *Grid) thaw(ctx context.Context) error {
	if err := g.server.restart(); err != nil {
		return fmt.Errorf("restart the server: %w", err)
	}
	g.mu.Lock()
	volatile := g.classes[Volatile]
	g.mu.Unlock()
	for _, p := range volatile {
		if err := g.makeStream(ctx, p, Bucket(g.cfg.Name, p.class, p.number)); err != nil {
			return err
		}
	}
	return nil
}
