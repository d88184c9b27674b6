package native

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// unique finds the different elements, or the different slices along an axis: sorted, or in the order in which they come
// first. A NaN is one value. How many there are is known in the run alone.
func unique(c *prep) error {
	t, err := c.known(0)
	if err != nil {
		return err
	}
	a := uniqueArgs{x: t, outer: 1, dim: t.Size(), inner: 1, axis: -1}
	if c.attrs.Has("axis") {
		shape := t.Shape()
		if len(shape) == 0 {
			return c.errf("a scalar has no axis")
		}
		if a.axis, err = c.axis(c.attrs.Int("axis", 0), len(shape)); err != nil {
			return err
		}
		a.outer, a.dim, a.inner = shape[:a.axis].Size(), shape[a.axis], shape[a.axis+1:].Size()
	}
	a.sorted = c.attrs.Bool("sorted", true)
	switch x := t.Raw().(type) {
	case []float32:
		return uniqueOf(c, a, func(p, q float32) int { return nanLast(float64(p), float64(q)) }, x)
	case []float64:
		return uniqueOf(c, a, nanLast, x)
	case []int8:
		return uniqueOf(c, a, cmp.Compare[int8], x)
	case []int16:
		return uniqueOf(c, a, cmp.Compare[int16], x)
	case []int32:
		return uniqueOf(c, a, cmp.Compare[int32], x)
	case []int64:
		return uniqueOf(c, a, cmp.Compare[int64], x)
	case []uint8:
		return uniqueOf(c, a, cmp.Compare[uint8], x)
	case []uint16:
		return uniqueOf(c, a, cmp.Compare[uint16], x)
	case []uint32:
		return uniqueOf(c, a, cmp.Compare[uint32], x)
	case []uint64:
		return uniqueOf(c, a, cmp.Compare[uint64], x)
	case []string:
		return uniqueOf(c, a, cmp.Compare[string], x)
	case []bool:
		return uniqueOf(c, a, func(p, q bool) int {
			switch {
			case p == q:
				return 0
			case q:
				return -1
			}
			return 1
		}, x)
	case []tensor.Half:
		return uniqueOf(c, a, func(p, q tensor.Half) int { return nanLast(float64(p.Float32()), float64(q.Float32())) }, x)
	case []tensor.BHalf:
		return uniqueOf(c, a, func(p, q tensor.BHalf) int { return nanLast(float64(p.Float32()), float64(q.Float32())) }, x)
	}
	return c.refuseType(t.DType())
}

type uniqueArgs struct {
	x                 *tensor.Tensor
	outer, dim, inner int
	axis              int // -1: all elements
	sorted            bool
}

// nanLast orders numbers before NaN, all of which are one to it.
func nanLast(p, q float64) int {
	if p != p || q != q {
		return -cmp.Compare(p, q) // which has NaN first
	}
	return cmp.Compare(p, q)
}

// uniqueOf compares slices of the axis element by element.
func uniqueOf[T tensor.Element](c *prep, a uniqueArgs, compare func(p, q T) int, x []T) error {
	order := func(i, j int) int {
		for b := range a.outer {
			for k := range a.inner {
				if r := compare(x[(b*a.dim+i)*a.inner+k], x[(b*a.dim+j)*a.inner+k]); r != 0 {
					return r
				}
			}
		}
		return 0
	}
	places := make([]int, a.dim)
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, order)
	var groups []uniqueGroup
	inverse := make([]int64, a.dim)
	for k, i := range places {
		if k == 0 || order(places[k-1], i) != 0 {
			groups = append(groups, uniqueGroup{first: i})
		}
		groups[len(groups)-1].count++
		inverse[i] = int64(len(groups) - 1)
	}
	if !a.sorted {
		by := make([]int, len(groups))
		for i := range by {
			by[i] = i
		}
		slices.SortFunc(by, func(i, j int) int { return cmp.Compare(groups[i].first, groups[j].first) })
		to := make([]int64, len(groups))
		inOrder := make([]uniqueGroup, len(groups))
		for k, i := range by {
			to[i], inOrder[k] = int64(k), groups[i]
		}
		groups = inOrder
		for i, g := range inverse {
			inverse[i] = to[g]
		}
	}
	return uniqueOut(c, a, groups, inverse, x)
}

// uniqueGroup is a value, or a slice: where it comes first, and how often.
type uniqueGroup struct {
	first int
	count int64
}

func uniqueOut[T tensor.Element](c *prep, a uniqueArgs, groups []uniqueGroup, inverse []int64, x []T) error {
	n := len(groups)
	shape := tensor.Shape{n}
	if a.axis >= 0 {
		shape = a.x.Shape().Clone()
		shape[a.axis] = n
	}
	o, err := c.out(0, a.x.DType(), shape)
	if err != nil {
		return err
	}
	first, err := c.out(1, tensor.Int64, tensor.Shape{n})
	if err != nil {
		return err
	}
	back, err := c.out(2, tensor.Int64, tensor.Shape{a.dim})
	if err != nil {
		return err
	}
	counts, err := c.out(3, tensor.Int64, tensor.Shape{n})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		d := data[T](f, o)
		for b := range a.outer {
			for k, g := range groups {
				copy(d[(b*n+k)*a.inner:(b*n+k+1)*a.inner], x[(b*a.dim+g.first)*a.inner:])
			}
		}
		for k, g := range groups {
			data[int64](f, first)[k], data[int64](f, counts)[k] = int64(g.first), g.count
		}
		copy(data[int64](f, back), inverse)
	})
	return nil
}
