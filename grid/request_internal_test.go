package grid

import (
	"testing"

	"github.com/millrace/millrace/grid/internal/wire"
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
