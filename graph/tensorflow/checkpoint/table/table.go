// Package table reads sorted tables of keys and values as LevelDB writes them, the container of TensorFlow's checkpoints.
// What keys and values mean is left to package checkpoint.
//
// # Format
//
// A table is a row of blocks and a footer of 48 bytes, all numbers little-endian:
//
//	data block ...  meta index block  index block  footer
//	footer: handle of the meta index, handle of the index, zeros up to byte 40, the magic number 0xdb4775248b80fb57
//	handle: offset and length of a block as varints; the length is without the block's trailer
//	trailer: one byte of compression (0 none, 1 snappy), the masked CRC-32C of the block as stored and of that byte
//	block: entries, then the offset of each restart point (4 bytes), then their number (4 bytes)
//	entry: how many bytes of its key are those of the key before, how many follow, the value's length (three varints),
//	       the rest of the key, the value
//
// The index has an entry for each data block: a key that is not before the block's last and before the next block's first,
// and the block's handle.
package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"
	"sync"
)

// ErrFormat says that a table is damaged or is none; the message says where.
var ErrFormat = errors.New("not a valid table")

const (
	footerSize  = 48
	trailerSize = 5
	magic       = 0xdb4775248b80fb57
	// MaxKey is the length of the longest key that is read.
	MaxKey = 64 << 10
)

// A Table is an open table. It is safe for concurrent use. It holds the index in memory, and one small block.
type Table struct {
	r      io.ReaderAt
	size   int64
	blocks []indexed

	mu       sync.Mutex
	verified []bool // blocks whose checksum was right
	last     int    // the block in recent
	recent   *block
}

// indexed is a data block with the key that ends it.
type indexed struct {
	end []byte
	handle
}

type handle struct{ off, size int64 }

// Open reads the index of the table of that size. It allocates at most twice the size and 2 MiB.
func Open(r io.ReaderAt, size int64) (*Table, error) {
	if size < footerSize {
		return nil, fmt.Errorf("%w: it has %d bytes, a footer alone has %d", ErrFormat, size, footerSize)
	}
	var foot [footerSize]byte
	if _, err := r.ReadAt(foot[:], size-footerSize); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	if binary.LittleEndian.Uint64(foot[40:]) != magic {
		return nil, fmt.Errorf("%w: its last 8 bytes are not a table's", ErrFormat)
	}
	t := &Table{r: r, size: size, last: -1}
	_, n, err := readHandle(foot[:40])
	if err != nil {
		return nil, fmt.Errorf("footer: meta index: %w", err)
	}
	index, _, err := readHandle(foot[n:40])
	if err != nil {
		return nil, fmt.Errorf("footer: index: %w", err)
	}
	if err := t.readIndex(index); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	t.verified = make([]bool, len(t.blocks))
	return t, nil
}

func readHandle(b []byte) (handle, int, error) {
	off, n := binary.Uvarint(b)
	if n <= 0 {
		return handle{}, 0, fmt.Errorf("%w: the offset of a block is damaged", ErrFormat)
	}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return handle{}, 0, fmt.Errorf("%w: the length of a block is damaged", ErrFormat)
	}
	if off > 1<<62 || size > 1<<62 {
		return handle{}, 0, fmt.Errorf("%w: a block of %d bytes at %d", ErrFormat, size, off)
	}
	return handle{int64(off), int64(size)}, n + m, nil
}

// readIndex keeps the index. Blocks must follow each other: so no two entries lead to one block, and going through
// all of them reads the file once.
func (t *Table) readIndex(h handle) error {
	b, err := t.load(h, false)
	if err != nil {
		return err
	}
	budget := 2*t.size + 1<<20
	next := int64(0)
	c := b.cursor()
	for c.next() {
		i := len(t.blocks)
		raw, err := c.value().Bytes(64)
		if err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		data, _, err := readHandle(raw)
		if err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		if data.off < next {
			return fmt.Errorf("%w: block %d begins at %d, before the end of the one before it at %d", ErrFormat, i, data.off, next)
		}
		if err := t.inside(data); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		if data.off < h.off+h.size && h.off < data.off+data.size {
			return fmt.Errorf("%w: block %d lies over the index", ErrFormat, i)
		}
		next = data.off + data.size + trailerSize
		if budget -= int64(len(c.key)); budget < 0 {
			return fmt.Errorf("%w: its keys are far longer than the table", ErrFormat)
		}
		t.blocks = append(t.blocks, indexed{end: bytes.Clone(c.key), handle: data})
	}
	return c.err
}

// inside says whether a block and its trailer lie before the footer.
func (t *Table) inside(h handle) error {
	if room := t.size - footerSize - trailerSize; h.size > room || h.off > room-h.size {
		return fmt.Errorf("%w: %d bytes at offset %d lie outside the table of %d bytes", ErrFormat, h.size, h.off, t.size)
	}
	return nil
}

// Get returns the value of key, and whether it is there.
func (t *Table) Get(key []byte) (Value, bool, error) {
	i := sort.Search(len(t.blocks), func(i int) bool { return bytes.Compare(t.blocks[i].end, key) >= 0 })
	if i == len(t.blocks) {
		return Value{}, false, nil
	}
	b, err := t.block(i)
	if err != nil {
		return Value{}, false, err
	}
	c := b.cursor()
	for c.next() {
		switch bytes.Compare(c.key, key) {
		case 0:
			return c.value(), true, nil
		case 1:
			return Value{}, false, nil
		}
	}
	if c.err != nil {
		return Value{}, false, fmt.Errorf("block %d at %d: %w", i, t.blocks[i].off, c.err)
	}
	return Value{}, false, nil
}

// All goes through the keys in their order, which it checks. A key is valid until the next one; a value stays. After
// an error it ends.
func (t *Table) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var before []byte
		for i := range t.blocks {
			b, err := t.block(i)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			c := b.cursor()
			first := true
			for c.next() {
				if first && i > 0 && bytes.Compare(c.key, before) <= 0 {
					c.err = fmt.Errorf("%w: key %q comes after %q", ErrFormat, c.key, before)
					break
				}
				first = false
				if !yield(Entry{Key: c.key, Value: c.value()}, nil) {
					return
				}
			}
			if c.err != nil {
				yield(Entry{}, fmt.Errorf("block %d at %d: %w", i, t.blocks[i].off, c.err))
				return
			}
			if !first {
				before = append(before[:0], c.key...)
			}
		}
	}
}

// An Entry is a key and its value.
type Entry struct {
	Key   []byte
	Value Value
}

// A Value is the value of an entry, in memory or in the file.
type Value struct {
	mem  []byte
	r    io.ReaderAt
	off  int64
	size int64
}

// Size returns the number of bytes.
func (v Value) Size() int64 { return v.size }

// Bytes returns the value where it has at most that many bytes. The caller must not change it.
func (v Value) Bytes(most int64) ([]byte, error) {
	if v.size > most {
		return nil, fmt.Errorf("%w: a value has %d bytes where at most %d make sense", ErrFormat, v.size, most)
	}
	if v.r == nil {
		return v.mem, nil
	}
	b := make([]byte, v.size)
	if _, err := v.r.ReadAt(b, v.off); err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	return b, nil
}

// Reader returns a reader of the value from its beginning.
func (v Value) Reader() io.Reader {
	if v.r == nil {
		return bytes.NewReader(v.mem)
	}
	return io.NewSectionReader(v.r, v.off, v.size)
}
