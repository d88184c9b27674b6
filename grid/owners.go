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

// owners decides which partitions this node owns. A partition number has one owner for both classes, by a lease in the
// durable stream. Every node looks at all leases several times a second: it renews its own, takes those that are free, and
// gives some away where another node has too few.
type owners struct {
	g       *Grid
	durable []*partition // they carry the leases

	wake chan struct{}
	hint *nats.Subscription

	mu      sync.Mutex
	seen    []seenLease
	held    []*lease // by partition number; nil for those of others
	leaving []bool   // which of them are being given away
	classes [][]*partition
	members members

	begun []sync.Mutex // of each partition number: beginning and ending
}

const (
	ownersEvery = 100 * time.Millisecond
	// handOverEvery is the pause between two partitions that are given away, so that others see what changed.
	handOverEvery = 300 * time.Millisecond
)

func newOwners(g *Grid, durable []*partition) *owners {
	n := len(durable)
	return &owners{
		g: g, durable: durable, wake: make(chan struct{}, 1), seen: make([]seenLease, n), held: make([]*lease, n), leaving: make([]bool, n),
		begun: make([]sync.Mutex, n), members: members{last: make(map[string]time.Time)},
	}
}

// takeAll owns everything, for the grid in this process. The leases are written all the same: their sequences are the
// fencing numbers.
func (o *owners) takeAll(ctx context.Context) error {
	for i, p := range o.durable {
		_, last, err := o.g.readLease(ctx, p)
		if err != nil {
			return fmt.Errorf("take partition %d: %w", i, err)
		}
		l, err := o.g.take(ctx, p, last)
		if err != nil {
			return fmt.Errorf("take partition %d: %w", i, err)
		}
		if l == nil {
			return fmt.Errorf("%w: somebody else writes the leases of this folder", ErrLocked)
		}
		l.forever = true
		o.held[i] = l
	}
	return nil
}

// addClass makes the owner of a number own the class's partition too.
func (o *owners) addClass(ctx context.Context, parts []*partition) error {
	o.mu.Lock()
	o.classes = append(o.classes, parts)
	o.mu.Unlock()
	results := make(chan error, len(parts))
	for _, p := range parts {
		o.g.running.Go(func() { results <- o.begin(ctx, p) })
	}
	var errs []error
	for range parts {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return o.wait(ctx)
}

// wait returns when every partition has an owner.
func (o *owners) wait(ctx context.Context) error {
	for {
		err := o.settled()
		if err == nil {
			return nil
		}
		if o.g.settleDown(ctx) != nil {
			return err
		}
	}
}

// begin starts the tenure of a partition whose number this node holds; where it does not, or somebody is at it, it does
// nothing.
func (o *owners) begin(ctx context.Context, p *partition) error {
	if !o.begun[p.number].TryLock() {
		return nil
	}
	defer o.begun[p.number].Unlock()
	o.mu.Lock()
	l := o.held[p.number]
	o.mu.Unlock()
	if l == nil || o.isLeaving(p.number) || p.tenure() != nil || !l.held(time.Now()) {
		return nil
	}
	if _, err := o.g.begin(ctx, p, l); err != nil {
		return fmt.Errorf("read partition %d: %w", p.number, err)
	}
	return nil
}

func (o *owners) isLeaving(number int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leaving[number]
}

// end ends the tenures of a number.
func (o *owners) end(ctx context.Context, number int) {
	o.begun[number].Lock()
	defer o.begun[number].Unlock()
	for _, p := range o.partitions(number) {
		if t := p.tenure(); t != nil {
			t.end(ctx)
		}
	}
}

// partitions returns those of a number in all classes.
func (o *owners) partitions(number int) []*partition {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []*partition
	for _, parts := range o.classes {
		out = append(out, parts[number])
	}
	return out
}

// run looks after the leases until the grid is closed.
func (o *owners) run() {
	ticker := time.NewTicker(ownersEvery)
	defer ticker.Stop()
	var given time.Time
	var giving sync.WaitGroup
	defer giving.Wait()
	for {
		select {
		case <-ticker.C:
		case <-o.wake:
		case <-o.g.done:
			return
		}
		ctx, cancel := context.WithTimeout(until(o.g.done), o.g.cfg.lease)
		for number := range o.durable {
			o.look(ctx, number)
		}
		cancel()
		if time.Since(given) <= handOverEvery {
			continue
		}
		if number, to, ok := o.surplus(); ok {
			given = time.Now()
			// Beside the loop, which goes on renewing: what is under way in the partition is waited for.
			giving.Go(func() { o.giveAway(until(o.g.done), number, to) })
		}
	}
}

// look reads one lease and does what is to be done about it.
func (o *owners) look(ctx context.Context, number int) {
	g, p := o.g, o.durable[number]
	o.mu.Lock()
	mine, leaving := o.held[number], o.leaving[number]
	o.mu.Unlock()
	now := time.Now()
	if mine != nil {
		if !leaving {
			o.beginAll(number)
		}
		if mine.held(now) && !mine.due(now) {
			return
		}
		err := ErrNotOwner
		if mine.held(now) {
			err = g.renew(ctx, p, mine)
		}
		switch {
		case err == nil:
		case mine.held(time.Now()), leaving:
			g.cfg.Logger.Debug("renew a lease", "partition", number, "error", err)
		default:
			g.cfg.Logger.Warn("this node owns a partition no more", "partition", number, "reason", err)
			o.forget(number)
		}
		return
	}
	record, seq, err := g.readLease(ctx, p)
	if err != nil {
		g.cfg.Logger.Debug("read a lease", "partition", number, "error", err)
		return
	}
	o.mu.Lock()
	seen := &o.seen[number]
	if seen.at.IsZero() || seen.seq != seq {
		*seen = seenLease{record: record, seq: seq, at: time.Now()}
	}
	over := time.Since(seen.at) > o.g.cfg.lease
	o.mu.Unlock()
	if record.Node == "" || record.Node == g.node || over {
		o.take(ctx, number, seq)
	}
}

func (l *lease) due(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.renewed) >= leaseRenew
}

// take takes the lease of a number, and begins its tenures beside the loop, which goes on renewing.
func (o *owners) take(ctx context.Context, number int, seq Sequence) {
	g := o.g
	l, err := g.take(ctx, o.durable[number], seq)
	if err != nil {
		g.cfg.Logger.Debug("take a lease", "partition", number, "error", err)
		return
	}
	if l == nil {
		return
	}
	o.mu.Lock()
	o.held[number] = l
	o.seen[number] = seenLease{record: leaseRecord{Node: g.node}, seq: l.last, at: time.Now()}
	o.mu.Unlock()
	g.cfg.Logger.Info("this node owns a partition", "partition", number, "fence", l.since)
	o.beginAll(number)
}

// beginAll begins the tenures of a number that are not there.
func (o *owners) beginAll(number int) {
	g := o.g
	for _, p := range o.partitions(number) {
		if p.tenure() != nil {
			continue
		}
		g.running.Go(func() {
			switch err := o.begin(until(g.done), p); {
			case err == nil, g.isDone():
			case errors.Is(err, ErrNotOwner): // it has moved on
				g.cfg.Logger.Debug("a partition is another node's again", "partition", number, "class", p.class)
			default:
				g.cfg.Logger.Error("a partition cannot be read", "partition", number, "class", p.class, "error", err)
			}
		})
	}
}

// forget ends what this node did as the owner of a number that is no longer its own.
func (o *owners) forget(number int) {
	o.mu.Lock()
	l := o.held[number]
	o.held[number] = nil
	o.seen[number] = seenLease{}
	o.mu.Unlock()
	if l != nil {
		l.lose()
	}
	o.end(canceled, number)
}

// canceled is a context for what must not write any more.
var canceled = func() context.Context {
	c := make(chan struct{})
	close(c)
	return until(c)
}()

// giveAway ends the tenures of a number in good order, and gives the lease to a node, or to whoever takes it.
func (o *owners) giveAway(ctx context.Context, number int, to string) {
	o.mu.Lock()
	l := o.held[number]
	if l == nil || o.leaving[number] {
		o.mu.Unlock()
		return
	}
	o.leaving[number] = true
	o.mu.Unlock()
	for _, p := range o.partitions(number) {
		if t := p.tenure(); t != nil {
			t.sweep(ctx) // what was seen to be over must not come back: the next owner begins idle times again
		}
	}
	o.end(ctx, number)
	// Longer than it holds there is nothing to release.
	releasing, cancel := context.WithTimeout(ctx, o.g.cfg.lease)
	defer cancel()
	if err := o.g.release(releasing, o.durable[number], l, to); err != nil {
		o.g.cfg.Logger.Debug("release a lease", "partition", number, "error", err)
	}
	o.mu.Lock()
	o.held[number], o.leaving[number] = nil, false
	o.seen[number] = seenLease{record: leaseRecord{Node: to, Offered: to != ""}, at: time.Now()}
	o.mu.Unlock()
	o.say("lease")
}

// close gives everything away.
func (o *owners) close(ctx context.Context) {
	if o.hint != nil {
		// The connection is closed right after; what Unsubscribe says of it does not matter.
		_ = o.hint.Unsubscribe()
	}
	var ending sync.WaitGroup
	for number := range o.durable {
		if o.g.server != nil {
			ending.Go(func() { o.end(ctx, number) })
			continue
		}
		ending.Go(func() { o.giveAway(ctx, number, "") })
	}
	ending.Wait()
	if o.g.server == nil {
		o.say("bye")
	}
}

// settled returns an error while a partition has no owner that is alive.
func (o *owners) settled() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for number := range o.durable {
		if l := o.held[number]; l != nil {
			if !l.held(now) {
				return fmt.Errorf("%w: this node's lease of partition %d is over", ErrUnavailable, number)
			}
			for _, parts := range o.classes {
				t := parts[number].tenure()
				if t == nil {
					return fmt.Errorf("%w: %s partition %d is being read", ErrUnavailable, parts[number].class, number)
				}
				if err := t.feed.trouble(); err != nil {
					return fmt.Errorf("%w: %s partition %d: %w", ErrUnavailable, parts[number].class, number, err)
				}
			}
			continue
		}
		s := o.seen[number]
		if s.record.Node == "" && (s.at.IsZero() || now.Sub(s.at) > o.g.cfg.lease) || now.Sub(s.at) > 2*o.g.cfg.lease {
			return fmt.Errorf("%w: partition %d has no owner at the moment", ErrUnavailable, number)
		}
	}
	return nil
}

// owned returns the numbers that this node holds.
func (o *owners) owned() []int {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []int
	for number, l := range o.held {
		if l != nil {
			out = append(out, number)
		}
	}
	return out
}

// surplus returns a partition to give away, and to whom, where this node has more than its share and another less.
func (o *owners) surplus() (number int, to string, ok bool) {
	nodes := o.members.alive(o.g.node, time.Now())
	if len(nodes) < 2 {
		return 0, "", false
	}
	count := map[string]int{}
	last := -1
	o.mu.Lock()
	defer o.mu.Unlock()
	for number, s := range o.seen {
		switch {
		case o.held[number] == nil:
			count[s.record.Node]++
		case !o.leaving[number]:
			count[o.g.node]++
			last = number
		}
	}
	poorest := slices.MinFunc(nodes, func(a, b string) int { return count[a] - count[b] })
	if last < 0 || count[o.g.node] < count[poorest]+2 {
		return 0, "", false
	}
	return last, poorest, true
}
