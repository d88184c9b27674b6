package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media"
)

// separators is what stands between fields, in words.
func separators(r rune) string {
	switch r {
	case ',':
		return "commas"
	case ';':
		return "semicolons"
	case '\t':
		return "tabs"
	case '|':
		return "bars (|)"
	}
	return strconv.QuoteRune(r)
}

// tell notes what was understood, and completes what the set says about its columns.
func (t *table) tell(b *build, why string, o Options) {
	s := b.set
	what := fmt.Sprintf("%d columns", s.size)
	if b.picture {
		what = fmt.Sprintf("%d whole numbers from 0 to 255, taken as a grey picture of %d by %d", s.size, s.shape[2], s.shape[1])
	}
	parts := []string{fmt.Sprintf("%s: %d examples of %s", t.format, s.Len(), what)}
	if t.separator != 0 {
		parts = append(parts, t.header.text(), "fields are separated by "+separators(t.separator))
		if comma, err := t.commas(); err == nil && comma {
			parts = append(parts, "decimals by a comma")
		}
	}
	label := t.name(t.label) + ", " + why
	if o.Task == taskRegression {
		f := t.facts[t.label]
		parts = append(parts, fmt.Sprintf("the number to predict is in %s, from %g to %g", label, f.low, f.high))
	} else {
		parts = append(parts, fmt.Sprintf("the label is in %s, with %d classes (%s)", label, len(s.names), some(s.names)))
	}
	if !b.picture {
		list := make([]string, len(s.columns))
		for k, c := range s.columns {
			list[k] = brief(c.Name)
			if c.Type == media.CategoryColumn {
				list[k] += " (" + some(c.Categories) + ")"
			}
		}
		parts = append(parts, "the columns are "+few(list))
	}
	var out []string
	for i, u := range t.use {
		if u == ignored {
			out = append(out, t.key(i))
		}
	}
	if len(out) > 0 {
		parts = append(parts, "left out: "+some(out))
	}
	if b.dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d rows with a value missing are left out", b.dropped))
	}
	if b.missing > 0 {
		parts = append(parts, fmt.Sprintf("for %d missing values the column's mean or most frequent text is taken", b.missing))
	}
	s.note("%s", strings.Join(parts, "; "))
	for i, u := range t.use {
		switch like := t.looksLike(i); {
		case u == timestamp:
			s.warn("%s has timestamps and is left out, as --ignore %s does", t.name(i), t.say(i))
		case u == feature && like != "" && !b.picture:
			s.warn("%s looks like %s, which says nothing about a row: --ignore %s leaves it out", t.name(i), like, t.say(i))
		}
	}
	if b.picture {
		return
	}
	s.target = t.key(t.label)
	for i, u := range t.use {
		if name := t.key(i); u != feature && !slices.Contains(s.ignored, name) && !slices.Contains(names(s.columns), name) {
			s.ignored = append(s.ignored, name)
		}
	}
	if o.Model != nil && len(o.Model.Columns) > 0 {
		s.ignored = o.Model.Ignored
	}
}
