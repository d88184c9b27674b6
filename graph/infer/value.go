package infer

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// maxFollowed is the most elements of a tensor whose values are followed.
const maxFollowed = 4096

// num is an element of a tensor: an integer, a real number, a symbolic length, or unknown. Booleans are integers.
type num struct {
	known, isReal bool
	whole         int64   // of an integer
	real          float64 // of a real number
	symbol        string
}

func number(v int64) num { return num{known: true, whole: v} }

func realNumber(v float64) num { return num{known: true, isReal: true, real: v} }

// int returns a number as an integer, which saturates.
func (n num) int() int64 {
	switch {
	case !n.isReal:
		return n.whole
	case n.real >= math.MaxInt64:
		return math.MaxInt64
	case n.real <= math.MinInt64:
		return math.MinInt64
	case n.real != n.real:
		return 0
	}
	return int64(n.real)
}

func (n num) float() float64 {
	if n.isReal {
		return n.real
	}
	return float64(n.whole)
}

// is reports whether the number is known to be v.
func (n num) is(v int64) bool {
	return n.known && (!n.isReal && n.whole == v || n.isReal && n.real == float64(v))
}

// negative reports whether the number is known to be below 0.
func (n num) negative() bool { return n.known && n.float() < 0 }

func (n num) dim() graph.Dim {
	if n.known {
		return known(max(n.int(), -1))
	}
	return graph.Dim{Size: -1, Symbol: n.symbol}
}

// as returns the number as an element of that type holds it, and nothing where engines may differ.
func (n num) as(dtype tensor.DType) num {
	switch {
	case !n.known || dtype == tensor.Invalid:
		return n
	case dtype == tensor.Float32:
		return realNumber(float64(float32(n.float())))
	case dtype == tensor.Float64:
		return realNumber(n.float())
	case n.isReal || !holds(dtype, n.whole):
		return num{}
	}
	return n
}

// holds reports whether an element of an integer or boolean type can be v.
func holds(dtype tensor.DType, v int64) bool {
	switch dtype {
	case tensor.Int64:
		return true
	case tensor.Uint64:
		return v >= 0
	case tensor.Bool:
		return v == 0 || v == 1
	}
	if !dtype.IsInteger() {
		return false
	}
	bits := 8 * dtype.Size()
	if dtype.IsUnsigned() {
		return v >= 0 && v < 1<<bits
	}
	return v >= -1<<(bits-1) && v < 1<<(bits-1)
}

// numOf is a length as a number.
func numOf(d graph.Dim) num {
	if d.Known() {
		return number(d.Size)
	}
	return num{symbol: d.Symbol}
}

// maxFollowedReals is the most real numbers of a constant that are followed: scales and limits are few, weights are many.
const maxFollowedReals = 64

// constant returns what is known of a constant: all, where it is small.
func constant(t *tensor.Tensor) *info {
	if t == nil {
		return &info{}
	}
	v := &info{dtype: t.DType(), shape: graph.Dims(t.Shape()...)}
	if n := t.Size(); n <= maxFollowedReals || n <= maxFollowed && !t.DType().IsFloat() {
		v.vals = elements(t, n)
	}
	return v
}

func elements(t *tensor.Tensor, n int) []num {
	switch d := t.Raw().(type) {
	case []float32:
		return toReals(d, n)
	case []float64:
		return toReals(d, n)
	case []int8:
		return toNums(d, n)
	case []int16:
		return toNums(d, n)
	case []int32:
		return toNums(d, n)
	case []int64:
		return toNums(d, n)
	case []uint8:
		return toNums(d, n)
	case []uint16:
		return toNums(d, n)
	case []uint32:
		return toNums(d, n)
	case []uint64:
		return toNums(d, n)
	case []bool:
		out := make([]num, n)
		for i, v := range d {
			out[i] = truth(v)
		}
		return out
	}
	return nil
}

// toNums leaves out what an int64 does not hold.
func toNums[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](d []T, n int) []num {
	out := make([]num, n)
	for i, v := range d {
		if w := int64(v); v < 0 || w >= 0 {
			out[i] = number(w)
		}
	}
	return out
}

func toReals[T float32 | float64](d []T, n int) []num {
	out := make([]num, n)
	for i, v := range d {
		out[i] = realNumber(float64(v))
	}
	return out
}

func truth(v bool) num {
	if v {
		return number(1)
	}
	return number(0)
}

// ints returns the elements of input i as integers, where all are known.
func (c *call) ints(i int) ([]int64, bool) { return intsOf(c.arg(i).vals) }

// intsOf returns numbers as integers, where all are known.
func intsOf(vals []num) ([]int64, bool) {
	if vals == nil {
		return nil, false
	}
	out := make([]int64, len(vals))
	for k, v := range vals {
		if !v.known {
			return nil, false
		}
		out[k] = v.int()
	}
	return out, true
}

// length returns the number of elements of input i where it is a list of known length, else -1.
func (c *call) length(i int) int {
	if s := c.arg(i).shape; len(s) == 1 && s[0].Known() && s[0].Size <= maxFollowed {
		return int(s[0].Size)
	}
	return -1
}
