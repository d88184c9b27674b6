package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// shapeOps ask for shapes and change them.
var shapeOps = map[string]operator{
	"Shape": one(func(c *call) *value { return c.shapeIn(c.shaped(0)) }), "ShapeN": shapeN, "Size": one(sizeOp), "Rank": one(rankOp),
	"Reshape": one(func(c *call) *value { return c.reshapeTo(c.arg(0), c.arg(1)) }), "Squeeze": one(squeezeOp), "ExpandDims": one(expandDims),
	"BroadcastTo": one(broadcastTo), "Fill": one(fillOp), "Range": one(rangeOp), "BroadcastArgs": one(broadcastArgs),
}

func (c *call) shapeIn(v *value) *value {
	return c.cast(c.shapeOf(v), c.dtype("out_type", graphdef.Int32))
}

func shapeN(c *call) []*value {
	var out []*value
	for i := range c.in {
		out = append(out, c.shapeIn(c.shaped(i)))
	}
	return out
}

func sizeOp(c *call) *value {
	x, to := c.shaped(0), c.dtype("out_type", graphdef.Int32)
	if n := x.size(); n >= 0 {
		return c.cast(c.index(int64(n)), to)
	}
	return c.cast(c.onnx("Size", nil, x), to)
}

func rankOp(c *call) *value {
	x := c.in[0]
	if x.shape == nil {
		return c.cast(c.onnx("Size", nil, c.onnx("Shape", nil, c.arg(0))), tensor.Int32)
	}
	return c.scalar(tensor.Int32, float64(len(x.shape)))
}

func squeezeOp(c *call) *value {
	x := c.arg(0)
	axes := c.ints("squeeze_dims")
	if len(axes) == 0 {
		axes = c.ints("axis")
	}
	if len(axes) > 0 {
		return c.squeeze(x, axes...)
	}
	for i, d := range x.shape {
		if !d.Known() { // which axes go depends on the lengths
			return c.onnx("Squeeze", nil, x)
		}
		if d.Size == 1 {
			axes = append(axes, int64(i))
		}
	}
	if x.shape == nil {
		return c.onnx("Squeeze", nil, x)
	}
	return c.squeeze(x, axes...)
}

func expandDims(c *call) *value { return c.unsqueeze(c.arg(0), c.constInt(1, "axis")) }

func broadcastTo(c *call) *value {
	x, shape := c.arg(0), c.arg(1)
	return c.expand(x, c.cast(shape, tensor.Int64))
}

// expand broadcasts to a shape.
func (c *call) expand(x, shape *value) *value {
	if dims, ok := c.knownInts(shape); ok {
		if own, static := x.shape.Static(); static && len(own) == len(dims) {
			same := true
			for i, d := range dims {
				same = same && int64(own[i]) == d
			}
			if same {
				return x
			}
		}
	}
	return c.onnx("Expand", nil, x, shape)
}

func fillOp(c *call) *value { return c.expand(c.arg(1), c.cast(c.arg(0), tensor.Int64)) }

func rangeOp(c *call) *value {
	start, limit, delta := c.arg(0), c.arg(1), c.arg(2)
	c.same(start, limit, delta)
	return c.num("Range", graph.Attrs{}, start, limit, delta)
}

func broadcastArgs(c *call) *value {
	a, b := c.pair()
	zero := c.like(a, 0)
	return c.cast(c.onnx("Shape", nil, c.onnx("Add", nil, c.expand(zero, c.cast(a, tensor.Int64)), c.expand(zero, c.cast(b, tensor.Int64)))), a.dtype)
}
