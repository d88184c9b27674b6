package gradient

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
)

// sumTo sums g, which has the shape of y, over the dimensions along which x was broadcast to y; others are the further
// operands of that broadcast.
func (t *tape) sumTo(g, y, x string, others ...string) string {
	sy, sx := t.shape(y), t.shape(x)
	if g == "" || sy == nil || sx == nil {
		if g == "" {
			return ""
		}
		return t.call(FuncSumToShape, nil, 1, g, t.op("Shape", x))[0]
	}
	lead := len(sy) - len(sx)
	var axes []int64
	for i := range lead {
		axes = append(axes, int64(i))
	}
	for i, dx := range sx {
		switch t.stretched(dx, sy[lead+i], len(sx)-i, others) {
		case yes:
			axes = append(axes, int64(lead+i))
		case unknown:
			return t.call(FuncSumToShape, nil, 1, g, t.op("Shape", x))[0]
		}
	}
	switch {
	case len(axes) == 0:
		return g
	case len(axes) == lead:
		return t.reduce("ReduceSum", g, false, axes...)
	}
	g = t.reduce("ReduceSum", g, true, axes...)
	if lead > 0 {
		g = t.op("Squeeze", g, t.ints(axes[:lead]...))
	}
	return g
}

type answer int

const (
	no answer = iota
	yes
	unknown
)

// stretched says whether a dimension dx, the fromEnd-th from the end, was broadcast to dy.
func (t *tape) stretched(dx, dy graph.Dim, fromEnd int, others []string) answer {
	switch {
	case dx.Known() && dx.Size == 1:
		return yes // summing over one element is harmless where dy is 1 too
	case dx.Known():
		return no
	case dx.Symbol != "" && dx.Symbol == dy.Symbol:
		return no
	case dy.Known() && dy.Size == 1:
		return no
	}
	if len(others) == 0 {
		return unknown
	}
	for _, o := range others {
		so := t.shape(o)
		if so == nil {
			return unknown
		}
		if k := len(so) - fromEnd; k >= 0 && !(so[k].Known() && so[k].Size == 1) {
			return unknown
		}
	}
	return no
}

// shapeOf returns an int64 vector of x's dimensions: a constant where they are known.
func (t *tape) shapeOf(x string) string {
	if s, ok := t.shape(x).Static(); ok {
		v := make([]int64, len(s))
		for i, d := range s {
			v[i] = int64(d)
		}
		return t.ints(v...)
	}
	return t.op("Shape", x)
}

// reshapeLike gives g, which has as many elements as x, x's shape.
func (t *tape) reshapeLike(g, x string) string {
	s := t.shape(x)
	if s == nil {
		return t.reshape(g, t.op("Shape", x))
	}
	dims := make([]int64, len(s))
	open := 0
	for i, d := range s {
		dims[i] = d.Size
		if !d.Known() {
			open++
			dims[i] = -1
		}
	}
	if open > 1 || open == 1 && slices.Contains(dims, 0) {
		return t.reshape(g, t.op("Shape", x))
	}
	return t.reshape(g, t.ints(dims...))
}

// dims returns an int64 vector of x's dimensions from to to, which are within its rank.
func (t *tape) dims(x string, from, to int) string {
	if s := t.shape(x); s != nil {
		v := make([]int64, 0, to-from)
		for _, d := range s[from:to] {
			if d.Known() {
				v = append(v, d.Size)
			}
		}
		if len(v) == to-from {
			return t.ints(v...)
		}
	}
	return t.section(t.op("Shape", x), int64(from), int64(to))
}

// product returns a vector of one element: the product of x's dimensions from to to.
func (t *tape) product(x string, from, to int) string {
	if from == to {
		return t.ints(1)
	}
	if s := t.shape(x); s != nil {
		if lengths, ok := s[from:to].Static(); ok {
			if p, err := infer.Product(lengths...); err == nil {
				return t.ints(int64(p))
			}
		}
	}
	return t.reduce("ReduceProd", t.dims(x, from, to), true)
}

// expandLike broadcasts g to x's shape.
func (t *tape) expandLike(g, x string) string { return t.op("Expand", g, t.shapeOf(x)) }

// mask turns a boolean into 0 and 1 of the variables' type.
func (t *tape) mask(cond string) string { return t.cast(cond, t.dtype) }

// along reshapes a vector so that it broadcasts along one axis of a value of that rank.
func (t *tape) along(v string, axis, rank int) string {
	dims := make([]int64, rank)
	for i := range dims {
		dims[i] = 1
	}
	dims[axis] = -1
	return t.op("Reshape", v, t.ints(dims...))
}

// axesBut returns the axes of a rank without one.
func axesBut(axis, rank int) []int64 {
	var axes []int64
	for i := range rank {
		if i != axis {
			axes = append(axes, int64(i))
		}
	}
	return axes
}
