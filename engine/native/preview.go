package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// The optimizers of ONNX's domain ai.onnx.preview.training. Their inputs are the rate, how many updates there were, then the
// variables, the gradients, and one or two lists of states; their outputs the new variables and the new states.

// rule is one element's update: of variable x with gradient g and states a and b, at rate r after t updates.
type optimizerRule func(r, t, x, g, a, b float64) (float64, float64, float64)

func optimizer(states int, rule func(c *prep) (optimizerRule, error)) func(c *prep) error {
	return func(c *prep) error {
		n := (len(c.in) - 2) / (2 + states)
		if len(c.in) < 4+states || (len(c.in)-2)%(2+states) != 0 {
			return c.errf("%d inputs are not a rate, a count, and as many variables as gradients and states", len(c.in))
		}
		if err := c.need(len(c.in)); err != nil {
			return err
		}
		step, err := rule(c)
		if err != nil {
			return err
		}
		if r, t := &c.in[0], &c.in[1]; r.size() != 1 || t.size() != 1 || t.dtype != tensor.Int64 || r.dtype != tensor.Float32 && r.dtype != tensor.Float64 {
			return c.errf("the rate is %v%v and the count %v%v", r.dtype, r.shape, t.dtype, t.shape)
		}
		for i := range n {
			x := &c.in[2+i]
			for k := 1; k < 2+states; k++ {
				if in := &c.in[2+k*n+i]; in.dtype != x.dtype || !in.shape.Equal(x.shape) {
					return c.errf("variable %d is %v%v, and what belongs to it %v%v", i, x.dtype, x.shape, in.dtype, in.shape)
				}
			}
			switch x.dtype {
			case tensor.Float32:
				err = optimizerOf[float32](c, n, i, states, step)
			case tensor.Float64:
				err = optimizerOf[float64](c, n, i, states, step)
			default:
				return c.refuseType(x.dtype)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func optimizerOf[T float](c *prep, n, i, states int, step optimizerRule) error {
	x := &c.in[2+i]
	var in [4]int
	var out [3]int
	for k := range 2 + states {
		in[k] = c.in[2+k*n+i].slot
	}
	for k := range 1 + states {
		var err error
		if out[k], err = c.out(k*n+i, x.dtype, x.shape); err != nil {
			return err
		}
	}
	rate, count, size := c.in[0], c.in[1], x.size()
	part := func(f *frame, lo, hi int) {
		t := float64(data[int64](f, count.slot)[0])
		var r float64
		if rate.dtype == tensor.Float32 {
			r = float64(data[float32](f, rate.slot)[0])
		} else {
			r = data[float64](f, rate.slot)[0]
		}
		var from [4][]T
		var to [3][]T
		for k := range 2 + states {
			from[k] = data[T](f, in[k])
		}
		for k := range 1 + states {
			to[k] = data[T](f, out[k])
		}
		for j := lo; j < hi; j++ {
			a, b := 0.0, 0.0
			if states > 0 {
				a = float64(from[2][j])
			}
			if states > 1 {
				b = float64(from[3][j])
			}
			x, a, b := step(r, t, float64(from[0][j]), float64(from[1][j]), a, b)
			to[0][j], to[1][j] = T(x), T(a)
			if states > 1 {
				to[2][j] = T(b)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(size, 4096, part) })
	return nil
}

func previewAdagrad(c *prep) (optimizerRule, error) {
	decay, eps, norm := float64(c.attrs.Float("decay_factor", 0)), float64(c.attrs.Float("epsilon", 1e-6)), float64(c.attrs.Float("norm_coefficient", 0))
	return func(r, t, x, g, h, _ float64) (float64, float64, float64) {
		g += norm * x
		h += g * g
		return x - r/(1+t*decay)*g/(math.Sqrt(h)+eps), h, 0
	}, nil
}

func previewAdam(c *prep) (optimizerRule, error) {
	alpha, beta := float64(c.attrs.Float("alpha", 0.9)), float64(c.attrs.Float("beta", 0.999))
	eps, norm, post := float64(c.attrs.Float("epsilon", 1e-6)), float64(c.attrs.Float("norm_coefficient", 0)), float64(c.attrs.Float("norm_coefficient_post", 0))
	return func(r, t, x, g, v, h float64) (float64, float64, float64) {
		g += norm * x
		v, h = alpha*v+(1-alpha)*g, beta*h+(1-beta)*g*g
		if t > 0 {
			r *= math.Sqrt(1-math.Pow(beta, t)) / (1 - math.Pow(alpha, t))
		}
		return (1 - post) * (x - r*v/(math.Sqrt(h)+eps)), v, h
	}, nil
}

func previewMomentum(c *prep) (optimizerRule, error) {
	alpha, beta, norm := float64(c.attrs.Float("alpha", 0)), float64(c.attrs.Float("beta", 0)), float64(c.attrs.Float("norm_coefficient", 0))
	mode := c.attrs.String("mode", "")
	if mode != "standard" && mode != "nesterov" {
		return nil, c.refuse("mode %q", mode)
	}
	return func(r, t, x, g, v, _ float64) (float64, float64, float64) {
		g += norm * x
		k := beta
		if t <= 0 {
			k = 1
		}
		v = alpha*v + k*g
		if mode == "nesterov" {
			return x - r*(g+alpha*v), v, 0
		}
		return x - r*v, v, 0
	}, nil
}
