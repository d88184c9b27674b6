package native

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// The kernels of the functions that package graph/gradient calls. Each computes what the function's body says.

// floats lets a kernel serve float32, float64 and the 16-bit types.
func floats(f32, f64 func(c *prep) error) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return f32(c)
		case tensor.Float64:
			return f64(c)
		default:
			return c.refuseType(d)
		}
	})
}

// softmaxCrossEntropyOf gives the mean loss of logits [N, C] for classes [N], and its gradient by the logits.
func softmaxCrossEntropyOf[T float](c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	x, target := c.in[0].shape, &c.in[1]
	if len(x) != 2 || x[1] == 0 || !isIndex(target.dtype) || !target.shape.Equal(x[:1]) {
		return c.errf("logits %v with target %v%v", x, target.dtype, target.shape)
	}
	loss, err := c.out(0, c.in[0].dtype, tensor.Shape{})
	if err != nil {
		return err
	}
	grad, err := c.out(1, c.in[0].dtype, x)
	if err != nil {
		return err
	}
	each, err := c.scratch(tensor.Float64, x[0])
	if err != nil {
		return err
	}
	rows, classes := x[0], x[1]
	off := float64(c.attrs.Float("label_smoothing", 0)) / float64(classes)
	on := off + 1 - float64(c.attrs.Float("label_smoothing", 0))
	s, t := c.in[0].slot, target.slot
	k := c.pl.e.kernel
	part := func(f *frame, lo, hi int) {
		src, dst, idx, losses := data[T](f, s), data[T](f, grad), f.t[t], data[float64](f, each)
		for r := lo; r < hi; r++ {
			row, g := src[r*classes:(r+1)*classes], dst[r*classes:(r+1)*classes]
			shift := expRow(k, g, row)
			class := indexOf(idx, r)
			sum, logs := 0.0, 0.0
			for _, e := range g {
				sum += float64(e)
			}
			lse := shift + math.Log(sum)
			if off != 0 {
				for _, v := range row {
					logs += float64(v) - lse
				}
				logs *= off
			}
			losses[r] = math.NaN() // a class that is not there
			if class < 0 {
				class += classes
			}
			scale := 1 / (sum * float64(rows))
			for j := range g {
				g[j] = T(float64(g[j])*scale - off/float64(rows))
			}
			if class >= 0 && class < classes {
				losses[r] = -logs - (on-off)*(float64(row[class])-lse)
				g[class] -= T((on - off) / float64(rows))
			}
		}
	}
	c.step(func(f *frame) error {
		f.parallel(rows, max(1, grain/8/classes), part)
		sum := 0.0
		for r, v := range data[float64](f, each) {
			if v != v {
				if class := indexOf(f.t[t], r); class < -classes || class >= classes {
					return fmt.Errorf("class %d is outside %d classes", class, classes)
				}
			}
			sum += v
		}
		data[T](f, loss)[0] = T(sum / float64(rows))
		return nil
	})
	return nil
}

// expRow sets dst to exp(src - max) and returns the largest element.
func expRow[T float](k *gemm.Kernel, dst, src []T) float64 {
	if d, ok := any(dst).([]float32); ok {
		s := any(src).([]float32)
		top := k.Largest(s)
		k.Shift(d, s, -top)
		k.Exp(d, d)
		return float64(top)
	}
	top := slices.Max(src)
	for i, v := range src {
		dst[i] = T(math.Exp(float64(v) - float64(top)))
	}
	return float64(top)
}

// reluGradientOf lets dy through where y is positive.
func reluGradientOf[T float](c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	y, dy := &c.in[0], &c.in[1]
	if !y.shape.Equal(dy.shape) || y.dtype != dy.dtype {
		return c.errf("output %v%v, gradient %v%v", y.dtype, y.shape, dy.dtype, dy.shape)
	}
	k := c.pl.e.kernel
	row := rowFunc[T, T](func(dst, y, dy []T, _ int) {
		if d, ok := any(dst).([]float32); ok {
			k.ReluGrad(d, any(dy).([]float32)[:len(d)], any(y).([]float32))
			return
		}
		y, dy = y[:len(dst)], dy[:len(dst)]
		for i := range dst {
			switch {
			case y[i] > 0:
				dst[i] = dy[i]
			default:
				dst[i] = 0
			}
		}
	})
	o, err := c.out(0, dy.dtype, dy.shape)
	if err != nil {
		return err
	}
	c.inplace(o, dy.slot)
	binaryStep(c, o, dy.shape, y, dy, row)
	return nil
}

// convGradientWeights is the gradient of a convolution by its weights.
var convGradientWeights = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	x, dy := c.in[0].shape, c.in[1].shape
	if err := c.sameType(); err != nil {
		return err
	}
	if len(x) < 3 || len(dy) != len(x) || x[0] != dy[0] {
		return c.errf("input %v, gradient %v", x, dy)
	}
	kernel := toInts(c.attrs.Ints("kernel_shape", nil))
	w, err := c.windowOf(x, kernel, false)
	if err != nil {
		return err
	}
	exact := true
	for i := range w.spatial {
		d := 3 - w.spatial + i
		exact = exact && w.out[d] == dy[2+i]
		w.out[d] = dy[2+i]
	}
	g := int(c.attrs.Int("group", 1))
	if g < 1 || x[1]%g != 0 || dy[1]%g != 0 {
		return c.errf("input %v, gradient %v in %d groups", x, dy, g)
	}
	cv := &convolution{w: w, n: x[0], channels: x[1], groups: g, filters: dy[1], x: c.in[0].slot, weights: c.in[1].slot}
	shape := append(tensor.Shape{dy[1], x[1] / g}, kernel...)
	if cv.o, err = c.out(0, c.in[0].dtype, shape); err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		if plan, err := c.pl.e.kernel.NewConvWeightGrad(cv.shape()); err == nil && exact && w.spatial < 3 {
			return convWeightsPlanned(c, cv, plan)
		}
		return convWeightsDirect[float32](c, cv)
	case tensor.Float64:
		return convWeightsDirect[float64](c, cv)
	default:
		return c.refuseType(d)
	}
})

func convWeightsPlanned(c *prep, cv *convolution, plan *gemm.ConvWeightGrad) error {
	call := gemm.ConvWeightCall{Batch: cv.n, Parallel: &frame{pool: c.pl.pool}}
	scratch, err := c.scratch(tensor.Float32, plan.Scratch(&call))
	if err != nil {
		return err
	}
	c.step(func(f *frame) error {
		p := &f.convWeights
		*p = gemm.ConvWeightCall{Batch: cv.n, Src: data[float32](f, cv.x), Grad: data[float32](f, cv.weights),
			Dst: data[float32](f, cv.o), Scratch: data[float32](f, scratch)}
		if f.pool.threads > 1 {
			p.Parallel = f
		}
		return plan.Run(p)
	})
	return nil
}

func convWeightsDirect[T float](c *prep, cv *convolution) error {
	w, cg, fg := cv.w, cv.channels/cv.groups, cv.filters/cv.groups
	part := func(f *frame, lo, hi int) {
		x, dy, dw := data[T](f, cv.x), data[T](f, cv.weights), data[T](f, cv.o)
		for filter := lo; filter < hi; filter++ {
			clear(dw[filter*cg*w.kernelSize() : (filter+1)*cg*w.kernelSize()])
			for n := range cv.n {
				g := dy[(n*cv.filters+filter)*w.outSize():][:w.outSize()]
				for ch := range cg {
					src := x[(n*cv.channels+filter/fg*cg+ch)*w.inSize():]
					correlateWeights(w, dw[(filter*cg+ch)*w.kernelSize():], src, g)
				}
			}
		}
	}
	c.do(func(f *frame) { f.parallel(cv.filters, 1, part) })
	return nil
}

// correlateWeights adds one channel's products of input and gradient to each element of the kernel.
func correlateWeights[T float](w *window, dw, src, g []T) {
	for kz := range w.kernel[0] {
		for ky := range w.kernel[1] {
			for kx := range w.kernel[2] {
				x0, x1 := w.outRange(2, kx)
				z0, z1 := w.outRange(0, kz)
				y0, y1 := w.outRange(1, ky)
				sum := 0.0
				for oz := z0; oz < z1; oz++ {
					iz := oz*w.stride[0] - w.lo[0] + kz*w.dilation[0]
					for oy := y0; oy < y1; oy++ {
						iy := oy*w.stride[1] - w.lo[1] + ky*w.dilation[1]
						row := g[(oz*w.out[1]+oy)*w.out[2]:]
						at := (iz*w.in[1]+iy)*w.in[2] + x0*w.stride[2] - w.lo[2] + kx*w.dilation[2]
						for ox := x0; ox < x1; ox++ {
							sum += float64(row[ox]) * float64(src[at])
							at += w.stride[2]
						}
					}
				}
				dw[(kz*w.kernel[1]+ky)*w.kernel[2]+kx] += T(sum)
			}
		}
	}
}

// maxPoolGradientOf adds dy up at its indices, which are flat over the whole of x.
func maxPoolGradientOf[T float](c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	dy, index := &c.in[0], &c.in[1]
	dims, err := c.ints(2)
	if err != nil {
		return err
	}
	shape := tensor.Shape(dims)
	if _, err := shape.Check(); err != nil {
		return c.errf("%w", err)
	}
	if index.dtype != tensor.Int64 || !index.shape.Equal(dy.shape) || len(shape) < 2 || len(dy.shape) < 2 || dy.shape[0] != shape[0] || dy.shape[1] != shape[1] {
		return c.errf("gradient %v, indices %v%v, input %v", dy.shape, index.dtype, index.shape, shape)
	}
	o, err := c.out(0, dy.dtype, shape)
	if err != nil {
		return err
	}
	planes, out, in := shape[0]*shape[1], dy.shape[2:].Size(), shape[2:].Size()
	bad, err := c.scratch(tensor.Bool, planes)
	if err != nil {
		return err
	}
	s, at := dy.slot, index.slot
	part := func(f *frame, lo, hi int) {
		dx, g, idx, outside := data[T](f, o), data[T](f, s), data[int64](f, at), data[bool](f, bad)
		clear(dx[lo*in : hi*in])
		for p := lo; p < hi; p++ {
			plane := dx[p*in : (p+1)*in]
			outside[p] = false
			for i := p * out; i < (p+1)*out; i++ {
				k := uint64(idx[i] - int64(p*in))
				if k >= uint64(len(plane)) {
					outside[p] = true
					break
				}
				plane[k] += g[i]
			}
		}
	}
	c.step(func(f *frame) error {
		f.parallel(planes, max(1, grain/max(1, in)), part)
		if p := slices.Index(data[bool](f, bad), true); p >= 0 {
			return fmt.Errorf("an index of plane %d is outside it", p)
		}
		return nil
	})
	return nil
}

// batchNormGradientOf is the gradient of a normalization by the batch's own statistics.
func batchNormGradientOf[T float](c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	x, scale, dy := &c.in[0], &c.in[1], &c.in[2]
	v := viewChannels(x.shape)
	if len(x.shape) < 2 || !dy.shape.Equal(x.shape) || scale.size() != v.channels || scale.dtype != x.dtype || dy.dtype != x.dtype {
		return c.errf("input %v, scale %v, gradient %v", x.shape, scale.shape, dy.shape)
	}
	dx, err := c.out(0, x.dtype, x.shape)
	if err != nil {
		return err
	}
	dscale, err := c.out(1, x.dtype, tensor.Shape{v.channels})
	if err != nil {
		return err
	}
	dbias, err := c.out(2, x.dtype, tensor.Shape{v.channels})
	if err != nil {
		return err
	}
	eps := float64(c.attrs.Float("epsilon", 1e-5))
	xs, ss, gs := x.slot, scale.slot, dy.slot
	count := float64(v.n * v.inner)
	part := func(f *frame, lo, hi int) {
		src, g, s, to := data[T](f, xs), data[T](f, gs), data[T](f, ss), data[T](f, dx)
		for ch := lo; ch < hi; ch++ {
			now := momentsOf(src, v, ch)
			inv := 1 / math.Sqrt(now.variance+eps)
			var sum, along float64
			for n := range v.n {
				at := (n*v.channels + ch) * v.inner
				for i, e := range g[at : at+v.inner] {
					sum += float64(e)
					along += float64(e) * (float64(src[at+i]) - now.mean - now.rest)
				}
			}
			along *= inv
			data[T](f, dscale)[ch], data[T](f, dbias)[ch] = T(along), T(sum)
			k := float64(s[ch]) * inv
			middle, a, b := centred[T](now, -k*along*inv/count, -k*sum/count)
			for n := range v.n {
				at := (n*v.channels + ch) * v.inner
				for i, e := range g[at : at+v.inner] {
					to[at+i] = T(k)*e + a*(src[at+i]-middle) + b
				}
			}
		}
	}
	c.do(func(f *frame) { f.parallel(v.channels, max(1, grain/max(1, v.n*v.inner)), part) })
	return nil
}

// gatherGradientOf adds rows of dy [A, K, B] up at indices [K] of [A, D, B].
func gatherGradientOf[T float](c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	dy, index := &c.in[0], &c.in[1]
	depth, err := c.scalarInt(2)
	if err != nil {
		return err
	}
	if len(dy.shape) != 3 || depth < 0 || !isIndex(index.dtype) || index.size() != dy.shape[1] {
		return c.errf("gradient %v, indices %v%v, depth %d", dy.shape, index.dtype, index.shape, depth)
	}
	outer, count, inner := dy.shape[0], dy.shape[1], dy.shape[2]
	o, err := c.out(0, dy.dtype, tensor.Shape{outer, depth, inner})
	if err != nil {
		return err
	}
	s, at := dy.slot, index.slot
	c.step(func(f *frame) error {
		dx, g, idx := data[T](f, o), data[T](f, s), f.t[at]
		clear(dx)
		for k := range count {
			i := indexOf(idx, k)
			if i < 0 {
				i += depth
			}
			if i < 0 || i >= depth {
				continue // OneHot leaves such a row empty
			}
			for a := range outer {
				to, from := dx[(a*depth+i)*inner:][:inner], g[(a*count+k)*inner:][:inner]
				for j, v := range from {
					to[j] += v
				}
			}
		}
		return nil
	})
	return nil
}

// sumToShapeOf sums over the dimensions that a shape was broadcast along.
func sumToShapeOf[T float](c *prep) error {
	dims, err := c.ints(1)
	if err != nil {
		return err
	}
	x, shape := &c.in[0], tensor.Shape(dims)
	if s, err := infer.Broadcast(x.shape, shape); err != nil || !s.Equal(x.shape) || len(shape) > len(x.shape) {
		return c.errf("%v is not broadcast to %v", shape, x.shape)
	}
	if shape.Size() == x.size() {
		return copyReshaped(c, x, shape)
	}
	drop := make([]bool, len(x.shape))
	lead := len(x.shape) - len(shape)
	for i := range drop {
		drop[i] = i < lead || shape[i-lead] != x.shape[i]
	}
	return reduceOf[T](c, redSum, drop, shape)
}

// copyReshaped is alias, or a copy where the input is scratch memory.
func copyReshaped(c *prep, in *info, shape tensor.Shape) error {
	if !c.intoF {
		return c.alias(0, in, shape)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	s := in.slot
	c.do(func(f *frame) { copyTensor(f.t[o], f.t[s]) })
	return nil
}
