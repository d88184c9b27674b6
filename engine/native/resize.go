package native

import (
	"math"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A resizePlan has, for each dimension that changes, where each output position takes its value from.
type resizePlan struct {
	mode, transform, nearest, policy string
	cubicA                           float64
	excludeOutside, antialias        bool
	extrapolation                    float64
	roi                              []float64 // starts, then ends
}

// resize is the kernel of Resize, since opset 10, and upsample that of Upsample before it.
func resize(c *prep) error {
	p := &resizePlan{
		mode: c.attrs.String("mode", "nearest"), transform: c.attrs.String("coordinate_transformation_mode", "half_pixel"),
		nearest: c.attrs.String("nearest_mode", "round_prefer_floor"), policy: c.attrs.String("keep_aspect_ratio_policy", "stretch"),
		cubicA: float64(c.attrs.Float("cubic_coeff_a", -0.75)), excludeOutside: c.attrs.Bool("exclude_outside", false),
		antialias: c.attrs.Bool("antialias", false), extrapolation: float64(c.attrs.Float("extrapolation_value", 0)),
	}
	if err := c.need(1); err != nil {
		return err
	}
	in := c.in[0].shape
	if len(in) == 0 {
		return c.errf("a scalar cannot be resized")
	}
	if c.opset < 11 {
		p.transform, p.nearest = "asymmetric", "floor"
		scales, err := c.resizeScales(1)
		if err != nil {
			return err
		}
		return c.resizeBy(p, nil, scales, nil)
	}
	axes, err := infer.AxesOrAll(c.attrs.Ints("axes", nil), len(in))
	if err != nil {
		return c.errf("%w", err)
	}
	if p.transform == "tf_crop_and_resize" {
		roi, err := c.resizeScales(1)
		if err != nil {
			return err
		}
		p.roi = roi
	}
	if s := c.opt(2); s.has() && s.size() > 0 {
		scales, err := c.resizeScales(2)
		if err != nil {
			return err
		}
		return c.resizeBy(p, axes, scales, nil)
	}
	sizes, err := c.ints(3)
	if err != nil {
		return err
	}
	return c.resizeBy(p, axes, nil, sizes)
}

func upsample(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	p := &resizePlan{mode: c.attrs.String("mode", "nearest"), transform: "asymmetric", nearest: "floor", policy: "stretch"}
	if p.mode == "bilinear" {
		p.mode = "linear"
	}
	var scales []float64
	switch {
	case c.opset >= 9:
		var err error
		if scales, err = c.resizeScales(1); err != nil {
			return err
		}
	case c.opset >= 7:
		for _, s := range c.attrs.Floats("scales", nil) {
			scales = append(scales, float64(s))
		}
	default:
		scales = []float64{1, 1, float64(c.attrs.Float("height_scale", 1)), float64(c.attrs.Float("width_scale", 1))}
	}
	return c.resizeBy(p, nil, scales, nil)
}

// resizeScales reads an input of floating-point numbers.
func (c *prep) resizeScales(i int) ([]float64, error) {
	t, err := c.known(i)
	if err != nil {
		return nil, err
	}
	v := tensor.Must(tensor.New(tensor.Float64, t.Shape()...))
	if !castInto(v, t) {
		return nil, c.errf("input %d must be numbers, not %v", i, t.DType())
	}
	return tensor.Data[float64](v), nil
}

func (c *prep) resizeBy(p *resizePlan, axes []int, scales []float64, sizes []int) error {
	in := c.in[0].shape
	if axes == nil {
		for i := range in {
			axes = append(axes, i)
		}
	}
	if sizes == nil && len(scales) != len(axes) || sizes != nil && len(sizes) != len(axes) || len(in) > maxRank {
		return c.errf("%d scales and %d sizes for %d axes of shape %v", len(scales), len(sizes), len(axes), in)
	}
	shape, by := in.Clone(), make([]float64, len(in))
	start, end := make([]float64, len(in)), make([]float64, len(in))
	for i := range by {
		by[i], end[i] = 1, 1
	}
	lengths, err := c.resizedTo(p, axes, scales, sizes, by)
	if err != nil {
		return c.errf("shape %v: %w", in, err)
	}
	for i, a := range axes {
		shape[a] = int(lengths[i])
		if p.roi != nil {
			if len(p.roi) != 2*len(axes) {
				return c.errf("%d numbers in roi for %d axes", len(p.roi), len(axes))
			}
			start[a], end[a] = p.roi[i], p.roi[len(axes)+i]
		}
	}
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	if shape.Size() == 0 {
		return nil
	}
	if p.mode == "nearest" && p.transform != "tf_crop_and_resize" {
		return c.resizeNearest(p, o, shape, by)
	}
	var tables []resampler
	for i, d := range shape {
		t, err := p.table(c, in[i], d, by[i], start[i], end[i])
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	return c.resample(p, o, shape, tables)
}

// resizedTo returns the lengths of the axes, and fills in their scales.
func (c *prep) resizedTo(p *resizePlan, axes []int, scales []float64, sizes []int, by []float64) ([]int64, error) {
	in := make([]int64, len(axes))
	for i, a := range axes {
		in[i] = int64(c.in[0].shape[a])
	}
	if sizes == nil {
		lengths := make([]int64, len(axes))
		for i, a := range axes {
			n, err := infer.ScaledLength(in[i], scales[i])
			if err != nil {
				return nil, err
			}
			lengths[i], by[a] = n, scales[i]
		}
		return lengths, nil
	}
	lengths, scale, err := infer.SizedLengths(in, toInt64s(sizes), p.policy)
	if err != nil {
		return nil, err
	}
	for i, a := range axes {
		if by[a] = scale; scale == 0 {
			by[a] = float64(lengths[i]) / float64(in[i])
		}
	}
	return lengths, nil
}

// source is the position in the input, as a real number, that output position x comes from.
func (p *resizePlan) source(x, in, out int, scale, start, end float64) (float64, bool) {
	n, m := float64(in), float64(out)
	exact := scale * n // the output's length before it was rounded down, which ONNX's reference computes with
	if scale == 1 && in == out && p.roi == nil {
		return float64(x), true
	}
	switch p.transform {
	case "half_pixel":
		return (float64(x)+0.5)/scale - 0.5, true
	case "half_pixel_symmetric":
		adjust := m / exact
		return n/2*(1-adjust) + (float64(x)+0.5)/scale - 0.5, true
	case "pytorch_half_pixel":
		if out > 1 {
			return (float64(x)+0.5)/scale - 0.5, true
		}
		return 0, true
	case "align_corners":
		if exact != 1 {
			return float64(x) * (n - 1) / (exact - 1), true
		}
		return 0, true
	case "asymmetric":
		return float64(x) / scale, true
	case "tf_half_pixel_for_nn":
		return (float64(x) + 0.5) / scale, true
	case "tf_crop_and_resize":
		if exact != 1 {
			return start*(n-1) + float64(x)*(end-start)*(n-1)/(exact-1), true
		}
		return 0.5 * (start + end) * (n - 1), true
	}
	return 0, false
}

// round takes the nearest position, as nearest_mode says.
func (p *resizePlan) round(x float64) (int, bool) {
	switch p.nearest {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5)), true
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5)), true
	case "floor":
		return int(math.Floor(x)), true
	case "ceil":
		return int(math.Ceil(x)), true
	}
	return 0, false
}

func (c *prep) resizeNearest(p *resizePlan, o int, shape tensor.Shape, by []float64) error {
	in := &c.in[0]
	from, st := make([][]int, len(shape)), contiguous(in.shape)
	for d, n := range shape {
		from[d] = make([]int, n)
		for x := range n {
			at, ok := p.source(x, in.shape[d], n, by[d], 0, 1)
			k, known := p.round(at)
			if !ok || !known {
				return c.refuse("coordinate_transformation_mode %q, nearest_mode %q", p.transform, p.nearest)
			}
			from[d][x] = max(0, min(k, in.shape[d]-1)) * st[d]
		}
	}
	return byWord(c, in.dtype, tableOf[uint8], tableOf[uint16], tableOf[uint32], tableOf[uint64], tableOf[complex128], tableOf[string],
		tableArgs{shape, from, o, in.slot})
}

// A resampler has, for each output position of a dimension, the input positions and weights that make it.
type resampler struct {
	identity bool
	in, out  int
	taps     int
	at       []int     // taps for each output
	weight   []float64 // taps for each output
	outside  []bool    // of the input: the extrapolation value stands there
}

func (p *resizePlan) table(c *prep, in, out int, scale, start, end float64) (resampler, error) {
	t := resampler{in: in, out: out, identity: in == out && scale == 1 && (p.roi == nil || start == 0 && end == 1)}
	if t.identity {
		return t, nil
	}
	support := 1.0
	switch p.mode {
	case "nearest", "linear":
	case "cubic":
		support = 2
	default:
		return t, c.refuse("mode %q", p.mode)
	}
	stretch := 1.0
	if p.antialias && scale < 1 {
		stretch = scale
	}
	reach := support / stretch
	if reach > maxWindow {
		return t, c.errf("scale %v", scale)
	}
	t.taps = 2*int(math.Ceil(reach)) + 1
	for x := range out {
		at, ok := p.source(x, in, out, scale, start, end)
		if !ok {
			return t, c.refuse("coordinate_transformation_mode %q", p.transform)
		}
		t.outside = append(t.outside, p.transform == "tf_crop_and_resize" && (at < 0 || at > float64(in-1)))
		first, sum := int(math.Floor(at))-int(math.Ceil(reach)), 0.0
		base := len(t.weight)
		for k := range t.taps {
			pos := first + k + 1
			w := 0.0
			switch p.mode {
			case "nearest":
				if n, _ := p.round(at); n == pos {
					w = 1
				}
			case "linear":
				w = max(0, 1-math.Abs(float64(pos)-at)*stretch)
			default:
				w = cubicWeight(math.Abs(float64(pos)-at)*stretch, p.cubicA)
			}
			if (pos < 0 || pos >= in) && p.excludeOutside {
				w = 0
			}
			sum += w
			t.at, t.weight = append(t.at, max(0, min(pos, in-1))), append(t.weight, w)
		}
		if p.excludeOutside || stretch != 1 {
			for k := range t.taps {
				t.weight[base+k] /= sum
			}
		}
	}
	return t, nil
}

// cubicWeight is Keys' cubic convolution kernel.
func cubicWeight(x, a float64) float64 {
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// resample applies the tables one dimension after the other, in float64.
func (c *prep) resample(p *resizePlan, o int, shape tensor.Shape, tables []resampler) error {
	in := &c.in[0]
	if !in.dtype.IsFloat() && !in.dtype.IsInteger() {
		return c.refuse("mode %s of %v", p.mode, in.dtype)
	}
	wide, err := c.scratchOf(tensor.Float64, in.shape)
	if err != nil {
		return err
	}
	at := wide
	c.convert(wide, in)
	now := in.shape.Clone()
	for d, t := range tables {
		if t.identity {
			continue
		}
		next := now.Clone()
		next[d] = t.out
		to, err := c.scratchOf(tensor.Float64, next)
		if err != nil {
			return err
		}
		outer, inner, src := now[:d].Size(), now[d+1:].Size(), at
		c.do(func(f *frame) {
			t.apply(data[float64](f, to), data[float64](f, src), f.rows(outer), inner, p.extrapolation)
		})
		at, now = to, next
	}
	if in.dtype.IsInteger() {
		c.do(func(f *frame) {
			for i, v := range data[float64](f, at) {
				data[float64](f, at)[i] = math.RoundToEven(v)
			}
		})
	}
	c.do(c.conversion(o, at, now.Size(), c.carriesRows()))
	return nil
}

func (t *resampler) apply(dst, src []float64, outer, inner int, outside float64) {
	for b := range outer {
		for x := range t.out {
			row := dst[(b*t.out+x)*inner : (b*t.out+x+1)*inner]
			clear(row)
			if t.outside[x] {
				for i := range row {
					row[i] = outside
				}
				continue
			}
			for k := range t.taps {
				w := t.weight[x*t.taps+k]
				if w == 0 {
					continue
				}
				from := src[(b*t.in+t.at[x*t.taps+k])*inner:][:inner]
				for i, v := range from {
					row[i] += w * v
				}
			}
		}
	}
}
