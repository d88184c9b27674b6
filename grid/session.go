package grid

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

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

// take is called with one pushed message after the other. What it is given is valid only while it runs.
func (s *session) take(m *wire.Msg) {
	s.heard.Store(true)
	if code, text := m.Header.Status(); len(m.Data) == 0 && code != 0 {
		s.hear(code, text, m.Header)
		return
	}
	if d, ok := s.next(m.Reply); ok {
		in := message{seq: d.seq, at: d.at, size: len(m.Data)}
		in.readHeaders(m.Header)
		s.deliver(d, string(m.Subject), &in, m.Data)
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
	s.reached(d.seq, d.pending == 0)
}

// reached notes how far in the stream the server has come, and whether it has nothing more.
func (s *session) reached(seq Sequence, all bool) {
	if !s.caughtUp && (seq >= s.last || all && !s.f.mayLag()) {
		s.caughtUp = true
		s.f.caughtUp(s.last)
	}
}

// hear reads what the server says beside messages: how many it sent, and how far in the stream it has come. What was purged
// there is passed over without a message.
func (s *session) hear(code int, text []byte, h wire.Header) {
	if code != 100 {
		s.fail(fmt.Errorf("%w: the server says %d %s", errFeed, code, text))
		return
	}
	value, _ := h.Value("Nats-Last-Consumer")
	sent, ok := number(value)
	if !ok {
		return
	}
	if sent != s.count {
		s.fail(fmt.Errorf("%w: the server sent %d messages, %d came", errFeed, sent, s.count))
		return
	}
	value, _ = h.Value("Nats-Last-Stream")
	if end, ok := number(value); ok {
		x := s.f.t.index
		x.mu.Lock()
		x.advance(Sequence(end))
		x.mu.Unlock()
		s.reached(Sequence(end), false)
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
