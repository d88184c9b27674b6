package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// checkTable holds the columns and the task against the graph.
func (m *Model) checkTable() error {
	var faults []error
	if n := len(m.Columns); n > 0 {
		spec, err := m.Spec()
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("metadata %scolumns: %w", Prefix, err))
		case !spec.DType.IsFloat() && !spec.DType.IsInteger():
			faults = append(faults, fmt.Errorf("metadata %scolumns: a row of %v cannot hold numbers", Prefix, spec.DType))
		case spec.Shape.Size() != n:
			faults = append(faults, fmt.Errorf("metadata %scolumns: there are %d, and the input %s takes %d numbers", Prefix, n, m.Inputs()[0], spec.Shape.Size()))
		}
	}
	if _, _, err := m.Number(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Number finds the output that has a regression's one number an item. ok is false where the model is no regression, and err says that it is one
// and has no such output.
func (m *Model) Number() (output int, ok bool, err error) {
	if m.Task != Regression {
		return 0, false, nil
	}
	for i, v := range m.Outputs() {
		size, known := v.Shape.Static()
		if len(v.Shape) > 0 {
			size, known = v.Shape[1:].Static()
		}
		if (v.DType.IsFloat() || v.DType == tensor.Invalid) && (v.Shape == nil || !known || size.Size() == 1) {
			return i, true, nil
		}
	}
	return 0, false, fmt.Errorf("metadata %stask: a regression, and no output (%s) has one number an item", Prefix, list(m.Outputs()))
}

// sameTable returns why inputs by column, or results, of m are others for n.
func (m *Model) sameTable(n *Model) error {
	var faults []error
	if len(m.Columns) > 0 {
		faults = append(faults, sameColumns(m.Columns, n.Columns))
	}
	if (m.Task == Regression) != (n.Task == Regression) {
		faults = append(faults, fmt.Errorf("the task was %q and is %q", m.Task, n.Task))
	}
	return errors.Join(faults...)
}

// sameColumns returns why a row for the columns old is none for now. Means and what stands for a missing value may differ.
func sameColumns(old, now []media.Column) error {
	named := func(columns []media.Column, name string) int {
		return slices.IndexFunc(columns, func(c media.Column) bool { return c.Name == name })
	}
	var missing, added []string
	var faults []error
	for _, c := range old {
		i := named(now, c.Name)
		if i < 0 {
			missing = append(missing, c.Name)
		} else if was, is := takes(c), takes(now[i]); was != is {
			faults = append(faults, fmt.Errorf("column %s was %s and is %s", c.Name, was, is))
		}
	}
	for _, c := range now {
		if named(old, c.Name) < 0 {
			added = append(added, c.Name)
		}
	}
	switch {
	case len(missing) > 0 || len(added) > 0:
		faults = append([]error{fmt.Errorf("columns missing: %s; new: %s", listed(missing), listed(added))}, faults...)
	case columnOrder(old) != columnOrder(now):
		faults = append(faults, fmt.Errorf("the columns' order was %s and is %s", columnOrder(old), columnOrder(now)))
	}
	return errors.Join(faults...)
}

// takes says what may stand in a column.
func takes(c media.Column) string {
	if c.Type != media.CategoryColumn {
		return c.Type
	}
	return c.Type + " of " + listed(c.Categories)
}

// columnText is a column with all that is known of it.
func columnText(c media.Column) string {
	text := takes(c)
	for _, v := range []struct {
		name  string
		value *float64
	}{{"mean", c.Mean}, {"standard deviation", c.Std}, {"for a missing value", c.Missing}} {
		if v.value != nil {
			text += fmt.Sprintf(", %s %v", v.name, *v.value)
		}
	}
	return text
}

// columnOrder are the columns' names in their order.
func columnOrder(columns []media.Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return listed(names)
}

// listed are the first of some words, and how many more there are; none for none.
func listed(words []string) string {
	const most = 20
	switch n := len(words); {
	case n == 0:
		return "none"
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), n-most)
	}
	return strings.Join(words, ", ")
}
