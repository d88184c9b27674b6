package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// activationOps are those between layers.
var activationOps = map[string]operator{
	"Relu": one(relu), "Relu6": one(relu6), "Elu": unary("Elu"), "Selu": unary("Selu"), "LeakyRelu": one(leakyRelu),
	"Sigmoid": unary("Sigmoid"), "Tanh": unary("Tanh"), "Softplus": one(softplus), "Softsign": unary("Softsign"),
	"Softmax": one(softmax("Softmax")), "LogSoftmax": one(softmax("LogSoftmax")),
}

// softplus of float64 is log(1 + e^-|x|) + max(x, 0): not every engine has a kernel of its own with all digits.
func softplus(c *call) *value {
	x := c.arg(0)
	if x.dtype != tensor.Float64 {
		return c.num("Softplus", nil, x)
	}
	k := *c
	k.in = []*value{c.onnx("Exp", nil, c.onnx("Neg", nil, c.onnx("Abs", nil, x)))}
	return c.onnx("Add", nil, log1p(&k), c.onnx("Max", nil, x, c.like(x, 0)))
}

// relu of integers is a maximum: engines have Relu for floats, and compute that of large integers through them.
func relu(c *call) *value {
	x := c.arg(0)
	switch {
	case x.dtype.IsFloat():
		return c.num("Relu", nil, x)
	case x.dtype.IsUnsigned():
		return x
	}
	return c.num("Max", nil, x, c.like(x, 0))
}

func relu6(c *call) *value {
	x := c.arg(0)
	if !x.dtype.IsFloat() {
		return c.num("Min", nil, relu(c), c.like(x, 6))
	}
	return c.num("Clip", nil, x, c.like(x, 0), c.like(x, 6))
}

func leakyRelu(c *call) *value {
	return c.num("LeakyRelu", graph.Attrs{"alpha": c.float("alpha", 0.2)}, c.arg(0))
}

// softmax is along the last axis.
func softmax(op string) func(c *call) *value {
	return func(c *call) *value { return c.num(op, graph.Attrs{"axis": int64(-1)}, c.arg(0)) }
}
