package train

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// Marks at the beginning of a text that tell its encoding, as in the Unicode standard, section 23.8.
const (
	markUTF8    = "\xef\xbb\xbf"
	markUTF16LE = "\xff\xfe"
	markUTF16BE = "\xfe\xff"
)

// textReader returns a text as UTF-8 without byte order marks and with a line feed at each line's end, which may be LF, CR or CRLF.
// It reads UTF-8, and UTF-16 where a byte order mark says so; other bytes are ErrData with their line.
func textReader(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	t := &text{in: in, line: 1, start: true}
	switch {
	case bytes.HasPrefix(head, []byte(markUTF16LE+"\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00"+markUTF16BE)):
		return nil, fmt.Errorf("%w: the text is UTF-32: save it as UTF-8", ErrData)
	case bytes.HasPrefix(head, []byte(markUTF16LE)):
		t.wide = binary.LittleEndian
	case bytes.HasPrefix(head, []byte(markUTF16BE)):
		t.wide = binary.BigEndian
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil, fmt.Errorf("%w: this is a zip archive or a workbook of a spreadsheet, not text: save it as CSV", ErrData)
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return nil, fmt.Errorf("%w: this is packed by gzip: unpack it", ErrData)
	case len(head) >= 2 && (head[0] == 0) != (head[1] == 0):
		return nil, fmt.Errorf("%w: the text seems to be UTF-16 without a byte order mark: save it as UTF-8", ErrData)
	}
	return t, nil
}

// text reads runes from in and gives them out as UTF-8.
type text struct {
	in    *bufio.Reader
	wide  binary.ByteOrder // of UTF-16; nil for UTF-8
	out   []byte           // what is read and not yet given out
	start bool             // of a line
	cr    bool             // the last rune was CR
	line  int
	err   error
}

func (t *text) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		t.fill()
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// fill reads a block, or up to an error.
func (t *text) fill() {
	const block = 1 << 12
	t.out = make([]byte, 0, block+utf8.UTFMax)
	for len(t.out) < block {
		c, err := t.next()
		if err != nil {
			t.err = err
			return
		}
		t.put(c)
	}
}

func (t *text) put(c rune) {
	switch {
	case c == '\n' && t.cr: // the second half of CRLF
		t.cr = false
		return
	case c == '\uFEFF' && t.start: // also where files with marks were put together
		return
	case c == '\n', c == '\r':
		t.cr, t.start = c == '\r', true
		t.out = append(t.out, '\n')
		t.line++
		return
	}
	t.cr, t.start = false, false
	t.out = utf8.AppendRune(t.out, c)
}

func (t *text) next() (rune, error) {
	if t.wide == nil {
		c, size, err := t.in.ReadRune()
		switch {
		case err != nil:
			return 0, err
		case c == utf8.RuneError && size == 1:
			return 0, fmt.Errorf("%w: line %d is not UTF-8: save the file in that encoding", ErrData, t.line)
		case c == 0:
			return 0, fmt.Errorf("%w: line %d has a byte 0, which no text has", ErrData, t.line)
		}
		return c, nil
	}
	c, err := t.unit()
	if err != nil {
		return 0, err
	}
	if !utf16.IsSurrogate(c) {
		return c, nil
	}
	low, err := t.unit()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if c = utf16.DecodeRune(c, low); c == utf8.RuneError {
		return 0, fmt.Errorf("%w: line %d is not UTF-16: half of a pair is missing", ErrData, t.line)
	}
	return c, nil
}

// unit reads 16 bits.
func (t *text) unit() (rune, error) {
	var b [2]byte
	if _, err := io.ReadFull(t.in, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: line %d is not UTF-16: it ends in half of a character", ErrData, t.line)
		}
		return 0, err
	}
	return rune(t.wide.Uint16(b[:])), nil
}
