package grid

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// taken returns the sequence of a write whose condition failed and that is stored all the same, 0 where it is not. That comes to pass in a cluster: a write was sent several times,
// and a leader compared a later one with the first; or it came to two leaders, of which one leads no more and has an older state than the condition names. Where another write of the key
// came after that, nobody can tell, which is ErrUnavailable.
func (c *Cache) taken(ctx context.Context, w write, failed error) (Sequence, error) {
	id := first(w.header, headerMsgID)
	if id == "" {
		return 0, nil // it was sent once
	}
	expected, err := strconv.ParseUint(first(w.header, headerExpected), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the condition of a write: %w", err)
	}
	several := w.sent || errors.Is(failed, errSent)
	last, told := lastSequence(failed)
	if !several && told && last > expected && expected > 0 {
		return 0, nil // the leader has what came after the condition's state
	}
	m, seq, err := c.grid.readBehind(ctx, w.partition, w.subject)
	if err != nil {
		return 0, fmt.Errorf("look whether a write was stored: %w", err)
	}
	if own, _ := m.header.Value(headerMsgID); seq != 0 && string(own) == id {
		w.partition.wrote(w.subject, seq)
		c.wroteOwn(&w, seq)
		return seq, c.throughTo(ctx, w.partition, seq)
	}
	switch uint64(seq) {
	case expected:
		return 0, nil // nothing was stored after what it was to replace
	case last:
		if !several {
			return 0, nil // the leader had the newest state
		}
	}
	if !several && expected == 0 {
		return 0, nil // the key was written when it was to be new
	}
	return 0, fmt.Errorf("%w: it was sent several times, or to a leader that was none any more, and the key was written since: whether it was stored before that is not known", ErrUnavailable)
}

// lastSequence is the key's last sequence as the leader had it that says that a condition failed.
func lastSequence(failed error) (uint64, bool) {
	var api *jetstream.APIError
	if !errors.As(failed, &api) || api.ErrorCode != wrongLastSequence {
		return 0, false
	}
	_, number, _ := strings.Cut(api.Description, ": ")
	last, err := strconv.ParseUint(number, 10, 64)
	return last, err == nil
}
