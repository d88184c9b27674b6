package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// serveQuestions answers other nodes until the tenure ends.
func (t *tenure) serveQuestions() error {
	g := t.g
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil
	}
	for suffix, answering := range map[string]*errgroup.Group{"": &g.asking, ofStoreSuffix: &g.askingStore} {
		sub, err := g.reads.Subscribe(g.ownerSubject(t.p)+suffix, func(m *nats.Msg) {
			answering.Go(func() error {
				t.reply(m)
				return nil
			})
		})
		if err != nil {
			t.listenNoMore(t.questions)
			return fmt.Errorf("answer for partition %d: %w", t.p.number, connError(err))
		}
		t.questions = append(t.questions, sub)
	}
	return nil
}

// listenNoMore ends subscriptions. The connection may be gone: what Unsubscribe says of it does not matter.
func (t *tenure) listenNoMore(subs []*nats.Subscription) {
	for _, sub := range subs {
		_ = sub.Unsubscribe()
	}
}

func (t *tenure) reply(m *nats.Msg) {
	var q question
	var a answer
	err := json.Unmarshal(m.Data, &q)
	if err == nil {
		limit := t.g.cfg.Timeout
		if q.ofStore() {
			limit = min(limit, askWait)
		}
		ctx, cancel := context.WithTimeout(until(t.g.done), limit)
		defer cancel()
		a, err = t.answer(ctx, q)
		a.Late = err != nil && q.ofStore() && errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	if err != nil {
		// One that is being closed gives away what it owns: who asks has to ask again.
		a = answer{NotOwner: errors.Is(err, ErrNotOwner) || t.g.isDone(), Full: errors.Is(err, ErrFull), Late: a.Late, Error: err.Error()}
	}
	b, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil {
		t.g.cfg.Logger.Debug("answer a node's question", "question", q.Op, "error", err)
	}
}

// answer answers a question from what the owner knows.
func (t *tenure) answer(ctx context.Context, q question) (answer, error) {
	x := t.index
	end, err := t.writtenBy(ctx, q)
	if err != nil {
		return answer{}, err
	}
	if err := x.wait(ctx, end); err != nil {
		return answer{}, err
	}
	a := answer{Fence: t.fence, Born: t.p.flow.born.Load()}
	switch q.Op {
	case askForget:
		var err error
		a.Sequence, err = t.forget(ctx, q.Cache)
		return a, err
	case askRelay:
		return t.relayOut(q)
	case askPosition, askSeek:
		return t.answerReader(ctx, q)
	case askAdmit:
		return a, t.admit(ctx, q)
	case askBack:
		return a, t.bringBack(ctx, q)
	case askValue:
		a.Value, a.Live, a.More, err = t.coldValue(ctx, q)
		return a, err
	case askStored, askUsed:
		return a, t.answerTier(ctx, q)
	case askLeave:
		a.Left, err = t.leave(ctx, q)
		return a, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return answer{}, ErrNotOwner
	}
	x.settle(t.g.cfg.Now())
	a.Sequence = x.seq
	s := x.spaces[q.Cache]
	switch q.Op {
	case askEnd:
	case askCount:
		if s != nil {
			a.Entries, a.Bytes, a.Cold, a.ColdBytes = s.live, s.bytes, s.cold, s.coldSize
		}
	case askTouch:
		r, ok := x.lookup(q.Cache, string(q.Key))
		a.Live = ok && r.state == stateLive || !ok && x.seq < q.From
		if a.Live && q.Use && ok && r.seq == q.From && s.idle != nil {
			s.idle[string(q.Key)] = t.g.cfg.Now()
		}
	case askChanges:
		a.Changes, a.More = page(x.changes(q.Cache, string(q.Prefix), q.From, q.Current), q.Limit)
	case askKeys:
		if q.Newest {
			a.Changes, _ = page(x.newest(q.Cache, string(q.Prefix), q.Limit), 0)
			break
		}
		limit := 0
		if q.Limit > 0 {
			limit = q.Limit + 1 // one more shows whether there is more
		}
		keys := x.keysAfter(q.Cache, string(q.Prefix), string(q.Key), limit)
		sortKeys(keys)
		a.Changes, a.More = page(keys, q.Limit)
	default:
		return answer{}, fmt.Errorf("%w: unknown question %q", ErrUnavailable, q.Op)
	}
	return a, nil
}

// writtenBy returns up to where an answer must see the stream: what the asker wrote and this node wrote, and, since others may
// have written too, where other nodes are, the stream's end.
func (t *tenure) writtenBy(ctx context.Context, q question) (Sequence, error) {
	end := Sequence(t.p.flow.written.Load())
	if q.Born == 0 || q.Born == t.p.flow.born.Load() {
		end = max(end, q.After)
	}
	if t.g.alone() || q.AsIs || q.Op == askTouch || q.Op == askUsed {
		return end, nil
	}
	stream, err := t.g.stream(ctx, t.p)
	if err != nil {
		return 0, err
	}
	return max(end, Sequence(stream.CachedInfo().State.LastSeq)), nil
}

// keysAfter returns the entries of a cache whose key comes after one, those with the least keys where limit is not 0, in no order. Lock
// is held.
func (x *index) keysAfter(cache, prefix, after string, limit int) []keyChange {
	s := x.spaces[cache]
	if s == nil {
		return nil
	}
	size := int(s.live)
	if limit > 0 {
		size = min(size, 2*limit)
	}
	out := make([]keyChange, 0, size)
	last := "" // of limit keys that were found
	for key, r := range s.records {
		if r.state != stateLive || key <= after || last != "" && key >= last || !strings.HasPrefix(key, prefix) {
			continue
		}
		out = append(out, keyChange{key: key, seq: r.seq, revision: r.revision, size: int(r.size)})
		if limit > 0 && len(out) == 2*limit {
			sortKeys(out)
			out = out[:limit]
			last = out[limit-1].key
		}
	}
	return out
}

func sortKeys(keys []keyChange) {
	slices.SortFunc(keys, func(a, b keyChange) int { return strings.Compare(a.key, b.key) })
}

// newest returns up to limit entries of a cache that were written last, from the newest. Lock is held.
func (x *index) newest(cache, prefix string, limit int) []keyChange {
	s := x.spaces[cache]
	if s == nil || limit <= 0 {
		return nil
	}
	var out []keyChange
	best := func() {
		slices.SortFunc(out, func(a, b keyChange) int { return cmp.Compare(b.revision, a.revision) })
		out = out[:min(len(out), limit)]
	}
	for key, r := range s.records {
		if r.state != stateLive || !strings.HasPrefix(key, prefix) {
			continue
		}
		if out = append(out, keyChange{key: key, seq: r.seq, revision: r.revision}); len(out) >= 2*limit {
			best()
		}
	}
	best()
	return out
}

// page cuts what goes into one answer, but not between changes of one place: the next page is asked for by the place of the last.
func page(all []keyChange, limit int) (some []wireChange, more bool) {
	for limit > 0 && len(all) > limit && all[limit].seq == all[limit-1].seq {
		limit++
	}
	if limit > 0 && len(all) > limit {
		all, more = all[:limit], true
	}
	some = make([]wireChange, len(all))
	for i, c := range all {
		some[i] = wireChange{Kind: c.kind, Key: []byte(c.key), Sequence: c.seq, Revision: c.revision, Size: c.size}
	}
	return some, more
}

// endOf returns where a partition's index stands, with what this node wrote, and when its stream was made. Where this node is the owner, at is called
// with the index locked at that point.
func (g *Grid) endOf(ctx context.Context, p *partition, at func(*tenure)) (end Sequence, born int64, err error) {
	if t := p.tenure(); t != nil {
		err := t.settled(ctx)
		if err == nil {
			x := t.index
			x.mu.Lock()
			defer x.mu.Unlock()
			at(t)
			return x.seq, x.born, nil
		}
		if !errors.Is(err, ErrNotOwner) {
			return 0, 0, err
		}
	}
	a, err := g.ask(ctx, p, question{Op: askEnd})
	return a.Sequence, a.Born, err
}

// askChanges returns what changed in a cache after from, and, as the answer's Sequence, where the owner's index stands.
func (g *Grid) askChanges(ctx context.Context, p *partition, cache, prefix string, from Sequence, current bool) ([]keyChange, answer, error) {
	var out []keyChange
	for {
		a, err := g.ask(ctx, p, question{Op: askChanges, Cache: cache, Prefix: []byte(prefix), From: from, Current: current, Limit: askPage})
		if err != nil {
			return nil, answer{}, err
		}
		for _, c := range a.Changes {
			out = append(out, keyChange{kind: c.Kind, key: string(c.Key), seq: c.Sequence, revision: c.Revision})
		}
		if !a.More {
			return out, a, nil
		}
		from = out[len(out)-1].seq
	}
}

// askKeys returns the entries of a cache in a partition whose keys come after one, in the order of their keys, up to limit where it is not 0.
func (g *Grid) askKeys(ctx context.Context, p *partition, cache, prefix, after string, limit int) ([]keyChange, error) {
	if t := p.tenure(); t != nil {
		out, err := t.keys(ctx, cache, prefix, after, limit)
		if !errors.Is(err, ErrNotOwner) {
			return out, err
		}
	}
	var out []keyChange
	for {
		size := askPage
		if limit > 0 {
			size = min(size, limit-len(out))
		}
		a, err := g.ask(ctx, p, question{Op: askKeys, Cache: cache, Prefix: []byte(prefix), Key: []byte(after), Limit: size})
		if err != nil {
			return nil, err
		}
		for _, c := range a.Changes {
			out = append(out, keyChange{key: string(c.Key), seq: c.Sequence, revision: c.Revision, size: c.Size})
		}
		if !a.More || limit > 0 && len(out) >= limit {
			return out, nil
		}
		after = out[len(out)-1].key
	}
}

// keys is askKeys of the owner itself, which sorts without holding up its feed.
func (t *tenure) keys(ctx context.Context, cache, prefix, after string, limit int) ([]keyChange, error) {
	end, err := t.writtenBy(ctx, question{Op: askKeys})
	if err != nil {
		return nil, err
	}
	x := t.index
	if err := x.wait(ctx, end); err != nil {
		return nil, err
	}
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return nil, ErrNotOwner
	}
	x.settle(t.g.cfg.Now())
	out := x.keysAfter(cache, prefix, after, limit)
	x.mu.Unlock()
	sortKeys(out)
	if limit > 0 {
		out = out[:min(len(out), limit)]
	}
	return out, nil
}
