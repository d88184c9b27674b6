package native

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// quantizedProduct is what the plan knows of a product or convolution of bytes whose scales and zero points are constants: all
// that QLinearConv and QLinearMatMul have, settled.
type quantizedProduct struct {
	flip, xZero byte      // the left side as uint8: what it is flipped with, and its zero point
	weights     []int8    // the right side as int8, whose zero points are 0
	by          []float32 // for each column, or one
	bias        []int32   // for each column, or nil
	low, high   float32
	zero        int32
}

// flipOf says with what bytes become uint8, whose order is the same.
func flipOf(d tensor.DType) byte {
	if d == tensor.Int8 {
		return 0x80
	}
	return 0
}

// byteOf returns the only element of a tensor of bytes.
func byteOf(t *tensor.Tensor) int32 {
	if t.DType() == tensor.Int8 {
		return int32(tensor.Data[int8](t)[0])
	}
	return int32(tensor.Data[uint8](t)[0])
}

// byteLimits are the limits of a type less a zero point.
func byteLimits(d tensor.DType, zero int32) (low, high float32) {
	if d == tensor.Int8 {
		return float32(math.MinInt8 - zero), float32(math.MaxInt8 - zero)
	}
	return float32(-zero), float32(math.MaxUint8 - zero)
}

// middle is the zero point of a type with which bytes become int8 whose zero point is 0.
func middle(d tensor.DType) byte { return flipOf(d) ^ 0x80 }

func isByte(d tensor.DType) bool { return d == tensor.Uint8 || d == tensor.Int8 }

// quantizedProduct reads inputs in the order of QLinearConv: x, its scale and zero point, the same of the weights and of the result, and
// perhaps a bias. It returns nil where they are no constants or not symmetric, which the operators' definition computes.
func (c *prep) quantizedProduct(columns int) *quantizedProduct {
	for i := 1; i < len(c.in); i++ {
		if in := &c.in[i]; in.has() && (in.value == nil || !in.weight) {
			return nil
		}
	}
	x, w, y := &c.in[0], &c.in[3], &c.in[7]
	if !isByte(x.dtype) || !isByte(w.dtype) || !isByte(y.dtype) || c.in[2].dtype != x.dtype || c.in[5].dtype != w.dtype {
		return nil
	}
	for _, i := range []int{1, 2, 6, 7} {
		if c.in[i].size() != 1 {
			return nil
		}
	}
	scales, zeros := c.in[4].size(), c.in[5].size()
	if c.in[1].dtype != tensor.Float32 || c.in[4].dtype != tensor.Float32 || c.in[6].dtype != tensor.Float32 ||
		scales != 1 && scales != columns || len(c.in[4].shape) > 1 || zeros != 1 && zeros != columns || len(c.in[5].shape) > 1 {
		return nil
	}
	for _, z := range c.in[5].value.Bytes() {
		if z != middle(w.dtype) {
			return nil
		}
	}
	q := &quantizedProduct{flip: flipOf(x.dtype), zero: byteOf(y.value)}
	q.xZero = byte(byteOf(c.in[2].value)) ^ q.flip
	xs, ys := tensor.Data[float32](c.in[1].value)[0], tensor.Data[float32](c.in[6].value)[0]
	for _, ws := range tensor.Data[float32](c.in[4].value) {
		by := xs * ws / ys
		if f := float64(by); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
		q.by = append(q.by, by)
	}
	q.low, q.high = byteLimits(y.dtype, q.zero)
	switch limit := func(v float32) float32 {
		return min(max(float32(math.RoundToEven(float64(v/ys))), q.low), q.high)
	}; c.act.kind {
	case gemm.Relu:
		q.low = max(q.low, 0)
	case gemm.Clip:
		q.low, q.high = limit(c.act.lo), limit(c.act.hi)
	}
	if b := c.opt(8); b.has() {
		q.bias = tensor.Data[int32](b.value)
	}
	q.weights = c.signedBytes(w)
	return q
}

// signedBytes are weights as int8: less 128 where they are uint8.
func (c *prep) signedBytes(w *info) []int8 {
	return derive(c, w, "signed bytes", func(t *tensor.Tensor) []int8 {
		if t.DType() == tensor.Int8 {
			return tensor.Data[int8](t)
		}
		s := make([]int8, t.Shape().Size())
		for i, v := range tensor.Data[uint8](t) {
			s[i] = int8(v ^ 0x80)
		}
		return s
	})
}

// requantization is for columns first to first + n of the product, whose packed weights w are.
func (q *quantizedProduct) requantization(w *gemm.IntegerWeights, first, n int) gemm.Requantization {
	r := gemm.Requantization{Add: make([]int32, w.Padded()), By: make([]float32, w.Padded()), Low: q.low, High: q.high, Zero: q.zero}
	for j := range n {
		r.Add[j] = -int32(q.xZero) * w.Sums[j]
		if q.bias != nil {
			r.Add[j] += q.bias[first+j]
		}
		r.By[j] = q.by[min(first+j, len(q.by)-1)]
	}
	return r
}

// leastFilters is how many filters a group must have for the kernel for bytes, whose lanes they are.
const leastFilters = 4

// convBytes computes QLinearConv by the kernel for bytes, where it can; done is false where it cannot.
func (c *prep) convBytes() (done bool, err error) {
	if len(c.in[3].shape) < 3 || len(c.in[3].shape) > 4 {
		return false, nil
	}
	cv, err := c.convolution(&c.in[0], &c.in[3], &info{slot: -1})
	if err != nil {
		return false, err
	}
	if b := c.opt(8); b.has() && b.size() != cv.filters {
		return false, nil // which is an error that the definition reports
	}
	q := c.quantizedProduct(cv.filters)
	if q != nil && cv.groups > 1 {
		if done, err := c.depthwiseBytes(cv, q); done || err != nil {
			return done, err
		}
	}
	plan := c.tiledBytes(cv)
	if q == nil || plan == nil {
		return false, nil
	}
	groups, err := c.packFilters(cv, plan, "bytes", q.weights)
	if err != nil {
		return false, err
	}
	to, fg := make([]gemm.Requantization, len(groups)), cv.filters/cv.groups
	for g := range groups {
		to[g] = q.requantization(groups[g], g*fg, fg)
	}
	o, err := c.out(0, c.in[7].dtype, cv.w.outShape(cv.n, cv.filters))
	if err != nil {
		return false, err
	}
	result, pad := cv.filters*cv.w.outSize(), q.xZero
	return true, c.frames(cv, plan, q.flip, func(*frame) byte { return pad }, len(q.weights), func(f *frame, from []byte, n, block int) {
		plan.Bytes(f.t[o].Bytes()[n*result:][:result], from, groups, to, block)
	})
}

// tiledBytes is the plan of a convolution of bytes by the tile, or nil where it has none, or groups are too thin for it.
func (c *prep) tiledBytes(cv *convolution) *gemm.IntegerConv {
	plan, err := c.pl.e.kernel.NewIntegerConv(cv.shape())
	if err != nil || cv.groups > 1 && cv.filters/cv.groups < leastFilters {
		return nil
	}
	return plan
}

// packFilters packs a convolution's weights, once for all sizes of images.
func (c *prep) packFilters(cv *convolution, plan *gemm.IntegerConv, kind string, weights []int8) (p []*gemm.IntegerWeights, err error) {
	key := cv.shape()
	key.Height, key.Width, key.PadTop, key.PadLeft, key.PadBottom, key.PadRight = 0, 0, 0, 0, 0, 0
	groups := derive(c, c.filters(), fmt.Sprintf("%s %+v", kind, key), func(*tensor.Tensor) (p []*gemm.IntegerWeights) {
		p, err = plan.Pack(weights)
		return p
	})
	if err != nil {
		return nil, c.errf("%w", err)
	}
	return groups, nil
}

// frames adds the steps that copy images into frames, flipped and padded, and compute blocks of each image's result.
func (c *prep) frames(cv *convolution, plan *gemm.IntegerConv, flip byte, pad func(f *frame) byte, weights int, block func(f *frame, from []byte, n, block int)) error {
	frames, err := c.scratch(tensor.Uint8, cv.n*plan.FrameBytes())
	if err != nil {
		return err
	}
	x, size, image := c.in[0].slot, plan.FrameBytes(), cv.channels*cv.w.inSize()
	rows, blocks := plan.FrameRows(), plan.Blocks()
	fill := func(f *frame, lo, hi int) {
		src, dst, around := f.t[x].Bytes(), data[uint8](f, frames), pad(f)
		for at := lo; at < hi; {
			n, y := at/rows, at%rows
			end := min(hi-at, rows-y)
			plan.Fill(dst[n*size:][:size], src[n*image:][:image], flip, around, y, y+end)
			at += end
		}
	}
	compute := func(f *frame, lo, hi int) {
		from := data[uint8](f, frames)
		for at := lo; at < hi; at++ {
			n := at / blocks
			block(f, from[n*size:][:size], n, at%blocks)
		}
	}
	work := cv.w.outSize() / blocks * weights / integerSpeed
	c.do(func(f *frame) { f.parallel(cv.n*rows, max(1, grain*rows/max(1, image)), fill) })
	c.do(func(f *frame) { f.parallel(cv.n*blocks, max(1, grain/max(1, work)), compute) })
	return nil
}

// integerSpeed is how many products of bytes take as long as one element of a loop in plain Go.
const integerSpeed = 64

// matmulBytes computes the product of rows of bytes with a matrix of weights by the kernel for bytes, where it can. The weights have
// columns first where transposed is set.
func (c *prep) matmulBytes(transposed bool) (done bool, err error) {
	s, w := c.in[0].shape, c.in[3].shape
	if len(s) < 1 || len(w) != 2 {
		return false, nil
	}
	depth, cols, ldk, ldn := w[0], w[1], w[1], 1
	if transposed {
		depth, cols, ldk, ldn = w[1], w[0], 1, w[1]
	}
	if s[len(s)-1] != depth {
		return false, c.errf("shapes %v and %v do not multiply", s, w)
	}
	q := c.quantizedProduct(cols)
	if q == nil || depth == 0 || cols == 0 || q.bias != nil && len(q.bias) != cols {
		return false, nil
	}
	plan := c.pl.e.kernel.NewIntegerProduct(depth, cols)
	weights := derive(c, &c.in[3], fmt.Sprint("bytes ", transposed), func(*tensor.Tensor) *gemm.IntegerWeights {
		return plan.Pack(q.weights, ldk, ldn)
	})
	shape := append(s[:len(s)-1:len(s)-1], cols)
	m := s[:len(s)-1].Size()
	o, err := c.out(0, c.in[7].dtype, shape)
	if err != nil {
		return false, err
	}
	prepared, err := c.scratch(tensor.Uint8, m*plan.RowBytes())
	if err != nil {
		return false, err
	}
	x, to, blocks := c.in[0].slot, q.requantization(weights, 0, cols), plan.Blocks(m)
	compute := func(f *frame, lo, hi int) {
		for block := lo; block < hi; block++ {
			plan.Run(f.t[o].Bytes(), data[uint8](f, prepared), weights, &to, m, block)
		}
	}
	work := m * depth * cols / max(1, blocks) / integerSpeed
	c.do(func(f *frame) {
		plan.Fill(data[uint8](f, prepared), f.t[x].Bytes(), q.flip, m)
		f.parallel(blocks, max(1, grain/max(1, work)), compute)
	})
	return true, nil
}

// quantizedGemm is what fusion makes of a Gemm or MatMul between DequantizeLinear and QuantizeLinear: inputs as QLinearConv has them.
func quantizedGemm(c *prep) error {
	done, err := c.matmulBytes(c.attrs.Bool("transB", false))
	if err == nil && !done {
		err = c.refuse("quantized weights %v with an input %v", c.in[3].shape, c.in[0].shape)
	}
	return err
}
