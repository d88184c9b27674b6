package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

var unknown = graph.Dim{Size: -1}

// known is a dimension of that length; -1 is an unknown one.
func known(n int64) graph.Dim { return graph.Dim{Size: n} }

// sameDim reports whether two dimensions are known to be equal.
func sameDim(a, b graph.Dim) bool {
	if a.Known() || b.Known() {
		return a.Size == b.Size
	}
	return a.Symbol != "" && a.Symbol == b.Symbol
}

// mergeDim joins what two sources know of one dimension; prefer's symbol stays.
func mergeDim(prefer, other graph.Dim) (graph.Dim, bool) {
	switch {
	case prefer.Known() && other.Known():
		return prefer, prefer.Size == other.Size
	case prefer.Known():
		return prefer, true
	case other.Known():
		return other, true
	case prefer.Symbol != "":
		return prefer, true
	}
	return other, true
}

// mergeShape joins what two sources know of one shape.
func mergeShape(prefer, other graph.Shape) (graph.Shape, error) {
	switch {
	case prefer == nil:
		return other, nil
	case other == nil:
		return prefer, nil
	case len(prefer) != len(other):
		return nil, fmt.Errorf("%w %v", errShape, prefer)
	}
	out := prefer
	for i := range prefer {
		d, ok := mergeDim(prefer[i], other[i])
		if !ok {
			return nil, fmt.Errorf("%w %v", errShape, prefer)
		}
		if d == prefer[i] {
			continue
		}
		if &out[0] == &prefer[0] {
			out = slices.Clone(prefer)
		}
		out[i] = d
	}
	return out, nil
}

var (
	errType  = errors.New("it has another type")
	errShape = errors.New("it has shape")
)

// merge joins what is declared with what was found. Where lenient, what was found wins over a shape that does not fit.
func merge(declared, found *info, lenient bool) (*info, error) {
	out := *found
	if out.container == "" && found.dtype == tensor.Invalid {
		out.container = declared.container
	}
	if declared.container != out.container {
		return &out, nil // inference does not follow containers
	}
	switch {
	case found.dtype == tensor.Invalid:
		out.dtype = declared.dtype
	case declared.dtype != tensor.Invalid && declared.dtype != found.dtype:
		return nil, fmt.Errorf("%w: %v", errType, found.dtype)
	}
	shape, err := mergeShape(found.shape, declared.shape)
	if err != nil {
		if !lenient {
			return nil, err
		}
		shape = found.shape
	}
	if lenient && found.shape != nil {
		shape = found.shape
	}
	out.shape = shape
	return &out, nil
}

// broadcast returns the shape of operands that are broadcast together, or nil where a rank is unknown.
func broadcast(shapes ...graph.Shape) (graph.Shape, error) {
	rank := 0
	for _, s := range shapes {
		if s == nil {
			return nil, nil
		}
		rank = max(rank, len(s))
	}
	out := make(graph.Shape, rank)
	for i := range out {
		out[i] = known(1)
	}
	for _, s := range shapes {
		for i, d := range s {
			k := rank - len(s) + i
			joined, ok := broadcastDim(out[k], d)
			if !ok {
				return nil, fmt.Errorf("shapes %v cannot be broadcast together", shapes)
			}
			out[k] = joined
		}
	}
	return out, nil
}

func broadcastDim(a, b graph.Dim) (graph.Dim, bool) {
	switch {
	case a.Size == 1:
		return b, true
	case b.Size == 1:
		return a, true
	case a.Known() && b.Known():
		return a, a.Size == b.Size
	case a.Known():
		return a, true
	case b.Known():
		return b, true
	case sameDim(a, b):
		return a, true
	}
	return unknown, true
}

// mulDims multiplies dimensions; one symbol among ones stays.
func mulDims(dims ...graph.Dim) (graph.Dim, error) {
	p := productOf(dims)
	if p.overflow {
		return unknown, fmt.Errorf("%v: %w", graph.Shape(dims), errOverflow)
	}
	return p.dim(), nil
}

// product is a number times symbols, of which some may be unknown.
type product struct {
	size     int64
	symbols  []string
	unknown  bool
	overflow bool // of the number
}

func productOf(dims []graph.Dim) product {
	p := product{size: 1}
	lengths := make([]int64, 0, len(dims))
	for _, d := range dims {
		switch {
		case d.Known():
			lengths = append(lengths, d.Size)
		case d.Symbol != "":
			p.symbols = append(p.symbols, d.Symbol)
		default:
			p.unknown = true
		}
	}
	var err error
	if p.size, err = Product(lengths...); err != nil {
		p.unknown, p.overflow = true, true
	}
	return p
}

func (p product) dim() graph.Dim {
	switch {
	case p.size == 0 && !p.overflow:
		return known(0)
	case p.unknown:
		return unknown
	case len(p.symbols) == 0:
		return known(p.size)
	case len(p.symbols) == 1 && p.size == 1:
		return graph.Dim{Size: -1, Symbol: p.symbols[0]}
	}
	return unknown
}

// over divides p by q, which ok says is possible and exact; both must not be zero.
func (p product) over(q product) (graph.Dim, bool) {
	if p.unknown || q.unknown || q.size == 0 {
		return unknown, true
	}
	left := slices.Clone(p.symbols)
	for _, s := range q.symbols {
		i := slices.Index(left, s)
		if i < 0 {
			return unknown, true
		}
		left = slices.Delete(left, i, i+1)
	}
	if p.size%q.size != 0 {
		return unknown, len(left) > 0
	}
	return product{size: p.size / q.size, symbols: left}.dim(), true
}
