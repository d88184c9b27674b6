package grid

import (
	"context"
	"errors"
	"sync"
)

const (
	// putsAtOnce is how many writes of a cache are under way at a time; what comes meanwhile goes together after: the
	// fewer they are, the larger are the batches. On 2 cores a put by REST's handler took 65 us of processor time with 4, 56
	// with 2 and 57 with 1 where 16 callers put at once (medians of 3, durable class, a busy machine), and 51, 49 and 58 with 64.
	putsAtOnce = 2
	// gatherMax and gatherBytes bound one batch.
	gatherMax   = 512
	gatherBytes = 8 << 20
)

// gather lets puts into one cache that arrive together go as a batch, whichever door they come by. Nobody waits for company:
// a put goes at once while fewer than putsAtOnce writes are under way, and the first one that waited takes all others along
// when one of these ends. It has no goroutine of its own. Each put waits for its room before, and for a store after: by itself, so that none
// waits for what another one needs.
type gather struct {
	mu      sync.Mutex
	running int
	waiting []*gathered
}

var errPanic = errors.New("the write that took this one along panicked")

// gathered is a write that waits.
type gathered struct {
	write write
	room  room
	// done gets the outcome, or the batch that this caller is to write.
	done chan gatherOutcome
}

type gatherOutcome struct {
	outcome
	lead []*gathered // the receiver's own write is the first
}

// write stores w.
func (g *gather) write(ctx context.Context, c *Cache, w write) (Sequence, error) {
	room, err := c.reserve(ctx, ctx, w)
	if err != nil {
		return 0, err
	}
	seq, err := g.publish(ctx, c, w, room)
	if err != nil {
		return 0, err
	}
	return seq, c.throughTo(ctx, w.partition, seq)
}

// publish stores w in its stream. Once it waits its context does not end it, because others may come to rely on it; the grid's own time
// limit does.
func (g *gather) publish(ctx context.Context, c *Cache, w write, room room) (Sequence, error) {
	g.mu.Lock()
	if g.running < putsAtOnce {
		g.running++
		g.mu.Unlock()
		defer g.next()
		return c.publish(ctx, w, room)
	}
	waiting := &gathered{write: w, room: room, done: make(chan gatherOutcome, 1)}
	g.waiting = append(g.waiting, waiting)
	g.mu.Unlock()
	got := <-waiting.done
	if got.lead == nil {
		return got.seq, got.err
	}
	defer g.next()
	return lead(context.WithoutCancel(ctx), c, got.lead)
}

// next hands what waits to the first that waited, which takes over the place of the write that ended.
func (g *gather) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.running--
		return
	}
	n, size := 0, 0
	for n < len(g.waiting) && n < gatherMax && (n == 0 || size+len(g.waiting[n].write.value) <= gatherBytes) {
		size += len(g.waiting[n].write.value)
		n++
	}
	batch := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
	batch[0].done <- gatherOutcome{lead: batch}
}

// lead writes a batch, tells the others, and returns the first one's outcome.
func lead(ctx context.Context, c *Cache, batch []*gathered) (Sequence, error) {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	if len(batch) == 1 {
		return c.publish(ctx, batch[0].write, batch[0].room)
	}
	told := 1
	defer func() {
		if v := recover(); v != nil { // the others must not wait for ever
			for _, w := range batch[told:] {
				w.done <- gatherOutcome{outcome: outcome{err: errPanic}}
			}
			panic(v)
		}
	}()
	m := newMany(c, make([]write, len(batch)), false)
	for i, w := range batch {
		m.writes[i], m.rooms[i] = w.write, w.room
	}
	results := m.publish(ctx)
	for i := 1; i < len(batch); i++ {
		batch[i].done <- gatherOutcome{outcome: results[i]}
		told = i + 1
	}
	return results[0].seq, results[0].err
}
