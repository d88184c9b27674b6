package native

import (
	"math"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// batchNorm is the kernel of BatchNormalization: with given statistics, or, in training mode, with those of the batch.
var batchNorm = viaFloat32(func(c *prep) error {
	if err := c.need(5); err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return batchNormOf[float32](c)
	case tensor.Float64:
		return batchNormOf[float64](c)
	default:
		return c.refuseType(d)
	}
})

// A channelView is a tensor as n times channels times inner elements.
type channelView struct{ n, channels, inner int }

func viewChannels(s tensor.Shape) channelView {
	if len(s) < 2 {
		return channelView{1, s.Size(), 1}
	}
	return channelView{s[0], s[1], s[2:].Size()}
}

func batchNormOf[T float](c *prep) error {
	x := c.in[0].shape
	v := viewChannels(x)
	if len(x) == 1 {
		v = channelView{x[0], 1, 1}
	}
	if c.opset < 9 && !c.attrs.Bool("spatial", true) {
		v.channels, v.inner = v.channels*v.inner, 1
	}
	for i := 1; i < 5; i++ {
		if c.in[i].dtype != c.in[0].dtype || c.in[i].size() != v.channels {
			return c.errf("input %d is %v%v for input %v%v", i, c.in[i].dtype, c.in[i].shape, c.in[0].dtype, x)
		}
	}
	training := c.attrs.Bool("training_mode", false)
	if c.opset < 14 {
		training = c.wants(1) && !c.attrs.Bool("is_test", false)
	}
	o, err := c.out(0, c.in[0].dtype, x)
	if err != nil {
		return err
	}
	vec, eps := vectors[T]{c.pl.e.kernel}, float64(c.attrs.Float("epsilon", 1e-5))
	in, scale, bias, mean, variance := c.in[0].slot, c.in[1].slot, c.in[2].slot, c.in[3].slot, c.in[4].slot
	if !training {
		c.inplace(o, in)
		part := func(f *frame, lo, hi int) {
			src, dst := data[T](f, in), data[T](f, o)
			s, b, m, va := data[T](f, scale), data[T](f, bias), data[T](f, mean), data[T](f, variance)
			for i := lo; i < hi; i++ {
				ch := i % v.channels
				k := float64(s[ch]) / math.Sqrt(float64(va[ch])+eps)
				vec.centre(dst[i*v.inner:(i+1)*v.inner], src[i*v.inner:(i+1)*v.inner], moments{mean: float64(m[ch])}, k, float64(b[ch]))
			}
		}
		c.do(func(f *frame) { f.parallel(v.n*v.channels, max(1, grain/max(1, v.inner)), part) })
		return nil
	}
	stat := tensor.Shape{v.channels}
	var outs [4]int // running mean and variance, saved mean and variance
	for i := range outs {
		outs[i] = -1
		if c.wants(1 + i) {
			if outs[i], err = c.out(1+i, c.in[3].dtype, stat); err != nil {
				return err
			}
		}
	}
	momentum := float64(c.attrs.Float("momentum", 0.9))
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, in), data[T](f, o)
		s, b := data[T](f, scale), data[T](f, bias)
		for ch := lo; ch < hi; ch++ {
			now := momentsOf(src, v, ch)
			for i, stat := range [4]float64{
				momentum*float64(data[T](f, mean)[ch]) + (1-momentum)*now.mean,
				momentum*float64(data[T](f, variance)[ch]) + (1-momentum)*now.variance, now.mean, now.variance,
			} {
				if outs[i] >= 0 {
					data[T](f, outs[i])[ch] = T(stat)
				}
			}
			k := float64(s[ch]) / math.Sqrt(now.variance+eps)
			for n := range v.n {
				at := (n*v.channels + ch) * v.inner
				vec.centre(dst[at:at+v.inner], src[at:at+v.inner], now, k, float64(b[ch]))
			}
		}
	}
	c.do(func(f *frame) { f.parallel(v.channels, max(1, grain/max(1, v.n*v.inner)), part) })
	return nil
}

// moments are the mean and variance of what is normalized.
type moments struct {
	mean, rest float64 // rest is what float64 leaves out of the mean
	variance   float64
}

// momentsOf returns those of a channel, as float64 sums over the differences from a first estimate.
func momentsOf[T float](x []T, v channelView, ch int) moments {
	count := float64(v.n * v.inner)
	if count == 0 {
		return moments{}
	}
	shift := float64(x[ch*v.inner])
	var sum, square float64
	for n := range v.n {
		at := (n*v.channels + ch) * v.inner
		for _, e := range x[at : at+v.inner] {
			d := float64(e) - shift
			sum += d
			square += d * d
		}
	}
	m := sum / count
	mean := shift + m
	rest := m - (mean - shift)
	if math.Abs(m) > math.Abs(shift) {
		rest = shift - (mean - m)
	}
	return moments{mean: mean, rest: rest, variance: max(0, square/count-m*m)}
}

// centred returns what computes (x-mean)*k + b as (x-middle)*scale + shift in T. Where elements are far from zero and near each
// other, their difference from the mean is exact; x*k + (b-mean*k) would subtract large numbers that have lost it.
func centred[T float](m moments, k, b float64) (middle, scale, shift T) {
	middle = T(m.mean)
	if rest := m.mean - float64(middle) + m.rest; rest == rest { // not between infinities
		b -= k * rest
	}
	return middle, T(k), T(b)
}

// centre sets dst = (src-mean)*k + b.
func (v vectors[T]) centre(dst, src []T, m moments, k, b float64) {
	middle, scale, shift := centred[T](m, k, b)
	d, ok := any(dst).([]float32)
	if !ok || len(d) < 16 {
		src = src[:len(dst)]
		for i, x := range src {
			dst[i] = (x-middle)*scale + shift
		}
		return
	}
	// Block by block, so that the second step finds the first one's results near.
	const block = 2048
	s := any(src).([]float32)[:len(d)]
	for len(d) > 0 {
		n := min(block, len(d))
		v.k.Shift(d[:n], s[:n], -float32(middle))
		v.k.Affine(d[:n], d[:n], float32(scale), float32(shift))
		d, s = d[n:], s[n:]
	}
}

// instanceNorm normalizes each channel of each example.
var instanceNorm = viaFloat32(func(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	v := viewChannels(c.in[0].shape)
	return c.groupNormOver(v, v.channels, false)
})

// groupNorm normalizes groups of channels. Before opset 21 scale and bias are one for each group.
var groupNorm = viaFloat32(func(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	v := viewChannels(c.in[0].shape)
	groups := c.attrs.Int("num_groups", 0)
	if groups < 1 || groups > int64(max(1, v.channels)) || v.channels%int(groups) != 0 {
		return c.errf("%d groups of %d channels", groups, v.channels)
	}
	return c.groupNormOver(v, int(groups), c.opset < 21)
})

func (c *prep) groupNormOver(v channelView, groups int, perGroup bool) error {
	want := v.channels
	if perGroup {
		want = groups
	}
	if len(c.in[0].shape) < 2 || c.in[1].size() != want || c.in[2].size() != want {
		return c.errf("input %v with scale %v and bias %v", c.in[0].shape, c.in[1].shape, c.in[2].shape)
	}
	if err := c.sameType(); err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return groupNormOf[float32](c, v, groups, perGroup)
	case tensor.Float64:
		return groupNormOf[float64](c, v, groups, perGroup)
	default:
		return c.refuseType(d)
	}
}

func groupNormOf[T float](c *prep, v channelView, groups int, perGroup bool) error {
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	vec, eps := vectors[T]{c.pl.e.kernel}, float64(c.attrs.Float("epsilon", 1e-5))
	per := v.channels / max(1, groups)
	x, scale, bias := c.in[0].slot, c.in[1].slot, c.in[2].slot
	part := func(f *frame, lo, hi int) {
		src, dst, s, b := data[T](f, x), data[T](f, o), data[T](f, scale), data[T](f, bias)
		for g := lo; g < hi; g++ {
			base := g * per * v.inner
			now := momentsOf(src[base:], channelView{1, 1, per * v.inner}, 0)
			for i := range per {
				at := base + i*v.inner
				ch := g%groups*per + i
				if perGroup {
					ch = g % groups
				}
				k := float64(s[ch]) / math.Sqrt(now.variance+eps)
				vec.centre(dst[at:at+v.inner], src[at:at+v.inner], now, k, float64(b[ch]))
			}
		}
	}
	c.do(func(f *frame) { f.parallel(v.n*groups, max(1, grain/max(1, per*v.inner)), part) })
	return nil
}

// layerNorm normalizes over all dimensions from the axis on. The second and third outputs are mean and inverse
// deviation.
var layerNorm = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return layerNormOf[float32](c)
	case tensor.Float64:
		return layerNormOf[float64](c)
	default:
		return c.refuseType(d)
	}
})

func layerNormOf[T float](c *prep) error {
	x := c.in[0].shape
	axis, err := c.axis(c.attrs.Int("axis", -1), len(x))
	if err != nil {
		return err
	}
	outer, inner := x[:axis].Size(), x[axis:].Size()
	for i := 1; i < 3; i++ {
		if in := c.opt(i); in.has() {
			if s, err := infer.Broadcast(in.shape, x[axis:]); err != nil || !s.Equal(x[axis:]) || in.dtype != c.in[0].dtype {
				return c.errf("input %d is %v%v for input %v%v at axis %d", i, in.dtype, in.shape, c.in[0].dtype, x, axis)
			}
		}
	}
	o, err := c.out(0, c.in[0].dtype, x)
	if err != nil {
		return err
	}
	stat := x.Clone()
	for i := axis; i < len(stat); i++ {
		stat[i] = 1
	}
	var stats [2]int
	for i := range stats {
		stats[i] = -1
		if c.wants(1 + i) {
			if stats[i], err = c.outExact(1+i, tensor.Float32, stat); err != nil {
				return err
			}
		}
	}
	// Scale and bias that are broadcast are expanded once.
	var affines [2]int
	for i := range affines {
		affines[i] = -1
		in := c.opt(1 + i)
		switch {
		case !in.has():
		case in.size() == inner:
			affines[i] = in.slot
		default:
			if affines[i], err = c.scratchOf(in.dtype, x[axis:]); err != nil {
				return err
			}
			if err := strided(c, in.dtype, x[axis:], affines[i], contiguous(x[axis:]), in.slot, 0, broadcastStrides(in.shape, x[axis:])); err != nil {
				return err
			}
		}
	}
	eps := float64(c.attrs.Float("epsilon", 1e-5))
	s := c.in[0].slot
	part := func(f *frame, lo, hi int) {
		src, dst, scale := data[T](f, s), data[T](f, o), data[T](f, affines[0])
		var bias []T
		if affines[1] >= 0 {
			bias = data[T](f, affines[1])
		}
		for i := lo; i < hi; i++ {
			from, to := src[i*inner:(i+1)*inner], dst[i*inner:(i+1)*inner]
			now := momentsOf(from, channelView{1, 1, inner}, 0)
			inv := 1 / math.Sqrt(now.variance+eps)
			middle, k, shift := centred[T](now, inv, 0)
			if bias != nil {
				for j, v := range from {
					to[j] = ((v-middle)*k+shift)*scale[j] + bias[j]
				}
			} else {
				for j, v := range from {
					to[j] = ((v-middle)*k + shift) * scale[j]
				}
			}
			if stats[0] >= 0 {
				data[float32](f, stats[0])[i] = float32(now.mean)
			}
			if stats[1] >= 0 {
				data[float32](f, stats[1])[i] = float32(inv)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(outer, max(1, grain/max(1, inner)), part) })
	return nil
}

// lrn divides by a norm over neighbouring channels.
var lrn = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	size := c.attrs.Int("size", 0)
	if size < 1 || size > maxWindow {
		return c.refuse("size %d", size)
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return lrnOf[float32](c, int(size))
	case tensor.Float64:
		return lrnOf[float64](c, int(size))
	default:
		return c.refuseType(d)
	}
})

func lrnOf[T float](c *prep, size int) error {
	o, err := c.out(0, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	v := viewChannels(c.in[0].shape)
	alpha, beta, bias := float64(c.attrs.Float("alpha", 1e-4)), float64(c.attrs.Float("beta", 0.75)), float64(c.attrs.Float("bias", 1))
	s := c.in[0].slot
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for i := lo; i < hi; i++ {
			n, ch := i/v.channels*v.channels, i%v.channels
			first, last := max(0, ch-(size-1)/2), min(v.channels-1, ch+size/2)
			for p := range v.inner {
				sum := 0.0
				for k := first; k <= last; k++ {
					e := float64(src[(n+k)*v.inner+p])
					sum += e * e
				}
				dst[i*v.inner+p] = T(float64(src[i*v.inner+p]) / math.Pow(bias+alpha/float64(size)*sum, beta))
			}
		}
	}
	c.do(func(f *frame) { f.parallel(v.n*v.channels, max(1, grain/8/max(1, v.inner)), part) })
	return nil
}
