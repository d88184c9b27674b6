package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// What only the owner of a partition knows, other nodes ask it by request and reply, on the subject
// millrace.<grid>.owner.<class>.<partition>. A node asks itself without the detour.

// question is what is asked.
type question struct {
	Op string `json:"op"`
	// After is the last sequence that the asker wrote: the answer includes it.
	After Sequence `json:"after,omitempty"`
	// Born is the stream that After is of, as answer.Born tells it; 0 where the asker does not know.
	Born int64 `json:"born,omitempty"`
	// AsIs says that the answer need not include what others wrote: a question that is put again and again would have the stream's leader asked each time.
	AsIs bool `json:"as_is,omitempty"`

	Cache   string   `json:"cache,omitempty"`
	Prefix  []byte   `json:"prefix,omitempty"`
	Key     []byte   `json:"key,omitempty"`
	From    Sequence `json:"from,omitempty"`
	Current bool     `json:"current,omitempty"`
	Limit   int      `json:"limit,omitempty"`
	Size    int      `json:"size,omitempty"`
	Keys    [][]byte `json:"keys,omitempty"`
	Use     bool     `json:"use,omitempty"`
	Values  bool     `json:"values,omitempty"`
	Wait    bool     `json:"wait,omitempty"`
	Newest  bool     `json:"newest,omitempty"`
	Reader  string   `json:"reader,omitempty"`
	To      *seekTo  `json:"to,omitempty"`
	// Within is how long a write may wait for its room.
	Within time.Duration `json:"within,omitempty"`
}

// answer is what is answered.
type answer struct {
	NotOwner bool   `json:"not_owner,omitempty"`
	Full     bool   `json:"full,omitempty"`
	Error    string `json:"error,omitempty"`

	Fence uint64 `json:"fence,omitempty"`
	// Born tells streams apart that were lost and made anew: when this one was made, in Unix nanoseconds.
	Born      int64        `json:"born,omitempty"`
	Sequence  Sequence     `json:"sequence,omitempty"`
	Entries   int64        `json:"entries,omitempty"`
	Bytes     int64        `json:"bytes,omitempty"`
	Cold      int64        `json:"cold,omitempty"`
	ColdBytes int64        `json:"cold_bytes,omitempty"`
	Live      bool         `json:"live,omitempty"`
	Sent      uint64       `json:"sent,omitempty"`
	Unfed     bool         `json:"unfed,omitempty"` // changes are not sent at the moment
	More      bool         `json:"more,omitempty"`
	Changes   []wireChange `json:"changes,omitempty"`
	Position  *Position    `json:"position,omitempty"`
	Unread    bool         `json:"unread,omitempty"` // the partition has nothing of the reader
	Left      []wireLeft   `json:"left,omitempty"`
}

// wireChange is a keyChange on its way.
type wireChange struct {
	Kind     EventType `json:"k"`
	Key      []byte    `json:"n"`
	Sequence Sequence  `json:"s"`
	Revision Revision  `json:"r"`
	Size     int       `json:"z,omitempty"` // of the value, of keys
}

// The questions.
const (
	askEnd      = "end"      // where the index stands
	askChanges  = "changes"  // what changed in a cache after From
	askKeys     = "keys"     // the entries of a cache, by key, after Key; or those that were written last, from the Newest
	askCount    = "count"    // how many entries a cache has
	askTouch    = "touch"    // whether an entry's idle time is over; a use extends it
	askForget   = "forget"   // remove every entry of a cache that was deleted
	askRelay    = "relay"    // send the changes of a cache, for a while
	askPosition = "position" // of a reader
	askSeek     = "seek"     // move a reader's position
	askAdmit    = "admit"    // take room for a value of Size
	askBack     = "back"     // bring the cold entry whose stub is From back into memory
	askStored   = "stored"   // wait until what was written up to From is in the store
	askUsed     = "used"     // Keys were read
	askLeave    = "leave"    // have the values of Keys leave memory
)

const (
	// askPage is how many changes or keys one answer has at most.
	askPage = 20000
	// askTry is how long one request waits; an owner that does not answer may be dead.
	askTry = 2 * time.Second
	// askPause is the wait between requests while a partition has no owner.
	askPause = 25 * time.Millisecond
	// askMax is how many questions of others a node answers at a time.
	askMax = 64
)

func (g *Grid) ownerSubject(p *partition) string {
	return fmt.Sprintf("millrace.%s.owner.%s.%d", g.cfg.Name, p.class, p.number)
}

// ask puts a question to a partition's owner, whichever node that is, and waits while there is none.
func (g *Grid) ask(ctx context.Context, p *partition, q question) (answer, error) {
	ctx, cancel := g.limited(ctx)
	defer cancel()
	for {
		q.After, q.Born = Sequence(p.flow.written.Load()), p.flow.born.Load()
		a, err := g.askOnce(ctx, p, q)
		if !errors.Is(err, ErrNotOwner) {
			if a.Born != 0 {
				p.flow.of(a.Born)
			}
			return a, err
		}
		if err := g.settleDown(ctx); err != nil {
			return answer{}, fmt.Errorf("partition %d has no owner: %w", p.number, err)
		}
	}
}

// settleDown waits for a moment in which ownership may settle.
func (g *Grid) settleDown(ctx context.Context) error {
	select {
	case <-g.done:
		return ErrClosed
	case <-ctx.Done():
		return contextError(ctx)
	case <-time.After(askPause):
		return nil
	}
}

func (g *Grid) askOnce(ctx context.Context, p *partition, q question) (answer, error) {
	if t := p.tenure(); t != nil {
		return t.answer(ctx, q)
	}
	if g.alone() {
		return answer{}, ErrNotOwner // for the moment; nobody else can be it
	}
	b, err := json.Marshal(q)
	if err != nil {
		return answer{}, fmt.Errorf("ask the owner of partition %d: %w", p.number, err)
	}
	try, cancel := context.WithTimeout(ctx, askTry)
	defer cancel()
	m, err := g.writes.RequestWithContext(try, g.ownerSubject(p), b)
	switch {
	case ctx.Err() != nil:
		return answer{}, contextError(ctx)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return answer{}, ErrNotOwner
	case err != nil:
		return answer{}, fmt.Errorf("ask the owner of partition %d: %w", p.number, connError(err))
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return answer{}, fmt.Errorf("%w: the owner of partition %d answers %q", ErrUnavailable, p.number, m.Data)
	}
	if a.NotOwner {
		return answer{}, ErrNotOwner
	}
	if a.Full {
		return answer{}, fmt.Errorf("%w: %s", ErrFull, strings.TrimPrefix(a.Error, ErrFull.Error()+": "))
	}
	if a.Error != "" {
		return answer{}, fmt.Errorf("%w: the owner of partition %d: %s", ErrUnavailable, p.number, a.Error)
	}
	return a, nil
}

// serveQuestions answers other nodes until the tenure ends.
func (t *tenure) serveQuestions() error {
	g := t.g
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil
	}
	sub, err := g.reads.Subscribe(g.ownerSubject(t.p), func(m *nats.Msg) {
		g.asking.Go(func() error {
			t.reply(m)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("answer for partition %d: %w", t.p.number, connError(err))
	}
	t.questions = sub
	return nil
}

func (t *tenure) reply(m *nats.Msg) {
	var q question
	var a answer
	err := json.Unmarshal(m.Data, &q)
	if err == nil {
		ctx, cancel := context.WithTimeout(until(t.g.done), t.g.cfg.Timeout)
		defer cancel()
		a, err = t.answer(ctx, q)
	}
	if err != nil {
		// One that is being closed gives away what it owns: who asks has to ask again.
		a = answer{NotOwner: errors.Is(err, ErrNotOwner) || t.g.isDone(), Full: errors.Is(err, ErrFull), Error: err.Error()}
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
