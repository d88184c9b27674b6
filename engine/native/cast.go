package native

import (
	"math"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// cast changes the element type.
func cast(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if !c.attrs.Has("to") {
		return c.refuse("no attribute to")
	}
	to := tensor.Invalid
	switch c.attrs.Kind("to") {
	case "INT":
		if v := c.attrs.Int("to", 0); v > 0 && v < 256 {
			to = tensor.DType(v)
		}
	case "STRING": // opset 1
		d, err := legacyType(c.attrs.String("to", ""))
		if err != nil {
			return c.refuse("to %q", c.attrs.String("to", ""))
		}
		to = d
	}
	return castTo(c, to)
}

// castLike casts to the type of input 1.
func castLike(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	return castTo(c, c.in[1].dtype)
}

func legacyType(name string) (tensor.DType, error) {
	switch name {
	case "FLOAT":
		return tensor.Float32, nil
	case "DOUBLE":
		return tensor.Float64, nil
	}
	return tensor.ParseDType(strings.ToLower(name))
}

func castTo(c *prep, to tensor.DType) error {
	in := &c.in[0]
	if !castable(in.dtype) || !castable(to) {
		return c.refuse("%v to %v", in.dtype, to)
	}
	r, err := c.rounding()
	if err != nil {
		return err
	}
	if to == in.dtype {
		return c.alias(0, in, in.shape)
	}
	o, err := c.out(0, to, in.shape)
	if err != nil {
		return err
	}
	if in.dtype == tensor.String {
		s := in.slot
		c.step(func(f *frame) error { return parseInto(f.t[o], data[string](f, s), r) })
		return nil
	}
	if to.Small() {
		c.do(c.toSmall(o, in, r))
		return nil
	}
	c.convert(o, in)
	return nil
}

// convert adds a step that converts an input's elements to the type of a slot of its shape.
func (c *prep) convert(o int, in *info) {
	c.do(c.conversion(o, in.slot, in.size(), in.carries == carriesRows))
}

func (c *prep) conversion(o, s, n int, rows bool) func(f *frame) {
	return func(f *frame) {
		n := n
		if rows {
			n = f.rows(n)
		}
		castFirst(f.t[o], f.t[s], n)
	}
}

func castable(d tensor.DType) bool {
	return d.IsFloat() || d.IsInteger() || d == tensor.Bool || d == tensor.String || d.Small()
}

// castInto converts src to dst's type, element by element. It reports false for types that it does not convert:
// complex numbers, from strings, and to the small types, for which castSmall is.
func castInto(dst, src *tensor.Tensor) bool { return castFirst(dst, src, src.Size()) }

// castFirst is castInto for the first n elements.
func castFirst(dst, src *tensor.Tensor, n int) bool {
	switch s := src.Raw().(type) {
	case []float32:
		return castFrom(dst.Raw(), s[:n])
	case []float64:
		return castFrom(dst.Raw(), s[:n])
	case []int8:
		return castFrom(dst.Raw(), s[:n])
	case []int16:
		return castFrom(dst.Raw(), s[:n])
	case []int32:
		return castFrom(dst.Raw(), s[:n])
	case []int64:
		return castFrom(dst.Raw(), s[:n])
	case []uint8:
		return castFrom(dst.Raw(), s[:n])
	case []uint16:
		return castFrom(dst.Raw(), s[:n])
	case []uint32:
		return castFrom(dst.Raw(), s[:n])
	case []uint64:
		return castFrom(dst.Raw(), s[:n])
	case []bool:
		return castBool(dst.Raw(), s[:n])
	case []tensor.Half:
		return castHalf(dst.Raw(), s[:n])
	case []tensor.BHalf:
		return castHalf(dst.Raw(), s[:n])
	}
	return src.DType().Small() && castFromSmall(dst.Raw(), src, n)
}

func castFrom[S real](dst any, src []S) bool {
	switch d := dst.(type) {
	case []float32:
		castNumber(d, src)
	case []float64:
		castNumber(d, src)
	case []int8:
		castNumber(d, src)
	case []int16:
		castNumber(d, src)
	case []int32:
		castNumber(d, src)
	case []int64:
		castNumber(d, src)
	case []uint8:
		castNumber(d, src)
	case []uint16:
		castNumber(d, src)
	case []uint32:
		castNumber(d, src)
	case []uint64:
		castNumber(d, src)
	case []bool:
		for i, v := range src {
			d[i] = v != 0
		}
	case []tensor.Half:
		for i, v := range src {
			d[i] = tensor.HalfOf64(float64(v))
		}
	case []tensor.BHalf:
		for i, v := range src {
			d[i] = tensor.BHalfOf64(float64(v))
		}
	case []string:
		for i, v := range src {
			d[i] = format(v)
		}
	default:
		return false
	}
	return true
}

func castNumber[D, S real](dst []D, src []S) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = D(v)
	}
}

// castBool makes 1 of true.
func castBool(dst any, src []bool) bool {
	if d, ok := dst.([]bool); ok {
		copy(d, src)
		return true
	}
	if d, ok := dst.([]string); ok {
		for i, v := range src {
			d[i] = map[bool]string{true: "True", false: "False"}[v]
		}
		return true
	}
	var buf [256]uint8
	for at := 0; at < len(src); at += len(buf) {
		n := min(len(buf), len(src)-at)
		for i, v := range src[at : at+n] {
			buf[i] = 0
			if v {
				buf[i] = 1
			}
		}
		if !castFrom(part8(dst, at, n), buf[:n]) {
			return false
		}
	}
	return true
}

func castHalf[S interface{ Float32() float32 }](dst any, src []S) bool {
	if d, ok := dst.([]float32); ok {
		for i, v := range src {
			d[i] = v.Float32()
		}
		return true
	}
	var buf [256]float32
	for at := 0; at < len(src); at += len(buf) {
		n := min(len(buf), len(src)-at)
		for i, v := range src[at : at+n] {
			buf[i] = v.Float32()
		}
		if !castFrom(part8(dst, at, n), buf[:n]) {
			return false
		}
	}
	return true
}

// part8 is dst[at:at+n] of a slice of any element type.
func part8(dst any, at, n int) any {
	switch d := dst.(type) {
	case []float32:
		return d[at : at+n]
	case []float64:
		return d[at : at+n]
	case []int8:
		return d[at : at+n]
	case []int16:
		return d[at : at+n]
	case []int32:
		return d[at : at+n]
	case []int64:
		return d[at : at+n]
	case []uint8:
		return d[at : at+n]
	case []uint16:
		return d[at : at+n]
	case []uint32:
		return d[at : at+n]
	case []uint64:
		return d[at : at+n]
	case []bool:
		return d[at : at+n]
	case []tensor.Half:
		return d[at : at+n]
	case []tensor.BHalf:
		return d[at : at+n]
	case []string:
		return d[at : at+n]
	}
	return nil
}

// format writes a number in the shortest form that reads back the same.
func format[S real](v S) string {
	switch x := any(v).(type) {
	case float32:
		return formatFloat(float64(x), 32)
	case float64:
		return formatFloat(x, 64)
	case uint64:
		return strconv.FormatUint(x, 10)
	}
	return strconv.FormatInt(int64(v), 10)
}

func formatFloat(x float64, bits int) string {
	switch {
	case math.IsInf(x, 1):
		return "INF"
	case math.IsInf(x, -1):
		return "-INF"
	case x != x:
		return "NaN"
	}
	return strconv.FormatFloat(x, 'g', -1, bits)
}

// parseInto reads numbers from strings, plain or with an exponent, and infinities and NaN.
func parseInto(dst *tensor.Tensor, src []string, r tensor.Rounding) error {
	if d, ok := dst.Raw().([]bool); ok {
		for i, s := range src {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil {
				return err
			}
			d[i] = v != 0
		}
		return nil
	}
	small := dst.DType().Small()
	for i, s := range src {
		s = strings.TrimSpace(s)
		if small {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil && !math.IsInf(v, 0) {
				return err
			}
			dst.Bytes()[i] = tensor.SmallOf(dst.DType(), v, r)
			continue
		}
		one := part8(dst.Raw(), i, 1)
		switch d := dst.DType(); {
		case d.IsSigned():
			v, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return err
			}
			castFrom(one, []int64{v})
		case d.IsUnsigned():
			v, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				return err
			}
			castFrom(one, []uint64{v})
		case d == tensor.Float32: // rounded once
			v, err := strconv.ParseFloat(s, 32)
			if err != nil && !math.IsInf(v, 0) {
				return err
			}
			castFrom(one, []float64{v})
		default:
			v, err := strconv.ParseFloat(s, 64)
			if err != nil && !math.IsInf(v, 0) {
				return err
			}
			castFrom(one, []float64{v})
		}
	}
	return nil
}
