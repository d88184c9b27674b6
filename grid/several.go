package grid

import (
	"context"
	"fmt"
	"strconv"

	"github.com/millrace/millrace/grid/internal/wire"
)

// several is a request with any number of answers, which ends with one that has a status. They are copied for whoever waits for them.
type several struct {
	got []reply // by the one goroutine that reads the connection
	c   chan replies
	err chan error
}

// replies is what came, and where the replica that answered stood, 0 where it did not say.
type replies struct {
	all  []reply
	upTo Sequence
}

func (s *several) answer(m *wire.Msg, err error) bool {
	if err == nil {
		err = noResponders(m)
	}
	if err != nil {
		select {
		case s.err <- err:
		default: // told already
		}
		return true
	}
	own := append(append(make([]byte, 0, len(m.Header)+len(m.Data)), m.Header...), m.Data...)
	n := len(m.Header)
	r := reply{header: wire.Header(own[:n:n]), data: own[n:]}
	code, _ := r.header.Status()
	if (code == 0 || code == 204) && !s.follows(r) {
		s.err <- errGap
		return true
	}
	switch code {
	case 0:
		s.got = append(s.got, r)
		return false
	case 204, 404: // the end, of some or of none
	default:
		s.got = append(s.got, r)
	}
	s.c <- replies{s.got, r.upTo()}
	return true
}

// errGap is what answers of several parts are not.
var errGap = fmt.Errorf("%w: a part of an answer is missing", ErrUnavailable)

// follows reports whether an answer is the one that comes next. One is lost where the connection between two servers breaks in their midst.
func (s *several) follows(r reply) bool {
	var last []byte
	if len(s.got) > 0 {
		last, _ = s.got[len(s.got)-1].header.Value(headerSequence)
	}
	before, _ := r.header.Value(headerBefore)
	return string(before) == string(last) || len(last) == 0 && string(before) == "0"
}

// upTo is where the stream of a replica ended when it gave several messages, which the last of its answers says; 0 where it does not.
func (r reply) upTo() Sequence {
	value, _ := r.header.Value(headerUpTo)
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0
	}
	return Sequence(n)
}

// readAll sends a request for stored messages and waits for all answers. A server that is being restarted is waited for.
func (r *requester) readAll(ctx context.Context, subject string, body []byte) (replies, error) {
	for {
		all, err := r.readAllOnce(ctx, subject, body)
		if !r.readAgain(err) {
			return all, err
		}
		if why := r.pause(ctx, subject, err); why != nil {
			return all, why
		}
	}
}

func (r *requester) readAllOnce(ctx context.Context, subject string, body []byte) (replies, error) {
	s := &several{c: make(chan replies, 1), err: make(chan error, 1)}
	id, inbox, err := r.expect(asked{by: s, subject: subject, many: true})
	if err != nil {
		return replies{}, err
	}
	defer r.forget(id)
	if err := r.sendOne(ctx, subject, inbox, nil, body); err != nil {
		return replies{}, err
	}
	late, stop := r.patience()
	defer stop()
	select {
	case all := <-s.c:
		return all, nil
	case err := <-s.err:
		return replies{}, err
	case <-late:
		return replies{}, errLate
	case <-ctx.Done():
		return replies{}, contextError(ctx)
	}
}
