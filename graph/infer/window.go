package infer

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// windowRules are operators that slide a window over space, or sample it.
var windowRules = rulesOf(map[string]rule{
	"Conv": func(c *call) error {
		dtype, err := c.sameType(0, 1, 2)
		if err != nil {
			return err
		}
		return c.conv(dtype, 0, 1, 2)
	},
	"ConvInteger":        func(c *call) error { return c.conv(tensor.Int32, 0, 1, -1) },
	"QLinearConv":        func(c *call) error { return c.conv(c.arg(7).dtype, 0, 3, 8) },
	"ConvTranspose":      inferConvTranspose,
	"MaxPool":            inferPool,
	"AveragePool LpPool": inferPool,
	"GlobalAveragePool GlobalMaxPool GlobalLpPool": inferGlobalPool,
	"MaxUnpool": inferMaxUnpool,
	"MaxRoiPool": func(c *call) error {
		size := c.attrs.Ints("pooled_shape", nil)
		return c.regions(1, size)
	},
	"RoiAlign": func(c *call) error {
		return c.regions(1, []int64{c.attrs.Int("output_height", 1), c.attrs.Int("output_width", 1)})
	},
	"GridSample": inferGridSample,
})

// window is how a kernel moves along the spatial dimensions.
type window struct {
	kernel, strides, dilations, begin, end []int64
	auto                                   string
}

// window reads the attributes for n spatial dimensions.
func (c *call) window(kernel []int64) (window, error) {
	n := len(kernel)
	w := window{kernel: kernel, auto: c.attrs.String("auto_pad", "NOTSET")}
	ones := slices.Repeat([]int64{1}, n)
	w.strides, w.dilations = c.attrs.Ints("strides", ones), c.attrs.Ints("dilations", ones)
	pads := c.attrs.Ints("pads", make([]int64, 2*n))
	if len(w.strides) != n || len(w.dilations) != n || len(pads) != 2*n {
		return w, c.fail("strides %v, dilations %v, pads %v for a kernel of %d dimensions", w.strides, w.dilations, pads, n)
	}
	w.begin, w.end = pads[:n], pads[n:]
	for i := range n {
		if w.kernel[i] <= 0 || w.strides[i] <= 0 || w.dilations[i] <= 0 || w.kernel[i] > math.MaxInt32 || w.dilations[i] > math.MaxInt32 ||
			w.strides[i] > math.MaxInt32 || max(pads[i], -pads[i], pads[i+n], -pads[i+n]) > math.MaxInt32 {
			return w, c.fail("kernel %v, strides %v, dilations %v, pads %v", w.kernel, w.strides, w.dilations, pads)
		}
	}
	switch w.auto {
	case "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
	default:
		return w, c.fail("auto_pad %q", w.auto)
	}
	if w.auto == "VALID" {
		w.begin, w.end = make([]int64, n), make([]int64, n)
	}
	return w, nil
}

func (w window) same() bool { return w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" }

// output returns the number of places of the window along spatial dimension i of length d. With ceil, a last window
// that is only partly inside counts, unless it would begin in the padding.
func (w window) output(i int, d graph.Dim, ceil bool) (graph.Dim, bool) {
	extent := (w.kernel[i]-1)*w.dilations[i] + 1
	if !d.Known() {
		if w.strides[i] == 1 && (w.same() || w.begin[i]+w.end[i] == extent-1) {
			return d, true
		}
		return unknown, true
	}
	if w.same() {
		return known((d.Size + w.strides[i] - 1) / w.strides[i]), true
	}
	room := d.Size + w.begin[i] + w.end[i] - extent
	if room < 0 {
		return unknown, false
	}
	n := room/w.strides[i] + 1
	if ceil {
		n = (room+w.strides[i]-1)/w.strides[i] + 1
		if n > 1 && (n-1)*w.strides[i] >= d.Size+w.begin[i] {
			n--
		}
	}
	return known(n), true
}

// spatial returns the lengths of a kernel's spatial dimensions: the attribute, or those of the weights.
func (c *call) spatial(weights graph.Shape) []int64 {
	if c.attrs.Has("kernel_shape") {
		return c.attrs.Ints("kernel_shape", nil)
	}
	if len(weights) < 2 {
		return nil
	}
	kernel := make([]int64, len(weights)-2)
	for i, d := range weights[2:] {
		if !d.Known() {
			return nil
		}
		kernel[i] = d.Size
	}
	return kernel
}

func (c *call) conv(dtype tensor.DType, data, weights, bias int) error {
	x, w := c.arg(data).shape, c.arg(weights).shape
	for _, i := range []int{data, weights} {
		if err := c.wantRank(i, 3, graph.MaxRank); err != nil {
			return err
		}
	}
	if x == nil || w == nil {
		c.set(0, dtype, unknownOfRank(max(c.arg(data).rank(), c.arg(weights).rank())))
		return nil
	}
	if len(x) != len(w) {
		return c.fail("weights of shape %v for data of shape %v", w, x)
	}
	group := c.attrs.Int("group", 1)
	if group <= 0 || w[0].Known() && w[0].Size%group != 0 {
		return c.fail("%v filters in %d groups", w[0], group)
	}
	if in := mulDims(w[1], known(group)); in.Known() && x[1].Known() && in.Size != x[1].Size {
		return c.fail("weights of shape %v in %d groups for data of shape %v: %v channels, not %v", w, group, x, in, x[1])
	}
	if b := c.arg(bias).shape; b != nil && (len(b) != 1 || b[0].Known() && w[0].Known() && b[0].Size != w[0].Size) {
		return c.fail("a bias of shape %v for %v filters", b, w[0])
	}
	shape := slices.Concat(graph.Shape{x[0], w[0]}, unknownOfRank(len(x)-2))
	kernel := c.spatial(w)
	if kernel != nil {
		if len(kernel) != len(x)-2 {
			return c.fail("kernel_shape %v for data of shape %v", kernel, x)
		}
		for i, k := range kernel {
			if d := w[2+i]; d.Known() && d.Size != k {
				return c.fail("kernel_shape %v and weights of shape %v", kernel, w)
			}
		}
		win, err := c.window(kernel)
		if err != nil {
			return err
		}
		if err := c.slide(shape, x, win, false); err != nil {
			return err
		}
	}
	c.set(0, dtype, shape)
	return nil
}

// slide fills the spatial dimensions of shape.
func (c *call) slide(shape, x graph.Shape, w window, ceil bool) error {
	for i := range w.kernel {
		d, ok := w.output(i, x[2+i], ceil)
		if !ok {
			return c.fail("a kernel of %v with dilations %v does not fit into shape %v", w.kernel, w.dilations, x)
		}
		shape[2+i] = d
	}
	return nil
}

func inferPool(c *call) error {
	x := c.arg(0)
	if err := c.wantRank(0, 3, graph.MaxRank); err != nil {
		return err
	}
	shape := slices.Clone(x.shape)
	if shape != nil {
		kernel := c.attrs.Ints("kernel_shape", nil)
		if len(kernel) != len(shape)-2 {
			return c.fail("kernel_shape %v for data of shape %v", kernel, x.shape)
		}
		w, err := c.window(kernel)
		if err != nil {
			return err
		}
		if err := c.slide(shape, x.shape, w, c.attrs.Bool("ceil_mode", false)); err != nil {
			return err
		}
	}
	c.set(0, x.dtype, shape)
	c.set(1, tensor.Int64, shape)
	return nil
}

func inferGlobalPool(c *call) error {
	x := c.arg(0)
	if err := c.wantRank(0, 2, graph.MaxRank); err != nil {
		return err
	}
	shape := slices.Clone(x.shape)
	for i := 2; i < len(shape); i++ {
		shape[i] = known(1)
	}
	c.set(0, x.dtype, shape)
	return nil
}

func inferConvTranspose(c *call) error {
	dtype, err := c.sameType(0, 1, 2)
	if err != nil {
		return err
	}
	x, w := c.arg(0).shape, c.arg(1).shape
	for i := range 2 {
		if err := c.wantRank(i, 3, graph.MaxRank); err != nil {
			return err
		}
	}
	if x == nil || w == nil {
		c.set(0, dtype, unknownOfRank(max(c.arg(0).rank(), c.arg(1).rank())))
		return nil
	}
	group := c.attrs.Int("group", 1)
	if len(x) != len(w) || group <= 0 || x[1].Known() && w[0].Known() && x[1].Size != w[0].Size {
		return c.fail("weights of shape %v in %d groups for data of shape %v", w, group, x)
	}
	shape := slices.Concat(graph.Shape{x[0], mulDims(w[1], known(group))}, unknownOfRank(len(x)-2))
	c.set(0, dtype, shape)
	n := len(x) - 2
	if out := c.attrs.Ints("output_shape", nil); c.attrs.Has("output_shape") {
		if len(out) < n {
			return c.fail("output_shape %v for data of shape %v", out, x)
		}
		for i, v := range out[len(out)-n:] { // opset 1 has files with all dimensions
			shape[2+i] = known(v)
		}
		return nil
	}
	kernel := c.spatial(w)
	if kernel == nil {
		return nil
	}
	if len(kernel) != n {
		return c.fail("kernel_shape %v for data of shape %v", kernel, x)
	}
	win, err := c.window(kernel)
	if err != nil {
		return err
	}
	extra := c.attrs.Ints("output_padding", make([]int64, n))
	if len(extra) != n {
		return c.fail("output_padding %v for data of shape %v", extra, x)
	}
	for i := range n {
		switch d := x[2+i]; {
		case !d.Known() || d.Size > math.MaxInt32:
		case win.same():
			shape[2+i] = known(d.Size * win.strides[i])
		default:
			v := win.strides[i]*(d.Size-1) + extra[i] + (win.kernel[i]-1)*win.dilations[i] + 1 - win.begin[i] - win.end[i]
			if v < 0 {
				return c.fail("pads of %v and %v take more than there is of shape %v", win.begin, win.end, x)
			}
			shape[2+i] = known(v)
		}
	}
	return nil
}

func inferMaxUnpool(c *call) error {
	x := c.arg(0)
	if vals := c.arg(2).vals; vals != nil {
		shape := make(graph.Shape, len(vals))
		for i, v := range vals {
			shape[i] = v.dim()
		}
		c.set(0, x.dtype, shape)
		return nil
	}
	shape := slices.Clone(x.shape)
	kernel := c.attrs.Ints("kernel_shape", nil)
	if shape != nil {
		if len(kernel) != len(shape)-2 {
			return c.fail("kernel_shape %v for data of shape %v", kernel, x.shape)
		}
		w, err := c.window(kernel)
		if err != nil {
			return err
		}
		for i := range kernel {
			d := shape[2+i]
			shape[2+i] = unknown
			if d.Known() && d.Size <= math.MaxInt32 && !c.has(2) {
				shape[2+i] = known((d.Size-1)*w.strides[i] + kernel[i] - w.begin[i] - w.end[i])
			}
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// regions is the shape of features cut out by the regions in input i.
func (c *call) regions(i int, size []int64) error {
	n, channels := unknown, unknown
	if s := c.arg(i).shape; len(s) == 2 {
		n = s[0]
	}
	if s := c.arg(0).shape; len(s) == 4 {
		channels = s[1]
	}
	if len(size) != 2 {
		return c.fail("an output of %d spatial dimensions", len(size))
	}
	c.set(0, c.arg(0).dtype, graph.Shape{n, channels, known(size[0]), known(size[1])})
	return nil
}

func inferGridSample(c *call) error {
	x, grid := c.arg(0), c.arg(1)
	if x.shape == nil || grid.shape == nil {
		c.set(0, x.dtype, unknownOfRank(max(x.rank(), grid.rank())))
		return nil
	}
	if len(x.shape) != len(grid.shape) || len(x.shape) < 3 {
		return c.fail("a grid of shape %v for data of shape %v", grid.shape, x.shape)
	}
	shape := slices.Concat(x.shape[:2], grid.shape[1:len(grid.shape)-1])
	c.set(0, x.dtype, shape)
	return nil
}
