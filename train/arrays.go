package train

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// maxArrays is how many bytes the arrays of an .npz may unpack to.
const maxArrays = 8 << 30

// The names that an .npz file's arrays of examples and of labels may have, in any case, each with an end of the part that they are.
var (
	exampleArrays = []string{"x", "data", "features", "images", "sequences", "inputs", "arr_0"}
	labelArrays   = []string{"y", "label", "labels", "target", "targets", "arr_1"}
	arrayParts    = []struct {
		name string
		ends []string
	}{{"training", []string{"", "_train", "train"}}, {"validation", []string{"_val", "_valid", "_validation", "val"}}, {"test", []string{"_test", "test"}}}
)

// openNPZ reads an .npz file: an array of examples x and one of labels y, or x_train and y_train, with x_val and y_val, x_test and y_test where it is divided already.
func openNPZ(name string, o Options) (*Set, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	all, err := media.ReadNPZ(f, info.Size(), maxArrays)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrData, name, err)
	}
	s, err := FromArrays(all, o)
	if err != nil {
		return nil, wrap(name, err)
	}
	return s, nil
}

// FromArrays makes a Set of arrays by name, as an .npz file has them: see [Open]. Examples are uint8 pictures [N,H,W], [N,H,W,C] or [N,C,H,W] with 1, 3 or 4 channels, or
// numbers [N,...], as sequences are: [N,T,F] is N sequences of T steps of F features. Labels are whole numbers or texts [N] or [N,1]; a regression takes any numbers.
func FromArrays(all map[string]*tensor.Tensor, o Options) (*Set, error) {
	var sets [3]*Set
	for i, part := range arrayParts {
		x, xName := findArray(all, exampleArrays, part.ends)
		y, yName := findArray(all, labelArrays, part.ends)
		switch {
		case x == nil && y == nil && i > 0:
			continue
		case x == nil || y == nil:
			return nil, fmt.Errorf("%w: it has %s; examples are called x and labels y, or x_train and y_train (and x_val, y_val, x_test, y_test)", ErrData, arraysText(all))
		}
		s, err := fromArrays(x, y, o)
		if err != nil {
			return nil, fmt.Errorf("%w: %s and %s: %w", ErrData, xName, yName, err)
		}
		s.note("%s %v%v are the examples, %s the labels", xName, x.DType(), x.Shape(), yName)
		sets[i] = s
	}
	s := sets[0]
	for i, other := range sets[1:] {
		if other == nil {
			continue
		}
		if !other.shape.Equal(s.shape) || (other.bytes == nil) != (s.bytes == nil) {
			return nil, fmt.Errorf("%w: examples of shape %v to train on, and of %v in the %s part", ErrData, s.shape, other.shape, arrayParts[i+1].name)
		}
		if o.Task != taskRegression {
			same, err := other.relabel(s.names)
			if err != nil {
				return nil, err
			}
			other = same
		}
		sets[i+1] = other
	}
	s.validation, s.test = sets[1], sets[2]
	return s, nil
}

func findArray(all map[string]*tensor.Tensor, names, ends []string) (*tensor.Tensor, string) {
	for _, end := range ends {
		for _, want := range names {
			for _, have := range slices.Sorted(maps.Keys(all)) {
				if strings.EqualFold(have, want+end) {
					return all[have], have
				}
			}
		}
	}
	return nil, ""
}

// arraysText names what there is.
func arraysText(all map[string]*tensor.Tensor) string {
	if len(all) == 0 {
		return "no arrays"
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names = append(names, fmt.Sprintf("%s %v%v", brief(name), all[name].DType(), all[name].Shape()))
	}
	return some(names)
}

func fromArrays(x, y *tensor.Tensor, o Options) (*Set, error) {
	n := y.Size()
	if y.Rank() < 1 || y.Shape()[0] != n {
		return nil, fmt.Errorf("labels are %v; one for each example is [N] or [N,1]", y.Shape())
	}
	if x.Rank() < 1 || x.Shape()[0] != n {
		return nil, fmt.Errorf("examples are %v, labels %v: the first dimension is the examples'", x.Shape(), y.Shape())
	}
	if n == 0 || x.Size() == 0 {
		return nil, fmt.Errorf("examples are %v: there is nothing in them", x.Shape())
	}
	s := &Set{}
	if err := s.takeExamples(x); err != nil {
		return nil, err
	}
	if o.Task == taskRegression {
		targets, err := finite(y)
		if err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		s.targets, s.labels = targets, make([]int64, n)
		return s, nil
	}
	return s, s.takeLabels(y, o)
}

// takeExamples takes pictures as bytes with the channels first, and all else as numbers.
func (s *Set) takeExamples(x *tensor.Tensor) error {
	s.shape = x.Shape()[1:].Clone()
	if len(s.shape) == 0 {
		s.shape = tensor.Shape{1}
	}
	s.size = s.shape.Size()
	channels := func(c int) bool { return c == 1 || c == 3 || c == 4 }
	if bytes, ok := x.Raw().([]uint8); ok {
		switch r := len(s.shape); {
		case r == 2:
			s.shape, s.bytes = tensor.Shape{1, s.shape[0], s.shape[1]}, bytes
			return nil
		case r == 3 && channels(s.shape[0]) && s.shape[1] > 4:
			s.bytes = bytes
			return nil
		case r == 3 && channels(s.shape[2]):
			h, w, c := s.shape[0], s.shape[1], s.shape[2]
			s.shape, s.bytes = tensor.Shape{c, h, w}, make([]uint8, len(bytes))
			for from := 0; from < len(bytes); from += s.size {
				for at := range h * w {
					for k := range c {
						s.bytes[from+k*h*w+at] = bytes[from+at*c+k]
					}
				}
			}
			return nil
		}
	}
	var err error
	if s.floats, err = finite(x); err != nil {
		return fmt.Errorf("examples: %w", err)
	}
	return nil
}

// takeLabels numbers the labels in order, by value where all are whole numbers.
func (s *Set) takeLabels(y *tensor.Tensor, o Options) error {
	words, ok := y.Raw().([]string)
	if !ok {
		values, err := numbers(y)
		if err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		words = make([]string, len(values))
		for i, v := range values {
			if v != math.Trunc(v) && o.Task == "" {
				return fmt.Errorf("label %d is %v, a number with fractions and no class: --task regression predicts a number, and --task classification takes each number for a class", i, v)
			}
			words[i] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	s.names = sortLabels(words)
	if len(s.names) > maxLabels {
		return fmt.Errorf("%d different labels, more than %d", len(s.names), maxLabels)
	}
	of := make(map[string]int64, len(s.names))
	for i, n := range s.names {
		of[n] = int64(i)
	}
	s.labels = make([]int64, len(words))
	for i, w := range words {
		s.labels[i] = of[w]
	}
	return nil
}

// finite returns the elements of a tensor as float32, and refuses what is not finite or too large for that.
func finite(t *tensor.Tensor) ([]float32, error) {
	if d, ok := t.Raw().([]float32); ok {
		for i, v := range d {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("element %d is %v, which is no finite number", i, v)
			}
		}
		return d, nil
	}
	values, err := numbers(t)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(values))
	for i, v := range values {
		if tooLarge(v) || math.IsNaN(v) {
			return nil, fmt.Errorf("element %d is %v, and a net's numbers are finite and of 32 bits, below 3.4e38", i, v)
		}
		out[i] = float32(v)
	}
	return out, nil
}

// numbers returns the elements of a tensor of any kind of number.
func numbers(t *tensor.Tensor) ([]float64, error) {
	switch d := t.Raw().(type) {
	case []float64:
		return d, nil
	case []float32:
		return widened(d), nil
	case []uint8:
		return widened(d), nil
	case []int8:
		return widened(d), nil
	case []uint16:
		return widened(d), nil
	case []int16:
		return widened(d), nil
	case []uint32:
		return widened(d), nil
	case []int32:
		return widened(d), nil
	case []uint64:
		return widened(d), nil
	case []int64:
		return widened(d), nil
	case []bool:
		out := make([]float64, len(d))
		for i, is := range d {
			if is {
				out[i] = 1
			}
		}
		return out, nil
	case []tensor.Half:
		out := make([]float64, len(d))
		for i, v := range d {
			out[i] = float64(v.Float32())
		}
		return out, nil
	}
	return nil, fmt.Errorf("elements of type %v are no numbers that can be trained on", t.DType())
}

func widened[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32](d []T) []float64 {
	out := make([]float64, len(d))
	for i, v := range d {
		out[i] = float64(v)
	}
	return out
}
