package grid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/millrace/millrace/grid/internal/wire"
)

// requester sends messages that are answered, many at a time, over one inbox. It exists because the answers are what costs:
// it reads a publish acknowledgement where it lies and without decoding JSON, and takes the answers of a fast-ingest batch, of
// which there are several.
type requester struct {
	link   link
	prefix string // inbox with its last dot
	// attempt is how long, in nanoseconds, a message to a cluster waits for its answer before it is sent again, with the same id: its leader may have died. 0
	// waits for ever.
	attempt atomic.Int64
	ids     string // begins those of messages
	// stuck, where it is set, says why what was sent to a subject and failed is not to be sent again; nil for no reason that is known.
	stuck func(ctx context.Context, subject string) error

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]asked
	named   uint64 // ids that were given
	stopped error  // set once: every later request fails with it
}

// answerer receives the answers to one request, on the goroutine that reads the connection; it must not block, nor keep the
// message. It returns whether that was the last one. An error instead of a message is the last one; it may come after the last message of
// many.
type answerer interface {
	answer(*wire.Msg, error) (last bool)
}

// asked is a request that waits for its answers.
type asked struct {
	by    answerer
	write bool
	// subject is where it was sent, for what is refused there; empty where that is several.
	subject string
	many    bool // has several answers; any other has one, and is answered once, by a message or by an error
}

// newRequester returns a requester over a connection to which it gives where answers go.
func newRequester(over func(r *requester) (link, error)) (*requester, error) {
	r := &requester{prefix: nats.NewInbox() + ".", ids: nuid.Next(), waiting: make(map[uint64]asked)}
	var err error
	if r.link, err = over(r); err != nil {
		return nil, err
	}
	return r, nil
}

// receive takes one answer.
func (r *requester) receive(m *wire.Msg) {
	token := m.Subject[min(len(r.prefix), len(m.Subject)):]
	if i := bytes.IndexByte(token, '.'); i >= 0 {
		token = token[:i]
	}
	id, err := strconv.ParseUint(string(token), 36, 64)
	if err != nil {
		return // nobody's
	}
	r.mu.Lock()
	a, ok := r.waiting[id]
	if !a.many {
		// Taken out before it is answered: whoever asked may use its answerer for another request, which fail must not find here.
		delete(r.waiting, id)
	}
	r.mu.Unlock()
	if !ok {
		return // given up, or answered
	}
	if last := a.by.answer(m, nil); last && a.many {
		r.forget(id)
	}
}

// expect registers a request and returns its number and reply subject.
func (r *requester) expect(a asked) (id uint64, reply string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped != nil {
		return 0, "", r.stopped
	}
	r.next++
	r.waiting[r.next] = a
	var b [96]byte
	return r.next, string(strconv.AppendUint(append(b[:0], r.prefix...), r.next, 36)), nil
}

func (r *requester) forget(id uint64) {
	r.mu.Lock()
	delete(r.waiting, id)
	r.mu.Unlock()
}

// deny answers the requests to a subject with err.
func (r *requester) deny(subject string, err error) {
	r.mu.Lock()
	var failed []answerer
	for id, a := range r.waiting {
		if a.subject == subject {
			failed = append(failed, a.by)
			delete(r.waiting, id)
		}
	}
	r.mu.Unlock()
	for _, a := range failed {
		a.answer(nil, err)
	}
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
	r.link.close()
}

// reply is an answer that belongs to whoever waited for it.
type reply struct {
	header wire.Header
	data   []byte
}

// stored returns the sequence of the message that a direct get answered with; 0 where there is none.
func (m reply) stored() (Sequence, error) {
	switch code, text := m.header.Status(); code {
	case 0, 204:
	case 404:
		return 0, nil
	default:
		return 0, fmt.Errorf("%w: the stream answers %d %s", ErrUnavailable, code, text)
	}
	value, _ := m.header.Value(headerSequence)
	seq, ok := number(value)
	if !ok || seq == 0 {
		return 0, fmt.Errorf("%w: an answer without sequence", ErrUnavailable)
	}
	return Sequence(seq), nil
}

// single is a request with one answer, which is copied for whoever waits for it.
type single struct {
	c chan replyOrError
}

type replyOrError struct {
	reply reply
	err   error
}

var singles = sync.Pool{New: func() any { return &single{c: make(chan replyOrError, 1)} }}

func (s *single) answer(m *wire.Msg, err error) bool {
	if err == nil {
		err = noResponders(m)
	}
	if err != nil {
		s.c <- replyOrError{err: err}
		return true
	}
	own := append(append(make([]byte, 0, len(m.Header)+len(m.Data)), m.Header...), m.Data...)
	n := len(m.Header)
	s.c <- replyOrError{reply: reply{header: wire.Header(own[:n:n]), data: own[n:]}}
	return true
}

// acked is a write with one acknowledgement.
type acked struct {
	c chan ackOrError
}

type ackOrError struct {
	seq Sequence
	err error
}

var ackeds = sync.Pool{New: func() any { return &acked{c: make(chan ackOrError, 1)} }}

func (a *acked) answer(m *wire.Msg, err error) bool {
	seq, err := readAck(m, err)
	a.c <- ackOrError{seq, err}
	return true
}

// write sends a write and waits until it is stored. One that nobody received is sent again, and one whose condition cannot be told yet.
// In a cluster one is sent again too that may have been stored: the stream knows it by its id, but for a leader that has not come to it yet, which compares it with itself. Then
// the error is errSent too.
func (r *requester) write(ctx context.Context, w write) (Sequence, error) {
	return r.writeUntil(ctx, w, false)
}

// rewrite is write for what was sent before and may be stored.
func (r *requester) rewrite(ctx context.Context, w write) (Sequence, error) {
	return r.writeUntil(ctx, w, true)
}

func (r *requester) writeUntil(ctx context.Context, w write, sent bool) (Sequence, error) {
	r.identify(&w)
	for {
		seq, err := r.writeOnce(ctx, w)
		switch {
		case isInProcess(err):
			select {
			case <-ctx.Done():
				return 0, contextError(ctx)
			case <-time.After(writeAgain):
			}
		case r.again(err):
			if why := r.pause(ctx, w.subject, err); why != nil {
				return seq, why
			}
			sent = true
		case sent && isWrongSequence(err):
			return seq, fmt.Errorf("%w: %w", errSent, err)
		default:
			return seq, err
		}
	}
}

// errSent says of a write whose condition failed that it was sent before and may be stored.
var errSent = errors.New("it was sent several times")

// writeAgain is the pause before a write is sent again whose condition could not be told.
const writeAgain = time.Millisecond

func (r *requester) writeOnce(ctx context.Context, w write) (Sequence, error) {
	a := ackeds.Get().(*acked)
	id, reply, err := r.expect(asked{by: a, write: true, subject: w.subject})
	if err != nil {
		return 0, err
	}
	if err := r.sendOne(ctx, w.subject, reply, w.header, w.value); err != nil {
		r.forget(id)
		return 0, err
	}
	late, stop := r.patience()
	defer stop()
	select {
	case got := <-a.c:
		ackeds.Put(a)
		return got.seq, got.err
	case <-late:
		r.forget(id)
		return 0, errLate
	case <-ctx.Done():
		r.forget(id) // a may still be answered: it does not go back to the pool
		return 0, contextError(ctx)
	}
}

// read sends a request for a stored message and waits for its answer. A server that is being restarted is waited for.
func (r *requester) read(ctx context.Context, subject string, body []byte) (reply, error) {
	for {
		m, err := r.readOnce(ctx, subject, body)
		if !r.readAgain(err) {
			return m, err
		}
		if why := r.pause(ctx, subject, err); why != nil {
			return m, why
		}
	}
}

func (r *requester) readOnce(ctx context.Context, subject string, body []byte) (reply, error) {
	s := singles.Get().(*single)
	id, inbox, err := r.expect(asked{by: s, subject: subject})
	if err != nil {
		return reply{}, err
	}
	if err := r.sendOne(ctx, subject, inbox, nil, body); err != nil {
		r.forget(id)
		return reply{}, err
	}
	late, stop := r.patience()
	defer stop()
	select {
	case a := <-s.c:
		singles.Put(s)
		return a.reply, a.err
	case <-late:
		r.forget(id)
		return reply{}, errLate
	case <-ctx.Done():
		r.forget(id) // s may still be answered: it does not go back to the pool
		return reply{}, contextError(ctx)
	}
}

// readStored asks a stream's replicas for the last message of a subject, by direct get.
func (g *Grid) readStored(ctx context.Context, p *partition, subject string) (m reply, seq Sequence, err error) {
	if m, err = g.asks.read(ctx, directGet+p.stream+"."+subject, nil); err != nil {
		return reply{}, 0, err
	}
	seq, err = m.stored()
	return m, seq, err
}

// readMany sends requests that are under way together and returns their answers in order, as read does.
func (r *requester) readMany(ctx context.Context, subjects []string) ([]reply, error) {
	for {
		answers, err := r.readManyOnce(ctx, subjects)
		if !isAway(err) {
			return answers, err
		}
		if why := r.pause(ctx, subjects[0], err); why != nil {
			return answers, why
		}
	}
}

func (r *requester) readManyOnce(ctx context.Context, subjects []string) ([]reply, error) {
	waits, ids := make([]*single, len(subjects)), make([]uint64, len(subjects))
	defer func() {
		for i, s := range waits {
			if s != nil {
				r.forget(ids[i])
			}
		}
	}()
	out := r.link.post()
	for i, subject := range subjects {
		s := &single{c: make(chan replyOrError, 1)}
		id, inbox, err := r.expect(asked{by: s, subject: subject})
		if err != nil {
			return nil, err
		}
		waits[i], ids[i] = s, id
		if err := out.add(subject, inbox, nil, nil); err != nil {
			return nil, err
		}
	}
	if err := out.send(ctx); err != nil {
		return nil, err
	}
	late, stop := r.patience()
	defer stop()
	answers := make([]reply, len(subjects))
	for i, s := range waits {
		select {
		case <-late:
			return nil, errLate
		case a := <-s.c:
			waits[i] = nil
			if a.err != nil {
				return nil, a.err
			}
			answers[i] = a.reply
		case <-ctx.Done():
			return nil, contextError(ctx)
		}
	}
	return answers, nil
}

func (r *requester) sendOne(ctx context.Context, subject, reply string, h nats.Header, data []byte) error {
	out := r.link.post()
	if err := out.add(subject, reply, h, data); err != nil {
		return err
	}
	return out.send(ctx)
}

// contextError tells a caller who gave up from a grid that did not answer.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: no answer in time: %w", ErrUnavailable, ctx.Err())
}

var (
	// errNoJetStream is what a request gets that nobody receives.
	errNoJetStream = fmt.Errorf("%w: no JetStream answers", ErrUnavailable)
	// errGone is what requests get that were under way when their connection broke.
	errGone = fmt.Errorf("%w: the connection to NATS broke", ErrUnavailable)
	// errLate is what a message gets in a cluster that had no answer after a while.
	errLate = fmt.Errorf("%w: the partition's leader does not answer", ErrUnavailable)
)

// attemptTime is how long a message to a cluster waits for its answer.
const attemptTime = time.Second

func isAway(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, errNoJetStream) || errors.Is(err, errLate) || errors.Is(err, errGap)
}

func noResponders(m *wire.Msg) error {
	if len(m.Data) > 0 {
		return nil
	}
	if code, _ := m.Header.Status(); code == 503 {
		return errNoJetStream
	}
	return nil
}

func connError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

var (
	ackSeq     = []byte(`"seq":`)
	ackError   = []byte(`"error":`)
	ackNothing = []byte(`"seq":0,`)
)

// readAck reads the answer to a write.
func readAck(m *wire.Msg, err error) (Sequence, error) {
	if err == nil {
		err = noResponders(m)
	}
	if err != nil {
		return 0, err
	}
	seq, err := parseAck(m.Data)
	if err != nil {
		return 0, apiError(err)
	}
	return seq, nil
}

// parseAck reads a publish acknowledgement, {"stream":"S","seq":N} with optional fields, or the
// error in it as an *jetstream.APIError.
func parseAck(data []byte) (Sequence, error) {
	if bytes.Contains(data, ackError) {
		var bad struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(data, &bad); err == nil && bad.Error != nil {
			return 0, bad.Error
		}
		return 0, fmt.Errorf("%w: unreadable acknowledgement %q", ErrUnavailable, data)
	}
	if i := bytes.Index(data, ackSeq); i >= 0 {
		rest := bytes.TrimLeft(data[i+len(ackSeq):], " ")
		n := slices.IndexFunc(rest, func(c byte) bool { return c < '0' || c > '9' })
		if n < 0 {
			n = len(rest)
		}
		if seq, ok := number(rest[:n]); ok && seq > 0 {
			return Sequence(seq), nil
		}
	}
	return 0, fmt.Errorf("%w: unreadable acknowledgement %q", ErrUnavailable, data)
}

// directGet begins the subjects on which the server answers reads of stored messages.
const directGet = "$JS.API.DIRECT.GET."
