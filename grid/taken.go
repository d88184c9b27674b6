package grid

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// taken returns the sequence of a write whose condition failed and that is stored all the same, 0 where it is not: it was sent several times, and a leader compared a later one with the
// first. Where another write of the key came after that, nobody can tell, which is ErrUnavailable.
func (c *Cache) taken(ctx context.Context, w write, failed error) (Sequence, error) {
	if !errors.Is(failed, errSent) {
		return 0, nil
	}
	m, seq, err := c.grid.readBehind(ctx, w.partition, w.subject)
	if err != nil {
		return 0, fmt.Errorf("look whether a write was stored: %w", err)
	}
	if id, _ := m.header.Value(headerMsgID); seq != 0 && string(id) == first(w.header, headerMsgID) {
		w.partition.wrote(w.subject, seq)
		c.wroteOwn(&w, seq)
		return seq, c.throughTo(ctx, w.partition, seq)
	}
	if first(w.header, headerExpected) == strconv.FormatUint(uint64(seq), 10) {
		return 0, nil // nothing was stored after what it was to replace
	}
	return 0, fmt.Errorf("%w: it was sent several times while the partition had another leader, and the key was written since: whether it was stored before that is not known", ErrUnavailable)
}
