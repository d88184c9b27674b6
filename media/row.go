package media

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/tensor"
)

// rowReader writes rows of a table into tensors. It does not change and may be used by many goroutines.
type rowReader struct {
	columns []Column
	ignored []string
	place   map[string]int // of each column
	words   []map[string]int
}

func newRowReader(columns []Column, ignored []string) *rowReader {
	r := &rowReader{columns: columns, ignored: ignored, place: make(map[string]int, len(columns)), words: make([]map[string]int, len(columns))}
	for i, c := range columns {
		r.place[c.Name] = i
		if c.Type == CategoryColumn {
			r.words[i] = make(map[string]int, len(c.Categories))
			for k, w := range c.Categories {
				r.words[i][w] = k
			}
		}
	}
	return r
}

// A row is one on its way into a tensor.
type row struct {
	*rowReader
	dst     *tensor.Tensor
	at      int
	seen    []bool
	unknown []string
}

func (r *rowReader) row(dst *tensor.Tensor, at int) *row {
	return &row{rowReader: r, dst: dst, at: at, seen: make([]bool, len(r.columns))}
}

// set stores a column's number.
func (w *row) set(i int, v float64) error {
	if !holds(w.dst.DType(), v) {
		return fmt.Errorf("%w: %s is %v, which %v cannot hold", ErrShape, w.name(i), v, w.dst.DType())
	}
	w.seen[i] = true
	if err := setFloat(w.dst, w.at+i, v); err != nil {
		return err
	}
	if got, err := floatAt(w.dst, w.at+i); err != nil || math.IsInf(got, 0) {
		return fmt.Errorf("%w: %s: %v is too large for %v", ErrNotFinite, w.name(i), v, w.dst.DType())
	}
	return nil
}

// trainMissing is how a model comes to take entries without some values.
const trainMissing = "train with --missing mean for a model that takes the column's mean in its place"

// absent stores what stands for a value that is not there.
func (w *row) absent(i int) error {
	m := w.columns[i].Missing
	if m == nil {
		return fmt.Errorf("%w: %s has no value, and the model has nothing to take in its place: %s", ErrShape, w.name(i), trainMissing)
	}
	return w.set(i, *m)
}

// name is a column for people.
func (r *rowReader) name(i int) string { return fmt.Sprintf("column %.80q", r.columns[i].Name) }

// word stores a category by its name.
func (w *row) word(i int, text string) error {
	k, ok := w.words[i][text]
	if !ok {
		return fmt.Errorf("%w: %s: %.80q is none of %s", ErrShape, w.name(i), text, some(w.columns[i].Categories))
	}
	return w.set(i, float64(k))
}

// number stores a number, which for a category is its place among the categories.
func (w *row) number(i int, v float64) error {
	if err := w.columns[i].is(v); err != nil {
		return err
	}
	return w.set(i, v)
}

// done holds the names that came against the columns.
func (w *row) done() error {
	var missing []string
	for i, seen := range w.seen {
		if seen {
			continue
		}
		if w.columns[i].Missing == nil {
			missing = append(missing, w.columns[i].Name)
			continue
		}
		if err := w.absent(i); err != nil {
			return err
		}
	}
	if len(missing) == 0 && len(w.unknown) == 0 {
		return nil
	}
	var say []string
	if len(missing) > 0 {
		say = append(say, "missing: "+some(missing))
	}
	if len(w.unknown) > 0 {
		say = append(say, "unknown: "+some(w.unknown))
	}
	hint := ""
	if len(missing) > 0 && len(w.unknown) == 0 { // beside an unknown name it is one that is written otherwise
		hint = "; " + trainMissing
	}
	return fmt.Errorf("%w: %s; the columns are %s%s", ErrShape, strings.Join(say, "; "), w.columnNames(), hint)
}

// some lists names, and says how many more there are.
func some(names []string) string {
	const most = 100
	short := make([]string, 0, min(len(names), most))
	for _, n := range names[:min(len(names), most)] {
		short = append(short, fmt.Sprintf("%.80s", n))
	}
	text := strings.Join(short, ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

// named stores one field of an object, whose names are looked at by done.
func (w *row) named(s *jsontensor.Scanner, name string) error {
	i, ok := w.place[name]
	switch {
	case !ok && slices.Contains(w.ignored, name):
		return s.Skip()
	case !ok:
		w.unknown = append(w.unknown, name)
		return s.Skip()
	case w.seen[i]:
		return s.Fault("%.80q comes twice", name)
	}
	return w.value(s, i)
}

// value stores the JSON value that comes next.
func (w *row) value(s *jsontensor.Scanner, i int) error {
	switch c := s.Peek(); {
	case c == 'n' && s.Null():
		return w.absent(i)
	case c == '"':
		text, err := s.Text()
		if err != nil {
			return err
		}
		if w.words[i] == nil {
			return fmt.Errorf("%w: %s is a number, not the text %.80q", ErrShape, w.name(i), text)
		}
		return w.word(i, text)
	case c == 't' || c == 'f':
		yes, err := s.Bool()
		if err != nil {
			return err
		}
		for word := range w.words[i] {
			if b, err := strconv.ParseBool(strings.ToLower(word)); err == nil && len(word) > 1 && b == yes {
				return w.word(i, word)
			}
		}
		return fmt.Errorf("%w: %s takes no %v", ErrShape, w.name(i), yes)
	case c == '{' || c == '[':
		return fmt.Errorf("%w: %s takes one value, not %q", ErrShape, w.name(i), c)
	}
	at := s.Pos()
	if err := s.Skip(); err != nil {
		return err
	}
	text := string(s.Since(at))
	if _, ok := w.words[i][text]; ok { // a category that is called 7
		return w.word(i, text)
	}
	v, ok := ParseNumber(text, false)
	if !ok {
		return fmt.Errorf("%w: %s: %.80s", ErrNotFinite, w.name(i), text)
	}
	return w.number(i, v)
}

// field stores a field of CSV.
func (w *row) field(i int, text string, comma bool) error {
	if w.words[i] != nil {
		if _, ok := w.words[i][text]; ok || !NoValue(text) {
			return w.word(i, text)
		}
		return w.absent(i)
	}
	if NoValue(text) {
		return w.absent(i)
	}
	v, ok := ParseNumber(text, comma)
	if !ok {
		return fmt.Errorf("%w: %s: %.80q is not a finite number", ErrShape, w.name(i), text)
	}
	return w.number(i, v)
}

// object reads {"column": value, ...} in any order.
func (r *rowReader) object(s *jsontensor.Scanner, dst *tensor.Tensor, at int) error {
	w := r.row(dst, at)
	if err := s.Object(func(name string) error { return w.named(s, name) }); err != nil {
		return err
	}
	return w.done()
}

// list reads values in the columns' order.
func (r *rowReader) list(s *jsontensor.Scanner, dst *tensor.Tensor, at int) error {
	w, i := r.row(dst, at), 0
	err := s.Array(func() error {
		if i++; i > len(r.columns) {
			return s.Skip()
		}
		return w.value(s, i-1)
	})
	if err != nil {
		return err
	}
	if i != len(r.columns) {
		return fmt.Errorf("%w: a list of %d values for %d columns (%s)", ErrShape, i, len(r.columns), w.columnNames())
	}
	return nil
}

func (r *rowReader) columnNames() string {
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.Name
	}
	return some(names)
}

// byName reports whether an object is one of columns, not one that holds tensors.
func (r *rowReader) byName(s *jsontensor.Scanner) bool {
	columns := false
	look := s.At(s.Pos())
	fields := map[string]bool{}
	if err := look.Object(func(name string) error {
		_, is := r.place[name]
		columns = columns || is
		fields[name] = true
		return look.Skip()
	}); err != nil {
		return true // whose fault is told by the one who reads it
	}
	tensors := fields["inputs"] || fields["outputs"] || fields["data"] && fields["shape"] && fields["datatype"]
	return columns || !tensors
}

// csv reads a header line and one line of values.
func (r *rowReader) csv(data []byte, dst *tensor.Tensor, at int) error {
	var one *row
	for rows, err := range records(data, r.alone()) {
		if err != nil {
			return err
		}
		if one != nil {
			return fmt.Errorf("%w: CSV: there are more lines than a header and one of values: one entry is one row, and `millrace cache import` takes a file of many rows", ErrShape)
		}
		one = r.row(dst, at)
		if err := rows.into(one); err != nil {
			return err
		}
	}
	if one == nil {
		return fmt.Errorf("%w: CSV: a header line and a line of values are needed", ErrMalformed)
	}
	return nil
}

// a record is a line of CSV with what the header says of its fields.
type record struct {
	names  []string
	fields []string
	comma  bool // may stand before decimals
}

// into stores a record.
func (c record) into(w *row) error {
	for k, name := range c.names {
		i, ok := w.place[name]
		switch {
		case !ok && slices.Contains(w.ignored, name):
		case !ok:
			w.unknown = append(w.unknown, name)
		case w.seen[i]:
			return fmt.Errorf("%w: CSV: the header has %.80q twice", ErrMalformed, name)
		default:
			if err := w.field(i, strings.TrimSpace(c.fields[k]), c.comma); err != nil {
				return err
			}
		}
	}
	return w.done()
}

// alone reports whether a line has one field, which may have any text.
func (r *rowReader) alone() bool { return len(r.columns) == 1 && len(r.ignored) == 0 }

// records iterates over the lines below the header, with one field each where alone is true. A record is good until the next one.
func records(data []byte, alone bool) func(yield func(record, error) bool) {
	return func(yield func(record, error) bool) {
		data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
		if !utf8.Valid(data) {
			yield(record{}, fmt.Errorf("%w: CSV: the text is not UTF-8", ErrMalformed))
			return
		}
		if !bytes.Contains(data, []byte("\n")) {
			data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
		}
		comma := Separator(data[:min(len(data), separatorBytes)], len(data) > separatorBytes)
		if alone {
			comma = ','
		}
		in := csvReader(bytes.NewReader(data), comma)
		c := record{comma: comma != ','}
		for {
			fields, err := in.Read()
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.Is(err, csv.ErrFieldCount):
				err = fmt.Errorf("%w: CSV: %w: not as many as in the header", ErrMalformed, err)
			case err != nil:
				err = fmt.Errorf("%w: CSV: %w", ErrMalformed, err)
			case c.names == nil:
				for _, f := range fields {
					c.names = append(c.names, strings.Clone(strings.TrimSpace(f)))
				}
				continue
			}
			c.fields = fields
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// separatorBytes is how much of a text is looked at for its separator.
const separatorBytes = 1 << 16

// looksCSV reports whether text begins with a line that names a column.
func (r *rowReader) looksCSV(data []byte) bool {
	head, _, more := bytes.Cut(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\n"))
	if !more || !utf8.Valid(head) {
		return false
	}
	for _, c := range r.columns {
		if bytes.Contains(head, []byte(c.Name)) {
			return true
		}
	}
	return false
}

// check holds a row that came as numbers against the categories.
func (r *rowReader) check(dst *tensor.Tensor, at int) error {
	w := r.row(dst, at)
	for i := range r.columns {
		if r.words[i] == nil {
			continue
		}
		v, err := floatAt(dst, at+i)
		if err != nil {
			return err
		}
		if err := w.number(i, v); err != nil {
			return err
		}
	}
	return nil
}

// Rows decodes a table of many rows for a model with columns: CSV with a header, or a JSON array of objects or lists. It returns a batch of them.
func (d *Decoder) Rows(contentType string, data []byte) (*tensor.Tensor, error) {
	if d.rows == nil {
		return nil, fmt.Errorf("%w: the model has no columns", ErrUnsupportedType)
	}
	var all []*tensor.Tensor
	add := func(read func(dst *tensor.Tensor) error) error {
		t, err := tensor.New(d.spec.DType, append(tensor.Shape{1}, d.spec.Shape...)...)
		if err != nil {
			return err
		}
		if err := read(t); err != nil {
			return fmt.Errorf("row %d: %w", len(all)+1, err)
		}
		all = append(all, t)
		return nil
	}
	if Sniff(contentType, data) == typeJSON || looksJSON(data) {
		s := jsontensor.NewScanner(data, dialect)
		err := s.Array(func() error {
			return add(func(dst *tensor.Tensor) error {
				if s.Peek() == '{' {
					return d.rows.object(s, dst, 0)
				}
				return d.rows.list(s, dst, 0)
			})
		})
		if err == nil && !s.End() {
			err = s.Fault("nothing more was expected")
		}
		if err != nil {
			return nil, err
		}
	} else {
		for c, err := range records(data, d.rows.alone()) {
			if err != nil {
				return nil, err
			}
			if err := add(func(dst *tensor.Tensor) error { return c.into(d.rows.row(dst, 0)) }); err != nil {
				return nil, err
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there are no rows", ErrMalformed)
	}
	return tensor.Concat(all...)
}
