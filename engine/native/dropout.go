package native

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/millrace/millrace/tensor"
)

// dropout passes its input through, or, in training mode, sets a random part of it to zero and scales the rest. With
// attribute seed a session repeats the same sequence; without one the runs of a process differ.
var dropout = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	x := &c.in[0]
	training, ratio := false, float64(c.attrs.Float("ratio", 0.5))
	if c.opset >= 12 {
		ratio = 0.5
		if in := c.opt(1); in.has() {
			t, err := c.known(1)
			if err != nil {
				return err
			}
			v := tensor.Must(tensor.New(tensor.Float64, t.Shape()...))
			if t.Size() != 1 || !castInto(v, t) {
				return c.errf("the ratio must be a number, not %v%v", t.DType(), t.Shape())
			}
			ratio = tensor.Data[float64](v)[0]
		}
		if in := c.opt(2); in.has() {
			t, err := c.known(2)
			if err != nil {
				return err
			}
			if t.DType() != tensor.Bool || t.Size() != 1 {
				return c.errf("training_mode must be one boolean, not %v%v", t.DType(), t.Shape())
			}
			training = tensor.Data[bool](t)[0]
		}
	} else if c.opset < 7 {
		training = !c.attrs.Bool("is_test", false)
	}
	if ratio < 0 || ratio >= 1 || ratio != ratio {
		return c.errf("ratio %v", ratio)
	}
	maskType := tensor.Bool
	if c.opset < 10 {
		maskType = x.dtype
	}
	if !training || ratio == 0 {
		if err := copyOut(c, 0, x); err != nil {
			return err
		}
		if c.wants(1) {
			m, err := c.out(1, maskType, x.shape)
			if err != nil {
				return err
			}
			one := tensor.Must(tensor.New(maskType, 1))
			castInto(one, tensor.Vector[float32](1))
			c.do(func(f *frame) { fillWith(f.t[m], one) })
		}
		return nil
	}
	switch d := x.dtype; d {
	case tensor.Float32:
		return dropoutOf[float32](c, ratio, maskType)
	case tensor.Float64:
		return dropoutOf[float64](c, ratio, maskType)
	default:
		return c.refuseType(d)
	}
})

func dropoutOf[T float](c *prep, ratio float64, maskType tensor.DType) error {
	c.random = true
	x := &c.in[0]
	o, err := c.out(0, x.dtype, x.shape)
	if err != nil {
		return err
	}
	m, err := c.out(1, tensor.Bool, x.shape)
	if err != nil {
		return err
	}
	if maskType != tensor.Bool && c.wants(1) {
		return c.refuse("a mask of %v in training mode", maskType)
	}
	scale := T(1 / (1 - ratio))
	s := x.slot
	drop := func(f *frame, uniform func() float64) {
		src, dst, mask := data[T](f, s), data[T](f, o), data[bool](f, m)
		for i, v := range src {
			mask[i] = uniform() >= ratio
			dst[i] = 0
			if mask[i] {
				dst[i] = v * scale
			}
		}
	}
	if seed, ok := seedOf(c); ok {
		c.do(func(f *frame) {
			g := newTwister(seed)
			drop(f, g.float64)
		})
		return nil
	}
	seed, runs := rand.Uint64(), new(atomic.Uint64)
	c.do(func(f *frame) {
		g := rand.NewPCG(seed, runs.Add(1))
		drop(f, func() float64 { return float64(g.Uint64()>>11) / (1 << 53) })
	})
	return nil
}

func seedOf(c *prep) (uint32, bool) {
	switch v := c.attrs["seed"].(type) {
	case float32:
		return uint32(int64(v)), true
	case int64:
		return uint32(v), true
	}
	return 0, false
}

// twister is the Mersenne Twister MT19937 of Matsumoto and Nishimura (1998), seeded as numpy.random.seed does.
type twister struct {
	state [624]uint32
	at    int
}

func newTwister(seed uint32) *twister {
	t := &twister{at: 624}
	for i := range t.state {
		t.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return t
}

func (t *twister) next() uint32 {
	const n, m = 624, 397
	if t.at == n {
		for i := range t.state {
			y := t.state[i]&0x80000000 | t.state[(i+1)%n]&0x7fffffff
			v := t.state[(i+m)%n] ^ y>>1
			if y&1 == 1 {
				v ^= 0x9908b0df
			}
			t.state[i] = v
		}
		t.at = 0
	}
	y := t.state[t.at]
	t.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// float64 returns a number in [0, 1) of 53 random bits.
func (t *twister) float64() float64 {
	a, b := t.next()>>5, t.next()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}
