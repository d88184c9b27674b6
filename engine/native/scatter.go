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
	o, in, index, updates int
	shape                 tensor.Shape // of the indices
	strides               []int        // of the indexed tensor
	axis, dim             int
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
func (a *elementsArgs) places(index *tensor.Tensor, do func(k, place int)) error {
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
var scatterElements = viaFloat32(func(c *prep) error {
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
	a.updates = c.in[2].slot
	dtype := c.in[0].dtype
	if a.o, err = c.out(0, dtype, c.in[0].shape); err != nil {
		return err
	}
	c.do(func(f *frame) { copyTensor(f.t[a.o], f.t[a.in]) })
	op := map[string]arithmetic{"add": opAdd, "mul": opMul, "min": opMin, "max": opMax}
	switch how := c.attrs.String("reduction", "none"); {
	case how == "none":
		return byWord(c, dtype, scatterEach[uint8], scatterEach[uint16], scatterEach[uint32], scatterEach[uint64], scatterEach[complex128], scatterEach[string], a)
	case op[how] == 0 && how != "add":
		return c.refuse("reduction %q", how)
	case dtype == tensor.Float32:
		return scatterBy[float32](c, a, op[how])
	case dtype == tensor.Float64:
		return scatterBy[float64](c, a, op[how])
	case dtype == tensor.Int32:
		return scatterBy[int32](c, a, op[how])
	case dtype == tensor.Int64:
		return scatterBy[int64](c, a, op[how])
	}
	return c.refuse("reduction of %v", dtype)
})

func scatterEach[T word](c *prep, a elementsArgs) error {
	c.step(func(f *frame) error {
		d, u := words[T](f, a.o), words[T](f, a.updates)
		return a.places(f.t[a.index], func(k, place int) { d[place] = u[k] })
	})
	return nil
}

func scatterBy[T real](c *prep, a elementsArgs, op arithmetic) error {
	c.step(func(f *frame) error {
		d, u := data[T](f, a.o), data[T](f, a.updates)
		return a.places(f.t[a.index], func(k, place int) {
			switch op {
			case opAdd:
				d[place] += u[k]
			case opMul:
				d[place] *= u[k]
			case opMin:
				d[place] = min(d[place], u[k])
			default:
				d[place] = max(d[place], u[k])
			}
		})
	})
	return nil
}
