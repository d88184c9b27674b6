package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// isNaN and isInf ask for NaN, and for infinities of the signs that attributes name.
func isNaN(c *prep) error { return classify(c, func(v float64) bool { return v != v }) }

func isInf(c *prep) error {
	positive, negative := c.attrs.Bool("detect_positive", true), c.attrs.Bool("detect_negative", true)
	return classify(c, func(v float64) bool { return positive && math.IsInf(v, 1) || negative && math.IsInf(v, -1) })
}

// classify answers a question about each number.
func classify(c *prep, is func(float64) bool) error {
	if err := c.need(1); err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return unary(c, 1, mapRow(func(v float32) bool { return is(float64(v)) }))
	case tensor.Float64:
		return unary(c, 1, mapRow(is))
	case tensor.Float16:
		return unary(c, 1, mapRow(func(v tensor.Half) bool { return is(float64(v.Float32())) }))
	case tensor.BFloat16:
		return unary(c, 1, mapRow(func(v tensor.BHalf) bool { return is(float64(v.Float32())) }))
	case tensor.Float8E4M3FN:
		return unary(c, 1, mapRow(func(v tensor.E4M3FN) bool { return is(float64(v.Float32())) }))
	case tensor.Float8E4M3FNUZ:
		return unary(c, 1, mapRow(func(v tensor.E4M3FNUZ) bool { return is(float64(v.Float32())) }))
	case tensor.Float8E5M2:
		return unary(c, 1, mapRow(func(v tensor.E5M2) bool { return is(float64(v.Float32())) }))
	case tensor.Float8E5M2FNUZ:
		return unary(c, 1, mapRow(func(v tensor.E5M2FNUZ) bool { return is(float64(v.Float32())) }))
	default:
		return c.refuseType(d)
	}
}
