package native

import "github.com/millrace/millrace/tensor"

// viaFloat32 lets a kernel for float32 serve float16 and bfloat16: inputs are widened, the kernel computes in float32,
// and its float32 outputs are rounded once.
func viaFloat32(prepare func(c *prep) error) func(c *prep) error {
	return func(c *prep) error {
		half := tensor.Invalid
		for i := range c.in {
			if d := c.in[i].dtype; c.in[i].has() && (d == tensor.Float16 || d == tensor.BFloat16) {
				half = d
				break
			}
		}
		if half == tensor.Invalid {
			return prepare(c)
		}
		orig := append([]info(nil), c.in...)
		for i := range c.in {
			if err := c.widen(&c.in[i]); err != nil {
				return err
			}
		}
		c.intoF, c.half = true, half
		err := prepare(c)
		c.intoF = false
		c.in = orig
		return err
	}
}

// widen replaces a 16-bit input by its float32 copy.
func (c *prep) widen(in *info) error {
	if !in.has() || in.dtype != tensor.Float16 && in.dtype != tensor.BFloat16 {
		return nil
	}
	if in.value != nil && !c.pl.eager {
		wide := derive(c, in, "float32", func(t *tensor.Tensor) *tensor.Tensor {
			w := tensor.Must(tensor.New(tensor.Float32, t.Shape()...))
			castInto(w, t)
			return w
		})
		v := value{dtype: tensor.Float32, shape: in.shape, t: wide, slot: -1}
		c.pl.useSlot(&v, c.pl.node)
		*in = info{dtype: tensor.Float32, shape: in.shape, value: wide, weight: in.weight, slot: v.slot, carries: in.carries}
		return nil
	}
	s, err := c.scratchOf(tensor.Float32, in.shape)
	if err != nil {
		return err
	}
	c.convert(s, in)
	var known *tensor.Tensor
	if in.value != nil { // kernels that read a value while they prepare
		known = tensor.Must(tensor.New(tensor.Float32, in.shape...))
		castInto(known, in.value)
	}
	*in = info{dtype: tensor.Float32, shape: in.shape, value: known, slot: s, carries: in.carries}
	return nil
}

// outHalf declares an output of a 16-bit type of a widened kernel: scratch memory of float32 that a last step rounds.
func (c *prep) outHalf(i int, half tensor.DType, shape tensor.Shape) (int, error) {
	o, err := c.outExact(i, half, shape)
	if err != nil {
		return 0, err
	}
	s, err := c.scratchOf(tensor.Float32, shape)
	if err != nil {
		return 0, err
	}
	round := c.conversion(o, s, shape.Size(), c.carriesRows())
	c.after = append(c.after, func(f *frame) error { round(f); return nil })
	return s, nil
}
