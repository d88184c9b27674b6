package infer

import (
	"math"
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
	if out.dtype == tensor.Float32 {
		for i, v := range out.vals {
			out.vals[i].v = float64(float32(v.v))
		}
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
			v = truth(v.v != 0)
		case v.known && out.dtype.IsInteger():
			v.v = math.Trunc(v.v)
		case out.dtype == tensor.Bool:
			v = num{}
		}
		out.vals[i] = v
	}
}

func (c *call) followUnary(out *info) {
	vals := c.arg(0).vals
	if vals == nil {
		return
	}
	out.vals = make([]num, len(vals))
	for i, v := range vals {
		if !v.known {
			continue
		}
		switch c.n.OpType {
		case "Neg":
			v.v = -v.v
		case "Abs":
			v.v = math.Abs(v.v)
		case "Floor":
			v.v = math.Floor(v.v)
		case "Ceil":
			v.v = math.Ceil(v.v)
		case "Sqrt":
			v.v = math.Sqrt(v.v)
		case "Not":
			v = truth(v.v == 0)
		}
		out.vals[i] = v
	}
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
			acc[k] = combine(c.n.OpType, acc[k], b[k], c.arg(0).dtype.IsInteger())
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

func combine(op string, a, b num, integer bool) num {
	if !a.known || !b.known {
		return combineSymbols(op, a, b)
	}
	switch op {
	case "Add":
		return num{known: true, v: a.v + b.v}
	case "Sub":
		return num{known: true, v: a.v - b.v}
	case "Mul":
		return num{known: true, v: a.v * b.v}
	case "Div":
		if b.v == 0 {
			return num{}
		}
		if integer {
			return num{known: true, v: math.Trunc(a.v / b.v)}
		}
		return num{known: true, v: a.v / b.v}
	case "Mod":
		if b.v == 0 {
			return num{}
		}
		return num{known: true, v: a.v - b.v*math.Floor(a.v/b.v)}
	case "Min":
		return num{known: true, v: math.Min(a.v, b.v)}
	case "Max":
		return num{known: true, v: math.Max(a.v, b.v)}
	case "Equal":
		return truth(a.v == b.v)
	case "Greater":
		return truth(a.v > b.v)
	case "Less":
		return truth(a.v < b.v)
	case "GreaterOrEqual":
		return truth(a.v >= b.v)
	case "LessOrEqual":
		return truth(a.v <= b.v)
	case "And":
		return truth(a.v != 0 && b.v != 0)
	case "Or":
		return truth(a.v != 0 || b.v != 0)
	}
	return num{}
}

// combineSymbols keeps a symbol where the other operand changes nothing. A length is never negative.
func combineSymbols(op string, a, b num) num {
	is := func(n num, v float64) bool { return n.known && n.v == v }
	switch op {
	case "Add":
		if is(a, 0) {
			return b
		}
		if is(b, 0) {
			return a
		}
	case "Sub", "Div":
		neutral := 0.0
		if op == "Div" {
			neutral = 1
		}
		if is(b, neutral) {
			return a
		}
		if op == "Sub" && a.symbol != "" && a.symbol == b.symbol {
			return number(0)
		}
	case "Mul":
		if is(a, 1) {
			return b
		}
		if is(b, 1) {
			return a
		}
		if is(a, 0) || is(b, 0) {
			return number(0)
		}
	case "Equal":
		if a.symbol != "" && b.known && b.v < 0 || b.symbol != "" && a.known && a.v < 0 {
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
		case cond[i].v != 0:
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
			acc = combine("Mul", acc, v, true)
		case "ReduceSum":
			acc = combine("Add", acc, v, true)
		case "ReduceMax":
			acc = combine("Max", acc, v, true)
		case "ReduceMin":
			acc = combine("Min", acc, v, true)
		}
	}
	out.vals = []num{acc}
}
