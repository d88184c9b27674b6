// Package blocks reads the block files of a NATS stream, as nats-server 2.10 to 2.15 writes them, and says which of their records are damaged. What
// the records mean, and what is done about damage, is left to package grid.
//
// A stream's folder has its messages in msgs/N.blk, one record after the other, and in msgs/index.db what the server knew of them when it stopped. The
// server itself cuts a block off at its first bad record when it has to read it through, and all records behind it are gone. So they are read here
// before it opens them.
package blocks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/minio/highwayhash"
)

// The layout of a record: its length with the flag of headers, sequence with flags, time, length of the subject; then the subject, the length of the
// headers where it has some, headers, value, and a checksum.
const (
	headSize    = 22
	sumSize     = 8
	emptySize   = headSize + sumSize
	maxRecord   = 32 << 20
	withHeaders = 1 << 31
	erasedFlag  = 1 << 63
	removalFlag = 1 << 62
)

// A record is one of a block file, whole or not.
type record struct {
	from, to int    // where it is in the file
	seq      uint64 // without flags
	time     int64
	subject  []byte // part of the file's bytes
	// note is a record that is no message: of a removal, or of a message that was erased.
	note bool
}

// sums computes the checksums of one block's records.
type sums struct{ h hash.Hash64 }

func newSums(stream string, block int) (sums, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, block))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return sums{}, fmt.Errorf("make the checksum of a block: %w", err)
	}
	return sums{h}, nil
}

// of computes a record's checksum; b is the record without it.
func (s sums) of(b []byte) []byte {
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	rest := headSize + subject
	s.h.Reset()
	// Hashes take all that they are given.
	_, _ = s.h.Write(b[4:20])
	_, _ = s.h.Write(b[headSize:rest])
	if binary.LittleEndian.Uint32(b)&withHeaders != 0 {
		rest += 4
	}
	_, _ = s.h.Write(b[rest:])
	return s.h.Sum(nil)
}

// outline reads what a record at an offset says of itself, unchecked. ok is whether such a record can be there.
func outline(b []byte, at int) (r record, ok bool) {
	if len(b)-at < emptySize {
		return record{}, false
	}
	head := b[at : at+headSize]
	length, subject := binary.LittleEndian.Uint32(head), int(binary.LittleEndian.Uint16(head[20:]))
	size, least := int(length&^withHeaders), headSize+subject+sumSize
	if length&withHeaders != 0 {
		least += 4
	}
	if size < least || size > maxRecord || size > len(b)-at {
		return record{}, false
	}
	seq := binary.LittleEndian.Uint64(head[4:])
	return record{
		from: at, to: at + size, seq: seq &^ (erasedFlag | removalFlag), time: int64(binary.LittleEndian.Uint64(head[12:])),
		subject: b[at+headSize : at+headSize+subject], note: seq&(erasedFlag|removalFlag) != 0 || seq == 0,
	}, true
}

// whole is outline of a record whose checksum holds.
func (s sums) whole(b []byte, at int) (record, bool) {
	r, ok := outline(b, at)
	if !ok || !bytes.Equal(s.of(b[at:r.to-sumSize]), b[r.to-sumSize:r.to]) {
		return record{}, false
	}
	return r, true
}

// appendRecord writes a record.
func (s sums) appendRecord(b []byte, seq uint64, time int64, subject, headers string) []byte {
	from, size := len(b), emptySize+len(subject)
	length := uint32(size)
	if headers != "" {
		size += 4 + len(headers)
		length = uint32(size) | withHeaders
	}
	b = binary.LittleEndian.AppendUint32(b, length)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(time))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(subject)))
	b = append(b, subject...)
	if headers != "" {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(headers)))
		b = append(b, headers...)
	}
	return append(b, s.of(b[from:])...)
}

// A gap is bytes of a block that are no whole record. Guesses are the records that seem to be there.
type gap struct {
	from, to int
	guesses  []record
	torn     bool // it ends the file, and no record ends with it: the last write was not finished
}

// scan gives out a block's records in their order, and returns the gaps between them.
func (s sums) scan(b []byte, each func(record)) (gaps []gap) {
	for at := 0; at < len(b); {
		if r, ok := s.whole(b, at); ok {
			each(r)
			at = r.to
			continue
		}
		g := s.gap(b, at)
		gaps = append(gaps, g)
		at = g.to
	}
	return gaps
}

// gap finds the next whole record behind a bad one.
func (s sums) gap(b []byte, at int) gap {
	g := gap{from: at}
	// As long as lengths hold, records follow each other.
	for next := at; ; {
		r, ok := outline(b, next)
		if !ok {
			break
		}
		if next > at {
			if _, ok := s.whole(b, next); ok {
				g.to = next
				return g
			}
		}
		g.guesses = append(g.guesses, r)
		if next = r.to; next == len(b) {
			g.to = next
			return g
		}
	}
	// A length is bad: the next whole record may begin anywhere. The one before the bad length is not to be trusted either.
	g.guesses = nil
	for g.to = at + 1; g.to < len(b); g.to++ {
		if _, ok := s.whole(b, g.to); ok {
			return g
		}
	}
	g.torn = true
	return g
}
