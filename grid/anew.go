package grid

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// beginAbove has a volatile stream of a cluster that has nothing begin above all that was before. Most of its nodes may have ended at a time: the servers
// make it again by themselves, empty, and begin where it began the first time. Revisions would come again that conditions, stores and listeners know.
// Only the owner does this, before it is one.
func (g *Grid) beginAbove(ctx context.Context, p *partition) error {
	if p.class != Volatile || g.cfg.Cluster == nil {
		return nil
	}
	stream, err := g.stream(ctx, p)
	if err != nil {
		return err
	}
	have := stream.CachedInfo()
	if have.State.Msgs > 0 || have.State.LastSeq >= max(1, have.Config.FirstSeq) {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(firstSequence(time.Now()))); err != nil {
		return fmt.Errorf("begin stream %s above what was before: %w", p.stream, apiError(err))
	}
	return nil
}

// awaitVolatile returns when every volatile partition that there is has an owner, which has looked where its stream begins. Before that nothing may be
// written there.
func (g *Grid) awaitVolatile(ctx context.Context) error {
	g.mu.Lock()
	parts := g.classes[Volatile]
	g.mu.Unlock()
	if g.cfg.Cluster == nil {
		return nil
	}
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(askMax)
	for _, p := range parts {
		asking.Go(func() error {
			_, err := g.ask(ctx, p, question{Op: askEnd})
			return err
		})
	}
	return asking.Wait()
}
