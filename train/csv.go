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

// ReadCSV reads a table of numbers with a label in each row, separated by commas. A first row whose fields are not all
// numbers is a header; the label is the column that it names "label", "class", "target" or "y", else the first one. Labels may be any text;
// they are numbered in order (by value where all are whole numbers). Where every number is whole, from 0 to 255, and a row makes a
// square of 8 by 8 or more, rows are pictures [1,S,S]; otherwise they are float32 [F]. Errors are ErrData with the line.
func ReadCSV(r io.Reader) (*Set, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	in.TrimLeadingSpace = true
	t := &table{column: 0}
	for first := true; ; first = false {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: CSV: %w", ErrData, err)
		}
		if first && t.header(row) {
			continue
		}
		line, _ := in.FieldPos(0)
		if err := t.add(row); err != nil {
			return nil, fmt.Errorf("%w: CSV line %d: %w", ErrData, line, err)
		}
	}
	return t.set()
}

// table gathers the rows of a CSV file.
type table struct {
	column int // of the label
	width  int // features in a row
	values []float32
	labels []string
	whole  bool // all values are whole, from 0 to 255
}

// labelColumns are the names that a header may give the label's column.
var labelColumns = []string{"label", "class", "target", "y"}

// header reads the first row, and reports whether it is a header.
func (t *table) header(row []string) bool {
	t.width, t.whole = len(row)-1, true
	numbers := 0
	for _, f := range row {
		if _, err := strconv.ParseFloat(strings.TrimSpace(f), 64); err == nil {
			numbers++
		}
	}
	// A row of data may have one field that is no number: its label, where labels are words.
	if numbers > 0 && numbers >= len(row)-1 {
		return false
	}
	for _, name := range labelColumns {
		i := slices.IndexFunc(row, func(f string) bool { return strings.EqualFold(strings.TrimSpace(f), name) })
		if i >= 0 {
			t.column = i
			break
		}
	}
	return true
}

func (t *table) add(row []string) error {
	if t.width < 1 {
		return errors.New("a row needs a label and at least one number")
	}
	for i, f := range row {
		f = strings.TrimSpace(f)
		if i == t.column {
			if f == "" {
				return fmt.Errorf("column %d: the label is empty", i+1)
			}
			t.labels = append(t.labels, f)
			continue
		}
		v, err := strconv.ParseFloat(f, 32)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("column %d: %q is not a finite number", i+1, f)
		}
		t.whole = t.whole && v >= 0 && v <= 255 && v == math.Trunc(v)
		t.values = append(t.values, float32(v))
	}
	return nil
}

// set makes the Set of what was gathered.
func (t *table) set() (*Set, error) {
	if len(t.labels) == 0 {
		return nil, fmt.Errorf("%w: CSV: there are no rows", ErrData)
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
	return Collect(func(yield func(Example, error) bool) {
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
func openCSV(name string) (*Set, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	defer f.Close()
	s, err := ReadCSV(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
