package gemm

import (
	"fmt"
	"unsafe"
)

// ConvWeightGrad is a plan for the gradient of a convolution by its weights. It
// is immutable and safe for concurrent use.
//
// The gradient of window element s and filter f is the sum over pixels p of
// input[s, p] * gradient[f, p]: a product whose rows are window elements and
// whose reduction runs over pixels. It reads the input where it lies, by the
// same offsets as the convolution; only the output's gradient is transposed.
type ConvWeightGrad struct {
	kernel *Kernel
	shape  ConvShape
	src    image
	pixels []int32
	steps  []int32
	plane  int // pixels of the output
}

// ConvWeightCall is one use of a plan. Its slices stay the caller's; Dst and
// Scratch must not overlap anything else. A call is used by one run at a time
// and may be kept and used again.
type ConvWeightCall struct {
	Batch int
	Src   []float32 // Batch images: the convolution's input
	Grad  []float32 // Batch images: the gradient by its output
	Dst   []float32 // the gradient by the weights, in their order
	Add   bool      // add to what Dst holds

	Scratch  []float32 // at least ConvWeightGrad.Scratch elements
	Parallel Parallel  // nil: the calling goroutine does it all

	plan  *ConvWeightGrad
	parts int
}

// NewConvWeightGrad plans the gradient of the convolution of shape by its weights.
func (k *Kernel) NewConvWeightGrad(shape ConvShape) (*ConvWeightGrad, error) {
	shape = shape.withDefaults()
	if err := shape.check(); err != nil {
		return nil, err
	}
	oh, ow := shape.Output()
	w := &ConvWeightGrad{kernel: k, shape: shape, src: shape.surrounded(oh, ow), plane: oh * ow}
	w.pixels, w.steps = shape.pixels(&w.src, oh, ow), shape.steps(&w.src)
	return w, nil
}

// Pixels that are reduced at a time: their transposed gradients stay in the
// second-level cache.
const weightPixels = 512

func (w *ConvWeightGrad) filters() int { return w.shape.Filters / w.shape.Groups }

// sums is the number of accumulators of one part: for each group and panel of
// filters, window elements x the tile's width.
func (w *ConvWeightGrad) sums() int {
	return w.shape.Groups * roundUp(w.filters(), w.kernel.cols) * len(w.steps)
}

func (w *ConvWeightGrad) partScratch() int {
	n := w.sums() + min(weightPixels, w.plane)*w.kernel.cols
	if w.src.padded() {
		n += w.src.paddedLen()
	}
	return roundUp(n, 16)
}

func (w *ConvWeightGrad) parts(call *ConvWeightCall) int {
	if call.Batch*w.plane*w.shape.WeightsLen() < w.kernel.grain {
		return 1
	}
	return max(1, min(workers(call.Parallel), call.Batch))
}

// Scratch is how many elements call.Scratch must have; it depends on the call's
// Batch and Parallel alone.
func (w *ConvWeightGrad) Scratch(call *ConvWeightCall) int {
	return w.parts(call) * w.partScratch()
}

// Run computes call. It fails, with an error that wraps [ErrShape] and before
// it wrote anything, where sizes do not fit. The images are cut into as many
// runs as there are workers and their sums added in order: the result depends on
// the number of workers in the last bits, but not on timing.
func (w *ConvWeightGrad) Run(call *ConvWeightCall) error {
	call.plan, call.parts = w, w.parts(call)
	switch {
	case call.Batch < 0:
		return fmt.Errorf("%w: weight gradient of %d images", ErrShape, call.Batch)
	case len(call.Src)/max(1, call.Batch) < w.src.len() && call.Batch > 0:
		return fmt.Errorf("%w: %d images have %d elements, an image has %d", ErrShape, call.Batch, len(call.Src), w.src.len())
	case len(call.Grad)/max(1, call.Batch) < w.shape.Filters*w.plane && call.Batch > 0:
		return fmt.Errorf("%w: %d output gradients have %d elements, one has %d", ErrShape, call.Batch, len(call.Grad), w.shape.Filters*w.plane)
	case len(call.Dst) < w.shape.WeightsLen():
		return fmt.Errorf("%w: weight gradient has %d elements, needs %d", ErrShape, len(call.Dst), w.shape.WeightsLen())
	case len(call.Scratch) < call.parts*w.partScratch():
		return fmt.Errorf("%w: scratch has %d elements, needs %d", ErrShape, len(call.Scratch), call.parts*w.partScratch())
	}
	if call.Batch == 0 {
		if !call.Add {
			clear(call.Dst[:w.shape.WeightsLen()])
		}
		return nil
	}
	run(call.Parallel, call.parts, call)
	call.collect()
	return nil
}

// Do computes part i of the call. Only a [Parallel] calls it.
func (call *ConvWeightCall) Do(i int) {
	w := call.plan
	n := w.partScratch()
	scratch := call.Scratch[i*n : (i+1)*n]
	sums, scratch := scratch[:w.sums()], scratch[w.sums():]
	var surrounded []float32
	if w.src.padded() {
		surrounded, scratch = scratch[:w.src.paddedLen()], scratch[w.src.paddedLen():]
		w.src.clear(surrounded, 0, w.src.padHeight)
	}
	first, last := share(call.Batch, call.parts, i)
	for b := first; b < last; b++ {
		src := call.Src[b*w.src.len() : (b+1)*w.src.len()]
		if surrounded != nil {
			w.src.fill(w.kernel, surrounded, src, 0, w.src.padHeight)
			src = surrounded
		}
		out := w.shape.Filters * w.plane
		w.image(sums, src, call.Grad[b*out:(b+1)*out], scratch, b > first)
	}
}

// image adds what one image contributes to sums, or sets them.
func (w *ConvWeightGrad) image(sums, src, grad, turned []float32, add bool) {
	k, filters, depth := w.kernel, w.filters(), len(w.steps)
	group := w.shape.Channels / w.shape.Groups * w.src.padHeight * w.src.padWidth
	panels := ceilDiv(filters, k.cols)
	tiles := ceilDiv(depth, k.rows)
	t := tileArgs{ldb: 4 * k.cols, ldc: 4 * k.cols, b: unsafe.Pointer(&turned[0])}
	for g := range w.shape.Groups {
		t.a = unsafe.Pointer(&src[g*group])
		for p := 0; p < w.plane; p += weightPixels {
			t.depth = min(weightPixels, w.plane-p)
			t.steps = &w.pixels[p]
			t.flags = 0
			if add || p > 0 {
				t.flags = tileAccumulate
			}
			for j := range panels {
				f := g*filters + j*k.cols
				cols := min(k.cols, filters-j*k.cols)
				k.transpose(turned, k.cols, grad[f*w.plane+p:], w.plane, cols, t.depth)
				panel := sums[(g*panels+j)*k.cols*depth:]
				for i := range tiles {
					lo, hi := share(depth, tiles, i)
					for r, at := range w.steps[lo:hi] {
						t.rows[r] = int(at)
					}
					t.c = unsafe.Pointer(&panel[lo*k.cols])
					k.tiles(&t, hi-lo, cols)
				}
			}
		}
	}
}

// collect adds up the parts and writes them in the order of the weights.
func (call *ConvWeightCall) collect() {
	w := call.plan
	k, filters, depth := w.kernel, w.filters(), len(w.steps)
	sums := call.Scratch[:w.sums()]
	for i := 1; i < call.parts; i++ {
		k.Add(sums, sums, call.Scratch[i*w.partScratch():][:len(sums)])
	}
	panels := ceilDiv(filters, k.cols)
	for g := range w.shape.Groups {
		for j := range panels {
			panel := sums[(g*panels+j)*k.cols*depth:]
			cols := min(k.cols, filters-j*k.cols)
			dst := call.Dst[(g*filters+j*k.cols)*depth:]
			if !call.Add {
				k.transpose(dst, depth, panel, k.cols, depth, cols)
				continue
			}
			for f := range cols {
				row := dst[f*depth : (f+1)*depth]
				for s := range row {
					row[s] += panel[s*k.cols+f]
				}
			}
		}
	}
}
