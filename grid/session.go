package grid

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/grid/internal/wire"
)

// session is one push consumer's messages. They are taken on one goroutine.
type session struct {
	f        *feed
	last     Sequence // where the stream ended when it began
	caughtUp bool
	count    uint64 // of messages so far
	end      chan error
	heard    atomic.Bool // since the last look
}

func (s *session) fail(err error) {
	select {
	case s.end <- err:
	default:
	}
}

// takeWire is called with one pushed message after the other. What it is given is valid only while it runs.
func (s *session) takeWire(m *wire.Msg) {
	s.heard.Store(true)
	if len(m.Data) == 0 && len(m.Header) > 0 {
		if code, text := m.Header.Status(); code != 0 {
			s.hear(notice{
				code: strconv.Itoa(code), text: string(text), sent: header(m.Header, headerLastConsumer), end: header(m.Header, headerLastStream),
			})
			return
		}
	}
	if d, ok := s.next(m.Reply); ok {
		in := message{seq: d.seq, at: d.at, size: len(m.Data)}
		in.readBlock(m.Header)
		s.deliver(d, string(m.Subject), &in, m.Data)
	}
}

func header(h wire.Header, name string) string {
	v, _ := h.Value(name)
	return string(v)
}

// takeNATS is takeWire for a server outside.
func (s *session) takeNATS(m *nats.Msg) {
	s.heard.Store(true)
	if len(m.Data) == 0 && len(m.Header) > 0 {
		if code := status(m); code != "" {
			s.hear(notice{
				code: code, text: first(m.Header, "Description"), sent: first(m.Header, headerLastConsumer), end: first(m.Header, headerLastStream),
			})
			return
		}
	}
	if d, ok := s.next([]byte(m.Reply)); ok {
		in := message{seq: d.seq, at: d.at, size: len(m.Data)}
		in.readHeaders(m.Header)
		s.deliver(d, m.Subject, &in, m.Data)
	}
}

// next looks whether a message is the one that follows.
func (s *session) next(reply []byte) (delivery, bool) {
	d, ok := parseDelivery(reply)
	if !ok {
		s.fail(fmt.Errorf("%w: a message without number: %q", errFeed, reply))
		return d, false
	}
	if s.count++; d.number != s.count {
		s.fail(fmt.Errorf("%w: message %d came as number %d", errFeed, d.number, s.count))
		return d, false
	}
	return d, true
}

func (s *session) deliver(d delivery, subject string, m *message, value []byte) {
	s.f.t.take(subject, m, value)
	if !s.caughtUp && (d.seq >= s.last || d.pending == 0) {
		s.caughtUp = true
		s.f.caughtUp(s.last)
	}
}

// Headers of a heartbeat.
const (
	headerLastConsumer = "Nats-Last-Consumer"
	headerLastStream   = "Nats-Last-Stream"
)

// notice is what the server says beside messages.
type notice struct {
	code, text string
	sent, end  string // how many messages were sent, and how far in the stream the server has come
}

// hear reads a notice. What was purged in the stream is passed over without a message.
func (s *session) hear(n notice) {
	if n.code != "100" {
		s.fail(fmt.Errorf("%w: the server says %s %s", errFeed, n.code, n.text))
		return
	}
	sent, err := strconv.ParseUint(n.sent, 10, 64)
	if err != nil {
		return
	}
	if sent != s.count {
		s.fail(fmt.Errorf("%w: the server sent %d messages, %d came", errFeed, sent, s.count))
		return
	}
	if end, err := strconv.ParseUint(n.end, 10, 64); err == nil {
		x := s.f.t.index
		x.mu.Lock()
		x.advance(Sequence(end))
		x.mu.Unlock()
	}
}

// wait returns why the session is over.
func (s *session) wait(stopped, lost <-chan struct{}) error {
	ticker := time.NewTicker(2*feedHeartbeat + feedHeartbeat/2)
	defer ticker.Stop()
	for {
		select {
		case err := <-s.end:
			return err
		case <-lost:
			return errLost
		case <-stopped:
			return nil
		case <-ticker.C:
			if !s.heard.Swap(false) {
				return fmt.Errorf("%w: the server is silent", errFeed)
			}
		}
	}
}

// delivery is what the server says of a pushed message in its reply subject,
// $JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.number.time.pending[.token].
type delivery struct {
	seq     Sequence
	number  uint64 // of this message to its consumer
	at      time.Time
	pending uint64
}

var deliveryPrefix = []byte("$JS.ACK.")

func parseDelivery(reply []byte) (delivery, bool) {
	rest, ok := bytes.CutPrefix(reply, deliveryPrefix)
	if !ok {
		return delivery{}, false
	}
	skip := 3 // stream, consumer, deliveries
	if dots := bytes.Count(rest, dot); dots > 6 {
		skip = 5
	} else if dots < 6 {
		return delivery{}, false
	}
	for range skip {
		_, rest, _ = bytes.Cut(rest, dot)
	}
	var n [4]uint64
	for i := range n {
		var token []byte
		token, rest, _ = bytes.Cut(rest, dot)
		if n[i], ok = number(token); !ok {
			return delivery{}, false
		}
	}
	return delivery{seq: Sequence(n[0]), number: n[1], at: time.Unix(0, int64(n[2])), pending: n[3]}, true
}

var dot = []byte{'.'}
