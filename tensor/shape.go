package tensor

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrShape says that a shape has a negative dimension, is too large, or does not fit the data.
var ErrShape = errors.New("shape does not fit")

// A Shape is the length of each dimension, outermost first; an empty Shape is a scalar's.
type Shape []int

// Size returns the number of elements. It is 1 for a scalar and 0 where a dimension is 0.
func (s Shape) Size() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Check returns the number of elements, or ErrShape where a dimension is negative or the number overflows.
func (s Shape) Check() (int, error) {
	n := 1
	for _, d := range s {
		if d < 0 {
			return 0, fmt.Errorf("%w: %v has a negative dimension", ErrShape, s)
		}
		if d > 0 && n > math.MaxInt/16/d {
			return 0, fmt.Errorf("%w: %v has too many elements", ErrShape, s)
		}
		n *= d
	}
	return n, nil
}

// Equal reports whether both shapes have the same dimensions.
func (s Shape) Equal(o Shape) bool { return slices.Equal(s, o) }

// Clone returns a copy that is never nil.
func (s Shape) Clone() Shape { return append(Shape{}, s...) }

// String formats the shape as "[1,28,28]".
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteByte(']')
	return b.String()
}
