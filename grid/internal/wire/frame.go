package wire

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// reader takes frames out of a stream of bytes.
type reader struct {
	from   io.Reader
	buf    []byte
	at, to int // what is read and not taken yet
	limit  int // of a message's size
	small  int // reads since a frame was larger than the usual buffer
}

// next reads the next frame, which is valid until the next call.
func (r *reader) next(f *frame) error {
	for {
		have := r.buf[r.at:r.to]
		size, err := parse(have, r.limit, f)
		if err != nil {
			return err
		}
		if size <= len(have) {
			r.at += size
			return nil
		}
		if err := r.fill(size); err != nil {
			return err
		}
	}
}

// fill reads until size bytes are there.
func (r *reader) fill(size int) error {
	have := r.to - r.at
	switch {
	case size > len(r.buf): // the rest of what it belongs to comes with it
		r.move(make([]byte, size+readFree))
	case len(r.buf) > readBuffer && size <= readBuffer-readFree && r.small > shrinkAfter:
		r.move(make([]byte, readBuffer))
	case have == 0:
		r.at, r.to = 0, 0
	case len(r.buf)-r.to < readFree || r.at+size > len(r.buf):
		r.move(r.buf)
	}
	if size > readBuffer {
		r.small = 0
	}
	for empty := 0; r.to-r.at < size; {
		n, err := r.from.Read(r.buf[r.to:])
		r.to += n
		r.small++
		switch {
		case n > 0:
			empty = 0
		case err != nil:
			return fmt.Errorf("read from the NATS server: %w", err)
		case empty == 100:
			return io.ErrNoProgress
		default:
			empty++
		}
	}
	return nil
}

// move copies what is there to the front of a buffer, and goes on with that.
func (r *reader) move(to []byte) {
	r.to = copy(to, r.buf[r.at:r.to])
	r.at, r.buf = 0, to
}

type kind byte

const (
	kindMsg kind = iota + 1
	kindPing
	kindPong
	kindOK
	kindErr
	kindInfo
)

// frame is one thing that the server says.
type frame struct {
	kind kind
	sid  uint64 // of a message
	msg  Msg
	text []byte // of INFO and -ERR
}

// parse reads the frame that b begins with, and returns its size. A size over len(b) is what must be there before it is worth another
// try; f is not filled then. A message of more than limit bytes is an error.
func parse(b []byte, limit int, f *frame) (size int, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) >= maxReadLine {
			return 0, fmt.Errorf("%w: a line of more than %d bytes: %.40q", ErrProtocol, maxReadLine, b)
		}
		return len(b) + 1, nil
	}
	line := bytes.TrimSuffix(b[:end], crlf[:1])
	end++
	verb, rest, _ := bytes.Cut(line, space)
	switch string(verb) {
	case "MSG", "HMSG":
		return parseMsg(b, end, line, len(verb) == 4, rest, limit, f)
	case "PING":
		f.kind = kindPing
	case "PONG":
		f.kind = kindPong
	case "+OK":
		f.kind = kindOK
	case "-ERR":
		f.kind, f.text = kindErr, rest
	case "INFO":
		f.kind, f.text = kindInfo, rest
	default:
		return 0, fmt.Errorf("%w: %.40q", ErrProtocol, line)
	}
	return end, nil
}

// parseMsg reads a message whose line ends at end:
//
//	MSG subject sid [reply] bytes
//	HMSG subject sid [reply] bytes-of-headers bytes
func parseMsg(b []byte, end int, line []byte, headers bool, rest []byte, limit int, f *frame) (size int, err error) {
	bad := func() (int, error) { return 0, fmt.Errorf("%w: %.80q", ErrProtocol, line) }
	var args [6][]byte
	n := 0
	for more := true; more; n++ {
		if n == len(args) {
			return bad()
		}
		if args[n], rest, more = bytes.Cut(rest, space); len(args[n]) == 0 {
			return bad()
		}
	}
	tail := 1
	if headers {
		tail = 2
	}
	if n != 2+tail && n != 3+tail {
		return bad()
	}
	sid, ok := number(args[1])
	total, ok2 := number(args[n-1])
	head := 0
	if headers {
		var ok3 bool
		head, ok3 = number(args[n-2])
		ok2 = ok2 && ok3
	}
	if !ok || !ok2 || head > total {
		return bad()
	}
	if total > limit {
		return 0, fmt.Errorf("%w: a message of %d bytes, of at most %d: %.80q", ErrProtocol, total, limit, line)
	}
	size = end + total + len(crlf)
	if size > len(b) {
		return size, nil
	}
	if b[size-2] != '\r' || b[size-1] != '\n' {
		return 0, fmt.Errorf("%w: a message without its end: %.80q", ErrProtocol, line)
	}
	f.kind, f.sid = kindMsg, uint64(sid)
	f.msg = Msg{Subject: args[0], Data: b[end+head : end+total : end+total]}
	if n == 3+tail {
		f.msg.Reply = args[2]
	}
	if headers {
		f.msg.Header = Header(b[end : end+head : end+head])
	}
	return size, nil
}

// number reads a decimal number of at most 18 digits that fits an int.
func number(b []byte) (int, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt-9)/10 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
