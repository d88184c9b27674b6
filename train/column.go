package train

import (
	"math"
	"slices"
	"strings"

	"github.com/millrace/millrace/media"
)

// kind is what a field of a table is.
type kind uint8

const (
	noValue kind = iota
	number
	word
)

const (
	// fewNumbers is how many different numbers a column keeps as they are written.
	fewNumbers = 1 << 10
	// fewWords is how many different words it keeps.
	fewWords = maxLabels + 1
)

// A column gathers the fields of a table's column. Different fields are kept once, as they are written; a column of more different numbers than
// fewNumbers keeps their values from then on.
type column struct {
	texts   []string // the different fields
	values  []float64
	kinds   []kind
	place   map[string]int32
	numbers int // of texts
	words   int
	full    bool  // there are more different words than are kept
	lost    int32 // place of the last word

	cells []int32                    // each row's place in texts; nil where there are values
	wide  []float64                  // each row's value, NaN where it is none
	odd   map[int]int32              // of what is to be told as it is written, such as words: row to place in texts
	last  int32                      // place of the last field
	comma bool                       // may stand before decimals
	many  bool                       // values are kept
	marks struct{ comma, point int } // numbers with one before their decimals
}

func newColumn(comma bool) *column { return &column{place: map[string]int32{}, comma: comma} }

func (c *column) rows() int {
	if c.many {
		return len(c.wide)
	}
	return len(c.cells)
}

// add appends a field, without blanks around it.
func (c *column) add(text string) {
	if !c.many {
		if len(c.texts) == 0 || c.texts[c.last] != text {
			c.last = c.intern(text)
		}
		c.cells = append(c.cells, c.last)
		if c.numbers > fewNumbers {
			c.widen()
		}
		return
	}
	v, ok := c.parse(text)
	if !ok {
		v = math.NaN()
	}
	if !ok && text != "" || ok && tooLarge(v) && c.numbers < fewWords {
		c.odd[len(c.wide)] = c.intern(text)
	}
	c.wide = append(c.wide, v)
}

// parse reads a number and notes what stands before its decimals.
func (c *column) parse(text string) (float64, bool) {
	v, ok := media.ParseNumber(text, c.comma)
	if ok {
		if c.comma && strings.IndexByte(text, ',') >= 0 {
			c.marks.comma++
		} else if strings.IndexByte(text, '.') >= 0 {
			c.marks.point++
		}
	}
	return v, ok
}

// intern returns a field's place in texts.
func (c *column) intern(text string) int32 {
	if k, ok := c.place[text]; ok {
		return k
	}
	switch v, ok := c.parse(text); {
	case ok:
		return c.keep(text, v, number)
	case media.NoValue(text):
		return c.keep(text, math.NaN(), noValue)
	case c.words == fewWords:
		c.full = true
		return c.lost // such a column is of no use: one word stands for all that are not kept
	}
	c.lost = int32(len(c.texts))
	return c.keep(text, math.NaN(), word)
}

func (c *column) keep(text string, v float64, k kind) int32 {
	text = strings.Clone(text)
	at := int32(len(c.texts))
	c.texts, c.values, c.kinds = append(c.texts, text), append(c.values, v), append(c.kinds, k)
	c.place[text] = at
	switch k {
	case number:
		c.numbers++
	case word:
		c.words++
	}
	return at
}

// widen goes over from places to values.
func (c *column) widen() {
	c.many, c.odd = true, map[int]int32{}
	c.wide = make([]float64, len(c.cells), 2*len(c.cells))
	for i, k := range c.cells {
		c.wide[i] = c.values[k]
		if c.kinds[k] != number && c.texts[k] != "" || tooLarge(c.values[k]) {
			c.odd[i] = k
		}
	}
	c.cells = nil
}

// prepend puts a field before all others.
func (c *column) prepend(text string) {
	c.add(text)
	n := c.rows() - 1
	if !c.many {
		first := c.cells[n]
		copy(c.cells[1:], c.cells[:n])
		c.cells[0] = first
		return
	}
	first := c.wide[n]
	copy(c.wide[1:], c.wide[:n])
	c.wide[0] = first
	odd := make(map[int]int32, len(c.odd))
	for i, k := range c.odd {
		odd[(i+1)%(n+1)] = k
	}
	c.odd = odd
}

// at returns what a row's field is, and a number's value.
func (c *column) at(row int) (kind, float64) {
	if !c.many {
		k := c.cells[row]
		return c.kinds[k], c.values[k]
	}
	switch k, odd := c.odd[row]; {
	case odd:
		return c.kinds[k], c.wide[row]
	case math.IsNaN(c.wide[row]):
		return noValue, math.NaN()
	}
	return number, c.wide[row]
}

// tooLarge reports whether a number is one that no net takes, of which the fault is to have the field.
func tooLarge(v float64) bool { return math.IsInf(float64(float32(v)), 0) }

// text is a row's field as it is written, or as the number is usually written where it was not kept.
func (c *column) text(row int) string {
	if !c.many {
		return c.texts[c.cells[row]]
	}
	if k, ok := c.odd[row]; ok {
		return c.texts[k]
	}
	if math.IsNaN(c.wide[row]) {
		return ""
	}
	return numberText(c.wide[row])
}

// facts are what a column's rows have.
type facts struct {
	rows, numbers, words, none int
	whole                      bool // all numbers are
	low, high                  float64
	counts                     bool // each number is one more than that before it
	rises                      bool // none is less
}

// look gathers the facts of all rows.
func (c *column) look() facts {
	f := facts{rows: c.rows(), whole: true, counts: true, rises: true, low: math.Inf(1), high: math.Inf(-1)}
	last := math.NaN()
	for i := range f.rows {
		k, v := c.at(i)
		switch k {
		case number:
			f.numbers++
			f.whole = f.whole && v == math.Trunc(v)
			f.low, f.high = min(f.low, v), max(f.high, v)
			f.counts = f.counts && (f.numbers == 1 || v == last+1)
			f.rises = f.rises && (f.numbers == 1 || v >= last)
			last = v
		case word:
			f.words++
		default:
			f.none++
		}
	}
	return f
}

// isText reports whether the column has words, of which some may look like numbers.
func (f facts) isText() bool { return f.words > f.numbers }

// different returns how many different fields with a value there are, up to most.
func (c *column) different(most int) int {
	if c.full {
		return most
	}
	n := 0
	if !c.many {
		seen := make([]bool, len(c.texts))
		for _, k := range c.cells {
			if !seen[k] && c.kinds[k] != noValue {
				seen[k] = true
				n++
			}
		}
		return min(n, most)
	}
	seen := map[float64]bool{}
	for _, v := range c.wide {
		if math.IsNaN(v) {
			continue // one of words, or no value
		}
		if seen[v] = true; len(seen) >= most {
			return most
		}
	}
	return min(len(seen)+c.words, most)
}

// has reports whether a row has this text.
func (c *column) has(text string) bool {
	k, ok := c.place[text]
	if !ok {
		return false
	}
	if !c.many {
		return slices.Contains(c.cells, k)
	}
	for _, o := range c.odd {
		if o == k {
			return true
		}
	}
	return false
}
