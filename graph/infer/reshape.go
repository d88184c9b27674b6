package infer

import (
	"slices"

	"github.com/millrace/millrace/graph"
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
	shape := make(graph.Shape, len(target))
	rest := -1
	for i, v := range target {
		switch {
		case !v.known:
			shape[i] = v.dim()
		case v.v == -1:
			if rest >= 0 {
				return c.fail("two dimensions of the shape are -1")
			}
			rest = i
			shape[i] = unknown
		case v.v == 0 && !c.attrs.Bool("allowzero", false):
			shape[i] = unknown
			if x.shape != nil {
				if i >= len(x.shape) {
					return c.fail("dimension %d is to be copied from shape %v", i, x.shape)
				}
				shape[i] = x.shape[i]
			}
		case v.v < 0:
			return c.fail("dimension %d of the shape is %v", i, v.v)
		default:
			shape[i] = known(v.int())
		}
	}
	if err := c.fillRest(shape, rest); err != nil {
		return err
	}
	c.set(0, x.dtype, shape)
	return nil
}

// fillRest computes dimension rest of a reshape (-1: none) and checks the number of elements.
func (c *call) fillRest(shape graph.Shape, rest int) error {
	x := c.arg(0).shape
	if x == nil {
		return nil
	}
	all := productOf(x)
	if rest >= 0 {
		others := productOf(slices.Concat(shape[:rest], shape[rest+1:]))
		// Equal symbols cancel even where one of them may be zero: ONNX leaves that case undefined.
		d, ok := all.over(others)
		if !ok {
			return c.fail("shape %v cannot become %v", x, shape)
		}
		shape[rest] = d
		return nil
	}
	want := productOf(shape)
	if all.unknown || want.unknown || len(all.symbols) > 0 || len(want.symbols) > 0 {
		fillOne(all, shape)
		return nil
	}
	if all.size != want.size {
		return c.fail("shape %v cannot become %v", x, shape)
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
