package native

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// arg is the kernel of ArgMax and ArgMin.
func arg(largest bool) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		in := c.in[0].shape
		axis, err := c.axis(c.attrs.Int("axis", 0), len(in))
		if err != nil {
			return err
		}
		if len(in) == 0 {
			c.constant(0, tensor.Scalar[int64](0))
			return nil
		}
		l := lines{in[:axis].Size(), in[axis], in[axis+1:].Size()}
		shape := in.Clone()
		if c.attrs.Bool("keepdims", true) {
			shape[axis] = 1
		} else {
			shape = slices.Delete(shape, axis, axis+1)
		}
		if l.dim == 0 && shape.Size() > 0 {
			return c.errf("nothing to choose from in %v", in)
		}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return argOf[float32](c, l, shape, largest)
		case tensor.Float64:
			return argOf[float64](c, l, shape, largest)
		case tensor.Int8:
			return argOf[int8](c, l, shape, largest)
		case tensor.Int16:
			return argOf[int16](c, l, shape, largest)
		case tensor.Int32:
			return argOf[int32](c, l, shape, largest)
		case tensor.Int64:
			return argOf[int64](c, l, shape, largest)
		case tensor.Uint8:
			return argOf[uint8](c, l, shape, largest)
		case tensor.Uint16:
			return argOf[uint16](c, l, shape, largest)
		case tensor.Uint32:
			return argOf[uint32](c, l, shape, largest)
		case tensor.Uint64:
			return argOf[uint64](c, l, shape, largest)
		default:
			return c.refuseType(d)
		}
	})
}

func argOf[T real](c *prep, l lines, shape tensor.Shape, largest bool) error {
	o, err := c.out(0, tensor.Int64, shape)
	if err != nil {
		return err
	}
	lastOne := c.attrs.Bool("select_last_index", false)
	s := c.in[0].slot
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[int64](f, o)
		for i := lo; i < hi; i++ {
			at := i/l.inner*l.dim*l.inner + i%l.inner
			best, where := src[at], 0
			for k := 1; k < l.dim; k++ {
				v := src[at+k*l.inner]
				if better(v, best, largest) || lastOne && v == best {
					best, where = v, k
				}
			}
			dst[i] = int64(where)
		}
	}
	c.do(func(f *frame) { f.parallel(l.outer*l.inner, max(1, grain/max(1, l.dim)), part) })
	return nil
}

// better reports whether v comes before best. NaN comes before all numbers, and the first one stays.
func better[T real](v, best T, largest bool) bool {
	if v != v || best != best {
		return v != v && best == best
	}
	if largest {
		return v > best
	}
	return v < best
}

// topK is the kernel of TopK: the largest or smallest elements along an axis, and where they are.
var topK = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := c.in[0].shape
	k := int(c.attrs.Int("k", -1))
	if c.opset >= 10 {
		var err error
		if k, err = c.scalarInt(1); err != nil {
			return err
		}
	}
	axis, err := c.axis(c.attrs.Int("axis", -1), len(in))
	if err != nil {
		return err
	}
	if len(in) == 0 || k < 0 || k > in[axis] {
		return c.errf("%d of shape %v at axis %d", k, in, axis)
	}
	l := lines{in[:axis].Size(), in[axis], in[axis+1:].Size()}
	shape := in.Clone()
	shape[axis] = k
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return topKOf[float32](c, l, shape, k)
	case tensor.Float64:
		return topKOf[float64](c, l, shape, k)
	case tensor.Int8:
		return topKOf[int8](c, l, shape, k)
	case tensor.Int16:
		return topKOf[int16](c, l, shape, k)
	case tensor.Int32:
		return topKOf[int32](c, l, shape, k)
	case tensor.Int64:
		return topKOf[int64](c, l, shape, k)
	case tensor.Uint8:
		return topKOf[uint8](c, l, shape, k)
	case tensor.Uint16:
		return topKOf[uint16](c, l, shape, k)
	case tensor.Uint32:
		return topKOf[uint32](c, l, shape, k)
	case tensor.Uint64:
		return topKOf[uint64](c, l, shape, k)
	default:
		return c.refuseType(d)
	}
})

func topKOf[T real](c *prep, l lines, shape tensor.Shape, k int) error {
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	index, err := c.out(1, tensor.Int64, shape)
	if err != nil {
		return err
	}
	order, err := c.scratch(tensor.Int64, l.dim)
	if err != nil {
		return err
	}
	largest := c.attrs.Bool("largest", true)
	s := c.in[0].slot
	c.do(func(f *frame) {
		src, dst, idx, ord := data[T](f, s), data[T](f, o), data[int64](f, index), data[int64](f, order)
		for i := range f.rows(l.outer * l.inner) {
			at := i/l.inner*l.dim*l.inner + i%l.inner
			for j := range ord {
				ord[j] = int64(j)
			}
			slices.SortFunc(ord, func(a, b int64) int {
				x, y := src[at+int(a)*l.inner], src[at+int(b)*l.inner]
				if better(x, y, largest) {
					return -1
				}
				if better(y, x, largest) {
					return 1
				}
				return cmp.Compare(a, b)
			})
			to := i/l.inner*k*l.inner + i%l.inner
			for j := range k {
				dst[to+j*l.inner], idx[to+j*l.inner] = src[at+int(ord[j])*l.inner], ord[j]
			}
		}
	})
	return nil
}
