package grid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// A listener on a node that does not own a partition gets its changes from the owner, by a relay: the node says every second
// that it wants a cache's changes, with or without values, and the owner publishes them on
// millrace.<grid>.changes.<class>.<partition>.<cache>.{keys,values} for as long as somebody says so. Every message has a
// number; one that is missing makes the node's listeners read again from their places.

const (
	relayEvery = time.Second
	// relayFor is how long an owner goes on after it was last asked.
	relayFor = 4 * relayEvery
	// replicasEvery is how often a node looks whether the number of replicas was changed.
	replicasEvery = 10 * time.Second

	relayNumber = "Relay-Number"
	relayFence  = "Relay-Fence"
	relaySeq    = "Relay-Sequence"
	relayKind   = "Relay-Kind"
	relayToken  = "Relay-Key"
	relayTime   = "Relay-Time"
)

func (g *Grid) relaySubject(p *partition, cache string, values bool) string {
	form := "keys"
	if values {
		form = "values"
	}
	return fmt.Sprintf("millrace.%s.changes.%s.%d.%s.%s", g.cfg.Name, p.class, p.number, cache, form)
}

// outlet is the owner's side of the relays of one cache: it is a taker like a listener.
type outlet struct {
	t     *tenure
	cache string

	mu            sync.Mutex
	keys, values  time.Time // until when somebody wants them
	nKeys, nWhole uint64    // of the last messages sent
}

// outletSpan is between the first numbers of two outlets of one partition that follow one another on a node, also in two tenures under one lease: whoever had
// messages of the one notices that those of the other are not the next.
const outletSpan = 1 << 40

// relayOut answers a node that wants a cache's changes.
func (t *tenure) relayOut(q question) (answer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return answer{}, ErrNotOwner
	}
	t.index.mu.Lock() // between two changes
	defer t.index.mu.Unlock()
	o := t.outlets[q.Cache]
	if o == nil {
		made := t.p.outletsMade.Add(1) * outletSpan
		o = &outlet{t: t, cache: q.Cache, nKeys: made, nWhole: made}
		t.outlets[q.Cache] = o
	}
	t.p.hub.remove(q.Cache, o) // what it wants may have changed
	o.mu.Lock()
	a := answer{Fence: t.fence, Sent: o.nKeys, Unfed: !t.offering}
	if q.Values {
		o.values, a.Sent = time.Now().Add(relayFor), o.nWhole
	} else {
		o.keys = time.Now().Add(relayFor)
	}
	o.mu.Unlock()
	t.p.hub.add(q.Cache, o)
	return a, nil
}

// closeOutlets ends those that nobody wants any more, or all.
func (t *tenure) closeOutlets(all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for cache, o := range t.outlets {
		o.mu.Lock()
		over := now.After(o.keys) && now.After(o.values)
		o.mu.Unlock()
		if over || all {
			t.p.hub.remove(cache, o)
			delete(t.outlets, cache)
		}
	}
}

func (o *outlet) wantsValues() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Now().Before(o.values)
}

// fallBehind and rewind make a gap in the numbers, which the other side notices.
func (o *outlet) fallBehind(int) { o.skip() }
func (o *outlet) rewind(int)     { o.skip() }

func (o *outlet) skip() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nKeys++
	o.nWhole++
}

func (o *outlet) offer(_ int, c change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// What nobody wants at the moment is numbered all the same: who was late to ask again, for want of a connection say, notices that it is missing.
	o.nKeys++
	o.nWhole++
	now := time.Now()
	if now.Before(o.keys) {
		o.send(c, false, o.nKeys)
	}
	if now.Before(o.values) {
		o.send(c, true, o.nWhole)
	}
}

func (o *outlet) send(c change, values bool, number uint64) {
	g := o.t.g
	h := nats.Header{}
	var data []byte
	if values {
		e := c.entry
		// They were stored, so they can be written.
		if own, err := (PutOptions{ContentType: e.ContentType, Lifespan: e.Lifespan, MaxIdle: e.MaxIdle, Labels: e.Labels}).headers(); err == nil && own != nil {
			h = own
		}
		delete(h, headerTTL)
		data = e.Value
	}
	h[relayNumber] = []string{strconv.FormatUint(number, 10)}
	h[relayFence] = []string{strconv.FormatUint(o.t.fence, 10)}
	h[relaySeq] = []string{strconv.FormatUint(uint64(c.seq), 10)}
	h[relayKind] = []string{strconv.Itoa(int(c.kind))}
	h[relayToken] = []string{Escape(c.entry.Key)}
	h[relayTime] = []string{strconv.FormatInt(c.entry.Created.UnixNano(), 10)}
	h[HeaderRevision] = []string{strconv.FormatUint(uint64(c.entry.Revision), 10)}
	err := g.reads.PublishMsg(&nats.Msg{Subject: g.relaySubject(o.t.p, o.cache, values), Header: h, Data: data})
	if err != nil {
		g.cfg.Logger.Debug("relay a change", "cache", o.cache, "error", err) // its number will be missed
	}
}

// relays are what this node gets from owners.
type relays struct {
	g *Grid

	mu      sync.Mutex
	running map[relayKey]*relay
}

type relayKey struct {
	p     *partition
	cache string
}

// relay is one cache's changes from one partition's owner.
type relay struct {
	key    relayKey
	values bool
	sub    *nats.Subscription
	log    *slog.Logger

	renewing atomic.Bool

	// mu is held too while takers are told that they are behind: a change that comes after that must not be handed on before it.
	mu     sync.Mutex
	fence  uint64
	number uint64    // of the last message
	sent   uint64    // what the owner had sent at a look, whose messages must have come by the next
	looked time.Time // when that look was
	// taken is the last message that was handed on, due what was promised to come and when that was asked for, and proven when it was of the last
	// promise that came true.
	taken, due       uint64
	dueAsked, proven time.Time
}

var errNotRemote = errors.New("this node owns the partition")

// open returns once the owner of a partition sends a cache's changes here.
func (r *relays) open(ctx context.Context, p *partition, cache string) error {
	if p.tenure() != nil || r.g.alone() {
		return errNotRemote
	}
	takers := p.hub.of(cache)
	values := takers != nil && takers.values
	key := relayKey{p, cache}
	r.mu.Lock()
	have := r.running[key]
	replaced := have != nil && values && !have.values
	if replaced {
		r.drop(have)
		have = nil
	}
	if have == nil {
		have = &relay{key: key, values: values, log: r.g.cfg.Logger}
		sub, err := r.g.reads.Subscribe(r.g.relaySubject(p, cache, values), have.take)
		if err != nil {
			r.mu.Unlock()
			return fmt.Errorf("get the changes of %s: %w", cache, connError(err))
		}
		have.sub = sub
		r.running[key] = have
	}
	r.mu.Unlock()
	if replaced {
		have.mu.Lock()
		have.fallBehind() // what was sent between the two is missing
		have.mu.Unlock()
	}
	return r.renew(ctx, have)
}

// renew asks the owner to go on, and looks whether messages are missing.
func (r *relays) renew(ctx context.Context, s *relay) error {
	if err := r.g.reads.FlushWithContext(ctx); err != nil { // the subscription is known before anything is sent
		// A flush says of a connection that breaks meanwhile, and is made anew, that it is closed.
		if errors.Is(err, nats.ErrConnectionClosed) && !r.g.reads.IsClosed() {
			err = nats.ErrDisconnected
		}
		return fmt.Errorf("get the changes of %s: %w", s.key.cache, connError(err))
	}
	a, err := r.g.ask(ctx, s.key.p, question{Op: askRelay, Cache: s.key.cache, Values: s.values, AsIs: true})
	if err != nil {
		return err
	}
	s.answered(a, time.Now())
	return nil
}

// answered takes in what the owner says of its messages, and looks whether some are missing.
func (s *relay) answered(a answer, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	another := s.fence != a.Fence || s.number/outletSpan != a.Sent/outletSpan // than what the messages so far were of
	later := now.Sub(s.looked) >= lookAgain
	missing := later && s.number < s.sent
	switch {
	case another:
		missing = s.fence != 0
		s.restart(a.Fence, a.Sent)
	case missing:
		s.restart(s.fence, s.sent)
	}
	if another || later {
		s.sent, s.looked = a.Sent, now
	}
	if missing {
		s.fallBehind()
	}
}

// lookAgain is the least time between two looks whether messages are missing. Those who begin to listen ask too, several at a time, and what the owner had sent
// when it answered one of them may still be on its way.
const lookAgain = relayEvery / 2

// fallBehind has takers read what changed. Lock is held.
func (s *relay) fallBehind() {
	s.log.Debug("changes of a relay are missing", "cache", s.key.cache, "partition", s.key.p.number, "from", s.number)
	if takers := s.key.p.hub.of(s.key.cache); takers != nil {
		takers.fallBehind(s.key.p.number)
	}
}

// take hands a relayed change to the listeners.
func (s *relay) take(m *nats.Msg) {
	number, err1 := strconv.ParseUint(first(m.Header, relayNumber), 10, 64)
	fence, err2 := strconv.ParseUint(first(m.Header, relayFence), 10, 64)
	seq, err3 := strconv.ParseUint(first(m.Header, relaySeq), 10, 64)
	kind, err4 := strconv.ParseUint(first(m.Header, relayKind), 10, 8)
	nanos, err5 := strconv.ParseInt(first(m.Header, relayTime), 10, 64)
	key, err6 := Unescape(first(m.Header, relayToken))
	if errors.Join(err1, err2, err3, err4, err5, err6) != nil {
		return // its number will be missed
	}
	if s.key.p.tenure() != nil {
		return // this node owns the partition now and has its changes itself; its number is missed if that ends
	}
	s.mu.Lock()
	if fence < s.fence || fence == s.fence && number <= s.number {
		s.mu.Unlock()
		return // a former owner's, or one that was given up
	}
	missing := s.fence != 0 && (fence != s.fence || number != s.number+1)
	if missing {
		s.restart(fence, number)
		s.fallBehind()
		s.mu.Unlock()
		return
	}
	s.fence, s.number = fence, number
	s.mu.Unlock()
	defer s.took(number)
	takers := s.key.p.hub.of(s.key.cache)
	if takers == nil {
		return
	}
	in := message{seq: Sequence(seq), at: time.Unix(0, nanos), size: len(m.Data)}
	in.readHeaders(appendHeader(nil, m.Header))
	takers.offer(s.key.p.number, change{seq: Sequence(seq), kind: EventType(kind), entry: in.entry(s.key.cache, key, m.Data)})
}

// drop ends a relay. Lock is held.
func (r *relays) drop(s *relay) {
	delete(r.running, s.key)
	if err := s.sub.Unsubscribe(); err != nil {
		r.g.cfg.Logger.Debug("end a relay", "cache", s.key.cache, "error", err)
	}
}

// look ends the relays that nobody needs any more.
func (r *relays) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, s := range r.running {
		if key.p.tenure() != nil || key.p.hub.of(key.cache) == nil {
			r.drop(s)
		}
	}
}

// run keeps the relays, and ends the outlets that nobody wants.
func (r *relays) run() {
	ticker := time.NewTicker(relayEvery)
	defer ticker.Stop()
	var looked time.Time
	var renewals sync.WaitGroup
	defer renewals.Wait()
	for {
		select {
		case <-ticker.C:
		case <-r.g.done:
			return
		}
		r.look()
		r.mu.Lock()
		all := make([]*relay, 0, len(r.running))
		for _, s := range r.running {
			all = append(all, s)
		}
		r.mu.Unlock()
		for _, s := range all {
			// Beside one another: a dead owner must not keep the others' relays from going on.
			if s.renewing.CompareAndSwap(false, true) {
				renewals.Go(func() {
					defer s.renewing.Store(false)
					ctx, cancel := context.WithTimeout(until(r.g.done), r.g.cfg.Timeout)
					defer cancel()
					if err := r.renew(ctx, s); err != nil {
						r.g.cfg.Logger.Debug("keep a relay", "cache", s.key.cache, "error", err)
					}
				})
			}
		}
		for _, t := range r.g.tenures() {
			t.closeOutlets(false)
		}
		ctx, cancel := context.WithTimeout(until(r.g.done), r.g.cfg.Timeout)
		r.g.tellUses(ctx)
		if now := time.Now(); now.Sub(looked) >= replicasEvery {
			r.g.learnReplicas(ctx)
			looked = now
		}
		cancel()
	}
}
