package train

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// ReadCSV reads a table of numbers with a label in each row, separated by commas, as UTF-8 or with a byte order mark as UTF-16. The first row may be
// a header: see [Header]. The label is the column that the header names "label", "class", "target" or "y", else the only one that it gives a word, else the
// first one. Labels may be any text; they are numbered in order (by value where all are whole numbers). Where every number is whole, from
// 0 to 255, and a row makes a square of 8 by 8 or more, rows are pictures [1,S,S]; otherwise they are float32 [F]. Errors are ErrData with the line.
func ReadCSV(r io.Reader, o Options) (*Set, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	text, err := textReader(r)
	if err != nil {
		return nil, fmt.Errorf("CSV: %w", err)
	}
	in := csv.NewReader(text)
	in.ReuseRecord = true
	in.TrimLeadingSpace = true
	t := &table{whole: true}
	for first := true; ; first = false {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := in.FieldPos(0)
		if first {
			if t.width = len(row) - 1; t.width < 1 {
				return nil, fmt.Errorf("%w: CSV line %d: a row needs a label and at least one number%s", ErrData, line, otherComma(row[0]))
			}
			t.header = readHeader(row, o.Header)
			t.column = t.header.column
			if t.header.decided && t.header.is {
				continue
			}
		}
		if err := t.add(row); err != nil {
			return nil, fmt.Errorf("%w: CSV line %d: %w", ErrData, line, err)
		}
	}
	return t.set()
}

// otherComma says what seems to stand between the fields of a row without commas.
func otherComma(row string) string {
	switch {
	case strings.Contains(row, ";"):
		return ", separated by commas (here it seems to be semicolons)"
	case strings.Contains(row, "\t"):
		return ", separated by commas (here it seems to be tabs)"
	}
	return ""
}

func csvError(err error) error {
	switch {
	case errors.Is(err, ErrData): // the text's
		return fmt.Errorf("CSV: %w", err)
	case errors.Is(err, csv.ErrFieldCount):
		return fmt.Errorf("%w: CSV: %w: not as many as in the first row", ErrData, err)
	}
	return fmt.Errorf("%w: CSV: %w", ErrData, err)
}

// table gathers the rows of a CSV file. The first one may turn out to be a header in the end.
type table struct {
	header header
	column int // of the label
	width  int // features in a row
	values []float32
	labels []string
	whole  bool // all values are whole, from 0 to 255; the first row's are looked at in the end
}

func (t *table) add(row []string) error {
	for i, f := range row {
		f = strings.TrimSpace(f)
		if i == t.column {
			if f == "" {
				return fmt.Errorf("column %d: the label is empty", i+1)
			}
			t.labels = append(t.labels, strings.Clone(f))
			continue
		}
		v, err := strconv.ParseFloat(f, 32)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("column %d: %q is not a finite number", i+1, f)
		}
		if len(t.labels) > 0 && len(t.values) >= t.width {
			t.whole = t.whole && isByte(float32(v))
		}
		t.values = append(t.values, float32(v))
	}
	return nil
}

func isByte(v float32) bool { return v >= 0 && v <= 255 && v == float32(math.Trunc(float64(v))) }

// set makes the Set of what was gathered.
func (t *table) set() (*Set, error) {
	if len(t.labels) > 0 {
		t.settle()
	}
	if len(t.labels) == 0 {
		return nil, fmt.Errorf("%w: CSV: there are no rows of data", ErrData)
	}
	names := sortLabels(t.labels)
	if len(names) > maxLabels {
		return nil, fmt.Errorf("%w: CSV: %d different labels, more than %d: is the label's column the right one?", ErrData, len(names), maxLabels)
	}
	number := make(map[string]int, len(names))
	for i, n := range names {
		number[n] = i
	}
	side := int(math.Sqrt(float64(t.width)))
	picture := t.whole && side >= 8 && side*side == t.width
	s, err := Collect(func(yield func(Example, error) bool) {
		for i, label := range t.labels {
			row := t.values[i*t.width : (i+1)*t.width]
			input, err := tensor.Of(row, t.width)
			if picture {
				pixels := make([]uint8, len(row))
				for k, v := range row {
					pixels[k] = uint8(v)
				}
				input, err = tensor.Of(pixels, 1, side, side)
			}
			if !yield(Example{input, number[label]}, err) {
				return
			}
		}
	}, names)
	if err != nil {
		return nil, err
	}
	s.table = true
	what := fmt.Sprintf("%d numbers", t.width)
	if picture {
		what = fmt.Sprintf("%d whole numbers from 0 to 255, taken as a grey picture of %d by %d", t.width, side, side)
	}
	s.note("CSV: %d examples of %s; %s; the labels are in column %d%s", s.Len(), what, t.header.text(), t.column+1, t.header.named())
	return s, nil
}

// settle decides whether the first row, which was taken as data, is a header, now that all rows are known.
func (t *table) settle() {
	h := &t.header
	switch {
	case h.decided:
	case h.word:
		h.is = h.isAmong(t.labels[1:])
	default:
		h.is = h.counts && len(t.labels) > 1 && !t.counting()
	}
	if h.is && !h.decided {
		t.labels, t.values = t.labels[1:], t.values[t.width:]
		return
	}
	if !h.is {
		t.whole = t.whole && !slices.ContainsFunc(t.values[:t.width], func(v float32) bool { return !isByte(v) })
	}
}

// counting reports whether a row after the first has numbers alone and each is one more than that before it.
func (t *table) counting() bool {
	for i, label := range t.labels[1:] {
		last, err := strconv.ParseFloat(label, 32)
		up := err == nil
		for _, v := range t.values[(i+1)*t.width:][:t.width] {
			up = up && float64(v) == last+1
			last = float64(v)
		}
		if up {
			return true
		}
	}
	return false
}

// sortLabels returns the different labels, by value where all are whole numbers.
func sortLabels(labels []string) []string {
	names := slices.Clone(labels)
	slices.Sort(names)
	names = slices.Compact(names)
	values := make(map[string]int, len(names))
	for _, n := range names {
		v, err := strconv.Atoi(n)
		if err != nil {
			return names
		}
		values[n] = v
	}
	slices.SortStableFunc(names, func(a, b string) int { return values[a] - values[b] })
	return names
}

// openCSV is ReadCSV of a file, with its name in errors.
func openCSV(name string, o Options) (*Set, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	defer f.Close()
	s, err := ReadCSV(f, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
