package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Batch is messages to be sent at once, in one buffer. The zero value is an empty batch. It is not safe for concurrent use.
type Batch struct {
	buf     []byte
	large   []part // payloads that lie elsewhere, in their order
	outside int    // their bytes
	count   int
	largest int
}

// part is a payload that comes after the first at bytes of a batch's buffer.
type part struct {
	at   int
	data []byte
}

// Publish adds a message. A reply or header of nil is none; a header is what Append makes, or a received one. Data of 32 KiB or more is not
// copied: it must not change until the batch is sent. After an error (ErrSubject, ErrHeader, ErrTooLarge) the batch is as it was.
func (b *Batch) Publish(subject string, reply []byte, h Header, data []byte) error {
	if subject == "" || strings.ContainsAny(subject, " \t\r\n") || bytes.ContainsAny(reply, " \t\r\n") {
		return fmt.Errorf("%w: %q with reply %q", ErrSubject, subject, reply)
	}
	if len(h) > 0 && !bytes.HasPrefix(h, []byte(headerLine)) {
		return fmt.Errorf("%w: it begins with %.20q", ErrHeader, h)
	}
	if n := len(subject) + len(reply) + 24; n > maxLine {
		return fmt.Errorf("%w: subject and reply have %d bytes, of at most %d", ErrTooLarge, n, maxLine)
	}
	end := !bytes.HasSuffix(h, []byte("\r\n\r\n"))
	headers := len(h)
	if headers > 0 && end {
		headers += len(crlf)
	}
	if headers > 0 {
		b.buf = append(b.buf, 'H')
	}
	b.buf = append(append(append(b.buf, "PUB "...), subject...), ' ')
	if len(reply) > 0 {
		b.buf = append(append(b.buf, reply...), ' ')
	}
	if headers > 0 {
		b.buf = append(strconv.AppendInt(b.buf, int64(headers), 10), ' ')
	}
	b.buf = append(strconv.AppendInt(b.buf, int64(headers+len(data)), 10), "\r\n"...)
	if headers > 0 {
		b.buf = append(b.buf, h...)
		if end {
			b.buf = append(b.buf, "\r\n"...)
		}
	}
	if len(data) >= byReference {
		b.large = append(b.large, part{len(b.buf), data})
		b.outside += len(data)
	} else {
		b.buf = append(b.buf, data...)
	}
	b.buf = append(b.buf, "\r\n"...)
	b.count++
	b.largest = max(b.largest, headers+len(data))
	return nil
}

// Len is the number of messages.
func (b *Batch) Len() int { return b.count }

// Size is the number of bytes that Send writes.
func (b *Batch) Size() int { return len(b.buf) + b.outside }

// Reset empties the batch and keeps its buffer, unless that is over 1 MiB.
func (b *Batch) Reset() {
	clear(b.large)
	if cap(b.buf) > batchKeep {
		b.buf = nil
	}
	*b = Batch{buf: b.buf[:0], large: b.large[:0]}
}
