package infer

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// maxFollowed is the most elements of a tensor whose values are followed.
const maxFollowed = 4096

// num is an element of a tensor: a number, a symbolic length, or unknown. Integers beyond 2^53 lose digits, which no
// length has.
type num struct {
	known  bool
	v      float64
	symbol string
}

func number(v int64) num { return num{known: true, v: float64(v)} }

// int returns a number as an integer, which saturates.
func (n num) int() int64 {
	switch {
	case n.v >= math.MaxInt64:
		return math.MaxInt64
	case n.v <= math.MinInt64:
		return math.MinInt64
	case n.v != n.v:
		return 0
	}
	return int64(n.v)
}

func (n num) dim() graph.Dim {
	if n.known {
		return known(max(n.int(), -1))
	}
	return graph.Dim{Size: -1, Symbol: n.symbol}
}

// numOf is a length as a number.
func numOf(d graph.Dim) num {
	if d.Known() {
		return number(d.Size)
	}
	return num{symbol: d.Symbol}
}

// constant returns what is known of a constant: all, where it is small.
func constant(t *tensor.Tensor) *info {
	if t == nil {
		return &info{}
	}
	v := &info{dtype: t.DType(), shape: graph.Dims(t.Shape()...)}
	if n := t.Size(); n <= maxFollowed {
		v.vals = elements(t, n)
	}
	return v
}

func elements(t *tensor.Tensor, n int) []num {
	switch d := t.Raw().(type) {
	case []float32:
		return toNums(d, n)
	case []float64:
		return toNums(d, n)
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

func toNums[T float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](d []T, n int) []num {
	out := make([]num, n)
	for i, v := range d {
		out[i] = num{known: true, v: float64(v)}
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
func (c *call) ints(i int) ([]int64, bool) {
	vals := c.arg(i).vals
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
