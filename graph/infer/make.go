package infer

import (
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
		c.set(0, dtype, graph.Shape{batch, known(max(c.attrs.Int("sample_size", 1), 0))})
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
			shape[1] = known(max(bins[0], 0))
		}
		if size, ok := c.ints(1); ok && len(size) == 1 {
			shape[0] = known(max(size[0]/2+1, 0))
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
	dtype, value := tensor.Float32, number(0)
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
		if v.known && v.v < 0 {
			return c.fail("dimension %d of the shape is %v", i, v.v)
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
	if start.known && start.v == 0 && delta.known && delta.v == 1 {
		c.out[0].shape[0] = limit.dim() // also a symbol's
	}
	if !start.known || !limit.known || !delta.known {
		return nil
	}
	if delta.v == 0 {
		return c.fail("a step of 0")
	}
	n := math.Max(0, math.Ceil((limit.v-start.v)/delta.v))
	if n > math.MaxInt32 || n != n {
		return c.fail("%v elements", n)
	}
	c.out[0].shape[0] = known(int64(n))
	if n <= maxFollowed {
		vals := make([]num, int(n))
		for i := range vals {
			vals[i] = num{known: true, v: start.v + float64(i)*delta.v}
		}
		c.out[0].vals = vals
	}
	return nil
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
