package native

import (
	"math"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// clip limits elements. Before opset 11 the limits are attributes, since then inputs.
var clip = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	for i := 1; i < 3; i++ {
		if in := c.opt(i); in.has() && (in.dtype != c.in[0].dtype || in.size() != 1) {
			return c.errf("limit %d is %v%v for %v", i, in.dtype, in.shape, c.in[0].dtype)
		}
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return clipOf(c, float32(math.Inf(-1)), float32(math.Inf(1)))
	case tensor.Float64:
		return clipOf(c, math.Inf(-1), math.Inf(1))
	case tensor.Int8:
		return clipOf[int8](c, math.MinInt8, math.MaxInt8)
	case tensor.Int16:
		return clipOf[int16](c, math.MinInt16, math.MaxInt16)
	case tensor.Int32:
		return clipOf[int32](c, math.MinInt32, math.MaxInt32)
	case tensor.Int64:
		return clipOf[int64](c, math.MinInt64, math.MaxInt64)
	case tensor.Uint8:
		return clipOf[uint8](c, 0, math.MaxUint8)
	case tensor.Uint16:
		return clipOf[uint16](c, 0, math.MaxUint16)
	case tensor.Uint32:
		return clipOf[uint32](c, 0, math.MaxUint32)
	case tensor.Uint64:
		return clipOf[uint64](c, 0, math.MaxUint64)
	default:
		return c.refuseType(d)
	}
})

func clipOf[T real](c *prep, lo, hi T) error {
	in := &c.in[0]
	o, err := c.out(0, in.dtype, in.shape)
	if err != nil {
		return err
	}
	c.inplace(o, in.slot)
	var slots [2]int
	for i := range slots {
		slots[i] = c.opt(1 + i).slot
	}
	if c.opset < 11 {
		if v, ok := c.attrs["min"].(float32); ok {
			lo = T(v)
		}
		if v, ok := c.attrs["max"].(float32); ok {
			hi = T(v)
		}
		slots = [2]int{-1, -1}
	}
	s, k := in.slot, c.pl.e.kernel
	part := func(f *frame, from, to int) {
		src, dst := data[T](f, s)[from:to], data[T](f, o)[from:to]
		lo, hi := lo, hi // limits of this run
		if slots[0] >= 0 {
			lo = data[T](f, slots[0])[0]
		}
		if slots[1] >= 0 {
			hi = data[T](f, slots[1])[0]
		}
		if d, ok := any(dst).([]float32); ok && !(lo > hi) {
			k.Clip(d, any(src).([]float32), float32(lo), float32(hi))
			return
		}
		for i, v := range src {
			if v < lo {
				v = lo
			}
			if v > hi {
				v = hi
			}
			dst[i] = v
		}
	}
	n := in.size()
	if isFloat32[T]() {
		used := []int{o, s}
		for _, slot := range slots {
			if slot >= 0 {
				used = append(used, slot)
			}
		}
		c.elementwise(n, 1, part, used...)
		return nil
	}
	c.do(func(f *frame) { f.parallel(n, grain, part) })
	return nil
}

// pow raises to powers; base and exponent may differ in type, and the result has the base's.
var pow = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if err := c.legacyShape(); err != nil {
		return err
	}
	a, b := &c.in[0], c.in[1]
	if !a.dtype.IsFloat() && !a.dtype.IsInteger() || !b.dtype.IsFloat() && !b.dtype.IsInteger() {
		return c.refuse("%v to the power of %v", a.dtype, b.dtype)
	}
	if b.dtype != a.dtype && !(a.dtype.IsInteger() && b.dtype.IsFloat()) {
		s, err := c.scratchOf(a.dtype, b.shape)
		if err != nil {
			return err
		}
		c.convert(s, &b)
		b = info{dtype: a.dtype, shape: b.shape, slot: s, carries: b.carries}
	}
	switch a.dtype {
	case tensor.Float32:
		return binaryOf(c, a, &b, powRow[float32])
	case tensor.Float64:
		return binaryOf(c, a, &b, powRow[float64])
	case tensor.Int32:
		return powInt[int32](c, a, &b)
	case tensor.Int64:
		return powInt[int64](c, a, &b)
	default:
		return c.refuseType(a.dtype)
	}
})

// powRow has short ways for the powers that networks use.
func powRow[T float](dst, a, b []T, mode int) {
	if mode == rowRight {
		a = a[:len(dst)]
		switch b[0] {
		case 2:
			for i, v := range a {
				dst[i] = v * v
			}
			return
		case 3:
			for i, v := range a {
				dst[i] = v * v * v
			}
			return
		case 1:
			copy(dst, a)
			return
		}
	}
	powEach(dst, a, b, mode)
}

func powEach[T float](dst, a, b []T, mode int) {
	each(func(x, y T) T { return T(math.Pow(float64(x), float64(y))) })(dst, a, b, mode)
}

// powInt has an exponent of its own type, or, where that is a float, computes in float64.
func powInt[T int32 | int64](c *prep, a, b *info) error {
	if b.dtype == a.dtype {
		return binaryOf(c, a, b, each(intPower[T]))
	}
	var both [2]info
	for i, in := range []*info{a, b} {
		s, err := c.scratchOf(tensor.Float64, in.shape)
		if err != nil {
			return err
		}
		c.convert(s, in)
		both[i] = info{dtype: tensor.Float64, shape: in.shape, slot: s}
	}
	return binaryOf(c, &both[0], &both[1], each(func(x, y float64) T { return T(math.Pow(x, y)) }))
}

func intPower[T int32 | int64](x, y T) T {
	if y < 0 {
		switch x {
		case 1:
			return 1
		case -1:
			return 1 - 2*(y&1)
		}
		return 0
	}
	r := T(1)
	for ; y > 0; y >>= 1 {
		if y&1 == 1 {
			r *= x
		}
		x *= x
	}
	return r
}

// prelu has a slope for each element, broadcast in one direction.
var prelu = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	a, b := &c.in[0], c.in[1]
	if c.opset < 7 && len(b.shape) == 1 && len(a.shape) > 1 && b.shape[0] == a.shape[1] { // one for each channel
		b.shape = b.shape.Clone()
		for range len(a.shape) - 2 {
			b.shape = append(b.shape, 1)
		}
	}
	if s, err := infer.Broadcast(a.shape, b.shape); err != nil || !s.Equal(a.shape) {
		return c.errf("slope %v for %v", b.shape, a.shape)
	}
	switch d := a.dtype; d {
	case tensor.Float32:
		return binaryOf(c, a, &b, each(slope[float32]))
	case tensor.Float64:
		return binaryOf(c, a, &b, each(slope[float64]))
	case tensor.Int32:
		return binaryOf(c, a, &b, each(slope[int32]))
	case tensor.Int64:
		return binaryOf(c, a, &b, each(slope[int64]))
	case tensor.Uint32, tensor.Uint64:
		return identity(c)
	default:
		return c.refuseType(d)
	}
})

func slope[T real](x, k T) T {
	if x < 0 {
		return x * k
	}
	return x
}
