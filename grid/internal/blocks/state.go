package blocks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server/avl"
)

// A state is what the server knew of a stream when it wrote index.db.
type state struct {
	last     uint64 // sequence
	subjects map[string]int
	blocks   map[int]blockState
	// final is the block that was written last, and sum the last checksum in it.
	final int
	sum   []byte
}

// blockState is what it knew of a block.
type blockState struct {
	first, last uint64
	time        int64 // of the first message, in Unix nanoseconds
	deleted     *avl.SequenceSet
}

// live reports whether a message was there.
func (b blockState) live(seq uint64) bool {
	return seq >= b.first && seq <= b.last && (b.deleted == nil || !b.deleted.Exists(seq))
}

// errState says that an index.db is not to be read. The server makes it anew then.
var errState = errors.New("index.db is not readable")

// The first byte of an index.db, and the versions that are known.
const (
	stateMagic   = 11
	stateVersion = 4
)

// readState reads a stream's index.db; nil where there is none that holds.
func readState(dir, stream string) (*state, error) {
	b, err := os.ReadFile(filepath.Join(dir, "msgs", "index.db"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the server knew of stream %s: %w", stream, err)
	}
	s, err := parseState(b, stream)
	if err != nil {
		return nil, nil //nolint:nilerr // the server makes another
	}
	return s, nil
}

// parseState reads an index.db. It returns errState.
func parseState(b []byte, stream string) (*state, error) {
	if len(b) < 4*sumSize {
		return nil, errState
	}
	key := sha256.Sum256([]byte(stream))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	body := b[:len(b)-sumSize]
	_, _ = h.Write(body)
	if !bytes.Equal(h.Sum(nil), b[len(b)-sumSize:]) || body[0] != stateMagic || body[1] < 1 || body[1] > stateVersion {
		return nil, errState
	}
	r := &varints{b: body[2:]}
	s := &state{subjects: map[string]int{}, blocks: map[int]blockState{}}
	r.skip(3) // messages, bytes, first sequence
	began := r.signed()
	s.last = r.next()
	r.skip(1)
	for n := r.next(); n > 0 && !r.bad; n-- {
		subject := string(r.take(int(min(r.next(), 1<<16))))
		total, first := r.next(), r.next()
		last := first
		if total > 1 || body[1] >= 4 {
			last = r.next()
		}
		s.subjects[subject] = int(last)
	}
	for n := r.next(); n > 0 && !r.bad; n-- {
		number := int(r.next())
		r.skip(1)
		one := blockState{first: r.next(), time: began + r.signed()}
		one.last = r.next()
		r.skip(1)
		deleted := r.next()
		for range min(body[1], 3) - 1 { // timers
			r.skip(1)
		}
		if deleted > 0 && !r.bad {
			set, size, err := avl.Decode(r.b)
			if err != nil {
				return nil, errState
			}
			one.deleted = set
			r.take(size)
		}
		s.blocks[number] = one
	}
	s.final = int(r.next())
	s.sum = bytes.Clone(r.take(sumSize))
	if r.bad {
		return nil, errState
	}
	return s, nil
}

// varints reads numbers of variable length until one is missing.
type varints struct {
	b   []byte
	bad bool
}

func (r *varints) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// signed reads a number that may be negative.
func (r *varints) signed() int64 {
	v := r.next()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *varints) skip(n int) {
	for range n {
		r.next()
	}
}

func (r *varints) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// CheckDescription says what is wrong with the file that describes a stream. The server leaves the stream out then, until it is made again over the blocks
// that are there, which loses none of them.
func CheckDescription(dir, stream string) error {
	b, err := os.ReadFile(filepath.Join(dir, "meta.inf"))
	if err != nil {
		return fmt.Errorf("read the description of stream %s: %w", stream, err)
	}
	sum, err := os.ReadFile(filepath.Join(dir, "meta.sum"))
	if err != nil {
		return fmt.Errorf("read the checksum of the description of stream %s: %w", stream, err)
	}
	key := sha256.Sum256([]byte(stream))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return fmt.Errorf("make the checksum of a description: %w", err)
	}
	_, _ = h.Write(b)
	if hex.EncodeToString(h.Sum(nil)) != string(bytes.TrimSpace(sum)) {
		return fmt.Errorf("%s does not have its checksum", filepath.Join(dir, "meta.inf"))
	}
	return nil
}
