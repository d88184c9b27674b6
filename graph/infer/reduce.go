package infer

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// reduceRules are reductions and searches along axes.
var reduceRules = rulesOf(map[string]rule{
	"ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare": inferReduce,
	"ArgMax ArgMin": inferArg,
	"TopK":          inferTopK,
	"NonZero": func(c *call) error {
		rank := unknown
		if r := c.arg(0).rank(); r >= 0 {
			rank = known(int64(max(r, 1)))
			if r == 0 {
				rank = unknown // implementations differ for scalars
			}
		}
		c.set(0, tensor.Int64, graph.Shape{rank, unknown})
		return nil
	},
	"Unique": inferUnique,
	"Det":    inferDet,
})

// inferReduce reads the axes from the second input (opset 18; ReduceSum 13) or from the attribute.
func inferReduce(c *call) error {
	x := c.arg(0)
	keepdims := c.attrs.Bool("keepdims", true)
	axes := c.attrs.Ints("axes", nil)
	given := c.attrs.Has("axes")
	if c.has(1) {
		var ok bool
		if axes, ok = c.ints(1); !ok {
			shape := graph.Shape(nil)
			switch n := c.length(1); {
			case x.shape == nil:
			case keepdims:
				shape = make(graph.Shape, len(x.shape))
				for i := range shape {
					shape[i] = unknown
				}
			case n > 0 && n <= len(x.shape):
				shape = make(graph.Shape, len(x.shape)-n)
				for i := range shape {
					shape[i] = unknown
				}
			}
			c.set(0, x.dtype, shape)
			return nil
		}
		given = true
	}
	if len(axes) == 0 && c.attrs.Bool("noop_with_empty_axes", false) {
		c.set(0, x.dtype, x.shape)
		return nil
	}
	if x.shape == nil {
		shape := graph.Shape(nil)
		if len(axes) == 0 && !keepdims {
			shape = graph.Shape{}
		}
		c.set(0, x.dtype, shape)
		return nil
	}
	all := !given || len(axes) == 0
	index, err := c.axes(axes, len(x.shape))
	if err != nil {
		return err
	}
	shape := graph.Shape{}
	for i, d := range x.shape {
		switch {
		case !all && !slices.Contains(index, i):
			shape = append(shape, d)
		case keepdims:
			shape = append(shape, known(1))
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

func inferArg(c *call) error {
	x := c.arg(0)
	if x.shape == nil {
		c.set(0, tensor.Int64, nil)
		return nil
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), len(x.shape))
	if err != nil {
		return err
	}
	shape := slices.Clone(x.shape)
	if c.attrs.Bool("keepdims", true) {
		shape[axis] = known(1)
	} else {
		shape = slices.Delete(shape, axis, axis+1)
	}
	c.set(0, tensor.Int64, shape)
	return nil
}

func inferTopK(c *call) error {
	x := c.arg(0)
	shape := slices.Clone(x.shape)
	if shape != nil {
		axis, err := c.axis(c.attrs.Int("axis", -1), len(shape))
		if err != nil {
			return err
		}
		length := shape[axis]
		k := num{}
		if v, ok := c.attrs["k"].(int64); ok {
			k = number(v)
		} else if v := c.arg(1).vals; len(v) == 1 {
			k = v[0]
		}
		if k.negative() || k.known && length.Known() && k.int() > length.Size {
			return c.fail("k is %d, and axis %d has %v elements", k.int(), axis, length)
		}
		shape[axis] = k.dim()
	}
	c.set(0, x.dtype, shape)
	c.set(1, tensor.Int64, shape)
	return nil
}

func inferUnique(c *call) error {
	x := c.arg(0)
	shape := graph.Shape{unknown}
	if c.attrs.Has("axis") {
		if shape = slices.Clone(x.shape); shape != nil {
			axis, err := c.axis(c.attrs.Int("axis", 0), len(shape))
			if err != nil {
				return err
			}
			shape[axis] = unknown
		}
	}
	c.set(0, x.dtype, shape)
	for i := 1; i < 4; i++ {
		c.set(i, tensor.Int64, graph.Shape{unknown})
	}
	return nil
}

func inferDet(c *call) error {
	x := c.arg(0)
	if r := x.rank(); r >= 0 && r < 2 {
		return c.fail("the determinant of shape %v", x.shape)
	} else if r >= 2 {
		c.set(0, x.dtype, x.shape[:r-2])
		return nil
	}
	c.set(0, x.dtype, nil)
	return nil
}
