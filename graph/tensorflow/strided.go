package tensorflow

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// stridedSlice is x[spec, spec, ...]: each element of begin, end and strides is one spec, and bits in masks say that it is an ellipsis, a new
// axis, one index that drops its axis, or open at its begin or end.
func stridedSlice(c *call) *value {
	x := c.arg(0)
	steps := c.constInts(3, "strides")
	s := &strides{
		begin: c.spec(1, len(steps)), end: c.spec(2, len(steps)), steps: steps,
		beginMask: c.int("begin_mask", 0), endMask: c.int("end_mask", 0), ellipsis: c.int("ellipsis_mask", 0), newAxis: c.int("new_axis_mask", 0),
		shrink: c.int("shrink_axis_mask", 0),
	}
	if s.ellipsis&(s.ellipsis-1) != 0 {
		c.damaged("several ellipses")
	}
	return s.apply(c, x)
}

// spec is the begin or end of the specs: known numbers, and the value that has the others.
type spec struct {
	value *value
	known []int64
	is    []bool
}

func (c *call) spec(i, n int) spec {
	v := c.cast(c.arg(i), tensor.Int64)
	s := spec{value: v, known: make([]int64, n), is: make([]bool, n)}
	elements := c.elements(v)
	if v.size() >= 0 && v.size() != n {
		c.damaged("%d specs and %d strides", v.size(), n)
	}
	for j, e := range elements {
		if all, ok := c.knownInts(v); ok {
			s.known[j], s.is[j] = all[j], true
		} else if e.Known {
			s.known[j], s.is[j] = e.Value, true
		}
	}
	return s
}

// at returns element j as a list of one.
func (s spec) at(c *call, j int) *value {
	if s.is[j] {
		return c.i64(s.known[j])
	}
	return c.slice(s.value, []int64{0}, []int64{int64(j)}, []int64{int64(j + 1)})
}

type strides struct {
	begin, end                                    spec
	steps                                         []int64
	beginMask, endMask, ellipsis, newAxis, shrink int64
}

func (s *strides) apply(c *call, x *value) *value {
	n := len(s.steps)
	bit := func(mask int64, i int) bool { return mask>>i&1 != 0 }
	taken := 0 // axes that specs other than the ellipsis take
	for i := range n {
		if !bit(s.newAxis, i) && !bit(s.ellipsis, i) {
			taken++
		}
	}
	rank := -1
	if x.shape != nil {
		if rank = len(x.shape); taken > rank {
			c.damaged("%d specs of a tensor of shape %v", taken, x.shape)
		}
	}
	axis := 0 // of x
	out := 0  // of the result with dropped axes still there
	var starts, ends []*value
	var axes, steps, drop, add []int64
	for i := range n {
		switch {
		case bit(s.ellipsis, i):
			if rank < 0 && i < n-1 {
				c.needRank(x)
			}
			axis += rank - taken
			out += rank - taken
			continue
		case bit(s.newAxis, i):
			add = append(add, int64(out))
			out++
			continue
		}
		start, end, step, all := s.limits(c, i, bit)
		if step < 0 && !bit(s.beginMask, i) && !bit(s.shrink, i) {
			start, end = s.before(c, x, axis, i, start, end)
		}
		if !all {
			starts, ends = append(starts, start), append(ends, end)
			axes, steps = append(axes, int64(axis)), append(steps, step)
		}
		if bit(s.shrink, i) {
			drop = append(drop, int64(axis))
		} else {
			out++
		}
		axis++
	}
	if len(axes) > 0 {
		in := []*value{x, c.concat(starts...), c.concat(ends...), c.i64(axes...)}
		if slices.ContainsFunc(steps, func(v int64) bool { return v != 1 }) {
			in = append(in, c.i64(steps...))
		}
		x = c.onnx("Slice", nil, in...)
	}
	if len(drop) > 0 && x.shape != nil { // one index gives one element, also where its place is computed
		shape := append(graph.Shape{}, x.shape...)
		for _, a := range drop {
			shape[a] = graph.Dim{Size: 1}
		}
		x = c.declare(x, shape)
	}
	return c.unsqueeze(c.squeeze(x, drop...), add...)
}

// limits returns where spec i begins and ends, as lists of one, and its step; all says that it takes the whole axis.
func (s *strides) limits(c *call, i int, bit func(int64, int) bool) (start, end *value, step int64, all bool) {
	step = s.steps[i]
	if step == 0 {
		c.damaged("stride %d is 0", i)
	}
	if bit(s.shrink, i) {
		start = s.begin.at(c, i)
		if bit(s.beginMask, i) && s.begin.is[i] {
			start = c.i64(0)
		}
		if s.begin.is[i] {
			at := s.begin.known[i]
			if bit(s.beginMask, i) {
				at = 0
			}
			if at == -1 {
				return start, c.i64(math.MaxInt64), 1, false
			}
			return start, c.i64(at + 1), 1, false
		}
		last := c.onnx("Equal", nil, start, c.i64(-1))
		return start, c.onnx("Where", nil, last, c.i64(math.MaxInt64), c.onnx("Add", nil, start, c.i64(1))), 1, false
	}
	first, beyond := int64(0), int64(math.MaxInt64)
	if step < 0 {
		first, beyond = math.MaxInt64, math.MinInt64
	}
	if start = c.i64(first); !bit(s.beginMask, i) {
		start = s.begin.at(c, i)
	}
	if end = c.i64(beyond); !bit(s.endMask, i) {
		end = s.end.at(c, i)
	}
	zero := bit(s.beginMask, i) || s.begin.is[i] && s.begin.known[i] == 0
	return start, end, step, step == 1 && zero && bit(s.endMask, i)
}

// before corrects a slice that goes backwards: one that begins before the first element is empty, while ONNX's begins at it.
func (s *strides) before(c *call, x *value, axis, i int, start, end *value) (_, _ *value) {
	zero := c.i64(0)
	known := s.begin.is[i]
	at := s.begin.known[i]
	if known && at >= -1 {
		return start, end
	}
	if known && x.shape != nil && x.shape[axis].Known() {
		if at >= -x.shape[axis].Size {
			return start, end
		}
		return zero, zero
	}
	length := c.onnx("Shape", graph.Attrs{"start": int64(axis), "end": int64(axis + 1)}, x)
	empty := c.onnx("Less", nil, c.onnx("Add", nil, start, length), zero)
	return c.onnx("Where", nil, empty, zero, start), c.onnx("Where", nil, empty, zero, end)
}
