package native

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A convolution is what the plan knows of one.
type convolution struct {
	w                   *window
	n, channels, groups int
	filters             int
	x, weights, bias, o int // slots; bias may be -1
	// add is a slot whose elements fusion adds to the result, or -1.
	add int
}

// conv is the kernel of Conv. Fusion adds input 3, which is added to the result.
var conv = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	cv, err := c.convolution(&c.in[0], &c.in[1], c.opt(2))
	if err != nil {
		return err
	}
	if c.opt(3).has() {
		return c.convAdd(cv)
	}
	if cv.o, err = c.out(0, c.in[0].dtype, cv.w.outShape(cv.n, cv.filters)); err != nil {
		return err
	}
	return c.convolve(cv)
})

// convolution reads the shapes and attributes of a convolution of x with weights and perhaps a bias.
func (c *prep) convolution(in, filters, bias *info) (*convolution, error) {
	x, weights := in.shape, filters.shape
	if len(x) < 3 || len(weights) != len(x) {
		return nil, c.errf("input %v with weights %v", x, weights)
	}
	kernel := weights[2:]
	if k := toInts(c.attrs.Ints("kernel_shape", nil)); len(k) > 0 && !tensor.Shape(k).Equal(kernel) {
		return nil, c.errf("kernel_shape is %v, the weights are %v", k, weights)
	}
	w, err := c.windowOf(x, kernel, false)
	if err != nil {
		return nil, err
	}
	g := c.attrs.Int("group", 1)
	if g < 1 || g > int64(max(weights[0], 1)) || weights[0]%int(g) != 0 || x[1] != weights[1]*int(g) {
		return nil, c.errf("input %v with weights %v in %d groups", x, weights, g)
	}
	cv := &convolution{w: w, n: x[0], channels: x[1], groups: int(g), filters: weights[0], x: in.slot, weights: filters.slot, bias: -1, add: -1}
	if b := bias; b.has() {
		if b.size() != cv.filters {
			return nil, c.errf("bias %v for %d filters", b.shape, cv.filters)
		}
		cv.bias = b.slot
	}
	return cv, nil
}

// convAdd prepares a convolution that another tensor is added to. Where that has the result's shape, the kernel adds;
// in the memory of that tensor, where nobody needs it afterwards.
func (c *prep) convAdd(cv *convolution) error {
	other, act := c.in[3], c.n.act
	shape := cv.w.outShape(cv.n, cv.filters)
	if c.in[0].dtype != tensor.Float32 || other.dtype != tensor.Float32 {
		return c.errf("types %v and %v differ", c.in[0].dtype, other.dtype)
	}
	if other.shape.Equal(shape) {
		o, err := c.out(0, tensor.Float32, shape)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(c.in[:3], func(in info) bool { return in.slot == other.slot }) {
			c.inplace(o, other.slot) // not where the convolution reads it as well
		}
		cv.o, cv.add = o, other.slot
		return c.convolve(cv)
	}
	sum, err := infer.Broadcast(shape, other.shape)
	if err != nil {
		return c.errf("%w", err)
	}
	if cv.o, err = c.scratchOf(tensor.Float32, shape); err != nil {
		return err
	}
	o, err := c.out(0, tensor.Float32, sum)
	if err != nil {
		return err
	}
	c.act = activation{}
	if err := c.convolve(cv); err != nil {
		return err
	}
	c.act = act
	binaryStep(c, o, sum, &info{dtype: tensor.Float32, shape: shape, slot: cv.o}, &other, c.pl.e.rows[opAdd])
	c.do(func(f *frame) { applyTo(act, data[float32](f, o)) })
	return nil
}

// convolve chooses how to compute a convolution.
func (c *prep) convolve(cv *convolution) error {
	w := cv.w
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		if plan, err := c.pl.e.kernel.NewConv(cv.shape()); err == nil && w.spatial < 3 {
			return convPlanned(c, cv, plan, "conv")
		}
		return convDirect[float32](c, cv)
	case tensor.Float64:
		return convDirect[float64](c, cv)
	default:
		return c.refuseType(d)
	}
}

// shape is the convolution for package gemm, which refuses what it does not plan.
func (cv *convolution) shape() gemm.ConvShape {
	w := cv.w
	return gemm.ConvShape{
		Channels: cv.channels, Height: w.in[1], Width: w.in[2], Filters: cv.filters,
		KernelHeight: w.kernel[1], KernelWidth: w.kernel[2], StrideHeight: w.stride[1], StrideWidth: w.stride[2],
		DilationHeight: w.dilation[1], DilationWidth: w.dilation[2],
		PadTop: w.lo[1], PadLeft: w.lo[2], PadBottom: w.hi[1], PadRight: w.hi[2], Groups: cv.groups,
	}
}

// convPlanned runs a convolution, or its transpose, by a plan of package gemm.
func convPlanned(c *prep, cv *convolution, plan *gemm.Conv, kind string) error {
	in := &c.in[1]
	packed := -1
	var weights []float32
	var err error
	if in.weight {
		key := cv.shape()
		if kind == "conv" { // packed weights do not depend on the image
			key.Height, key.Width, key.PadTop, key.PadLeft, key.PadBottom, key.PadRight = 0, 0, 0, 0, 0, 0
		}
		weights = derive(c, in, fmt.Sprintf("%s %+v", kind, key), func(t *tensor.Tensor) []float32 {
			p := make([]float32, plan.PackedLen())
			err = plan.Pack(p, tensor.Data[float32](t))
			return p
		})
	} else if packed, err = c.scratch(tensor.Float32, plan.PackedLen()); err == nil {
		from := in.slot
		c.step(func(f *frame) error { return plan.Pack(data[float32](f, packed), data[float32](f, from)) })
	}
	if err != nil {
		return c.errf("%w", err)
	}
	call := gemm.ConvCall{Batch: cv.n, Weights: weights, Add: cv.add >= 0, Act: c.act.kind, Lo: c.act.lo, Hi: c.act.hi}
	call.Parallel = &frame{pool: c.pl.pool}
	need := plan.Scratch(&call)
	if c.in[0].carries == carriesRows {
		need = c.mostScratch(func(batch int) int {
			call.Batch = batch
			return plan.Scratch(&call)
		}, need)
		call.Batch = cv.n
	}
	scratch, err := c.scratch(tensor.Float32, need)
	if err != nil {
		return err
	}
	call.Parallel = nil
	size := c.pl.slots[cv.o].shape.Size() / max(1, cv.n)
	c.step(func(f *frame) error {
		p := &f.conv
		*p = call
		p.Batch = f.rows(cv.n)
		p.Src, p.Dst, p.Scratch = data[float32](f, cv.x), data[float32](f, cv.o), data[float32](f, scratch)
		if packed >= 0 {
			p.Weights = data[float32](f, packed)
		}
		if cv.bias >= 0 {
			p.Bias = data[float32](f, cv.bias)
		}
		if cv.add >= 0 {
			startWith(p.Dst[:p.Batch*size], data[float32](f, cv.add))
		}
		if f.pool.threads > 1 {
			p.Parallel = f
		}
		return plan.Run(p)
	})
	return nil
}

// startWith copies src to dst where they are not the same memory.
func startWith[T real](dst, src []T) {
	if len(dst) > 0 && &dst[0] != &src[0] {
		copy(dst, src)
	}
}

// convDirect computes a convolution of up to three dimensions by its definition.
func convDirect[T real](c *prep, cv *convolution) error {
	w, act := cv.w, c.act
	cg, fg := cv.channels/cv.groups, cv.filters/cv.groups
	part := func(f *frame, lo, hi int) {
		x, k, d := data[T](f, cv.x), data[T](f, cv.weights), data[T](f, cv.o)
		var bias []T
		if cv.bias >= 0 {
			bias = data[T](f, cv.bias)
		}
		for nf := lo; nf < hi; nf++ {
			filter := nf % cv.filters
			src := x[(nf/cv.filters*cv.channels+filter/fg*cg)*w.inSize():]
			weights := k[filter*cg*w.kernelSize():]
			dst := d[nf*w.outSize() : (nf+1)*w.outSize()]
			var start T
			if bias != nil {
				start = bias[filter]
			}
			if cv.add >= 0 {
				startWith(dst, data[T](f, cv.add)[nf*w.outSize():(nf+1)*w.outSize()])
				for i := range dst {
					dst[i] += start
				}
			} else {
				for i := range dst {
					dst[i] = start
				}
			}
			for ch := range cg {
				correlate(w, dst, src[ch*w.inSize():], weights[ch*w.kernelSize():])
			}
			applyTo(act, dst)
		}
	}
	c.do(func(f *frame) { f.parallel(cv.n*cv.filters, max(1, grain/max(1, w.outSize()*w.kernelSize()*cg)), part) })
	return nil
}

// correlate adds the window's products of one channel to dst, one element of the kernel at a time.
func correlate[T real](w *window, dst, src, weights []T) {
	for kz := range w.kernel[0] {
		for ky := range w.kernel[1] {
			for kx := range w.kernel[2] {
				v := weights[(kz*w.kernel[1]+ky)*w.kernel[2]+kx]
				x0, x1 := w.outRange(2, kx)
				z0, z1 := w.outRange(0, kz)
				y0, y1 := w.outRange(1, ky)
				for oz := z0; oz < z1; oz++ {
					iz := oz*w.stride[0] - w.lo[0] + kz*w.dilation[0]
					for oy := y0; oy < y1; oy++ {
						iy := oy*w.stride[1] - w.lo[1] + ky*w.dilation[1]
						row := dst[(oz*w.out[1]+oy)*w.out[2]:]
						at := (iz*w.in[1]+iy)*w.in[2] + x0*w.stride[2] - w.lo[2] + kx*w.dilation[2]
						for ox := x0; ox < x1; ox++ {
							row[ox] += v * src[at]
							at += w.stride[2]
						}
					}
				}
			}
		}
	}
}

// outRange returns the output positions for which element k of the kernel lies inside the input.
func (w *window) outRange(d, k int) (lo, hi int) {
	off := k*w.dilation[d] - w.lo[d]
	if off < 0 {
		lo = (-off + w.stride[d] - 1) / w.stride[d]
	}
	if room := w.in[d] - 1 - off; room >= 0 {
		hi = min(w.out[d], room/w.stride[d]+1)
	}
	return lo, max(lo, hi)
}

// convTranspose is the kernel of ConvTranspose.
var convTranspose = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	x, weights := c.in[0].shape, c.in[1].shape
	if len(x) < 3 || len(x) > 5 || len(weights) != len(x) {
		return c.errf("input %v with weights %v", x, weights)
	}
	if k := toInts(c.attrs.Ints("kernel_shape", nil)); len(k) > 0 && !tensor.Shape(k).Equal(weights[2:]) {
		return c.errf("kernel_shape is %v, the weights are %v", k, weights)
	}
	g := int(c.attrs.Int("group", 1))
	if g < 1 || g > max(x[1], 1) || x[1]%g != 0 || weights[0] != x[1] {
		return c.errf("input %v with weights %v in %d groups", x, weights, g)
	}
	w, extra, err := c.transposedWindow(x, weights[2:])
	if err != nil {
		return err
	}
	// Seen from the convolution that it transposes, input and output change places.
	cv := &convolution{w: w, n: x[0], channels: weights[1] * g, groups: g, filters: x[1], x: c.in[0].slot, weights: c.in[1].slot, bias: -1, add: -1}
	if b := c.opt(2); b.has() {
		if b.size() != cv.channels {
			return c.errf("bias %v for %d filters", b.shape, cv.channels)
		}
		cv.bias = b.slot
	}
	shape := append(tensor.Shape{cv.n, cv.channels}, w.in[3-w.spatial:]...)
	if cv.o, err = c.out(0, c.in[0].dtype, shape); err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		if oh, ow := cv.shape().Output(); !extra && w.spatial < 3 && oh == w.out[1] && ow == w.out[2] {
			if plan, err := c.pl.e.kernel.NewConvInputGrad(cv.shape()); err == nil {
				return convPlanned(c, cv, plan, "transposed")
			}
		}
		return scatterDirect[float32](c, cv)
	case tensor.Float64:
		return scatterDirect[float64](c, cv)
	default:
		return c.refuseType(d)
	}
})

// transposedWindow settles padding and output of a transposed convolution. in of the window is its output. extra says
// that the padding is negative.
func (c *prep) transposedWindow(in tensor.Shape, kernel []int) (w *window, extra bool, err error) {
	w, read, err := c.readWindow(in, kernel)
	if err != nil {
		return nil, false, err
	}
	n := w.spatial
	wanted, err := infer.OutputShape(c.attrs, n)
	if err != nil {
		return nil, false, c.errf("%w", err)
	}
	padding := c.attrs.Ints("output_padding", nil)
	if len(padding) != 0 && len(padding) != n {
		return nil, false, c.errf("output_padding %v for input %v", padding, in)
	}
	for i := range n {
		d := 3 - n + i
		more, length := int64(0), int64(-1)
		if len(padding) > 0 {
			more = padding[i]
		}
		if wanted != nil {
			length = wanted[i]
		}
		made, lo, hi, err := read.Spread(i, int64(in[2+i]), more, length)
		if err != nil {
			return nil, false, c.errf("input %v: %w", in, err)
		}
		w.out[d], w.in[d], w.lo[d], w.hi[d] = in[2+i], int(made), int(lo), int(hi)
		extra = extra || lo < 0 || hi < 0
	}
	return w, extra, nil
}

// scatterDirect computes a transposed convolution by its definition: each input element is spread over the output.
func scatterDirect[T float](c *prep, cv *convolution) error {
	w, act := cv.w, c.act
	cg, fg := cv.channels/cv.groups, cv.filters/cv.groups
	part := func(f *frame, lo, hi int) {
		x, k, d := data[T](f, cv.x), data[T](f, cv.weights), data[T](f, cv.o)
		for nc := lo; nc < hi; nc++ {
			ch := nc % cv.channels
			dst := d[nc*w.inSize() : (nc+1)*w.inSize()]
			var start T
			if cv.bias >= 0 {
				start = data[T](f, cv.bias)[ch]
			}
			for i := range dst {
				dst[i] = start
			}
			for fl := ch / cg * fg; fl < (ch/cg+1)*fg; fl++ {
				src := x[(nc/cv.channels*cv.filters+fl)*w.outSize():]
				spread(w, dst, src, k[(fl*cg+ch%cg)*w.kernelSize():])
			}
			applyTo(act, dst)
		}
	}
	c.do(func(f *frame) { f.parallel(cv.n*cv.channels, 1, part) })
	return nil
}

// spread is correlate the other way round.
func spread[T float](w *window, dst, src, weights []T) {
	for kz := range w.kernel[0] {
		for ky := range w.kernel[1] {
			for kx := range w.kernel[2] {
				v := weights[(kz*w.kernel[1]+ky)*w.kernel[2]+kx]
				x0, x1 := w.outRange(2, kx)
				z0, z1 := w.outRange(0, kz)
				y0, y1 := w.outRange(1, ky)
				for oz := z0; oz < z1; oz++ {
					iz := oz*w.stride[0] - w.lo[0] + kz*w.dilation[0]
					for oy := y0; oy < y1; oy++ {
						iy := oy*w.stride[1] - w.lo[1] + ky*w.dilation[1]
						row := src[(oz*w.out[1]+oy)*w.out[2]:]
						at := (iz*w.in[1]+iy)*w.in[2] + x0*w.stride[2] - w.lo[2] + kx*w.dilation[2]
						for ox := x0; ox < x1; ox++ {
							dst[at] += v * row[ox]
							at += w.stride[2]
						}
					}
				}
			}
		}
	}
}
