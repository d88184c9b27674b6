package tensorflow

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// randomOps draw numbers. They are refused where the numbers matter; their shape may be all that is wanted, or their range, as in a
// dropout that keeps everything.
var randomOps = map[string]operator{
	"RandomUniform": random, "RandomStandardNormal": random, "RandomUniformInt": random, "TruncatedNormal": random, "Multinomial": random,
	"RandomShuffle": random, "RandomGamma": random, "RandomPoissonV2": random, "ParameterizedTruncatedNormal": random,
	"StatelessRandomUniform": random, "StatelessRandomUniformV2": random, "StatelessRandomNormal": random, "StatelessRandomNormalV2": random,
	"StatelessTruncatedNormal": random, "StatelessTruncatedNormalV2": random, "StatelessRandomUniformIntV2": random, "StatelessMultinomial": random,
	"StatelessRandomGetKeyCounter": randomKey, "StatelessRandomGetAlg": randomKey, "StatelessRandomGetKeyCounterAlg": randomKey,
	"StatefulUniform": random, "StatefulStandardNormalV2": random, "StatefulTruncatedNormal": random, "StatefulUniformInt": random,
}

// drawn says where random numbers lie: from low to below high. shape is what they are drawn in.
type drawn struct {
	low, high float64
	shape     *value
}

// randomKey is what other operators draw by.
func randomKey(*call) []*value {
	return []*value{{handle: "random key"}, {handle: "random key"}, {handle: "random key"}}
}

func random(c *call) []*value {
	c.st.fault = &fault{reason: "it draws random numbers, which have an effect on the output"}
	v := &value{bad: true, by: c.st, name: c.unique(c.hint("random")), dtype: tensor.Float32}
	if d, err := c.st.attrs.Type("dtype", graphdef.Float); err == nil {
		v.dtype = d.DType()
	}
	if len(c.in) == 0 || c.in[0].bad || c.in[0].handle != "" || !c.in[0].dtype.IsInteger() {
		return []*value{v}
	}
	shape := c.in[0]
	for _, e := range c.elements(shape) {
		d := graph.Dim{Size: -1, Symbol: e.Symbol}
		if e.Known {
			d = dimOf(e.Value)
		}
		v.shape = append(v.shape, d)
	}
	switch c.op {
	case "RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2":
		v.drawn = &drawn{low: 0, high: 1, shape: c.cast(shape, tensor.Int64)}
	}
	return []*value{v}
}

// drawnOps follow the range of random numbers through what a dropout does with them.
var drawnOps = map[string]operator{
	"Add": one(drawnBy(func(x, k float64) float64 { return x + k })), "AddV2": one(drawnBy(func(x, k float64) float64 { return x + k })),
	"Sub": one(drawnBy(func(x, k float64) float64 { return x - k })), "Mul": one(drawnBy(func(x, k float64) float64 { return x * k })),
	"Floor": one(drawnFloor), "GreaterEqual": one(drawnCompare), "Less": one(drawnCompare), "Cast": one(drawnCast),
}

// drawnBy moves a range by a constant number.
func drawnBy(f func(x, k float64) float64) func(c *call) *value {
	return func(c *call) *value {
		c.twoInputs()
		x, k := c.in[0], c.in[1]
		if x.drawn == nil && c.op != "Sub" {
			x, k = k, x
		}
		n, ok := number(k)
		if x.drawn == nil || !ok || c.op == "Mul" && n < 0 {
			panic(stopped{})
		}
		v := *x
		v.drawn = &drawn{low: f(x.drawn.low, n), high: f(x.drawn.high, n), shape: x.drawn.shape}
		return &v
	}
}

// twoInputs holds that there are two operands.
func (c *call) twoInputs() {
	if len(c.in) < 2 {
		c.damaged("it has %d inputs and needs 2", len(c.in))
	}
}

// number returns the value of a constant scalar.
func number(v *value) (float64, bool) {
	if v.con == nil || v.con.Size() != 1 || v.rank() != 0 {
		return 0, false
	}
	switch d := v.con.Raw().(type) {
	case []float32:
		return float64(d[0]), true
	case []float64:
		return d[0], true
	case []tensor.Half:
		return float64(d[0].Float32()), true
	case []tensor.BHalf:
		return float64(d[0].Float32()), true
	}
	return 0, false
}

// all is a constant in the shape of random numbers.
func (d *drawn) all(c *call, element *value) *value { return c.expand(element, d.shape) }

func drawnFloor(c *call) *value {
	d := c.in[0].drawn
	if d == nil || math.Floor(d.low) != math.Ceil(d.high)-1 {
		panic(stopped{})
	}
	return d.all(c, c.like(c.in[0], math.Floor(d.low)))
}

// drawnCompare knows a comparison that comes out alike for the whole range.
func drawnCompare(c *call) *value {
	c.twoInputs()
	d := c.in[0].drawn
	k, ok := number(c.in[1])
	if d == nil || !ok || d.low < k && d.high > k {
		panic(stopped{})
	}
	above := d.low >= k
	if (c.op == "GreaterEqual") == above {
		return d.all(c, c.scalar(tensor.Bool, 1))
	}
	return d.all(c, c.scalar(tensor.Bool, 0))
}

func drawnCast(c *call) *value {
	if c.in[0].drawn == nil {
		panic(stopped{})
	}
	v := *c.in[0]
	v.dtype = c.dtype("DstT", 0)
	if !v.dtype.IsFloat() {
		panic(stopped{})
	}
	return &v
}
