package grid

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid/internal/wire"
)

// Put is one write of a batch.
type Put struct {
	Key     string
	Value   []byte
	Options PutOptions
}

// PutResult is what became of one write.
type PutResult struct {
	Revision Revision
	// Err is nil, or as Put's.
	Err error
}

// PutBatch writes many entries at once and returns a result for each, in order; one that is
// refused does not affect the others. Entries of one partition are stored in the order given. The error is nil, or says why
// no entry was tried.
func (c *Cache) PutBatch(ctx context.Context, puts []Put) ([]PutResult, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	results := make([]PutResult, len(puts))
	writes := make([]write, 0, len(puts))
	index := make([]int, 0, len(puts))
	for i, put := range puts {
		w, err := c.prepare(put.Key, put.Value, put.Options)
		if err == nil && put.Options.IfRevision > 0 {
			var expected Sequence
			expected, err = c.sequenceOf(ctx, w.place, put.Options.IfRevision, false)
			w.expect(expected)
		}
		if err != nil {
			results[i].Err = fmt.Errorf("put into %s: %w", c.name, err)
			continue
		}
		writes, index = append(writes, w), append(index, i)
	}
	for j, o := range c.writeMany(ctx, writes, false) {
		put := puts[index[j]]
		r := PutResult{Revision: Revision(o.seq), Err: o.err}
		switch {
		case o.err == nil:
			c.counters.puts.Add(1)
		case isWrongSequence(o.err):
			if seq, err := c.taken(ctx, writes[j], o.err); err != nil || seq != 0 {
				r.Revision, r.Err = c.tookPut(put.Key, seq, err)
				break
			}
			// Alone it is tried again, as long as it is the sequence alone that has changed.
			w := writes[j]
			w.sent = errors.Is(o.err, errSent)
			r.Revision, r.Err = c.put(ctx, w, put.Options.IfRevision)
		default:
			r.Err = fmt.Errorf("put %s/%s: %w", c.name, put.Key, o.err)
		}
		results[index[j]] = r
	}
	return results, nil
}

// outcome is what became of one write.
type outcome struct {
	seq Sequence // 0 where nobody reads it
	err error
}

// writeMany publishes messages together and waits for all answers.
//
// Where nobody reads their sequences, the messages of a partition go as one fast-ingest batch: one answer in place of one a
// message, which is what a flood of results needs. Else each message is acknowledged for itself, and its sequence is exact.
//
// For room all of them together wait half of the time that there is, so that what has room can be written in the rest.
func (c *Cache) writeMany(ctx context.Context, writes []write, unread bool) []outcome {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	m := newMany(c, writes, unread)
	end, _ := ctx.Deadline()
	wait, cancelWait := context.WithTimeout(ctx, time.Until(end)/2)
	defer cancelWait()
	for i, w := range writes {
		m.rooms[i], m.results[i].err = c.reserve(ctx, wait, w)
	}
	m.publish(ctx)
	m.through(ctx)
	return m.results
}

// publish sends the writes that have not failed yet, whose rooms it takes over, and waits until they are stored. It waits for no store.
func (m *many) publish(ctx context.Context) []outcome {
	c := m.c
	c.writing.RLock()
	defer c.writing.RUnlock()
	if err := c.usable(); err != nil {
		m.failAll(err)
		return m.results
	}
	byPartition := make([][]int, len(c.partitions))
	for i, w := range m.writes {
		if m.results[i].err == nil {
			c.grid.asks.identify(&m.writes[i])
			n := w.partition.number
			byPartition[n] = append(byPartition[n], i)
		}
	}
	for n, indexes := range byPartition {
		if len(indexes) > 0 {
			m.send(ctx, c.partitions[n], indexes)
		}
	}
	m.flush(ctx)
	m.finished(1)
	sent := m.sent
	late, stop := c.grid.asks.patience()
	defer stop()
	select {
	case <-m.done:
	case <-ctx.Done():
		m.giveUp(contextError(ctx))
	case <-late:
		m.giveUp(errLate)
	}
	m.again(ctx)
	for _, s := range sent {
		s.by.settle(ctx)
	}
	return m.results
}

// giveUp ends what has no answer yet.
func (m *many) giveUp(err error) {
	for _, s := range m.sent {
		m.c.grid.asks.forget(s.id)
		s.by.answer(nil, err)
	}
	<-m.done
}

// againAtOnce is how many writes are sent again at a time.
const againAtOnce = 64

// again sends once more what nobody took, or what a cluster had no leader for, each for itself, with the ids that they had: what was stored all the same is
// known by it.
func (m *many) again(ctx context.Context) {
	asks := m.c.grid.asks
	var all errgroup.Group
	all.SetLimit(againAtOnce)
	for i := range m.results {
		if r := &m.results[i]; asks.again(r.err) {
			all.Go(func() error {
				r.seq, r.err = asks.rewrite(ctx, m.writes[i])
				return nil
			})
		}
	}
	// Its functions return no error.
	_ = all.Wait()
}

// through waits until what was written is in the store, where the cache is written through.
func (m *many) through(ctx context.Context) {
	if m.c.config.Load().Write != WriteThrough {
		return
	}
	last := make([]Sequence, len(m.c.partitions))
	for i, w := range m.writes {
		r := m.results[i]
		if r.err != nil || w.own {
			continue
		}
		seq := r.seq
		if seq == 0 { // nobody was told
			seq = Sequence(w.partition.flow.written.Load())
		}
		last[w.partition.number] = max(last[w.partition.number], seq)
	}
	errs := make([]error, len(last))
	for number, seq := range last {
		errs[number] = m.c.throughTo(ctx, m.c.partitions[number], seq)
	}
	for i, w := range m.writes {
		if !w.own && m.results[i].err == nil {
			m.results[i].err = errs[w.partition.number]
		}
	}
}

// many is writes that are under way together.
type many struct {
	c       *Cache
	writes  []write
	unread  bool // nobody reads the sequences
	results []outcome
	rooms   []room
	out     *outbox // what was not sent yet, nil for nothing
	sent    []sending
	flushed int // how many of sent have left the outbox

	mu   sync.Mutex // answers come from one goroutine, except when all fail
	left int        // answers that are awaited, and one for the sender
	done chan struct{}
}

// sending is a request under way.
type sending struct {
	id uint64
	by interface {
		answerer
		// settle is called after the answer: it notes what was stored.
		settle(context.Context)
	}
}

func newMany(c *Cache, writes []write, unread bool) *many {
	return &many{
		c: c, writes: writes, unread: unread, results: make([]outcome, len(writes)), rooms: make([]room, len(writes)),
		done: make(chan struct{}), left: 1,
	}
}

// writeAgain writes what could not be told yet alone.
func (m *many) writeAgain(ctx context.Context, i int) {
	if r := &m.results[i]; isInProcess(r.err) {
		r.seq, r.err = m.c.grid.asks.write(ctx, m.writes[i])
	}
}

func (m *many) failAll(err error) {
	for i := range m.results {
		if m.results[i].err == nil {
			m.rooms[i].release()
			m.results[i].err = err
		}
	}
}

func (m *many) finished(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finishedLocked(n)
}

func (m *many) finishedLocked(n int) {
	if m.left -= n; m.left == 0 {
		close(m.done)
	}
}

// flush sends what waits in the outbox. Where that fails, what was in it has no answer to wait for.
func (m *many) flush(ctx context.Context) {
	if m.out == nil {
		return
	}
	err := m.out.send(ctx)
	m.out = nil
	for _, s := range m.sent[m.flushed:] {
		if err != nil {
			m.c.grid.asks.forget(s.id)
			s.by.answer(nil, err)
		}
	}
	m.flushed = len(m.sent)
}

// add puts a message into the outbox.
func (m *many) add(reply string, w write) error {
	if m.out == nil {
		m.out = m.c.grid.asks.link.post()
	}
	return m.out.add(w.subject, reply, w.header, w.value)
}

// acquire waits for room in the flight of a partition. What was not sent is part of it, and is sent before.
func (m *many) acquire(ctx context.Context, p *partition, weight int64) error {
	if p.flow.flight.TryAcquire(weight) {
		return nil
	}
	m.flush(ctx)
	if err := p.flow.flight.Acquire(ctx, weight); err != nil {
		return contextError(ctx)
	}
	return nil
}

// send sends the writes of one partition.
func (m *many) send(ctx context.Context, p *partition, indexes []int) {
	if m.unread {
		for len(indexes) > 0 {
			n := min(len(indexes), fastMax)
			m.sendFast(ctx, p, indexes[:n])
			indexes = indexes[n:]
		}
		return
	}
	asks := m.c.grid.asks
	for _, i := range indexes {
		w := m.writes[i]
		one := &oneOfMany{m: m, i: i, weight: w.weight()}
		if err := m.acquire(ctx, p, one.weight); err != nil {
			m.results[i].err = err
			m.rooms[i].release()
			continue
		}
		m.finished(-1)
		id, reply, err := asks.expect(asked{by: one, write: true, subject: w.subject})
		if err == nil {
			err = m.add(reply, w)
		}
		if err != nil {
			asks.forget(id)
			one.answer(nil, err)
		}
		m.sent = append(m.sent, sending{id: id, by: one})
	}
}

// oneOfMany takes the answer to one write.
type oneOfMany struct {
	m      *many
	i      int
	weight int64
	done   bool
}

func (a *oneOfMany) answer(msg *wire.Msg, err error) bool {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if a.done {
		return true
	}
	a.done = true
	r := &a.m.results[a.i]
	r.seq, r.err = readAck(msg, err)
	a.m.writes[a.i].partition.flow.flight.Release(a.weight)
	a.m.finishedLocked(1)
	return true
}

func (a *oneOfMany) settle(ctx context.Context) {
	r := &a.m.results[a.i]
	a.m.writeAgain(ctx, a.i)
	if r.err != nil {
		a.m.rooms[a.i].release()
		return
	}
	p := a.m.writes[a.i].partition
	p.wrote(a.m.writes[a.i].subject, r.seq)
	a.m.c.wroteOwn(&a.m.writes[a.i], r.seq)
	a.m.rooms[a.i].releaseAfter(p, r.seq)
}
