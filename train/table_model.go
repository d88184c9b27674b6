package train

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/media"
)

// forModel reads a table as a model with columns takes it: by their names, or in their order where there is no header.
func (t *table) forModel(o Options) (b *build, why string, err error) {
	m := o.Model
	b = &build{set: &Set{table: true, columns: slices.Clone(m.Columns)}, places: make([]int, len(m.Columns)), texts: make([]map[string]int, len(m.Columns))}
	for i := range t.use {
		if t.use[i] == timestamp {
			t.use[i] = feature // whether it is used is the model's business
		}
	}
	if !slices.ContainsFunc(m.Columns, func(c media.Column) bool { return slices.Contains(t.names, c.Name) }) {
		// A model of a table without a header has its columns by number.
		keys := make([]string, len(t.columns))
		for i := range keys {
			keys[i] = numbered(i)
		}
		if !slices.ContainsFunc(m.Columns, func(c media.Column) bool { return !slices.Contains(keys, c.Name) }) {
			t.names = keys
		}
	}
	if t.names == nil {
		why, err = t.inOrder(b, o)
	} else {
		why, err = t.byName(b, o)
	}
	if err != nil {
		return nil, "", err
	}
	for k, c := range m.Columns {
		if c.Type != media.CategoryColumn {
			continue
		}
		b.texts[k] = make(map[string]int, len(c.Categories))
		for n, text := range c.Categories {
			b.texts[k][text] = n
		}
	}
	return b, why, nil
}

// inOrder takes the label's column out, and the others in their order.
func (t *table) inOrder(b *build, o Options) (why string, err error) {
	t.label, why = len(t.columns)-1, "the last one"
	for t.label > 0 && t.use[t.label] == ignored {
		t.label--
	}
	if o.Label != "" {
		if why, err = t.chooseLabel(o); err != nil {
			return "", err
		}
	}
	t.use[t.label] = labels
	n := 0
	for i, u := range t.use {
		if u != feature {
			continue
		}
		if n < len(b.places) {
			b.places[n] = i
		}
		n++
	}
	if n != len(b.places) {
		return "", fmt.Errorf("%d columns are there beside the label, %s, and the model takes %d (%s)", n, t.name(t.label), len(b.places), some(names(b.set.columns)))
	}
	return why, nil
}

// byName finds the model's columns and the label.
func (t *table) byName(b *build, o Options) (why string, err error) {
	taken := make([]bool, len(t.names))
	var missing, unknown []string
	for k, c := range b.set.columns {
		if b.places[k] = slices.Index(t.names, c.Name); b.places[k] < 0 {
			missing = append(missing, c.Name)
			continue
		}
		taken[b.places[k]] = true
	}
	if o.Label != "" || slices.Contains(t.names, o.Model.Target) {
		if why, err = t.chooseLabel(o); err != nil {
			return "", err
		}
	} else {
		t.label = -1
		for i := range t.names { // the only other one, or the one that is called label
			usual := slices.ContainsFunc(labelColumns, func(l string) bool { return strings.EqualFold(l, t.names[i]) })
			if taken[i] || t.use[i] == ignored || slices.Contains(o.Model.Ignored, t.names[i]) {
				continue
			}
			if t.label < 0 || usual {
				t.label = i
			}
		}
		if t.label < 0 {
			return "", errors.New("no column has the label: --label names one")
		}
		why = "which the model does not take"
	}
	if taken[t.label] {
		return "", fmt.Errorf("the label, %s, is a column that the model takes", t.name(t.label))
	}
	t.use[t.label] = labels
	for i, name := range t.names {
		switch {
		case taken[i] || t.use[i] != feature:
		case slices.Contains(o.Model.Ignored, name):
			t.use[i] = ignored
		default:
			unknown = append(unknown, name)
		}
	}
	var faults []string
	if len(missing) > 0 {
		faults = append(faults, "missing: "+some(missing))
	}
	if len(unknown) > 0 {
		faults = append(faults, "unknown: "+some(unknown)+" (--ignore passes them over)")
	}
	if len(faults) > 0 {
		return "", fmt.Errorf("%s; the model's columns are %s", strings.Join(faults, "; "), some(names(b.set.columns)))
	}
	return why, nil
}

func names(columns []media.Column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.Name
	}
	return all
}

// wrap says that a fault is the data's, once.
func wrap(format string, err error) error {
	if errors.Is(err, ErrData) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrData, format, err)
}
