package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// shifted declares int32 numbers that are those of an 8-bit input less its zero point, which broadcasts to the input in
// the shape given, and may be left out.
func (c *prep) shifted(in, zero *info, zeroShape tensor.Shape) (*info, error) {
	out := &info{dtype: tensor.Int32, shape: in.shape}
	if in.dtype != tensor.Uint8 && in.dtype != tensor.Int8 {
		return nil, c.refuseType(in.dtype)
	}
	if zero.has() {
		if zero.dtype != in.dtype {
			return nil, c.errf("numbers of %v with a zero point of %v", in.dtype, zero.dtype)
		}
		if s, err := infer.Broadcast(zeroShape, in.shape); err != nil || !s.Equal(in.shape) {
			return nil, c.errf("a zero point of shape %v for %v", zero.shape, in.shape)
		}
	}
	if len(in.shape) > maxRank {
		return nil, c.refuse("rank %d", len(in.shape))
	}
	var err error
	if out.slot, err = c.scratchOf(tensor.Int32, in.shape); err != nil {
		return nil, err
	}
	o, from, by := out.slot, in.slot, -1
	strides := make([]int, len(in.shape))
	if zero.has() {
		by, strides = zero.slot, broadcastStrides(zeroShape, in.shape)
	}
	w := newWalk(in.shape, contiguous(in.shape), strides)
	if in.dtype == tensor.Uint8 {
		shiftInto[uint8](c, w, o, from, by)
	} else {
		shiftInto[int8](c, w, o, from, by)
	}
	return out, nil
}

func shiftInto[Q uint8 | int8](c *prep, w *walk, o, from, by int) {
	part := func(f *frame, lo, hi int) {
		d, x := data[int32](f, o), data[Q](f, from)
		var zeros []Q
		if by >= 0 {
			zeros = data[Q](f, by)
		}
		for it := w.from(lo, hi); it.more(); it.next() {
			p, z := it.at[0], it.at[1]
			for i := range w.inner {
				v := int32(x[p+i])
				if zeros != nil {
					v -= int32(zeros[z])
				}
				d[p+i] = v
				z += w.step[1]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(w.outer, max(1, grain/max(1, w.inner)), part) })
}

// rowZero returns the shape in which a zero point or scale of a product's left side broadcasts: a list is one for each row.
func rowZero(s tensor.Shape) tensor.Shape {
	if len(s) == 1 && s[0] > 1 {
		return tensor.Shape{s[0], 1}
	}
	return s
}

// matmulInteger multiplies matrices of 8-bit integers, exactly.
func matmulInteger(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if done, err := c.matmulSums(); done || err != nil {
		return err
	}
	p, a, b, err := c.integerMatrices(0, 1, 2, 3)
	if err != nil {
		return err
	}
	o, err := c.out(0, tensor.Int32, p.shape)
	if err != nil {
		return err
	}
	return matmulOf[int32](c, p, o, a, b)
}

// integerMatrices returns a product of two inputs, and the slots of their shifted numbers.
func (c *prep) integerMatrices(a, b, aZero, bZero int) (p *matrices, left, right int, err error) {
	x, err := c.shifted(&c.in[a], c.opt(aZero), rowZero(c.opt(aZero).shape))
	if err != nil {
		return nil, 0, 0, err
	}
	y, err := c.shifted(&c.in[b], c.opt(bZero), c.opt(bZero).shape)
	if err != nil {
		return nil, 0, 0, err
	}
	p, err = c.matrices(x.shape, y.shape)
	return p, x.slot, y.slot, err
}

// convInteger is a convolution of 8-bit integers, exactly. The padding is the zero point.
func convInteger(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if done, err := c.convSums(); done || err != nil {
		return err
	}
	cv, err := c.integerConvolution(0, 1, 2, 3, &info{slot: -1})
	if err != nil {
		return err
	}
	if cv.o, err = c.out(0, tensor.Int32, cv.w.outShape(cv.n, cv.filters)); err != nil {
		return err
	}
	return convDirect[int32](c, cv)
}

func (c *prep) integerConvolution(x, w, xZero, wZero int, bias *info) (*convolution, error) {
	in, err := c.shifted(&c.in[x], c.opt(xZero), c.opt(xZero).shape)
	if err != nil {
		return nil, err
	}
	zero := c.opt(wZero).shape
	if len(zero) == 1 { // one for each filter
		zero = append(zero.Clone(), ones(max(0, len(c.in[w].shape)-1))...)
	}
	weights, err := c.shifted(&c.in[w], c.opt(wZero), zero)
	if err != nil {
		return nil, err
	}
	return c.convolution(in, weights, bias)
}

// A requantization turns exact int32 sums into 8-bit integers, or float32 sums into float8: by the scales of both sides over that of the result.
type requantization struct {
	sums, o           int
	x, w, y           int // scales as float32
	zero              int
	dtype             tensor.DType
	shape             tensor.Shape
	xStrides, wStride []int
}

// requantize declares output 0 of the shape of the sums. The scales of x and w broadcast to it in the shapes given.
func (c *prep) requantize(sums int, shape tensor.Shape, x, w, y, zero int, xShape, wShape tensor.Shape) error {
	r := requantization{sums: sums, zero: c.in[zero].slot, dtype: c.in[zero].dtype, shape: shape}
	if c.in[0].dtype.Small() != r.dtype.Small() {
		return c.errf("numbers of %v for a result of %v", c.in[0].dtype, r.dtype)
	}
	var err error
	if r.x, err = c.wide(&c.in[x]); err != nil {
		return err
	}
	if r.w, err = c.wide(&c.in[w]); err != nil {
		return err
	}
	if r.y, err = c.wide(&c.in[y]); err != nil {
		return err
	}
	for _, s := range []tensor.Shape{xShape, wShape} {
		if joined, err := infer.Broadcast(s, shape); err != nil || !joined.Equal(shape) {
			return c.errf("a scale of shape %v for a result of shape %v", s, shape)
		}
	}
	if c.in[y].size() != 1 || c.in[zero].size() != 1 {
		return c.errf("scale %v and zero point %v of the result; they must be scalars", c.in[y].shape, c.in[zero].shape)
	}
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	r.xStrides, r.wStride = broadcastStrides(xShape, shape), broadcastStrides(wShape, shape)
	switch r.dtype {
	case tensor.Uint8:
		return requantizeTo[uint8](c, r, 0, math.MaxUint8)
	case tensor.Int8:
		return requantizeTo[int8](c, r, math.MinInt8, math.MaxInt8)
	case tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ:
		return requantizeToFloat(c, r)
	}
	return c.refuse("quantization to %v", r.dtype)
}

func requantizeTo[Q uint8 | int8](c *prep, r requantization, low, high float64) error {
	var err error
	if r.o, err = c.out(0, r.dtype, r.shape); err != nil {
		return err
	}
	walk, act := newWalk(r.shape, contiguous(r.shape), r.xStrides, r.wStride), c.act
	part := func(f *frame, lo, hi int) {
		d, sums := data[Q](f, r.o), data[int32](f, r.sums)
		xs, ws, y, zero := data[float32](f, r.x), data[float32](f, r.w), data[float32](f, r.y)[0], float64(data[Q](f, r.zero)[0])
		low, high := low, high
		switch act.kind {
		case gemm.Relu:
			low = max(low, zero)
		case gemm.Clip:
			limits := [2]float64{math.RoundToEven(float64(act.lo/y)) + zero, math.RoundToEven(float64(act.hi/y)) + zero}
			low, high = min(max(low, limits[0]), high), min(max(low, limits[1]), high)
		}
		for it := walk.from(lo, hi); it.more(); it.next() {
			p, a, b := it.at[0], it.at[1], it.at[2]
			for i := range walk.inner {
				by := xs[a] * ws[b] / y
				v := math.RoundToEven(float64(float32(sums[p+i])*by)) + zero
				if v != v {
					v = zero
				}
				d[p+i] = Q(min(max(v, low), high))
				a, b = a+walk.step[1], b+walk.step[2]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(walk.outer, max(1, grain/8/max(1, walk.inner)), part) })
	return nil
}

// qlinearMatmul multiplies quantized matrices and quantizes the result.
func qlinearMatmul(c *prep) error {
	if err := c.need(8); err != nil {
		return err
	}
	if d := c.in[0].dtype; d.Small() && !d.SmallInteger() {
		return qlinearFloat(c)
	}
	if done, err := c.matmulBytes(false); done || err != nil {
		return err
	}
	p, a, b, err := c.integerMatrices(0, 3, 2, 5)
	if err != nil {
		return err
	}
	sums, err := c.scratchOf(tensor.Int32, p.shape)
	if err != nil {
		return err
	}
	if err := matmulOf[int32](c, p, sums, a, b); err != nil {
		return err
	}
	return c.requantize(sums, p.shape, 1, 4, 6, 7, rowZero(c.in[1].shape), c.in[4].shape)
}

// qlinearFloat is qlinearMatmul of float8, whose zero points are 0.
func qlinearFloat(c *prep) error {
	wide := func(x, zero int) (int, error) {
		in, z := &c.in[x], &c.in[zero]
		if d := in.dtype; d != tensor.Float8E4M3FN && d != tensor.Float8E4M3FNUZ && d != tensor.Float8E5M2 && d != tensor.Float8E5M2FNUZ {
			return 0, c.refuseType(d)
		}
		if z.dtype != in.dtype {
			return 0, c.errf("numbers of %v with a zero point of %v", in.dtype, z.dtype)
		}
		o, err := c.scratchOf(tensor.Float32, in.shape)
		if err != nil {
			return 0, err
		}
		from, zeros, table := in.slot, z.slot, tensor.SmallTable(in.dtype)
		c.step(func(f *frame) error {
			for _, b := range f.t[zeros].Bytes() {
				if table[b] != 0 { // or NaN, whose code is -0 in some types
					return c.errf("a zero point of float8 that is not 0")
				}
			}
			castInto(f.t[o], f.t[from])
			return nil
		})
		return o, nil
	}
	a, err := wide(0, 2)
	if err != nil {
		return err
	}
	b, err := wide(3, 5)
	if err != nil {
		return err
	}
	p, err := c.matrices(c.in[0].shape, c.in[3].shape)
	if err != nil {
		return err
	}
	sums, err := c.scratchOf(tensor.Float32, p.shape)
	if err != nil {
		return err
	}
	if err := matmulOf[float32](c, p, sums, a, b); err != nil {
		return err
	}
	return c.requantize(sums, p.shape, 1, 4, 6, 7, rowZero(c.in[1].shape), c.in[4].shape)
}

func requantizeToFloat(c *prep, r requantization) error {
	var err error
	if r.o, err = c.out(0, r.dtype, r.shape); err != nil {
		return err
	}
	walk := newWalk(r.shape, contiguous(r.shape), r.xStrides, r.wStride)
	table := tensor.SmallTable(r.dtype)
	part := func(f *frame, lo, hi int) {
		d, sums := f.t[r.o].Bytes(), data[float32](f, r.sums)
		xs, ws, y, zero := data[float32](f, r.x), data[float32](f, r.w), data[float32](f, r.y)[0], table[f.t[r.zero].Bytes()[0]]
		for it := walk.from(lo, hi); it.more(); it.next() {
			p, a, b := it.at[0], it.at[1], it.at[2]
			for i := range walk.inner {
				v := sums[p+i]*(xs[a]*ws[b]/y) + zero
				d[p+i] = tensor.SmallOf(r.dtype, float64(v), tensor.Rounding{Saturate: true})
				a, b = a+walk.step[1], b+walk.step[2]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(walk.outer, max(1, grain/16/max(1, walk.inner)), part) })
	return nil
}

// qlinearConv is a convolution of quantized numbers, with an int32 bias, that quantizes its result.
func qlinearConv(c *prep) error {
	if err := c.need(8); err != nil {
		return err
	}
	bias := c.opt(8)
	if bias.has() && bias.dtype != tensor.Int32 {
		return c.errf("the bias is %v, not int32", bias.dtype)
	}
	if c.in[1].size() != 1 || c.in[2].size() != 1 {
		return c.errf("scale %v and zero point %v of the input; they must be scalars", c.in[1].shape, c.in[2].shape)
	}
	if done, err := c.convBytes(); done || err != nil {
		return err
	}
	act := c.act // of the result, not of the sums
	c.act = activation{}
	cv, err := c.integerConvolution(0, 3, 2, 5, bias)
	if err != nil {
		return err
	}
	shape := cv.w.outShape(cv.n, cv.filters)
	if cv.o, err = c.scratchOf(tensor.Int32, shape); err != nil {
		return err
	}
	if err := convDirect[int32](c, cv); err != nil {
		return err
	}
	scale := c.in[4].shape
	if len(scale) == 1 { // one for each filter
		scale = append(scale.Clone(), ones(cv.w.spatial)...)
	}
	c.act = act
	return c.requantize(cv.o, shape, 1, 4, 6, 7, c.in[1].shape, scale)
}
