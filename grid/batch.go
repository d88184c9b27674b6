package grid

import (
	"context"
	"fmt"
	"strconv"

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
}

// PutResult is what became of one write.
type PutResult struct {
	// Revision of the entry; that of the first time where it is a duplicate.
	Revision  uint64
	Duplicate bool
	// Err is nil, or as Put's.
	Err error
}

// PutBatch writes many entries at once and returns a result for each, in order; one that is
// refused does not affect the others. Entries of one partition are stored in the order given. The
// error is nil, or says why no entry was tried.
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

// many collects the answers of writes that are under way together.
type many struct {
	results []PutResult
	left    int
	done    chan struct{}
	// mu of the requester's callbacks: they come from one goroutine, except when all fail.
	lock chan struct{}
}

type manyPart struct {
	m    *many
	i    int
	done bool
}

func (a *manyPart) answer(m *nats.Msg, err error) bool {
	a.m.lock <- struct{}{}
	defer func() { <-a.m.lock }()
	if a.done {
		return true
	}
	a.done = true
	r := &a.m.results[a.i]
	switch {
	case err != nil:
		r.Err = err
	case status(m) == "503":
		r.Err = fmt.Errorf("%w: no JetStream answers", ErrUnavailable)
	default:
		ack, err := parseAck(m.Data)
		r.Revision, r.Duplicate = ack.seq, ack.duplicate
		if err != nil {
			r.Err = apiError(err)
		}
	}
	if a.m.left--; a.m.left == 0 {
		close(a.m.done)
	}
	return true
}

// writeMany publishes messages together and waits for all answers.
func (c *Cache) writeMany(ctx context.Context, writes []write) []PutResult {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	c.writing.RLock()
	defer c.writing.RUnlock()
	results := make([]PutResult, len(writes))
	if err := c.usable(); err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	m := &many{results: make([]PutResult, len(writes)), done: make(chan struct{}), left: 1, lock: make(chan struct{}, 1)}
	parts := make([]manyPart, len(writes))
	ids := make([]uint64, len(writes))
	rooms := make([]room, len(writes))
	for i := range writes {
		var err error
		if rooms[i], err = c.reserve(writes[i]); err != nil {
			results[i].Err = err
			continue
		}
		parts[i] = manyPart{m: m, i: i}
		m.lock <- struct{}{}
		m.left++
		<-m.lock
		ids[i], err = c.grid.asks.publish(&parts[i], writes[i])
		if err != nil {
			parts[i].answer(nil, err)
		}
	}
	m.lock <- struct{}{}
	if m.left--; m.left == 0 {
		close(m.done)
	}
	<-m.lock
	select {
	case <-m.done:
	case <-ctx.Done():
		err := contextError(ctx)
		for i := range parts {
			if parts[i].m != nil {
				c.grid.asks.forget(ids[i])
				parts[i].answer(nil, err)
			}
		}
		<-m.done
	}
	for i := range writes {
		if parts[i].m == nil {
			continue
		}
		results[i] = m.results[i]
		if results[i].Err != nil {
			rooms[i].release()
			continue
		}
		writes[i].part.wrote(results[i].Revision)
		rooms[i].releaseAfter(writes[i].part, results[i].Revision)
	}
	return results
}
