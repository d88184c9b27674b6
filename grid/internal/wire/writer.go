package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

const pendingMax = 1 << 20 // senders wait when as much is collected

// writer writes to the connection. What comes while nothing is being written is written at once by the goroutine that brings it: the fastest
// way for one sender. What comes meanwhile is collected and written together by run: a write in the process waits until the server has
// read it, so many senders would wait for each other a write each.
type writer struct {
	to net.Conn

	mu      sync.Mutex
	changed sync.Cond // of what follows
	busy    bool      // somebody writes
	pending []byte    // what was collected
	spare   []byte    // the buffer to collect in next
	ended   error     // once set, nothing is written
}

func newWriter(to net.Conn) *writer {
	w := &writer{to: to}
	w.changed.L = &w.mu
	return w
}

// write writes a batch's buffer, or collects it. It calls order, where there is one, in the order in which the server gets things.
func (w *writer) write(buf []byte, large []part, order func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.ended == nil && len(w.pending) >= pendingMax {
		w.changed.Wait()
	}
	if w.ended != nil {
		return w.ended
	}
	if order != nil {
		order()
	}
	if w.busy || len(w.pending) > 0 {
		at := 0
		for _, l := range large {
			w.pending = append(append(w.pending, buf[at:l.at]...), l.data...)
			at = l.at
		}
		w.pending = append(w.pending, buf[at:]...)
		return nil
	}
	return w.put(buf, large)
}

// run writes what was collected, until the writer has ended.
func (w *writer) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.ended == nil && (w.busy || len(w.pending) == 0) {
			w.changed.Wait()
		}
		if w.ended != nil {
			return
		}
		out := w.pending
		w.pending = w.spare
		if len(out) >= pendingMax {
			w.changed.Broadcast()
		}
		_ = w.put(out, nil) // it has ended the writer
		if w.spare = nil; cap(out) <= 2*pendingMax {
			w.spare = out[:0]
		}
	}
}

// put writes with the lock given up meanwhile.
func (w *writer) put(buf []byte, large []part) error {
	w.busy = true
	w.mu.Unlock()
	var err error
	if len(large) == 0 {
		_, err = w.to.Write(buf)
	} else {
		pieces, at := make(net.Buffers, 0, 2*len(large)+1), 0
		for _, l := range large {
			pieces = append(pieces, buf[at:l.at], l.data)
			at = l.at
		}
		pieces = append(pieces, buf[at:])
		_, err = pieces.WriteTo(w.to)
	}
	w.mu.Lock()
	w.busy = false
	if err != nil && w.ended == nil {
		w.ended = fmt.Errorf("write to the NATS server: %w", err)
		if !errors.Is(err, io.ErrClosedPipe) {
			// A part of a message may have gone out. Where the server closed the connection, the goroutine that reads finds out why.
			_ = w.to.Close()
		}
	}
	if len(w.pending) > 0 || w.ended != nil {
		w.changed.Broadcast()
	}
	if err != nil {
		return w.ended
	}
	return nil
}

// end lets nothing more be written; every later write returns why.
func (w *writer) end(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = why
	w.changed.Broadcast()
}
