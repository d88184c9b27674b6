package infer

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// The exported functions below and in the files of the operators compute lengths from numbers. The rules of this package and the
// kernels of the engines call the same ones, so that what a graph says and what a run gives cannot differ. Their errors say
// what is wrong with the numbers; the caller adds the node's name.

// errOverflow is a length that 64 bits do not hold.
var errOverflow = errors.New("a length is over 2^63-1")

// sumOf adds lengths and paddings.
func sumOf(terms ...int64) (int64, error) {
	total := int64(0)
	for _, v := range terms {
		next := total + v
		if v > 0 && next < total || v < 0 && next > total {
			return 0, errOverflow
		}
		total = next
	}
	return total, nil
}

// Product multiplies lengths, of which none is negative.
func Product[T int | int64](lengths ...T) (T, error) {
	if slices.Contains(lengths, 0) {
		return 0, nil
	}
	product := T(1)
	for _, v := range lengths {
		hi, lo := bits.Mul64(uint64(product), uint64(v))
		if v < 0 || hi != 0 || lo > math.MaxInt64 || T(lo) < 0 || uint64(T(lo)) != lo {
			return 0, errOverflow
		}
		product = T(lo)
	}
	return product, nil
}

// Broadcast returns the shape of operands that are broadcast together.
func Broadcast(shapes ...tensor.Shape) (tensor.Shape, error) {
	symbolic := make([]graph.Shape, len(shapes))
	for i, s := range shapes {
		symbolic[i] = graph.Dims(s...)
	}
	out, err := broadcast(symbolic...)
	if err != nil {
		return nil, err
	}
	return static(out)
}

// static returns the lengths of a shape that has no others.
func static(s graph.Shape) (tensor.Shape, error) {
	out, ok := s.Static()
	if !ok {
		return nil, fmt.Errorf("shape %v is not known in full", s)
	}
	return out, nil
}
