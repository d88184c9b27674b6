package tensorflow

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
)

// A window is what convolutions and pooling have in common: a kernel that slides over the spatial axes.
type window struct {
	first     bool // channels are the second axis, not the last
	spatial   int
	kernel    []int64
	strides   []int64
	dilations []int64
	padding   string
	explicit  []int64 // begin and end of each spatial axis, where padding is EXPLICIT
}

// window reads the attributes of a node whose input has that many spatial axes.
func (c *call) window(spatial int) *window {
	w := &window{spatial: spatial}
	format := c.string("data_format", map[int]string{1: "NWC", 2: "NHWC", 3: "NDHWC"}[spatial])
	switch format {
	case "NHWC", "NDHWC", "NWC":
	case "NCHW", "NCDHW", "NCW":
		w.first = true
	default:
		c.refuse("data format %s", format)
	}
	w.padding = c.string("padding", "")
	if w.padding == "EXPLICIT" {
		all := c.ints("explicit_paddings")
		if len(all) != 2*(spatial+2) {
			c.damaged("explicit_paddings has %d elements for %d axes", len(all), spatial+2)
		}
		for i := range spatial {
			axis := w.axis(i)
			w.explicit = append(w.explicit, all[2*axis], all[2*axis+1])
		}
		if batch, ch := all[:2], all[2*w.channel():2*w.channel()+2]; batch[0]|batch[1]|ch[0]|ch[1] != 0 {
			c.refuse("padding of batch or channels")
		}
	} else if w.padding != "SAME" && w.padding != "VALID" {
		c.refuse("padding %q", w.padding)
	}
	return w
}

// axis returns the place of spatial axis i in the node's own layout.
func (w *window) axis(i int) int {
	if w.first {
		return i + 2
	}
	return i + 1
}

func (w *window) channel() int {
	if w.first {
		return 1
	}
	return w.spatial + 1
}

// perAxis reads a list with an element for every axis, and returns those of the spatial ones; the others must be 1.
func (c *call) perAxis(w *window, what string, all []int64) []int64 {
	if all == nil {
		return slices.Repeat([]int64{1}, w.spatial)
	}
	if len(all) != w.spatial+2 {
		c.damaged("%s has %d elements for %d axes", what, len(all), w.spatial+2)
	}
	if all[0] != 1 || all[w.channel()] != 1 {
		c.refuse("%s %v over batch or channels", what, all)
	}
	out := make([]int64, w.spatial)
	for i := range out {
		if out[i] = all[w.axis(i)]; out[i] < 1 {
			c.damaged("%s %v", what, all)
		}
	}
	return out
}

// toFirst moves channels to the second axis, and toLast back.
func (c *call) toFirst(w *window, v *value) *value {
	if w.first {
		return v
	}
	perm := []int64{0, int64(w.spatial + 1)}
	for i := range w.spatial {
		perm = append(perm, int64(i+1))
	}
	return c.transpose(v, perm...)
}

func (c *call) toLast(w *window, v *value) *value {
	if w.first {
		return v
	}
	perm := []int64{0}
	for i := range w.spatial {
		perm = append(perm, int64(i+2))
	}
	return c.transpose(v, append(perm, 1)...)
}

// reach is the length of a kernel with the gaps that dilation makes.
func (w *window) reach(i int) int64 { return (w.kernel[i]-1)*w.dilations[i] + 1 }

// attrs returns the attributes of an ONNX node over x, whose channels are first, and x, which may be padded for it.
func (c *call) windowAttrs(w *window, x *value, pad float64) (graph.Attrs, *value) {
	attrs := graph.Attrs{"kernel_shape": slices.Clone(w.kernel), "strides": slices.Clone(w.strides)}
	if slices.ContainsFunc(w.dilations, func(d int64) bool { return d != 1 }) {
		attrs["dilations"] = slices.Clone(w.dilations)
	}
	pads := make([]int64, 2*w.spatial)
	switch w.padding {
	case "EXPLICIT":
		for i := range w.spatial {
			pads[i], pads[w.spatial+i] = w.explicit[2*i], w.explicit[2*i+1]
		}
	case "SAME":
		dynamic := false
		for i := range w.spatial {
			begin, end, ok := w.same(i, x.shape)
			pads[i], pads[w.spatial+i] = begin, end
			dynamic = dynamic || !ok
		}
		switch {
		case !dynamic:
		case attrs["dilations"] == nil:
			attrs["auto_pad"] = "SAME_UPPER"
			return attrs, x
		default:
			return attrs, c.padSame(w, x, pad)
		}
	}
	if slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
		attrs["pads"] = pads
	}
	return attrs, x
}

// same returns TensorFlow's padding of a spatial axis, where it can be said: with stride 1 it does not depend on the length.
func (w *window) same(i int, shape graph.Shape) (begin, end int64, ok bool) {
	total := w.reach(i) - 1
	if w.strides[i] != 1 {
		if shape == nil || !shape[i+2].Known() {
			return 0, 0, false
		}
		n := shape[i+2].Size
		total = max((n+w.strides[i]-1)/w.strides[i]*w.strides[i]-w.strides[i]+w.reach(i)-n, 0)
	}
	return total / 2, total - total/2, true
}

// padSame pads by what is computed from the lengths when the model runs.
func (c *call) padSame(w *window, x *value, pad float64) *value {
	begins, ends := []*value{c.i64(0, 0)}, []*value{c.i64(0, 0)}
	for i := range w.spatial {
		n, s := c.dim(x, i+2), c.i64(w.strides[i])
		out := c.onnx("Div", nil, c.onnx("Add", nil, n, c.i64(w.strides[i]-1)), s)
		last := c.onnx("Mul", nil, c.onnx("Sub", nil, out, c.i64(1)), s)
		total := c.onnx("Max", nil, c.onnx("Sub", nil, c.onnx("Add", nil, last, c.i64(w.reach(i))), n), c.i64(0))
		begin := c.onnx("Div", nil, total, c.i64(2))
		begins = append(begins, begin)
		ends = append(ends, c.onnx("Sub", nil, total, begin))
	}
	return c.padBy(x, c.concat(append(begins, ends...)...), c.like(x, pad))
}

// spatialOf returns the number of spatial axes by an operator's name.
func spatialOf(op string) int {
	if strings.Contains(op, "3D") {
		return 3
	}
	return 2
}
