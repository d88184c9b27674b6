package serve

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"
)

// A framing follows where the requests of an HTTP/1 connection begin and end, to find those that give their length in two ways: by Content-Length
// and by Transfer-Encoding (RFC 9112, 6.3). Two programs in a row can take the end of such a request for two places, and what lies between for a
// request of its own. net/http forgets the Content-Length before any handler sees it. What net/http refuses by itself ends the connection, so that
// nothing after it matters, and the scan stops.
type framing struct {
	ambiguous atomic.Bool

	state   framingState
	line    []byte // of a header its beginning, of a request its end, as much of it as matters
	cut     bool   // the line has more
	old     bool   // before HTTP/1.1, which has no Transfer-Encoding
	length  string // Content-Length
	hasLen  bool
	isLen   bool // the header before this line is Content-Length
	chunked bool
	left    uint64 // bytes of the body, or of a chunk with its line end
}

type framingState uint8

const (
	framingStart   framingState = iota // between requests
	framingRequest                     // in the request's line
	framingHeader
	framingBody
	framingChunkSize
	framingChunk
	framingTrailer
	framingLost // nothing is looked at any more
)

// framingLine is how much of a line is kept: enough for the names and values that are looked at.
const framingLine = 128

// inHeader reports whether a request has begun whose header has not ended.
func (f *framing) inHeader() bool { return f.state == framingRequest || f.state == framingHeader }

// between reports whether nothing of a request has come yet.
func (f *framing) between() bool { return f.state == framingStart }

// scan takes the bytes that were read, in their order.
func (f *framing) scan(p []byte) {
	for len(p) > 0 {
		switch f.state {
		case framingLost:
			return
		case framingBody, framingChunk:
			n := min(f.left, uint64(len(p)))
			p = p[n:]
			if f.left -= n; f.left > 0 {
				return
			}
			if f.state == framingBody {
				f.begin()
			} else {
				f.state = framingChunkSize
			}
		default:
			p = f.scanLine(p)
		}
	}
}

// begin waits for the next request.
func (f *framing) begin() {
	f.state, f.old, f.length, f.hasLen, f.isLen, f.chunked = framingStart, false, "", false, false, false
}

// scanLine takes a line or what there is of it, and returns what is behind it.
func (f *framing) scanLine(p []byte) []byte {
	if f.state == framingStart {
		f.state = framingRequest
	}
	end := bytes.IndexByte(p, '\n')
	piece := p
	if end >= 0 {
		piece = p[:end]
	}
	f.keep(piece)
	if end < 0 {
		return nil
	}
	f.takeLine(bytes.TrimSuffix(f.line, []byte("\r")))
	f.line, f.cut = f.line[:0], false
	return p[end+1:]
}

// keep adds a piece to the line.
func (f *framing) keep(piece []byte) {
	if f.state == framingRequest {
		f.line = append(f.line, piece[max(0, len(piece)-framingLine):]...)
		f.line = f.line[max(0, len(f.line)-framingLine):]
		return
	}
	room := min(len(piece), framingLine-len(f.line))
	f.line = append(f.line, piece[:room]...)
	f.cut = f.cut || room < len(piece)
}

func (f *framing) takeLine(line []byte) {
	switch f.state {
	case framingRequest:
		f.old = len(line) < len("HTTP/1.1") || string(line[len(line)-len("HTTP/1.1"):]) < "HTTP/1.1"
		f.state = framingHeader
	case framingHeader:
		switch {
		case len(line) == 0:
			f.endHeader()
		case line[0] == ' ' || line[0] == '\t':
			if f.isLen { // a value over two lines
				f.setLength(f.length + string(bytes.TrimSpace(line)))
			}
		default:
			f.header(line)
		}
	case framingChunkSize:
		size, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseUint(strings.TrimRight(size, " \t"), 16, 63)
		switch {
		case err != nil:
			f.state = framingLost
		case n == 0:
			f.state = framingTrailer
		default:
			f.state, f.left = framingChunk, n+2
		}
	case framingTrailer:
		if len(line) == 0 {
			f.begin()
		}
	}
}

func (f *framing) header(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	f.isLen = len(name) == len("Content-Length") && strings.EqualFold(string(name), "Content-Length")
	if f.isLen {
		f.hasLen = true
		f.setLength(string(bytes.TrimSpace(value)))
	}
	if len(name) == len("Transfer-Encoding") && strings.EqualFold(string(name), "Transfer-Encoding") {
		f.chunked = true
	}
}

// setLength notes a length. One that is longer than what is kept of a line, which nobody sends, is refused too: the scan would lose its way.
func (f *framing) setLength(s string) {
	if f.length = s; f.cut {
		f.ambiguous.Store(true)
	}
}

func (f *framing) endHeader() {
	switch {
	case f.chunked && (f.hasLen || f.old):
		f.ambiguous.Store(true)
		f.state = framingLost
	case f.chunked:
		f.state = framingChunkSize
	case f.hasLen:
		n, err := strconv.ParseUint(f.length, 10, 63)
		if err != nil {
			f.state = framingLost
			return
		}
		if f.begin(); n > 0 {
			f.state, f.left = framingBody, n
		}
	default:
		f.begin()
	}
}
