package tensorflow

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// moveOps cut, join, repeat and reorder.
var moveOps = map[string]operator{
	"ConcatV2": one(func(c *call) *value { return c.concatOp(len(c.in)-1, 0) }), "Concat": one(func(c *call) *value { return c.concatOp(0, 1) }),
	"Pack": one(pack), "Unpack": unpack, "Split": split, "SplitV": splitV, "Slice": one(sliceOp), "StridedSlice": one(stridedSlice),
	"Transpose": one(transposeOp), "ConjugateTranspose": one(transposeOp), "Tile": one(tile), "ReverseV2": one(reverse),
	"Pad": one(pad), "PadV2": one(pad), "MirrorPad": one(mirrorPad), "MatrixBandPart": one(matrixBandPart), "InvertPermutation": one(invertPermutation),
	"Roll": one(roll),
}

// concatOp joins inputs from first on along the axis that input at is.
func (c *call) concatOp(at, first int) *value {
	axis := c.constInt(at, "axis")
	parts := c.in[first:]
	if at > 0 {
		parts = c.in[:at]
	}
	var joined []*value
	for i := range parts {
		joined = append(joined, c.arg(first+i))
	}
	if len(joined) == 0 {
		c.damaged("it joins nothing")
	}
	c.same(joined...)
	rank := c.needRank(joined[0])
	return c.join(c.axis(axis, rank), joined...)
}

func pack(c *call) *value {
	parts := c.args(0)
	if len(parts) == 0 {
		c.damaged("it joins nothing")
	}
	c.same(parts...)
	axis := int64(c.axis(c.int("axis", 0), c.needRank(parts[0])+1))
	for i, p := range parts {
		parts[i] = c.unsqueeze(p, axis)
	}
	return c.join(int(axis), parts...)
}

// pieces splits a value along an axis.
func (c *call) pieces(x *value, axis int, sizes []int64) []*value {
	if len(sizes) == 1 {
		return []*value{x}
	}
	if len(sizes) == 0 {
		return nil
	}
	return c.multi("Split", len(sizes), graph.Attrs{"axis": int64(axis)}, x, c.i64(sizes...))
}

// even splits an axis into n pieces of the same length.
func (c *call) even(x *value, axis int, n int64) []*value {
	const most = 1 << 16
	if n < 0 || n > most {
		c.damaged("it makes %d pieces", n)
	}
	if n == 1 {
		return []*value{x}
	}
	if n == 0 {
		return nil
	}
	if d := x.shape[axis]; d.Known() {
		if d.Size%n != 0 {
			c.damaged("%d pieces of axis %d of shape %v", n, axis, x.shape)
		}
		return c.pieces(x, axis, slices.Repeat([]int64{d.Size / n}, int(n)))
	}
	return c.multi("Split", int(n), graph.Attrs{"axis": int64(axis)}, x)
}

func unpack(c *call) []*value {
	x := c.arg(0)
	rank := c.needRank(x)
	axis := c.axis(c.int("axis", 0), rank)
	n := c.int("num", 0)
	if d := x.shape[axis]; d.Known() && d.Size != n {
		c.damaged("it makes %d of axis %d of shape %v", n, axis, x.shape)
	}
	parts := c.even(x, axis, n)
	for i, p := range parts {
		parts[i] = c.squeeze(p, int64(axis))
	}
	return parts
}

func split(c *call) []*value {
	x := c.arg(1)
	axis := c.axis(c.constInt(0, "axis"), c.needRank(x))
	return c.even(x, axis, c.int("num_split", 1))
}

func splitV(c *call) []*value {
	x, sizes := c.arg(0), c.constInts(1, "sizes")
	axis := c.axis(c.constInt(2, "axis"), c.needRank(x))
	rest, sum := -1, int64(0)
	for i, n := range sizes {
		if n < 0 {
			rest = i
			continue
		}
		sum += n
	}
	if rest >= 0 {
		d := x.shape[axis]
		if !d.Known() {
			return c.restPieces(x, axis, sizes, rest)
		}
		sizes[rest] = d.Size - sum
	}
	return c.pieces(x, axis, sizes)
}

// restPieces splits an axis whose length is not known; piece rest is what the others leave.
func (c *call) restPieces(x *value, axis int, sizes []int64, rest int) []*value {
	before, after := int64(0), int64(0)
	for i, n := range sizes {
		if i < rest {
			before += n
		} else if i > rest {
			after += n
		}
	}
	axes := []int64{int64(axis)}
	out := make([]*value, len(sizes))
	at := int64(0)
	for i := range rest {
		out[i] = c.slice(x, axes, []int64{at}, []int64{at + sizes[i]})
		at += sizes[i]
	}
	end := int64(math.MaxInt64)
	if after > 0 {
		end = -after
	}
	out[rest] = c.slice(x, axes, []int64{before}, []int64{end})
	at = -after
	for i := rest + 1; i < len(sizes); i++ {
		end := at + sizes[i]
		if end == 0 {
			end = math.MaxInt64
		}
		out[i] = c.slice(x, axes, []int64{at}, []int64{end})
		at += sizes[i]
	}
	return out
}

// sliceOp takes size elements from begin; a size of -1 is all that follow.
func sliceOp(c *call) *value {
	x := c.arg(0)
	begin, size := c.cast(c.arg(1), tensor.Int64), c.cast(c.arg(2), tensor.Int64)
	rank := len(x.shape)
	if x.shape == nil {
		if rank = begin.size(); rank < 0 {
			c.needRank(x)
		}
	}
	axes := identityPerm(rank)
	starts, ok1 := c.knownInts(begin)
	sizes, ok2 := c.knownInts(size)
	if ok1 && ok2 && len(starts) == rank && len(sizes) == rank {
		ends := make([]int64, rank)
		for i := range ends {
			if ends[i] = starts[i] + sizes[i]; sizes[i] < 0 {
				ends[i] = math.MaxInt64
			}
		}
		return c.cutAxes(x, axes, starts, ends, nil)
	}
	rest := c.onnx("Less", nil, size, c.index(0))
	end := c.onnx("Where", nil, rest, c.index(math.MaxInt64), c.onnx("Add", nil, begin, size))
	y := c.onnx("Slice", nil, x, begin, end, c.i64(axes...))
	if elements := c.elements(size); elements != nil && len(elements) == rank { // lengths that are known beside those that are not
		shape := make(graph.Shape, rank)
		for i, e := range elements {
			shape[i] = graph.Dim{Size: -1}
			if e.Known && e.Value >= 0 {
				shape[i].Size = e.Value
			} else if !e.Known && e.Symbol != "" {
				shape[i].Symbol = e.Symbol
			}
		}
		y = c.declare(y, shape)
	}
	return y
}

// cutAxes is slice along those axes alone that it shortens; steps may be nil.
func (c *call) cutAxes(x *value, axes, starts, ends, steps []int64) *value {
	var a, s, e, t []int64
	stepped := false
	for i := range axes {
		step := int64(1)
		if steps != nil {
			step = steps[i]
		}
		if starts[i] == 0 && step == 1 && (ends[i] == math.MaxInt64 || x.shape != nil && x.shape[axes[i]].Known() && ends[i] >= x.shape[axes[i]].Size) {
			continue
		}
		a, s, e, t = append(a, axes[i]), append(s, starts[i]), append(e, ends[i]), append(t, step)
		stepped = stepped || step != 1
	}
	if len(a) == 0 {
		return x
	}
	in := []*value{x, c.i64(s...), c.i64(e...), c.i64(a...)}
	if stepped {
		in = append(in, c.i64(t...))
	}
	return c.onnx("Slice", nil, in...)
}

func transposeOp(c *call) *value {
	x := c.arg(0)
	perm := c.constInts(1, "permutation")
	for i, p := range perm {
		perm[i] = int64(c.axis(p, len(perm)))
	}
	return c.transpose(x, perm...)
}

func tile(c *call) *value {
	x, times := c.arg(0), c.arg(1)
	if n, ok := c.knownInts(times); ok && !slices.ContainsFunc(n, func(v int64) bool { return v != 1 }) {
		return x
	}
	return c.onnx("Tile", nil, x, c.cast(times, tensor.Int64))
}

func reverse(c *call) *value {
	x := c.arg(0)
	axes := c.constInts(1, "axes")
	rank := c.needRank(x)
	for i, a := range axes {
		axes[i] = int64(c.axis(a, rank))
	}
	return c.reverse(x, axes...)
}

func (c *call) reverse(x *value, axes ...int64) *value {
	if len(axes) == 0 {
		return x
	}
	n := len(axes)
	return c.onnx("Slice", nil, x, c.i64(slices.Repeat([]int64{-1}, n)...), c.i64(slices.Repeat([]int64{math.MinInt64}, n)...), c.i64(axes...), c.i64(slices.Repeat([]int64{-1}, n)...))
}

// padsOf turns TensorFlow's pairs into ONNX's list of begins, then ends.
func (c *call) padsOf(i int) *value {
	p := c.cast(c.arg(i), tensor.Int64)
	return c.reshape(c.transpose(p, 1, 0), -1)
}

func pad(c *call) *value {
	x := c.arg(0)
	pads := c.padsOf(1)
	if n, ok := c.knownInts(pads); ok && !slices.ContainsFunc(n, func(v int64) bool { return v != 0 }) {
		return x
	}
	in := []*value{x, pads}
	if len(c.in) > 2 {
		in = append(in, c.arg(2))
	}
	return c.padBy(in...)
}

// padBy is ONNX's Pad, of whose lengths those are known that are padded by known numbers.
func (c *call) padBy(in ...*value) *value {
	y := c.onnx("Pad", nil, in...)
	x, elements := in[0], c.elements(in[1])
	if _, ok := y.shape.Static(); ok || x.shape == nil || len(elements) != 2*len(x.shape) {
		return y
	}
	shape := make(graph.Shape, len(x.shape))
	for i, d := range x.shape {
		shape[i] = graph.Dim{Size: -1}
		begin, end := elements[i], elements[len(shape)+i]
		switch {
		case !begin.Known || !end.Known:
		case d.Known():
			shape[i] = dimOf(d.Size + begin.Value + end.Value)
		case begin.Value+end.Value == 0:
			shape[i] = d
		}
	}
	return c.declare(y, shape)
}

// mirrorPad reflects with the border (SYMMETRIC) or without it (REFLECT), axis by axis.
func mirrorPad(c *call) *value {
	x := c.arg(0)
	n, ok := c.knownInts(c.padsOf(1))
	rank := len(n) / 2
	if !ok {
		c.refuse("its paddings (input 1) must be constant")
	}
	offset := int64(1)
	switch mode := c.string("mode", ""); mode {
	case "REFLECT":
	case "SYMMETRIC":
		offset = 0
	default:
		c.refuse("mode %q", mode)
	}
	for i := range rank {
		parts := []*value{}
		axis := []int64{int64(i)}
		if begin := n[i]; begin > 0 {
			parts = append(parts, c.reverse(c.slice(x, axis, []int64{offset}, []int64{offset + begin}), int64(i)))
		}
		parts = append(parts, x)
		if end := n[rank+i]; end > 0 {
			to := -offset
			if to == 0 {
				to = math.MaxInt64
			}
			parts = append(parts, c.reverse(c.slice(x, axis, []int64{-offset - end}, []int64{to}), int64(i)))
		}
		x = c.join(i, parts...)
	}
	return x
}

// matrixBandPart keeps so many diagonals below and above the main one; a negative number is all.
func matrixBandPart(c *call) *value {
	x, lower, upper := c.arg(0), c.cast(c.arg(1), tensor.Int64), c.cast(c.arg(2), tensor.Int64)
	rank := c.needRank(x)
	if rank < 2 {
		c.damaged("a matrix of rank %d", rank)
	}
	steps := func(axis int) *value {
		return c.onnx("Range", nil, c.index(0), c.squeeze(c.dim(x, axis), 0), c.index(1))
	}
	below := c.onnx("Sub", nil, c.unsqueeze(steps(rank-2), 1), steps(rank-1))
	within := func(distance, limit *value) *value {
		return c.onnx("Or", nil, c.onnx("Less", nil, limit, c.index(0)), c.onnx("LessOrEqual", nil, distance, limit))
	}
	keep := c.onnx("And", nil, within(below, lower), within(c.onnx("Neg", nil, below), upper))
	return c.where(keep, x, c.like(x, 0))
}

func invertPermutation(c *call) *value {
	p := c.arg(0)
	d := c.needRank(p)
	if d != 1 {
		c.damaged("a permutation of rank %d", d)
	}
	n := c.dim(p, 0)
	order := c.onnx("Range", nil, c.index(0), c.squeeze(n, 0), c.index(1))
	return c.cast(c.onnx("ScatterElements", nil, c.onnx("Expand", nil, c.index(0), n), c.cast(p, tensor.Int64), order), p.dtype)
}

// roll shifts elements round along axes.
func roll(c *call) *value {
	x := c.arg(0)
	shifts, axes := c.constInts(1, "shift"), c.constInts(2, "axis")
	rank := c.needRank(x)
	if len(shifts) != len(axes) {
		c.damaged("%d shifts of %d axes", len(shifts), len(axes))
	}
	for i, a := range axes {
		axis := c.axis(a, rank)
		d := x.shape[axis]
		if !d.Known() {
			c.refuse("the length of axis %d is not known", axis)
		}
		if d.Size == 0 {
			continue
		}
		s := ((shifts[i] % d.Size) + d.Size) % d.Size
		if s == 0 {
			continue
		}
		at := []int64{int64(axis)}
		x = c.join(axis, c.slice(x, at, []int64{d.Size - s}, []int64{d.Size}), c.slice(x, at, []int64{0}, []int64{d.Size - s}))
	}
	return x
}
