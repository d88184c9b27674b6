package grid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// doorAttempt is attemptTime of a node whose grid has gone over: leaders move much then, and what was on its way to a former one has no answer.
	doorAttempt    = 250 * time.Millisecond
	entriesSubject = "$KV.>"
	apiSubject     = "$JS.API.>"
	// heldSubject is where writes go that nobody takes now: they are sent again.
	heldSubject = "$HELD.>"
)

// turn holds writes, waits until the cluster has everything, gives it the grid, and lets writes go on there. It is false where the mirrors were too far
// behind: then all is as before.
func (w *grower) turn(ctx context.Context) (done bool, err error) {
	g := w.g
	g.making.Lock() // no stream is made meanwhile
	defer g.making.Unlock()
	all, err := w.streams(ctx)
	if err != nil {
		return false, err
	}
	for _, c := range all {
		w.state.Streams = append(w.state.Streams, c.config)
	}
	defer func() {
		if !done {
			w.state.Streams = nil
		}
	}()
	given := Given{Cluster: w.with.Offer.Cluster, Source: g.id, Node: g.node, Asked: true, Note: w.with.Note}
	if err := g.server.lock.writeGiven(given); err != nil {
		return false, err
	}
	began := time.Now()
	moved := make(chan struct{})
	if err := w.hold(ctx, all, moved); err != nil {
		return false, errors.Join(w.release(moved), w.undecided(ctx, err))
	}
	err = w.decide()
	if errors.Is(err, ErrClosed) {
		return false, err // the cluster may have the grid: the folder goes on saying so, and the next start asks
	}
	if err != nil {
		return false, errors.Join(w.release(moved), err)
	}
	// The cluster has the grid. There is no way back.
	for {
		err := w.goOver(all)
		if err == nil {
			break
		}
		g.cfg.Logger.Error("the cluster has the grid, and this node has not come to it yet", "error", err)
		select {
		case <-g.done:
			return false, err
		case <-time.After(joinEvery):
		}
	}
	w.progress.Pause = time.Since(began)
	close(moved)
	g.standstill.Store(nil)
	if err := g.server.lock.writeGiven(given.settled()); err != nil {
		g.cfg.Logger.Error("the folder does not say that its grid has gone over", "error", err) // a restart asks the cluster
	}
	g.cfg.Logger.Info("the grid has gone over to a cluster", "cluster", given.Cluster, "writes_waited", w.progress.Pause)
	finishing, cancel := context.WithTimeout(until(g.done), time.Minute)
	defer cancel()
	if err := finishGrow(finishing, w.far, g.cfg.Name, w.state, w.rev); err != nil {
		g.cfg.Logger.Warn("the cluster's nodes end what is left to do", "error", err)
	}
	return true, nil
}

// undecided says of an error whether it ends the way into the cluster, or is one to wait and try again for.
func (w *grower) undecided(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, ErrUnavailable) {
		w.because(err)
		return nil
	}
	return err
}

// hold has writes wait, and returns when the mirrors have all that was written.
func (w *grower) hold(ctx context.Context, all []*copied, moved chan struct{}) error {
	g := w.g
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(w.with.Hold, holdFor))
	defer cancel()
	if err := g.server.remap(entriesSubject, heldSubject); err != nil {
		return err
	}
	// What was on its way before is stored, and answered.
	if err := g.asks.settled(ctx); err != nil {
		return err
	}
	if err := g.writes.FlushWithContext(ctx); err != nil {
		return connError(err)
	}
	if err := w.markAll(ctx, all); err != nil {
		return err
	}
	if err := w.stand(ctx, all, moved); err != nil {
		return err
	}
	behind := all
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if err := w.ask(ctx, behind); err != nil {
			return err
		}
		behind = slices.DeleteFunc(slices.Clone(behind), func(c *copied) bool { return c.has >= c.last })
		if len(behind) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-time.After(pause):
		}
	}
}

// stand has feeds stand still, and notes how far they have come: the server writes markers of what expires by itself, and what is in an index must be in the
// cluster.
func (w *grower) stand(ctx context.Context, all []*copied, moved chan struct{}) error {
	g := w.g
	for _, c := range all {
		if c.p == nil {
			continue
		}
		if t := c.p.tenure(); t != nil {
			if err := t.index.wait(ctx, Sequence(c.last)); err != nil {
				return err
			}
		}
	}
	g.standstill.Store(&moved)
	g.feeds.(*wireLines).drop()
	for _, c := range all {
		if c.p == nil {
			continue
		}
		t := c.p.tenure()
		if t == nil {
			return fmt.Errorf("%w: partition %d has no owner", ErrUnavailable, c.p.number)
		}
		for !t.feed.isStill() {
			select {
			case <-ctx.Done():
				return contextError(ctx)
			case <-time.After(time.Millisecond):
			}
		}
		c.last = max(c.last, uint64(t.feed.at()))
	}
	return nil
}

// release lets writes and feeds go on as before.
func (w *grower) release(moved chan struct{}) error {
	g := w.g
	err := g.server.lock.keep()
	g.server.unmap(entriesSubject)
	g.standstill.Store(nil)
	close(moved)
	return err
}

// decide notes in the cluster that it has the grid from now on. Where it cannot be told, it asks for as long as the grid is open. ErrClosed says that it was not
// told to the end, and any other error that the cluster has not the grid, and will not.
func (w *grower) decide() error {
	g := w.g
	s := w.state
	s.Phase = growPromotes
	for {
		try, cancel := context.WithTimeout(until(g.done), patience)
		rev, err := writeGrow(try, w.far, g.cfg.Name, s, w.rev)
		if err == nil {
			cancel()
			w.state, w.rev = s, rev
			return nil
		}
		now, rev, readErr := readGrow(try, w.far, g.cfg.Name)
		cancel()
		switch {
		case readErr != nil: // not to be told
		case now.Node == g.node && now.Phase != growCopies:
			w.state, w.rev = s, rev
			return nil
		case rev > w.rev:
			return fmt.Errorf("%w: somebody else has changed the cluster's note; run it again", ErrUnavailable)
		}
		g.cfg.Logger.Warn("the cluster does not answer, and writes wait until it does", "error", err)
		select {
		case <-g.done:
			return ErrClosed
		case <-time.After(joinEvery):
		}
	}
}

// goOver promotes the mirrors, and has this node work on them.
func (w *grower) goOver(all []*copied) error {
	g := w.g
	ctx, cancel := context.WithTimeout(until(g.done), clusterTimeout)
	defer cancel()
	if err := promote(ctx, w.far, w.state.Streams); err != nil {
		return err
	}
	// From here on reads are answered in the cluster, where a replica may lack what this node wrote.
	for _, c := range all {
		if c.p != nil {
			c.p.fresh.Store(c.config.Replicas > 1)
			c.p.replicas.Store(int32(c.config.Replicas))
		}
	}
	if err := g.server.remap(apiSubject, clusterAPI+">"); err != nil {
		return err
	}
	var looking errgroup.Group
	looking.SetLimit(promotions)
	for _, c := range all {
		looking.Go(func() error {
			if err := w.reach(ctx, c); err != nil || c.p == nil {
				return err
			}
			s, err := w.far.Stream(ctx, c.name)
			if err != nil {
				return fmt.Errorf("open stream %s: %w", c.name, apiError(err))
			}
			c.p.made(s)
			return nil
		})
	}
	if err := looking.Wait(); err != nil {
		return err
	}
	g.asks.attempt.Store(int64(doorAttempt))
	if err := g.becomeDoor(w.with.Offer.Replicas); err != nil {
		return err
	}
	if err := g.server.remap(entriesSubject, clusterAPI+entriesSubject); err != nil {
		return err
	}
	g.scans.(*wireLines).drop()
	return nil
}

const (
	// reachTry is how long a write that shows the way may take before it is sent again, and reachAgain the pause where nobody took it.
	reachTry   = 50 * time.Millisecond
	reachAgain = 5 * time.Millisecond
)

// reach returns when a promoted stream takes writes of this node: the servers hear of each other's streams a moment later, and what is sent before is lost.
func (w *grower) reach(ctx context.Context, c *copied) error {
	subject := clusterAPI + "$KV." + c.name[len("KV_"):] + "." + markToken
	if c.p != nil {
		subject = clusterAPI + c.p.subject(reserved, markToken)
	}
	for {
		try, cancel := context.WithTimeout(ctx, reachTry)
		answer, err := w.nc.RequestWithContext(try, subject, []byte("{}"))
		cancel()
		if err == nil {
			_, err = parseAck(answer.Data)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write to %s in the cluster: %w", c.name, errors.Join(err, contextError(ctx)))
		case <-time.After(reachAgain):
		}
	}
}

// becomeDoor makes this node one of several: it keeps its partitions by leases until nodes of the cluster take them. It may be called again.
func (g *Grid) becomeDoor(replicas int) error {
	o := g.owners
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if g.grown.Load() != 0 {
		return nil
	}
	if err := o.listen(); err != nil {
		return err
	}
	g.grown.Store(int32(replicas))
	now := time.Now()
	o.mu.Lock()
	for _, l := range o.held {
		if l != nil {
			l.mu.Lock()
			l.forever, l.renewed = false, now
			l.mu.Unlock()
		}
	}
	o.mu.Unlock()
	for _, class := range []Class{Durable, Volatile} {
		g.guard.set(class, 0, nil)
		for _, p := range g.classes[class] {
			if t := p.tenure(); t != nil {
				if err := t.serveQuestions(); err != nil {
					g.cfg.Logger.Error("a partition is not answered for", "partition", p.number, "error", err)
				}
			}
		}
	}
	g.loops.Go(o.run)
	g.loops.Go(g.ripen)
	g.loops.Go(g.relays.run)
	return nil
}

// ripen lets any replica of a promoted stream answer, once all that are there have what the leader has.
func (g *Grid) ripen() {
	ticker := time.NewTicker(growEvery)
	defer ticker.Stop()
	for {
		g.mu.Lock()
		var fresh []*partition
		for _, parts := range g.classes {
			for _, p := range parts {
				if p.fresh.Load() {
					fresh = append(fresh, p)
				}
			}
		}
		g.mu.Unlock()
		if len(fresh) == 0 {
			return
		}
		for _, p := range fresh {
			info, err := g.group(until(g.done), p)
			if err == nil && info.Leader != "" && !slices.ContainsFunc(info.Replicas, func(r *jetstream.PeerInfo) bool { return !r.Current || r.Offline || r.Lag > 0 }) {
				p.fresh.Store(false)
			}
		}
		select {
		case <-ticker.C:
		case <-g.done:
			return
		}
	}
}

// move returns when nodes of the cluster look after all partitions.
func (w *grower) move(ctx context.Context) error {
	g := w.g
	for {
		own := len(g.owners.owned())
		w.progress.Moved = g.partitions - own
		if own == 0 {
			w.tell(GrowDone)
			return nil
		}
		w.tell(GrowMoving)
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-g.done:
			return ErrClosed
		case <-time.After(growEvery):
		}
	}
}
