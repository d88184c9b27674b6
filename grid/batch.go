package grid

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// Put is one write of a batch.
type Put struct {
	Key     string
	Value   []byte
	Options PutOptions
	// MsgID makes a repetition within two minutes a success that stores nothing.
	MsgID string
	// ExpectLast is the key's last sequence for the write to take place: 0 for a key that was
	// never written or whose marker is forgotten, else that of its entry or marker. Nil is no
	// condition. It goes before Options.IfRevision.
	ExpectLast *uint64
	// Unread says that the caller reads neither the Revision nor Duplicate of a put with a MsgID: they stay zero, and
	// the batch does not wait until this node's index has it.
	Unread bool
}

// PutResult is what became of one write.
type PutResult struct {
	// Revision is the entry's. Of puts with a MsgID it is what the key has once the batch is
	// stored, which is a newer one where somebody else overwrote it in that moment.
	Revision uint64
	// Duplicate says that a put with this MsgID was stored before; Revision is then that of
	// the key, or 0 where it is gone.
	Duplicate bool
	// Err is nil, or as Put's.
	Err error
}

// PutBatch writes many entries at once and returns a result for each, in order; one that is
// refused does not affect the others. Entries of one partition are stored in the order given. After
// it Sequence knows what was written with a MsgID. The error is nil, or says why no entry was tried.
func (c *Cache) PutBatch(ctx context.Context, puts []Put) ([]PutResult, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	results := make([]PutResult, len(puts))
	writes := make([]write, 0, len(puts))
	index := make([]int, 0, len(puts))
	for i, put := range puts {
		w, err := c.prepare(put.Key, put.Value, put.Options)
		if err == nil && put.ExpectLast == nil && put.Options.IfRevision > 0 {
			err = c.checkRevision(ctx, w.part, put.Key, put.Options.IfRevision)
			w.expect(put.Options.IfRevision)
		}
		if err != nil {
			results[i].Err = fmt.Errorf("put into %s: %w", c.name, err)
			continue
		}
		if put.ExpectLast != nil {
			w.expect(*put.ExpectLast)
		}
		if put.MsgID != "" {
			w.set(headerMsgID, put.MsgID)
			w.unread = put.Unread
		}
		writes, index = append(writes, w), append(index, i)
	}
	for j, r := range c.writeMany(ctx, writes) {
		put := puts[index[j]]
		switch {
		case r.Err == nil:
			c.counters.puts.Add(1)
		case isWrongSequence(r.Err):
			e := &RevisionError{Cache: c.name, Key: put.Key, Want: put.Options.IfRevision}
			if put.ExpectLast != nil {
				e.Want = *put.ExpectLast
			}
			e.Current = wrongSequence(r.Err)
			r.Err = e
		default:
			r.Err = fmt.Errorf("put %s/%s: %w", c.name, put.Key, r.Err)
		}
		results[index[j]] = r
	}
	return results, nil
}

// wrongSequence reads the sequence that is there out of the server's refusal, which names it.
func wrongSequence(err error) uint64 {
	text := err.Error()
	end := len(text)
	for end > 0 && (text[end-1] < '0' || text[end-1] > '9') {
		end--
	}
	start := end
	for start > 0 && text[start-1] >= '0' && text[start-1] <= '9' {
		start--
	}
	n, err := strconv.ParseUint(text[start:end], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// writeMany publishes messages together and waits for all answers.
//
// Where every message of a partition has an id, they go as one fast-ingest batch: one answer in
// place of one a message, which is what a flood of results needs. Its answer does not tell the
// revisions, so they are read from the index once that has them, unless nobody reads them. It looks at the id before the
// condition, so that a repetition is known as one; a plain publish has it the other way round.
// Without ids each message is acknowledged for itself, and its revision is exact.
func (c *Cache) writeMany(ctx context.Context, writes []write) []PutResult {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	c.writing.RLock()
	defer c.writing.RUnlock()
	m := &many{c: c, writes: writes, results: make([]PutResult, len(writes)), rooms: make([]room, len(writes)), done: make(chan struct{}), left: 1}
	if err := c.usable(); err != nil {
		m.failAll(err)
		return m.results
	}
	byPart := make([][]int, len(c.parts))
	for i := range writes {
		var err error
		if m.rooms[i], err = c.reserve(ctx, writes[i]); err != nil {
			m.results[i].Err = err
			continue
		}
		n := writes[i].part.number
		byPart[n] = append(byPart[n], i)
	}
	var sent []sending
	for n, indexes := range byPart {
		if len(indexes) > 0 {
			sent = append(sent, m.send(ctx, c.parts[n], indexes)...)
		}
	}
	m.finished(1)
	select {
	case <-m.done:
	case <-ctx.Done():
		err := contextError(ctx)
		for _, s := range sent {
			c.grid.asks.forget(s.id)
			s.by.answer(nil, err)
		}
		<-m.done
	}
	for _, s := range sent {
		s.by.settle(ctx)
	}
	return m.results
}

// many is writes that are under way together.
type many struct {
	c       *Cache
	writes  []write
	results []PutResult
	rooms   []room

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

func (m *many) failAll(err error) {
	for i := range m.results {
		m.results[i].Err = err
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

// send sends the writes of one partition.
func (m *many) send(ctx context.Context, p *part, indexes []int) []sending {
	fast := true
	for _, i := range indexes {
		fast = fast && len(m.writes[i].header[headerMsgID]) > 0
	}
	if fast {
		var out []sending
		for len(indexes) > 0 {
			n := min(len(indexes), fastMax)
			out = append(out, m.sendFast(ctx, p, indexes[:n])...)
			indexes = indexes[n:]
		}
		return out
	}
	out := make([]sending, 0, len(indexes))
	for _, i := range indexes {
		one := &oneOfMany{m: m, i: i}
		weight := m.writes[i].weight()
		if err := p.flight.Acquire(ctx, weight); err != nil {
			m.results[i].Err = contextError(ctx)
			m.rooms[i].release()
			continue
		}
		one.weight = weight
		m.finished(-1)
		id, err := m.c.grid.asks.publish(one, m.writes[i])
		if err != nil {
			one.answer(nil, err)
		}
		out = append(out, sending{id: id, by: one})
	}
	return out
}

// oneOfMany takes the answer to one write.
type oneOfMany struct {
	m      *many
	i      int
	weight int64
	done   bool
}

func (a *oneOfMany) answer(msg *nats.Msg, err error) bool {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if a.done {
		return true
	}
	a.done = true
	r := &a.m.results[a.i]
	var stored ack
	switch {
	case err != nil:
		r.Err = err
	case status(msg) == "503":
		r.Err = errNoJetStream
	default:
		if stored, err = parseAck(msg.Data); err != nil {
			r.Err = apiError(err)
		}
		r.Revision, r.Duplicate = stored.seq, stored.duplicate
	}
	a.m.writes[a.i].part.flight.Release(a.weight)
	a.m.finishedLocked(1)
	return true
}

func (a *oneOfMany) settle(context.Context) {
	r := a.m.results[a.i]
	if r.Err != nil {
		a.m.rooms[a.i].release()
		return
	}
	p := a.m.writes[a.i].part
	p.wrote(r.Revision)
	a.m.rooms[a.i].releaseAfter(p, r.Revision)
}
