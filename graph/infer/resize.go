package infer

import (
	"fmt"
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
			scales = append(scales, realNumber(float64(v)))
		}
	case c.attrs.Has("height_scale"): // opset 1
		scales = []num{number(1), number(1), realNumber(float64(c.attrs.Float("height_scale", 1))), realNumber(float64(c.attrs.Float("width_scale", 1)))}
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
	shape := slices.Clone(x.shape)
	for i, axis := range axes {
		d := shape[axis]
		switch scale := scales[i]; {
		case scale.is(1):
		case !scale.known || !d.Known():
			shape[axis] = unknown
		default:
			n, err := ScaledLength(d.Size, scale.float())
			if err != nil {
				return c.fail("axis %d of shape %v: %w", axis, x.shape, err)
			}
			shape[axis] = known(n)
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// ScaledLength returns the length of a dimension of n elements that Resize or Upsample scales. The product is a float32 that is
// rounded down, as ONNX's own shape inference has it: three times float32(10)/3 are ten. A region that is cropped does not count.
func ScaledLength(n int64, scale float64) (int64, error) {
	if scale == 1 {
		return n, nil
	}
	length := math.Floor(float64(float32(n) * float32(scale)))
	if !(scale > 0) || !(length < 1<<63) {
		return 0, fmt.Errorf("a scale of %v for %d elements", scale, n)
	}
	return int64(length), nil
}

// resizeAxes returns the axes that scales and sizes are for: all, unless the attribute of opset 18 says otherwise.
func (c *call) resizeAxes() ([]int, error) {
	rank := c.arg(0).rank()
	if rank < 0 {
		return nil, nil
	}
	axes, err := AxesOrAll(c.attrs.Ints("axes", nil), rank)
	if err != nil {
		return nil, c.fail("%w", err)
	}
	return axes, nil
}

// resizeTo takes the lengths from sizes.
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
	policy := c.attrs.String("keep_aspect_ratio_policy", "stretch")
	lengths := make([]int64, len(axes))
	exact := true
	for i, axis := range axes {
		if sizes[i].negative() {
			return c.fail("size %d is %d", i, sizes[i].int())
		}
		lengths[i] = x.shape[axis].Size
		exact = exact && sizes[i].known && x.shape[axis].Known()
		if shape[axis] = sizes[i].dim(); policy != "stretch" {
			shape[axis] = unknown
		}
	}
	if target, known := intsOf(sizes); known && exact {
		lengths, _, err := SizedLengths(lengths, target, policy)
		if err != nil {
			return c.fail("%w", err)
		}
		for i, axis := range axes {
			shape[axis] = graph.Dim{Size: lengths[i]}
		}
	}
	c.set(0, x.dtype, shape)
	return nil
}

// SizedLengths returns the lengths of dimensions of these lengths that Resize brings to sizes. A policy that keeps the ratio, not
// "stretch", scales all alike by the scale that is returned, else 0; halves are rounded up.
func SizedLengths(lengths, sizes []int64, policy string) ([]int64, float64, error) {
	if policy != "stretch" && policy != "not_larger" && policy != "not_smaller" {
		return nil, 0, fmt.Errorf("keep_aspect_ratio_policy %q", policy)
	}
	scale := math.NaN()
	for i, n := range lengths {
		if sizes[i] < 0 || n == 0 && sizes[i] > 0 {
			return nil, 0, fmt.Errorf("%d elements brought to %d", n, sizes[i])
		}
		if n == 0 {
			continue // whatever the scale is
		}
		ratio := float64(sizes[i]) / float64(n)
		if scale != scale || policy == "not_larger" && ratio < scale || policy == "not_smaller" && ratio > scale {
			scale = ratio
		}
	}
	if policy == "stretch" || scale != scale {
		return sizes, 0, nil
	}
	out := make([]int64, len(lengths))
	for i, n := range lengths {
		length := math.Floor(scale*float64(n) + 0.5)
		if !(length < 1<<63) {
			return nil, 0, fmt.Errorf("a scale of %v for %d elements", scale, n)
		}
		out[i] = int64(length)
	}
	return out, scale, nil
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
		oneSided, inverse := c.attrs.Bool("onesided", false), c.attrs.Bool("inverse", false)
		if d := shape[axis]; oneSided && inverse && d.Known() {
			shape[axis] = known(2 * (d.Size - 1))
		} else if oneSided && inverse {
			shape[axis] = unknown
		}
		if c.has(1) {
			shape[axis] = unknown
			if v := c.arg(1).vals; len(v) == 1 {
				shape[axis] = v[0].dim()
			}
		}
		if oneSided && !inverse {
			if d := shape[axis]; d.Known() {
				shape[axis] = known(d.Size/2 + 1)
			} else {
				shape[axis] = unknown
			}
		}
		shape[len(shape)-1] = known(2)
		if oneSided && inverse {
			shape[len(shape)-1] = known(1)
		}
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
			room := x.shape[1].Size - length.Size
			if room < 0 {
				return c.fail("frames of %v of a signal of shape %v", length, x.shape)
			}
			frames = known(room/step[0].int() + 1)
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
		if d.Size%each != 0 {
			return c.fail("blocks %v in columns of shape %v", block, x.shape)
		}
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
		n, err := sumOf(n, 1)
		if err != nil {
			return c.fail("%w", err)
		}
		shape := slices.Clone(c.arg(0).shape)
		if len(shape) > 0 {
			shape[len(shape)-1] = known(n)
		}
		c.set(0, tensor.Float32, shape)
		return nil
	},
})
