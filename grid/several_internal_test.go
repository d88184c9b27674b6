package grid

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/millrace/grid/internal/wire"
)

// TestSeveral: answers of several parts are taken whole, and not where one of them is lost.
func TestSeveral(t *testing.T) {
	t.Parallel()
	part := func(before, seq int) string {
		return fmt.Sprintf("NATS/1.0\r\nNats-Sequence: %d\r\nNats-Num-Pending: 1\r\nNats-Last-Sequence: %d\r\n\r\n", seq, before)
	}
	end := func(before int) string {
		return fmt.Sprintf("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\nNats-UpTo-Sequence: 9\r\n\r\n", before)
	}
	for _, c := range []struct {
		what  string
		parts []string
		n     int // of the messages; -1 where they are not whole
	}{
		{"both", []string{part(0, 3), part(3, 7), end(7)}, 2},
		{"none", []string{"NATS/1.0 404 No Results\r\n\r\n"}, 0},
		{"without the first", []string{part(3, 7), end(7)}, -1},
		{"without the second", []string{part(0, 3), end(7)}, -1},
		{"without all but the end", []string{end(7)}, -1},
	} {
		s := &several{c: make(chan replies, 1), err: make(chan error, 1)}
		for i, p := range c.parts {
			if done := s.answer(&wire.Msg{Header: wire.Header(p)}, nil); done {
				if i < len(c.parts)-1 && c.n >= 0 {
					t.Errorf("%s: ends with part %d", c.what, i)
				}
				break
			}
		}
		select {
		case all := <-s.c:
			if len(all.all) != c.n || c.n > 0 && all.upTo != 9 {
				t.Errorf("%s: %d messages up to %d, want %d", c.what, len(all.all), all.upTo, c.n)
			}
		case err := <-s.err:
			if c.n >= 0 || !errors.Is(err, errGap) || !isAway(err) {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	}
}
