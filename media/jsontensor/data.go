package jsontensor

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// minElement is the fewest bytes that an element takes in JSON, with its comma.
const minElement = 2

// Data reads an array into a new tensor: flat, or nested exactly as shape says. Nothing is allocated for elements that cannot
// be there. Where scratch is given, float32 elements lie behind what it has, and it grows.
func (s *Scanner) Data(dtype tensor.DType, shape []int, scratch *[]float32) (*tensor.Tensor, error) {
	n, err := tensor.Shape(shape).Check()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", s.dialect.Malformed, err)
	}
	if s.Peek() != '[' {
		return nil, s.Unexpected("[")
	}
	if n > (len(s.b)-s.i)/minElement+1 {
		return nil, s.misfit("its shape %v needs %d elements, the data has fewer", tensor.Shape(shape), n)
	}
	var t *tensor.Tensor
	var all []float32
	if dtype == tensor.Float32 && scratch != nil {
		all = slices.Grow(*scratch, n)
		all = all[:len(all)+n]
		t, err = tensor.Of(all[len(all)-n:len(all):len(all)], shape...)
	} else {
		t, err = tensor.New(dtype, shape...)
	}
	if err != nil {
		return nil, err
	}
	w := walk{s: s, sizes: shape, most: n, given: true}
	if err := w.fill(t, 0); err != nil {
		return nil, err
	}
	if w.n != n {
		return nil, s.misfit("data has %d elements, its shape %v has %d", w.n, tensor.Shape(shape), n)
	}
	if all != nil {
		*scratch = all
	}
	return t, nil
}

// Into reads nested arrays, or a value without brackets, to dst from element at on, at most that many. It returns the shape
// that the nesting has.
func (s *Scanner) Into(dst *tensor.Tensor, at, most int) (tensor.Shape, error) {
	sizes := [MaxRank]int{}
	for i := range sizes {
		sizes[i] = -1
	}
	w := walk{s: s, sizes: sizes[:], most: most}
	if err := w.fill(dst, at); err != nil {
		return nil, err
	}
	return slices.Clone(sizes[:w.rank]), nil
}

// walk goes through the brackets of an array.
type walk struct {
	s     *Scanner
	sizes []int // of each dimension, -1 where it is not known yet
	given bool  // sizes are the shape that the data must have
	rank  int   // that the nesting has, 0 before it is known
	n     int   // elements that were read
	most  int
	leaf  func() error // reads elements up to the closing bracket, or the most of them
}

// fill reads elements to t from at on.
func (w *walk) fill(t *tensor.Tensor, at int) error {
	switch d := t.Raw().(type) {
	case []float32:
		w.leaf = func() (err error) {
			w.n, err = w.s.floats(d[at:at+w.most], w.n)
			return err
		}
		return w.values()
	case []float64:
		return elements(w, d[at:], (*Scanner).float64)
	case []tensor.Half:
		return elements(w, d[at:], half)
	case []tensor.BHalf:
		return elements(w, d[at:], bhalf)
	case []complex64:
		return elements(w, d[at:], func(s *Scanner) (complex64, error) {
			v, err := s.float32()
			return complex(v, 0), err
		})
	case []complex128:
		return elements(w, d[at:], func(s *Scanner) (complex128, error) {
			v, err := s.float64()
			return complex(v, 0), err
		})
	case []bool:
		return elements(w, d[at:], (*Scanner).Bool)
	case []string:
		return elements(w, d[at:], (*Scanner).String)
	case []int8:
		return elements(w, d[at:], signed[int8](8))
	case []int16:
		return elements(w, d[at:], signed[int16](16))
	case []int32:
		return elements(w, d[at:], signed[int32](32))
	case []int64:
		return elements(w, d[at:], signed[int64](64))
	case []uint8:
		return elements(w, d[at:], unsigned[uint8](8))
	case []uint16:
		return elements(w, d[at:], unsigned[uint16](16))
	case []uint32:
		return elements(w, d[at:], unsigned[uint32](32))
	case []uint64:
		return elements(w, d[at:], unsigned[uint64](64))
	}
	return w.s.Fault("%v elements have no form in JSON", t.DType())
}

func elements[T tensor.Element](w *walk, dst []T, element func(*Scanner) (T, error)) error {
	s := w.s
	w.leaf = func() error {
		for {
			if s.Peek() == ']' || w.n >= w.most {
				return nil
			}
			s.element = w.n
			v, err := element(s)
			if err != nil {
				return err
			}
			dst[w.n] = v
			w.n++
			if s.Peek() != ',' {
				return nil
			}
			s.i++
			if s.Peek() == ']' {
				return s.Unexpected("an element")
			}
		}
	}
	return w.values()
}

// values reads an array, or one value where no shape was given.
func (w *walk) values() error {
	if !w.given && w.s.Peek() != '[' {
		if w.most == 0 {
			return w.s.misfit("more than 0 elements")
		}
		w.most = 1
		start := w.s.i
		if err := w.leaf(); err != nil {
			return err
		}
		if w.n == 0 {
			return w.s.Unexpected("a value")
		}
		if text := bytes.TrimRight(w.s.Since(start), " \t\r\n"); text[len(text)-1] == ',' { // as within an array
			return w.s.Fault("a comma follows the only value")
		}
		return nil
	}
	return w.array(0)
}

func (w *walk) array(depth int) error {
	s := w.s
	if err := s.Expect('['); err != nil {
		return err
	}
	if s.Peek() != '[' {
		return w.row(depth)
	}
	if depth >= len(w.sizes)-1 {
		if w.given {
			return s.misfit("data is nested deeper than its shape %v", tensor.Shape(w.sizes))
		}
		return s.Fault("arrays are nested too deep")
	}
	for i := 0; ; i++ {
		if w.sizes[depth] >= 0 && i >= w.sizes[depth] {
			if !w.given {
				return s.Fault("an array has more than the %d elements of one before it", w.sizes[depth])
			}
			return s.misfit("data has more than %d elements in dimension %d of its shape %v", w.sizes[depth], depth, tensor.Shape(w.sizes))
		}
		if err := w.array(depth + 1); err != nil {
			return err
		}
		done, err := s.next()
		if err != nil {
			return err
		}
		if done {
			return w.length(depth, i+1)
		}
	}
}

// row reads an array of elements.
func (w *walk) row(depth int) error {
	s := w.s
	before := w.n
	if err := w.leaf(); err != nil {
		return err
	}
	got := w.n - before
	if c := s.Peek(); c != ']' && c != 0 && w.n >= w.most {
		if w.given {
			return s.misfit("data has more elements than its shape %v", tensor.Shape(w.sizes))
		}
		return s.misfit("more than %d elements", w.most)
	}
	switch {
	case !w.given && w.rank > 0 && w.rank != depth+1:
		return s.Fault("arrays of different depth stand side by side")
	case !w.given:
		w.rank = depth + 1
	case depth == 0:
		return s.Expect(']') // flat, as any shape may be
	case depth != len(w.sizes)-1 && got > 0:
		return s.misfit("data is nested less deep than its shape %v", tensor.Shape(w.sizes))
	case depth != len(w.sizes)-1:
		return s.Expect(']')
	}
	if err := w.length(depth, got); err != nil {
		return err
	}
	return s.Expect(']')
}

// length holds an array's length against its neighbours', or the shape.
func (w *walk) length(depth, n int) error {
	if w.sizes[depth] < 0 {
		w.sizes[depth] = n
	}
	if w.sizes[depth] == n {
		return nil
	}
	if w.given {
		return w.s.misfit("data has %d elements in dimension %d of its shape %v", n, depth, tensor.Shape(w.sizes))
	}
	return w.s.Fault("an array has %d elements, one before it %d", n, w.sizes[depth])
}

func half(s *Scanner) (tensor.Half, error) {
	v, err := s.float64()
	h := tensor.HalfOf64(v)
	if err == nil && !math.IsInf(v, 0) && math.IsInf(float64(h.Float32()), 0) {
		err = s.outOf("FP16", fmt.Sprint(v))
	}
	return h, err
}

func bhalf(s *Scanner) (tensor.BHalf, error) {
	v, err := s.float64()
	h := tensor.BHalfOf64(v)
	if err == nil && !math.IsInf(v, 0) && math.IsInf(float64(h.Float32()), 0) {
		err = s.outOf("BF16", fmt.Sprint(v))
	}
	return h, err
}

func signed[T int8 | int16 | int32 | int64](bits int) func(*Scanner) (T, error) {
	limit := uint64(1) << (bits - 1)
	return func(s *Scanner) (T, error) {
		mag, neg, err := s.whole()
		if err != nil {
			return 0, err
		}
		if mag > limit || mag == limit && !neg {
			return 0, s.outOf(fmt.Sprintf("INT%d", bits), sign(neg)+fmt.Sprint(mag))
		}
		if neg {
			return T(-int64(mag)), nil
		}
		return T(mag), nil
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](bits int) func(*Scanner) (T, error) {
	limit := uint64(math.MaxUint64) >> (64 - bits)
	return func(s *Scanner) (T, error) {
		mag, neg, err := s.whole()
		if err != nil {
			return 0, err
		}
		if mag > limit || neg && mag != 0 {
			return 0, s.outOf(fmt.Sprintf("UINT%d", bits), sign(neg)+fmt.Sprint(mag))
		}
		return T(mag), nil
	}
}

func sign(neg bool) string {
	if neg {
		return "-"
	}
	return ""
}
