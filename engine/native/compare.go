package native

import (
	"cmp"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// comparison names the operators that compare.
type comparison uint8

const (
	opEqual comparison = iota
	opLess
	opLessEq
	opGreater
	opGreaterEq
)

func compareRow[T real | ~string](op comparison) rowFunc[T, bool] {
	switch op {
	case opEqual:
		return each(equal[T])
	case opLess:
		return each(less[T])
	case opLessEq:
		return each(lessEq[T])
	case opGreater:
		return each(greater[T])
	}
	return each(greaterEq[T])
}

// compare is the kernel of a comparison. Equal takes booleans and strings as well.
func compare(op comparison) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(2); err != nil {
			return err
		}
		if err := c.sameType(); err != nil {
			return err
		}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return binary(c, compareRow[float32](op))
		case tensor.Float64:
			return binary(c, compareRow[float64](op))
		case tensor.Int8:
			return binary(c, compareRow[int8](op))
		case tensor.Int16:
			return binary(c, compareRow[int16](op))
		case tensor.Int32:
			return binary(c, compareRow[int32](op))
		case tensor.Int64:
			return binary(c, compareRow[int64](op))
		case tensor.Uint8:
			return binary(c, compareRow[uint8](op))
		case tensor.Uint16:
			return binary(c, compareRow[uint16](op))
		case tensor.Uint32:
			return binary(c, compareRow[uint32](op))
		case tensor.Uint64:
			return binary(c, compareRow[uint64](op))
		case tensor.Bool:
			if op == opEqual {
				return binary(c, each(equal[bool]))
			}
			return c.refuseType(d)
		case tensor.String:
			if op == opEqual {
				return binary(c, compareRow[string](op))
			}
			return c.refuseType(d)
		default:
			return c.refuseType(d)
		}
	})
}

func and(a, b bool) bool { return a && b }
func or(a, b bool) bool  { return a || b }
func xor(a, b bool) bool { return a != b }

// logical is the kernel of an operator of two booleans.
func logical(op func(a, b bool) bool) func(c *prep) error {
	return func(c *prep) error {
		if err := c.need(2); err != nil {
			return err
		}
		if err := c.sameType(); err != nil {
			return err
		}
		if d := c.in[0].dtype; d != tensor.Bool {
			return c.refuseType(d)
		}
		return binary(c, each(op))
	}
}

// where chooses between two tensors of any type.
func where(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	cond, x, y := &c.in[0], &c.in[1], &c.in[2]
	if cond.dtype != tensor.Bool || x.dtype != y.dtype {
		return c.errf("condition is %v (must be bool), the choices are %v and %v (must be the same)", cond.dtype, x.dtype, y.dtype)
	}
	shape, err := infer.Broadcast(cond.shape, x.shape)
	if err == nil {
		shape, err = infer.Broadcast(shape, y.shape)
	}
	if err != nil {
		return c.errf("%w", err)
	}
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	o, err := c.out(0, x.dtype, shape)
	if err != nil {
		return err
	}
	w := newWalk(shape, contiguous(shape), broadcastStrides(cond.shape, shape), broadcastStrides(x.shape, shape), broadcastStrides(y.shape, shape))
	return byWord(c, x.dtype, whereOf[uint8], whereOf[uint16], whereOf[uint32], whereOf[uint64], whereOf[complex128], whereOf[string],
		whereArgs{w, o, cond.slot, x.slot, y.slot})
}

type whereArgs struct {
	w             *walk
	o, cond, x, y int
}

func whereOf[T word](c *prep, a whereArgs) error {
	w := a.w
	sc, sx, sy := w.step[1], w.step[2], w.step[3]
	part := func(f *frame, lo, hi int) {
		_, n := w.extent(f)
		d, m, x, y := words[T](f, a.o), data[bool](f, a.cond), words[T](f, a.x), words[T](f, a.y)
		for it := w.from(lo, hi); it.more(); it.next() {
			at := &it.at

			ic, ix, iy := at[1], at[2], at[3]
			row := d[at[0] : at[0]+n]
			for i := range row {
				if m[ic] {
					row[i] = x[ix]
				} else {
					row[i] = y[iy]
				}
				ic, ix, iy = ic+sc, ix+sx, iy+sy
			}
		}
	}
	c.do(func(f *frame) { f.parallel(w.outer, max(1, grain/max(w.inner, 8)), part) })
	return nil
}

func less[T cmp.Ordered](a, b T) bool      { return a < b }
func lessEq[T cmp.Ordered](a, b T) bool    { return a <= b }
func greater[T cmp.Ordered](a, b T) bool   { return a > b }
func greaterEq[T cmp.Ordered](a, b T) bool { return a >= b }
func equal[T comparable](a, b T) bool      { return a == b }
