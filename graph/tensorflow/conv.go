package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// convOps are convolutions and their gradients by the input, which networks use as layers.
var convOps = map[string]operator{
	"Conv2D": one(conv), "Conv3D": one(conv), "DepthwiseConv2dNative": one(depthwise),
	"Conv2DBackpropInput": one(convTranspose), "Conv3DBackpropInputV2": one(convTranspose),
}

// filter returns the kernel's lengths, of a filter whose spatial axes come first.
func (c *call) filter(w *window, f *value) {
	shape, ok := f.shape.Static()
	if !ok || len(shape) != w.spatial+2 {
		c.refuse("its filter has shape %v; the lengths of %d dimensions must be known", f.shape, w.spatial+2)
	}
	for _, d := range shape[:w.spatial] {
		w.kernel = append(w.kernel, int64(d))
	}
}

// filterPerm moves the filter's channels, the last two axes, to the front, exchanged.
func filterPerm(spatial int) []int64 {
	perm := []int64{int64(spatial + 1), int64(spatial)}
	for i := range spatial {
		perm = append(perm, int64(i))
	}
	return perm
}

func conv(c *call) *value {
	x, f := c.pair()
	w := c.window(spatialOf(c.op))
	c.filter(w, f)
	w.strides = c.perAxis(w, "strides", c.ints("strides"))
	w.dilations = c.perAxis(w, "dilations", c.ints("dilations"))
	in := f.shape[w.spatial].Size
	groups := int64(1)
	if x.shape != nil {
		if len(x.shape) != w.spatial+2 {
			c.damaged("an input of shape %v", x.shape)
		}
		ch := x.shape[w.channel()]
		if !ch.Known() {
			c.refuse("the number of its input's channels is not known")
		}
		if in == 0 || ch.Size%in != 0 {
			c.damaged("%d channels and a filter of shape %v", ch.Size, f.shape)
		}
		groups = ch.Size / in
	}
	return c.inFloat(x, f, func(x, f *value) *value {
		x = c.toFirst(w, x)
		attrs, x := c.windowAttrs(w, x, 0)
		if groups != 1 {
			attrs["group"] = groups
		}
		return c.toLast(w, c.num("Conv", attrs, x, c.transpose(f, filterPerm(w.spatial)...)))
	})
}

// inFloat computes integers in float64, which has them exactly below 2^53: ONNX has no convolution of integers.
func (c *call) inFloat(x, f *value, compute func(x, f *value) *value) *value {
	if x.dtype.IsFloat() {
		return compute(x, f)
	}
	return c.cast(compute(c.cast(x, tensor.Float64), c.cast(f, tensor.Float64)), x.dtype)
}

// depthwise has a filter of [H, W, channels, multiplier]: a group for each channel.
func depthwise(c *call) *value {
	x, f := c.pair()
	w := c.window(2)
	c.filter(w, f)
	w.strides = c.perAxis(w, "strides", c.ints("strides"))
	w.dilations = c.perAxis(w, "dilations", c.ints("dilations"))
	channels, multiplier := f.shape[2].Size, f.shape[3].Size
	x = c.toFirst(w, x)
	attrs, x := c.windowAttrs(w, x, 0)
	attrs["group"] = channels
	f = c.reshape(c.transpose(f, 2, 3, 0, 1), channels*multiplier, 1, w.kernel[0], w.kernel[1])
	return c.toLast(w, c.num("Conv", attrs, x, f))
}

// convTranspose undoes a convolution: its first input is the shape of what went into that.
func convTranspose(c *call) *value {
	sizes, f, y := c.arg(0), c.arg(1), c.arg(2)
	c.same(f, y)
	w := c.window(spatialOf(c.op))
	c.filter(w, f)
	w.strides = c.perAxis(w, "strides", c.ints("strides"))
	w.dilations = c.perAxis(w, "dilations", c.ints("dilations"))
	rank := w.spatial + 2
	if y.shape != nil && len(y.shape) != rank {
		c.damaged("an input of shape %v", y.shape)
	}
	groups := int64(1)
	elements := c.elements(sizes)
	if f.shape[w.spatial].Size > 0 && len(elements) == rank && elements[w.channel()].Known {
		groups = elements[w.channel()].Value / f.shape[w.spatial].Size
	}
	if len(elements) == w.spatial { // sizes may be the spatial ones alone
		elements = nil
		if sizes.shape != nil {
			one := c.cast(c.i64(1), sizes.dtype)
			if w.first {
				sizes = c.concat(one, one, sizes)
			} else {
				sizes = c.concat(one, sizes, one)
			}
			elements = c.elements(sizes)
		}
	}
	first := c.toFirst(w, y)
	attrs := graph.Attrs{"kernel_shape": slices.Clone(w.kernel), "strides": slices.Clone(w.strides)}
	if slices.ContainsFunc(w.dilations, func(d int64) bool { return d != 1 }) {
		attrs["dilations"] = slices.Clone(w.dilations)
	}
	if groups > 1 {
		attrs["group"] = groups
	}
	weights := c.transpose(f, filterPerm(w.spatial)...)
	pads, more := make([]int64, 2*w.spatial), make([]int64, w.spatial)
	static := len(elements) == rank && first.shape != nil
	for i := 0; i < w.spatial && static; i++ {
		e, out := elements[w.axis(i)], first.shape[i+2]
		if static = e.Known && out.Known(); !static {
			break
		}
		begin, end, ok := w.transposed(i, e.Value, out.Size)
		if !ok {
			c.damaged("an input of length %d for an output of length %v", out.Size, e.Value)
		}
		pads[i], pads[w.spatial+i] = begin, end
		more[i] = e.Value - ((out.Size-1)*w.strides[i] + w.reach(i) - begin - end)
		static = more[i] >= 0 && more[i] < max(w.strides[i], w.dilations[i])
	}
	if !static {
		return c.toLast(w, c.cutTransposed(w, c.num("ConvTranspose", attrs, first, weights), first, c.cast(sizes, tensor.Int64)))
	}
	if slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
		attrs["pads"] = pads
	}
	if slices.ContainsFunc(more, func(p int64) bool { return p != 0 }) {
		attrs["output_padding"] = more
	}
	return c.toLast(w, c.num("ConvTranspose", attrs, first, weights))
}

// transposed returns the padding of a convolution from length n to length out, and whether there is such a one.
func (w *window) transposed(i int, n, out int64) (begin, end int64, ok bool) {
	s, reach := w.strides[i], w.reach(i)
	switch w.padding {
	case "SAME":
		total := max((out-1)*s+reach-n, 0)
		return total / 2, total - total/2, out == (n+s-1)/s
	case "EXPLICIT":
		begin, end = w.explicit[2*i], w.explicit[2*i+1]
	}
	return begin, end, out == (n+begin+end-reach)/s+1
}

// cutTransposed takes the wanted part of a transposed convolution without padding, whose lengths are computed when the model runs.
func (c *call) cutTransposed(w *window, full, first, sizes *value) *value {
	starts, ends := []*value{}, []*value{}
	padEnds := make([]int64, 2*(w.spatial+2))
	for i := range w.spatial {
		padEnds[w.spatial+2+2+i] = w.strides[i] // a length that the convolution did not reach is zero
		axis := w.axis(i)
		n := c.onnx("Slice", nil, sizes, c.i64(int64(axis)), c.i64(int64(axis+1)))
		start := c.i64(0)
		switch w.padding {
		case "EXPLICIT":
			start = c.i64(w.explicit[2*i])
		case "SAME":
			last := c.onnx("Mul", nil, c.onnx("Sub", nil, c.dim(first, i+2), c.i64(1)), c.i64(w.strides[i]))
			total := c.onnx("Max", nil, c.onnx("Sub", nil, c.onnx("Add", nil, last, c.i64(w.reach(i))), n), c.i64(0))
			start = c.onnx("Div", nil, total, c.i64(2))
		}
		starts = append(starts, start)
		ends = append(ends, c.onnx("Add", nil, start, n))
	}
	full = c.onnx("Pad", nil, full, c.i64(padEnds...), c.like(full, 0))
	axes := make([]int64, w.spatial)
	for i := range axes {
		axes[i] = int64(i + 2)
	}
	return c.onnx("Slice", nil, full, c.concat(starts...), c.concat(ends...), c.i64(axes...))
}
