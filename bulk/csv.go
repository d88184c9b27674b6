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
	known map[string]bool
}

// Add takes a record's columns. A value that is no object of numbers, text, true, false and null is ErrCannotHold.
func (c *Columns) Add(r *Record) error {
	return fields(r, func(name string, _ json.RawMessage) error {
		if c.known[name] {
			return nil
		}
		if len(c.Names) == maxColumns {
			return fmt.Errorf("%w: more than %d columns", ErrCannotHold, maxColumns)
		}
		if c.known == nil {
			c.known = map[string]bool{}
		}
		c.known[name] = true
		c.Names = append(c.Names, name)
		return nil
	})
}

// fields calls take with each field of a record's value, in order.
func fields(r *Record, take func(name string, value json.RawMessage) error) error {
	refuse := func(what string) error {
		return fmt.Errorf("%w: CSV, entry %.80q: %s; jsonl and tar hold everything", ErrCannotHold, r.Key, what)
	}
	if !isJSON(r.ContentType) {
		return refuse(fmt.Sprintf("its value is of %q, not a JSON object", r.ContentType))
	}
	d := json.NewDecoder(bytes.NewReader(r.Value))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return refuse("its value is no JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return refuse("its value is no JSON object")
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return refuse("its value is no JSON object")
		}
		if v[0] == '{' || v[0] == '[' {
			return refuse(fmt.Sprintf("its field %q is a list or an object", name))
		}
		if name == keyColumn {
			return refuse("its field \"key\" has the name of the column of the keys")
		}
		if err := take(name.(string), v); err != nil {
			return err
		}
	}
	return nil
}

type csvWriter struct {
	to    *csv.Writer
	index map[string]int
	row   []string
}

// NewCSVWriter writes records with the columns that were collected from them.
func NewCSVWriter(w io.Writer, c *Columns) (Writer, error) {
	out := &csvWriter{to: csv.NewWriter(w), index: map[string]int{}, row: make([]string, len(c.Names)+1)}
	for i, name := range c.Names {
		out.index[name] = i + 1
	}
	return out, out.to.Write(append([]string{keyColumn}, c.Names...))
}

func (c *csvWriter) Write(r *Record) error {
	clear(c.row)
	c.row[0] = r.Key
	err := fields(r, func(name string, v json.RawMessage) error {
		i, ok := c.index[name]
		if !ok {
			return fmt.Errorf("%w: entry %.80q has got a field %q meanwhile", ErrCannotHold, r.Key, name)
		}
		switch v[0] {
		case '"':
			return json.Unmarshal(v, &c.row[i])
		case 'n':
		default:
			c.row[i] = string(v)
		}
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
