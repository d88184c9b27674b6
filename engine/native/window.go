package native

import (
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A window is how a kernel moves over the spatial dimensions of an input. One and two of them are three with lengths 1
// in front.
type window struct {
	in, out, kernel, stride, dilation, lo, hi [3]int
	spatial                                   int
}

func (w *window) inSize() int     { return w.in[0] * w.in[1] * w.in[2] }
func (w *window) outSize() int    { return w.out[0] * w.out[1] * w.out[2] }
func (w *window) kernelSize() int { return w.kernel[0] * w.kernel[1] * w.kernel[2] }

// outShape returns the shape of the output with these leading dimensions.
func (w *window) outShape(lead ...int) tensor.Shape {
	return append(tensor.Shape(lead), w.out[3-w.spatial:]...)
}

// maxWindow is the most that an attribute of a window may be, which keeps products within an int.
const maxWindow = 1 << 20

// windowOf reads the attributes of a convolution or pool over an input of shape [N, C, spatial...].
func (c *prep) windowOf(in tensor.Shape, kernel []int, ceil bool) (*window, error) {
	w, read, err := c.readWindow(in, kernel)
	if err != nil {
		return nil, err
	}
	for i := range w.spatial {
		d := 3 - w.spatial + i
		out, lo, hi, err := read.Slide(i, int64(in[2+i]), ceil)
		if err != nil {
			return nil, c.errf("input %v: %w", in, err)
		}
		w.in[d], w.out[d], w.lo[d], w.hi[d] = in[2+i], int(out), int(lo), int(hi)
	}
	return w, nil
}

// readWindow reads the attributes of a window over an input of that shape, and leaves the input's and output's lengths and the
// padding to the caller.
func (c *prep) readWindow(in tensor.Shape, kernel []int) (*window, infer.Window, error) {
	n := len(in) - 2
	if n < 1 || n > 3 {
		return nil, infer.Window{}, c.refuse("%d spatial dimensions", n)
	}
	if len(kernel) != n {
		return nil, infer.Window{}, c.errf("kernel %v for input %v", kernel, in)
	}
	read, err := infer.ReadWindow(c.attrs, toInt64s(kernel))
	if err != nil {
		return nil, infer.Window{}, c.errf("%w", err)
	}
	w := &window{in: [3]int{1, 1, 1}, out: [3]int{1, 1, 1}, kernel: [3]int{1, 1, 1}, stride: [3]int{1, 1, 1}, dilation: [3]int{1, 1, 1}, spatial: n}
	for i := range n {
		d := 3 - n + i
		w.kernel[d], w.stride[d], w.dilation[d] = kernel[i], int(read.Strides[i]), int(read.Dilations[i])
		if max(w.kernel[d], w.stride[d], w.dilation[d]) > maxWindow || max(read.Begin[i], read.End[i], -read.Begin[i], -read.End[i]) > maxWindow {
			return nil, infer.Window{}, c.errf("kernel %v, strides %v, dilations %v, pads %v and %v: the most is %d", kernel, read.Strides, read.Dilations, read.Begin, read.End, maxWindow)
		}
	}
	return w, read, nil
}

// span returns the kernel positions [k0, k1) that lie inside the input for output position o of dimension d.
func (w *window) span(d, o int) (start, k0, k1 int) {
	start = o*w.stride[d] - w.lo[d]
	if start < 0 {
		k0 = (-start + w.dilation[d] - 1) / w.dilation[d]
	}
	k1 = w.kernel[d]
	if room := w.in[d] - start; room <= 0 {
		k1 = 0
	} else if last := (room-1)/w.dilation[d] + 1; last < k1 {
		k1 = last
	}
	return start, min(k0, max(k1, k0)), max(k1, 0)
}
