package native

import "github.com/millrace/millrace/tensor"

// dequantizeLinear subtracts the zero point and multiplies by the scale.
func dequantizeLinear(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if zero := c.opt(2); zero.has() && zero.dtype != c.in[0].dtype {
		return c.errf("input 0 is %v, the zero point %v", c.in[0].dtype, zero.dtype)
	}
	s, err := c.scaling()
	if err != nil {
		return err
	}
	to := c.in[1].dtype
	if v := c.attrs.Int("output_dtype", 0); v != 0 {
		to = tensor.DType(min(max(v, 0), 255))
	}
	if s.scale, err = c.wide(&c.in[1]); err != nil {
		return err
	}
	a := quantizing{scaling: s, x: c.in[0].slot}
	out := -1
	switch to {
	case tensor.Float32:
		a.o, err = c.out(0, to, c.in[0].shape)
	case tensor.Float16, tensor.BFloat16:
		if out, err = c.out(0, to, c.in[0].shape); err == nil {
			a.o, err = c.scratchOf(tensor.Float32, c.in[0].shape)
		}
	default:
		return c.refuse("output of %v", to)
	}
	if err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Uint8:
		dequantize[uint8](c, a)
	case tensor.Int8:
		dequantize[int8](c, a)
	case tensor.Uint16:
		dequantize[uint16](c, a)
	case tensor.Int16:
		dequantize[int16](c, a)
	case tensor.Int32:
		dequantize[int32](c, a)
	case tensor.Uint4:
		dequantize[tensor.U4](c, a)
	case tensor.Int4:
		dequantize[tensor.I4](c, a)
	case tensor.Uint2:
		dequantize[tensor.U2](c, a)
	case tensor.Int2:
		dequantize[tensor.I2](c, a)
	case tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ, tensor.Float4E2M1:
		dequantizeFloat(c, a, d)
	default:
		return c.refuseType(d)
	}
	if out >= 0 {
		c.do(func(f *frame) { castInto(f.t[out], f.t[a.o]) })
	}
	return nil
}

// dequantizeFloat multiplies floating-point numbers of 8 or 4 bits by the scale.
func dequantizeFloat(c *prep, a quantizing, from tensor.DType) {
	table := tensor.SmallTable(from)
	part := func(f *frame, lo, hi int) {
		d, x, scales := data[float32](f, a.o), f.t[a.x].Bytes(), data[float32](f, a.scale)
		var zeros []byte
		if a.zero >= 0 {
			zeros = f.t[a.zero].Bytes()
		}
		for line := lo; line < hi; line++ {
			outer, place := line/max(a.dim, 1), line%max(a.dim, 1)
			for i := range a.inner {
				k, at := a.at(outer, place, i), line*a.inner+i
				v := table[x[at]]
				if zeros != nil {
					v -= table[zeros[k]]
				}
				d[at] = v * scales[k]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.outer*a.dim, max(1, grain/4/max(a.inner, 1)), part) })
}

func dequantize[Q quantized | int32](c *prep, a quantizing) {
	if d := tensor.DTypeOf[Q](); isByte(d) && a.scales == 0 {
		k := c.pl.e.kernel
		part := func(f *frame, lo, hi int) {
			k.Dequantize(data[float32](f, a.o)[lo:hi], f.t[a.x].Bytes()[lo:hi], a.offset(f), data[float32](f, a.scale)[0], d == tensor.Int8)
		}
		c.do(func(f *frame) { f.parallel(a.dim, grain, part) })
		return
	}
	part := func(f *frame, lo, hi int) {
		d, x, scales := data[float32](f, a.o), data[Q](f, a.x), data[float32](f, a.scale)
		var zeros []Q
		if a.zero >= 0 {
			zeros = data[Q](f, a.zero)
		}
		for line := lo; line < hi; line++ {
			outer, place := line/max(a.dim, 1), line%max(a.dim, 1)
			for i := range a.inner {
				k := a.at(outer, place, i)
				at := line*a.inner + i
				v := int64(x[at])
				if zeros != nil {
					v -= int64(zeros[k])
				}
				d[at] = float32(v) * scales[k]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.outer*a.dim, max(1, grain/4/max(a.inner, 1)), part) })
}
