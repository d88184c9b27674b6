package infer

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// inferResize takes the lengths from sizes, or from scales rounded down. Opset 10 has scales as second input, from 11 on they are
// the third behind the region, with sizes behind them; Upsample has them as attribute or as second input.
func inferResize(c *call) error {
	x := c.arg(0)
	var scales []num
	switch {
	case c.has(3):
		return c.resizeTo()
	case c.attrs.Has("scales"):
		for _, v := range c.attrs.Floats("scales", nil) {
			scales = append(scales, num{known: true, v: float64(v)})
		}
	case c.attrs.Has("height_scale"): // opset 1
		scales = []num{number(1), number(1), {known: true, v: float64(c.attrs.Float("height_scale", 1))},
			{known: true, v: float64(c.attrs.Float("width_scale", 1))}}
	case c.n.OpType == "Resize" && (c.opset >= 11 || len(c.in) > 2):
		scales = c.arg(2).vals
	default:
		scales = c.arg(1).vals
	}
	axes, err := c.resizeAxes()
	if err != nil {
		return err
	}
	if x.shape == nil || scales == nil {
		c.set(0, x.dtype, unknownOfRank(x.rank()))
		return nil
	}
	if len(scales) != len(axes) {
		return c.fail("%d scales for %d axes", len(scales), len(axes))
	}
	region := c.arg(1).vals
	crop := c.attrs.String("coordinate_transformation_mode", "") == "tf_crop_and_resize"
	shape := slices.Clone(x.shape)
	for i, axis := range axes {
		d := shape[axis]
		switch scale := scales[i]; {
		case scale.known && scale.v == 1 && !crop:
		case !scale.known || !d.Known():
			shape[axis] = unknown
		case scale.v <= 0:
			return c.fail("scale %d is %v", i, scale.v)
		default:
			length := float64(d.Size)
			if crop {
				if len(region) != 2*len(axes) || !region[i].known || !region[i+len(axes)].known {
					shape[axis] = unknown
					continue
				}
				length *= region[i+len(axes)].v - region[i].v
			}
			n := math.Floor(float64(float32(length) * float32(scale.v)))
			if n > math.MaxInt32 {
				return c.fail("scale %v of %v", scale.v, d)
			}
			shape[axis] = known(int64(n))
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// resizeAxes returns the axes that scales and sizes are for: all, unless the attribute of opset 18 says otherwise.
func (c *call) resizeAxes() ([]int, error) {
	rank := c.arg(0).rank()
	if rank < 0 {
		return nil, nil
	}
	if c.attrs.Has("axes") {
		return c.axes(c.attrs.Ints("axes", nil), rank)
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	return axes, nil
}

// resizeTo takes the lengths from sizes. A policy that keeps the ratio scales all axes alike.
func (c *call) resizeTo() error {
	x := c.arg(0)
	sizes := c.arg(3).vals
	axes, err := c.resizeAxes()
	if err != nil {
		return err
	}
	if x.shape == nil || sizes == nil {
		c.set(0, x.dtype, unknownOfRank(x.rank()))
		return nil
	}
	if len(sizes) != len(axes) {
		return c.fail("%d sizes for %d axes", len(sizes), len(axes))
	}
	shape := slices.Clone(x.shape)
	for i, axis := range axes {
		if sizes[i].known && sizes[i].v < 0 {
			return c.fail("size %d is %v", i, sizes[i].v)
		}
		shape[axis] = sizes[i].dim()
	}
	if policy := c.attrs.String("keep_aspect_ratio_policy", "stretch"); policy != "stretch" {
		c.keepRatio(shape, axes, sizes, policy == "not_larger")
	}
	c.set(0, x.dtype, shape)
	return nil
}

func (c *call) keepRatio(shape graph.Shape, axes []int, sizes []num, smallest bool) {
	x := c.arg(0).shape
	best := math.NaN()
	for i, axis := range axes {
		if !x[axis].Known() || !sizes[i].known || x[axis].Size == 0 {
			best = math.NaN()
			break
		}
		ratio := sizes[i].v / float64(x[axis].Size)
		if i == 0 || smallest && ratio < best || !smallest && ratio > best {
			best = ratio
		}
	}
	for _, axis := range axes {
		shape[axis] = unknown
		if n := math.Floor(best*float64(x[axis].Size) + 0.5); n >= 0 && n < math.MaxInt32 {
			shape[axis] = known(int64(n))
		}
	}
}

// inferCrop is CenterCropPad.
func inferCrop(c *call) error {
	x := c.arg(0)
	axes, err := c.resizeAxes()
	if err != nil {
		return err
	}
	sizes := c.arg(1).vals
	shape := slices.Clone(x.shape)
	switch {
	case shape == nil:
	case sizes == nil:
		for _, axis := range axes {
			shape[axis] = unknown
		}
	case len(sizes) != len(axes):
		return c.fail("%d sizes for %d axes", len(sizes), len(axes))
	default:
		for i, axis := range axes {
			shape[axis] = sizes[i].dim()
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// inferFourier is DFT: complex numbers are a last dimension of 2.
func inferFourier(c *call) error {
	x := c.arg(0)
	shape := slices.Clone(x.shape)
	if shape != nil {
		if len(shape) < 2 {
			return c.fail("shape %v", shape)
		}
		def := int64(1)
		if c.opset >= 20 {
			def = -2
		}
		axisValue, axisKnown := c.attrs.Int("axis", def), true
		if c.has(2) {
			v, ok := c.ints(2)
			if axisKnown = ok && len(v) == 1; axisKnown {
				axisValue = v[0]
			}
		}
		if !axisKnown {
			c.set(0, x.dtype, unknownOfRank(len(shape)))
			return nil
		}
		axis, err := c.axis(axisValue, len(shape))
		if err != nil {
			return err
		}
		if c.has(1) {
			shape[axis] = unknown
			if v := c.arg(1).vals; len(v) == 1 {
				shape[axis] = v[0].dim()
			}
		}
		if c.attrs.Bool("onesided", false) && !c.attrs.Bool("inverse", false) {
			if d := shape[axis]; d.Known() {
				shape[axis] = known(d.Size/2 + 1)
			} else {
				shape[axis] = unknown
			}
		}
		shape[len(shape)-1] = known(2)
	}
	c.set(0, x.dtype, shape)
	return nil
}

// inferSTFT cuts a signal into frames of frame_length, frame_step apart.
func inferSTFT(c *call) error {
	x := c.arg(0)
	frames, bins := unknown, unknown
	length := unknown
	if v := c.arg(3).vals; len(v) == 1 {
		length = v[0].dim()
	} else if s := c.arg(2).shape; len(s) == 1 {
		length = s[0]
	}
	batch := unknown
	if len(x.shape) >= 2 {
		batch = x.shape[0]
		if step := c.arg(1).vals; len(step) == 1 && step[0].known && step[0].int() > 0 && length.Known() && x.shape[1].Known() {
			frames = known((x.shape[1].Size-length.Size)/step[0].int() + 1)
		}
	}
	if length.Known() {
		if bins = length; c.attrs.Bool("onesided", true) {
			bins = known(length.Size/2 + 1)
		}
	}
	c.set(0, x.dtype, graph.Shape{batch, frames, bins, known(2)})
	return nil
}

// inferCol2Im puts columns together to images.
func inferCol2Im(c *call) error {
	x := c.arg(0)
	image := c.arg(1).vals
	block, ok := c.ints(2)
	if len(x.shape) != 3 || image == nil || !ok {
		c.set(0, x.dtype, nil)
		return nil
	}
	each := int64(1)
	for _, b := range block {
		if b <= 0 || b > math.MaxInt32 || each > math.MaxInt32 {
			return c.fail("block %v", block)
		}
		each *= b
	}
	shape := graph.Shape{x.shape[0], unknown}
	if d := x.shape[1]; d.Known() {
		shape[1] = known(d.Size / each)
	}
	for _, v := range image {
		shape = append(shape, v.dim())
	}
	c.set(0, x.dtype, shape)
	return nil
}

var resizeRules = rulesOf(map[string]rule{
	"Resize Upsample": inferResize,
	"CenterCropPad":   inferCrop,
	"DFT":             inferFourier,
	"STFT":            inferSTFT,
	"Col2Im":          inferCol2Im,
	"AffineGrid": func(c *call) error {
		shape := graph.Shape(nil)
		if size := c.arg(1).vals; len(size) >= 4 {
			shape = graph.Shape{size[0].dim()}
			for _, v := range size[2:] {
				shape = append(shape, v.dim())
			}
			shape = append(shape, known(int64(len(size)-2)))
		}
		c.set(0, c.arg(0).dtype, shape)
		return nil
	},
	"StringNormalizer": func(c *call) error {
		shape := graph.Shape{unknown}
		if len(c.arg(0).shape) == 2 {
			shape = graph.Shape{known(1), unknown}
		}
		c.set(0, tensor.String, shape)
		return nil
	},
	"TfIdfVectorizer": func(c *call) error {
		n := int64(-1)
		for _, i := range c.attrs.Ints("ngram_indexes", nil) {
			n = max(n, i)
		}
		shape := slices.Clone(c.arg(0).shape)
		if len(shape) > 0 {
			shape[len(shape)-1] = known(n + 1)
		}
		c.set(0, tensor.Float32, shape)
		return nil
	},
})
