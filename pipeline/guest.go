package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
)

// spreadTopic is what nodes ask each other about.
const spreadTopic = "batch"

const (
	// ticketFor is how long a node keeps its time free for a batch that it was offered.
	ticketFor = time.Second
	// mostGuestPlans is how many plans for others' batches a node keeps.
	mostGuestPlans = 16
)

// A desk takes batches of other nodes while this node has time: while it runs fewer batches than it has processors, its own and others', and has nothing
// to do itself for the pipeline that the batch is of. It is safe for concurrent use.
type desk struct {
	grid *grid.Grid
	log  *slog.Logger
	// find returns a pipeline that runs on this node, or nil.
	find func(name string) *Pipeline
	most int
	stop func()

	mu     sync.Mutex
	own    map[string]bool   // the pipelines that have entries before them
	guests map[string]*guest // by pipeline: each has one at a time
	plans  map[string]*plan  // for guests
}

// guest is a batch that this node runs for another, or that it waits for.
type guest struct {
	ticket  uint64
	until   time.Time // when it is given up that the batch comes
	running bool
	offer   offer
}

func newDesk(g *grid.Grid, log *slog.Logger, find func(name string) *Pipeline) *desk {
	return &desk{
		grid: g, log: log, find: find, most: runtime.GOMAXPROCS(0), own: map[string]bool{}, guests: map[string]*guest{}, plans: map[string]*plan{},
		stop: func() {},
	}
}

// open begins to take batches, where there can be other nodes.
func (d *desk) open() error {
	if d.grid.Alone() {
		return nil
	}
	stop, err := d.grid.AnswerPeers(spreadTopic, d.answer)
	if err == nil {
		d.stop = stop
	}
	return err
}

// busy notes whether a pipeline of this node has entries before it.
func (d *desk) busy(name string, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if is {
		d.own[name] = true
	} else {
		delete(d.own, name)
	}
}

func (d *desk) answer(ctx context.Context, message []byte) []byte {
	if len(message) > 0 && message[0] == messageBatch {
		return d.runBatch(ctx, message[1:]).encode()
	}
	t := ticket{Reason: "the message is neither an offer nor a batch"}
	if len(message) > 0 && message[0] == messageStill {
		head := fields{rest: message[1:]}
		t = d.still(head.number(math.MaxUint64))
	} else if len(message) > 0 && message[0] == messageOffer {
		o, err := decodeOffer(message[1:])
		if err != nil {
			t.Reason = err.Error()
		} else {
			t = d.take(ctx, o)
		}
	}
	b, err := json.Marshal(t)
	if err != nil { // a number and texts always marshal
		return nil
	}
	return b
}

// take answers an offer, and keeps the time free where it takes it.
func (d *desk) take(ctx context.Context, o offer) ticket {
	p := d.find(o.Pipeline)
	switch {
	case p == nil:
		return ticket{Reason: fmt.Sprintf("pipeline %s does not run here", o.Pipeline)}
	case p.digest != o.Definition:
		return ticket{Reason: fmt.Sprintf("pipeline %s has another definition here", o.Pipeline)}
	}
	g := &guest{ticket: rand.Uint64() | 1, until: time.Now().Add(ticketFor), offer: o}
	if !d.admit(g) {
		return ticket{Reason: "it has no time", Busy: true}
	}
	h, err := d.lend(ctx, p, o)
	if err != nil {
		d.leave(g)
		return ticket{Reason: err.Error()}
	}
	defer h.Release()
	if !o.Any {
		return ticket{Number: g.ticket}
	}
	m := h.Model()
	d.mu.Lock()
	defer d.mu.Unlock()
	g.offer.Version, g.offer.Digest = m.Version, m.Digest // the batch is run by this one, or comes back
	return ticket{Number: g.ticket, Version: m.Version}
}

// still answers whether this node has what it gave a ticket for.
func (d *desk) still(number uint64) ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.guests {
		if g.ticket == number {
			return ticket{Number: number}
		}
	}
	return ticket{Reason: "it has no such batch"}
}

func (d *desk) admit(g *guest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for name, other := range d.guests {
		if !other.running && now.After(other.until) {
			delete(d.guests, name)
		}
	}
	name := g.offer.Pipeline
	if g.offer.Any && d.guests[name] == nil && len(d.guests) < d.most { // there may be nobody who has time
		d.guests[name] = g
		return true
	}
	if d.own[name] || d.guests[name] != nil || len(d.own)+len(d.guests) >= d.most {
		return false
	}
	d.guests[name] = g
	return true
}

func (d *desk) leave(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guests[g.offer.Pipeline] == g {
		delete(d.guests, g.offer.Pipeline)
	}
}

// lend lends the model that an offer names, where it is the one that the pipeline would use here.
func (d *desk) lend(ctx context.Context, p *Pipeline, o offer) (Handle, error) {
	h, err := p.models.Acquire(ctx, p.cfg.Model, p.cfg.Version)
	if err != nil {
		return nil, err
	}
	if m := h.Model(); !(o.Any && o.Version == 0) && (m.Version != o.Version || m.Digest != o.Digest) {
		version := m.Version
		h.Release()
		return nil, fmt.Errorf("model %s has version %d here, not %d, or another file", p.cfg.Model, version, o.Version)
	}
	return h, nil
}

// claim returns the guest of a ticket, once.
func (d *desk) claim(number uint64) *guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.guests {
		if g.ticket == number && !g.running {
			g.running = true
			return g
		}
	}
	return nil
}

// runBatch runs a batch. It is refused as a whole where any of its entries met what another node would not.
func (d *desk) runBatch(ctx context.Context, message []byte) outcome {
	head := fields{rest: message}
	g := d.claim(head.number(1<<64 - 1))
	if g == nil {
		return outcome{refused: "the batch comes too late"}
	}
	p := d.find(g.offer.Pipeline)
	if p == nil {
		d.leave(g)
		return outcome{refused: "the pipeline was stopped"}
	}
	b, err := decodeHanded(message, p.cfg.From)
	if err != nil {
		d.leave(g)
		return outcome{refused: err.Error()}
	}
	h, err := d.lend(ctx, p, g.offer)
	if err != nil {
		d.leave(g)
		return outcome{refused: err.Error()}
	}
	l := &lent{Handle: h, then: func() { d.leave(g) }} // a run that nobody waits for any more keeps its place
	l.hold()
	defer l.Release()
	plan, err := d.plan(p, h)
	if err != nil {
		return outcome{refused: err.Error()}
	}
	runs := newRunner(p.cfg.RunTimeout)
	defer runs.close()
	ctx, cancel := context.WithTimeout(ctx, b.within)
	defer cancel()
	o := outcome{took: stopwatch{last: time.Now()}}
	if err := plan.run(ctx, runs.session(l, true), b.items, &o.took); err != nil {
		return outcome{refused: err.Error()}
	}
	size := mostHead
	for _, it := range b.items {
		size += mostFields + len(it.value)
		if it.fails == nil {
			continue
		}
		if !g.offer.Any && !it.fails.movable() {
			return outcome{refused: fmt.Sprintf("an entry failed: %v", it.fails.err)}
		}
		size += len(it.fails.err.Error())
	}
	if size > grid.MaxPeerBytes {
		return outcome{refused: fmt.Sprintf("the results have %d bytes", size), large: true}
	}
	o.items = b.items
	p.count.forPeers.Inc()
	p.count.nForPeers.Add(1)
	return o
}

// plan returns the plan of a pipeline's guests. One at a time uses it.
func (d *desk) plan(p *Pipeline, h Handle) (*plan, error) {
	d.mu.Lock()
	have := d.plans[p.cfg.Name]
	d.mu.Unlock()
	if have != nil && have.model == h.Model() && have.digest == p.digest {
		return have, nil
	}
	made, err := newPlan(h.Model(), p.cfg)
	if err != nil {
		return nil, err
	}
	made.digest = p.digest
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.plans) >= mostGuestPlans {
		clear(d.plans)
	}
	d.plans[p.cfg.Name] = made
	return made, nil
}

// digestOf is a definition's digest.
func digestOf(c Config) (string, error) {
	b, err := json.Marshal(c.Definition())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
