package checkpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
	"github.com/millrace/millrace/tensor"
)

// maxMeta is the size of the largest list of variables in a file of version 1.
const maxMeta = 64 << 20

// openSlices reads the lists of variables of a checkpoint of version 1.
func (c *Checkpoint) openSlices(fsys fs.FS, at *location) error {
	var size int64
	for _, name := range at.tables {
		f := &file{fsys: fsys, name: name}
		c.files = append(c.files, f)
		_, n, err := f.open()
		if err != nil {
			return err
		}
		size += n
	}
	left := newBudget(size)
	for i, f := range c.files {
		if err := c.readMeta(i, &left); err != nil {
			return fmt.Errorf("file %s: %w", f.name, err)
		}
	}
	return nil
}

// openTable opens the table of file i. Tables stay open with their file.
func (c *Checkpoint) openTable(i int) (*table.Table, error) {
	f := c.files[i]
	r, size, err := f.open()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table == nil {
		if f.table, err = table.Open(r, size); err != nil {
			return nil, tableError(err)
		}
	}
	return f.table, nil
}

func (c *Checkpoint) readMeta(i int, left *budget) error {
	tab, err := c.openTable(i)
	if err != nil {
		return err
	}
	value, ok, err := tab.Get(nil)
	if err != nil {
		return tableError(err)
	}
	if !ok {
		return fmt.Errorf("%w: it has no list of variables under the empty key", ErrFormat)
	}
	raw, err := value.Bytes(maxMeta)
	if err != nil {
		return tableError(err)
	}
	found := false
	f := fieldsOf(raw)
	for f.next() {
		if f.num != 1 {
			continue
		}
		found = true
		meta := fieldsOf(f.bytes())
		for n := 0; meta.next(); {
			switch meta.num {
			case 1:
				if err := c.readVariable(meta.bytes(), i, left); err != nil {
					return fmt.Errorf("variable %d: %w", n, err)
				}
				n++
			case 2:
				if err := readVersion(meta.bytes()); err != nil {
					return err
				}
			}
		}
		if meta.err != nil {
			return meta.err
		}
	}
	if f.err == nil && !found {
		return fmt.Errorf("%w: the value of the empty key lists no variables", ErrFormat)
	}
	return f.err
}

// readVariable reads a SavedSliceMeta. A variable in several shards is listed in each, with the slices there.
func (c *Checkpoint) readVariable(b []byte, file int, left *budget) error {
	var name string
	v := &variable{}
	shape := []byte(nil)
	f := fieldsOf(b)
	for f.next() {
		switch f.num {
		case 1:
			raw := f.bytes()
			if len(raw) > table.MaxKey {
				return fmt.Errorf("%w: a name of %d bytes", ErrFormat, len(raw))
			}
			name = string(raw)
		case 2:
			shape = f.bytes()
		case 3:
			v.dtype = DataType(f.int())
		}
	}
	if f.err != nil {
		return f.err
	}
	if isSlice(name) {
		return fmt.Errorf("%w: its name is %q", ErrFormat, name)
	}
	if err := left.charge(variableCost + len(name) + 8*len(shape)); err != nil {
		return err
	}
	var err error
	if v.shape, err = readShape(shape); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if _, err := checkShape(v.shape); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if old := c.vars[name]; old != nil {
		if old.dtype != v.dtype || !slices.Equal(old.shape, v.shape) {
			return fmt.Errorf("%w: %q is %v%v here and %v%v before", ErrFormat, name, v.dtype, tensor.Shape(v.shape), old.dtype, tensor.Shape(old.shape))
		}
		v = old
	}
	c.vars[name] = v
	if err := v.addParts(b, 4, file, left); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// value finds the values of a slice of version 1.
func (c *Checkpoint) value(key []byte, name string, v *variable, p part) (source, error) {
	file := c.files[p.file]
	tab, err := c.openTable(p.file)
	if err != nil {
		return nil, err
	}
	stored, ok, err := tab.Get(key)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", file.name, tableError(err))
	}
	if !ok {
		return nil, fmt.Errorf("%w: file %s has no entry for it", ErrFormat, file.name)
	}
	// A stored number may be shorter than its element, by a factor of 8 at most, and a table compressed. But a variable that
	// is far larger than its file is taken for an attack.
	dtype := v.dtype.DType()
	elem := max(dtype.Size(), 16*btoi(dtype == tensor.String))
	_, size, err := file.open()
	if err != nil {
		return nil, err
	}
	n := p.size()
	if n > 8*int(min(stored.Size(), math.MaxInt/8)) || int64(n)*int64(elem) > 2*size+24<<20 {
		return nil, fmt.Errorf("%w: file %s: %d bytes for %d elements of %v", ErrFormat, file.name, stored.Size(), n, v.dtype)
	}
	return &legacyPart{file: file.name, name: name, dtype: v.dtype, shape: v.shape, slice: p.Slice, value: stored}, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// legacyPart is a slice in a table of version 1. Its protobuf messages are read as a stream: they may be large.
type legacyPart struct {
	file  string
	name  string
	dtype DataType
	shape []int
	slice Slice
	value table.Value

	s   stream
	dst *target
	run []byte // what is left of the run in hand
}

func (l *legacyPart) read(dst *target) error {
	l.dst = dst
	l.s = stream{r: bufio.NewReaderSize(l.value.Reader(), 64<<10), left: l.value.Size()}
	err := l.s.message(func(num protowire.Number, typ protowire.Type) error { // SavedTensorSlices
		if num != 2 {
			return l.s.skip(typ)
		}
		return l.s.nested(typ, l.saved)
	})
	if err == nil && !l.full() {
		err = fmt.Errorf("%w: it has fewer values than elements", ErrFormat)
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", l.file, err)
	}
	return nil
}

// full reports whether every element has a value.
func (l *legacyPart) full() bool { return len(l.run) == 0 && l.dst.off == l.dst.end && l.dst.runs == 0 }

// saved reads a field of a SavedSlice, which repeats name and slice.
func (l *legacyPart) saved(num protowire.Number, typ protowire.Type) error {
	switch num {
	case 1:
		b, err := l.s.bytes(typ, table.MaxKey)
		if err == nil && string(b) != l.name {
			err = fmt.Errorf("%w: the entry is one of %q", ErrFormat, b)
		}
		return err
	case 2:
		b, err := l.s.bytes(typ, 64*(maxRank+1))
		if err != nil {
			return err
		}
		s, err := readSlice(b, l.shape)
		if err == nil && !(slices.Equal(s.Start, l.slice.Start) && slices.Equal(s.Length, l.slice.Length)) {
			err = fmt.Errorf("%w: the entry is one of slice %v+%v", ErrFormat, s.Start, s.Length)
		}
		return err
	case 3:
		return l.s.nested(typ, l.values)
	}
	return l.s.skip(typ)
}

// valueFields are the fields of a TensorProto with values, by the type that uses them.
var valueFields = map[tensor.DType]protowire.Number{
	tensor.Float32: 5, tensor.Float64: 6, tensor.Int32: 7, tensor.Int16: 7, tensor.Int8: 7, tensor.Uint8: 7, tensor.Uint16: 7,
	tensor.String: 8, tensor.Complex64: 9, tensor.Int64: 10, tensor.Bool: 11, tensor.Complex128: 12, tensor.Float16: 13,
	tensor.BFloat16: 13, tensor.Uint32: 16, tensor.Uint64: 17,
}

// values reads a field of a TensorProto. Its type and shape may be missing: those of the list count.
func (l *legacyPart) values(num protowire.Number, typ protowire.Type) error {
	dtype := l.dtype.DType()
	switch {
	case num == 1:
		v, err := l.s.varint(typ)
		if err == nil && v != 0 && DataType(v) != l.dtype {
			err = fmt.Errorf("%w: the values are of type %v", ErrFormat, DataType(v))
		}
		return err
	case num == 4 && dtype != tensor.String:
		return l.plain(typ)
	case num >= 5 && num <= 18 && num != valueFields[dtype]:
		return fmt.Errorf("%w: %v has values in field %d, not %d", ErrFormat, l.dtype, num, valueFields[dtype])
	case num != valueFields[dtype] || num == 4:
		return l.s.skip(typ)
	}
	switch dtype {
	case tensor.String:
		b, err := l.s.bytes(typ, l.value.Size())
		if err != nil {
			return err
		}
		return l.dst.put(string(b))
	case tensor.Float32, tensor.Complex64:
		return l.fixed(typ, protowire.Fixed32Type, 4)
	case tensor.Float64, tensor.Complex128:
		return l.fixed(typ, protowire.Fixed64Type, 8)
	}
	return l.integers(typ, dtype)
}

// fixed reads one number, or packed ones, that are in the file as they are in memory.
func (l *legacyPart) fixed(typ, one protowire.Type, size int64) error {
	if typ == one {
		if size > l.s.left {
			return errTruncated
		}
		return l.copy(size)
	}
	return l.plain(typ)
}

func (l *legacyPart) plain(typ protowire.Type) error {
	n, err := l.s.length(typ)
	if err != nil {
		return err
	}
	return l.copy(n)
}

// copy moves n bytes from the stream to the elements.
func (l *legacyPart) copy(n int64) error {
	for n > 0 {
		if err := l.more(); err != nil {
			return err
		}
		k := min(n, int64(len(l.run)))
		if err := l.s.read(l.run[:k]); err != nil {
			return err
		}
		l.run = l.run[k:]
		n -= k
	}
	return nil
}

// more makes run not empty.
func (l *legacyPart) more() error {
	if len(l.run) > 0 {
		return nil
	}
	run, err := l.dst.next()
	if err != nil {
		return err
	}
	if run == nil {
		return errTooMany
	}
	l.run = run
	return nil
}

// integers reads one number, or packed ones, that are varints in the file.
func (l *legacyPart) integers(typ protowire.Type, dtype tensor.DType) error {
	if typ == protowire.VarintType {
		v, err := l.s.varint(typ)
		if err != nil {
			return err
		}
		return l.integer(dtype, v)
	}
	n, err := l.s.length(typ)
	if err != nil {
		return err
	}
	after := l.s.left - n
	for l.s.left > after {
		v, err := l.s.raw()
		if err != nil {
			return err
		}
		if l.s.left < after {
			return errTruncated
		}
		if err := l.integer(dtype, v); err != nil {
			return err
		}
	}
	return nil
}

func (l *legacyPart) integer(dtype tensor.DType, u uint64) error {
	if err := l.more(); err != nil {
		return err
	}
	v := int64(u)
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	switch dtype {
	case tensor.Int8:
		low, high = math.MinInt8, math.MaxInt8
	case tensor.Int16:
		low, high = math.MinInt16, math.MaxInt16
	case tensor.Int32:
		low, high = math.MinInt32, math.MaxInt32
	case tensor.Uint8:
		low, high = 0, math.MaxUint8
	case tensor.Uint16, tensor.Float16, tensor.BFloat16:
		low, high = 0, math.MaxUint16
	case tensor.Uint32:
		low, high = 0, math.MaxUint32
	case tensor.Bool:
		v = int64(btoi(u != 0))
	}
	if v < low || v > high {
		return fmt.Errorf("%w: the value %d does not fit %v", ErrFormat, v, l.dtype)
	}
	if len(l.run) < dtype.Size() {
		return errTruncated // bytes of part of an element came before
	}
	switch dtype.Size() {
	case 1:
		l.run[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(l.run, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(l.run, uint32(v))
	default:
		binary.LittleEndian.PutUint64(l.run, uint64(v))
	}
	l.run = l.run[dtype.Size():]
	return nil
}
