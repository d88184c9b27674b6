package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
)

// Work is what a node does of its pipelines.
type Work int

const (
	// WorkHere runs models here, for the partitions that the node owns.
	WorkHere Work = iota
	// WorkElsewhere has other nodes run the batches of the partitions that the node owns: it opens no models.
	WorkElsewhere
	// WorkNone has nothing to do: the node owns no partitions, and opens no models.
	WorkNone
)

const (
	// restBusy is the longest pause before a node that had no time is asked again, by one that has nobody else.
	restBusy = 20 * time.Millisecond
	// seekEvery is how often a batch looks for nodes that have come.
	seekEvery = 100 * time.Millisecond
	// stillEvery is how often a node is asked whether it still has a batch. After two times that it has not, its answer is lost.
	stillEvery = time.Second
)

var errAnswerLost = errors.New("its answer was lost")

// A dispatcher has other nodes run every batch of a pipeline, since this one opens no models. As with a spreader it is this node that gives out changes and publishes what
// comes back: the order of a key's results and the reader's positions stay here. A batch waits for as long as no node takes it, and what a node does not do, or
// does not answer, another one is given. Entries never become error entries because of that.
type dispatcher struct {
	p       *Pipeline
	reader  *grid.Reader
	batches chan<- *batch
	running sync.WaitGroup

	mu    sync.Mutex
	nodes map[string]*spreadNode // by name
	under int                    // batches that look for a node, or are at one
	most  int                    // of a batch; fewer where results were too large for an answer
	ended chan struct{}          // has an element after a batch ceased to be under way
}

// dispatch has other nodes run what is queued, until ctx ends.
func (p *Pipeline) dispatch(ctx, work context.Context, reader *grid.Reader, batches chan<- *batch) error {
	d := &dispatcher{p: p, reader: reader, batches: batches, most: p.cfg.MaxBatch, nodes: map[string]*spreadNode{}, ended: make(chan struct{}, 1)}
	defer d.running.Wait()
	giving, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(work, stop)()
	for {
		if err := d.awaitRoom(giving); err != nil {
			return p.ended(giving, err)
		}
		changes, err := reader.Next(giving, d.limit())
		if err != nil {
			return p.ended(giving, err)
		}
		b := p.begin(fit(reader, changes, mostHead))
		d.mu.Lock()
		d.under++
		d.mu.Unlock()
		d.running.Go(func() {
			d.deliver(giving, work, b)
			d.mu.Lock()
			d.under--
			d.mu.Unlock()
			select {
			case d.ended <- struct{}{}:
			default:
			}
		})
	}
}

func (d *dispatcher) limit() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most
}

// awaitRoom returns when one more batch may be under way: as many are as there are nodes that open models, and one at least. So what waits makes larger batches.
func (d *dispatcher) awaitRoom(ctx context.Context) error {
	for {
		there := d.p.grid.OthersWith(grid.RoleCompute)
		d.mu.Lock()
		for name, n := range d.nodes {
			if !n.asked && !slices.Contains(there, name) {
				delete(d.nodes, name)
			}
		}
		under := d.under
		d.mu.Unlock()
		if under < min(mostSpread, max(1, len(there))) {
			return ctx.Err()
		}
		timer := time.NewTimer(seekEvery)
		select {
		case <-d.ended:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// deliver has a batch run by a node, whichever takes it, and hands it on to be published. When ctx ends before a node has it, it is given back.
func (d *dispatcher) deliver(ctx, work context.Context, b *batch) {
	for b.runs() {
		node, t, err := d.seek(ctx)
		if err != nil {
			d.giveBack(b)
			return
		}
		d.fill(work, b)
		err = d.handOut(work, node, t, b)
		d.settle(node, err)
		if err == nil {
			continue
		}
		if work.Err() != nil {
			d.giveBack(b)
			return
		}
		d.p.log.Info("a batch is given to another node", "node", node, "reason", err)
		d.p.count.returned.Inc()
	}
	select {
	case d.batches <- b:
	case <-work.Done():
		d.giveBack(b)
	}
}

// runs reports whether a batch has anything for a model: one of removals alone has nothing, nor has one whose items have their outcome.
func (b *batch) runs() bool { return slices.ContainsFunc(b.items, (*item).runs) }

func (it *item) runs() bool { return !it.gone && it.value == nil && it.fails == nil }

func (d *dispatcher) giveBack(b *batch) {
	d.reader.Undo(b.changes)
	d.p.board.done()
}

// seek waits for a node that takes a batch.
func (d *dispatcher) seek(ctx context.Context) (node string, t ticket, err error) {
	for {
		name, wait := d.pick()
		if name == "" {
			d.tell()
			if err := pause(ctx, wait); err != nil {
				return "", ticket{}, err
			}
			continue
		}
		t, err := d.p.offer(ctx, name, offer{Any: true})
		if ctx.Err() != nil {
			d.free(name, 0, "")
			return "", ticket{}, ctx.Err()
		}
		switch {
		case err != nil:
			d.free(name, restFailed, err.Error())
		case t.Number != 0:
			if d.p.board.need("") {
				d.p.log.Info("other nodes run batches", "node", name)
			}
			return name, t, nil
		case t.Busy:
			d.free(name, -1, "")
		default:
			d.free(name, restMost, t.Reason)
		}
	}
}

// pick chooses the node that was given nothing for longest, of those that have nothing of this pipeline and were not asked just now. Where there is none it says when to look
// again.
func (d *dispatcher) pick() (name string, wait time.Duration) {
	there := d.p.grid.OthersWith(grid.RoleCompute)
	d.mu.Lock()
	defer d.mu.Unlock()
	wait = seekEvery
	now := time.Now()
	var best *spreadNode
	for _, other := range there {
		n := d.nodes[other]
		if n == nil {
			n = new(spreadNode)
			d.nodes[other] = n
		}
		switch left := n.again.Sub(now); {
		case n.asked:
			wait = min(wait, restBusy)
		case left > 0:
			wait = min(wait, left)
		case best == nil || n.last.Before(best.last):
			best, name = n, other
		}
	}
	if best != nil {
		best.asked, best.last = true, now
	}
	return name, wait
}

// free says that a node has nothing of this pipeline any more, and may be asked again after a pause; a negative one is longer each time. reason is why it
// takes nothing.
func (d *dispatcher) free(name string, rest time.Duration, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[name]
	if n == nil {
		return
	}
	n.asked, n.reason = false, reason
	if rest < 0 {
		n.rest = min(max(restFirst, 2*n.rest), restBusy)
		rest = n.rest
	} else {
		n.rest = 0
	}
	n.again = time.Now().Add(rest)
}

// settle is free for a node that had a batch.
func (d *dispatcher) settle(name string, err error) {
	if err != nil {
		d.free(name, restFailed, err.Error())
		return
	}
	d.free(name, 0, "")
}

// tell says in the pipeline's status why no node takes anything, where that is so.
func (d *dispatcher) tell() {
	there := d.p.grid.OthersWith(grid.RoleCompute)
	if len(there) == 0 {
		d.p.need("no node that opens models is there: one with %s in node.roles has to run what this node owns", grid.RoleCompute)
		return
	}
	var reasons []string
	d.mu.Lock()
	for _, name := range there {
		n := d.nodes[name]
		if n == nil || n.reason == "" {
			d.mu.Unlock()
			return
		}
		short, _, _ := strings.Cut(name, ".") // without the number of its opening
		reasons = append(reasons, short+": "+n.reason)
	}
	d.mu.Unlock()
	d.p.need("no node runs model %s: %s", d.p.cfg.Model, strings.Join(reasons, "; "))
}

// fill adds to a batch what has come while it looked for a node.
func (d *dispatcher) fill(ctx context.Context, b *batch) {
	size := mostHead
	for _, it := range b.items {
		size += handedSize(it)
	}
	most := d.limit() - len(b.items)
	if most <= 0 || size >= spreadBytes {
		return
	}
	changes, err := d.reader.Take(ctx, 1, most, spreadBytes-size)
	if err != nil || len(changes) == 0 {
		return // who asks the reader next meets the same error
	}
	more := newBatch(fit(d.reader, changes, size))
	d.p.count.fetched(more)
	b.changes, b.items = append(b.changes, more.changes...), append(b.items, more.items...)
}

// handOut has a node run a batch, and puts the results into it.
func (d *dispatcher) handOut(ctx context.Context, node string, t ticket, b *batch) error {
	var items []*item
	for _, it := range b.items {
		if it.runs() {
			items = append(items, it)
		}
	}
	// As long as it may take there: together, and then each alone.
	h := handed{ticket: t.Number, within: time.Duration(len(items)+1)*d.p.cfg.RunTimeout + patienceLeast, items: items}
	if most := d.limit(); len(items) > most {
		h.items = items[:most] // the others are asked for next
	}
	asking, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watch(asking, node, t.Number, cancel)
	}()
	o, err := d.p.handOver(asking, node, h)
	lost := context.Cause(asking)
	cancel(nil)
	<-watched
	switch {
	case errors.Is(lost, errAnswerLost):
		return lost
	case err != nil && !o.large:
		return err
	case o.large && len(h.items) == 1:
		h.items[0].fails = &fails{codeLarge, err}
	case o.large:
		d.mu.Lock()
		d.most = max(1, len(h.items)/2)
		d.mu.Unlock()
		return err
	}
	b.plan = &plan{name: d.p.cfg.Name, carry: d.p.cfg.Carry, model: &model.Model{Name: d.p.cfg.Model, Version: t.Version}}
	b.clock.decode, b.clock.run, b.clock.encode, b.clock.last = o.took.decode, o.took.run, o.took.encode, time.Now()
	d.p.board.made(t.Version)
	d.p.count.byPeers.Inc()
	d.p.count.nByPeers.Add(1)
	return nil
}

// watch asks a node again and again whether it still has a batch, until ctx ends, and ends the wait for its answer where that was lost on the way.
func (d *dispatcher) watch(ctx context.Context, node string, number uint64, lose context.CancelCauseFunc) {
	for missed := 0; missed < 2; {
		if pause(ctx, stillEvery) != nil {
			return
		}
		switch has, err := d.p.still(ctx, node, number); {
		case err != nil: // whether the node is there, who waits for the answer looks
		case has:
			missed = 0
		default:
			missed++
		}
	}
	lose(errAnswerLost)
}
