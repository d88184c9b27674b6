package train

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Header says whether the first row of a CSV file is a header.
type Header string

const (
	// HeaderAuto decides, as "" does, by the first row. A row of words is a header. A row with one word among numbers is one where no other row has the word in
	// that column, and the others have numbers there, or the word is a usual name for labels, or the numbers count up from 0 or 1. A row of
	// numbers alone is one where they count up from 0 or 1, four or more, and no other row counts up. What was decided is in [Set.Notes].
	HeaderAuto Header = "auto"
	// HeaderYes takes it as a header.
	HeaderYes Header = "yes"
	// HeaderNo takes it as an example.
	HeaderNo Header = "no"
)

// labelColumns are the names that a header may give the label's column.
var labelColumns = []string{"label", "class", "target", "y"}

// missing are fields that stand for a number that is not known, in lower case: such a field is no name of a column.
var missing = []string{"", "na", "n/a", "nan", "+nan", "-nan", "null", "none", "nil", "?", "-", "--", ".", "#n/a", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}

// header is what the first row tells about itself.
type header struct {
	is      bool
	decided bool // whatever the other rows have
	said    bool // by the caller
	column  int  // of the label
	name    string
	word    bool // the label's field is a word
	usual   bool // the word is among labelColumns
	counts  bool // the other fields (or all, without a word) count up from 0 or 1
}

// readHeader looks at the first row.
func readHeader(row []string, say Header) header {
	fields := make([]string, len(row))
	var words, numbers []int
	for i, f := range row {
		fields[i] = strings.TrimSpace(f)
		v, err := strconv.ParseFloat(fields[i], 64)
		switch {
		case slices.Contains(missing, strings.ToLower(fields[i])):
		case err == nil && !math.IsNaN(v) && !math.IsInf(v, 0):
			numbers = append(numbers, i)
		default:
			words = append(words, i)
		}
	}
	h := header{column: -1, counts: countsUp(fields, numbers), said: say == HeaderYes || say == HeaderNo, decided: true}
	for _, name := range labelColumns {
		if h.column = slices.IndexFunc(fields, func(f string) bool { return strings.EqualFold(f, name) }); h.column >= 0 {
			h.usual = true
			break
		}
	}
	if h.column < 0 {
		h.column = 0
		if len(words) == 1 && len(numbers) > 0 {
			h.column = words[0]
		}
	}
	h.word = slices.Contains(words, h.column)
	if h.word {
		h.name = fields[h.column]
	}
	switch {
	case say == HeaderYes:
		h.is = true
	case say == HeaderNo:
		h.is = false
	case len(words) > 1, len(numbers) == 0:
		h.is = true
	case len(words) == 1 && h.column > 0:
		// As data it would have a word in place of a number.
		h.is = h.usual || h.counts
	case len(words)+len(numbers) < len(row):
		h.is = false
	default:
		h.decided = false
	}
	if !h.is && h.decided {
		h.column, h.word = 0, false
	}
	return h
}

// isAmong decides for a row that would do as data, with a word for its label, by the labels of the other rows.
func (h *header) isAmong(others []string) bool {
	if len(others) == 0 || slices.Contains(others, h.name) {
		return false
	}
	isNumber := func(s string) bool { _, err := strconv.ParseFloat(s, 64); return err == nil }
	return h.usual || h.counts || !slices.ContainsFunc(others, func(s string) bool { return !isNumber(s) })
}

// countsUp reports whether the fields at these positions, at least three and if they are all four, are 0, 1, 2 and so on, or 1, 2, 3.
func countsUp(fields []string, at []int) bool {
	if len(at) < 3 || len(at) == len(fields) && len(at) < 4 {
		return false
	}
	from, err := strconv.Atoi(fields[at[0]])
	if err != nil || from != 0 && from != 1 {
		return false
	}
	for k, i := range at {
		if fields[i] != strconv.Itoa(from+k) {
			return false
		}
	}
	return true
}

// text says what was decided.
func (h *header) text() string {
	switch {
	case h.said && h.is:
		return "the first row is a header"
	case h.said:
		return "there is no header"
	case h.is && !h.decided && !h.word:
		return "the first row counts up and is taken as a header (--header no takes it as an example)"
	case h.is && !h.decided:
		return "the first row is taken as a header (--header no takes it as an example)"
	case h.is:
		return "the first row is a header"
	case h.counts, h.word:
		return "the first row is taken as an example (--header yes takes it as a header)"
	}
	return "there is no header"
}

// named is the name of the label's column, where the header has one.
func (h *header) named() string {
	if !h.is || h.name == "" {
		return ""
	}
	return fmt.Sprintf(" (%.40q)", h.name)
}
