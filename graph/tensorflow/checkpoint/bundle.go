package checkpoint

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
	"github.com/millrace/millrace/tensor"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	// maxEntry is the size of the largest entry that is read: a variable in some 10,000 slices.
	maxEntry  = 1 << 20
	maxShards = 100_000
)

// openBundle reads the index of a checkpoint of version 2.
func (c *Checkpoint) openBundle(fsys fs.FS, at *location) error {
	index := &file{fsys: fsys, name: at.index}
	defer index.Close()
	r, size, err := index.open()
	if err != nil {
		return err
	}
	if err := c.readIndex(r, size, fsys, at.prefix); err != nil {
		return fmt.Errorf("file %s: %w", at.index, err)
	}
	return c.checkOverlap()
}

func (c *Checkpoint) readIndex(r io.ReaderAt, size int64, fsys fs.FS, prefix string) error {
	tab, err := table.Open(r, size)
	if err != nil {
		return tableError(err)
	}
	left := newBudget(size)
	first := true
	for e, err := range tab.All() {
		if err != nil {
			return tableError(err)
		}
		raw, err := e.Value.Bytes(maxEntry)
		if err != nil {
			return fmt.Errorf("key %q: %w", e.Key, tableError(err))
		}
		if first != (len(e.Key) == 0) {
			return fmt.Errorf("%w: it does not begin with a checkpoint's header", ErrFormat)
		}
		if first {
			first = false
			if err := c.readHeader(raw, fsys, prefix); err != nil {
				return fmt.Errorf("header: %w", err)
			}
			continue
		}
		if err := left.charge(variableCost + len(e.Key) + 8*len(raw)/4); err != nil {
			return err
		}
		v, err := c.readEntry(raw, &left)
		if err != nil {
			return fmt.Errorf("key %q: %w", e.Key, err)
		}
		c.vars[string(e.Key)] = v
	}
	if first {
		return fmt.Errorf("%w: it has no entries", ErrFormat)
	}
	return nil
}

// tableError makes a damaged table a damaged checkpoint.
func tableError(err error) error { return fmt.Errorf("%w: %w", ErrFormat, err) }

func (c *Checkpoint) readHeader(b []byte, fsys fs.FS, prefix string) error {
	n := int64(0)
	f := fieldsOf(b)
	for f.next() {
		switch f.num {
		case 1:
			n = f.int()
		case 2:
			switch order := f.int(); order {
			case 0, 1:
				c.swap = order == 1
			default:
				return fmt.Errorf("%w: byte order %d", ErrFormat, order)
			}
		case 3:
			if err := readVersion(f.bytes()); err != nil {
				return err
			}
		}
	}
	if f.err != nil {
		return f.err
	}
	if n < 1 || n > maxShards {
		return fmt.Errorf("%w: %d shards", ErrFormat, n)
	}
	for i := range n {
		c.files = append(c.files, &file{fsys: fsys, name: fmt.Sprintf("%s.data-%05d-of-%05d", prefix, i, n)})
	}
	return nil
}

// readEntry reads a BundleEntryProto.
func (c *Checkpoint) readEntry(b []byte, left *budget) (*variable, error) {
	v := &variable{}
	shape := []byte(nil)
	f := fieldsOf(b)
	for f.next() {
		switch f.num {
		case 1:
			v.dtype = DataType(f.int())
		case 2:
			shape = f.bytes()
		case 3:
			shard := f.int()
			if shard < 0 || shard >= int64(len(c.files)) {
				return nil, fmt.Errorf("%w: it is in shard %d of %d", ErrFormat, shard, len(c.files))
			}
			v.shard = int(shard)
		case 4:
			v.off = f.int()
		case 5:
			v.size = f.int()
		case 6:
			if f.want(protowire.Fixed32Type) {
				v.sum = table.Unmask(uint32(f.u))
			}
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	var err error
	if v.shape, err = readShape(shape); err != nil {
		return nil, err
	}
	if _, err := checkShape(v.shape); err != nil {
		return nil, err
	}
	if v.off < 0 || v.size < 0 || v.off > 1<<62 || v.size > 1<<62 {
		return nil, fmt.Errorf("%w: %d bytes at offset %d", ErrFormat, v.size, v.off)
	}
	return v, v.addParts(b, 7, 0, left)
}

// addParts adds the slices of a variable: TensorSliceProtos in the fields num of a message.
func (v *variable) addParts(b []byte, num protowire.Number, file int, left *budget) error {
	n := 0
	for f := fieldsOf(b); f.next(); {
		if f.num == num {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	if err := left.charge(n * (sliceCost + 17*len(v.shape))); err != nil {
		return err
	}
	v.parts = slices.Grow(v.parts, n)
	for f := fieldsOf(b); f.next(); {
		if f.num != num {
			continue
		}
		s, err := readSlice(f.bytes(), v.shape)
		if err == nil {
			err = f.err
		}
		if err != nil {
			return fmt.Errorf("slice %d: %w", len(v.parts), err)
		}
		v.parts = append(v.parts, part{s, file})
	}
	return nil
}

// checkOverlap refuses entries that share bytes: no writer makes them, and a small file could ask for much memory by them.
func (c *Checkpoint) checkOverlap() error {
	type extent struct {
		name string
		*variable
	}
	all := make([]extent, 0, len(c.vars))
	for name, v := range c.vars {
		if v.size > 0 && len(v.parts) == 0 {
			all = append(all, extent{name, v})
		}
	}
	slices.SortFunc(all, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.off, b.off), cmp.Compare(a.name, b.name))
	})
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.shard == b.shard && b.off < a.off+a.size {
			return fmt.Errorf("%w: %q and %q share bytes of %s", ErrFormat, a.name, b.name, c.files[a.shard].name)
		}
	}
	return nil
}

// data returns a reader of an entry's bytes, which counts their checksum.
func (c *Checkpoint) data(v *variable) (*summed, error) {
	f := c.files[v.shard]
	r, size, err := f.open()
	if err != nil {
		return nil, err
	}
	if v.size > size || v.off > size-v.size {
		return nil, fmt.Errorf("%w: file %s: %d bytes at offset %d lie outside its %d bytes", ErrFormat, f.name, v.size, v.off, size)
	}
	return &summed{r: bufio.NewReaderSize(io.NewSectionReader(r, v.off, v.size), 64<<10), hash: crc32.New(castagnoli), file: f.name, want: v.sum}, nil
}

// summed is a reader that counts the checksum of what was read.
type summed struct {
	r    *bufio.Reader
	hash hash.Hash32
	file string
	want uint32
}

// fill reads all of b.
func (s *summed) fill(b []byte) error {
	if _, err := io.ReadFull(s.r, b); err != nil {
		return fmt.Errorf("file %s: %w", s.file, err)
	}
	s.hash.Write(b)
	return nil
}

// done compares the checksum.
func (s *summed) done() error {
	if got := s.hash.Sum32(); got != s.want {
		return fmt.Errorf("%w: file %s: the checksum is %08x, the data's is %08x", ErrFormat, s.file, s.want, got)
	}
	return nil
}

// readWhole reads a variable that is in one piece.
func (c *Checkpoint) readWhole(v *variable, dtype tensor.DType, n int) (*tensor.Tensor, error) {
	if dtype == tensor.String {
		return c.readStrings(v, n)
	}
	r, err := c.checked(v, dtype, n)
	if err != nil {
		return nil, err
	}
	t, err := tensor.New(dtype, v.shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := r.fill(t.Bytes()); err != nil {
		return nil, err
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	c.finish(t)
	return t, nil
}

// checked is data where the entry has exactly the bytes of n elements.
func (c *Checkpoint) checked(v *variable, dtype tensor.DType, n int) (*summed, error) {
	if want := int64(n) * int64(dtype.Size()); v.size != want {
		return nil, fmt.Errorf("%w: %v%v needs %d bytes, its entry has %d", ErrFormat, dtype, tensor.Shape(v.shape), want, v.size)
	}
	return c.data(v)
}

// finish makes elements of bytes as they were in the file.
func (c *Checkpoint) finish(t *tensor.Tensor) {
	b := t.Bytes()
	if t.DType() == tensor.Bool {
		for i, v := range b {
			if v > 1 {
				b[i] = 1
			}
		}
	}
	if !c.swap {
		return
	}
	size := t.DType().Size()
	if t.DType() == tensor.Complex64 || t.DType() == tensor.Complex128 {
		size /= 2
	}
	for ; len(b) > 0 && size > 1; b = b[size:] {
		slices.Reverse(b[:size])
	}
}

// readStrings reads a string tensor.
func (c *Checkpoint) readStrings(v *variable, n int) (*tensor.Tensor, error) {
	// 16 bytes of memory for each string, of which the file may have one.
	if int64(n) > v.size || int64(n) > v.size/8+2<<20 {
		return nil, fmt.Errorf("%w: %d bytes for %d strings", ErrFormat, v.size, n)
	}
	r, err := c.data(v)
	if err != nil {
		return nil, err
	}
	lengths := make([]uint32, n)
	left := uint64(v.size)
	var order binary.ByteOrder = binary.LittleEndian
	if c.swap {
		order = binary.BigEndian
	}
	for i := range lengths {
		length, err := binary.ReadUvarint(r.r)
		if err != nil {
			return nil, fmt.Errorf("%w: file %s: the length of string %d is damaged", ErrFormat, r.file, i)
		}
		if length > left || length > 1<<32-1 {
			return nil, fmt.Errorf("%w: file %s: string %d of %d bytes is longer than the data", ErrFormat, r.file, i, length)
		}
		left -= length
		lengths[i] = uint32(length)
		var b [4]byte
		order.PutUint32(b[:], lengths[i])
		r.hash.Write(b[:])
	}
	sum := r.hash.Sum32()
	var stored [4]byte
	if err := r.fill(stored[:]); err != nil {
		return nil, err
	}
	if got := table.Unmask(order.Uint32(stored[:])); got != sum {
		return nil, fmt.Errorf("%w: file %s: the checksum of the strings' lengths is %08x, theirs is %08x", ErrFormat, r.file, got, sum)
	}
	total := 0
	for _, length := range lengths {
		total += int(length)
	}
	all := make([]byte, total)
	if err := r.fill(all); err != nil {
		return nil, err
	}
	out := make([]string, n)
	for i, length := range lengths {
		out[i] = unsafe.String(unsafe.SliceData(all), length)
		all = all[length:]
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	t, err := tensor.Of(out, v.shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return t, nil
}
