package model

import (
	"errors"
	"fmt"
	"slices"

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
	describe := func(t *Model) []string {
		var s []string
		for _, c := range t.Columns {
			s = append(s, fmt.Sprintf("%s %s %q", c.Name, c.Type, c.Categories))
		}
		return s
	}
	if len(m.Columns) > 0 && !slices.Equal(describe(m), describe(n)) {
		faults = append(faults, fmt.Errorf("columns were %q and are %q", describe(m), describe(n)))
	}
	if (m.Task == Regression) != (n.Task == Regression) {
		faults = append(faults, fmt.Errorf("the task was %q and is %q", m.Task, n.Task))
	}
	return errors.Join(faults...)
}
