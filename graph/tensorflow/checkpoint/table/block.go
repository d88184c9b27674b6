package table

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/snappy"
)

const (
	// inMemory is the size up to which a block is read as a whole; the values of a larger one are read from the file.
	inMemory = 1 << 20
	window   = 32 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Unmask undoes what LevelDB does to a checksum that it stores, so that the sum of data with sums in it is not special.
func Unmask(stored uint32) uint32 {
	rot := stored - 0xa282ead8
	return rot>>17 | rot<<15
}

// Mask is the inverse of Unmask.
func Mask(sum uint32) uint32 { return (sum>>15 | sum<<17) + 0xa282ead8 }

// block is the content of one block: in mem, or in the file at off.
type block struct {
	mem  []byte
	r    io.ReaderAt
	off  int64
	size int64 // up to the restart points
}

// block returns data block i; its checksum was right.
func (t *Table) block(i int) (*block, error) {
	t.mu.Lock()
	if t.last == i {
		defer t.mu.Unlock()
		return t.recent, nil
	}
	known := t.verified[i]
	t.mu.Unlock()
	b, err := t.load(t.blocks[i].handle, known)
	if err != nil {
		return nil, fmt.Errorf("block %d at %d: %w", i, t.blocks[i].off, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.verified[i] = true
	if len(b.mem) <= inMemory {
		t.last, t.recent = i, b
	}
	return b, nil
}

// load reads a block, or prepares to read its parts where it is large and not compressed. It verifies its checksum; that
// of a large one is left out where it is known.
func (t *Table) load(h handle, known bool) (*block, error) {
	if err := t.inside(h); err != nil {
		return nil, err
	}
	var trailer [trailerSize]byte
	if _, err := t.r.ReadAt(trailer[:], h.off+h.size); err != nil {
		return nil, fmt.Errorf("read trailer: %w", err)
	}
	if kind := trailer[0]; kind > 1 {
		return nil, fmt.Errorf("%w: unknown compression %d", ErrFormat, kind)
	}
	sum := Unmask(binary.LittleEndian.Uint32(trailer[1:]))
	if trailer[0] == 0 && h.size > inMemory {
		return t.large(h, sum, known)
	}
	raw := make([]byte, h.size+1)
	if _, err := t.r.ReadAt(raw, h.off); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if got := crc32.Checksum(raw, castagnoli); got != sum {
		return nil, wrongSum(got, sum)
	}
	raw = raw[:h.size]
	if trailer[0] == 1 {
		var err error
		if raw, err = t.inflate(raw); err != nil {
			return nil, err
		}
	}
	b := &block{mem: raw}
	return b, b.trim(int64(len(raw)))
}

// large verifies a block without keeping it.
func (t *Table) large(h handle, sum uint32, known bool) (*block, error) {
	if !known {
		hash := crc32.New(castagnoli)
		if _, err := io.Copy(hash, io.NewSectionReader(t.r, h.off, h.size+1)); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if got := hash.Sum32(); got != sum {
			return nil, wrongSum(got, sum)
		}
	}
	b := &block{r: t.r, off: h.off}
	return b, b.trim(h.size)
}

func wrongSum(got, want uint32) error {
	return fmt.Errorf("%w: the checksum is %08x, the data's is %08x", ErrFormat, want, got)
}

// inflate decompresses a block. A copy of 64 bytes takes at least 3, so that nothing grows more than 22 times; and a
// block that is much larger than its file is taken for an attack.
func (t *Table) inflate(raw []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: snappy: %w", ErrFormat, err)
	}
	if most := t.size + 24<<20; int64(n) > 22*int64(len(raw)) || int64(n) > most {
		return nil, fmt.Errorf("%w: %d bytes of snappy claim to be %d", ErrFormat, len(raw), n)
	}
	out, err := snappy.Decode(nil, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: snappy: %w", ErrFormat, err)
	}
	return out, nil
}

// trim takes the restart points off a block of that size. They only help to search, which a reader of whole
// tables does not.
func (b *block) trim(size int64) error {
	b.size = size
	w := windowOf(b)
	tail, err := w.at(size-4, 4)
	if err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if b.size = size - 4 - 4*n; b.size < 0 {
		return fmt.Errorf("%w: %d restart points in a block of %d bytes", ErrFormat, n, size)
	}
	return nil
}

// A cursor goes through the entries of a block.
type cursor struct {
	b    *block
	w    *reader
	pos  int64
	key  []byte
	vpos int64
	vlen int64
	n    int
	err  error
}

func (b *block) cursor() *cursor { return &cursor{b: b, w: windowOf(b)} }

// next goes to the next entry, and returns false at the end or on an error.
func (c *cursor) next() bool {
	if c.err != nil || c.pos >= c.b.size {
		return false
	}
	head, err := c.w.at(c.pos, min(15, c.b.size-c.pos))
	if err != nil {
		c.err = err
		return false
	}
	var length [3]uint64
	read := 0
	for i := range length {
		v, n := binary.Uvarint(head[read:])
		if n <= 0 || v > 1<<32-1 {
			return c.bad("its lengths are damaged")
		}
		length[i] = v
		read += n
	}
	shared, rest, value := length[0], length[1], int64(length[2])
	begin := c.pos + int64(read)
	switch {
	case shared > uint64(len(c.key)):
		return c.bad("it shares %d bytes with a key of %d", shared, len(c.key))
	case shared+rest > MaxKey:
		return c.bad("its key has %d bytes, the limit is %d", shared+rest, MaxKey)
	case int64(rest) > c.b.size-begin || value > c.b.size-begin-int64(rest):
		return c.bad("it reaches beyond the block")
	}
	suffix, err := c.w.at(begin, int64(rest))
	if err != nil {
		c.err = err
		return false
	}
	// Only what differs from the key before has to be compared, which keeps long common beginnings cheap.
	if c.n > 0 && string(suffix) <= string(c.key[shared:]) {
		return c.bad("its key is not after the one before")
	}
	c.key = append(c.key[:shared], suffix...)
	c.vpos, c.vlen = begin+int64(rest), value
	c.pos = c.vpos + value
	c.n++
	return true
}

func (c *cursor) bad(format string, args ...any) bool {
	c.err = fmt.Errorf("%w: entry %d at byte %d: %s", ErrFormat, c.n, c.pos, fmt.Sprintf(format, args...))
	return false
}

// value returns the value of the entry in hand.
func (c *cursor) value() Value {
	if c.b.r == nil {
		return Value{mem: c.b.mem[c.vpos : c.vpos+c.vlen : c.vpos+c.vlen], size: c.vlen}
	}
	return Value{r: c.b.r, off: c.b.off + c.vpos, size: c.vlen}
}

// reader gives small parts of a block, through a buffer where the block is in the file.
type reader struct {
	b    *block
	buf  []byte
	from int64
}

func windowOf(b *block) *reader { return &reader{b: b} }

// at returns n bytes at pos, valid until the next call.
func (w *reader) at(pos, n int64) ([]byte, error) {
	if w.b.r == nil {
		if pos < 0 || n > int64(len(w.b.mem))-pos {
			return nil, fmt.Errorf("%w: a block of %d bytes is too short", ErrFormat, len(w.b.mem))
		}
		return w.b.mem[pos : pos+n], nil
	}
	if pos < w.from || pos+n > w.from+int64(len(w.buf)) {
		if int64(cap(w.buf)) < n || w.buf == nil {
			w.buf = make([]byte, max(n, window))
		}
		// The window may reach into what follows the block; a short read at the end of the file is one of its end.
		fill := w.buf[:cap(w.buf)]
		got, err := w.b.r.ReadAt(fill, w.b.off+pos)
		if int64(got) < n {
			return nil, fmt.Errorf("read: %w", err)
		}
		w.buf, w.from = fill[:got], pos
	}
	return w.buf[pos-w.from:][:n:n], nil
}
