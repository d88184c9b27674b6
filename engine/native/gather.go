package native

import (
	"fmt"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// indexOf reads element k of an index tensor.
func indexOf(t *tensor.Tensor, k int) int {
	switch d := t.Raw().(type) {
	case []int64:
		return int(d[k])
	case []int32:
		return int(d[k])
	}
	return 0
}

func isIndex(d tensor.DType) bool { return d == tensor.Int64 || d == tensor.Int32 }

type gatherAxis struct {
	o, in, index      int
	outer, dim, inner int
	count             int
}

// gather picks along one axis.
func gather(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	in, index := &c.in[0], &c.in[1]
	if !isIndex(index.dtype) {
		return c.refuse("indices of %v", index.dtype)
	}
	if len(in.shape) == 0 {
		return c.errf("a scalar has nothing to gather")
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), len(in.shape))
	if err != nil {
		return err
	}
	shape := append(append(in.shape[:axis].Clone(), index.shape...), in.shape[axis+1:]...)
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	return byWord(c, in.dtype, gatherOf[uint8], gatherOf[uint16], gatherOf[uint32], gatherOf[uint64], gatherOf[complex128], gatherOf[string],
		gatherAxis{o, in.slot, index.slot, in.shape[:axis].Size(), in.shape[axis], in.shape[axis+1:].Size(), index.size()})
}

func gatherOf[T word](c *prep, a gatherAxis) error {
	c.step(func(f *frame) error {
		d, s, idx := words[T](f, a.o), words[T](f, a.in), f.t[a.index]
		outer, count := f.rows(a.outer), a.count
		if a.outer == 1 { // the indices go over the batch
			count = f.rows(count)
		}
		for k := range count {
			i := indexOf(idx, k)
			if i < 0 {
				i += a.dim
			}
			if i < 0 || i >= a.dim {
				return fmt.Errorf("index %d is outside a dimension of %d", indexOf(idx, k), a.dim)
			}
			for b := range outer {
				copy(d[(b*a.count+k)*a.inner:(b*a.count+k+1)*a.inner], s[(b*a.dim+i)*a.inner:])
			}
		}
		return nil
	})
	return nil
}

// oneHot sets one place along an axis to the on value.
func oneHot(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	index, values := &c.in[0], &c.in[2]
	depth, err := c.scalarInt(1)
	if err != nil {
		return err
	}
	if depth < 0 || values.size() != 2 {
		return c.errf("depth %d, values of shape %v", depth, values.shape)
	}
	if !index.dtype.IsInteger() && !index.dtype.IsFloat() {
		return c.refuse("indices of %v", index.dtype)
	}
	axis, err := c.axis(c.attrs.Int("axis", -1), len(index.shape)+1)
	if err != nil {
		return err
	}
	shape := append(append(index.shape[:axis].Clone(), depth), index.shape[axis:]...)
	o, err := c.out(0, values.dtype, shape)
	if err != nil {
		return err
	}
	where := index.slot
	if index.dtype != tensor.Int64 {
		if where, err = c.scratchOf(tensor.Int64, index.shape); err != nil {
			return err
		}
		c.convert(where, index)
	}
	return byWord(c, values.dtype, oneHotOf[uint8], oneHotOf[uint16], oneHotOf[uint32], oneHotOf[uint64], oneHotOf[complex128], oneHotOf[string],
		gatherAxis{o: o, in: values.slot, index: where, outer: index.shape[:axis].Size(), dim: depth, inner: index.shape[axis:].Size()})
}

func oneHotOf[T word](c *prep, a gatherAxis) error {
	c.do(func(f *frame) {
		d, v, idx := words[T](f, a.o), words[T](f, a.in), data[int64](f, a.index)
		for i := range d {
			d[i] = v[0]
		}
		for b := range f.rows(a.outer) {
			for k := range a.inner {
				i := int(idx[b*a.inner+k])
				if i < 0 {
					i += a.dim
				}
				if i >= 0 && i < a.dim {
					d[(b*a.dim+i)*a.inner+k] = v[1]
				}
			}
		}
	})
	return nil
}

// rangeOf counts from input 0 to input 1 by input 2.
var rangeOf = viaFloat32(func(c *prep) error {
	if stash := c.attrs.Int("stash_type", int64(tensor.Float32)); stash != int64(tensor.Float32) {
		return c.refuse("stash_type %d", stash)
	}
	if err := c.need(3); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	for i := range 3 {
		t, err := c.known(i)
		if err != nil {
			return err
		}
		if t.Size() != 1 {
			return c.errf("input %d must be a scalar, not %v", i, t.Shape())
		}
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return rangeFor[float32](c)
	case tensor.Float64:
		return rangeFor[float64](c)
	case tensor.Int16:
		return rangeFor[int16](c)
	case tensor.Int32:
		return rangeFor[int32](c)
	case tensor.Int64:
		return rangeFor[int64](c)
	default:
		return c.refuseType(d)
	}
})

func rangeFor[T int16 | int32 | int64 | float32 | float64](c *prep) error {
	start, limit, delta := tensor.Data[T](c.in[0].value)[0], tensor.Data[T](c.in[1].value)[0], tensor.Data[T](c.in[2].value)[0]
	n, err := infer.RangeLength(start, limit, delta)
	if err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, tensor.DTypeOf[T](), tensor.Shape{int(n)})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		for i := range data[T](f, o) {
			data[T](f, o)[i] = start + T(i)*delta
		}
	})
	return nil
}
