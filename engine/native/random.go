package native

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/millrace/millrace/tensor"
)

// draws makes a source of numbers in [0, 1) for each run: the same ones for a seed, as numpy's generator makes them of it, and
// others in each run without one.
func draws(c *prep) func() func() float64 {
	c.random = true
	if seed, ok := seedOf(c); ok {
		return func() func() float64 { return newTwister(seed).float64 }
	}
	seed, runs := rand.Uint64(), new(atomic.Uint64)
	return func() func() float64 {
		g := rand.NewPCG(seed, runs.Add(1))
		return func() float64 { return float64(g.Uint64()>>11) / (1 << 53) }
	}
}

// normals makes standard normal numbers of uniform ones, by the polar method of Marsaglia and Bray (1964), in numpy's order.
func normals(uniform func() float64) func() float64 {
	spare, has := 0.0, false
	return func() float64 {
		if has {
			has = false
			return spare
		}
		for {
			a, b := 2*uniform()-1, 2*uniform()-1
			r := a*a + b*b
			if r >= 1 || r == 0 {
				continue
			}
			k := math.Sqrt(-2 * math.Log(r) / r)
			spare, has = k*a, true
			return k * b
		}
	}
}

// drawn declares an output of dtype whose elements fill makes in float64.
func (c *prep) drawn(dtype tensor.DType, shape tensor.Shape, fill func(f *frame, to []float64) error) error {
	c.random = true
	o, err := c.out(0, dtype, shape)
	if err != nil {
		return err
	}
	s := o
	if dtype != tensor.Float64 {
		if s, err = c.scratchOf(tensor.Float64, shape); err != nil {
			return err
		}
	}
	c.step(func(f *frame) error {
		if err := fill(f, data[float64](f, s)); err != nil {
			return err
		}
		if s != o && !castInto(f.t[o], f.t[s]) {
			return errors.New("no cast to " + dtype.String())
		}
		return nil
	})
	return nil
}

// dtypeAttr reads a type of floating-point numbers, or one of those that are allowed beside.
func (c *prep) dtypeAttr(name string, def tensor.DType, allowed ...tensor.DType) (tensor.DType, error) {
	d := c.attrs.Int(name, int64(def))
	if d < 0 || d > 255 || !slices.Contains(allowed, tensor.DType(d)) {
		return 0, c.refuse("%s %d", name, d)
	}
	return tensor.DType(d), nil
}

var floatTypes = []tensor.DType{tensor.Float16, tensor.Float32, tensor.Float64, tensor.BFloat16}

// randomNumbers are RandomUniform and RandomNormal, and with like their forms that take type and shape from an input.
func randomNumbers(normal, like bool) func(c *prep) error {
	return func(c *prep) error {
		var shape tensor.Shape
		def := tensor.Float32
		if like {
			if err := c.need(1); err != nil {
				return err
			}
			shape, def = c.in[0].shape, c.in[0].dtype
		} else {
			if !c.attrs.Has("shape") {
				return c.errf("it has no shape")
			}
			shape = toInts(c.attrs.Ints("shape", nil))
			if _, err := shape.Check(); err != nil {
				return c.errf("%w", err)
			}
		}
		dtype, err := c.dtypeAttr("dtype", def, floatTypes...)
		if err != nil {
			return err
		}
		low, high := float64(c.attrs.Float("low", 0)), float64(c.attrs.Float("high", 1))
		mean, scale := float64(c.attrs.Float("mean", 0)), float64(c.attrs.Float("scale", 1))
		source := draws(c)
		return c.drawn(dtype, shape, func(_ *frame, to []float64) error {
			draw := source()
			if normal {
				draw = normals(draw)
			}
			for i := range to {
				if normal {
					to[i] = mean + scale*draw()
				} else {
					to[i] = low + (high-low)*draw()
				}
			}
			return nil
		})
	}
}

// bernoulli is 1 with the probability that its input says, else 0.
func bernoulli(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	x := &c.in[0]
	if !slices.Contains(floatTypes, x.dtype) {
		return c.refuseType(x.dtype)
	}
	dtype, err := c.dtypeAttr("dtype", x.dtype, slices.Concat(floatTypes, []tensor.DType{tensor.Bool, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
		tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64})...)
	if err != nil {
		return err
	}
	source, s, shape := draws(c), x.slot, x.shape
	return c.drawn(dtype, shape, func(f *frame, to []float64) error {
		draw := source()
		if !castInto(tensor.Must(tensor.Of(to, shape...)), f.t[s]) {
			return errors.New("no cast of the probabilities")
		}
		for i, p := range to {
			if !(p >= 0 && p <= 1) {
				return errors.New("a probability is not from 0 to 1")
			}
			to[i] = 0
			if draw() < p {
				to[i] = 1
			}
		}
		return nil
	})
}

// multinomial draws classes by the logarithms of their weights.
func multinomial(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	x := &c.in[0]
	n := int(c.attrs.Int("sample_size", 1))
	if len(x.shape) != 2 || x.shape[1] == 0 || n < 0 || n >= 1<<31 {
		return c.errf("%d samples of shape %v, which must be [batch,classes]", n, x.shape)
	}
	if !slices.Contains(floatTypes, x.dtype) {
		return c.refuseType(x.dtype)
	}
	dtype, err := c.dtypeAttr("dtype", tensor.Int32, tensor.Int32, tensor.Int64)
	if err != nil {
		return err
	}
	rows, classes, s := x.shape[0], x.shape[1], x.slot
	weights, err := c.scratchOf(tensor.Float64, x.shape)
	if err != nil {
		return err
	}
	source := draws(c)
	return c.drawn(dtype, tensor.Shape{rows, n}, func(f *frame, to []float64) error {
		draw := source()
		if !castInto(f.t[weights], f.t[s]) {
			return errors.New("no cast of the weights")
		}
		for r := range rows {
			w := data[float64](f, weights)[r*classes : (r+1)*classes]
			top, sum := slices.Max(w), 0.0
			for i, v := range w {
				sum += math.Exp(v - top)
				w[i] = sum
			}
			if !(sum > 0) || math.IsInf(sum, 1) {
				return errors.New("the weights of a row cannot be drawn from")
			}
			for k := range n {
				u := draw() * sum
				at, _ := slices.BinarySearchFunc(w, u, func(v, u float64) int {
					if v > u {
						return 1
					}
					return -1
				})
				to[r*n+k] = float64(min(at, classes-1))
			}
		}
		return nil
	})
}
