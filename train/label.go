package train

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/media"
)

// find returns the place of a column by its name, or by its number from 1, or from the end where that is negative.
func (t *table) find(name string) (int, error) {
	if i := slices.Index(t.names, name); i >= 0 {
		return i, nil
	}
	if i := slices.IndexFunc(t.names, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
		return i, nil
	}
	if k, err := strconv.Atoi(name); err == nil {
		switch n := len(t.columns); {
		case k >= 1 && k <= n:
			return k - 1, nil
		case k < 0 && k >= -n:
			return n + k, nil
		}
	}
	if t.names == nil {
		return 0, fmt.Errorf("there is no column %.80q: without a header columns go by number, from 1 to %d", name, len(t.columns))
	}
	return 0, fmt.Errorf("there is no column %.80q (there are %s)", name, some(t.names))
}

// chooseLabel decides which column has the labels, and why that one.
func (t *table) chooseLabel(o Options) (why string, err error) {
	if o.Label != "" {
		if t.label, err = t.find(o.Label); err != nil {
			return "", fmt.Errorf("--label: %w", err)
		}
		if t.use[t.label] == ignored {
			return "", fmt.Errorf("--label: %s is ignored", t.name(t.label))
		}
		return "as --label says", nil
	}
	if o.Model != nil && o.Model.Target != "" {
		if i := slices.Index(t.names, o.Model.Target); i >= 0 {
			t.label = i
			return "which the model predicts", nil
		}
	}
	for _, name := range labelColumns {
		if i := slices.IndexFunc(t.names, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 && t.use[i] != ignored {
			t.label = i
			return "by its name", nil
		}
	}
	var texts, left []int
	for i := range t.columns {
		switch {
		case t.use[i] == ignored || t.use[i] == timestamp:
		case t.facts[i].isText():
			texts = append(texts, i)
			fallthrough
		default:
			left = append(left, i)
		}
	}
	switch {
	case len(left) == 0:
		return "", fmt.Errorf("no column is left for the label")
	case len(texts) == 1 && o.Task != taskRegression:
		t.label = texts[0]
		return "the only one of text", nil
	case len(texts) == 0 && t.pixelsAfter(left):
		t.label = left[0]
		return "the first one, as in tables of pictures", nil
	}
	if i, ok := t.onlyWord(); ok && t.use[i] == feature {
		t.label = i
		return "the only one that the header gives a word", nil
	}
	t.label = left[len(left)-1]
	return "the last one", nil
}

// onlyWord returns the only column whose name is no number.
func (t *table) onlyWord() (at int, ok bool) {
	at = -1
	for i, name := range t.names {
		if _, err := strconv.ParseFloat(name, 64); err == nil {
			continue
		}
		if at >= 0 || media.NoValue(name) {
			return 0, false
		}
		at = i
	}
	return at, at >= 0
}

// pixelsAfter reports whether the columns after the first of these are a picture's pixels. Where the first one has the same number in all rows
// and the last one has not, the label is the last one.
func (t *table) pixelsAfter(left []int) bool {
	if !isSquare(len(left) - 1) {
		return false
	}
	for _, i := range left[1:] {
		if !t.facts[i].bytes() {
			return false
		}
	}
	first, last := t.facts[left[0]], t.facts[left[len(left)-1]]
	return !first.bytes() || first.low < first.high || last.low == last.high
}

// bytes reports whether all rows have whole numbers from 0 to 255.
func (f facts) bytes() bool { return f.numbers == f.rows && f.whole && f.low >= 0 && f.high <= 255 }

func isSquare(n int) bool {
	side := int(math.Sqrt(float64(n)))
	return side >= 8 && side*side == n
}

// times are the forms of timestamps that are known.
var times = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
	"2006/01/02", "2006/01/02 15:04:05", "2006/01/02 15:04", "02.01.2006", "02.01.2006 15:04:05", "02.01.2006 15:04", "1/2/2006", "1/2/2006 15:04", "1/2/2006 15:04:05",
	"1/2/2006 3:04:05 PM", "1/2/2006 3:04 PM", "2/1/2006", "2/1/2006 15:04", "2/1/2006 15:04:05", time.TimeOnly, "15:04", time.RFC1123, time.RFC1123Z, time.ANSIC, "1/2/06", "2/1/06", "1/2/06 15:04", "2/1/06 15:04",
	"2 Jan 2006", "Jan 2, 2006", "2-Jan-2006", "20060102T150405Z",
}

// timestamps reports whether all words of a column are times.
func (c *column) timestamps() bool {
	found := false
	form := ""
	for i, text := range c.texts {
		if c.kinds[i] != word {
			continue
		}
		if form != "" {
			if _, err := time.Parse(form, text); err == nil {
				continue
			}
		}
		at := slices.IndexFunc(times, func(f string) bool { _, err := time.Parse(f, text); return err == nil })
		if at < 0 {
			return false
		}
		form, found = times[at], true
	}
	return found
}

// idNames are usual names of columns that number rows.
var idNames = []string{"id", "index", "idx", "key", "uuid", "guid", "row", "no", "nr"}

// looksLike says what a column of numbers seems to be that says nothing about a row: "" where it is none of that.
func (t *table) looksLike(i int) string {
	const least = 10 // rows
	f, name := t.facts[i], ""
	if t.names != nil {
		name = strings.ToLower(t.names[i])
	}
	within := func(low, high float64) bool { return f.low >= low && f.high < high }
	switch {
	case f.rows < least || f.numbers < f.rows || f.low == f.high:
	case f.whole && f.counts:
		return "an index"
	case f.whole && (slices.Contains(idNames, name) || strings.HasSuffix(name, "_id")) && t.columns[i].different(f.rows) == f.rows:
		return "an index"
	case f.rises && (within(1e9, 4e9) || within(1e12, 4e12) || within(1e15, 4e15) || within(1e18, 4e18)):
		return "a timestamp"
	}
	return ""
}

// commas refuses files whose numbers have a comma before the decimals in some places and a point in others.
func (t *table) commas() (some bool, err error) {
	comma, point := -1, -1
	for i, c := range t.columns {
		if t.use[i] == ignored {
			continue
		}
		if c.marks.comma > 0 {
			comma = i
		}
		if c.marks.point > 0 && c.marks.comma == 0 && point < 0 || c.marks.point > 0 && c.marks.comma > 0 {
			point = i
		}
	}
	if comma >= 0 && point >= 0 {
		return true, fmt.Errorf("%w: %s: %s has a comma before decimals, and %s a point: write them in one way", ErrData, t.format, t.name(comma), t.name(point))
	}
	return comma >= 0, nil
}

// name is a column for people.
func (t *table) name(i int) string {
	if t.names == nil {
		return columnName(i, "")
	}
	return columnName(i, t.names[i])
}

// key is a column's name in the model's metadata.
func (t *table) key(i int) string {
	if t.names == nil || t.names[i] == "" || media.NoValue(t.names[i]) {
		return numbered(i)
	}
	return t.names[i]
}

// numbered is the name of a column that has none.
func numbered(i int) string { return fmt.Sprintf("column%d", i+1) }
