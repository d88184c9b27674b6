package native

import (
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
	n := len(in) - 2
	if n < 1 || n > 3 {
		return nil, c.refuse("%d spatial dimensions", n)
	}
	strides, err := c.windowAttr("strides", n, 1)
	if err != nil {
		return nil, err
	}
	dilations, err := c.windowAttr("dilations", n, 1)
	if err != nil {
		return nil, err
	}
	if len(kernel) != n {
		return nil, c.errf("kernel %v for input %v", kernel, in)
	}
	w := &window{in: [3]int{1, 1, 1}, out: [3]int{1, 1, 1}, kernel: [3]int{1, 1, 1}, stride: [3]int{1, 1, 1}, dilation: [3]int{1, 1, 1}, spatial: n}
	for i := range n {
		d := 3 - n + i
		w.in[d], w.kernel[d], w.stride[d], w.dilation[d] = in[2+i], kernel[i], strides[i], dilations[i]
		if kernel[i] < 1 || kernel[i] > maxWindow || strides[i] < 1 || dilations[i] < 1 {
			return nil, c.errf("kernel %v, strides %v, dilations %v", kernel, strides, dilations)
		}
	}
	return w, c.padWindow(w, ceil)
}

func (c *prep) windowAttr(name string, n, def int) ([]int, error) {
	v := toInts(c.attrs.Ints(name, nil))
	if len(v) == 0 {
		v = make([]int, n)
		for i := range v {
			v[i] = def
		}
	}
	if len(v) != n {
		return nil, c.errf("attribute %s has %d numbers, not %d", name, len(v), n)
	}
	for _, x := range v {
		if x < -maxWindow || x > maxWindow {
			return nil, c.errf("attribute %s has %d", name, x)
		}
	}
	return v, nil
}

// padWindow settles padding and output lengths.
func (c *prep) padWindow(w *window, ceil bool) error {
	auto := c.attrs.String("auto_pad", "NOTSET")
	pads, err := c.windowAttr("pads", 2*w.spatial, 0)
	if err != nil {
		return err
	}
	for i := range w.spatial {
		d := 3 - w.spatial + i
		extent := (w.kernel[d]-1)*w.dilation[d] + 1
		switch auto {
		case "NOTSET", "":
			w.lo[d], w.hi[d] = pads[i], pads[w.spatial+i]
		case "VALID":
		case "SAME_UPPER", "SAME_LOWER":
			out := (w.in[d] + w.stride[d] - 1) / w.stride[d]
			total := max(0, (out-1)*w.stride[d]+extent-w.in[d])
			w.lo[d], w.hi[d] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				w.lo[d], w.hi[d] = w.hi[d], w.lo[d]
			}
		default:
			return c.refuse("auto_pad %q", auto)
		}
		free := w.in[d] + w.lo[d] + w.hi[d] - extent
		if free < 0 {
			return c.errf("a kernel of %d (dilation %d) does not fit into %d with padding %d and %d", w.kernel[d], w.dilation[d], w.in[d], w.lo[d], w.hi[d])
		}
		w.out[d] = free/w.stride[d] + 1
		if ceil && free%w.stride[d] != 0 && w.out[d]*w.stride[d] < w.in[d]+w.lo[d] {
			w.out[d]++
		}
	}
	return nil
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
