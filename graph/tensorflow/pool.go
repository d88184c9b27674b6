package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/tensor"
)

// poolOps take the largest or the mean of windows.
var poolOps = map[string]operator{
	"MaxPool": one(maxPool), "MaxPoolV2": one(maxPool), "MaxPool3D": one(maxPool), "AvgPool": one(avgPool), "AvgPool3D": one(avgPool),
}

// pool reads a pooling's window. Windows over the channels make these one more spatial axis, of a single channel.
func (c *call) pool(x *value) (*window, *value, bool) {
	w := c.window(spatialOf(c.op))
	ksize, strides := c.ints("ksize"), c.ints("strides")
	if c.op == "MaxPoolV2" {
		ksize, strides = c.constInts(1, "ksize"), c.constInts(2, "strides")
	}
	rank := w.spatial + 2
	if len(ksize) != rank || len(strides) != rank {
		c.damaged("ksize %v and strides %v for %d axes", ksize, strides, rank)
	}
	if x.shape != nil && len(x.shape) != rank {
		c.damaged("an input of shape %v", x.shape)
	}
	if ch := w.channel(); ksize[ch] != 1 || strides[ch] != 1 {
		if w.padding == "EXPLICIT" {
			c.refuse("explicit padding with windows over the channels")
		}
		if ksize[0] != 1 || strides[0] != 1 {
			c.refuse("windows over the batch")
		}
		deep := &window{first: true, spatial: w.spatial + 1, padding: w.padding}
		deep.kernel, deep.strides = ksize[1:], strides[1:]
		deep.dilations = slices.Repeat([]int64{1}, deep.spatial)
		return deep, c.unsqueeze(x, 1), true
	}
	w.kernel = c.perAxis(w, "ksize", ksize)
	w.strides = c.perAxis(w, "strides", strides)
	w.dilations = slices.Repeat([]int64{1}, w.spatial)
	return w, c.toFirst(w, x), false
}

func (c *call) unpool(w *window, y *value, deep bool) *value {
	if deep {
		return c.squeeze(y, 1)
	}
	return c.toLast(w, y)
}

// explicitAside pads by a node of its own what ONNX's pooling may not: as much as a kernel or more.
func (c *call) explicitAside(w *window, x *value, pad float64) *value {
	for i := range w.spatial {
		if w.padding == "EXPLICIT" && max(w.explicit[2*i], w.explicit[2*i+1]) >= w.kernel[i] {
			begins, ends := []int64{0, 0}, []int64{0, 0}
			for j := range w.spatial {
				begins, ends = append(begins, w.explicit[2*j]), append(ends, w.explicit[2*j+1])
			}
			w.padding = "VALID"
			return c.onnx("Pad", nil, x, c.i64(append(begins, ends...)...), c.like(x, pad))
		}
	}
	return x
}

func maxPool(c *call) *value {
	x := c.arg(0)
	w, first, deep := c.pool(x)
	switch x.dtype {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int8, tensor.Uint8:
	case tensor.Int16, tensor.Uint16, tensor.Int32, tensor.Uint32: // which float64 has exactly
		return c.cast(c.maxPoolOf(w, c.cast(first, tensor.Float64), deep), x.dtype)
	default:
		c.refuse("ONNX has no MaxPool of %v", x.dtype)
	}
	return c.maxPoolOf(w, first, deep)
}

func (c *call) maxPoolOf(w *window, x *value, deep bool) *value {
	x = c.explicitAside(w, x, extreme(x.dtype, -1))
	attrs, x := c.windowAttrs(w, x, extreme(x.dtype, -1))
	return c.unpool(w, c.num("MaxPool", attrs, x), deep)
}

// avgPool leaves what is padded out of the mean.
func avgPool(c *call) *value {
	x := c.arg(0)
	w, first, deep := c.pool(x)
	if w.padding == "EXPLICIT" {
		c.refuse("AvgPool with explicit padding")
	}
	attrs, first := c.windowAttrs(w, first, 0)
	var y *value
	if pads, ok := attrs["pads"].([]int64); ok && sum(pads) > 0 || attrs["auto_pad"] != nil {
		attrs = attrs.Clone()
		attrs["count_include_pad"] = int64(0)
	}
	y = c.num("AveragePool", attrs, first)
	return c.unpool(w, y, deep)
}

func sum(v []int64) int64 {
	n := int64(0)
	for _, x := range v {
		n += x
	}
	return n
}
