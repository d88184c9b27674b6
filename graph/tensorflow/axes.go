package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// needRank returns the rank, or refuses.
func (c *call) needRank(v *value) int {
	if v.shape == nil {
		c.refuse("the rank of its input is not known; give the model's inputs a shape, such as --inputs \"x:0[-1,28,28,1]\"")
	}
	return len(v.shape)
}

// axis brings an axis into [0, rank).
func (c *call) axis(axis int64, rank int) int {
	if axis < -int64(rank) || axis >= int64(rank) {
		c.damaged("axis %d of a tensor of rank %d", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis)
}

func (c *call) transpose(v *value, perm ...int64) *value {
	same := true
	for i, p := range perm {
		same = same && int64(i) == p
	}
	if same {
		return v
	}
	return c.onnx("Transpose", graph.Attrs{"perm": slices.Clone(perm)}, v)
}

// reshape gives a value known dimensions; 0 is a length of zero, and one may be -1.
func (c *call) reshape(v *value, dims ...int64) *value {
	if s, ok := v.shape.Static(); ok && len(s) == len(dims) {
		same := true
		for i := range s {
			same = same && int64(s[i]) == dims[i]
		}
		if same {
			return v
		}
	}
	if v.con != nil && !slices.Contains(dims, -1) {
		shape := make([]int, len(dims))
		for i, d := range dims {
			shape[i] = int(d)
		}
		t, err := v.con.Reshape(shape...)
		if err != nil {
			c.damaged("%v", err)
		}
		if c.trained[v.name] { // no other constant's, which happens to be the same, as biases of a new net are
			out := &value{name: c.unique(c.hint("Reshape")), dtype: t.DType(), shape: graph.Dims(t.Shape()...), con: t}
			c.follow([]*value{v}, []*value{out})
			return out
		}
		return c.constant(c.hint("Reshape"), t)
	}
	var attrs graph.Attrs
	if slices.Contains(dims, 0) {
		attrs = graph.Attrs{"allowzero": int64(1)}
	}
	return c.onnx("Reshape", attrs, v, c.i64(dims...))
}

// reshapeTo gives a value the dimensions in a list that may be computed.
func (c *call) reshapeTo(v, shape *value) *value {
	shape = c.cast(shape, tensor.Int64)
	elements := c.elements(shape)
	if elements == nil {
		return c.onnx("Reshape", graph.Attrs{"allowzero": int64(1)}, v, shape)
	}
	dims := make([]int64, len(elements))
	rest, zero := 0, false
	for i, e := range elements {
		dims[i] = -1
		if e.Known {
			dims[i] = e.Value
			zero = zero || dims[i] == 0
		}
		if dims[i] == -1 {
			rest++
		}
	}
	if rest > 1 {
		if solved := solve(v.shape, elements); solved != nil {
			return c.reshape(v, solved...)
		}
	}
	if rest > 1 || rest == 1 && zero {
		if rest == 1 { // nothing to divide: say the length where it is known
			if n := v.size(); n == 0 {
				dims[slices.Index(dims, -1)] = 0
				return c.reshape(v, dims...)
			}
		}
		return c.onnx("Reshape", graph.Attrs{"allowzero": int64(1)}, v, shape)
	}
	return c.reshape(v, dims...)
}

// solve returns the dimensions of a Reshape to one length that is v's own, such as the batch, a -1, and known numbers: the -1 is then known where all other
// lengths of v are, and the length of v is what is to be found. It returns nil where that is not so.
func solve(shape graph.Shape, elements []infer.Element) []int64 {
	symbol, size := "", int64(1)
	for _, d := range shape {
		switch {
		case d.Known():
			size *= d.Size
		case symbol != "" || d.Symbol == "":
			return nil
		default:
			symbol = d.Symbol
		}
	}
	dims := make([]int64, len(elements))
	own, open, given := -1, -1, int64(1)
	for i, e := range elements {
		switch {
		case e.Known && e.Value == -1 && open < 0:
			open = i
		case e.Known && e.Value > 0:
			dims[i] = e.Value
			given *= e.Value
		case !e.Known && e.Symbol != "" && e.Symbol == symbol && own < 0:
			dims[i], own = -1, i
		default:
			return nil
		}
	}
	if own < 0 || open < 0 || size == 0 || size%given != 0 {
		return nil
	}
	dims[open] = size / given
	return dims
}

func (c *call) unsqueeze(v *value, axes ...int64) *value {
	if len(axes) == 0 {
		return v
	}
	return c.onnx("Unsqueeze", nil, v, c.i64(axes...))
}

func (c *call) squeeze(v *value, axes ...int64) *value {
	if len(axes) == 0 {
		return v
	}
	return c.onnx("Squeeze", nil, v, c.i64(axes...))
}

// shapeOf returns the shape as a list of int64.
func (c *call) shapeOf(v *value) *value {
	if s, ok := v.shape.Static(); ok {
		dims := make([]int64, len(s))
		for i, d := range s {
			dims[i] = int64(d)
		}
		return c.i64(dims...)
	}
	return c.onnx("Shape", nil, v)
}

// dim returns the length of an axis as a list of one.
func (c *call) dim(v *value, axis int) *value {
	if d := v.shape[axis]; d.Known() {
		return c.i64(d.Size)
	}
	return c.onnx("Shape", graph.Attrs{"start": int64(axis), "end": int64(axis + 1)}, v)
}

// concat joins lists of int64.
func (c *call) concat(parts ...*value) *value { return c.join(0, parts...) }

// join joins values along an axis.
func (c *call) join(axis int, parts ...*value) *value {
	if len(parts) == 1 {
		return parts[0]
	}
	return c.onnx("Concat", graph.Attrs{"axis": int64(axis)}, parts...)
}

// slice cuts from start to end along axes; steps are 1.
func (c *call) slice(v *value, axes, starts, ends []int64) *value {
	return c.onnx("Slice", nil, v, c.i64(starts...), c.i64(ends...), c.i64(axes...))
}
