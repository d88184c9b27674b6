package gemm

import (
	"fmt"
	"unsafe"
)

// exactFloats is up to where every whole number is a float32.
const exactFloats = 1 << 24

// IntegerDepthwise is a plan for convolutions of bytes whose groups have one channel each, with exact sums. They are too thin for the tile. Their
// sums are short, and below 2^24 float32 adds whole numbers exactly: so the planes go through the kernel for float32, one after the other, in
// memory that stays in the cache. Rows are computed with a horizontal stride of 1, and where the vertical one is 1 too, all of them as a single row
// over the frame, because whole vectors side by side are faster than short rows: what stands between is left out afterwards. It is immutable
// and safe for concurrent use.
type IntegerDepthwise struct {
	kernel     *Kernel
	shape      ConvShape
	oh, ow     int
	frame      image // a plane with its margins
	steps      []int32
	rows, cols int     // that are computed
	every      Windows // which of these are the result: windows of one element
}

// IntegerDepthwiseCall is one use of a plan. Its slices stay the caller's; results and Scratch must not overlap anything else. A call is used by
// one run at a time and may be kept and used again.
type IntegerDepthwiseCall struct {
	Batch   int
	Src     []byte    // Batch images in NCHW order
	Signed  bool      // Src has int8, else uint8
	SrcZero int32     // what is taken from Src; the padding is 0
	Weights []float32 // from Pack

	// One of both is there: the exact sums, or bytes by Requantization's rule, with a number of Bias and of By for each filter.
	Sums      []int32
	Dst       []byte
	Bias      []float32 // whole numbers
	By        []float32
	Low, High float32 // less Zero
	Zero      int32

	Scratch  []float32 // at least IntegerDepthwise.Scratch elements
	Parallel Parallel  // nil: the calling goroutine does it all

	plan  *IntegerDepthwise
	parts int
}

// NewIntegerDepthwise plans a convolution of which no bias is larger than reach. It fails, with an error that wraps [ErrShape], where groups have
// several channels, and where sums would not be exact.
func (k *Kernel) NewIntegerDepthwise(shape ConvShape, reach int) (*IntegerDepthwise, error) {
	d := &IntegerDepthwise{kernel: k, shape: shape.withDefaults()}
	s := &d.shape
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Groups != s.Channels {
		return nil, fmt.Errorf("%w: %d channels in %d groups", ErrShape, s.Channels, s.Groups)
	}
	if most := s.KernelHeight * s.KernelWidth * 255 * 128; reach < 0 || reach > exactFloats || most+reach >= exactFloats {
		return nil, fmt.Errorf("%w: sums of %d x %d products and a bias up to %d", ErrShape, s.KernelHeight, s.KernelWidth, reach)
	}
	d.oh, d.ow = s.Output()
	d.frame = s.surrounded(d.oh, d.ow)
	d.frame.channels = 1
	pitch := d.frame.padWidth
	for y := range s.KernelHeight {
		for x := range s.KernelWidth {
			d.steps = append(d.steps, int32(4*(y*s.DilationHeight*pitch+x*s.DilationWidth)))
		}
	}
	d.rows, d.cols = d.oh, (d.ow-1)*s.StrideWidth+1
	d.every = Windows{Rows: d.oh, Cols: d.ow, RowStep: d.cols, Stride: s.StrideWidth, Steps: []int32{0}}
	if s.StrideHeight == 1 {
		d.rows, d.cols, d.every.RowStep = 1, (d.oh-1)*pitch+d.cols, pitch
	}
	return d, nil
}

// Pack returns Filters x KernelHeight x KernelWidth weights as the plan wants them.
func (d *IntegerDepthwise) Pack(w []int8) ([]float32, error) {
	if n := d.shape.Filters * len(d.steps); len(w) != n {
		return nil, fmt.Errorf("%w: %d weights, not %d", ErrShape, len(w), n)
	}
	p := make([]float32, len(w))
	for i, v := range w {
		p[i] = float32(v)
	}
	return p, nil
}

// Scratch is how many elements call.Scratch must have; it depends on the call's Batch and Parallel alone.
func (d *IntegerDepthwise) Scratch(call *IntegerDepthwiseCall) int {
	return d.parts(call) * d.partScratch()
}

// partScratch is for a plane of the source, the same with its margins, what is computed, and the result.
func (d *IntegerDepthwise) partScratch() int {
	return roundUp(d.frame.len(), 16) + roundUp(d.frame.paddedLen(), 16) + roundUp(d.rows*d.cols, 16) + roundUp(d.oh*d.ow, 16)
}

func (d *IntegerDepthwise) parts(call *IntegerDepthwiseCall) int {
	planes := call.Batch * d.shape.Channels
	if planes*d.shape.Filters/d.shape.Channels*d.oh*d.ow*len(d.steps) < d.kernel.grain/4 {
		return 1
	}
	return max(1, min(workers(call.Parallel), planes))
}

// Run computes call. It fails, with an error that wraps [ErrShape] and before it wrote anything, where sizes do not fit.
func (d *IntegerDepthwise) Run(call *IntegerDepthwiseCall) error {
	s := &d.shape
	in, out := call.Batch*s.Channels*s.Height*s.Width, call.Batch*s.Filters*d.oh*d.ow
	call.plan, call.parts = d, d.parts(call)
	switch {
	case call.Batch < 0 || len(call.Src) < in || len(call.Weights) < s.Filters*len(d.steps) || len(call.Scratch) < d.Scratch(call):
		return fmt.Errorf("%w: %d images, source of %d bytes, %d weights, %d elements of scratch", ErrShape, call.Batch, len(call.Src), len(call.Weights), len(call.Scratch))
	case call.Sums != nil && len(call.Sums) < out || call.Sums == nil && (len(call.Dst) < out || len(call.Bias) < s.Filters || len(call.By) < s.Filters):
		return fmt.Errorf("%w: room for %d sums or %d bytes of %d, %d biases, %d factors", ErrShape, len(call.Sums), len(call.Dst), out, len(call.Bias), len(call.By))
	}
	if in > 0 && out > 0 {
		run(call.Parallel, call.parts, call)
	}
	return nil
}

// Do computes part i of the call. Only a [Parallel] calls it.
func (call *IntegerDepthwiseCall) Do(i int) {
	d := call.plan
	k, s := d.kernel, &d.shape
	scratch := call.Scratch[i*d.partScratch():][:d.partScratch()]
	take := func(n int) (part []float32) {
		part, scratch = scratch[:n], scratch[roundUp(n, 16):]
		return part
	}
	in, out, taps, filters := d.frame.len(), d.oh*d.ow, len(d.steps), s.Filters/s.Channels
	plane, framed, computed, result := take(in), take(d.frame.paddedLen()), take(d.rows*d.cols), take(out)
	t := planeArgs{steps: &d.steps[0], taps: taps, rows: d.rows, cols: d.cols, srcStride: 4 * s.StrideHeight * d.frame.padWidth, dstStride: 4 * d.cols,
		src: unsafe.Pointer(&plane[0]), dst: &computed[0]}
	if d.frame.padded() {
		clear(framed)
		t.src = unsafe.Pointer(&framed[0])
	}
	if d.rows*d.cols == out {
		t.dst = &result[0]
	}
	lo, hi := share(call.Batch*s.Channels, call.parts, i)
	for p := lo; p < hi; p++ {
		k.Dequantize(plane, call.Src[p*in:][:in], call.SrcZero, 1, call.Signed)
		if d.frame.padded() {
			d.frame.fill(k, framed, plane, 0, d.frame.padHeight)
		}
		for f := range filters {
			filter, at := p%s.Channels*filters+f, (p*filters+f)*out
			t.weights, t.bias = &call.Weights[filter*taps], 0
			if call.Sums == nil {
				t.bias = call.Bias[filter]
			}
			k.plane(&t)
			if d.rows*d.cols != out {
				k.maxWindows(result, nil, computed, &d.every, 0)
			}
			if call.Sums != nil {
				sums := call.Sums[at:][:out]
				for j, v := range result {
					sums[j] = int32(v)
				}
				continue
			}
			k.quantizeBy(call.Dst[at:][:out], result, call.By[filter], call.Low, call.High, call.Zero)
		}
	}
}
