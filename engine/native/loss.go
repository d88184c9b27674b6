package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// A lossPlan is what NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss have in common: scores [N, C, D...], a class
// for each place, a weight for each class.
type lossPlan struct {
	v         channelView
	reduction string
	ignore    int64
	ignores   bool
	target    int // slots
	weight    int
	out       int
}

// nllLoss takes log-probabilities.
var nllLoss = viaFloat32(func(c *prep) error {
	p, err := c.planLoss()
	if err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return lossOf[float32](c, p, c.in[0].slot)
	case tensor.Float64:
		return lossOf[float64](c, p, c.in[0].slot)
	default:
		return c.refuseType(d)
	}
})

// crossEntropyLoss takes scores, and gives their log-probabilities as a second output.
var crossEntropyLoss = viaFloat32(func(c *prep) error {
	p, err := c.planLoss()
	if err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return crossEntropyOf[float32](c, p)
	case tensor.Float64:
		return crossEntropyOf[float64](c, p)
	default:
		return c.refuseType(d)
	}
})

func (c *prep) planLoss() (*lossPlan, error) {
	if err := c.need(2); err != nil {
		return nil, err
	}
	x, target := c.in[0].shape, &c.in[1]
	if len(x) < 2 || !isIndex(target.dtype) || !target.shape.Equal(append(x[:1].Clone(), x[2:]...)) {
		return nil, c.errf("scores %v with target %v%v", x, target.dtype, target.shape)
	}
	p := &lossPlan{v: viewChannels(x), reduction: c.attrs.String("reduction", "mean"), ignore: c.attrs.Int("ignore_index", 0),
		ignores: c.attrs.Has("ignore_index"), target: target.slot, weight: -1}
	if w := c.opt(2); w.has() {
		if w.size() != p.v.channels || w.dtype != c.in[0].dtype {
			return nil, c.errf("weights %v%v for %d classes", w.dtype, w.shape, p.v.channels)
		}
		p.weight = w.slot
	}
	shape := tensor.Shape{}
	switch p.reduction {
	case "none":
		shape = target.shape
	case "mean", "sum":
	default:
		return nil, c.refuse("reduction %q", p.reduction)
	}
	var err error
	p.out, err = c.out(0, c.in[0].dtype, shape)
	return p, err
}

func crossEntropyOf[T float](c *prep, p *lossPlan) error {
	logp, err := c.out(1, c.in[0].dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	s, v := c.in[0].slot, p.v
	if v.channels > 0 {
		part := func(f *frame, lo, hi int) {
			src, dst := data[T](f, s), data[T](f, logp)
			for i := lo; i < hi; i++ {
				at := i/v.inner*v.channels*v.inner + i%v.inner
				end := at + (v.channels-1)*v.inner + 1
				softmaxLine(dst[at:end], src[at:end], v.inner, true)
			}
		}
		c.do(func(f *frame) { f.parallel(v.n*v.inner, max(1, grain/8/max(1, v.channels)), part) })
	}
	return lossOf[T](c, p, logp)
}

func lossOf[T float](c *prep, p *lossPlan, logp int) error {
	v := p.v
	c.step(func(f *frame) error {
		x, target, out := data[T](f, logp), f.t[p.target], data[T](f, p.out)
		var weight []T
		if p.weight >= 0 {
			weight = data[T](f, p.weight)
		}
		sum, total := 0.0, 0.0
		for i := range v.n * v.inner {
			class := indexOf(target, i)
			loss := 0.0
			if !p.ignores || int64(class) != p.ignore {
				if class < 0 || class >= v.channels {
					return c.errf("class %d is outside %d classes", class, v.channels)
				}
				w := 1.0
				if weight != nil {
					w = float64(weight[class])
				}
				loss = -w * float64(x[(i/v.inner*v.channels+class)*v.inner+i%v.inner])
				total += w
			}
			sum += loss
			if p.reduction == "none" {
				out[i] = T(loss)
			}
		}
		switch p.reduction {
		case "sum":
			out[0] = T(sum)
		case "mean":
			out[0] = T(sum / total)
			if v.n*v.inner == 0 {
				out[0] = T(math.NaN())
			}
		}
		return nil
	})
	return nil
}
