package native

import "github.com/millrace/millrace/tensor"

// nonZero lists the indices of the elements that are not zero, a row for each dimension. How many there are is known in
// the run alone.
func nonZero(c *prep) error {
	t, err := c.known(0)
	if err != nil {
		return err
	}
	set := make([]bool, t.Size())
	switch x := t.Raw().(type) {
	case []string: // the empty string is nothing
		for i, v := range x {
			set[i] = v != ""
		}
	case []complex64:
		for i, v := range x {
			set[i] = v != 0
		}
	case []complex128:
		for i, v := range x {
			set[i] = v != 0
		}
	default:
		castInto(tensor.Must(tensor.Of(set, t.Shape()...)), t)
	}
	n := 0
	for _, v := range set {
		if v {
			n++
		}
	}
	shape := t.Shape()
	o, err := c.out(0, tensor.Int64, tensor.Shape{len(shape), n})
	if err != nil {
		return err
	}
	strides := contiguous(shape)
	c.do(func(f *frame) {
		d := data[int64](f, o)
		k := 0
		for at, v := range set {
			if !v {
				continue
			}
			for i, st := range strides {
				d[i*n+k] = int64(at / st % shape[i])
			}
			k++
		}
	})
	return nil
}

// compress keeps what a condition selects along an axis, or of all elements where no axis is given.
func compress(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	condition, err := c.known(1)
	if err != nil {
		return err
	}
	in := &c.in[0]
	if condition.DType() != tensor.Bool || condition.Rank() != 1 {
		return c.errf("the condition is %v%v, not a list of booleans", condition.DType(), condition.Shape())
	}
	a := gatherAxis{in: in.slot, outer: 1, dim: in.size(), inner: 1}
	shape := tensor.Shape{0}
	at := 0
	if c.attrs.Has("axis") {
		if len(in.shape) == 0 {
			return c.errf("a scalar has no axis")
		}
		if at, err = c.axis(c.attrs.Int("axis", 0), len(in.shape)); err != nil {
			return err
		}
		a.outer, a.dim, a.inner = in.shape[:at].Size(), in.shape[at], in.shape[at+1:].Size()
		shape = in.shape.Clone()
	}
	var picked []int
	for i, v := range tensor.Data[bool](condition) {
		if v {
			picked = append(picked, i)
		}
	}
	if n := len(picked); n > 0 && picked[n-1] >= a.dim {
		return c.errf("the condition selects element %d of %d", picked[n-1], a.dim)
	}
	shape[at] = len(picked)
	if a.o, err = c.out(0, in.dtype, shape); err != nil {
		return err
	}
	return byWord(c, in.dtype, compressOf[uint8], compressOf[uint16], compressOf[uint32], compressOf[uint64], compressOf[complex128], compressOf[string],
		compressArgs{a, picked})
}

type compressArgs struct {
	gatherAxis
	picked []int
}

func compressOf[T word](c *prep, a compressArgs) error {
	c.do(func(f *frame) {
		d, s := words[T](f, a.o), words[T](f, a.in)
		for b := range a.outer {
			for _, i := range a.picked {
				copy(d[:a.inner], s[(b*a.dim+i)*a.inner:])
				d = d[a.inner:]
			}
		}
	})
	return nil
}
