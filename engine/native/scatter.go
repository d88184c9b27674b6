package native

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// trilu keeps one triangle of the last two dimensions.
func trilu(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	n := len(in.shape)
	if n < 2 {
		return c.errf("shape %v is no matrix", in.shape)
	}
	diagonal := 0
	if c.opt(1).has() {
		var err error
		if diagonal, err = c.scalarInt(1); err != nil {
			return err
		}
	}
	o, err := c.out(0, in.dtype, in.shape)
	if err != nil {
		return err
	}
	return byWord(c, in.dtype, triluOf[uint8], triluOf[uint16], triluOf[uint32], triluOf[uint64], triluOf[complex128], triluOf[string],
		triluArgs{o, in.slot, in.shape[:n-2].Size(), in.shape[n-2], in.shape[n-1], diagonal, c.attrs.Bool("upper", true)})
}

type triluArgs struct {
	o, in, count, rows, cols, diagonal int
	upper                              bool
}

func triluOf[T word](c *prep, a triluArgs) error {
	c.do(func(f *frame) {
		d, s := words[T](f, a.o), words[T](f, a.in)
		for m := range a.count {
			for r := range a.rows {
				at := (m*a.rows + r) * a.cols
				row := d[at : at+a.cols]
				clear(row)
				// Column r+diagonal is the first of the upper triangle, the last of the lower one.
				edge := max(-1, min(r+a.diagonal, a.cols))
				if a.upper {
					edge = max(edge, 0)
					copy(row[edge:], s[at+edge:at+a.cols])
				} else {
					edge = min(edge+1, a.cols)
					copy(row[:edge], s[at:at+edge])
				}
			}
		}
	})
	return nil
}

type elementsArgs struct {
	o, in, index int
	shape        tensor.Shape // of the indices
	strides      []int        // of the indexed tensor
	axis, dim    int
}

// elements reads what GatherElements and ScatterElements have in common.
func (c *prep) elements() (a elementsArgs, err error) {
	in, index := &c.in[0], &c.in[1]
	if !isIndex(index.dtype) {
		return a, c.refuse("indices of %v", index.dtype)
	}
	if len(in.shape) == 0 || len(index.shape) != len(in.shape) || len(in.shape) > maxRank {
		return a, c.errf("indices %v for shape %v", index.shape, in.shape)
	}
	if a.axis, err = c.axis(c.attrs.Int("axis", 0), len(in.shape)); err != nil {
		return a, err
	}
	for d := range in.shape {
		if d != a.axis && index.shape[d] > in.shape[d] {
			return a, c.errf("indices %v for shape %v", index.shape, in.shape)
		}
	}
	a.in, a.index, a.shape, a.strides, a.dim = in.slot, index.slot, index.shape, contiguous(in.shape), in.shape[a.axis]
	return a, nil
}

func gatherElements(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	a, err := c.elements()
	if err != nil {
		return err
	}
	if a.o, err = c.out(0, c.in[0].dtype, a.shape); err != nil {
		return err
	}
	return byWord(c, c.in[0].dtype, gatherEach[uint8], gatherEach[uint16], gatherEach[uint32], gatherEach[uint64], gatherEach[complex128], gatherEach[string], a)
}

// places calls do with each element of the indices and its place in the indexed tensor.
func (a elementsArgs) places(index *tensor.Tensor, do func(k, place int)) error {
	var at [maxRank]int
	for k := range index.Size() {
		i := indexOf(index, k)
		if i < 0 {
			i += a.dim
		}
		if i < 0 || i >= a.dim {
			return fmt.Errorf("index %d is outside a dimension of %d", indexOf(index, k), a.dim)
		}
		place := i * a.strides[a.axis]
		for d := range a.shape {
			if d != a.axis {
				place += at[d] * a.strides[d]
			}
		}
		do(k, place)
		for d := len(a.shape) - 1; d >= 0; d-- {
			if at[d]++; at[d] < a.shape[d] {
				break
			}
			at[d] = 0
		}
	}
	return nil
}

func gatherEach[T word](c *prep, a elementsArgs) error {
	c.step(func(f *frame) error {
		d, s := words[T](f, a.o), words[T](f, a.in)
		return a.places(f.t[a.index], func(k, place int) { d[k] = s[place] })
	})
	return nil
}

// scatterElements writes updates, or adds, multiplies or compares them, at indices.
var scatterElements = scattering(func(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	a, err := c.elements()
	if err != nil {
		return err
	}
	if u := &c.in[2]; u.dtype != c.in[0].dtype || !u.shape.Equal(a.shape) {
		return c.errf("updates %v%v for indices %v of %v", u.dtype, u.shape, a.shape, c.in[0].dtype)
	}
	return c.scatter(scatterArgs{where: a.places, inner: 1})
})

// scattering lets float32 serve the 16-bit types where elements are not only moved.
func scattering(prepare func(c *prep) error) func(c *prep) error {
	wide := viaFloat32(prepare)
	return func(c *prep) error {
		if c.attrs.String("reduction", "none") == "none" {
			return prepare(c)
		}
		return wide(c)
	}
}

type scatterArgs struct {
	o, index, updates int
	// where calls do with each number of an index and the place in the output that it leads to.
	where func(index *tensor.Tensor, do func(k, place int)) error
	inner int // elements at each place
	op    arithmetic
}

// scatter copies input 0 and changes it at the places of input 1 by the elements of input 2. Where places come twice, the
// updates are applied in their order.
func (c *prep) scatter(a scatterArgs) error {
	dtype := c.in[0].dtype
	o, err := c.out(0, dtype, c.in[0].shape)
	if err != nil {
		return err
	}
	in := c.in[0].slot
	a.o, a.index, a.updates = o, c.in[1].slot, c.in[2].slot
	c.do(func(f *frame) { copyTensor(f.t[o], f.t[in]) })
	how := c.attrs.String("reduction", "none")
	if how == "none" {
		return byWord(c, dtype, scatterEach[uint8], scatterEach[uint16], scatterEach[uint32], scatterEach[uint64], scatterEach[complex128], scatterEach[string], a)
	}
	op, ok := map[string]arithmetic{"add": opAdd, "mul": opMul, "min": opMin, "max": opMax}[how]
	if !ok {
		return c.refuse("reduction %q", how)
	}
	a.op = op
	if dtype == tensor.Bool || dtype == tensor.String {
		return c.refuse("reduction of %v", dtype)
	}
	return byReal(c, dtype, scatterBy[float32], scatterBy[float64], scatterBy[int8], scatterBy[int16], scatterBy[int32], scatterBy[int64],
		scatterBy[uint8], scatterBy[uint16], scatterBy[uint32], scatterBy[uint64], a)
}

func scatterEach[T word](c *prep, a scatterArgs) error {
	c.step(func(f *frame) error {
		d, u := words[T](f, a.o), words[T](f, a.updates)
		return a.where(f.t[a.index], func(k, place int) { copy(d[place:place+a.inner], u[k*a.inner:]) })
	})
	return nil
}

func scatterBy[T real](c *prep, a scatterArgs) error {
	c.step(func(f *frame) error {
		d, u := data[T](f, a.o), data[T](f, a.updates)
		return a.where(f.t[a.index], func(k, place int) {
			row, by := d[place:place+a.inner], u[k*a.inner:(k+1)*a.inner]
			switch a.op {
			case opAdd:
				for i, v := range by {
					row[i] += v
				}
			case opMul:
				for i, v := range by {
					row[i] *= v
				}
			case opMin:
				for i, v := range by {
					row[i] = min(row[i], v)
				}
			default:
				for i, v := range by {
					row[i] = max(row[i], v)
				}
			}
		})
	})
	return nil
}
