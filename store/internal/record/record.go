// Package record is the bytes that stores keep an entry in: a header of fixed length, the metadata, and the value, each guarded by a
// checksum. Where these bytes are put is left to the stores.
//
// The header has 40 bytes, its numbers in big-endian order:
//
//	 0  4  "MRS1"
//	 4  1  flags: 1 is a tombstone, 2 a seal (a tombstone that is about to be removed)
//	 5  3  zero
//	 8  8  revision
//	16  8  expiry in nanoseconds since 1970, 0 for none; for a tombstone when it may be swept
//	24  4  length of the metadata
//	28  4  length of the value
//	32  4  CRC-32C of the value
//	36  4  CRC-32C of the 36 bytes before and of the metadata
//
// The metadata is a message in the wire format of Protocol Buffers: 1 key, 2 content type, 3 created (nanoseconds since 1970), 4 lifespan and
// 5 max idle (nanoseconds), 6 label and 7 extra field (each a message: 1 name, 2 text). Fields of other numbers are passed over, so that
// later versions may add some.
package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/millrace/millrace/store"
)

const (
	// HeaderBytes is the length of the header.
	HeaderBytes = 40
	// MaxHeadBytes is the most that header and metadata of an entry can have together.
	MaxHeadBytes = HeaderBytes + store.MaxKeyBytes + store.MaxMetadataBytes + 1024

	magic       = "MRS1"
	flagDeleted = 1
	flagSealed  = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Head is what stands before the value.
type Head struct {
	store.Info
	// Sealed is a tombstone that is about to be removed.
	Sealed bool
	// Bytes is the length of header and metadata: where the value begins.
	Bytes int

	sum uint32
}

// Encode returns the bytes of an entry, which share nothing with it. A tombstone has no value.
func Encode(e store.Entry) []byte {
	head := EncodeHead(Head{Info: e.Info}, e.Value)
	return append(head, e.Value...)
}

// EncodeHead returns header and metadata of an entry with this value, with room for the value behind them.
func EncodeHead(h Head, value []byte) []byte {
	metadata := appendMetadata(nil, h.Info)
	b := make([]byte, HeaderBytes, HeaderBytes+len(metadata)+len(value))
	copy(b, magic)
	if h.Deleted {
		b[4] |= flagDeleted
	}
	if h.Sealed {
		b[4] |= flagSealed
	}
	binary.BigEndian.PutUint64(b[8:], h.Revision)
	binary.BigEndian.PutUint64(b[16:], uint64(nanos(h.Expires)))
	binary.BigEndian.PutUint32(b[24:], uint32(len(metadata)))
	binary.BigEndian.PutUint32(b[28:], uint32(len(value)))
	binary.BigEndian.PutUint32(b[32:], crc32.Checksum(value, castagnoli))
	b = append(b, metadata...)
	binary.BigEndian.PutUint32(b[36:], headSum(b))
	return b
}

// HeadBytes returns how long header and metadata are, from the first HeaderBytes or more.
func HeadBytes(b []byte) (int, error) {
	if len(b) < HeaderBytes {
		return 0, corrupt("it has %d bytes, fewer than a header", len(b))
	}
	if string(b[:4]) != magic {
		return 0, corrupt("it begins with %q, not with %q", b[:4], magic)
	}
	n := binary.BigEndian.Uint32(b[24:])
	if n > MaxHeadBytes-HeaderBytes {
		return 0, corrupt("its header tells of %d bytes of metadata, of at most %d", n, MaxHeadBytes-HeaderBytes)
	}
	return HeaderBytes + int(n), nil
}

// DecodeHead reads header and metadata from bytes that begin with them. What is wrong with them is an ErrCorrupt.
func DecodeHead(b []byte) (Head, error) {
	n, err := HeadBytes(b)
	if err != nil {
		return Head{}, err
	}
	if len(b) < n {
		return Head{}, corrupt("it has %d bytes, and %d of header and metadata", len(b), n)
	}
	b = b[:n]
	if want, got := binary.BigEndian.Uint32(b[36:]), headSum(b); want != got {
		return Head{}, corrupt("the checksum of header and metadata is %08x, not %08x", got, want)
	}
	info, err := parseMetadata(b[HeaderBytes:])
	if err != nil {
		return Head{}, err
	}
	h := Head{Info: info, Bytes: n, sum: binary.BigEndian.Uint32(b[32:])}
	h.Deleted, h.Sealed = b[4]&flagDeleted != 0, b[4]&flagSealed != 0
	h.Revision = binary.BigEndian.Uint64(b[8:])
	h.Expires = fromNanos(int64(binary.BigEndian.Uint64(b[16:])))
	h.Size = int64(binary.BigEndian.Uint32(b[28:]))
	switch {
	case b[4]&^(flagDeleted|flagSealed) != 0 || b[5]|b[6]|b[7] != 0:
		return Head{}, corrupt("its flags % x are of a later version", b[4:8])
	case h.Revision == 0:
		return Head{}, corrupt("its revision is 0")
	case h.Size > store.MaxValueBytes:
		return Head{}, corrupt("its header tells of a value of %d bytes", h.Size)
	}
	return h, nil
}

// CheckValue says, as an ErrCorrupt, whether value is not the one that the header was made for.
func (h Head) CheckValue(value []byte) error {
	if int64(len(value)) != h.Size {
		return corrupt("the value has %d bytes, not %d", len(value), h.Size)
	}
	if got := crc32.Checksum(value, castagnoli); got != h.sum {
		return corrupt("the checksum of the value is %08x, not %08x", got, h.sum)
	}
	return nil
}

// Decode reads an entry from all of its bytes, and checks that it is that of the key. The value is a part of b.
func Decode(b []byte, key string) (store.Entry, error) {
	h, err := DecodeHead(b)
	if err != nil {
		return store.Entry{}, err
	}
	if err := h.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	value := b[h.Bytes:]
	if err := h.CheckValue(value); err != nil {
		return store.Entry{}, err
	}
	return store.Entry{Info: h.Info, Value: value}, nil
}

// CheckKey says, as an ErrCorrupt, whether this is the copy of another key.
func (h Head) CheckKey(key string) error {
	if h.Key != key {
		return corrupt("it is the copy of key %q", h.Key)
	}
	return nil
}

func headSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:36], castagnoli), castagnoli, b[HeaderBytes:])
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", store.ErrCorrupt, fmt.Sprintf(format, args...))
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
