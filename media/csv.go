package media

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// noValue are what stands in a table's field where there is no value, in lower case.
var noValue = []string{"", "na", "n/a", "#n/a", "<na>", "nan", "+nan", "-nan", "null", "none", "nil", "nat", "?", "-", "--", "."}

// NoValue reports whether a field of a table, without blanks around it, says that there is no value.
func NoValue(field string) bool {
	return len(field) <= 5 && slices.Contains(noValue, strings.ToLower(field))
}

// ParseNumber reads a field of a table as a finite number. Where comma is true, one comma may stand before the decimals.
func ParseNumber(field string, comma bool) (float64, bool) {
	if comma {
		if i := strings.IndexByte(field, ','); i >= 0 && strings.IndexByte(field, '.') < 0 {
			field = field[:i] + "." + field[i+1:]
		}
	}
	v, err := strconv.ParseFloat(field, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(field, "xXpP_") { // 0x1p4 is Go's alone
		return 0, false
	}
	return v, true
}

// Separators are what may stand between the fields of a table's line. A field may have those before its own: a comma before decimals or in a text.
var Separators = []rune{',', ';', '\t', '|'}

// Separator finds what stands between the fields of a table from its first lines, whose last one may be cut off where more is true: what makes as
// many fields in all lines, two or more, and leaves no later one of Separators in them. It is the comma where nothing fits.
func Separator(text []byte, more bool) rune {
	best, most := ',', 0
	for _, comma := range Separators {
		score := separates(text, comma, more)
		if score > most {
			best, most = comma, score
		}
	}
	return best
}

// IsSeparator reports whether a character may be said to stand between the fields of a table's line.
func IsSeparator(r rune) bool {
	return r != 0 && r != '"' && r != '\r' && r != '\n' && r != utf8.RuneError && utf8.ValidRune(r)
}

// separates says how well a separator fits: 0 where it is not there at all.
func separates(text []byte, comma rune, more bool) int {
	in := csvReader(bytes.NewReader(text), comma)
	in.FieldsPerRecord = -1
	width, rows, same, others := 0, 0, true, false
	for rows < 50 {
		row, err := in.Read()
		if err != nil {
			if !errors.Is(err, io.EOF) && !more {
				same = false
			}
			break
		}
		if more && int(in.InputOffset()) >= len(text) && rows > 0 {
			break // it may go on
		}
		if width == 0 {
			width = len(row)
		}
		rows++
		same = same && len(row) == width
		for _, f := range row {
			for _, c := range Separators[1+slices.Index(Separators, comma):] {
				others = others || strings.ContainsRune(f, c)
			}
		}
	}
	if width < 2 {
		return 0
	}
	score := min(width, 1000)
	if !others {
		score += 2000
	}
	if same {
		score += 4000
	}
	return score
}

// csvReader reads records of text that these separate. Its strings are good until the next record.
func csvReader(r io.Reader, comma rune) *csv.Reader {
	in := csv.NewReader(r)
	in.Comma, in.ReuseRecord = comma, true
	in.TrimLeadingSpace = comma != '\t' // which would take an empty field away
	return in
}
