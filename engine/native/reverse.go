package native

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// reverseSequence turns the first elements along the time axis round: as many as input 1 says of each place along the
// batch axis.
func reverseSequence(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	in, lengths := &c.in[0], &c.in[1]
	if !isIndex(lengths.dtype) {
		return c.refuse("lengths of %v", lengths.dtype)
	}
	batch, err := c.axis(c.attrs.Int("batch_axis", 1), len(in.shape))
	if err != nil {
		return err
	}
	time, err := c.axis(c.attrs.Int("time_axis", 0), len(in.shape))
	if err != nil {
		return err
	}
	if len(in.shape) < 2 || batch == time {
		return c.errf("batch axis %d and time axis %d of shape %v", batch, time, in.shape)
	}
	if len(in.shape) > maxRank {
		return c.refuse("rank %d", len(in.shape))
	}
	if len(lengths.shape) != 1 || lengths.shape[0] != in.shape[batch] {
		return c.errf("lengths of shape %v for a batch of %d", lengths.shape, in.shape[batch])
	}
	o, err := c.out(0, in.dtype, in.shape)
	if err != nil {
		return err
	}
	a := reverseArgs{o: o, in: in.slot, lengths: lengths.slot, steps: in.shape[time]}
	strides := contiguous(in.shape)
	rest := in.shape.Clone()
	a.batch, a.time = strides[batch], strides[time]
	a.count = rest[batch]
	rest[batch], rest[time] = 1, 1
	a.w = newWalk(rest, strides)
	return byWord(c, in.dtype, reverseOf[uint8], reverseOf[uint16], reverseOf[uint32], reverseOf[uint64], reverseOf[complex128], reverseOf[string], a)
}

type reverseArgs struct {
	o, in, lengths int
	w              *walk // over all but the two axes
	count, batch   int   // places along the batch axis, and from one to the next
	steps, time    int
}

func reverseOf[T word](c *prep, a reverseArgs) error {
	c.step(func(f *frame) error {
		d, s, lengths := words[T](f, a.o), words[T](f, a.in), f.t[a.lengths]
		for b := range a.count {
			n := indexOf(lengths, b)
			if n < 0 || n > a.steps {
				return fmt.Errorf("sequence %d has length %d of %d", b, n, a.steps)
			}
			for step := range a.steps {
				from := step
				if step < n {
					from = n - 1 - step
				}
				to, from := b*a.batch+step*a.time, b*a.batch+from*a.time
				for it := a.w.from(0, a.w.outer); it.more(); it.next() {
					at := it.at[0]
					for range a.w.inner {
						d[to+at] = s[from+at]
						at += a.w.step[0]
					}
				}
			}
		}
		return nil
	})
	return nil
}

// eyeLike makes ones on a diagonal of a matrix of input 0's shape.
func eyeLike(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	if len(in.shape) != 2 {
		return c.errf("shape %v is no matrix", in.shape)
	}
	dtype := in.dtype
	if v := c.attrs.Int("dtype", 0); v != 0 {
		dtype = tensor.DType(min(max(v, 0), 255))
	}
	if !castable(dtype) || dtype == tensor.String {
		return c.refuseType(dtype)
	}
	one := tensor.Must(tensor.New(dtype, 1))
	castInto(one, tensor.Vector[int32](1))
	o, err := c.out(0, dtype, in.shape)
	if err != nil {
		return err
	}
	return byWord(c, dtype, eyeOf[uint8], eyeOf[uint16], eyeOf[uint32], eyeOf[uint64], eyeOf[complex128], eyeOf[string],
		eyeArgs{o, in.shape[0], in.shape[1], int(c.attrs.Int("k", 0)), one})
}

type eyeArgs struct {
	o, rows, cols, k int
	one              *tensor.Tensor
}

func eyeOf[T word](c *prep, a eyeArgs) error {
	one := wordsOf[T](a.one)[0]
	c.do(func(f *frame) {
		d := words[T](f, a.o)
		clear(d)
		if a.k >= a.cols || a.k <= -a.rows {
			return
		}
		for r := max(0, -a.k); r < a.rows && r+a.k < a.cols; r++ {
			d[r*a.cols+r+a.k] = one
		}
	})
	return nil
}
