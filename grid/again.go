package grid

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// In a cluster a message may have no answer, because a leader died or a node was cut off. It is sent again; a write has an id by which the stream knows it.

// identify gives a write its id, where it may be sent several times.
func (r *requester) identify(w *write) {
	if r.attempt.Load() == 0 || first(w.header, headerMsgID) != "" {
		return
	}
	r.mu.Lock()
	r.named++
	n := r.named
	r.mu.Unlock()
	var b [64]byte
	w.set(headerMsgID, string(strconv.AppendUint(append(b[:0], r.ids...), n, 36)))
}

// again reports whether a write that failed so is to be sent again.
func (r *requester) again(err error) bool {
	if r.attempt.Load() == 0 {
		return errors.Is(err, errNoJetStream)
	}
	return isAway(err) || inElection(err)
}

// readAgain reports whether a read that failed so is to be asked for again.
func (r *requester) readAgain(err error) bool {
	return isAway(err) || r.attempt.Load() != 0 && inElection(err)
}

// errUndecided is what becomes of a write that a leader has and that most of the replicas have not confirmed: sent again, it is answered so for as long as that lasts.
var errUndecided = fmt.Errorf("%w: the partition's leader has the write, and most of its replicas do not confirm it", ErrUnavailable)

// pause waits before what failed is sent again, and returns why it is not to be: the context has ended, or it is known to be in vain.
func (r *requester) pause(ctx context.Context, subject string, failed error) error {
	if r.stuck != nil {
		if why := r.stuck(ctx, subject); why != nil {
			return why
		}
	}
	switch {
	case r.link.comesBack(ctx):
		return nil
	case isCode(failed, idInProcess):
		return errUndecided
	}
	return failed
}

// patience returns what fires when a message has waited for its answer for long enough, and ends it; nil does not fire.
func (r *requester) patience() (<-chan time.Time, func() bool) {
	attempt := time.Duration(r.attempt.Load())
	if attempt == 0 {
		return nil, func() bool { return true }
	}
	t := time.NewTimer(attempt)
	return t.C, t.Stop
}

// settled returns when the writes that are under way now have their answers.
func (r *requester) settled(ctx context.Context) error {
	r.mu.Lock()
	last := r.next
	r.mu.Unlock()
	for {
		waits := false
		r.mu.Lock()
		for id, a := range r.waiting {
			waits = waits || a.write && id <= last
		}
		r.mu.Unlock()
		if !waits {
			return nil
		}
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}
