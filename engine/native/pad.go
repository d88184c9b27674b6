package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// pad is the kernel of Pad. Amounts may be negative, which crops.
func pad(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	rank := len(in.shape)
	amounts, err := c.padAmounts(rank)
	if err != nil {
		return err
	}
	shape := make(tensor.Shape, rank)
	for i, d := range in.shape {
		shape[i] = d + amounts[i] + amounts[rank+i]
		if shape[i] < 0 || amounts[i] > math.MaxInt32*16 || amounts[rank+i] > math.MaxInt32*16 {
			return c.errf("padding %v of shape %v", amounts, in.shape)
		}
	}
	mode := c.attrs.String("mode", "constant")
	switch mode {
	case "constant":
		return c.padConstant(shape, amounts)
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
	if in.size() == 0 || rank > maxRank {
		return c.errf("nothing to pad %v with", in.shape)
	}
	from := make([][]int, rank)
	st := contiguous(in.shape)
	for d := range rank {
		from[d] = make([]int, shape[d])
		for k := range from[d] {
			from[d][k] = padSource(k-amounts[d], in.shape[d], mode) * st[d]
		}
	}
	return byWord(c, in.dtype, tableOf[uint8], tableOf[uint16], tableOf[uint32], tableOf[uint64], tableOf[complex128], tableOf[string],
		tableArgs{shape, from, o, in.slot})
}

// padAmounts returns what is added before each dimension, then after each.
func (c *prep) padAmounts(rank int) ([]int, error) {
	var given, axes []int
	var err error
	switch {
	case c.opset < 11 && c.attrs.Has("paddings"): // opset 1
		given = toInts(c.attrs.Ints("paddings", nil))
	case c.opset < 11:
		given = toInts(c.attrs.Ints("pads", nil))
	default:
		if given, err = c.ints(1); err != nil {
			return nil, err
		}
		if c.opt(3).has() {
			if axes, err = c.ints(3); err != nil {
				return nil, err
			}
		}
	}
	if axes == nil {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	if len(given) != 2*len(axes) {
		return nil, c.errf("%d amounts for %d axes", len(given), len(axes))
	}
	amounts := make([]int, 2*rank)
	for i, a := range axes {
		axis, err := c.axis(int64(a), rank)
		if err != nil || rank == 0 {
			return nil, c.errf("axis %d is outside rank %d", a, rank)
		}
		amounts[axis], amounts[rank+axis] = given[i], given[len(axes)+i]
	}
	return amounts, nil
}

func (c *prep) padConstant(shape tensor.Shape, amounts []int) error {
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
		to[d], start[d] = max(0, amounts[d]), max(0, -amounts[d])
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
		d, s := words[T](f, a.o), words[T](f, a.in)
		if rank == 0 {
			copy(d, s)
			return
		}
		last := a.from[rank-1]
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
