package grid

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid/internal/wire"
)

// JetStream's fast ingest. A batch is messages whose reply subject is
//
//	<inbox>.<batch>.<flow>.ok.<number of the message>.<operation>.$FI
//
// where ok lets the batch go on over a refused message. The operation of the last message is 2, of
// the first before it 0, of those between 1. The server answers the last one with an acknowledgement of the
// batch, and a refused one with its error; a duplicate is passed over in silence. There are other
// answers, for flow control, which a batch of a few hundred does not need.
const (
	fastMax      = 512
	fastFlow     = ".512.ok."
	fastFirst    = ".0.$FI"
	fastNext     = ".1.$FI"
	fastLast     = ".2.$FI"
	fastTypeErr  = `"type":"err"`
	fastTypeGap  = `"type":"gap"`
	fastTypeMark = `"type":`
)

// fastBatch takes the answers to one batch.
type fastBatch struct {
	m       *many
	p       *partition
	indexes []int
	weight  int64
	last    Sequence // the last one that was stored
	done    bool
}

// sendFast sends writes of one partition.
func (m *many) sendFast(ctx context.Context, p *partition, indexes []int) {
	b := &fastBatch{m: m, p: p, indexes: indexes}
	for _, i := range indexes {
		b.weight += m.writes[i].weight()
	}
	b.weight = min(b.weight, flightMax)
	if err := m.acquire(ctx, p, b.weight); err != nil {
		b.weight = 0
		b.failRest(err)
		b.settle(ctx)
		return
	}
	m.finished(-1)
	asks := m.c.grid.asks
	id, reply, err := asks.expect(asked{by: b, write: true, many: true})
	to := append(make([]byte, 0, len(reply)+len(fastFlow)+16), reply+fastFlow...)
	for n := 0; n < len(indexes) && err == nil; n++ {
		w := m.writes[indexes[n]]
		operation := fastNext
		switch n {
		case len(indexes) - 1: // also the first, of one
			operation = fastLast
		case 0:
			operation = fastFirst
		}
		numbered := append(strconv.AppendInt(to, int64(n+1), 10), operation...)
		err = m.add(string(numbered), w)
	}
	if err != nil {
		asks.forget(id)
		b.answer(nil, err)
	}
	m.sent = append(m.sent, sending{id: id, by: b})
}

func (b *fastBatch) answer(msg *wire.Msg, err error) bool {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if b.done {
		return true
	}
	if err == nil {
		err = noResponders(msg)
	}
	if err == nil {
		var last bool
		if last, err = b.read(msg); !last && err == nil {
			return false
		}
	}
	b.done = true
	if err != nil {
		b.failRest(err)
	}
	b.p.flow.flight.Release(b.weight)
	b.m.finishedLocked(1)
	return true
}

// read reads one answer. An error is that of all messages that have none yet.
func (b *fastBatch) read(msg *wire.Msg) (last bool, err error) {
	if bytes.Contains(msg.Data, []byte(fastTypeMark)) {
		return false, b.readNote(msg.Data)
	}
	if bytes.Contains(msg.Data, ackError) {
		_, err := parseAck(msg.Data)
		n, last := fastNumber(string(msg.Subject))
		if last {
			return true, apiError(err)
		}
		b.fail(n, apiError(err))
		return false, nil
	}
	if bytes.Contains(msg.Data, ackNothing) {
		return true, nil // every message was refused
	}
	b.last, err = parseAck(msg.Data)
	return true, err
}

// readNote reads an answer that does not end the batch.
func (b *fastBatch) readNote(data []byte) error {
	isErr, isGap := bytes.Contains(data, []byte(fastTypeErr)), bytes.Contains(data, []byte(fastTypeGap))
	if !isErr && !isGap {
		return nil
	}
	var note struct {
		Expected uint64              `json:"last_seq"`
		Sequence uint64              `json:"seq"`
		Error    *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &note); err != nil {
		return fmt.Errorf("%w: unreadable answer %q", ErrUnavailable, data)
	}
	switch {
	case isErr && note.Error != nil:
		b.fail(note.Sequence, apiError(note.Error))
	case isGap:
		for n := note.Expected; n < note.Sequence && n <= uint64(len(b.indexes)); n++ {
			b.fail(n, fmt.Errorf("%w: the message was lost on the way", ErrUnavailable))
		}
	}
	return nil
}

// fastNumber reads the number of the message out of its reply subject.
func fastNumber(subject string) (n uint64, last bool) {
	subject, last = strings.CutSuffix(subject, fastLast)
	if !last {
		subject = strings.TrimSuffix(strings.TrimSuffix(subject, fastFirst), fastNext)
	}
	n, err := strconv.ParseUint(subject[strings.LastIndexByte(subject, '.')+1:], 10, 64)
	if err != nil {
		return 0, last
	}
	return n, last
}

// fail notes the error of the n-th message, from 1.
func (b *fastBatch) fail(n uint64, err error) {
	if n >= 1 && n <= uint64(len(b.indexes)) {
		if r := &b.m.results[b.indexes[n-1]]; r.err == nil {
			r.err = err
		}
	}
}

func (b *fastBatch) failRest(err error) {
	for n := range b.indexes {
		b.fail(uint64(n+1), err)
	}
}

// settle notes which keys the index is behind with, or waits for it where these are many.
func (b *fastBatch) settle(ctx context.Context) {
	for _, i := range b.indexes {
		b.m.writeAgain(ctx, i)
		b.last = max(b.last, b.m.results[i].seq)
	}
	for _, i := range b.indexes {
		b.p.wrote(b.m.writes[i].subject, b.last)
		b.m.c.wroteOwn(&b.m.writes[i], b.last)
		b.m.rooms[i].releaseAfter(b.p, b.last)
	}
	t := b.p.tenure()
	if b.last == 0 || t == nil {
		return
	}
	keys := func(yield func(string) bool) {
		for _, i := range b.indexes {
			if !yield(b.m.writes[i].key) {
				return
			}
		}
	}
	if t.index.runAhead(b.m.c.name, keys, len(b.indexes), b.last) {
		return
	}
	// The writes are stored: who cannot wait loses nothing but the pace.
	_ = t.index.wait(ctx, b.last)
}
