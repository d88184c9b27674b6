package train

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// uses of a table's column.
type use uint8

const (
	feature use = iota
	ignored
	timestamp // is left out
	labels
)

// A table is a file's columns, before it is decided what they are.
type table struct {
	format    string // "CSV" or "Parquet"
	separator rune   // 0 where there is none
	header    header
	names     []string // nil without a header
	columns   []*column
	lines     []int32 // of each row; nil where rows have none

	facts []facts
	use   []use
	label int
}

// limits of the words of a column that is no label: more than allCategories of them are too many, and more than fewCategories where they are more than
// half of the rows.
const (
	allCategories = 1000
	fewCategories = 20
)

// place is a row for people, from 0.
func (t *table) place(row int) string {
	if t.lines == nil {
		return fmt.Sprintf("row %d", row+1)
	}
	return fmt.Sprintf("line %d (row %d)", t.lines[row], row+1)
}

func (t *table) fault(row, col int, format string, args ...any) error {
	return fmt.Errorf("%w: %s %s: %s: %s", ErrData, t.format, t.place(row), t.name(col), fmt.Sprintf(format, args...))
}

// set makes the Set of what was gathered.
func (t *table) set(o Options) (*Set, error) {
	if t.columns[0].rows() == 0 {
		return nil, fmt.Errorf("%w: %s: there are no rows of data", ErrData, t.format)
	}
	t.use, t.facts = make([]use, len(t.columns)), make([]facts, len(t.columns))
	for _, name := range o.Ignore {
		i, err := t.find(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: --ignore: %w", ErrData, t.format, err)
		}
		t.use[i] = ignored
	}
	for i, c := range t.columns {
		if t.facts[i] = c.look(); t.use[i] == feature && t.facts[i].isText() && c.timestamps() {
			t.use[i] = timestamp
		}
	}
	var b *build
	var why string
	var err error
	if o.Model != nil && len(o.Model.Columns) > 0 {
		b, why, err = t.forModel(o)
	} else if why, err = t.chooseLabel(o); err == nil {
		t.use[t.label] = labels
		b, err = t.understand(o)
	}
	if err != nil {
		return nil, wrap(t.format, err)
	}
	if _, err := t.commas(); err != nil {
		return nil, err
	}
	if err := t.read(b, o); err != nil {
		return nil, err
	}
	t.tell(b, why, o)
	return b.set, nil
}

// build is a Set in the making.
type build struct {
	set      *Set
	places   []int // of the columns that become numbers
	kept     []int // rows
	dropped  int
	missing  int              // values that something was taken for
	texts    []map[string]int // of categories, by the column's place among places
	picture  bool
	distinct int // labels
}

// understand decides what the columns are that are no label.
func (t *table) understand(o Options) (*build, error) {
	b := &build{set: &Set{table: true}}
	rows := t.columns[0].rows()
	for i, c := range t.columns {
		if t.use[i] != feature {
			continue
		}
		col := media.Column{Name: t.key(i), Type: media.NumberColumn}
		var texts map[string]int
		switch f := t.facts[i]; {
		case f.isText():
			if n := c.different(rows); c.full || n > allCategories || n > fewCategories && n > rows/2 {
				return nil, fmt.Errorf("%s has %d different texts in %d rows, too many for categories: --ignore %s leaves it out", t.name(i), n, rows, t.say(i))
			}
			col.Type, col.Categories = media.CategoryColumn, c.categories()
			texts = make(map[string]int, len(col.Categories))
			for k, text := range col.Categories {
				texts[text] = k
			}
		case f.words > 0:
			row, text := t.first(i, word)
			return nil, t.fault(row, i, "%.80q is not a finite number, as the %d others are (--ignore %s leaves the column out)", text, f.numbers, t.say(i))
		case f.numbers == 0:
			return nil, fmt.Errorf("%s has no value in any row: --ignore %s leaves it out", t.name(i), t.say(i))
		}
		b.places, b.texts = append(b.places, i), append(b.texts, texts)
		b.set.columns = append(b.set.columns, col)
	}
	if len(b.places) == 0 {
		return nil, fmt.Errorf("no column is left beside the label, %s", t.name(t.label))
	}
	for k := range b.set.columns { // two columns of one name cannot be told apart
		name := b.set.columns[k].Name
		if j := slices.IndexFunc(b.set.columns[:k], func(c media.Column) bool { return c.Name == name }); j >= 0 && !t.isPicture(b, o) {
			return nil, fmt.Errorf("%s and %s have one name: rename one, or leave one out with --ignore %d", t.name(b.places[j]), t.name(b.places[k]), b.places[k]+1)
		}
	}
	return b, nil
}

// say is how a column is named on the command line.
func (t *table) say(i int) string {
	if t.names == nil || t.names[i] == "" || strings.ContainsAny(t.names[i], ",\" '") {
		return strconv.Itoa(i + 1)
	}
	return t.names[i]
}

// first returns the first row where a column has a kind of field, and the field.
func (t *table) first(i int, want kind) (row int, text string) {
	for row := range t.columns[i].rows() {
		if k, _ := t.columns[i].at(row); k == want {
			return row, t.columns[i].text(row)
		}
	}
	return 0, ""
}

// categories are the words of a column of text in order.
func (c *column) categories() []string {
	var all []string
	for i, text := range c.texts {
		if !empty(text) || c.kinds[i] != noValue {
			all = append(all, text)
		}
	}
	if c.many { // numbers among the words, too many to be kept
		return sortLabels(all)
	}
	used := make([]bool, len(c.texts))
	for _, k := range c.cells {
		used[k] = true
	}
	return sortLabels(slices.DeleteFunc(all, func(text string) bool { return !used[c.place[text]] }))
}

// empty reports whether a text says that there is no value where words stand too: none and - may be words.
func empty(text string) bool {
	return media.NoValue(text) && !slices.Contains([]string{"none", "nil", "-", "--", "."}, strings.ToLower(text))
}

// absent reports whether a row has no value in a column.
func (t *table) absent(row, i int, text bool) bool {
	k, _ := t.columns[i].at(row)
	return k == noValue && (!text || empty(t.columns[i].text(row)))
}

// read takes the values of the rows.
func (t *table) read(b *build, o Options) error {
	rows := t.columns[0].rows()
	s := b.set
	labelText := o.Task != taskRegression && t.facts[t.label].words > 0
	means := make([]*float64, len(b.places))
	for k := range b.places {
		if means[k] = s.columns[k].Missing; o.Model == nil || len(o.Model.Columns) == 0 {
			if o.Missing == missingMean {
				means[k] = t.usual(b, k)
			}
		}
	}
	for row := range rows {
		drop := false
		for k, i := range b.places {
			if means[k] != nil || !t.absent(row, i, b.texts[k] != nil) {
				continue
			}
			if o.Missing != missingDrop {
				return t.fault(row, i, "%q is no value (--missing mean takes the column's mean for it, --missing drop leaves the row out)", t.columns[i].text(row))
			}
			drop = true
		}
		if t.absent(row, t.label, labelText) {
			if o.Missing != missingDrop {
				return t.fault(row, t.label, "the label is empty: %q (--missing drop leaves the row out)", t.columns[t.label].text(row))
			}
			drop = true
		}
		if drop {
			b.dropped++
			continue
		}
		b.kept = append(b.kept, row)
	}
	if len(b.kept) == 0 {
		return fmt.Errorf("%w: %s: every row has a value missing", ErrData, t.format)
	}
	if o.Task == taskRegression {
		if err := t.readTargets(b); err != nil {
			return err
		}
	} else if err := t.readLabels(b, labelText); err != nil {
		return err
	}
	return t.readValues(b, o, means)
}

// usual is the mean of a column's numbers, or the number of its most frequent word.
func (t *table) usual(b *build, k int) *float64 {
	c, sum, n := t.columns[b.places[k]], 0.0, 0
	counts := make([]int, len(b.set.columns[k].Categories))
	for row := range c.rows() {
		if b.texts[k] != nil {
			if !t.absent(row, b.places[k], true) {
				counts[b.texts[k][c.text(row)]]++
			}
			continue
		}
		if kind, v := c.at(row); kind == number {
			sum += v
			n++
		}
	}
	v := sum / float64(max(n, 1))
	if b.texts[k] != nil {
		v = float64(slices.Index(counts, slices.Max(counts)))
	}
	v = float64(float32(v))
	return &v
}

// readValues writes the columns' numbers into the set, in rows.
func (t *table) readValues(b *build, o Options, means []*float64) error {
	s, width := b.set, len(b.places)
	b.picture = t.isPicture(b, o)
	s.size, s.shape = width, tensor.Shape{width}
	if b.picture {
		side := int(math.Sqrt(float64(width)))
		s.shape = tensor.Shape{1, side, side}
		s.bytes = make([]uint8, len(b.kept)*width)
	} else {
		s.floats = make([]float32, len(b.kept)*width)
	}
	for k, i := range b.places {
		c := t.columns[i]
		for at, row := range b.kept {
			kind, v := c.at(row)
			switch text := b.texts[k]; {
			case t.absent(row, i, text != nil):
				v = *means[k]
				s.columns[k].Missing = means[k]
				b.missing++
			case text != nil:
				n, ok := text[c.text(row)]
				if !ok {
					return t.fault(row, i, "%.80q is none of the model's categories (%s)", c.text(row), some(s.columns[k].Categories))
				}
				v = float64(n)
			case kind != number:
				return t.fault(row, i, "%.80q is not a finite number", c.text(row))
			}
			if b.picture {
				s.bytes[at*width+k] = uint8(v)
				continue
			}
			if tooLarge(v) {
				return t.fault(row, i, "%.80q is too large: a net's numbers are of 32 bits, below 3.4e38 (--ignore %s leaves the column out)", c.text(row), t.say(i))
			}
			s.floats[at*width+k] = float32(v)
		}
	}
	if o.Missing == missingMean && !b.picture { // a model that may take means takes them in every column
		for k := range s.columns {
			s.columns[k].Missing = means[k]
		}
	}
	if b.picture {
		s.columns = nil
		return nil
	}
	return nil
}

// isPicture reports whether rows are pictures: a square of whole numbers from 0 to 255 for a classifier, in every row that is kept.
func (t *table) isPicture(b *build, o Options) bool {
	if !isSquare(len(b.places)) || o.Task == taskRegression || o.Model != nil && len(o.Model.Columns) > 0 {
		return false
	}
	for _, i := range b.places {
		if f := t.facts[i]; f.words > 0 || f.none > 0 || !f.bytes() {
			return false
		}
	}
	return true
}

// readLabels numbers the labels.
func (t *table) readLabels(b *build, text bool) error {
	c, s := t.columns[t.label], b.set
	if n := c.different(maxLabels + 1); n > maxLabels {
		return fmt.Errorf("%w: %s: %d different labels or more in %s, more than %d: is the label's column the right one?", ErrData, t.format, n, t.name(t.label), maxLabels)
	}
	spelt := map[float64]string{} // 1 and 1.0 are one class where all labels are numbers
	words := make([]string, len(b.kept))
	for at, row := range b.kept {
		words[at] = c.text(row)
		if _, v := c.at(row); !text {
			if first, ok := spelt[v]; ok {
				words[at] = first
			} else {
				spelt[v] = words[at]
			}
		}
	}
	s.names = sortLabels(words)
	of := make(map[string]int64, len(s.names))
	for i, n := range s.names {
		of[n] = int64(i)
	}
	s.labels = make([]int64, len(words))
	for i, w := range words {
		s.labels[i] = of[w]
	}
	b.distinct = len(s.names)
	f := t.facts[t.label]
	switch {
	case !text && !f.whole:
		row, at := 0, 0
		for row, at = range b.kept {
			if _, v := c.at(at); v != math.Trunc(v) {
				break
			}
		}
		s.doubt = t.fault(b.kept[row], t.label, "the label %s is a number with fractions, no class: --task regression predicts a number, --label names another column, and --task classification takes each number for a class%s",
			c.text(at), t.instead(len(b.kept)))
	case b.distinct > max(2, len(b.kept)/10):
		s.doubt = fmt.Errorf("%w: %s: the label %s has %d classes in %d rows, more than a tenth: --label names another column%s, and --task classification takes it all the same%s",
			ErrData, t.format, t.name(t.label), b.distinct, len(b.kept), map[bool]string{true: ", --task regression predicts a number"}[!text], t.instead(len(b.kept)))
	}
	return nil
}

// instead names columns that might have the labels.
func (t *table) instead(rows int) string {
	var names []string
	for i, c := range t.columns {
		f := t.facts[i]
		if n := c.different(rows); t.use[i] == feature && i != t.label && n > 1 && n <= max(2, min(rows/10, 100)) && (f.words > 0 || f.whole) {
			names = append(names, fmt.Sprintf("%s has %d classes", t.name(i), n))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; " + some(names)
}

// readTargets takes the label's numbers.
func (t *table) readTargets(b *build) error {
	c, s := t.columns[t.label], b.set
	s.targets, s.labels = make([]float32, len(b.kept)), make([]int64, len(b.kept))
	for at, row := range b.kept {
		k, v := c.at(row)
		if k == number && tooLarge(v) {
			return t.fault(row, t.label, "%.80q is too large: a net's numbers are of 32 bits, below 3.4e38", c.text(row))
		}
		if k != number {
			return t.fault(row, t.label, "%.80q is not a finite number, and a regression predicts numbers (--label names another column)", c.text(row))
		}
		s.targets[at] = float32(v)
	}
	return nil
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
