package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/millrace/millrace/tensor"
)

// ReadParquet reads a table from a file of Apache Parquet as [ReadCSV] does. Its columns are numbers, text, booleans, times and dates; one that has lists
// or groups has to be left out by Options.Ignore. Errors are ErrData with the row and the column.
func ReadParquet(r io.ReaderAt, size int64, o Options) (*Set, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	t, err := readParquet(r, size, o)
	if err != nil {
		return nil, err
	}
	return t.set(o)
}

// readParquet gathers the columns. The library panics at some damaged files.
func readParquet(r io.ReaderAt, size int64, o Options) (t *table, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("%w: Parquet: the file is damaged: %v", ErrData, p)
		}
	}()
	if err := checkFooter(r, size); err != nil {
		return nil, fmt.Errorf("%w: Parquet: %w", ErrData, err)
	}
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: Parquet: %w", ErrData, err)
	}
	t = &table{format: "Parquet", header: header{is: true}}
	tops := f.Root().Columns()
	if len(tops) < 2 {
		return nil, fmt.Errorf("%w: Parquet: a row needs a label and at least one number, and there are %d columns", ErrData, len(tops))
	}
	for _, c := range tops {
		t.names = append(t.names, strings.TrimSpace(c.Name()))
		t.columns = append(t.columns, newColumn(false))
	}
	left := make([]bool, len(tops))
	for _, name := range o.Ignore {
		if i, err := t.find(name); err == nil { // set tells of the others
			left[i] = true
		}
	}
	for i, c := range tops {
		if !left[i] && (!c.Leaf() || c.Repeated()) {
			return nil, fmt.Errorf("%w: Parquet: %s has lists or groups, not one value a row: --ignore %s leaves it out", ErrData, t.name(i), t.say(i))
		}
	}
	if f, err = unpacked(r, size, f, tops, left); err != nil {
		return nil, fmt.Errorf("%w: Parquet: %w", ErrData, err)
	}
	tops = f.Root().Columns()
	for _, g := range f.RowGroups() {
		for i, c := range tops {
			if left[i] {
				continue
			}
			if err := t.readChunk(i, c, g.ColumnChunks()[c.Index()]); err != nil {
				return nil, err
			}
		}
	}
	rows := -1
	for i := range tops {
		if left[i] {
			continue
		}
		if n := t.columns[i].rows(); rows >= 0 && n != rows {
			return nil, fmt.Errorf("%w: Parquet: the file is damaged: %s has %d rows, and others %d", ErrData, t.name(i), n, rows)
		}
		rows = t.columns[i].rows()
	}
	for i := range tops {
		for range max(rows, 0) {
			if left[i] {
				t.columns[i].add("")
			}
		}
	}
	return t, nil
}

// unpacked returns the file with the columns unpacked that are read and that the library cannot unpack itself.
func unpacked(r io.ReaderAt, size int64, f *parquet.File, tops []*parquet.Column, left []bool) (*parquet.File, error) {
	names := map[int]string{} // of the columns that are read, by their place among the leaves
	for i, c := range tops {
		if !left[i] {
			names[c.Index()] = c.Name()
		}
	}
	meta := f.Metadata()
	for _, g := range meta.RowGroups {
		for j, c := range g.Columns {
			codec := c.MetaData.Codec
			if name, reads := names[j]; reads && !slices.Contains(codecs, codec) {
				return nil, fmt.Errorf("column %q is packed by %v, which is not read: write the file with zstd, snappy or gzip", name, codec)
			}
		}
	}
	whole, n, err := unpackLZ4(r, size, meta, func(column int) bool { _, reads := names[column]; return reads })
	if err != nil || n == size {
		return f, err
	}
	return parquet.OpenFile(whole, n, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
}

// codecs are those that are read.
var codecs = []format.CompressionCodec{format.Uncompressed, format.Snappy, format.Gzip, format.Brotli, format.Zstd, format.Lz4, format.Lz4Raw}

// checkFooter holds the length of a file's footer against the file, before the library makes room for it. A file ends in that length, 32 bits, and PAR1.
func checkFooter(r io.ReaderAt, size int64) error {
	const ends = 12 // PAR1 at the beginning, and the last 8 bytes
	var tail [8]byte
	if size < ends {
		return fmt.Errorf("a file of %d bytes is none", size)
	}
	if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) == "PAR1" && n > size-ends {
		return fmt.Errorf("the file is damaged: its footer has %d bytes, and the file %d", n, size)
	}
	return nil
}

// readChunk appends the values that a group of rows has in a column.
func (t *table) readChunk(i int, c *parquet.Column, chunk parquet.ColumnChunk) (err error) {
	write, err := writer(c)
	if err != nil {
		return fmt.Errorf("%w: Parquet: %s: %w: --ignore %s leaves it out", ErrData, t.name(i), err, t.say(i))
	}
	damaged := func(err error) error { return fmt.Errorf("%w: Parquet: %s: %w", ErrData, t.name(i), err) }
	pages := chunk.Pages()
	defer func() {
		if cerr := pages.Close(); err == nil && cerr != nil {
			err = damaged(cerr)
		}
	}()
	values := make([]parquet.Value, 1024)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return damaged(err)
		}
		for in := page.Values(); ; {
			n, err := in.ReadValues(values)
			for _, v := range values[:n] {
				text := ""
				if !v.IsNull() {
					if text, err = write(v); err != nil {
						return t.fault(t.columns[i].rows(), i, "%v (--ignore %s leaves the column out)", err, t.say(i))
					}
				}
				t.columns[i].add(strings.TrimSpace(text))
			}
			if errors.Is(err, io.EOF) || n == 0 && err == nil {
				break
			}
			if err != nil {
				return damaged(err)
			}
		}
		parquet.Release(page)
	}
}

// writer returns what writes a column's values as the fields of a CSV file would be.
func writer(c *parquet.Column) (func(parquet.Value) (string, error), error) {
	always := func(text func(parquet.Value) string) (func(parquet.Value) (string, error), error) {
		return func(v parquet.Value) (string, error) { return text(v), nil }, nil
	}
	kind := c.Type().Kind()
	whole := kind == parquet.Int32 || kind == parquet.Int64
	integer := func(v parquet.Value) int64 {
		if kind == parquet.Int32 {
			return int64(v.Int32())
		}
		return v.Int64()
	}
	switch l := logical(c).(type) {
	case *format.TimestampType:
		if whole {
			return always(func(v parquet.Value) string { return since(integer(v), l.Unit).UTC().Format(time.RFC3339Nano) })
		}
	case *format.DateType:
		if whole {
			return always(func(v parquet.Value) string { return time.Unix(integer(v)*86400, 0).UTC().Format(time.DateOnly) })
		}
	case *format.TimeType:
		if whole {
			return always(func(v parquet.Value) string { return since(integer(v), l.Unit).UTC().Format("15:04:05.999999999") })
		}
	case *format.DecimalType:
		scale := int(l.Scale)
		if scale < 0 || scale > 1000 {
			return nil, fmt.Errorf("its decimals have a scale of %d", scale)
		}
		if whole {
			return always(func(v parquet.Value) string { return decimal(big.NewInt(integer(v)), scale) })
		}
		return always(func(v parquet.Value) string { return decimal(signed(v.ByteArray()), scale) })
	case *format.IntType:
		if whole && !l.IsSigned {
			return always(func(v parquet.Value) string {
				if kind == parquet.Int32 {
					return strconv.FormatUint(uint64(v.Uint32()), 10)
				}
				return strconv.FormatUint(v.Uint64(), 10)
			})
		}
	case *format.Float16Type:
		return func(v parquet.Value) (string, error) {
			b := v.ByteArray()
			if len(b) != 2 {
				return "", fmt.Errorf("a half has %d bytes", len(b))
			}
			return float(float64(tensor.Half(binary.LittleEndian.Uint16(b)).Float32()), 32), nil
		}, nil
	case *format.UUIDType:
		return always(func(v parquet.Value) string { return fmt.Sprintf("%x", v.ByteArray()) })
	}
	switch kind {
	case parquet.Boolean:
		return always(func(v parquet.Value) string { return strconv.FormatBool(v.Boolean()) })
	case parquet.Int32, parquet.Int64:
		return always(func(v parquet.Value) string { return strconv.FormatInt(integer(v), 10) })
	case parquet.Int96: // a time, as Impala and old Spark write it: nanoseconds of a Julian day
		return always(func(v parquet.Value) string {
			t := v.Int96()
			const julian = 2440588 // of 1970-01-01
			nanos := int64(t[1])<<32 | int64(t[0])
			return time.Unix((int64(t[2])-julian)*86400, 0).Add(time.Duration(nanos)).UTC().Format(time.RFC3339Nano)
		})
	case parquet.Float:
		return always(func(v parquet.Value) string { return float(float64(v.Float()), 32) })
	case parquet.Double:
		return always(func(v parquet.Value) string { return float(v.Double(), 64) })
	case parquet.ByteArray, parquet.FixedLenByteArray:
		return func(v parquet.Value) (string, error) {
			b := v.ByteArray()
			if !utf8.Valid(b) {
				return "", errors.New("these bytes are no text in UTF-8")
			}
			return string(b), nil
		}, nil
	}
	return nil, fmt.Errorf("values of type %v are not known", c.Type())
}

// logical is what a column's values mean, also where an old file says it in the old way; nil where it says nothing.
func logical(c *parquet.Column) format.LogicalTypeValue {
	if l := c.Type().LogicalType(); l != nil && l.Value != nil {
		return l.Value
	}
	old := c.Type().ConvertedType()
	if old == nil {
		return nil
	}
	millis, micros := format.TimeUnit{Value: &format.MilliSeconds{}}, format.TimeUnit{Value: &format.MicroSeconds{}}
	switch *old {
	case deprecated.Date:
		return &format.DateType{}
	case deprecated.TimeMillis:
		return &format.TimeType{Unit: millis}
	case deprecated.TimeMicros:
		return &format.TimeType{Unit: micros}
	case deprecated.TimestampMillis:
		return &format.TimestampType{Unit: millis}
	case deprecated.TimestampMicros:
		return &format.TimestampType{Unit: micros}
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return &format.IntType{}
	}
	return nil
}

func since(n int64, unit format.TimeUnit) time.Time {
	switch unit.Value.(type) {
	case *format.MicroSeconds:
		return time.UnixMicro(n)
	case *format.NanoSeconds:
		return time.Unix(0, n)
	}
	return time.UnixMilli(n)
}

// signed is a big-endian number in two's complement.
func signed(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// decimal writes n / 10^scale.
func decimal(n *big.Int, scale int) string {
	if scale == 0 {
		return n.String()
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
}

// float writes a number; one of a usual size without an exponent, so that a class is called 1 and not 1e+00.
func float(v float64, bits int) string {
	if math.Abs(v) < 1e15 && (math.Abs(v) >= 1e-5 || v == 0) {
		return strconv.FormatFloat(v, 'f', -1, bits)
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

// openParquet is ReadParquet of a file, with its name in errors.
func openParquet(name string, o Options) (*Set, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	s, err := ReadParquet(f, info.Size(), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
