package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
)

const (
	// spreadFrom is how long batches take at least before they are handed to other nodes: for shorter ones the way is not worth it.
	spreadFrom = 2 * time.Millisecond
	// spreadEvery is how often a pipeline whose engine is busy looks for nodes that have time.
	spreadEvery = 2 * time.Millisecond
	// mostSpread is how many batches of a pipeline are at other nodes at a time, which with spreadBytes bounds their memory.
	mostSpread = 8
	// spreadBytes is how large a batch for another node is at most.
	spreadBytes = grid.MaxPeerBytes
	// offerWithin is how long a node may take to answer an offer.
	offerWithin = 250 * time.Millisecond
	// A batch may take spreadPatience times what one takes here, and patienceLeast at least, before this node runs it itself.
	spreadPatience = 8
	patienceLeast  = 2 * time.Second
	// A node that had no time is asked again after restFirst, then after twice as long each time, up to restMost; one that does not run what it is
	// offered, since it has another version say, after restMost, and one that failed after restFailed.
	restFirst  = 5 * time.Millisecond
	restMost   = 200 * time.Millisecond
	restFailed = time.Second
)

// A spreader hands batches of a pipeline to other nodes while this node's engine is the limit: it runs a batch, a run takes spreadFrom or more, and another
// full batch waits. What a node does not do comes back, and is run here. Batches are published here, whoever ran them: the order of a key's results and
// the reader's positions stay with the owner of the partition.
type spreader struct {
	p       *Pipeline
	reader  *grid.Reader
	batches chan<- *batch
	stop    context.CancelFunc // ends the search for nodes
	running sync.WaitGroup

	mu       sync.Mutex
	plan     *plan         // what runs here; nil before the first
	took     time.Duration // by a batch of that plan here, lately; 0 before the first
	busy     bool          // this node has entries before it
	begun    chan struct{} // has an element after it became so
	returned []*batch
	wake     context.CancelFunc     // ends the wait for entries, since one came back; nil before the first wait
	most     int                    // of a batch; less than that of the plan where results were too large for an answer
	nodes    map[string]*spreadNode // by name
	out      int                    // batches at other nodes, and offers
}

// spreadNode is what is known of another node.
type spreadNode struct {
	asked bool // an offer or a batch is there
	rest  time.Duration
	again time.Time // when it is asked again
	// Of a dispatcher: when it was picked last, and why it takes nothing.
	last   time.Time
	reason string
}

// startSpreader returns nil where there are no other nodes. One of a pipeline that keeps its batches tells the desk alone when this node is busy with it.
func (p *Pipeline) startSpreader(ctx, work context.Context, reader *grid.Reader, batches chan<- *batch) *spreader {
	if p.desk == nil || p.grid.Alone() {
		return nil
	}
	s := &spreader{p: p, reader: reader, batches: batches, begun: make(chan struct{}, 1), most: p.cfg.MaxBatch, nodes: map[string]*spreadNode{}}
	ctx, s.stop = context.WithCancel(ctx)
	if p.cfg.Spread != SpreadNever {
		s.running.Go(func() { s.look(ctx, work) })
	}
	return s
}

// close looks for nodes no more, waits for what they run, and gives back what came from them and was not run.
func (s *spreader) close() {
	s.stop()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.returned {
		s.reader.Undo(b.changes)
		s.p.board.done()
	}
	s.returned = nil
	s.p.desk.busy(s.p.cfg.Name, false)
}

// next returns the next batch for this node: one that came back, or one of up to most changes. While it waits the node has time for others' batches.
func (s *spreader) next(ctx context.Context, most int) (*batch, error) {
	for {
		if b := s.back(); b != nil {
			return b, nil
		}
		// Where the grid does not answer, Next waits for it.
		changes, err := s.reader.Take(ctx, 1, most, readBytes)
		if err == nil && len(changes) > 0 {
			s.setBusy(true)
			return s.p.begin(changes), nil
		}
		s.setBusy(false)
		waiting, cancel := s.waits(ctx)
		changes, err = s.reader.Next(waiting, most)
		came := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		s.setBusy(true)
		if err == nil {
			return s.p.begin(changes), nil
		}
		if !came {
			return nil, err
		}
	}
}

// readBytes is how many bytes of values a batch for this node has at most, as in Reader.Next.
const readBytes = 16 << 20

// waits returns a context that ends with ctx, and when a batch comes back.
func (s *spreader) waits(ctx context.Context) (context.Context, context.CancelFunc) {
	waiting, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.returned) > 0 {
		cancel()
	}
	s.wake = cancel
	return waiting, cancel
}

func (s *spreader) back() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.returned) == 0 {
		return nil
	}
	b := s.returned[0]
	s.returned = s.returned[1:]
	return b
}

// setBusy notes whether this node has something to run.
func (s *spreader) setBusy(is bool) {
	s.mu.Lock()
	was := s.busy
	s.busy = is
	s.mu.Unlock()
	if was != is {
		s.p.desk.busy(s.p.cfg.Name, is)
	}
	if is {
		select {
		case s.begun <- struct{}{}:
		default:
		}
	}
}

// ran notes how long a batch took here. What the first of a version took says that the version runs: none is handed out before.
func (s *spreader) ran(plan *plan, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan == nil || s.plan.model != plan.model {
		s.plan, s.took, s.most = plan, took, s.p.cfg.MaxBatch
		return
	}
	s.plan, s.took = plan, (3*s.took+took)/4
}

// limit returns the plan for which this node's engine is the limit, and how many entries a batch of it has for another node.
func (s *spreader) limit() (plan *plan, most int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.busy || s.plan == nil || s.took < spreadFrom || len(s.returned) > 0 {
		return nil, 0, 0
	}
	return s.plan, s.most, s.took
}

// full reports whether another full batch waits.
func (s *spreader) full() bool {
	n, bytes := s.reader.Waiting()
	return n >= s.p.cfg.MaxBatch || bytes >= spreadBytes
}

// serves reports whether a plan's model is the one that the pipeline is to use now.
func (s *spreader) serves(ctx context.Context, plan *plan) bool {
	h, err := s.p.models.Acquire(ctx, s.p.cfg.Model, s.p.cfg.Version)
	if err != nil {
		return false
	}
	defer h.Release()
	return h.Model() == plan.model
}

// look looks for nodes that have time while this one has none, until ctx ends.
func (s *spreader) look(ctx, work context.Context) {
	ticker := time.NewTicker(spreadEvery)
	defer ticker.Stop()
	for {
		ticker.Stop()
		select {
		case <-s.begun:
		case <-ctx.Done():
			return
		}
		ticker.Reset(spreadEvery)
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			s.mu.Lock()
			busy := s.busy
			s.mu.Unlock()
			if !busy {
				break
			}
			if plan, _, _ := s.limit(); plan != nil && s.full() {
				s.employ(ctx, work)
			}
		}
	}
}

// employ begins an errand to each node that may have time.
func (s *spreader) employ(ctx, work context.Context) {
	peers := s.p.grid.OthersWith(grid.RoleCompute)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.nodes {
		if !n.asked && !slices.Contains(peers, name) {
			delete(s.nodes, name)
		}
	}
	for _, name := range peers {
		if s.out >= mostSpread {
			return
		}
		n := s.nodes[name]
		if n == nil {
			n = new(spreadNode)
			s.nodes[name] = n
		}
		if n.asked || now.Before(n.again) {
			continue
		}
		n.asked = true
		s.out++
		s.running.Go(func() {
			// One batch after the other, for as long as the node takes them.
			for s.errand(ctx, work, name, n) && ctx.Err() == nil {
			}
			s.mu.Lock()
			n.asked = false
			s.out--
			s.mu.Unlock()
		})
	}
}

// errand offers a node a batch and has it run there. It reports whether that went well.
func (s *spreader) errand(ctx, work context.Context, node string, n *spreadNode) bool {
	plan, most, took := s.limit()
	if plan == nil || !s.full() || !s.serves(work, plan) {
		return false
	}
	t, err := s.p.offer(work, node, offer{Version: plan.model.Version, Digest: plan.model.Digest})
	if err != nil {
		s.p.log.Debug("a node takes no batches", "node", node, "error", err)
		s.rest(n, restFailed)
		return false
	}
	if t.Number == 0 {
		if t.Busy {
			s.restLonger(n)
		} else {
			s.p.log.Debug("a node takes no batches", "node", node, "reason", t.Reason)
			s.rest(n, restMost)
		}
		return false
	}
	s.rest(n, 0)
	if ctx.Err() != nil {
		return false
	}
	changes, err := s.reader.Take(ctx, min(most, s.p.cfg.MaxBatch), most, spreadBytes)
	if err != nil || len(changes) == 0 {
		return false // who asks the reader for this node meets the same error
	}
	b := s.p.begin(fit(s.reader, changes, mostHead))
	if !s.serves(work, plan) { // an entry that is put after a version serves is run by that one
		s.giveBack(b)
		return false
	}
	if err := s.handOut(work, node, t.Number, plan, b, took); err != nil {
		s.p.log.Info("a batch that another node was to run is run here", "node", node, "reason", err)
		s.rest(n, restFailed)
		s.p.count.returned.Inc()
		s.giveBack(b)
		return false
	}
	select {
	case s.batches <- b:
	case <-work.Done():
		return false
	}
	return true
}

func (s *spreader) rest(n *spreadNode, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.rest, n.again = 0, time.Now().Add(d)
}

func (s *spreader) restLonger(n *spreadNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.rest = min(max(restFirst, 2*n.rest), restMost)
	n.again = time.Now().Add(n.rest)
}

// offer asks a node whether it runs a batch, of the model that o says.
func (p *Pipeline) offer(ctx context.Context, node string, o offer) (ticket, error) {
	o.Format, o.Pipeline, o.Definition = handoverFormat, p.cfg.Name, p.digest
	message, err := encodeOffer(o)
	if err != nil {
		return ticket{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, offerWithin)
	defer cancel()
	answer, err := p.grid.AskPeer(ctx, node, spreadTopic, message)
	if err != nil {
		return ticket{}, err
	}
	return decodeTicket(answer)
}

// still asks a node whether it has a batch.
func (p *Pipeline) still(ctx context.Context, node string, number uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, offerWithin)
	defer cancel()
	answer, err := p.grid.AskPeer(ctx, node, spreadTopic, encodeStill(number))
	if err != nil {
		return false, err
	}
	t, err := decodeTicket(answer)
	return t.Number == number, err
}

// handOver has a node run what it gave a ticket for, and puts what becomes of the items into them. Its error is the outcome's where that has one.
func (p *Pipeline) handOver(ctx context.Context, node string, h handed) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, h.within)
	defer cancel()
	answer, err := p.grid.AskPeer(ctx, node, spreadTopic, h.encode())
	if err != nil {
		return outcome{}, err
	}
	o, err := decodeOutcome(answer)
	switch {
	case err != nil:
		return outcome{}, err
	case o.refused != "":
		return o, errors.New(o.refused)
	case len(o.items) != len(h.items):
		return outcome{}, fmt.Errorf("%w: %d outcomes of %d entries", errHandover, len(o.items), len(h.items))
	}
	for i, it := range h.items {
		it.value, it.fails = o.items[i].value, o.items[i].fails
	}
	return o, nil
}

// fit gives back the changes for which a message that has some bytes already has no room, all but the first of an empty one.
func fit(reader *grid.Reader, changes []grid.Change, size int) []grid.Change {
	empty := size <= mostHead
	for i, c := range changes {
		size += handedSize(&item{source: c.Entry})
		if (i > 0 || !empty) && size > spreadBytes {
			reader.Undo(changes[i:])
			return changes[:i]
		}
	}
	return changes
}

// handOut has a node run a batch, and puts the results into it. One of removals alone has nothing to run.
func (s *spreader) handOut(ctx context.Context, node string, ticket uint64, plan *plan, b *batch, took time.Duration) error {
	h := handed{ticket: ticket, within: min(max(patienceLeast, spreadPatience*took), s.p.cfg.RunTimeout+patienceLeast)}
	for _, it := range b.items {
		if !it.gone {
			h.items = append(h.items, it)
		}
	}
	b.plan = plan
	if len(h.items) == 0 {
		return nil
	}
	o, err := s.p.handOver(ctx, node, h)
	if o.large {
		s.mu.Lock()
		s.most = max(1, len(h.items)/2)
		s.mu.Unlock()
	}
	if err != nil {
		return err
	}
	b.clock.decode, b.clock.run, b.clock.encode, b.clock.last = o.took.decode, o.took.run, o.took.encode, time.Now()
	s.p.count.byPeers.Inc()
	s.p.count.nByPeers.Add(1)
	return nil
}

// giveBack has this node run a batch.
func (s *spreader) giveBack(b *batch) {
	b.plan = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned = append(s.returned, b)
	if s.wake != nil {
		s.wake()
	}
}
