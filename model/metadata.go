package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/media"
)

// Prefix begins the names of our entries in ONNX's metadata_props.
const Prefix = "millrace."

// Metadata says how bytes become a model's input and what its output means. It is kept in the model file's
// metadata_props, each field as "millrace." and the lower-case name; the zero value leaves everything to guesses that
// are documented at each field. As JSON it is an object with these names.
type Metadata struct {
	// Labels are the names of the classes, in the output's order, as a JSON array of strings. A model with labels is a
	// classifier: its results have a label and scores.
	Labels []string `json:"labels,omitempty"`
	// Scale multiplies each sample of a picture, and each of the raw bytes that are sent for an input; 0 is 1/255 for pictures that become a floating-point
	// input, and 1 else. An input is a picture where it has a height and a width, or where it has as many elements as a square and
	// Scale, Mean, Std, Layout, Invert or Centre is there. Other numbers are taken as they are: see media.Spec.
	Scale float64 `json:"scale,omitempty"`
	// Mean is subtracted after scaling, and Std divides then: one number, or one a channel, as JSON arrays.
	Mean []float64 `json:"mean,omitempty"`
	Std  []float64 `json:"std,omitempty"`
	// Invert turns dark on light into light on dark: "true", "false", or "auto" (empty too), which looks at the
	// picture's border where Centre asks for that.
	Invert string `json:"invert,omitempty"`
	// Layout is "NCHW" or "NHWC" of pictures, and "NTC" of sequences of steps, which are none; empty guesses by where 1 or 3 channels are, and takes two dimensions for a grey picture.
	Layout string `json:"layout,omitempty"`
	// Centre is "mnist" (crop, scale and centre as MNIST's makers did) or "none" (empty too).
	Centre string `json:"centre,omitempty"`
	// Orientation is "exif" (empty too), which turns photographs upright as their Exif data says, or "ignore", which takes pixels as they lie.
	Orientation string `json:"orientation,omitempty"`
	// Output says what the scores are: "probabilities", "logits", "log_probabilities", or "auto" (empty too), which
	// looks at the operator that computes them: Softmax and Sigmoid give probabilities, LogSoftmax logarithms, anything
	// else logits.
	Output string `json:"output,omitempty"`
	// Columns are those of a table's row, in the order of the only input's elements, as a JSON array of objects. An input may then be an object by
	// these names.
	Columns []media.Column `json:"columns,omitempty"`
	// Ignored are names that such an object may have beside the columns, as a JSON array: they are passed over.
	Ignored []string `json:"ignored,omitempty"`
	// Task is "classification", or "regression", whose results are one number. Empty is a classifier where there are labels.
	Task string `json:"task,omitempty"`
	// Target is the name of what is predicted, and Unit the unit of a regression's number.
	Target string `json:"target,omitempty"`
	Unit   string `json:"unit,omitempty"`
	// Trained says for people what it was trained with.
	Trained string `json:"trained,omitempty"`
	// Frozen are initializers that training the model further leaves alone where nobody says otherwise, as a JSON array.
	Frozen []string `json:"frozen,omitempty"`
}

// What Metadata.Task may be.
const (
	Classification = "classification"
	Regression     = "regression"
)

// keys are the entries of metadata_props that belong to Metadata, each with how to set and get it.
var keys = map[string]key{
	"labels": {
		func(m *Metadata, s string) error { return parseJSON(s, &m.Labels) },
		func(m *Metadata) string { return formatJSON(m.Labels, len(m.Labels)) },
	},
	"scale": {
		func(m *Metadata, s string) (err error) {
			m.Scale, err = strconv.ParseFloat(s, 64)
			if err == nil && (math.IsNaN(m.Scale) || math.IsInf(m.Scale, 0)) {
				err = errors.New("must be a finite number")
			}
			return err
		},
		func(m *Metadata) string {
			if m.Scale == 0 {
				return ""
			}
			return strconv.FormatFloat(m.Scale, 'g', -1, 64)
		},
	},
	"mean":        {func(m *Metadata, s string) error { return parseNumbers(s, &m.Mean) }, func(m *Metadata) string { return formatJSON(m.Mean, len(m.Mean)) }},
	"std":         {func(m *Metadata, s string) error { return parseNumbers(s, &m.Std) }, func(m *Metadata) string { return formatJSON(m.Std, len(m.Std)) }},
	"invert":      word(func(m *Metadata) *string { return &m.Invert }, "auto", "true", "false"),
	"layout":      word(func(m *Metadata) *string { return &m.Layout }, media.Layouts...),
	"centre":      word(func(m *Metadata) *string { return &m.Centre }, "mnist", "none"),
	"orientation": word(func(m *Metadata) *string { return &m.Orientation }, "exif", "ignore"),
	"output":      word(func(m *Metadata) *string { return &m.Output }, "auto", "probabilities", "logits", "log_probabilities"),
	"columns": {
		func(m *Metadata, s string) error { return parseJSON(s, &m.Columns) },
		func(m *Metadata) string { return formatJSON(m.Columns, len(m.Columns)) },
	},
	"ignored": {
		func(m *Metadata, s string) error { return parseJSON(s, &m.Ignored) },
		func(m *Metadata) string { return formatJSON(m.Ignored, len(m.Ignored)) },
	},
	"task":    word(func(m *Metadata) *string { return &m.Task }, Classification, Regression),
	"target":  text(func(m *Metadata) *string { return &m.Target }),
	"unit":    text(func(m *Metadata) *string { return &m.Unit }),
	"trained": text(func(m *Metadata) *string { return &m.Trained }),
	"frozen": {
		func(m *Metadata, s string) error { return parseJSON(s, &m.Frozen) },
		func(m *Metadata) string { return formatJSON(m.Frozen, len(m.Frozen)) },
	},
}

type key = struct {
	set func(*Metadata, string) error
	get func(*Metadata) string
}

// text is a field that may be any text.
func text(field func(*Metadata) *string) key {
	return key{
		func(m *Metadata, s string) error {
			if !utf8.ValidString(s) {
				return errors.New("must be UTF-8")
			}
			*field(m) = s
			return nil
		},
		func(m *Metadata) string { return *field(m) },
	}
}

// word is a field that is one of a few words.
func word(field func(*Metadata) *string, allowed ...string) key {
	return key{
		func(m *Metadata, s string) error {
			if !slices.Contains(allowed, s) {
				return fmt.Errorf("%q is none of %s", s, strings.Join(allowed, ", "))
			}
			*field(m) = s
			return nil
		},
		func(m *Metadata) string { return *field(m) },
	}
}

func parseJSON[T any](s string, into *T) error {
	var v T // a copy of a Metadata shares its slices, which must not be written into
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return fmt.Errorf("must be a JSON array: %w", err)
	}
	*into = v
	return nil
}

func parseNumbers(s string, into *[]float64) error {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		*into = []float64{f}
		return nil
	}
	return parseJSON(s, into)
}

func formatJSON(v any, n int) string {
	if n == 0 {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil { // strings and finite numbers always marshal
		return ""
	}
	return string(b)
}

// ParseMetadata reads the entries that begin with "millrace." and ignores the others. It reports every fault at
// once; an unknown name after the prefix is one.
func ParseMetadata(props map[string]string) (Metadata, error) {
	var m Metadata
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(props)) {
		short, ours := strings.CutPrefix(name, Prefix)
		if !ours {
			continue
		}
		if err := m.Set(short, props[name]); err != nil {
			faults = append(faults, err)
		}
	}
	faults = append(faults, m.check())
	return m, errors.Join(faults...)
}

// check holds the fields against each other.
func (m *Metadata) check() error {
	var faults []error
	if err := media.CheckColumns(m.Columns, m.Ignored); err != nil {
		faults = append(faults, fmt.Errorf("metadata %scolumns: %w", Prefix, err))
	}
	if m.Task == Regression && len(m.Labels) > 0 {
		faults = append(faults, fmt.Errorf("metadata %stask: a regression has no labels, and there are %d", Prefix, len(m.Labels)))
	}
	return errors.Join(faults...)
}

// Set changes one field by its name without the prefix.
func (m *Metadata) Set(name, value string) error {
	k, ok := keys[name]
	if !ok {
		return fmt.Errorf("metadata %s%s: unknown name (known: %s)", Prefix, name, strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
	}
	if err := k.set(m, value); err != nil {
		return fmt.Errorf("metadata %s%s: %w", Prefix, name, err)
	}
	return nil
}

// Props is the inverse of ParseMetadata: what stands in the file, with the prefix.
func (m Metadata) Props() map[string]string {
	props := map[string]string{}
	for name, k := range keys {
		if v := k.get(&m); v != "" {
			props[Prefix+name] = v
		}
	}
	return props
}
