package infer

import (
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
	"DeformConv": func(c *call) error {
		dtype, err := c.sameType(0, 1, 2)
		if err != nil {
			return err
		}
		return c.conv(dtype, 0, 1, 3)
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

// spatial returns the lengths of a kernel's spatial dimensions: the attribute, or those of the weights.
func (c *call) spatial(weights graph.Shape) []int64 {
	if given := c.attrs.Ints("kernel_shape", nil); len(given) > 0 {
		return given
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
	in, err := mulDims(w[1], known(group))
	if err != nil {
		return c.fail("weights of shape %v in %d groups: %w", w, group, err)
	}
	if in.Known() && x[1].Known() && in.Size != x[1].Size {
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
		win, err := ReadWindow(c.attrs, kernel)
		if err != nil {
			return c.fail("%w", err)
		}
		if err := c.slide(shape, x, win, false); err != nil {
			return err
		}
	}
	c.set(0, dtype, shape)
	return nil
}

// slide fills the spatial dimensions of shape.
func (c *call) slide(shape, x graph.Shape, w Window, ceil bool) error {
	for i := range w.Kernel {
		d := x[2+i]
		switch {
		case d.Known():
			n, _, _, err := w.Slide(i, d.Size, ceil)
			if err != nil {
				return c.fail("data of shape %v: %w", x, err)
			}
			shape[2+i] = known(n)
		case w.keeps(i):
			shape[2+i] = d
		default:
			shape[2+i] = unknown
		}
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
		w, err := ReadWindow(c.attrs, kernel)
		if err != nil {
			return c.fail("%w", err)
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
	channels, err := mulDims(w[1], known(group))
	if err != nil {
		return c.fail("weights of shape %v in %d groups: %w", w, group, err)
	}
	shape := slices.Concat(graph.Shape{x[0], channels}, unknownOfRank(len(x)-2))
	c.set(0, dtype, shape)
	n := len(x) - 2
	wanted, err := OutputShape(c.attrs, n)
	if err != nil {
		return c.fail("%w", err)
	}
	kernel := c.spatial(w)
	if kernel == nil {
		for i, length := range wanted {
			shape[2+i] = known(length)
		}
		return nil
	}
	if len(kernel) != n {
		return c.fail("kernel_shape %v for data of shape %v", kernel, x)
	}
	win, err := ReadWindow(c.attrs, kernel)
	if err != nil {
		return c.fail("%w", err)
	}
	extra := c.attrs.Ints("output_padding", nil)
	if len(extra) == 0 {
		extra = make([]int64, n)
	}
	if len(extra) != n {
		return c.fail("output_padding %v for data of shape %v", extra, x)
	}
	for i := range n {
		length := int64(-1)
		if wanted != nil {
			length = wanted[i]
			shape[2+i] = known(length)
		}
		if d := x[2+i]; d.Known() {
			v, _, _, err := win.Spread(i, d.Size, extra[i], length)
			if err != nil {
				return c.fail("data of shape %v: %w", x, err)
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
		w, err := ReadWindow(c.attrs, kernel)
		if err != nil {
			return c.fail("%w", err)
		}
		for i := range kernel {
			d := shape[2+i]
			shape[2+i] = unknown
			if d.Known() && !c.has(2) {
				n, _, _, err := w.Spread(i, d.Size, 0, -1)
				if err != nil {
					return c.fail("data of shape %v: %w", x.shape, err)
				}
				shape[2+i] = known(n)
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
	if len(size) != 2 || size[0] < 0 || size[1] < 0 {
		return c.fail("an output of the spatial dimensions %v", size)
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
