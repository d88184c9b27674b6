package gemm

import "unsafe"

// depthwise is a convolution whose groups have one channel each: too thin for a
// matrix product, so each plane is convolved by itself, a row of pixels at a
// time. Where the horizontal stride is not 1 the plane is copied with its columns
// sorted by their remainder, so that the pixels under one element of the kernel
// always lie side by side.
type depthwise struct {
	kernel *Kernel
	shape  *ConvShape
	oh, ow int
	// The copied plane: for each remainder of the column, height x width.
	height, width int
	copied        bool
	steps         []int32
}

// planeArgs is the work for one plane and one filter. The assembly knows this
// layout: asm/depthwise.go repeats it, and a test compares the two.
type planeArgs struct {
	src       unsafe.Pointer
	steps     *int32
	weights   *float32
	taps      int
	dst       *float32
	rows      int
	cols      int
	srcStride int // bytes from one output row's pixels to the next's
	dstStride int
	bias      float32
	lo        float32
	hi        float32
	flags     int
}

func newDepthwise(k *Kernel, s *ConvShape, padHeight, padWidth int) *depthwise {
	d := &depthwise{kernel: k, shape: s, height: padHeight, width: ceilDiv(padWidth, s.StrideWidth)}
	d.oh, d.ow = s.Output()
	d.copied = s.StrideWidth > 1 || padHeight != s.Height || padWidth != s.Width
	for y := range s.KernelHeight {
		for x := range s.KernelWidth {
			col := x * s.DilationWidth
			at := (col%s.StrideWidth*d.height+y*s.DilationHeight)*d.width + col/s.StrideWidth
			d.steps = append(d.steps, int32(4*at))
		}
	}
	return d
}

func (d *depthwise) scratch() int {
	if !d.copied {
		return 0
	}
	return roundUp(d.shape.StrideWidth*d.height*d.width, 16)
}

// run does planes lo to hi, counted through all images.
func (d *depthwise) run(call *ConvCall, lo, hi int, scratch []float32) {
	s, out := d.shape, d.oh*d.ow
	in, taps, filters := s.Height*s.Width, len(d.steps), s.Filters/s.Channels
	t := planeArgs{steps: &d.steps[0], taps: taps, rows: d.oh, cols: d.ow,
		srcStride: 4 * s.StrideHeight * d.width, dstStride: 4 * d.ow}
	if call.Add {
		t.flags = tileAccumulate
	}
	switch call.Act {
	case Relu:
		t.flags |= tileClip
		t.lo, t.hi = 0, infinity
	case Clip:
		t.flags |= tileClip
		t.lo, t.hi = call.Lo, call.Hi
	}
	if d.copied {
		clear(scratch) // the margins stay zero
	}
	for p := lo; p < hi; p++ {
		plane := call.Src[p*in : (p+1)*in]
		if d.copied {
			d.copyPlane(scratch, plane)
			plane = scratch
		}
		t.src = unsafe.Pointer(&plane[0])
		for f := range filters {
			filter := p%s.Channels*filters + f
			t.weights = &call.Weights[filter*taps]
			t.dst = &call.Dst[(p*filters+f)*out]
			t.bias = 0
			if call.Bias != nil {
				t.bias = call.Bias[filter]
			}
			d.kernel.plane(&t)
		}
	}
}

// copyPlane writes the elements of a plane to where the steps look for them.
func (d *depthwise) copyPlane(dst, src []float32) {
	s := d.shape
	if s.StrideWidth == 1 {
		m := image{channels: 1, height: s.Height, width: s.Width, top: s.PadTop, left: s.PadLeft, padHeight: d.height, padWidth: d.width}
		m.fill(d.kernel, dst, src, 0, d.height)
		return
	}
	for r := range s.StrideWidth {
		first := (r - s.PadLeft%s.StrideWidth + s.StrideWidth) % s.StrideWidth
		for y := range s.Height {
			row := src[y*s.Width : (y+1)*s.Width]
			to := dst[(r*d.height+y+s.PadTop)*d.width+(first+s.PadLeft)/s.StrideWidth:]
			for i, x := 0, first; x < len(row); i, x = i+1, x+s.StrideWidth {
				to[i] = row[x]
			}
		}
	}
}

func (k *Kernel) plane(t *planeArgs) {
	if k.isa == isaGo {
		planeGo(t)
		return
	}
	planeAsm(k.isa, t)
}

func planeGo(t *planeArgs) {
	steps, weights := unsafe.Slice(t.steps, t.taps), unsafe.Slice(t.weights, t.taps)
	for y := range t.rows {
		dst := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(t.dst), y*t.dstStride)), t.cols)
		row := unsafe.Add(t.src, y*t.srcStride)
		for x := range dst {
			s := t.bias
			for i, at := range steps {
				s += weights[i] * *(*float32)(unsafe.Add(row, int(at)+4*x))
			}
			if t.flags&tileAccumulate != 0 {
				s += dst[x]
			}
			if t.flags&tileClip != 0 {
				s = clip(s, t.lo, t.hi)
			}
			dst[x] = s
		}
	}
}
