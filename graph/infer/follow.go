package infer

import (
	"math"
	"math/bits"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// follow computes the values of the first output from those of the inputs, for the operators that shapes are computed with.
func (c *call) follow() {
	out := &c.out[0]
	if out.vals != nil {
		return
	}
	shape, ok := out.shape.Static()
	if !ok {
		return
	}
	if n, err := shape.Check(); err != nil || n > maxFollowed {
		return
	}
	switch c.n.OpType {
	case "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten":
		if v := c.arg(0).vals; len(v) == shape.Size() {
			out.vals = slices.Clone(v)
		}
	case "Cast", "CastLike":
		c.followCast(out)
	case "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or":
		c.followBinary(out, shape)
	case "Neg", "Abs", "Floor", "Ceil", "Not", "Sqrt":
		c.followUnary(out)
	case "Where":
		c.followWhere(out, shape)
	case "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin":
		c.followReduce(out, shape)
	}
	if len(out.vals) != shape.Size() {
		out.vals = nil
	}
	for i, v := range out.vals {
		out.vals[i] = v.as(out.dtype)
	}
}

func (c *call) followCast(out *info) {
	vals := c.arg(0).vals
	if vals == nil || out.dtype == tensor.String || out.dtype == tensor.Invalid {
		return
	}
	out.vals = make([]num, len(vals))
	for i, v := range vals {
		switch {
		case v.known && out.dtype == tensor.Bool:
			v = truth(!v.is(0))
		case v.known && v.isReal && out.dtype.IsInteger():
			v = truncated(v.real)
		case out.dtype == tensor.Bool:
			v = num{}
		}
		out.vals[i] = v
	}
}

// truncated is what a real number is as an integer; what no integer holds is not known.
func truncated(v float64) num {
	if v > -(1<<63) && v < 1<<63 {
		return number(int64(v))
	}
	return num{}
}

func (c *call) followUnary(out *info) {
	vals := c.arg(0).vals
	if vals == nil {
		return
	}
	out.vals = make([]num, len(vals))
	for i, v := range vals {
		switch {
		case !v.known:
		case c.n.OpType == "Not":
			out.vals[i] = truth(v.is(0))
		case v.isReal:
			out.vals[i] = realNumber(realUnary[c.n.OpType](v.real))
		case v.whole != math.MinInt64: // whose opposite is no integer
			out.vals[i] = v
			if c.n.OpType == "Neg" || c.n.OpType == "Abs" && v.whole < 0 {
				out.vals[i] = number(-v.whole)
			}
		}
	}
}

var realUnary = map[string]func(float64) float64{
	"Neg": func(v float64) float64 { return -v }, "Abs": math.Abs, "Floor": math.Floor, "Ceil": math.Ceil, "Sqrt": math.Sqrt,
}

func (c *call) followBinary(out *info, shape tensor.Shape) {
	if len(c.in) == 0 || c.attrs.Has("axis") || c.attrs.Bool("fmod", false) {
		return
	}
	acc := spread(c.arg(0), shape)
	for i := 1; i < len(c.in) && acc != nil; i++ {
		b := spread(c.arg(i), shape)
		if b == nil {
			return
		}
		for k := range acc {
			acc[k] = combine(c.n.OpType, acc[k], b[k])
		}
	}
	out.vals = acc
}

// spread broadcasts a value's elements to a shape, in a new slice.
func spread(v *info, shape tensor.Shape) []num {
	own, ok := v.shape.Static()
	if v.vals == nil || !ok || len(own) > len(shape) || own.Size() != len(v.vals) {
		return nil
	}
	for i, d := range own {
		if d != 1 && d != shape[len(shape)-len(own)+i] {
			return nil
		}
	}
	out := make([]num, shape.Size())
	index := make([]int, len(shape))
	for k := range out {
		at := 0
		for i, d := range own {
			j := index[len(shape)-len(own)+i]
			if d == 1 {
				j = 0
			}
			at = at*d + j
		}
		out[k] = v.vals[at]
		step(index, shape)
	}
	return out
}

// step moves an index to the next element in row-major order.
func step(index []int, shape tensor.Shape) {
	for i := len(index) - 1; i >= 0; i-- {
		if index[i]++; index[i] < shape[i] {
			return
		}
		index[i] = 0
	}
}

func combine(op string, a, b num) num {
	switch {
	case !a.known || !b.known:
		return combineSymbols(op, a, b)
	case a.isReal || b.isReal:
		return combineReals(op, a.float(), b.float())
	}
	return combineIntegers(op, a.whole, b.whole)
}

// combineIntegers gives nothing where the result is over 64 bits: how it wraps is the engine's matter.
func combineIntegers(op string, a, b int64) num {
	switch op {
	case "Add":
		if v, err := sumOf(a, b); err == nil {
			return number(v)
		}
	case "Sub":
		if v := a - b; (v < a) == (b > 0) {
			return number(v)
		}
	case "Mul":
		hi, lo := bits.Mul64(magnitude(a), magnitude(b))
		if negative := (a < 0) != (b < 0); hi == 0 && lo <= math.MaxInt64 {
			if negative {
				return number(-int64(lo))
			}
			return number(int64(lo))
		}
	case "Div":
		if b != 0 && (a != math.MinInt64 || b != -1) {
			return number(a / b)
		}
	case "Mod": // has the divisor's sign
		if b != 0 {
			r := a % b
			if r != 0 && (r < 0) != (b < 0) {
				r += b
			}
			return number(r)
		}
	case "Min":
		return number(min(a, b))
	case "Max":
		return number(max(a, b))
	case "And":
		return truth(a != 0 && b != 0)
	case "Or":
		return truth(a != 0 || b != 0)
	}
	return compare(op, a, b)
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

func combineReals(op string, a, b float64) num {
	switch op {
	case "Add":
		return realNumber(a + b)
	case "Sub":
		return realNumber(a - b)
	case "Mul":
		return realNumber(a * b)
	case "Div":
		return realNumber(a / b)
	case "Min":
		return realNumber(min(a, b))
	case "Max":
		return realNumber(max(a, b))
	}
	return compare(op, a, b)
}

func compare[T int64 | float64](op string, a, b T) num {
	switch op {
	case "Equal":
		return truth(a == b)
	case "Greater":
		return truth(a > b)
	case "Less":
		return truth(a < b)
	case "GreaterOrEqual":
		return truth(a >= b)
	case "LessOrEqual":
		return truth(a <= b)
	}
	return num{}
}

// combineSymbols keeps a symbol where the other operand changes nothing. A length is never negative.
func combineSymbols(op string, a, b num) num {
	switch op {
	case "Add":
		if a.is(0) {
			return b
		}
		if b.is(0) {
			return a
		}
	case "Sub", "Div":
		neutral := int64(0)
		if op == "Div" {
			neutral = 1
		}
		if b.is(neutral) {
			return a
		}
		if op == "Sub" && a.symbol != "" && a.symbol == b.symbol {
			return number(0)
		}
	case "Mul":
		if a.is(1) {
			return b
		}
		if b.is(1) {
			return a
		}
		if a.is(0) || b.is(0) {
			return number(0)
		}
	case "Equal":
		if a.symbol != "" && b.negative() || b.symbol != "" && a.negative() {
			return number(0)
		}
	case "Min", "Max":
		if a.symbol != "" && a.symbol == b.symbol {
			return a
		}
	}
	return num{}
}

func (c *call) followWhere(out *info, shape tensor.Shape) {
	cond, a, b := spread(c.arg(0), shape), spread(c.arg(1), shape), spread(c.arg(2), shape)
	if cond == nil || a == nil || b == nil {
		return
	}
	for i := range cond {
		switch {
		case !cond[i].known && a[i] == b[i]:
			cond[i] = a[i]
		case !cond[i].known:
			cond[i] = num{}
		case !cond[i].is(0):
			cond[i] = a[i]
		default:
			cond[i] = b[i]
		}
	}
	out.vals = cond
}

// followReduce reduces a list to one number.
func (c *call) followReduce(out *info, shape tensor.Shape) {
	in := c.arg(0)
	if in.vals == nil || in.rank() != 1 || shape.Size() != 1 || len(in.vals) == 0 {
		return
	}
	acc := in.vals[0]
	for _, v := range in.vals[1:] {
		switch c.n.OpType {
		case "ReduceProd":
			acc = combine("Mul", acc, v)
		case "ReduceSum":
			acc = combine("Add", acc, v)
		case "ReduceMax":
			acc = combine("Max", acc, v)
		case "ReduceMin":
			acc = combine("Min", acc, v)
		}
	}
	out.vals = []num{acc}
}
