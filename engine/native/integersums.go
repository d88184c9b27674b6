package native

import (
	"fmt"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// The sums of products of bytes that MatMulInteger and ConvInteger give, by the kernels for bytes where the right side is a weight. With bytes
// flipped to uint8 on the left and to int8 on the right, and zero points that follow them,
//
//	sum of (x-xz)*(w-wz) = sum of x*w - xz * sum of w - wz * (sum of x - depth*xz)
//
// modulo 2^32, where the left side's zero point is known in a run only.

// simpleZero reports whether a zero point is left out, one number, or one for each of so many columns; others are for the definition.
func simpleZero(zero, of *info, columns int) bool {
	return !zero.has() || zero.dtype == of.dtype && len(zero.shape) <= 1 && (zero.size() == 1 || zero.size() == columns)
}

// leftZero returns a zero point of the left side, flipped as the bytes are.
func leftZero(f *frame, slot int, flip byte) byte {
	if slot < 0 {
		return flip
	}
	return f.t[slot].Bytes()[0] ^ flip
}

// rightZeros returns the zero point of each column of the right side, as int8, and whether one is not 0.
func rightZeros(zero, of *info, columns int) (zeros []int32, some bool) {
	zeros = make([]int32, columns)
	for j := range zeros {
		b := middle(of.dtype) // of int8
		if zero.has() {
			v := zero.value.Bytes()
			b ^= v[min(j, len(v)-1)]
		}
		zeros[j] = int32(int8(b))
		some = some || b != 0
	}
	return zeros, some
}

// matmulSums computes MatMulInteger by the kernel for bytes, where it can; done is false where it cannot.
func (c *prep) matmulSums() (done bool, err error) {
	x, w, xZero, wZero := &c.in[0], &c.in[1], c.opt(2), c.opt(3)
	s := x.shape
	if !isByte(x.dtype) || !isByte(w.dtype) || !w.weight || w.value == nil || len(w.shape) != 2 || len(s) < 1 || s[len(s)-1] != w.shape[0] ||
		s.Size() == 0 || w.size() == 0 || !simpleZero(xZero, x, 1) || !simpleZero(wZero, w, w.shape[1]) || wZero.has() && wZero.value == nil {
		return false, nil
	}
	depth, cols := w.shape[0], w.shape[1]
	plan, flip := c.pl.e.kernel.NewIntegerProduct(depth, cols), flipOf(x.dtype)
	weights := derive(c, w, "bytes false", func(*tensor.Tensor) *gemm.IntegerWeights { return plan.Pack(c.signedBytes(w), cols, 1) })
	zeros, shifted := rightZeros(wZero, w, cols)
	m := s.Size() / depth
	o, err := c.out(0, tensor.Int32, append(s[:len(s)-1:len(s)-1], cols))
	if err != nil {
		return false, err
	}
	prepared, err := c.scratch(tensor.Uint8, m*plan.RowBytes())
	if err != nil {
		return false, err
	}
	add, err := c.scratch(tensor.Int32, cols)
	if err != nil {
		return false, err
	}
	from, zero, blocks := x.slot, xZero.slot, plan.Blocks(m)
	compute := func(f *frame, lo, hi int) {
		for block := lo; block < hi; block++ {
			plan.Sums(data[int32](f, o), data[uint8](f, prepared), weights, data[int32](f, add), m, block)
		}
	}
	shift := func(f *frame, lo, hi int) {
		d, src := data[int32](f, o), f.t[from].Bytes()
		for r := lo; r < hi; r++ {
			var sum int32
			for _, b := range src[r*depth:][:depth] {
				sum += int32(b ^ flip)
			}
			row := d[r*cols:][:cols]
			for j, z := range zeros[:len(row)] {
				row[j] -= z * sum
			}
		}
	}
	work := m * depth * cols / blocks / integerSpeed
	c.do(func(f *frame) {
		plan.Fill(data[uint8](f, prepared), f.t[from].Bytes(), flip, m)
		z, by := int32(leftZero(f, zero, flip)), data[int32](f, add)
		for j := range by {
			by[j] = z * (int32(depth)*zeros[j] - weights.Sums[j])
		}
		f.parallel(blocks, max(1, grain/max(1, work)), compute)
		if shifted {
			f.parallel(m, max(1, grain/(depth+cols)), shift)
		}
	})
	return true, nil
}

// convSums computes ConvInteger by the kernels for bytes, where it can. Weights less their zero points must be int8.
func (c *prep) convSums() (done bool, err error) {
	x, w, xZero, wZero := &c.in[0], &c.in[1], c.opt(2), c.opt(3)
	if len(w.shape) < 3 || len(w.shape) > 4 || !isByte(x.dtype) || !isByte(w.dtype) || !w.weight || w.value == nil ||
		!simpleZero(xZero, x, 1) || !simpleZero(wZero, w, w.shape[0]) || wZero.has() && wZero.value == nil {
		return false, nil
	}
	cv, err := c.convolution(x, w, &info{slot: -1})
	if err != nil {
		return false, err
	}
	if x.size() == 0 || w.size() == 0 {
		return false, nil
	}
	kind, weights := "less nothing", c.signedBytes(w)
	if zeros, some := rightZeros(wZero, w, cv.filters); some {
		kind = fmt.Sprintf("less %v", zeros)
		weights = derive(c, w, kind, func(*tensor.Tensor) []int8 { return lessZeros(c.signedBytes(w), zeros) })
	}
	if weights == nil {
		return false, nil
	}
	shape, flip, zero := cv.w.outShape(cv.n, cv.filters), flipOf(x.dtype), xZero.slot
	if deep := c.deepBytes(cv, 0); deep != nil {
		o, err := c.out(0, tensor.Int32, shape)
		if err != nil {
			return false, err
		}
		return true, c.depthwise(cv, deep, kind, weights, func(f *frame, call *gemm.IntegerDepthwiseCall) {
			call.SrcZero = int32(leftZero(f, zero, flip))
			if call.Signed {
				call.SrcZero -= 128
			}
			call.Sums = data[int32](f, o)
		})
	}
	plan := c.tiledBytes(cv)
	if plan == nil {
		return false, nil
	}
	groups, err := c.packFilters(cv, plan, kind, weights)
	if err != nil {
		return false, err
	}
	o, err := c.out(0, tensor.Int32, shape)
	if err != nil {
		return false, err
	}
	add, err := c.scratch(tensor.Int32, cv.filters)
	if err != nil {
		return false, err
	}
	fg, result := cv.filters/cv.groups, cv.filters*cv.w.outSize()
	c.do(func(f *frame) {
		z := int32(leftZero(f, zero, flip))
		for j := range data[int32](f, add) {
			data[int32](f, add)[j] = -z * groups[j/fg].Sums[j%fg]
		}
	})
	pad := func(f *frame) byte { return leftZero(f, zero, flip) }
	return true, c.frames(cv, plan, flip, pad, len(weights), func(f *frame, from []byte, n, block int) {
		plan.Sums(data[int32](f, o)[n*result:][:result], from, groups, data[int32](f, add), block)
	})
}

// lessZeros returns weights less the zero point of each filter, or nil where one is no int8.
func lessZeros(w []int8, zeros []int32) []int8 {
	s := make([]int8, len(w))
	per := len(w) / len(zeros)
	for i, v := range w {
		d := int32(v) - zeros[i/per]
		if d != int32(int8(d)) {
			return nil
		}
		s[i] = int8(d)
	}
	return s
}

// Up to so many products for a sum, and with biases below so much, depthwise convolutions of bytes are exact in float32.
const depthwiseTaps, depthwiseReach = 256, 1 << 23

// deepBytes is the plan of a depthwise convolution of bytes, or nil where this is none or its sums are not exact.
func (c *prep) deepBytes(cv *convolution, reach int) *gemm.IntegerDepthwise {
	plan, err := c.pl.e.kernel.NewIntegerDepthwise(cv.shape(), reach)
	if err != nil || cv.groups == 1 {
		return nil
	}
	return plan
}

// depthwiseBytes computes QLinearConv where a group has one channel, and its sums are exact in float32.
func (c *prep) depthwiseBytes(cv *convolution, q *quantizedProduct) (done bool, err error) {
	reach, bias, by := 0, make([]float32, cv.filters), make([]float32, cv.filters)
	for j := range by {
		by[j] = q.by[min(j, len(q.by)-1)]
		if q.bias != nil {
			reach = max(reach, int(q.bias[j]), -int(q.bias[j]))
			bias[j] = float32(q.bias[j])
		}
	}
	plan := c.deepBytes(cv, reach)
	if plan == nil {
		return false, nil
	}
	o, err := c.out(0, c.in[7].dtype, cv.w.outShape(cv.n, cv.filters))
	if err != nil {
		return false, err
	}
	zero := int32(q.xZero)
	if c.in[0].dtype == tensor.Int8 {
		zero -= 128
	}
	return true, c.depthwise(cv, plan, "bytes", q.weights, func(f *frame, call *gemm.IntegerDepthwiseCall) {
		call.SrcZero, call.Bias, call.By, call.Low, call.High, call.Zero = zero, bias, by, q.low, q.high, q.zero
		call.Dst = f.t[o].Bytes()
	})
}

// depthwise adds the step that runs a plan; with sets what the call has beside its source and weights.
func (c *prep) depthwise(cv *convolution, plan *gemm.IntegerDepthwise, kind string, weights []int8, with func(f *frame, call *gemm.IntegerDepthwiseCall)) error {
	var err error
	packed := derive(c, c.filters(), kind+" depthwise", func(*tensor.Tensor) (p []float32) {
		p, err = plan.Pack(weights)
		return p
	})
	if err != nil {
		return c.errf("%w", err)
	}
	call := gemm.IntegerDepthwiseCall{Batch: cv.n, Signed: c.in[0].dtype == tensor.Int8, Weights: packed}
	call.Parallel = &frame{pool: c.pl.pool}
	scratch, err := c.scratch(tensor.Float32, plan.Scratch(&call))
	if err != nil {
		return err
	}
	call.Parallel = nil
	x := c.in[0].slot
	c.step(func(f *frame) error {
		p := &f.deep
		*p = call
		p.Src, p.Scratch = f.t[x].Bytes(), data[float32](f, scratch)
		if f.pool.threads > 1 {
			p.Parallel = f
		}
		with(f, p)
		return plan.Run(p)
	})
	return nil
}

// filters is the input of a quantized convolution's weights.
func (c *prep) filters() *info {
	if c.node.OpType == "ConvInteger" {
		return &c.in[1]
	}
	return &c.in[3]
}
