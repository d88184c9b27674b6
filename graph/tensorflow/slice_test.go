package tensorflow_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/tensor"
)

// pick takes the places of each axis, in order.
func pick(shape []int, places [][]int) []float64 {
	var out []float64
	at := make([]int, len(shape))
	var walk func(axis int)
	walk = func(axis int) {
		if axis == len(shape) {
			offset := 0
			for i, n := range shape {
				offset = offset*n + at[i]
			}
			out = append(out, float64(offset))
			return
		}
		for _, p := range places[axis] {
			at[axis] = p
			walk(axis + 1)
		}
	}
	walk(0)
	return out
}

// StridedSlice as Python slices: any step and bound, and every mask, on axes of any length, zero included.
func TestStridedSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 150 {
		rank := 1 + r.IntN(3)
		shape := make([]int, rank)
		for i := range shape {
			shape[i] = 1 + r.IntN(5)
		}
		size := 1
		for _, d := range shape {
			size *= d
		}
		in := tensor.Must(tensor.New(tensor.Float32, shape...))
		for i := range size {
			tensor.Data[float32](in)[i] = float32(i)
		}
		var begin, end, step []int
		var masks [5]int // begin, end, ellipsis, new axis, shrink
		var places [][]int
		var outShape []int
		axis, ellipsis := 0, r.IntN(3) == 0
		skip := 0
		if ellipsis {
			skip = r.IntN(rank + 1)
		}
		add := func(b, e, s int) int {
			begin, end, step = append(begin, b), append(end, e), append(step, s)
			return 1 << (len(begin) - 1)
		}
		for axis < rank || ellipsis {
			switch kind := r.IntN(6); {
			case ellipsis && (kind == 0 || axis == rank-skip):
				ellipsis = false
				masks[2] |= add(r.IntN(9), r.IntN(9), 1)
				for range skip {
					places = append(places, all(shape[axis]))
					outShape = append(outShape, shape[axis])
					axis++
				}
			case kind == 1:
				masks[3] |= add(r.IntN(9), r.IntN(9), 1)
				outShape = append(outShape, 1)
			case kind == 2:
				p := r.IntN(shape[axis])
				given := p
				if r.IntN(2) == 0 {
					given -= shape[axis]
				}
				masks[4] |= add(given, given+1, 1)
				places = append(places, []int{p})
				axis++
			default:
				s := []int{1, 1, 2, 3, -1, -2}[r.IntN(6)]
				b, e := r.IntN(13)-6, r.IntN(13)-6
				bit := add(b, e, s)
				if noBegin := r.IntN(3) == 0; noBegin {
					masks[0] |= bit
					b = map[bool]int{true: 0, false: shape[axis] - 1}[s > 0]
				} else {
					b = bound(b, shape[axis], s)
				}
				if noEnd := r.IntN(3) == 0; noEnd {
					masks[1] |= bit
					e = map[bool]int{true: shape[axis], false: -1}[s > 0]
				} else {
					e = bound(e, shape[axis], s)
				}
				var taken []int
				for p := b; s > 0 && p < e || s < 0 && p > e; p += s {
					taken = append(taken, p)
				}
				places = append(places, taken)
				outShape = append(outShape, len(taken))
				axis++
			}
		}
		declared := slices.Clone(shape)
		if n%2 == 0 {
			declared[r.IntN(rank)] = -1
		}
		text := placeholderText("x", "DT_FLOAT", declared...)
		for name, list := range map[string][]int{"begin": begin, "end": end, "step": step} {
			text += constText(name, "DT_INT32", []int{len(list)}, "int_val: ["+strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")+"]")
		}
		attrs := []string{"T", "type: DT_FLOAT", "Index", "type: DT_INT32"}
		for i, mask := range []string{"begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"} {
			attrs = append(attrs, mask, fmt.Sprint("i: ", masks[i]))
		}
		text += nodeText("out", "StridedSlice", []string{"x", "begin", "end", "step"}, attrs...)
		name := fmt.Sprintf("case %d: %v[%v:%v:%v] masks %v", n, shape, begin, end, step, masks)
		if outShape == nil {
			outShape = []int{}
		}
		checkOutput(t, name, text, map[string]*tensor.Tensor{"x:0": in}, "out:0", outShape, pick(shape, places))
	}
}

var inf = math.Inf(1)

func all(n int) []int {
	var out []int
	for i := range n {
		out = append(out, i)
	}
	return out
}

// bound is a bound of a slice as Python takes it.
func bound(v, n, step int) int {
	if v < 0 {
		v += n
	}
	if step > 0 {
		return min(max(v, 0), n)
	}
	return min(max(v, -1), n-1)
}

// Reductions over no axes, all, some, negative ones, and over axes of no length.
func TestReductions(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 40 {
		rank := 1 + r.IntN(3)
		shape := make([]int, rank)
		for i := range shape {
			shape[i] = 1 + r.IntN(4)
		}
		if n%4 == 0 {
			shape[r.IntN(rank)] = 0
		}
		var axes, given []int
		for i := range rank {
			if r.IntN(2) == 0 {
				axes, given = append(axes, i), append(given, i-rank*r.IntN(2))
			}
		}
		keep := r.IntN(2) == 0
		in := randomFloats(r, shape...)
		var outShape []int
		full := make([]int, rank)
		for i, d := range shape {
			switch full[i] = d; {
			case !slices.Contains(axes, i):
				outShape = append(outShape, d)
			case keep:
				outShape, full[i] = append(outShape, 1), 1
			default:
				full[i] = 1
			}
		}
		size := 1
		for _, d := range full {
			size *= d
		}
		ops := map[string]struct {
			first float64
			join  func(a, b float64) float64
		}{
			"Sum": {0, func(a, b float64) float64 { return a + b }}, "Prod": {1, func(a, b float64) float64 { return a * b }},
			"Max": {-inf, func(a, b float64) float64 { return max(a, b) }}, "Min": {inf, func(a, b float64) float64 { return min(a, b) }},
			"Mean": {0, func(a, b float64) float64 { return a + b }},
		}
		for op, o := range ops {
			want := make([]float64, size)
			counts := make([]float64, size)
			for i := range want {
				want[i] = o.first
			}
			for i, v := range tensor.Data[float32](in) {
				offset, rest := 0, i
				stride := 1
				for d := rank - 1; d >= 0; d-- {
					at := rest % shape[d]
					rest /= shape[d]
					if full[d] == shape[d] {
						offset += at * stride
					}
					stride *= full[d]
				}
				want[offset] = o.join(want[offset], float64(v))
				counts[offset]++
			}
			for i := range want {
				if op == "Mean" {
					want[i] /= counts[i]
				}
			}
			if outShape == nil {
				outShape = []int{}
			}
			text := placeholderText("x", "DT_FLOAT", shape...) +
				constText("axes", "DT_INT32", []int{len(given)}, "int_val: ["+strings.Trim(strings.ReplaceAll(fmt.Sprint(given), " ", ","), "[]")+"]") +
				nodeText("out", op, []string{"x", "axes"}, "T", "type: DT_FLOAT", "Tidx", "type: DT_INT32", "keep_dims", fmt.Sprint("b: ", keep))
			checkOutput(t, fmt.Sprintf("%s of %v over %v, keep %v", op, shape, given, keep), text, map[string]*tensor.Tensor{"x:0": in}, "out:0", outShape, want)
		}
	}
}
