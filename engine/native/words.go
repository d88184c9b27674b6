package native

import (
	"slices"
	"strings"
	"unicode"

	"github.com/millrace/millrace/tensor"
)

// stringNormalizer takes stop words out of a list and changes the case of the others. Where nothing is left, one empty string is.
func stringNormalizer(c *prep) error {
	t, err := c.known(0)
	if err != nil {
		return err
	}
	shape := t.Shape()
	if t.DType() != tensor.String {
		return c.refuseType(t.DType())
	}
	if len(shape) != 1 && (len(shape) != 2 || shape[0] != 1) {
		return c.errf("a list of strings has shape [C] or [1,C], not %v", shape)
	}
	cased, err := caseChange(c.attrs.String("case_change_action", "NONE"), c.attrs.String("locale", ""))
	if err != nil {
		return c.refuse("%v", err)
	}
	fold := func(s string) string { return s }
	if !c.attrs.Bool("is_case_sensitive", false) {
		if fold, err = caseChange("LOWER", c.attrs.String("locale", "")); err != nil {
			return c.refuse("%v", err)
		}
	}
	stop := map[string]bool{}
	for _, w := range c.attrs.Strings("stopwords", nil) {
		stop[fold(w)] = true
	}
	kept := []string{}
	for _, w := range tensor.Data[string](t) {
		if !stop[fold(w)] {
			kept = append(kept, cased(w))
		}
	}
	if len(kept) == 0 {
		kept = []string{""}
	}
	out := shape.Clone()
	out[len(out)-1] = len(kept)
	o, err := c.out(0, tensor.String, out)
	if err != nil {
		return err
	}
	c.do(func(f *frame) { copy(data[string](f, o), kept) })
	return nil
}

// caseChange returns what an action does to a string. Turkish and Azerbaijani have an i without a dot.
func caseChange(action, locale string) (func(string) string, error) {
	turkish := strings.HasPrefix(locale, "tr") || strings.HasPrefix(locale, "az")
	switch {
	case action == "NONE":
		return func(s string) string { return s }, nil
	case action == "LOWER" && turkish:
		return func(s string) string { return strings.ToLowerSpecial(unicode.TurkishCase, s) }, nil
	case action == "LOWER":
		return strings.ToLower, nil
	case action == "UPPER" && turkish:
		return func(s string) string { return strings.ToUpperSpecial(unicode.TurkishCase, s) }, nil
	case action == "UPPER":
		return strings.ToUpper, nil
	}
	return nil, &unsupported{op: "case_change_action", reason: action}
}

// grams is a node in the tree of the n-grams of a vectorizer: id is 1 + the n-gram that ends here.
type grams[T comparable] struct {
	id   int
	next map[T]*grams[T]
}

// tfIdf counts the n-grams of a pool in each row.
func tfIdf(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	words, numbers := c.attrs.Strings("pool_strings", nil), c.attrs.Ints("pool_int64s", nil)
	switch d := c.in[0].dtype; {
	case d == tensor.String && words != nil:
		return tfIdfOf(c, words, func(f *frame, s int) []string { return data[string](f, s) })
	case d == tensor.Int64 && numbers != nil:
		return tfIdfOf(c, numbers, func(f *frame, s int) []int64 { return data[int64](f, s) })
	case d == tensor.Int32 && numbers != nil:
		return tfIdfOf(c, numbers, func(f *frame, s int) []int64 {
			wide := make([]int64, 0, f.t[s].Size())
			for _, v := range data[int32](f, s) {
				wide = append(wide, int64(v))
			}
			return wide
		})
	case d != tensor.String && d != tensor.Int64 && d != tensor.Int32:
		return c.refuseType(d)
	}
	return c.errf("it has no pool for %v", c.in[0].dtype)
}

type tfIdfArgs[T comparable] struct {
	root            *grams[T]
	indexes         []int64
	shortest, most  int
	skips, row, out int
}

func tfIdfOf[T comparable](c *prep, pool []T, read func(f *frame, slot int) []T) error {
	x := &c.in[0]
	a := tfIdfArgs[T]{root: &grams[T]{}, indexes: c.attrs.Ints("ngram_indexes", nil)}
	a.shortest, a.most = int(c.attrs.Int("min_gram_length", 1)), int(c.attrs.Int("max_gram_length", 1))
	a.skips = int(c.attrs.Int("max_skip_count", 0))
	if a.shortest < 1 || a.most < a.shortest || a.skips < 0 {
		return c.errf("n-grams of %d to %d with %d skips", a.shortest, a.most, a.skips)
	}
	if err := a.fill(c, pool, c.attrs.Ints("ngram_counts", nil)); err != nil {
		return err
	}
	for _, k := range a.indexes {
		if k < 0 || k >= 1<<31 {
			return c.errf("ngram_indexes has %d", k)
		}
		a.out = max(a.out, int(k)+1)
	}
	rows, shape := 1, tensor.Shape{a.out}
	switch len(x.shape) {
	case 0:
		a.row = 1
	case 1:
		a.row = x.shape[0]
	case 2:
		rows, a.row = x.shape[0], x.shape[1]
		shape = tensor.Shape{rows, a.out}
	default:
		return c.errf("the input has shape %v, not [C] or [N,C]", x.shape)
	}
	weights := c.attrs.Floats("weights", nil)
	mode := c.attrs.String("mode", "")
	switch {
	case !slices.Contains([]string{"TF", "IDF", "TFIDF"}, mode):
		return c.refuse("mode %q", mode)
	case mode != "TF" && weights != nil && len(weights) != a.out:
		return c.errf("%d weights for %d outputs", len(weights), a.out)
	}
	o, err := c.out(0, tensor.Float32, shape)
	if err != nil {
		return err
	}
	s := x.slot
	c.step(func(f *frame) error {
		items, y := read(f, s), data[float32](f, o)
		clear(y)
		for r := range rows {
			if err := f.ctx.Err(); err != nil {
				return err
			}
			counts := y[r*a.out : (r+1)*a.out]
			a.count(items[r*a.row:(r+1)*a.row], counts)
			weigh(mode, weights, counts)
		}
		return nil
	})
	return nil
}

// fill puts the pool into the tree. counts says where the n-grams of each length begin.
func (a *tfIdfArgs[T]) fill(c *prep, pool []T, counts []int64) error {
	id := 0
	for k, from := range counts {
		to := int64(len(pool))
		if k+1 < len(counts) {
			to = counts[k+1]
		}
		if from < 0 || to < from || to > int64(len(pool)) {
			return c.errf("ngram_counts %v for a pool of %d", counts, len(pool))
		}
		n := k + 1
		if (to-from)%int64(n) != 0 {
			return c.errf("%d items do not make n-grams of %d", to-from, n)
		}
		for items := pool[from:to]; len(items) > 0; items = items[n:] {
			id++
			if n < a.shortest || n > a.most {
				continue
			}
			at := a.root
			for _, item := range items[:n] {
				if at.next == nil {
					at.next = map[T]*grams[T]{}
				}
				if at.next[item] == nil {
					at.next[item] = &grams[T]{}
				}
				at = at.next[item]
			}
			at.id = id
		}
	}
	if id != len(a.indexes) {
		return c.errf("%d n-grams have %d indexes", id, len(a.indexes))
	}
	return nil
}

// count adds the n-grams of a row. Single items are counted once, longer ones for each distance between their items.
func (a *tfIdfArgs[T]) count(row []T, counts []float32) {
	shortest := a.shortest
	for distance := 1; distance <= min(a.skips+1, max(len(row), 1)); distance++ {
		for start := 0; start < len(row) && (shortest-1)*distance < len(row)-start; start++ {
			at := a.root
			for n, k := 1, start; n <= a.most && k < len(row); n, k = n+1, k+distance {
				if at = at.next[row[k]]; at == nil {
					break
				}
				if n >= shortest && at.id > 0 {
					counts[a.indexes[at.id-1]]++
				}
			}
		}
		if shortest == 1 {
			if shortest = 2; shortest > a.most {
				return
			}
		}
	}
}

// weigh turns counts into what a mode asks for.
func weigh(mode string, weights, counts []float32) {
	if mode == "TF" {
		return
	}
	for i, n := range counts {
		w := float32(1)
		if weights != nil {
			w = weights[i]
		}
		switch {
		case mode == "TFIDF":
			counts[i] = n * w
		case n > 0:
			counts[i] = w
		}
	}
}
