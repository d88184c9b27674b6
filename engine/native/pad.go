package native

import (
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// pad is the kernel of Pad. Amounts may be negative, which crops.
func pad(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	rank := len(in.shape)
	begin, end, err := c.padAmounts(rank)
	if err != nil {
		return err
	}
	shape := make(tensor.Shape, rank)
	for i, d := range in.shape {
		n, err := infer.PadLength(int64(d), int64(begin[i]), int64(end[i]))
		if err != nil {
			return c.errf("axis %d of shape %v: %w", i, in.shape, err)
		}
		shape[i] = int(n)
	}
	mode := c.attrs.String("mode", "constant")
	switch mode {
	case "constant":
		return c.padConstant(shape, begin)
	case "reflect", "edge", "wrap":
	default:
		return c.refuse("mode %q", mode)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	if shape.Size() == 0 {
		return nil
	}
	if rank > maxRank {
		return c.refuse("rank %d", rank)
	}
	from := make([][]int, rank)
	st := contiguous(in.shape)
	for d := range rank {
		// What is taken away is not there any more to pad with.
		first, left := max(0, -begin[d]), in.shape[d]+min(0, begin[d])+min(0, end[d])
		if left <= 0 {
			return c.errf("pads of %d and %d leave nothing of the %d elements of axis %d to pad with", begin[d], end[d], in.shape[d], d)
		}
		from[d] = make([]int, shape[d])
		for k := range from[d] {
			from[d][k] = (first + padSource(k-max(0, begin[d]), left, mode)) * st[d]
		}
	}
	return byWord(c, in.dtype, tableOf[uint8], tableOf[uint16], tableOf[uint32], tableOf[uint64], tableOf[complex128], tableOf[string],
		tableArgs{shape, from, o, in.slot})
}

// padAmounts returns what is added before each dimension, and after it.
func (c *prep) padAmounts(rank int) (begin, end []int, err error) {
	var pads, axes []int64
	switch {
	case c.opset < 11 && c.attrs.Has("paddings"): // opset 1
		pads = c.attrs.Ints("paddings", nil)
	case c.opset < 11:
		pads = c.attrs.Ints("pads", nil)
	default:
		given, err := c.ints(1)
		if err != nil {
			return nil, nil, err
		}
		pads = toInt64s(given)
		if c.opt(3).has() {
			given, err := c.ints(3)
			if err != nil {
				return nil, nil, err
			}
			axes = toInt64s(given)
		}
	}
	before, after, err := infer.Pads(pads, axes, rank)
	if err != nil {
		return nil, nil, c.errf("%w", err)
	}
	return toInts(before), toInts(after), nil
}

func (c *prep) padConstant(shape tensor.Shape, begin []int) error {
	in := &c.in[0]
	rank := len(in.shape)
	value := -1
	fill := tensor.Must(tensor.New(in.dtype, 1))
	if c.opset < 11 {
		castInto(fill, tensor.Vector(c.attrs.Float("value", 0)))
	} else if v := c.opt(2); v.has() {
		if v.dtype != in.dtype || v.size() != 1 {
			return c.errf("value %v%v for %v", v.dtype, v.shape, in.dtype)
		}
		value = v.slot
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		if value >= 0 {
			fillWith(f.t[o], f.t[value])
			return
		}
		fillWith(f.t[o], fill)
	})
	block, to, start := in.shape.Clone(), make([]int, rank), make([]int, rank)
	for d := range rank {
		to[d], start[d] = max(0, begin[d]), max(0, -begin[d])
		block[d] = min(in.shape[d]-start[d], shape[d]-to[d])
		if block[d] <= 0 {
			return nil
		}
	}
	return region(c, in.dtype, block, o, shape, to, in, start, ones(rank))
}

// padSource returns the position in a dimension of n elements that position k outside of it takes its value from.
func padSource(k, n int, mode string) int {
	switch mode {
	case "edge":
		return max(0, min(k, n-1))
	case "wrap":
		return (k%n + n) % n
	}
	if n == 1 {
		return 0
	}
	period := 2 * (n - 1)
	k = (k%period + period) % period
	if k >= n {
		k = period - k
	}
	return k
}

type tableArgs struct {
	shape tensor.Shape
	from  [][]int // for each dimension and position, the place in the input
	o, in int
}

// tableOf copies elements from places that are sums of one table entry a dimension.
func tableOf[T word](c *prep, a tableArgs) error {
	rank := len(a.shape)
	c.do(func(f *frame) {
		d, s := words[T](f, a.o)[:f.rows(a.shape.Size())], words[T](f, a.in)
		if rank == 0 {
			copy(d, s)
			return
		}
		last := a.from[rank-1]
		if rank == 1 {
			last = last[:len(d)]
		}
		var idx [maxRank]int
		for at := 0; at < len(d); {
			base := 0
			for i := range rank - 1 {
				base += a.from[i][idx[i]]
			}
			for _, p := range last {
				d[at] = s[base+p]
				at++
			}
			for i := rank - 2; i >= 0; i-- {
				if idx[i]++; idx[i] < a.shape[i] {
					break
				}
				idx[i] = 0
			}
		}
	})
	return nil
}
