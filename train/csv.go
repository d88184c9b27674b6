package train

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/millrace/millrace/media"
)

// ReadCSV reads a table with a label, or with Options.Task a number, in each row: as UTF-8 or with a byte order mark as UTF-16, its fields separated by
// commas, semicolons, tabs or bars, whichever fits, or by Options.Separator. The first row may be a header: see [Header]. The label is the column that Options.Label names, else the one that
// the header names "label", "class", "target" or "y", else the only one of text, else the first one where the others are a picture's pixels, else the only one
// that the header gives a word, else the last one. Labels may be
// any text; they are numbered in order (by value where all are whole numbers). Where every other number is whole, from 0 to 255, and a row makes a
// square of 8 by 8 or more, rows are pictures [1,S,S]; otherwise they are float32 [F], a category's place among the words of a column of text.
// Errors are ErrData with the line and the column.
func ReadCSV(r io.Reader, o Options) (*Set, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	t, err := readCSV(r, o)
	if err != nil {
		return nil, err
	}
	return t.set(o)
}

// separatorBytes is how much of a file is looked at for what separates its fields.
const separatorBytes = 1 << 16

func readCSV(r io.Reader, o Options) (*table, error) {
	text, err := textReader(r)
	if err != nil {
		return nil, fmt.Errorf("CSV: %w", err)
	}
	head := bufio.NewReaderSize(text, separatorBytes)
	begin, _ := head.Peek(separatorBytes) // an error comes again with what is read then
	t := &table{format: "CSV", separator: o.Separator}
	if t.separator == 0 {
		t.separator = media.Separator(begin, len(begin) == separatorBytes)
	}
	in := csv.NewReader(head)
	in.Comma, in.ReuseRecord = t.separator, true
	in.TrimLeadingSpace = t.separator != '\t' // which would take an empty field away
	var first []string
	firstLine := 0
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(err, t.separated(o))
		}
		line, _ := in.FieldPos(0)
		for i, f := range row {
			row[i] = strings.TrimSpace(f)
		}
		if first == nil {
			if len(row) < 2 {
				return nil, fmt.Errorf("%w: CSV line %d: there is one column, and a row needs a label and at least one number: %s", ErrData, line, t.separated(o))
			}
			firstLine = line
			for _, f := range row {
				first = append(first, strings.Clone(f))
				t.columns = append(t.columns, newColumn(t.separator != ','))
			}
			continue
		}
		for i, f := range row {
			t.columns[i].add(f)
		}
		t.lines = append(t.lines, int32(line))
	}
	if first == nil {
		return nil, fmt.Errorf("%w: CSV: there are no rows of data", ErrData)
	}
	t.header = readHeader(first, t.columns, o.Header, o.names())
	if t.header.is {
		t.names = first
		return t, nil
	}
	for i, f := range first {
		t.columns[i].prepend(f)
	}
	t.lines = append([]int32{int32(firstLine)}, t.lines...)
	return t, nil
}

// separated says what separates the fields, and how that is changed.
func (t *table) separated(o Options) string {
	if o.Separator != 0 {
		return "fields are separated by " + separators(t.separator) + ", as --separator says"
	}
	return "fields seem to be separated by " + separators(t.separator) + " (--separator names another character)"
}

func csvError(err error, separated string) error {
	switch {
	case errors.Is(err, ErrData): // the text's
		return fmt.Errorf("CSV: %w", err)
	case errors.Is(err, csv.ErrFieldCount):
		return fmt.Errorf("%w: CSV: %w: not as many as in the first row; %s", ErrData, err, separated)
	}
	return fmt.Errorf("%w: CSV: %w", ErrData, err)
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
