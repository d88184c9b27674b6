package grid

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
	// listening is since when this node hears of the others.
	listening time.Time

	mu      sync.Mutex
	seen    []seenLease
	held    []*lease // by partition number; nil for those of others
	leaving []bool   // which of them are being given away
	classes [][]*partition
	members members

	begun []sync.Mutex // of each partition number: beginning and ending

	looking   []atomic.Bool // of each number: its lease is being looked at
	gathering atomic.Bool
}

const (
	ownersEvery = 100 * time.Millisecond
	// strangersEvery is how often a node of a cluster looks at the lease of a partition that another leads: it is not the one to take it, and the looks of all nodes
	// at all leases add up.
	strangersEvery = time.Second
	// handOverEvery is the pause between two partitions that are given away, so that others see what changed.
	handOverEvery = 300 * time.Millisecond
)

func newOwners(g *Grid, durable []*partition) *owners {
	n := len(durable)
	return &owners{
		g: g, durable: durable, wake: make(chan struct{}, 1), seen: make([]seenLease, n), held: make([]*lease, n), leaving: make([]bool, n),
		begun: make([]sync.Mutex, n), looking: make([]atomic.Bool, n), members: members{last: make(map[string]time.Time), version: make(map[string]string), roles: make(map[string][]Role), stores: make(map[string][]string)},
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
		switch err := <-results; {
		case errors.Is(err, ErrNotOwner): // it is another node's by now
		case err != nil && o.g.cfg.Cluster != nil && ctx.Err() == nil && !errors.Is(err, ErrFormat): // nodes come and go; it is tried again
			o.g.cfg.Logger.Debug("a partition cannot be read yet", "error", err)
		default:
			errs = append(errs, err)
		}
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
	var given, gathered time.Time
	looked := make([]time.Time, len(o.durable))
	var giving sync.WaitGroup
	defer giving.Wait()
	for {
		told := false
		select {
		case <-ticker.C:
		case <-o.wake:
			told = true
		case <-o.g.done:
			return
		}
		// Beside one another: a partition that has no leader must not keep the leases of others from being renewed.
		for number := range o.durable {
			if !told && time.Since(looked[number]) < strangersEvery && o.stranger(number) {
				continue
			}
			if o.looking[number].CompareAndSwap(false, true) {
				looked[number] = time.Now()
				giving.Go(func() { o.lookOnce(number) })
			}
		}
		if o.g.cfg.Cluster != nil && time.Since(gathered) > handOverEvery && o.gathering.CompareAndSwap(false, true) {
			gathered = time.Now()
			giving.Go(func() {
				defer o.gathering.Store(false)
				o.gather(until(o.g.done))
			})
		}
		if time.Since(given) <= handOverEvery {
			continue
		}
		if number, to, ok := o.surplus(); ok && o.g.grown.Load() == 0 {
			given = time.Now()
			// Beside the loop, which goes on renewing: what is under way in the partition is waited for.
			giving.Go(func() { o.move(until(o.g.done), number, to) })
		}
	}
}

// stranger reports whether a number is of no concern of this node's: another node of the cluster leads it and, as far as this one has seen, owns it.
func (o *owners) stranger(number int) bool {
	if !o.g.clustered() || o.g.leads(o.durable[number]) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	owner := o.seen[number].record.Node
	return o.held[number] == nil && owner != "" && owner != o.g.node
}

func (o *owners) lookOnce(number int) {
	ctx, cancel := context.WithTimeout(until(o.g.done), o.g.cfg.lease)
	to, give := o.look(ctx, number)
	cancel()
	o.looking[number].Store(false)
	if give {
		o.giveAway(until(o.g.done), number, to)
	}
}

// move gives a number to a node that has too few, but for one whose stream moves.
func (o *owners) move(ctx context.Context, number int, to string) {
	if o.g.cfg.Cluster == nil {
		o.giveAway(ctx, number, to)
		return
	}
	info, err := o.g.group(ctx, o.durable[number])
	if err == nil && moves(info) {
		err = fmt.Errorf("%w: partition %d is on its way to other nodes", ErrUnavailable, number)
	}
	if err == nil {
		err = o.handOver(ctx, number, to)
	}
	if err != nil {
		o.g.cfg.Logger.Debug("give a partition away", "partition", number, "to", to, "error", err)
	}
}

// look reads one lease and does what is to be done about it. It returns the node that is to have it in place of this one, where there is such a node.
func (o *owners) look(ctx context.Context, number int) (to string, give bool) {
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
			return "", false
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
			return "", false
		}
		if leaving {
			return "", false
		}
		return o.follow(ctx, number)
	}
	record, seq, err := g.readLease(ctx, p)
	if err != nil {
		g.cfg.Logger.Debug("read a lease", "partition", number, "error", err)
		return "", false
	}
	o.mu.Lock()
	seen := &o.seen[number]
	// A replica of a cluster that lags may answer with what was before.
	older := g.clustered() && seq < seen.seq && time.Since(seen.at) <= 2*g.cfg.lease
	if seen.at.IsZero() || seen.seq != seq && !older {
		*seen = seenLease{record: record, seq: seq, at: time.Now()}
	}
	record, seq = seen.record, seen.seq
	age := time.Since(seen.at)
	o.mu.Unlock()
	switch {
	case record.Node == g.node:
		o.take(ctx, number, seq)
	case record.Node == "", age > g.cfg.lease:
		if o.mayTake(ctx, number, age) {
			o.take(ctx, number, seq)
		}
	}
	return "", false
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
			case g.cfg.Cluster != nil && errors.Is(err, ErrUnavailable): // nodes come and go; it is tried again
				g.cfg.Logger.Debug("a partition cannot be read yet", "partition", number, "class", p.class, "error", err)
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
	if o.g.cfg.Cluster != nil {
		o.say("bye") // first: nobody gives anything to a node that leaves
		o.leaveCluster(ctx)
	}
	var ending sync.WaitGroup
	for number := range o.durable {
		if o.g.alone() {
			ending.Go(func() { o.end(ctx, number) })
			continue
		}
		ending.Go(func() { o.giveAway(ctx, number, "") })
	}
	ending.Wait()
	if o.g.alone() {
		return
	}
	o.say("bye")
	if o.g.cfg.Cluster != nil {
		o.awaitHeirs(ctx)
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
	nodes := o.members.takers(o.g.node, time.Now())
	if len(nodes) < 2 {
		return 0, "", false
	}
	count := o.count()
	last := -1
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, number := range rand.Perm(len(o.held)) { // a node has not all replicas: another partition may be one that it can take
		if o.held[number] != nil && !o.leaving[number] {
			last = number
		}
	}
	poorest := slices.MinFunc(nodes, func(a, b string) int { return count[a] - count[b] })
	if last < 0 || count[o.g.node] < count[poorest]+2 {
		return 0, "", false
	}
	return last, poorest, true
}
