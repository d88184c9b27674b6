package train

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// ErrData says that a data set cannot be read or does not hold together: a bad file, examples of different shapes, a
// label that is none. The message names the file and the place.
var ErrData = errors.New("bad training data")

// An Example is one input, uint8 (a picture's bytes, from black to white) or float32, and the number of its label.
type Example struct {
	Input *tensor.Tensor
	Label int
}

// A Set is a data set in memory: examples of one shape and type with their labels. It may be read by many goroutines.
type Set struct {
	shape  tensor.Shape
	size   int
	bytes  []uint8 // one of the two
	floats []float32
	labels []int64
	names  []string
	table  bool // rows of numbers, of which some may look like pictures
	notes  []Note
	// Of a table that is no table of pictures:
	targets []float32 // the numbers to predict; nil where there are labels
	columns []media.Column
	ignored []string
	target  string
	doubt   error // why the labels cannot be meant
	// Of a folder of pictures, and where it is divided already:
	folder           bool
	validation, test *Set
	// orientation is "ignore" where photographs were taken as their pixels lie.
	orientation string
}

// maxLabels limits the number of classes.
const maxLabels = 1 << 16

// Collect reads examples into a Set; names are the labels', by number. It returns the sequence's first error, and ErrData
// for examples that do not go together.
func Collect(examples iter.Seq2[Example, error], names []string) (*Set, error) {
	s := &Set{names: slices.Clone(names)}
	if len(names) == 0 || len(names) > maxLabels {
		return nil, fmt.Errorf("%w: %d labels; from 1 to %d are possible", ErrData, len(names), maxLabels)
	}
	for e, err := range examples {
		if err != nil {
			return nil, err
		}
		if err := s.add(e); err != nil {
			return nil, fmt.Errorf("%w: example %d: %w", ErrData, len(s.labels), err)
		}
	}
	if len(s.labels) == 0 {
		return nil, fmt.Errorf("%w: there are no examples", ErrData)
	}
	return s, nil
}

func (s *Set) add(e Example) error {
	if e.Label < 0 || e.Label >= len(s.names) {
		return fmt.Errorf("label %d is outside of the %d labels", e.Label, len(s.names))
	}
	d := e.Input.DType()
	if len(s.labels) == 0 {
		s.shape, s.size = e.Input.Shape().Clone(), e.Input.Size()
		if s.size == 0 {
			return fmt.Errorf("shape %v has no elements", s.shape)
		}
	}
	if !s.shape.Equal(e.Input.Shape()) {
		return fmt.Errorf("shape %v differs from %v of those before", e.Input.Shape(), s.shape)
	}
	switch {
	case d == tensor.Uint8 && s.floats == nil:
		s.bytes = append(s.bytes, tensor.Data[uint8](e.Input)...)
	case d == tensor.Float32 && s.bytes == nil:
		s.floats = append(s.floats, tensor.Data[float32](e.Input)...)
	default:
		return fmt.Errorf("type %v: examples are all uint8 or all float32", d)
	}
	s.labels = append(s.labels, int64(e.Label))
	return nil
}

// Parts returns what a data set that is divided already keeps for validation and for the end; nil for nothing.
func (s *Set) Parts() (validation, test *Set) { return s.validation, s.test }

// Len returns the number of examples.
func (s *Set) Len() int { return len(s.labels) }

// Shape returns the shape of one example, which the caller must not change: [C,H,W] of pictures, [F] of rows.
func (s *Set) Shape() tensor.Shape { return s.shape }

// Labels returns the labels' names by number, which the caller must not change.
func (s *Set) Labels() []string { return s.names }

// Label returns the number of an example's label.
func (s *Set) Label(i int) int { return int(s.labels[i]) }

// Picture reports whether the examples are bytes of pictures [C,H,W].
func (s *Set) Picture() bool { return s.bytes != nil && len(s.shape) == 3 }

// sequence reports whether the examples are steps of numbers [T,F].
func (s *Set) sequence() bool { return s.floats != nil && len(s.shape) == 2 && !s.table }

// Examples iterates over the examples; the tensors share the set's memory.
func (s *Set) Examples() iter.Seq2[Example, error] {
	return func(yield func(Example, error) bool) {
		for i := range s.labels {
			if !yield(Example{s.input(i), int(s.labels[i])}, nil) {
				return
			}
		}
	}
}

func (s *Set) input(i int) *tensor.Tensor {
	if s.bytes != nil {
		return tensor.Must(tensor.Of(s.bytes[i*s.size:(i+1)*s.size:(i+1)*s.size], s.shape...))
	}
	return tensor.Must(tensor.Of(s.floats[i*s.size:(i+1)*s.size:(i+1)*s.size], s.shape...))
}

// Split divides the set for validation: part is a number of examples, which are the last ones ("10000"), a percentage
// ("10%"), which are drawn at random by seed, or "0" or "" for none (evaluation is nil then). Order is kept.
func (s *Set) Split(part string, seed uint64) (training, evaluation *Set, err error) {
	n := s.Len()
	k, percent, err := parsePart(part)
	if err != nil {
		return nil, nil, fmt.Errorf("evaluation part: %w", err)
	}
	if percent > 0 {
		if k = int(float64(n) * percent / 100); k == 0 {
			return s, nil, nil
		}
		order := rand.New(rand.NewPCG(seed, 0x5eed)).Perm(n)
		out, in := order[:k], order[k:]
		slices.Sort(out)
		slices.Sort(in)
		return s.pick(in), s.pick(out), nil
	}
	if k >= n {
		return nil, nil, fmt.Errorf("%w: evaluation part %d leaves nothing of %d examples to train on", ErrData, k, n)
	}
	if k == 0 {
		return s, nil, nil
	}
	return s.cut(0, n-k), s.cut(n-k, n), nil
}

// parsePart reads a number of examples, or a percentage; "" is none.
func parsePart(part string) (k int, percent float64, err error) {
	if text, ok := strings.CutSuffix(part, "%"); ok {
		p, err := strconv.ParseFloat(text, 64)
		if err != nil || !(p >= 0 && p < 100) {
			return 0, 0, fmt.Errorf("%q: a percentage is from 0%% to below 100%%", part)
		}
		return 0, p, nil
	}
	if part == "" {
		return 0, 0, nil
	}
	k, err = strconv.Atoi(part)
	if err != nil || k < 0 {
		return 0, 0, fmt.Errorf("%q: say a number of examples (the last ones) or a percentage (at random)", part)
	}
	return k, 0, nil
}

// relabel returns the set with its labels numbered as in names, among which they all must be.
func (s *Set) relabel(names []string) (*Set, error) {
	if slices.Equal(s.names, names) {
		return s, nil
	}
	number := make(map[string]int64, len(names))
	for i, n := range names {
		number[n] = int64(i)
	}
	c := *s
	c.names, c.labels = slices.Clone(names), make([]int64, len(s.labels))
	for i, l := range s.labels {
		k, ok := number[s.names[l]]
		if !ok {
			return nil, fmt.Errorf("%w: label %q of the data set is not one of the model's %d labels %.200q", ErrData, s.names[l], len(names), names)
		}
		c.labels[i] = k
	}
	return &c, nil
}

// cut returns examples from to to, sharing memory.
func (s *Set) cut(from, to int) *Set {
	c := *s
	c.labels = s.labels[from:to:to]
	if s.targets != nil {
		c.targets = s.targets[from:to:to]
	}
	if s.bytes != nil {
		c.bytes = s.bytes[from*s.size : to*s.size : to*s.size]
	} else {
		c.floats = s.floats[from*s.size : to*s.size : to*s.size]
	}
	return &c
}

// pick returns copies of examples.
func (s *Set) pick(order []int) *Set {
	c := new(Set)
	*c = *s
	c.labels, c.targets, c.bytes, c.floats = make([]int64, 0, len(order)), nil, nil, nil
	for _, i := range order {
		c.labels = append(c.labels, s.labels[i])
		if s.targets != nil {
			c.targets = append(c.targets, s.targets[i])
		}
		if s.bytes != nil {
			c.bytes = append(c.bytes, s.bytes[i*s.size:(i+1)*s.size]...)
		} else {
			c.floats = append(c.floats, s.floats[i*s.size:(i+1)*s.size]...)
		}
	}
	return c
}
