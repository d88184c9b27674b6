package media

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// Types of columns.
const (
	NumberColumn   = "number"
	CategoryColumn = "category"
)

// A Column is one number of a model's row: what it is called, what it may be, and what stands for a value that is not there.
type Column struct {
	Name string `json:"name"`
	// Type is NumberColumn or CategoryColumn.
	Type string `json:"type"`
	// Mean and Std are those of the numbers that the model was trained on. They tell people; the model itself scales.
	Mean *float64 `json:"mean,omitempty"`
	Std  *float64 `json:"std,omitempty"`
	// Missing stands for a value that is absent, a category's number for a category; nil makes that an error.
	Missing *float64 `json:"missing,omitempty"`
	// Categories are the words that may stand in the column. The model is given a word's number, from 0.
	Categories []string `json:"categories,omitempty"`
}

// is reports whether a number may stand in the column: any may, where it has no categories.
func (c Column) is(v float64) error {
	if c.Type == CategoryColumn && (v != math.Trunc(v) || v < 0 || v >= float64(len(c.Categories))) {
		return fmt.Errorf("%w: column %.80q: %v is no number of a category, from 0 to %d (%s)", ErrShape, c.Name, v, len(c.Categories)-1, some(c.Categories))
	}
	return nil
}

// CheckCategories holds a batch of rows [N, columns] that came as numbers against the categories of its columns: a model would take a
// number beyond them for none of them. A batch of another shape is left to the engine.
func CheckCategories(columns []Column, batch *tensor.Tensor) error {
	shape := batch.Shape()
	if len(shape) != 2 || shape[1] != len(columns) {
		return nil
	}
	for i, c := range columns {
		if c.Type != CategoryColumn {
			continue
		}
		for row := range shape[0] {
			v, err := floatAt(batch, row*shape[1]+i)
			if err == nil {
				err = c.is(v)
			}
			if err != nil {
				return fmt.Errorf("row %d: %w", row, err)
			}
		}
	}
	return nil
}

// CheckColumns reports every fault of a row's columns, and of the names that are passed over beside them.
func CheckColumns(columns []Column, ignored []string) error {
	var faults []error
	names := make(map[string]bool, len(columns)+len(ignored))
	once := func(name, what string) {
		switch {
		case name == "":
			faults = append(faults, fmt.Errorf("%s has no name", what))
		case names[name]:
			faults = append(faults, fmt.Errorf("the name %.40q is there twice", name))
		}
		names[name] = true
	}
	for i, c := range columns {
		once(c.Name, fmt.Sprintf("column %d", i+1))
		if err := c.check(); err != nil {
			faults = append(faults, fmt.Errorf("column %.40q: %w", c.Name, err))
		}
	}
	for i, name := range ignored {
		once(name, fmt.Sprintf("ignored name %d", i+1))
	}
	return errors.Join(faults...)
}

func (c Column) check() error {
	for _, v := range []*float64{c.Mean, c.Std, c.Missing} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			return fmt.Errorf("%v is not a finite number", *v)
		}
	}
	switch c.Type {
	case NumberColumn:
		if len(c.Categories) > 0 {
			return errors.New("a number has no categories")
		}
	case CategoryColumn:
		if len(c.Categories) == 0 {
			return errors.New("there are no categories")
		}
		sorted := slices.Sorted(slices.Values(c.Categories))
		for i := range sorted[1:] {
			if sorted[i] == sorted[i+1] {
				return fmt.Errorf("the category %.40q is there twice", sorted[i])
			}
		}
		if m := c.Missing; m != nil && (*m != math.Trunc(*m) || *m < 0 || *m >= float64(len(c.Categories))) {
			return fmt.Errorf("missing: %v is no number of one of the %d categories", *m, len(c.Categories))
		}
	default:
		return fmt.Errorf("type %.40q is neither %s nor %s", c.Type, NumberColumn, CategoryColumn)
	}
	return nil
}
