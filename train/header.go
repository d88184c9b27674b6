package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media"
)

// Header says whether the first row of a CSV file is a header.
type Header string

const (
	// HeaderAuto decides, as "" does, by the first row and those below it. A row of words is a header, unless the columns below have those words
	// too. A row with one word among numbers is one where the column below the word has not the word, and has numbers (and is the first or the last
	// one), or the word is a usual name for labels, or the numbers count up from 0 or 1. A row of numbers alone is one where they count up from 0 or
	// 1, four or more, and no other row counts up. What was decided is in [Set.Notes].
	HeaderAuto Header = "auto"
	// HeaderYes takes it as a header.
	HeaderYes Header = "yes"
	// HeaderNo takes it as an example.
	HeaderNo Header = "no"
)

// labelColumns are the names that a header may give the label's column.
var labelColumns = []string{"label", "class", "target", "y"}

// header is what the first row turned out to be.
type header struct {
	is    bool
	said  bool // by the caller
	guess bool // it might have been the other
	names bool // it has a word
	count bool // its numbers count up from 0 or 1
}

// infinite are numbers that are not finite: no name of a column.
var infinite = []string{"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}

// readHeader decides what the first row is, whose columns have the rows below it. known are names that the caller expects.
func readHeader(first []string, columns []*column, say Header, known []string) header {
	var words, numbers []int
	for i, f := range first {
		_, is := media.ParseNumber(f, columns[i].comma)
		switch {
		case media.NoValue(f), slices.Contains(infinite, strings.ToLower(f)):
		case is:
			numbers = append(numbers, i)
		default:
			words = append(words, i)
		}
	}
	h := header{names: len(words) > 0, count: countsUp(first, numbers)}
	rows := columns[0].rows()
	below := func(i int) facts { return columns[i].look() }
	again := slices.ContainsFunc(words, func(i int) bool { return columns[i].has(first[i]) && below(i).isText() })
	switch {
	case say == HeaderYes, say == HeaderNo:
		h.is, h.said = say == HeaderYes, true
	case slices.ContainsFunc(known, func(name string) bool { return slices.Contains(first, name) }):
		h.is = true
	case len(words) > 1 || len(words) == 1 && len(numbers) == 0:
		// A row of data has words only where the others have some too, and the words of a category come again.
		h.is = !again || slices.ContainsFunc(words, func(i int) bool { return !below(i).isText() })
	case len(words) == 1:
		i := words[0]
		usual := slices.ContainsFunc(labelColumns, func(name string) bool { return strings.EqualFold(first[i], name) })
		end := i == 0 || i == len(first)-1
		h.guess = end
		h.is = rows > 0 && !columns[i].has(first[i]) && (usual || h.count || end && below(i).words == 0)
	case len(numbers) < len(first): // something is missing, which has no name
	default:
		h.guess = true
		h.is = h.count && rows > 0 && !counting(columns)
	}
	return h
}

// counting reports whether a row has numbers alone and each is one more than that before it.
func counting(columns []*column) bool {
	for row := range columns[0].rows() {
		up := true
		var last float64
		for i, c := range columns {
			k, v := c.at(row)
			if up = k == number && (i == 0 || v == last+1); !up {
				break
			}
			last = v
		}
		if up {
			return true
		}
	}
	return false
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
	case h.is && h.guess && !h.names:
		return "the first row counts up and is taken as a header (--header no takes it as an example)"
	case h.is && h.guess:
		return "the first row is taken as a header (--header no takes it as an example)"
	case h.is:
		return "the first row is a header"
	case h.count, h.names:
		return "the first row is taken as an example (--header yes takes it as a header)"
	}
	return "there is no header"
}

// numberText writes a number as it is usually written.
func numberText(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// columnName is a column's name for people; places count from 0.
func columnName(at int, name string) string {
	if name == "" {
		return fmt.Sprintf("column %d", at+1)
	}
	return fmt.Sprintf("column %d (%.80q)", at+1, name)
}
