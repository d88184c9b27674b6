package grid

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// tenure is what a node has of a partition while it owns it: the index, the feed that fills it, and the places of the
// readers that run here.
type tenure struct {
	g     *Grid
	p     *partition
	index *index
	feed  *feed
	// fence is the number of this taking; larger than that of every earlier one.
	fence uint64
	lease *lease
	// offering is whether changes go to the hub; the index's lock guards it.
	offering bool

	attaching sync.Mutex // held while a reader begins here

	mu        sync.Mutex
	questions []*nats.Subscription
	cursors   map[*Reader]*cursor
	outlets   map[string]*outlet
	readers   map[string]readerList // by cache
	ended     bool
}

// ownTerm holds the tenure of a partition while there is one.
type ownTerm struct {
	current atomic.Pointer[tenure]
}

// begin reads the partition's stream up to its present end, and owns the partition from then on.
func (g *Grid) begin(ctx context.Context, p *partition, l *lease) (*tenure, error) {
	t := &tenure{
		g: g, p: p, index: newIndex(g.markerTTL, g.counters, g.tierOf), fence: l.fence(), lease: l, cursors: make(map[*Reader]*cursor),
		outlets: make(map[string]*outlet), readers: make(map[string]readerList),
	}
	for _, step := range []func(context.Context, *partition) error{g.beginAbove, g.purgeAgain} {
		asking, cancel := context.WithTimeout(ctx, g.askFor())
		err := step(asking, p)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	t.feed = newFeed(t)
	g.running.Go(t.feed.run)
	if err := t.awaitFeed(ctx); err != nil {
		t.feed.close()
		return nil, err
	}
	if !g.alone() {
		if err := t.serveQuestions(); err != nil {
			t.feed.close()
			return nil, err
		}
	}
	p.term.current.Store(t)
	t.attachTiers()
	t.offer(true)
	g.attachReaders(t)
	return t, nil
}

// awaitFeed returns when the index has what was in the stream, or when the lease is over before.
func (t *tenure) awaitFeed(ctx context.Context) error {
	ticker := time.NewTicker(leaseRenew)
	defer ticker.Stop()
	for {
		select {
		case <-t.feed.ready:
			return nil
		case <-ctx.Done():
			return contextError(ctx)
		case now := <-ticker.C:
			if !t.valid(now) {
				return ErrNotOwner
			}
		}
	}
}

// end gives the partition up: readers stop where they are, and the index is forgotten.
func (t *tenure) end(ctx context.Context) {
	t.mu.Lock()
	t.ended = true
	cursors := make([]*cursor, 0, len(t.cursors))
	for r, c := range t.cursors {
		cursors = append(cursors, c)
		delete(t.cursors, r)
	}
	questions := t.questions
	t.mu.Unlock()
	for _, c := range cursors {
		if err := c.stop(ctx); err != nil {
			t.g.cfg.Logger.Debug("a position was not written", "reader", c.r.cfg.Name, "partition", t.p.number, "error", err)
		}
	}
	t.p.term.current.CompareAndSwap(t, nil)
	t.listenNoMore(questions)
	t.closeOutlets(true)
	t.feed.close()
	t.index.close()
	t.p.hub.fallBehind(t.p.number)
}

// valid reports whether this node may act as the owner now. After it was false the lease may have another holder.
func (t *tenure) valid(now time.Time) bool { return t.lease.held(now) }

// offer says whether changes go to those who take them. They read the index again from where they are, since they missed
// some.
func (t *tenure) offer(on bool) {
	t.index.mu.Lock()
	defer t.index.mu.Unlock()
	t.offering = on && t.p.tenure() == t
	t.p.hub.fallBehind(t.p.number)
}

// rewind tells those who take changes that the stream began anew.
func (t *tenure) rewind() {
	t.index.mu.Lock()
	defer t.index.mu.Unlock()
	for _, takers := range t.p.hub.all() {
		for _, taker := range takers.list {
			taker.rewind(t.p.number)
		}
	}
}

// take puts one stored message into the index and hands its change to who takes it. The value is read only while take
// runs.
func (t *tenure) take(subject string, m *message, value []byte) {
	x := t.index
	cache, key, ok := t.p.parse(subject)
	now := t.g.cfg.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.advance(m.seq)
	if !ok {
		return // not an entry: the grid's own, or some NATS client's
	}
	kind := x.apply(cache, key, m, now)
	if kind == 0 {
		return
	}
	if takers := t.p.hub.of(cache); takers != nil && t.offering {
		if takers.values && m.kind == kindStub {
			takers.fallBehind(t.p.number) // its value went by unseen
			return
		}
		c := change{seq: Sequence(m.revision), kind: kind}
		if takers.values && m.kind == kindValue {
			c.entry = m.entry(cache, key, append(make([]byte, 0, len(value)), value...))
		} else {
			c.entry = Entry{Cache: cache, Key: key, Revision: m.revision, Created: m.at}
		}
		takers.offer(t.p.number, c)
	}
	if len(x.overdue) > 0 {
		t.g.wakeSweeper()
	}
}

// parse splits an entry's subject. The reserved subjects of the partition are none.
func (p *partition) parse(subject string) (cache, key string, ok bool) {
	if len(subject) <= len(p.prefix) || subject[:len(p.prefix)] != p.prefix {
		return "", "", false
	}
	cache, token, ok := strings.Cut(subject[len(p.prefix):], ".")
	if !ok || cache == reserved {
		return "", "", false
	}
	key, err := Unescape(token)
	return cache, key, err == nil
}
