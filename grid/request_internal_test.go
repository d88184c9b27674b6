package grid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/grid/internal/wire"
	"github.com/millrace/millrace/internal/natstest"
)

// An answerer is used again after it was answered. Where the connection ends at that moment, what the next request waits for must not
// be ended by the end of this one.
func TestOneAnswer(t *testing.T) {
	for _, write := range []bool{false, true} {
		r := &requester{prefix: "inbox.", waiting: make(map[uint64]asked)}
		a := &endsOnAnswer{r: r}
		_, reply, err := r.expect(asked{by: a, write: write})
		if err != nil {
			t.Fatal(err)
		}
		r.receive(&wire.Msg{Subject: []byte(reply)})
		r.receive(&wire.Msg{Subject: []byte(reply)})
		r.fail(errGone, true)
		if a.answers != 1 {
			t.Errorf("write %v: answered %d times", write, a.answers)
		}
	}
}

// endsOnAnswer counts answers; during the first the connection ends.
type endsOnAnswer struct {
	r       *requester
	answers int
}

func (a *endsOnAnswer) answer(*wire.Msg, error) bool {
	if a.answers++; a.answers == 1 {
		a.r.fail(errGone, true)
	}
	return true
}

// TestWriteSentAgain: a condition that failed says whether the write had been sent before, and so may be what it was compared with.
func TestWriteSentAgain(t *testing.T) {
	nc, err := nats.Connect(natstest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answers := make(chan int, 10)
	sub, err := nc.Subscribe("stands.for.a.stream", func(m *nats.Msg) {
		if err := m.Respond(fmt.Appendf(nil, `{"error":{"code":400,"err_code":%d,"description":"as the test wants"}}`, <-answers)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			t.Error(err)
		}
	}()
	r, err := newRequester(func(r *requester) (link, error) {
		l, err := newNATSLink(nc, r)
		return back{l}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.link.close()
	r.attempt.Store(int64(time.Minute))
	for _, c := range []struct {
		answers []int
		again   bool // it was sent before this
		sent    bool
	}{
		{answers: []int{wrongLastSequence}},
		{answers: []int{sequenceInProcess, wrongLastSequence}},
		{answers: []int{10009, wrongLastSequence}, sent: true},
		{answers: []int{wrongLastSequence}, again: true, sent: true},
	} {
		for _, code := range c.answers {
			answers <- code
		}
		send := r.write
		if c.again {
			send = r.rewrite
		}
		w := write{place: place{subject: "stands.for.a.stream"}, header: nats.Header{headerExpected: {"7"}}}
		_, err := send(t.Context(), w)
		if !isWrongSequence(err) || errors.Is(err, errSent) != c.sent || first(w.header, headerMsgID) == "" {
			t.Errorf("after %v, sent before %v: %v, id %q", c.answers, c.again, err, first(w.header, headerMsgID))
		}
	}
}

// back is a link to a server that comes back.
type back struct{ link }

func (back) comesBack(context.Context) bool { return true }

// TestUnavailableOnce: what says already that the grid is unavailable does not say it twice.
func TestUnavailableOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for name, of := range map[string]func(error) error{"connError": connError, "apiError": apiError} {
		err := of(fmt.Errorf("ask: %w", contextError(ctx)))
		if !errors.Is(err, ErrUnavailable) || strings.Count(err.Error(), ErrUnavailable.Error()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
