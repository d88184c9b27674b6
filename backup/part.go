package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/grid"
)

// A part is "MRB1" and a zstd frame of records. A record is a byte for its kind, then fields, each with its length before it as an unsigned varint, or a number
// as a varint:
//
//	entry:    1, cache, key, sequence, time (Unix nanoseconds), number of headers, name and value of each, value
//	position: 2, cache, reader, sequence, time, value
const partMagic = "MRB1"

const (
	recordEntry    = 1
	recordPosition = 2

	// partRaw is from where on a part is full; the last record may be as large as a value.
	partRaw = 8 << 20
	maxRaw  = partRaw + grid.MaxValueBytes + 256<<10
	// maxPart is the largest file: what cannot be packed grows a little. It is below every store's limit for a value.
	maxPart = maxRaw + maxRaw/64

	maxText    = 64 << 10
	maxHeaders = 64
)

// appendRecord adds a message to the records of a part.
func appendRecord(b []byte, k grid.Kept) []byte {
	name, kind := k.Key, byte(recordEntry)
	if k.Reader != "" {
		name, kind = k.Reader, recordPosition
	}
	b = append(b, kind)
	b = appendBytes(b, k.Cache)
	b = appendBytes(b, name)
	b = binary.AppendUvarint(b, uint64(k.Sequence))
	b = binary.AppendVarint(b, k.Time.UnixNano())
	if kind == recordEntry {
		b = binary.AppendUvarint(b, uint64(len(k.Header)))
		for name, value := range k.Header {
			b = appendBytes(b, name)
			b = appendBytes(b, value)
		}
	}
	return appendBytes(b, k.Value)
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// pack makes a part of records.
func pack(z *zstd.Encoder, raw []byte) []byte { return z.EncodeAll(raw, []byte(partMagic)) }

func newPacker() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
}

func newUnpacker() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
}

// unpack returns the records of a part.
func unpack(z *zstd.Decoder, b []byte) ([]byte, error) {
	if len(b) < len(partMagic) || string(b[:len(partMagic)]) != partMagic {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrDamaged, partMagic)
	}
	raw, err := z.DecodeAll(b[len(partMagic):], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return raw, nil
}

var errShort = errors.New("a record ends before its end")

// records reads the records of a part one by one. Their values are parts of raw. It is ErrDamaged.
func records(raw []byte, take func(grid.Kept) error) error {
	for n, b := 1, raw; len(b) > 0; n++ {
		k, rest, err := readRecord(b)
		if err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrDamaged, n, err)
		}
		if err := take(k); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func readRecord(b []byte) (k grid.Kept, rest []byte, err error) {
	r := fields{b: b[1:]}
	kind := b[0]
	if kind != recordEntry && kind != recordPosition {
		return k, nil, fmt.Errorf("kind %d is none", kind)
	}
	k.Cache = r.text(maxText)
	name := r.text(maxText)
	k.Sequence = grid.Sequence(r.uint())
	k.Time = time.Unix(0, r.int())
	if kind == recordPosition {
		k.Reader = name
	} else {
		k.Key = name
		n := r.uint()
		if n > maxHeaders {
			return k, nil, fmt.Errorf("%d headers", n)
		}
		if n > 0 {
			k.Header = make(map[string]string, n)
		}
		for range n {
			name := r.text(maxText)
			k.Header[name] = r.text(maxText)
		}
	}
	k.Value = r.bytes(grid.MaxValueBytes)
	if r.err == nil && name == "" {
		r.err = errors.New("it has no key")
	}
	return k, r.b, r.err
}

// fields reads what a record is made of. After an error it gives zeros.
type fields struct {
	b   []byte
	err error
}

func (f *fields) uint() uint64 { return number(f, binary.Uvarint) }

func (f *fields) int() int64 { return number(f, binary.Varint) }

func number[N uint64 | int64](f *fields, read func([]byte) (N, int)) N {
	n, size := read(f.b)
	if f.err == nil && size <= 0 {
		f.err = errShort
	}
	if f.err != nil {
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) bytes(most int) []byte {
	n := f.uint()
	switch {
	case f.err != nil:
		return nil
	case n > uint64(most):
		f.err = fmt.Errorf("a field of %d bytes, of at most %d", n, most)
		return nil
	case n > uint64(len(f.b)):
		f.err = errShort
		return nil
	}
	out := f.b[:n:n]
	f.b = f.b[n:]
	return out
}

func (f *fields) text(most int) string { return string(f.bytes(most)) }
