package gemm

import "fmt"

// Conv is a plan for one convolution, or for its gradient by the input, which is
// the transposed convolution. It is immutable and safe for concurrent use.
type Conv struct {
	kernel   *Kernel
	shape    ConvShape
	src      image
	dst      int // elements of one output image
	outputs  int // channels of the output
	weights  int // packed elements
	gathers  []gather
	deep     *depthwise // instead of gathers where each channel has its own filters
	gradient bool
}

// ConvCall is one use of a plan. Its slices stay the caller's; Dst and Scratch
// must not overlap anything else. A call is used by one run at a time and may
// be kept and used again.
type ConvCall struct {
	Batch   int
	Src     []float32 // Batch images: the input, or the output's gradient
	Weights []float32 // from Conv.Pack
	Bias    []float32 // one for each channel of Dst, or nil
	Dst     []float32 // Batch images: the output, or the input's gradient
	Add     bool      // add to what Dst holds, before Act
	Act     Activation
	Lo, Hi  float32 // the limits of Clip

	Scratch  []float32 // at least Conv.Scratch elements
	Parallel Parallel  // nil: the calling goroutine does it all

	conv  *Conv
	parts int
	split convSplit
}

// convSplit is what a call's parts are.
type convSplit uint8

const (
	splitImages convSplit = iota
	splitPixels
	splitPanels
	splitPlanes // of images and channels, depthwise
)

// NewConv plans the convolution of shape: Src is the input, Weights hold
// Filters x Channels/Groups x KernelHeight x KernelWidth, Dst is the output.
func (k *Kernel) NewConv(shape ConvShape) (*Conv, error) {
	shape = shape.withDefaults()
	if err := shape.check(); err != nil {
		return nil, err
	}
	s := &shape
	oh, ow := s.Output()
	c := &Conv{kernel: k, shape: shape, dst: s.Filters * oh * ow, outputs: s.Filters, src: s.surrounded(oh, ow)}
	if s.Groups > 1 && s.Groups == s.Channels && s.Filters <= 8*s.Channels {
		c.deep = newDepthwise(k, s, c.src.padHeight, c.src.padWidth)
		c.weights = s.WeightsLen()
		return c, nil
	}
	c.gathers = []gather{{
		kernel: k, src: c.src, groups: s.Groups, n: s.Filters / s.Groups,
		pixels: s.pixels(&c.src, oh, ow), steps: s.steps(&c.src),
		rows: (s.KernelHeight-1)*s.DilationHeight + 1, plane: oh * ow,
	}}
	c.finish()
	return c, nil
}

// NewConvInputGrad plans the gradient of the convolution of shape by its input:
// Src is the gradient by the output, Weights are those of the convolution, Dst is
// the gradient by the input. It is also the transposed convolution from Filters
// to Channels channels; Bias and Act are for that.
func (k *Kernel) NewConvInputGrad(shape ConvShape) (*Conv, error) {
	shape = shape.withDefaults()
	if err := shape.check(); err != nil {
		return nil, err
	}
	c := &Conv{kernel: k, shape: shape, dst: shape.Channels * shape.Height * shape.Width,
		outputs: shape.Channels, gradient: true}
	c.planGradient()
	c.finish()
	return c, nil
}

// finish adds up the weights of all gathers.
func (c *Conv) finish() {
	for i := range c.gathers {
		g := &c.gathers[i]
		g.at = c.weights
		c.weights += g.groups * g.weights()
	}
}

// surrounded is the input with as many zeros around it as the windows touch.
func (s *ConvShape) surrounded(oh, ow int) image {
	m := image{channels: s.Channels, height: s.Height, width: s.Width, top: s.PadTop, left: s.PadLeft}
	m.padHeight = max(s.Height+s.PadTop, (oh-1)*s.StrideHeight+(s.KernelHeight-1)*s.DilationHeight+1)
	m.padWidth = max(s.Width+s.PadLeft, (ow-1)*s.StrideWidth+(s.KernelWidth-1)*s.DilationWidth+1)
	return m
}

// pixels is the offset of each output pixel's window.
func (s *ConvShape) pixels(m *image, oh, ow int) []int32 {
	p := make([]int32, 0, oh*ow)
	for y := range oh {
		for x := range ow {
			p = append(p, int32(4*(y*s.StrideHeight*m.padWidth+x*s.StrideWidth)))
		}
	}
	return p
}

// steps is the offset of each element of a window, in the order of the weights.
func (s *ConvShape) steps(m *image) []int32 {
	p := make([]int32, 0, s.Channels/s.Groups*s.KernelHeight*s.KernelWidth)
	for ch := range s.Channels / s.Groups {
		for y := range s.KernelHeight {
			for x := range s.KernelWidth {
				p = append(p, int32(4*((ch*m.padHeight+y*s.DilationHeight)*m.padWidth+x*s.DilationWidth)))
			}
		}
	}
	return p
}

// WeightsLen is the number of elements of the convolution's weights.
func (s ConvShape) WeightsLen() int {
	s = s.withDefaults()
	return s.Filters * (s.Channels / s.Groups) * s.KernelHeight * s.KernelWidth
}

// PackedLen is the number of elements that Pack needs.
func (c *Conv) PackedLen() int { return c.weights }

// Pack lays out the convolution's weights for this plan in dst. It allocates
// nothing, so that training may pack at every step.
func (c *Conv) Pack(dst, weights []float32) error {
	if n := c.shape.WeightsLen(); len(weights) < n {
		return fmt.Errorf("%w: weights have %d elements, need %d", ErrShape, len(weights), n)
	}
	if len(dst) < c.weights {
		return fmt.Errorf("%w: packed weights have %d elements, need %d", ErrShape, len(dst), c.weights)
	}
	if c.deep != nil {
		copy(dst, weights[:c.weights])
	}
	for i := range c.gathers {
		g := &c.gathers[i]
		for group := range g.groups {
			to := dst[g.at+group*g.weights():][:g.weights()]
			if c.gradient {
				c.packGradient(g, to, weights, group)
				continue
			}
			depth := len(g.steps)
			c.kernel.packPanels(to, weights[group*g.n*depth:], depth, g.n, depth, true)
		}
	}
	return nil
}

// Scratch is how many elements call.Scratch must have; it depends on the call's
// Batch and Parallel alone.
func (c *Conv) Scratch(call *ConvCall) int {
	parts, _ := c.parts(call.Batch, call.Parallel)
	return parts * c.partScratch()
}

func (c *Conv) partScratch() int {
	if c.deep != nil {
		return c.deep.scratch()
	}
	n := 0
	for i := range c.gathers {
		n = max(n, c.gathers[i].scratchTile())
	}
	if c.src.padded() {
		n += c.src.paddedLen()
	}
	return roundUp(n, 16)
}

// parts decides how a call is cut up: by images where there are enough, else by
// channels of the output where the weights are large, else by pixels.
func (c *Conv) parts(batch int, p Parallel) (int, convSplit) {
	w := workers(p)
	if c.deep != nil {
		if batch*c.dst*len(c.deep.steps) < c.kernel.grain/4 {
			return 1, splitPlanes
		}
		return max(1, min(w, batch*c.shape.Channels)), splitPlanes
	}
	g := &c.gathers[0]
	work := batch * len(g.pixels) * len(g.steps) * g.n * g.groups
	switch {
	case w == 1 || work < c.kernel.grain:
		return 1, splitImages
	case batch >= 4*w || batch >= w && batch%w == 0:
		return w, splitImages
	case g.weights() > 1<<17:
		return min(w, ceilDiv(g.n, c.kernel.cols)), splitPanels
	default:
		return min(w, ceilDiv(len(g.pixels), c.kernel.rows)), splitPixels
	}
}

// Run computes call. It fails, with an error that wraps [ErrShape] and before
// it wrote anything, where sizes do not fit.
func (c *Conv) Run(call *ConvCall) error {
	if err := c.check(call); err != nil {
		return err
	}
	if call.Batch == 0 {
		return nil
	}
	call.conv = c
	call.parts, call.split = c.parts(call.Batch, call.Parallel)
	if need := call.parts * c.partScratch(); len(call.Scratch) < need {
		return fmt.Errorf("%w: scratch has %d elements, needs %d", ErrShape, len(call.Scratch), need)
	}
	run(call.Parallel, call.parts, call)
	return nil
}

func (c *Conv) check(call *ConvCall) error {
	for _, v := range []struct {
		name      string
		got, need int
	}{
		{"weights", len(call.Weights), c.weights},
		{"source", len(call.Src) / max(1, call.Batch), c.src.len()},
		{"destination", len(call.Dst) / max(1, call.Batch), c.dst},
	} {
		if v.got < v.need && call.Batch != 0 || call.Batch < 0 {
			return fmt.Errorf("%w: convolution of %d images: %s has %d elements an image, needs %d",
				ErrShape, call.Batch, v.name, v.got, v.need)
		}
	}
	if call.Bias != nil && len(call.Bias) < c.outputs {
		return fmt.Errorf("%w: bias for %d channels has %d elements", ErrShape, c.outputs, len(call.Bias))
	}
	return nil
}

// Do computes part i of the call. Only a [Parallel] calls it.
func (call *ConvCall) Do(i int) {
	c := call.conv
	n := c.partScratch()
	scratch := call.Scratch[i*n : (i+1)*n]
	if c.deep != nil {
		lo, hi := share(call.Batch*c.shape.Channels, call.parts, i)
		c.deep.run(call, lo, hi, scratch)
		return
	}
	var surrounded []float32
	if c.src.padded() {
		surrounded, scratch = scratch[:c.src.paddedLen()], scratch[c.src.paddedLen():]
	}
	first, last := 0, call.Batch
	if call.split == splitImages {
		first, last = share(call.Batch, call.parts, i)
	}
	var lo, hi int
	if surrounded != nil {
		lo, hi = call.sourceRows(i)
		c.src.clear(surrounded, lo, hi)
	}
	for b := first; b < last; b++ {
		src := call.Src[b*c.src.len() : (b+1)*c.src.len()]
		if surrounded != nil {
			c.src.fill(c.kernel, surrounded, src, lo, hi)
			src = surrounded
		}
		out := output{dst: call.Dst[b*c.dst : (b+1)*c.dst], bias: call.Bias, add: call.Add,
			act: call.Act, lo: call.Lo, hi: call.Hi}
		for g := range c.gathers {
			c.gathers[g].run(call.span(g, i), src, call.Weights, scratch, &out)
		}
	}
}

// span is what part i does of gather g.
func (call *ConvCall) span(g, i int) span {
	gt := &call.conv.gathers[g]
	s := gt.all()
	switch call.split {
	case splitPixels:
		s.p0, s.p1 = share(len(gt.pixels), call.parts, i)
	case splitPanels:
		s.j0, s.j1 = share(s.j1, call.parts, i)
	}
	return s
}

// sourceRows are the rows that part i needs of the surrounded source.
func (call *ConvCall) sourceRows(i int) (lo, hi int) {
	c := call.conv
	lo, hi = c.src.padHeight, 0
	for g := range c.gathers {
		if s := call.span(g, i); s.p0 < s.p1 {
			l, h := c.gathers[g].sourceRows(s)
			lo, hi = min(lo, l), max(hi, h)
		}
	}
	return min(lo, hi), min(hi, c.src.padHeight)
}
