package tensorflow

import "github.com/millrace/millrace/graph"

// activationOps are those between layers.
var activationOps = map[string]operator{
	"Relu": unary("Relu"), "Relu6": one(relu6), "Elu": unary("Elu"), "Selu": unary("Selu"), "LeakyRelu": one(leakyRelu),
	"Sigmoid": unary("Sigmoid"), "Tanh": unary("Tanh"), "Softplus": unary("Softplus"), "Softsign": unary("Softsign"),
	"Softmax": one(softmax("Softmax")), "LogSoftmax": one(softmax("LogSoftmax")),
}

func relu6(c *call) *value {
	x := c.arg(0)
	return c.num("Clip", nil, x, c.like(x, 0), c.like(x, 6))
}

func leakyRelu(c *call) *value {
	return c.num("LeakyRelu", graph.Attrs{"alpha": c.float("alpha", 0.2)}, c.arg(0))
}

// softmax is along the last axis.
func softmax(op string) func(c *call) *value {
	return func(c *call) *value { return c.num(op, graph.Attrs{"axis": int64(-1)}, c.arg(0)) }
}
