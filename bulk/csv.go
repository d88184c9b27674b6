package bulk

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
)

// A row of a CSV file is a JSON object with the columns' names: what JSON takes for a number is one, an empty cell is left out, and
// everything else is text. Without a header it is a list, and an empty cell null. The column that has the keys because it is headed "key" is no part of the value.

// keyColumn is the column or field that has the keys where nobody names another.
const keyColumn = "key"

// maxColumns bounds a CSV file's columns.
const maxColumns = 16384

type csvReader struct {
	o      Options
	in     *csv.Reader
	budget *budget
	names  [][]byte // of the columns, as members of an object; nil for lists
	width  int      // of the columns, 0 while it is not known
	key    int      // the column of the keys, -1 for the row's number
	hidden bool     // it is not in the value
	row    int64
	failed error
}

// budget bounds what is read for one record.
type budget struct {
	from io.Reader
	left int64
}

var errBudget = errors.New("the row is too long")

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	return n, err
}

func newCSVReader(in *bufio.Reader, o Options) (*csvReader, error) {
	if head, _ := in.Peek(len(bom)); string(head) == bom { // an error comes again with the first read
		if _, err := in.Discard(len(bom)); err != nil {
			return nil, err
		}
	}
	separator := o.Separator
	if separator == 0 {
		separator = media.Separator(firstLine(in), true)
	}
	c := &csvReader{o: o, budget: &budget{from: in}, key: -1}
	c.in = csv.NewReader(c.budget)
	c.in.Comma, c.in.ReuseRecord, c.in.FieldsPerRecord = separator, true, -1
	if !media.IsSeparator(separator) {
		return nil, fmt.Errorf("%w: the separator %q cannot be one", ErrFormat, separator)
	}
	if o.NoHeader {
		if o.Key == "" {
			return c, nil
		}
		n, err := strconv.Atoi(o.Key)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%w: without a header the key's column is a number from 1, not %q", ErrFormat, o.Key)
		}
		c.key = n - 1
		return c, nil
	}
	return c, c.header()
}

// firstLine returns what has come when the first line has, and waits for no more than that.
func firstLine(in *bufio.Reader) []byte {
	for n := 1; ; n = in.Buffered() + 1 {
		_, err := in.Peek(min(n, in.Size()))
		head, _ := in.Peek(in.Buffered())
		if err != nil || n > in.Size() || bytes.ContainsAny(head, "\r\n") {
			return head
		}
	}
}

func (c *csvReader) header() error {
	c.budget.left = maxHeader
	head, err := c.in.Read()
	if errors.Is(err, io.EOF) {
		c.failed = io.EOF
		return nil // no row, no names
	}
	if err != nil {
		return fmt.Errorf("%w: the header: %w", ErrFormat, c.cause(err))
	}
	if len(head) > maxColumns {
		return fmt.Errorf("%w: %d columns; at most %d are taken", ErrFormat, len(head), maxColumns)
	}
	seen := map[string]bool{}
	c.width = len(head)
	for i, name := range head {
		name = strings.TrimSpace(name)
		if name == "" || seen[name] {
			return fmt.Errorf("%w: the header names column %d %q, which is %s; every column needs a name of its own, or say that there is no header",
				ErrFormat, i+1, name, map[bool]string{true: "there before", false: "empty"}[seen[name]])
		}
		seen[name] = true
		c.names = append(c.names, append(appendString(nil, name), ':'))
		if name == c.o.Key || c.o.Key == "" && name == keyColumn {
			c.key, c.hidden = i, c.o.Key == ""
		}
	}
	if c.o.Key != "" && c.key < 0 {
		return fmt.Errorf("%w: no column is headed %q, which has the keys; there is %s", ErrFormat, c.o.Key, names(slices.Clone(head)))
	}
	return nil
}

// maxHeader bounds the header.
const maxHeader = 1 << 20

// cause says a limit in words, and leaves away what a csv.ParseError tells of the place, which is told anyway.
func (c *csvReader) cause(err error) error {
	if errors.Is(err, errBudget) {
		return fmt.Errorf("%w: a row of more than %d bytes; is a quote left open?", grid.ErrTooLarge, c.o.MaxBytes)
	}
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}

func (c *csvReader) Next() (Record, error) {
	if c.failed != nil {
		return Record{}, c.failed
	}
	c.budget.left = c.o.MaxBytes + lineRoom
	cells, err := c.in.Read()
	if errors.Is(err, io.EOF) {
		c.failed = io.EOF
		return Record{}, io.EOF
	}
	c.row++
	line, _ := 0, 0
	if err == nil {
		line, _ = c.in.FieldPos(0)
	} else {
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			line = parse.Line
		}
		c.failed = err
	}
	var r Record
	if err == nil {
		r, err = c.record(cells)
	} else if !errors.Is(err, errBudget) && line == 0 {
		return Record{}, err // the bytes did not come
	} else {
		err = fmt.Errorf("%w: %w", ErrFormat, c.cause(err))
	}
	if err != nil {
		where := ""
		if line > 0 {
			where = fmt.Sprintf("line %d", line)
		}
		return Record{}, &RowError{Row: c.row, Where: where, Err: err}
	}
	return r, nil
}

func (c *csvReader) record(cells []string) (Record, error) {
	if c.width == 0 {
		c.width = len(cells)
		if c.key >= c.width {
			return Record{}, fmt.Errorf("%w: the key is in column %d, and there are %d", ErrFormat, c.key+1, c.width)
		}
	}
	if len(cells) != c.width {
		return Record{}, fmt.Errorf("%w: %d columns, where the first row has %d", ErrFormat, len(cells), c.width)
	}
	r := Record{ContentType: typeJSON, Key: c.o.numbered(c.row)}
	if c.key >= 0 {
		r.Key = cells[c.key]
		if err := checkKey(r.Key); err != nil {
			return r, err
		}
	}
	if c.names == nil {
		r.Value = c.list(cells)
	} else {
		r.Value = c.object(cells)
	}
	if int64(len(r.Value)) > c.o.MaxBytes {
		return r, fmt.Errorf("%w: value of %d bytes, at most %d are taken", grid.ErrTooLarge, len(r.Value), c.o.MaxBytes)
	}
	return r, nil
}

func (c *csvReader) object(cells []string) []byte {
	out := []byte{'{'}
	for i, cell := range cells {
		if cell == "" || i == c.key && c.hidden {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = c.appendCell(append(out, c.names[i]...), cell)
	}
	return append(out, '}')
}

func (c *csvReader) list(cells []string) []byte {
	var out []byte
	for i, cell := range cells {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		out = append(out, sep)
		if cell == "" {
			out = append(out, "null"...)
			continue
		}
		out = c.appendCell(out, cell)
	}
	return append(out, ']')
}

// appendCell appends a number as it is written, and anything else as text. Where a comma does not separate columns it may be a number's decimal
// point, as in the tables that train reads.
func (c *csvReader) appendCell(dst []byte, cell string) []byte {
	s := strings.TrimSpace(cell)
	if c.in.Comma != ',' && strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		s = strings.Replace(s, ",", ".", 1)
	}
	if isNumber(s) {
		return append(dst, s...)
	}
	return appendString(dst, cell)
}

// isNumber reports whether JSON takes a word for a number, such as -1.5e3; 007 and NaN are none.
func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

// Columns collects the columns of records whose values are JSON objects, in the order in which they first come.
type Columns struct {
	Names []string
	paths []string
	known map[string]string // the path of each name
}

// Add takes a record's columns. What an object in the value has under a name has a column such as scores.1. A value that is no object of numbers,
// text, true, false, null and such objects is ErrCannotHold.
func (c *Columns) Add(r *Record) error {
	return fields(r, func(name, path, _ string) error {
		if known, ok := c.known[name]; ok {
			if known != path {
				return fmt.Errorf("%w: CSV, entry %.80q: the column %.80q would be of a field of this name and of one in an object; jsonl and tar hold everything", ErrCannotHold, r.Key, name)
			}
			return nil
		}
		if len(c.Names) == maxColumns {
			return fmt.Errorf("%w: more than %d columns", ErrCannotHold, maxColumns)
		}
		if c.known == nil {
			c.known = map[string]string{}
		}
		c.known[name] = path
		c.Names, c.paths = append(c.Names, name), append(c.paths, path)
		return nil
	})
}

const (
	// maxNested bounds how deep objects lie in each other, and maxColumnName the name that comes of it.
	maxNested     = 32
	maxColumnName = 4096
)

// fields calls take with each field of a record's value, in order: the name of its column, the same with a zero byte for each dot that leads into an
// object, and what is in its cell.
func fields(r *Record, take func(name, path, cell string) error) error {
	f := fieldReader{key: r.Key, take: take}
	if !isJSON(r.ContentType) {
		return f.refuse("its value is of %q, not a JSON object", r.ContentType)
	}
	f.in = json.NewDecoder(bytes.NewReader(r.Value))
	f.in.UseNumber()
	if t, err := f.in.Token(); err != nil || t != json.Delim('{') {
		return f.refuse("its value is no JSON object")
	}
	return f.object("", "", 1)
}

// fieldReader reads the fields of one value.
type fieldReader struct {
	key  string
	in   *json.Decoder
	take func(name, path, cell string) error
}

func (f *fieldReader) refuse(format string, args ...any) error {
	return fmt.Errorf("%w: CSV, entry %.80q: %s; jsonl and tar hold everything", ErrCannotHold, f.key, fmt.Sprintf(format, args...))
}

// object reads the fields of an object up to its end. Their names begin with prefix, their paths with path.
func (f *fieldReader) object(prefix, path string, depth int) error {
	for f.in.More() {
		t, err := f.in.Token()
		if err != nil {
			return f.refuse("its value is no JSON object")
		}
		if err := f.field(prefix+t.(string), path+t.(string), depth); err != nil {
			return err
		}
	}
	if _, err := f.in.Token(); err != nil {
		return f.refuse("its value is no JSON object")
	}
	return nil
}

func (f *fieldReader) field(name, path string, depth int) error {
	if depth > 1 && len(name) > maxColumnName {
		return f.refuse("the column of its field \"%.80s...\" would have a name of %d bytes", name, len(name))
	}
	if name == keyColumn {
		return f.refuse("its field \"key\" has the name of the column of the keys")
	}
	t, err := f.in.Token()
	if err != nil {
		return f.refuse("its value is no JSON object")
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			return f.refuse("its field %.80q is a list", name)
		}
		if depth == maxNested {
			return f.refuse("its field %.80q lies in more than %d objects", name, maxNested)
		}
		return f.object(name+".", path+"\x00", depth+1)
	case string:
		return f.take(name, path, v)
	case nil:
		return f.take(name, path, "")
	default:
		return f.take(name, path, fmt.Sprint(v))
	}
}

type csvWriter struct {
	to    *csv.Writer
	index map[string]int // by path
	row   []string
}

// NewCSVWriter writes records with the columns that were collected from them.
func NewCSVWriter(w io.Writer, c *Columns) (Writer, error) {
	out := &csvWriter{to: csv.NewWriter(w), index: map[string]int{}, row: make([]string, len(c.Names)+1)}
	for i, path := range c.paths {
		out.index[path] = i + 1
	}
	return out, out.to.Write(append([]string{keyColumn}, c.Names...))
}

func (c *csvWriter) Write(r *Record) error {
	clear(c.row)
	c.row[0] = r.Key
	err := fields(r, func(name, path, cell string) error {
		i, ok := c.index[path]
		if !ok {
			return fmt.Errorf("%w: entry %.80q has got a field %q meanwhile", ErrCannotHold, r.Key, name)
		}
		c.row[i] = cell
		return nil
	})
	if err != nil {
		return err
	}
	return c.to.Write(c.row)
}

func (c *csvWriter) Close() error {
	c.to.Flush()
	return c.to.Error()
}
