package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid/internal/wire"
)

// Consistency is what a get sees where partitions have several replicas. Without replicas each get sees all that was acknowledged before it began,
// whatever it says. Conditions of writes are always those of the leader.
type Consistency string

const (
	// ConsistencySession is answered by any replica, and sees every write through this node that was acknowledged before the get began. A node that was started
	// again does not know of those before.
	ConsistencySession Consistency = "session"
	// ConsistencyLeader is answered by a replica that has what most replicas agree to after the get began, and sees every write that was acknowledged before. So does a
	// condition of a write that is said not to hold.
	ConsistencyLeader Consistency = "leader"
	// ConsistencyLocal is answered by any replica, which may lag behind.
	ConsistencyLocal Consistency = "local"
)

// leaderGet begins the subjects on which a stream's leader alone answers.
const leaderGet = "$JS.API.STREAM.MSG.GET."

// floorSlots is how many numbers floors has.
const floorSlots = 4096

// floors are up to where a partition's stream must have come before it may answer for a key: the last write of the key by this node, or of another key that
// has the same slot. Then a replica that has all of it is taken for one that lags, which costs a second request and nothing else.
type floors struct {
	slots atomic.Pointer[[floorSlots]atomic.Uint64]
}

var floorSeed = maphash.MakeSeed()

func (f *floors) slot(subject string) *atomic.Uint64 {
	slots := f.slots.Load()
	if slots == nil {
		f.slots.CompareAndSwap(nil, new([floorSlots]atomic.Uint64))
		slots = f.slots.Load()
	}
	return &slots[maphash.String(floorSeed, subject)%floorSlots]
}

// raise notes that a subject was written.
func (f *floors) raise(subject string, seq Sequence) {
	raise(f.slot(subject), uint64(seq))
}

func (f *floors) of(subject string) Sequence {
	if f.slots.Load() == nil {
		return 0
	}
	return Sequence(f.slot(subject).Load())
}

// raise makes a number at least n.
func raise(to *atomic.Uint64, n uint64) {
	for {
		old := to.Load()
		if n <= old || to.CompareAndSwap(old, n) {
			return
		}
	}
}

// replicated reports whether the partition's stream has several replicas, of which one may lag.
func (p *partition) replicated() bool { return p.replicas.Load() > 1 }

// wrote notes that a write was acknowledged with a sequence, or with one below it where nobody was told.
func (p *partition) wrote(subject string, seq Sequence) {
	p.flow.wrote(seq)
	if p.replicated() {
		p.flow.floors.raise(subject, seq)
	}
}

// floor is the least sequence that an answer for a place must have, to be in this node's session.
func (c *Cache) floor(at place) Sequence {
	own := at.partition.flow.floors.of(at.subject)
	t := at.partition.tenure()
	if t == nil {
		return own
	}
	x := t.index
	x.mu.Lock()
	defer x.mu.Unlock()
	r, _ := x.lookup(c.name, at.key)
	if x.seq >= own { // the index knows it exactly
		return r.seq
	}
	return max(own, r.seq)
}

// lags reports whether an answer with a sequence, 0 for none, is that of a replica that lags.
func (c *Cache) lags(at place, seq Sequence) bool {
	if !at.partition.replicated() {
		return false
	}
	if seq < at.least {
		return true
	}
	return c.config.Load().Consistency != ConsistencyLocal && seq < c.floor(at)
}

// fromLeader reports whether the cache's gets are the leader's to answer. Those of the system's caches are: who hears that another node put something
// there looks what it is, and a replica that lags would say that it is gone.
func (c *Cache) fromLeader(p *partition) bool {
	return p.replicated() && (c.config.Load().Consistency == ConsistencyLeader || IsSystem(c.name) || p.fresh.Load())
}

// askStream asks the partition's stream for a key's last message, as the cache's consistency says.
func (c *Cache) askStream(ctx context.Context, at place) (m reply, seq Sequence, err error) {
	if c.fromLeader(at.partition) {
		return c.readLeader(ctx, at)
	}
	m, seq, err = c.grid.readStored(ctx, at.partition, at.subject)
	if err != nil || !c.lags(at, seq) {
		return m, seq, err
	}
	return c.readInSession(ctx, at, m, seq)
}

// readInSession asks again for a key whose answer may lack what this node wrote: a replica that has come to that. The leader's word would not do: it may be a former one's.
func (c *Cache) readInSession(ctx context.Context, at place, m reply, seq Sequence) (reply, Sequence, error) {
	if seq < at.least || c.grid.standstill.Load() != nil {
		return c.readLeader(ctx, at)
	}
	newer, newerSeq, err := c.grid.readUpTo(ctx, at.partition, at.subject, c.floor(at))
	if err != nil || newerSeq >= seq {
		return newer, newerSeq, err
	}
	return m, seq, nil
}

// readLeader asks for a key so that the answer has all that was acknowledged, where the cache's gets are the leader's; else the leader, and in that way where its answer is older than
// what is known to be there: one that leads no more, or that has just begun to, would have a change taken for one that is over. While a cluster takes the grid over, writes are held, a barrier
// too; the leader has all that there is then.
func (c *Cache) readLeader(ctx context.Context, at place) (m reply, seq Sequence, err error) {
	if !c.fromLeader(at.partition) || c.grid.standstill.Load() != nil {
		m, seq, err = c.grid.readLeader(ctx, at.partition, at.subject)
		switch {
		case err != nil || !c.lags(at, seq):
			return m, seq, err
		case seq >= at.least && c.grid.standstill.Load() != nil:
			return m, seq, nil
		case seq >= at.least:
			return c.readInSession(ctx, at, m, seq)
		}
	}
	return c.grid.readBehind(ctx, at.partition, at.subject)
}

// readLast is read for what a write is made conditional on: the answer of a replica that lags would have the condition fail again and again.
func (c *Cache) readLast(ctx context.Context, at place) (stored, error) {
	m, seq, err := c.readLeader(ctx, at)
	if err != nil || seq == 0 {
		return stored{}, err
	}
	return c.stored(ctx, at, seq, m, false)
}

// askMany is askStream for many places, up to readAhead.
func (c *Cache) askMany(ctx context.Context, places []place) (answers []reply, seqs []Sequence, err error) {
	answers, seqs = make([]reply, len(places)), make([]Sequence, len(places))
	var subjects []string
	var direct, lagging []int
	for i, at := range places {
		if c.fromLeader(at.partition) {
			lagging = append(lagging, i)
			continue
		}
		subjects, direct = append(subjects, directGet+at.partition.stream+"."+at.subject), append(direct, i)
	}
	var found []reply
	if len(subjects) > 0 {
		if found, err = c.grid.asks.readMany(ctx, subjects); err != nil {
			return nil, nil, err
		}
	}
	for n, m := range found {
		i := direct[n]
		answers[i] = m
		if seqs[i], err = m.stored(); err != nil {
			return nil, nil, err
		}
		if c.lags(places[i], seqs[i]) {
			lagging = append(lagging, i)
		}
	}
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(loadsAtOnce)
	for _, i := range lagging {
		asking.Go(func() (err error) {
			if c.fromLeader(places[i].partition) {
				answers[i], seqs[i], err = c.readLeader(ctx, places[i])
			} else {
				answers[i], seqs[i], err = c.readInSession(ctx, places[i], answers[i], seqs[i])
			}
			return err
		})
	}
	return answers, seqs, asking.Wait()
}

// readUpTo asks for the last message of a subject a replica whose stream has come to a sequence, which is one after the other; the sequence is 0 where there is none.
func (g *Grid) readUpTo(ctx context.Context, p *partition, subject string, floor Sequence) (reply, Sequence, error) {
	// With one message at least the answer ends with where the stream of the replica ended at that moment. There is a barrier where some read asked for one.
	body, err := json.Marshal(map[string]any{"multi_last": []string{subject, p.subject(reserved, barrierToken)}})
	if err != nil {
		return reply{}, 0, fmt.Errorf("read %s: %w", subject, err)
	}
	for {
		all, err := g.asks.readAll(ctx, directGet+p.stream, body)
		if err != nil {
			return reply{}, 0, fmt.Errorf("read %s: %w", p.stream, err)
		}
		if len(all.all) == 0 {
			return g.readBehind(ctx, p, subject)
		}
		if all.upTo >= floor {
			return ofSubject(all.all, subject)
		}
		select {
		case <-ctx.Done():
			return reply{}, 0, contextError(ctx)
		case <-time.After(barrierAgain):
		}
	}
}

// ofSubject returns the one of several messages that is of a subject; the sequence is 0 for none.
func ofSubject(all []reply, subject string) (reply, Sequence, error) {
	for _, m := range all {
		if of, _ := m.header.Value(headerSubject); string(of) == subject {
			seq, err := m.stored()
			return m, seq, err
		}
	}
	return reply{}, 0, nil
}

// readLeader asks for the last message of a subject whoever has all that is stored: the leader where there are replicas.
func (g *Grid) readLeader(ctx context.Context, p *partition, subject string) (m reply, seq Sequence, err error) {
	if !p.replicated() {
		return g.readStored(ctx, p, subject)
	}
	return g.askLeader(ctx, p.stream, map[string]any{"last_by_subj": subject})
}

// noMessage is JetStream's error for a message that is not there.
const noMessage = 10037

// askLeader asks a stream's leader for a message; the sequence is 0 where there is none. In a cluster it asks again while one is elected, for the grid's time at most.
func (g *Grid) askLeader(ctx context.Context, stream string, what map[string]any) (reply, Sequence, error) {
	ctx, cancel := g.limited(ctx)
	defer cancel()
	for {
		m, seq, err := g.askLeaderOnce(ctx, stream, what)
		if !g.clustered() || !inElection(err) {
			return m, seq, err
		}
		if lacks := g.lacks(ctx, stream); lacks != nil {
			return m, seq, fmt.Errorf("ask the leader of %s: %w", stream, lacks)
		}
		if !g.asks.link.comesBack(ctx) {
			return m, seq, err
		}
	}
}

func (g *Grid) askLeaderOnce(ctx context.Context, stream string, what map[string]any) (reply, Sequence, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return reply{}, 0, fmt.Errorf("ask the leader of %s: %w", stream, err)
	}
	m, err := g.asks.read(ctx, leaderGet+stream, body)
	if err != nil {
		return reply{}, 0, fmt.Errorf("ask the leader of %s: %w", stream, err)
	}
	var a struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	err = json.Unmarshal(m.data, &a)
	switch {
	case err != nil:
		return reply{}, 0, fmt.Errorf("%w: the leader of %s: %w", ErrUnavailable, stream, err)
	case a.Error != nil && a.Error.ErrorCode == noMessage:
		return reply{}, 0, nil
	case a.Error != nil:
		return reply{}, 0, fmt.Errorf("%w: the leader of %s: %w", ErrUnavailable, stream, apiError(a.Error))
	case a.Message == nil || a.Message.Sequence == 0:
		return reply{}, 0, fmt.Errorf("%w: the leader of %s answers without a message", ErrUnavailable, stream)
	}
	// As in the answer to a direct get, but that what the server adds stands first.
	h := wire.Header{}.Append(headerSequence, fmt.Sprint(a.Message.Sequence)).Append(headerTime, a.Message.Time.Format(time.RFC3339Nano))
	for name, value := range wire.Header(a.Message.Header).All() {
		h = h.Append(string(name), string(value))
	}
	return reply{header: h, data: a.Message.Data}, Sequence(a.Message.Sequence), nil
}

// learnReplicas looks how many replicas the partitions have, which an administrator or another node may change.
func (g *Grid) learnReplicas(ctx context.Context) {
	g.mu.Lock()
	var all []*partition
	for _, parts := range g.classes {
		all = append(all, parts...)
	}
	g.mu.Unlock()
	for _, p := range all {
		stream, err := g.js.Stream(ctx, p.stream)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				g.cfg.Logger.Debug("look how many replicas a partition has", "stream", p.stream, "error", err)
			}
			continue
		}
		p.replicas.Store(int32(stream.CachedInfo().Config.Replicas))
	}
}
