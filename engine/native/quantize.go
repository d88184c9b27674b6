package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// A scaling says which scale and zero point each element of a tensor has: one for all, one for each place along an axis,
// or one for each block of places along it.
type scaling struct {
	outer, dim, inner int
	block             int
	scales            int // along the axis; 0: one for all
	scale, zero       int // slots; zero is -1 where it is left out
}

// at returns which scale the elements of a line have.
func (s *scaling) at(outer, place, inner int) int {
	switch {
	case s.scales == 0:
		return 0
	case s.block == 0:
		return place
	}
	return (outer*s.scales+place/s.block)*s.inner + inner
}

// places notes in k which scale the elements from at on have.
func (s *scaling) places(at int, k []int) {
	if s.scales == 0 {
		clear(k)
		return
	}
	line := at / s.inner
	outer, place, inner := line/s.dim, line%s.dim, at%s.inner
	wide, dim := s.inner, s.dim
	if s.block == 0 {
		for i := range k {
			k[i] = place
			if inner++; inner == wide {
				if inner, place = 0, place+1; place == dim {
					place = 0
				}
			}
		}
		return
	}
	for i := range k {
		k[i] = s.at(outer, place, inner)
		if inner++; inner == wide {
			if inner, place = 0, place+1; place == dim {
				outer, place = outer+1, 0
			}
		}
	}
}

// scaling reads the scale (input 1) and the zero point (input 2) of input 0.
func (c *prep) scaling() (s scaling, err error) {
	in, scale, zero := &c.in[0], &c.in[1], c.opt(2)
	s = scaling{outer: 1, dim: in.size(), inner: 1, scale: scale.slot, zero: zero.slot}
	if zero.has() && !zero.shape.Equal(scale.shape) && !(zero.size() == 1 && scale.size() == 1) {
		return s, c.errf("the scale has shape %v, the zero point %v", scale.shape, zero.shape)
	}
	block := int(c.attrs.Int("block_size", 0))
	if block < 0 {
		return s, c.errf("block_size is %d", block)
	}
	if scale.size() == 1 && len(scale.shape) <= 1 && block == 0 {
		return s, nil
	}
	axis, err := c.axis(c.attrs.Int("axis", 1), len(in.shape))
	if err != nil {
		return s, err
	}
	if len(in.shape) == 0 {
		return s, c.errf("a scalar with scales of shape %v", scale.shape)
	}
	s.outer, s.dim, s.inner = in.shape[:axis].Size(), in.shape[axis], in.shape[axis+1:].Size()
	if block == 0 {
		if len(scale.shape) != 1 || scale.shape[0] != s.dim {
			return s, c.errf("scales of shape %v for dimension %d of %v", scale.shape, axis, in.shape)
		}
		s.scales = s.dim
		return s, nil
	}
	s.block, s.scales = block, (s.dim+block-1)/block
	want := in.shape.Clone()
	want[axis] = s.scales
	if !scale.shape.Equal(want) {
		return s, c.errf("scales of shape %v for blocks of %d along dimension %d of %v; they must have shape %v", scale.shape, block, axis, in.shape, want)
	}
	return s, nil
}

// wide declares the float32 form of a scale.
func (c *prep) wide(in *info) (int, error) {
	if in.dtype == tensor.Float32 {
		return in.slot, nil
	}
	if d := in.dtype; d != tensor.Float16 && d != tensor.BFloat16 && d != tensor.Int32 && (!d.Small() || d.SmallInteger()) {
		return 0, c.refuse("a scale of %v", in.dtype)
	}
	s, err := c.scratchOf(tensor.Float32, in.shape)
	if err != nil {
		return 0, err
	}
	from := in.slot
	c.do(func(f *frame) { castInto(f.t[s], f.t[from]) })
	return s, nil
}

// quantizedType is what the zero point or output_dtype says.
func (c *prep) quantizedType() tensor.DType {
	d := tensor.Uint8
	if v := c.attrs.Int("output_dtype", 0); v > 0 && v < 256 {
		d = tensor.DType(v)
	}
	if zero := c.opt(2); zero.has() {
		d = zero.dtype
	}
	return d
}

// A division has the precision that the attribute says, or that of the scale. With the attribute, what is divided is rounded to it too.
type division struct {
	operand, quotient func(float32) float32 // nil: nothing is rounded
}

func (c *prep) division() (v division, err error) {
	d, named := c.in[1].dtype, c.attrs.Int("precision", 0)
	if named != 0 {
		d = tensor.DType(min(max(named, 0), 255))
	}
	switch {
	case d == tensor.Float32 || d == tensor.Int32 && named == 0 || d.Small() && named == 0:
		return v, nil
	case d == tensor.Float16:
		v.quotient = func(v float32) float32 { return tensor.HalfOf(v).Float32() }
	case d == tensor.BFloat16:
		v.quotient = func(v float32) float32 { return tensor.BHalfOf(v).Float32() }
	default:
		return v, c.refuse("precision of %v", d)
	}
	if named != 0 {
		v.operand = v.quotient
	}
	return v, nil
}

// by divides one number.
func (v *division) by(x float64, scale float32) float32 {
	a := float32(x)
	if v.operand != nil {
		a, scale = v.operand(a), v.operand(scale)
		x = float64(a)
	}
	q := float32(x / float64(scale))
	if v.quotient != nil {
		q = v.quotient(q)
	}
	return q
}

// quantizeLinear divides by the scale, rounds halves to even, adds the zero point, and keeps within the type's range.
func quantizeLinear(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	s, err := c.scaling()
	if err != nil {
		return err
	}
	to := c.quantizedType()
	if v := c.attrs.Int("output_dtype", 0); v > 0 && tensor.DType(min(v, 255)) != to {
		return c.errf("output_dtype is %d, the zero point %v", v, to)
	}
	by, err := c.division()
	if err != nil {
		return err
	}
	if s.scale, err = c.wide(&c.in[1]); err != nil {
		return err
	}
	x := c.in[0].slot
	switch d := c.in[0].dtype; d {
	case tensor.Float32, tensor.Int32:
	case tensor.Float16, tensor.BFloat16:
		if x, err = c.wide(&c.in[0]); err != nil {
			return err
		}
	default:
		return c.refuseType(d)
	}
	a := quantizing{scaling: s, x: x, ints: c.in[0].dtype == tensor.Int32, by: by}
	switch to {
	case tensor.Uint8:
		return quantizeTo[uint8](c, a, 0, math.MaxUint8)
	case tensor.Int8:
		return quantizeTo[int8](c, a, math.MinInt8, math.MaxInt8)
	case tensor.Uint16:
		return quantizeTo[uint16](c, a, 0, math.MaxUint16)
	case tensor.Int16:
		return quantizeTo[int16](c, a, math.MinInt16, math.MaxInt16)
	case tensor.Uint4:
		return quantizeTo[tensor.U4](c, a, 0, 15)
	case tensor.Int4:
		return quantizeTo[tensor.I4](c, a, -8, 7)
	case tensor.Uint2:
		return quantizeTo[tensor.U2](c, a, 0, 3)
	case tensor.Int2:
		return quantizeTo[tensor.I2](c, a, -2, 1)
	case tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ, tensor.Float4E2M1:
		return quantizeToFloat(c, a, to)
	}
	return c.refuse("quantization to %v", to)
}

type quantizing struct {
	scaling
	x, o int
	ints bool // x holds int32
	by   division
}

// offset returns the zero point of bytes that have one for all.
func (a *quantizing) offset(f *frame) int32 {
	if a.zero < 0 {
		return 0
	}
	return byteOf(f.t[a.zero])
}

// quantizeChunk is how many elements are divided before they are rounded.
const quantizeChunk = 256

// quotients divides the elements from at on by their scales, as many as q has, and notes in k where the scale of each is.
func (a *quantizing) quotients(f *frame, at int, q []float32, k []int) {
	a.places(at, k)
	scales := data[float32](f, a.scale)
	switch {
	case a.ints:
		for i, x := range data[int32](f, a.x)[at:][:len(q)] {
			q[i] = a.by.by(float64(x), scales[k[i]])
		}
	case a.by.quotient != nil:
		for i, x := range data[float32](f, a.x)[at:][:len(q)] {
			q[i] = a.by.by(float64(x), scales[k[i]])
		}
	default:
		for i, x := range data[float32](f, a.x)[at:][:len(q)] {
			q[i] = x / scales[k[i]]
		}
	}
}

// quantizeToFloat quantizes to a floating-point type of 8 or 4 bits. The zero point, which is zero in all that tools write, is added.
func quantizeToFloat(c *prep, a quantizing, to tensor.DType) error {
	r, err := c.rounding()
	if err != nil {
		return err
	}
	if a.o, err = c.out(0, to, c.in[0].shape); err != nil {
		return err
	}
	table := tensor.SmallTable(to)
	part := func(f *frame, lo, hi int) {
		var q [quantizeChunk]float32
		var k [quantizeChunk]int
		var zeros []byte
		if a.zero >= 0 {
			zeros = f.t[a.zero].Bytes()
		}
		for at, end := lo*a.inner, hi*a.inner; at < end; at += quantizeChunk {
			n := min(quantizeChunk, end-at)
			a.quotients(f, at, q[:n], k[:n])
			d := f.t[a.o].Bytes()[at:][:n]
			for i, v := range q[:n] {
				if zeros != nil {
					v += table[zeros[k[i]]]
				}
				d[i] = tensor.SmallOf(to, float64(v), r)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.outer*a.dim, max(1, grain/16/max(a.inner, 1)), part) })
	return nil
}

type quantized interface {
	uint8 | int8 | uint16 | int16 | tensor.U4 | tensor.I4 | tensor.U2 | tensor.I2
}

func quantizeTo[Q quantized](c *prep, a quantizing, low, high float64) error {
	var err error
	if a.o, err = c.out(0, tensor.DTypeOf[Q](), c.in[0].shape); err != nil {
		return err
	}
	if d := tensor.DTypeOf[Q](); isByte(d) && a.scales == 0 && !a.ints && a.by.quotient == nil {
		k := c.pl.e.kernel
		part := func(f *frame, lo, hi int) {
			zero := a.offset(f)
			low, high := byteLimits(d, zero)
			k.Quantize(f.t[a.o].Bytes()[lo:hi], data[float32](f, a.x)[lo:hi], data[float32](f, a.scale)[0], low, high, zero)
		}
		c.do(func(f *frame) { f.parallel(a.dim, grain, part) })
		return nil
	}
	part := func(f *frame, lo, hi int) {
		var q [quantizeChunk]float32
		var k [quantizeChunk]int
		var zeros []Q
		if a.zero >= 0 {
			zeros = data[Q](f, a.zero)
		}
		for at, end := lo*a.inner, hi*a.inner; at < end; at += quantizeChunk {
			n := min(quantizeChunk, end-at)
			a.quotients(f, at, q[:n], k[:n])
			d := data[Q](f, a.o)[at:][:n]
			for i, v := range q[:n] {
				zero := 0.0
				if zeros != nil {
					zero = float64(zeros[k[i]])
				}
				v := math.RoundToEven(float64(v)) + zero
				if v != v {
					v = zero // 0 divided by 0
				}
				d[i] = Q(min(max(v, low), high))
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.outer*a.dim, max(1, grain/8/max(a.inner, 1)), part) })
	return nil
}

// dynamicQuantizeLinear quantizes to uint8 with the scale and the zero point that the numbers and zero need.
func dynamicQuantizeLinear(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if d := c.in[0].dtype; d != tensor.Float32 {
		return c.refuseType(d)
	}
	x := c.in[0].slot
	o, err := c.out(0, tensor.Uint8, c.in[0].shape)
	if err != nil {
		return err
	}
	scale, err := c.out(1, tensor.Float32, tensor.Shape{})
	if err != nil {
		return err
	}
	zero, err := c.out(2, tensor.Uint8, tensor.Shape{})
	if err != nil {
		return err
	}
	k := c.pl.e.kernel
	c.do(func(f *frame) {
		src := data[float32](f, x)
		low, high := min(0, k.Smallest(src)), max(0, k.Largest(src))
		s := (high - low) / 255
		if s == 0 {
			s = 1 // all are zero
		}
		z := saturate8(-low / s)
		least, most := byteLimits(tensor.Uint8, int32(z))
		k.Quantize(data[uint8](f, o), src, s, least, most, int32(z))
		data[float32](f, scale)[0], data[uint8](f, zero)[0] = s, z
	})
	return nil
}

// saturate8 rounds halves to even, within what a byte holds; NaN becomes zero.
func saturate8(v float32) uint8 {
	if v != v {
		return 0
	}
	return uint8(min(max(math.RoundToEven(float64(v)), 0), 255))
}
