package infer

import (
	"errors"
	"fmt"
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// makeRules are operators that make tensors from little or nothing.
var makeRules = rulesOf(map[string]rule{
	"Constant":                   inferConstant,
	"ConstantOfShape":            inferConstantOfShape,
	"Range":                      inferRange,
	"RandomNormal RandomUniform": inferRandom,
	"HannWindow HammingWindow BlackmanWindow": inferWindow,
	"Multinomial": func(c *call) error {
		dtype, err := c.dtypeAttr("dtype", tensor.Int32)
		batch := unknown
		if s := c.arg(0).shape; len(s) == 2 {
			batch = s[0]
		}
		samples := c.attrs.Int("sample_size", 1)
		if samples < 0 {
			return c.fail("sample_size %d", samples)
		}
		c.set(0, dtype, graph.Shape{batch, known(samples)})
		return err
	},
	"NonMaxSuppression": func(c *call) error {
		c.set(0, tensor.Int64, graph.Shape{unknown, known(3)})
		return nil
	},
	"MelWeightMatrix": func(c *call) error {
		dtype, err := c.dtypeAttr("output_datatype", tensor.Float32)
		shape := graph.Shape{unknown, unknown}
		if bins, ok := c.ints(0); ok && len(bins) == 1 {
			if bins[0] < 0 {
				return c.fail("%d mel bins", bins[0])
			}
			shape[1] = known(bins[0])
		}
		if size, ok := c.ints(1); ok && len(size) == 1 {
			if size[0] < 0 {
				return c.fail("a transform of length %d", size[0])
			}
			shape[0] = known(size[0]/2 + 1)
		}
		c.set(0, dtype, shape)
		return err
	},
})

// inferConstant reads whichever attribute holds the value.
func inferConstant(c *call) error {
	var t *tensor.Tensor
	for name, v := range c.attrs {
		switch v := v.(type) {
		case *tensor.Tensor:
			if name == "value" {
				t = v
			}
		case int64:
			t = tensor.Scalar(v)
		case float32:
			t = tensor.Scalar(v)
		case string:
			t = tensor.Scalar(v)
		case []int64:
			t = tensor.Vector(v...)
		case []float32:
			t = tensor.Vector(v...)
		case []string:
			t = tensor.Vector(v...)
		}
	}
	if t == nil {
		return c.fail("it has no value")
	}
	c.out[0] = *constant(t)
	return nil
}

func inferConstantOfShape(c *call) error {
	dtype, value := tensor.Float32, realNumber(0)
	if t := c.attrs.Tensor("value"); t != nil {
		v := constant(t)
		if dtype = v.dtype; len(v.vals) == 1 {
			value = v.vals[0]
		} else {
			value = num{}
		}
	}
	dims := c.arg(0).vals
	if dims == nil {
		c.set(0, dtype, unknownOfRank(c.length(0)))
		return nil
	}
	shape := make(graph.Shape, len(dims))
	for i, v := range dims {
		if v.negative() {
			return c.fail("dimension %d of the shape is %d", i, v.int())
		}
		shape[i] = v.dim()
	}
	c.set(0, dtype, shape)
	if size, ok := shape.Static(); ok {
		if n, err := size.Check(); err == nil && n <= maxFollowed {
			c.out[0].vals = make([]num, n)
			for i := range c.out[0].vals {
				c.out[0].vals[i] = value
			}
		}
	}
	return nil
}

func inferRange(c *call) error {
	dtype, err := c.sameType(0, 1, 2)
	if err != nil {
		return err
	}
	c.set(0, dtype, graph.Shape{unknown})
	one := func(i int) num {
		if v := c.arg(i).vals; len(v) == 1 {
			return v[0]
		}
		return num{}
	}
	start, limit, delta := one(0), one(1), one(2)
	if !start.known || !limit.known || !delta.known {
		if start.is(0) && delta.is(1) {
			c.out[0].shape[0] = limit.dim() // also a symbol's
		}
		return nil
	}
	var n int64
	if start.isReal || limit.isReal || delta.isReal {
		n, err = RangeLength(start.float(), limit.float(), delta.float())
	} else {
		n, err = RangeLength(start.whole, limit.whole, delta.whole)
	}
	if err != nil {
		return c.fail("%w", err)
	}
	c.out[0].shape[0] = known(n)
	if n <= maxFollowed {
		c.out[0].vals = make([]num, n)
		for i := range c.out[0].vals {
			v := num{}
			if step := combine("Mul", number(int64(i)), delta); step.known {
				v = combine("Add", start, step)
			}
			c.out[0].vals[i] = v.as(dtype)
		}
	}
	return nil
}

// RangeLength returns how many numbers there are from start on, delta apart, before limit. Integers are counted as such,
// floating-point numbers of both types in float64.
func RangeLength[T int16 | int32 | int64 | float32 | float64](start, limit, delta T) (int64, error) {
	if delta == 0 {
		return 0, errors.New("a step of 0")
	}
	if T(1)/2 != 0 { // a floating-point type
		n := math.Ceil((float64(limit) - float64(start)) / float64(delta))
		if !(n < 1<<63) {
			return 0, fmt.Errorf("from %v to %v by %v is too long", start, limit, delta)
		}
		return max(int64(n), 0), nil
	}
	first, last, step := int64(start), int64(limit), int64(delta)
	if first == last || (last > first) != (step > 0) {
		return 0, nil
	}
	distance, each := uint64(last)-uint64(first), magnitude(step)
	if step < 0 {
		distance = -distance
	}
	if n := (distance-1)/each + 1; n <= math.MaxInt64 {
		return int64(n), nil
	}
	return 0, fmt.Errorf("from %v to %v by %v is too long", start, limit, delta)
}

func inferRandom(c *call) error {
	dtype, err := c.dtypeAttr("dtype", tensor.Float32)
	if err != nil {
		return err
	}
	dims := c.attrs.Ints("shape", nil)
	shape := make(graph.Shape, len(dims))
	for i, d := range dims {
		if d < 0 {
			return c.fail("dimension %d of the shape is %d", i, d)
		}
		shape[i] = known(d)
	}
	c.set(0, dtype, shape)
	return nil
}

func inferWindow(c *call) error {
	dtype, err := c.dtypeAttr("output_datatype", tensor.Float32)
	if err != nil {
		return err
	}
	n := unknown
	if v := c.arg(0).vals; len(v) == 1 {
		n = v[0].dim()
	}
	c.set(0, dtype, graph.Shape{n})
	return nil
}
