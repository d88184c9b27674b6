package wire

import (
	"bytes"
	"iter"
	"strings"
)

// Header is the raw block of a message's headers, from its status line to its empty line.
type Header []byte

const headerLine = "NATS/1.0"

// Append adds a header and returns the longer block, as append does; an empty block is begun. The name is taken as it is; line breaks in
// the value become spaces. Publish writes the empty line that ends the block.
func (h Header) Append(name, value string) Header {
	if len(h) == 0 {
		h = append(h, headerLine+"\r\n"...)
	}
	h = append(append(h, name...), ": "...)
	at := len(h)
	h = append(h, value...)
	if strings.ContainsAny(value, "\r\n") {
		for i, c := range h[at:] {
			if c == '\r' || c == '\n' {
				h[at+i] = ' '
			}
		}
	}
	return append(h, "\r\n"...)
}

// Value returns the first value of a header, whose name is compared exactly.
func (h Header) Value(name string) ([]byte, bool) {
	for n, v := range h.All() {
		if string(n) == name {
			return v, true
		}
	}
	return nil, false
}

// All yields names and values in their order. Lines that are not headers are passed over.
func (h Header) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		_, rest, _ := bytes.Cut(h, newline)
		for len(rest) > 0 {
			var line []byte
			line, rest, _ = bytes.Cut(rest, newline)
			if name, value, ok := bytes.Cut(line, colon); ok && !yield(name, bytes.Trim(value, " \t\r")) {
				return
			}
		}
	}
}

// Status returns the code and the text of the status line: 503 where nobody receives a request, 100 for heartbeats. Without a
// code it is 0.
func (h Header) Status() (code int, text []byte) {
	line, _, _ := bytes.Cut(h, newline)
	line, ok := bytes.CutPrefix(line, []byte(headerLine+" "))
	if !ok {
		return 0, nil
	}
	digits, text, _ := bytes.Cut(bytes.Trim(line, " \t\r"), space)
	n, ok := number(digits)
	if !ok || n > 999 {
		return 0, nil
	}
	return n, text
}

var (
	newline = []byte{'\n'}
	colon   = []byte{':'}
	space   = []byte{' '}
	crlf    = []byte("\r\n")
)
