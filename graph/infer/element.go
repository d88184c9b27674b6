package infer

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// elementRules are the operators that work element by element, or at least keep the shape.
var elementRules = rulesOf(map[string]rule{
	"Neg Abs Sqrt Exp Log Erf Sign Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Gelu Softplus Softsign " +
		"Mish Swish Reciprocal Floor Ceil Round Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh ThresholdedRelu Shrink " +
		"BitwiseNot Hardmax Softmax LogSoftmax LpNormalization MeanVarianceNormalization LRN CumSum CumProd Trilu Scatter " +
		"ScatterElements ScatterND TensorScatter ReverseSequence PRelu Clip RotaryEmbedding": keep,
	"Identity": inferIdentity,
	"Dropout":  inferDropout,
	"Not":      inferNot,
	"IsNaN IsInf": func(c *call) error {
		c.set(0, tensor.Bool, c.arg(0).shape)
		return nil
	},
	"Add Sub Mul Div Mod Pow BitShift BitwiseAnd BitwiseOr BitwiseXor StringConcat": inferBinary,
	"RegexFullMatch": func(c *call) error {
		c.set(0, tensor.Bool, c.arg(0).shape)
		return nil
	},
	"ImageDecoder": func(c *call) error {
		channels := known(3)
		if c.attrs.String("pixel_format", "RGB") == "Grayscale" {
			channels = known(1)
		}
		c.set(0, tensor.Uint8, graph.Shape{unknown, unknown, channels})
		return nil
	},
	"StringSplit": func(c *call) error {
		if x := c.arg(0).shape; x != nil {
			c.set(0, tensor.String, slices.Concat(x, graph.Shape{unknown}))
			c.set(1, tensor.Int64, x)
			return nil
		}
		c.set(0, tensor.String, nil)
		c.set(1, tensor.Int64, nil)
		return nil
	},
	"And Or Xor Equal Greater Less GreaterOrEqual LessOrEqual": inferComparison,
	"Min Max Sum Mean": inferVariadic,
	"Where":            inferWhere,
	"Cast BitCast":     inferCast,
	"CastLike":         inferCastLike,
	"QuantizeLinear":   inferQuantize,
	"DequantizeLinear": inferDequantize,
	"DynamicQuantizeLinear": func(c *call) error {
		c.set(0, tensor.Uint8, c.arg(0).shape)
		c.set(1, tensor.Float32, graph.Shape{})
		c.set(2, tensor.Uint8, graph.Shape{})
		return nil
	},
	"Bernoulli RandomNormalLike RandomUniformLike EyeLike": inferLike,
})

// rulesOf splits keys that name several operators.
func rulesOf(rules map[string]rule) map[string]rule {
	all := make(map[string]rule, 4*len(rules))
	for names, r := range rules {
		for _, name := range strings.Fields(names) {
			all[name] = r
		}
	}
	return all
}

// keep gives the first output the type and shape of the first input.
func keep(c *call) error {
	c.set(0, c.arg(0).dtype, c.arg(0).shape)
	return nil
}

func inferIdentity(c *call) error {
	c.out[0] = *c.arg(0)
	return nil
}

func inferDropout(c *call) error {
	x := c.arg(0)
	c.set(0, x.dtype, x.shape)
	mask := tensor.Bool
	if c.opset < 10 {
		mask = x.dtype
	}
	c.set(1, mask, x.shape)
	return nil
}

func inferNot(c *call) error {
	if d := c.arg(0).dtype; d != tensor.Invalid && d != tensor.Bool {
		return c.fail("Not of %v", d)
	}
	c.set(0, tensor.Bool, c.arg(0).shape)
	return nil
}

// broadcastArgs joins the shapes of inputs. Before opset 7 the second operand was stretched along an axis, and the
// result had the first one's shape.
func (c *call) broadcastArgs(inputs ...int) (graph.Shape, error) {
	if c.opset < 7 && len(inputs) == 2 {
		return c.arg(inputs[0]).shape, nil
	}
	shapes := make([]graph.Shape, len(inputs))
	same := true
	for i, in := range inputs {
		shapes[i] = c.arg(in).shape
		same = same && shapes[i] != nil && slices.EqualFunc(shapes[0], shapes[i], sameDim)
	}
	if same && len(shapes) > 0 {
		return shapes[0], nil
	}
	shape, err := broadcast(shapes...)
	if err != nil {
		return nil, c.fail("%w", err)
	}
	return shape, nil
}

func inferBinary(c *call) error {
	shape, err := c.broadcastArgs(0, 1)
	if err != nil {
		return err
	}
	dtype := c.arg(0).dtype
	if c.n.OpType != "Pow" { // whose exponent may be of another type
		if dtype, err = c.sameType(0, 1); err != nil {
			return err
		}
	}
	c.set(0, dtype, shape)
	return nil
}

func inferComparison(c *call) error {
	shape, err := c.broadcastArgs(0, 1)
	if err != nil {
		return err
	}
	if _, err := c.sameType(0, 1); err != nil {
		return err
	}
	c.set(0, tensor.Bool, shape)
	return nil
}

func inferVariadic(c *call) error {
	inputs := make([]int, len(c.in))
	for i := range inputs {
		inputs[i] = i
	}
	if len(inputs) == 0 {
		return c.fail("it has no inputs")
	}
	shape, err := c.broadcastArgs(inputs...)
	if err != nil {
		return err
	}
	dtype, err := c.sameType(inputs...)
	if err != nil {
		return err
	}
	c.set(0, dtype, shape)
	return nil
}

func inferWhere(c *call) error {
	shape, err := c.broadcastArgs(0, 1, 2)
	if err != nil {
		return err
	}
	dtype, err := c.sameType(1, 2)
	if err != nil {
		return err
	}
	c.set(0, dtype, shape)
	return nil
}

// dtypeAttr returns the element type that an attribute names by number, or by name as in opset 1.
func (c *call) dtypeAttr(name string, def tensor.DType) (tensor.DType, error) {
	switch v := c.attrs[name].(type) {
	case int64:
		d := tensor.DType(v)
		if v < 0 || v > 255 || !d.Valid() {
			return tensor.Invalid, nil // a type that Millrace has not; engines refuse it
		}
		return d, nil
	case string:
		if d, ok := oldNames[v]; ok {
			return d, nil
		}
		return tensor.Invalid, c.fail("attribute %q names the unknown element type %q", name, v)
	}
	return def, nil
}

var oldNames = map[string]tensor.DType{
	"FLOAT": tensor.Float32, "UINT8": tensor.Uint8, "INT8": tensor.Int8, "UINT16": tensor.Uint16, "INT16": tensor.Int16,
	"INT32": tensor.Int32, "INT64": tensor.Int64, "STRING": tensor.String, "BOOL": tensor.Bool, "FLOAT16": tensor.Float16,
	"DOUBLE": tensor.Float64, "UINT32": tensor.Uint32, "UINT64": tensor.Uint64, "COMPLEX64": tensor.Complex64,
	"COMPLEX128": tensor.Complex128,
}

func inferCast(c *call) error {
	dtype, err := c.dtypeAttr("to", tensor.Invalid)
	if err != nil {
		return err
	}
	c.set(0, dtype, c.arg(0).shape)
	return nil
}

func inferCastLike(c *call) error {
	c.set(0, c.arg(1).dtype, c.arg(0).shape)
	return nil
}

func inferQuantize(c *call) error {
	dtype := tensor.Uint8
	if c.has(2) {
		dtype = c.arg(2).dtype
	} else if d, err := c.dtypeAttr("output_dtype", dtype); err != nil {
		return err
	} else if c.attrs.Int("output_dtype", 0) != 0 {
		dtype = d
	}
	c.set(0, dtype, c.arg(0).shape)
	return nil
}

func inferDequantize(c *call) error {
	dtype := tensor.Float32
	if c.opset >= 19 {
		dtype = c.arg(1).dtype
	}
	if c.attrs.Int("output_dtype", 0) != 0 {
		var err error
		if dtype, err = c.dtypeAttr("output_dtype", dtype); err != nil {
			return err
		}
	}
	c.set(0, dtype, c.arg(0).shape)
	return nil
}

func inferLike(c *call) error {
	dtype, err := c.dtypeAttr("dtype", c.arg(0).dtype)
	if err != nil {
		return err
	}
	c.set(0, dtype, c.arg(0).shape)
	return nil
}
