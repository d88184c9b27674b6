package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// inferReshape keeps symbols: a dimension that is left to be computed is the symbol that is not accounted for.
func inferReshape(c *call) error {
	x := c.arg(0)
	target := c.arg(1).vals
	if !c.has(1) {
		given := c.attrs.Ints("shape", nil)
		if !c.attrs.Has("shape") {
			return c.fail("it has neither a second input nor an attribute shape")
		}
		target = make([]num, len(given))
		for i, v := range given {
			target[i] = number(v)
		}
	}
	if target == nil {
		c.set(0, x.dtype, unknownOfRank(c.length(1)))
		return nil
	}
	shape, err := reshaped(x.shape, target, c.attrs.Bool("allowzero", false))
	if err != nil {
		return c.fail("%w", err)
	}
	c.set(0, x.dtype, shape)
	return nil
}

// Reshape returns the shape that Reshape makes of x: in target, -1 is what is left over, and 0 copies x's dimension unless
// allowZero is set.
func Reshape(x tensor.Shape, target []int64, allowZero bool) (tensor.Shape, error) {
	nums := make([]num, len(target))
	for i, v := range target {
		nums[i] = number(v)
	}
	shape, err := reshaped(graph.Dims(x...), nums, allowZero)
	if err != nil {
		return nil, err
	}
	out, ok := shape.Static()
	if !ok { // the rest of nothing
		return nil, cannotBecome(graph.Dims(x...), shape)
	}
	return out, nil
}

func cannotBecome(x, shape graph.Shape) error {
	return fmt.Errorf("shape %v cannot become %v", x, shape)
}

func reshaped(x graph.Shape, target []num, allowZero bool) (graph.Shape, error) {
	shape := make(graph.Shape, len(target))
	rest := -1
	for i, v := range target {
		switch {
		case !v.known:
			shape[i] = v.dim()
		case v.is(-1):
			if rest >= 0 {
				return nil, errors.New("two dimensions of the shape are -1")
			}
			rest = i
			shape[i] = unknown
		case v.is(0) && !allowZero:
			shape[i] = unknown
			if x != nil {
				if i >= len(x) {
					return nil, fmt.Errorf("dimension %d is to be copied from shape %v", i, x)
				}
				shape[i] = x[i]
			}
		case v.negative():
			return nil, fmt.Errorf("dimension %d of the shape is %d", i, v.int())
		default:
			shape[i] = known(v.int())
		}
	}
	return shape, fillRest(x, shape, rest)
}

// fillRest computes dimension rest of a reshape (-1: none) and checks the number of elements.
func fillRest(x, shape graph.Shape, rest int) error {
	if x == nil {
		return nil
	}
	all := productOf(x)
	others := productOf(shape)
	if rest >= 0 {
		others = productOf(slices.Concat(shape[:rest], shape[rest+1:]))
	}
	if all.overflow || others.overflow {
		return fmt.Errorf("shape %v to %v: %w", x, shape, errOverflow)
	}
	if rest >= 0 {
		// Equal symbols cancel even where one of them may be zero: ONNX leaves that case undefined.
		d, ok := all.over(others)
		if !ok {
			return cannotBecome(x, shape)
		}
		shape[rest] = d
		return nil
	}
	if all.unknown || others.unknown || len(all.symbols) > 0 || len(others.symbols) > 0 {
		fillOne(all, shape)
		return nil
	}
	if all.size != others.size {
		return cannotBecome(x, shape)
	}
	return nil
}

// fillOne computes the only dimension of shape that nothing is known of.
func fillOne(all product, shape graph.Shape) {
	at := -1
	for i, d := range shape {
		if !d.Known() && d.Symbol == "" {
			if at >= 0 {
				return
			}
			at = i
		}
	}
	if at < 0 {
		return
	}
	if d, ok := all.over(productOf(slices.Concat(shape[:at], shape[at+1:]))); ok {
		shape[at] = d
	}
}

// unknownOfRank returns a shape of unknown dimensions; nil for a negative rank.
func unknownOfRank(rank int) graph.Shape {
	if rank < 0 {
		return nil
	}
	s := make(graph.Shape, rank)
	for i := range s {
		s[i] = unknown
	}
	return s
}
