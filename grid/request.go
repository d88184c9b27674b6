package grid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// requester sends messages that are answered, many at a time, over one inbox. It exists because
// the answers are what costs: it reads a publish acknowledgement without decoding JSON, and takes
// the answers of a fast-ingest batch, of which there are several.
type requester struct {
	nc     *nats.Conn
	prefix string // inbox with its last dot
	sub    *nats.Subscription

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]asked
	stopped error // set once: every later request fails with it
}

// answerer receives the answers to one request, on the subscription's goroutine; it must not
// block. It returns whether that was the last one. An error instead of a message is the last one.
type answerer interface {
	answer(*nats.Msg, error) (last bool)
}

type asked struct {
	by    answerer
	write bool
}

func newRequester(nc *nats.Conn) (*requester, error) {
	r := &requester{nc: nc, prefix: nc.NewInbox() + ".", waiting: make(map[uint64]asked)}
	sub, err := nc.Subscribe(r.prefix+">", r.receive)
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	r.sub = sub
	return r, nil
}

func (r *requester) receive(m *nats.Msg) {
	token := m.Subject[len(r.prefix):]
	if dot := strings.IndexByte(token, '.'); dot >= 0 {
		token = token[:dot]
	}
	id, err := strconv.ParseUint(token, 36, 64)
	if err != nil {
		return // nobody's
	}
	r.mu.Lock()
	a, ok := r.waiting[id]
	r.mu.Unlock()
	if !ok {
		return // given up
	}
	if a.by.answer(m, nil) {
		r.forget(id)
	}
}

// expect registers a request and returns its number and reply subject.
func (r *requester) expect(a answerer, write bool) (id uint64, reply string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped != nil {
		return 0, "", r.stopped
	}
	r.next++
	r.waiting[r.next] = asked{by: a, write: write}
	var b [96]byte
	return r.next, string(strconv.AppendUint(append(b[:0], r.prefix...), r.next, 36)), nil
}

func (r *requester) forget(id uint64) {
	r.mu.Lock()
	delete(r.waiting, id)
	r.mu.Unlock()
}

// fail answers waiting requests with err: all, or those that write.
func (r *requester) fail(err error, all bool) {
	r.mu.Lock()
	var failed []answerer
	for id, a := range r.waiting {
		if all || a.write {
			failed = append(failed, a.by)
			delete(r.waiting, id)
		}
	}
	r.mu.Unlock()
	for _, a := range failed {
		a.answer(nil, err)
	}
}

func (r *requester) close() {
	r.mu.Lock()
	r.stopped = ErrClosed
	r.mu.Unlock()
	r.fail(ErrClosed, true)
	// The connection is closed right after; what Unsubscribe says of it does not matter.
	_ = r.sub.Unsubscribe()
}

// single is a request with one answer.
type single struct {
	c chan answerOrError
}

type answerOrError struct {
	msg *nats.Msg
	err error
}

var singles = sync.Pool{New: func() any { return &single{c: make(chan answerOrError, 1)} }}

func (s *single) answer(m *nats.Msg, err error) bool {
	s.c <- answerOrError{m, err}
	return true
}

// publish sends a write whose answer goes to a.
func (r *requester) publish(a answerer, w write) (uint64, error) {
	id, reply, err := r.expect(a, true)
	if err != nil {
		return 0, err
	}
	if err := r.nc.PublishMsg(&nats.Msg{Subject: w.subject, Reply: reply, Header: w.header, Data: w.value}); err != nil {
		r.forget(id)
		return 0, connError(err)
	}
	return id, nil
}

// write sends a write and waits for its answer.
func (r *requester) write(ctx context.Context, w write) (*nats.Msg, error) {
	s := singles.Get().(*single)
	id, err := r.publish(s, w)
	if err != nil {
		return nil, err
	}
	return r.wait(ctx, id, s)
}

// read sends a request for a stored message and waits for its answer.
func (r *requester) read(ctx context.Context, subject string) (*nats.Msg, error) {
	s := singles.Get().(*single)
	id, reply, err := r.expect(s, false)
	if err != nil {
		return nil, err
	}
	if err := r.nc.PublishRequest(subject, reply, nil); err != nil {
		r.forget(id)
		return nil, connError(err)
	}
	return r.wait(ctx, id, s)
}

func (r *requester) wait(ctx context.Context, id uint64, s *single) (*nats.Msg, error) {
	select {
	case a := <-s.c:
		singles.Put(s)
		if a.err != nil {
			return nil, a.err
		}
		if status(a.msg) == "503" {
			return nil, errNoJetStream
		}
		return a.msg, nil
	case <-ctx.Done():
		r.forget(id) // s may still be answered: it does not go back to the pool
		return nil, contextError(ctx)
	}
}

// contextError tells a caller who gave up from a grid that did not answer.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: no answer in time: %w", ErrUnavailable, ctx.Err())
}

// errNoJetStream is what a request gets that nobody receives.
var errNoJetStream = fmt.Errorf("%w: no JetStream answers", ErrUnavailable)

func connError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func status(m *nats.Msg) string {
	if len(m.Header) == 0 {
		return ""
	}
	return first(m.Header, "Status")
}

// ack is the acknowledgement of a stored message.
type ack struct {
	seq Sequence
}

var (
	ackSeq     = []byte(`"seq":`)
	ackError   = []byte(`"error":`)
	ackNothing = []byte(`"seq":0,`)
)

// parseAck reads a publish acknowledgement, {"stream":"S","seq":N} with optional fields, or the
// error in it as an *jetstream.APIError.
func parseAck(data []byte) (ack, error) {
	if bytes.Contains(data, ackError) {
		var bad struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(data, &bad); err == nil && bad.Error != nil {
			return ack{}, bad.Error
		}
		return ack{}, fmt.Errorf("%w: unreadable acknowledgement %q", ErrUnavailable, data)
	}
	i := bytes.Index(data, ackSeq)
	if i < 0 {
		return ack{}, fmt.Errorf("%w: unreadable acknowledgement %q", ErrUnavailable, data)
	}
	var a ack
	for _, c := range data[i+len(ackSeq):] {
		if c == ' ' && a.seq == 0 {
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		a.seq = a.seq*10 + Sequence(c-'0')
	}
	if a.seq == 0 {
		return ack{}, fmt.Errorf("%w: unreadable acknowledgement %q", ErrUnavailable, data)
	}
	return a, nil
}
