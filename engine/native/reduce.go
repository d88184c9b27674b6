package native

import (
	"math"
	wide "math/bits"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// reduction names the operators that reduce.
type reduction uint8

const (
	redSum reduction = iota
	redMean
	redMax
	redMin
	redProd
	redSumSquare
	redL1
	redL2
	redLogSum
	redLogSumExp
)

// reduce is the kernel of a reduction; axes are an input since the given opset.
func reduce(op reduction, since int64) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		in := &c.in[0]
		axes, given, err := c.axesOf(1, since, len(in.shape))
		if err != nil {
			return err
		}
		if len(axes) == 0 {
			given = false
		}
		if !given && c.opset >= since && c.attrs.Bool("noop_with_empty_axes", false) {
			if op == redSum || op == redMean || op == redMax || op == redMin || op == redProd {
				return copyOut(c, 0, in)
			}
			given, axes = true, nil
		}
		drop := make([]bool, len(in.shape))
		for i := range drop {
			drop[i] = !given
		}
		for _, a := range axes {
			if a < len(drop) { // a scalar has no dimension to drop
				drop[a] = true
			}
		}
		var shape tensor.Shape
		keep := c.attrs.Bool("keepdims", true)
		for i, d := range in.shape {
			switch {
			case !drop[i]:
				shape = append(shape, d)
			case keep:
				shape = append(shape, 1)
			}
		}
		switch d := in.dtype; d {
		case tensor.Float32:
			return reduceOf[float32](c, op, drop, shape)
		case tensor.Float64:
			return reduceOf[float64](c, op, drop, shape)
		case tensor.Int8:
			return reduceOf[int8](c, op, drop, shape)
		case tensor.Int16:
			return reduceOf[int16](c, op, drop, shape)
		case tensor.Int32:
			return reduceOf[int32](c, op, drop, shape)
		case tensor.Int64:
			return reduceOf[int64](c, op, drop, shape)
		case tensor.Uint8:
			return reduceOf[uint8](c, op, drop, shape)
		case tensor.Uint16:
			return reduceOf[uint16](c, op, drop, shape)
		case tensor.Uint32:
			return reduceOf[uint32](c, op, drop, shape)
		case tensor.Uint64:
			return reduceOf[uint64](c, op, drop, shape)
		case tensor.Bool:
			if op == redMax {
				return reduceBool(c, drop, shape, true)
			}
			if op == redMin {
				return reduceBool(c, drop, shape, false)
			}
			return c.refuseType(d)
		default:
			return c.refuseType(d)
		}
	})
}

// reducePlan splits the dimensions into kept ones and reduced ones.
type reducePlan struct {
	kept  *walk // operand 0: output, operand 1: input
	inner *walk // over the reduced dimensions of the input
	count int
	// dense says that the kept dimensions are innermost: rows are added to rows.
	dense bool
}

func planReduce(c *prep, in tensor.Shape, drop []bool) (*reducePlan, error) {
	if len(in) > maxRank {
		return nil, c.refuse("rank %d", len(in))
	}
	st := contiguous(in)
	var ks, rs tensor.Shape
	var kst, rst []int
	for i, d := range in {
		if drop[i] {
			rs, rst = append(rs, d), append(rst, st[i])
		} else {
			ks, kst = append(ks, d), append(kst, st[i])
		}
	}
	p := &reducePlan{kept: newWalk(ks, contiguous(ks), kst), inner: newWalk(rs, rst), count: rs.Size()}
	p.dense = p.kept.step[1] == 1 && p.kept.inner > 1 && !(p.inner.step[0] == 1 && p.inner.inner > 1)
	return p, nil
}

func reduceOf[T real](c *prep, op reduction, drop []bool, shape tensor.Shape) error {
	in := &c.in[0]
	p, err := planReduce(c, in.shape, drop)
	if err != nil {
		return err
	}
	isFloat := in.dtype.IsFloat()
	if !isFloat && (op == redL2 || op == redLogSum || op == redLogSumExp) && in.dtype.Size() < 4 {
		return c.refuseType(in.dtype)
	}
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	if p.count == 0 && (op == redMax || op == redMin) && !isFloat && shape.Size() > 0 {
		return c.errf("nothing to reduce in %v", in.shape)
	}
	s, k := in.slot, c.pl.e.kernel
	if p.dense && (op == redSum || op == redMean && isFloat) {
		c.do(func(f *frame) { sumRows(f, p, data[T](f, o), data[T](f, s), op == redMean) })
		return nil
	}
	part := func(f *frame, lo, hi int) {
		d, x := data[T](f, o), data[T](f, s)
		_, n := p.kept.extent(f)
		for it := p.kept.from(lo, hi); it.more(); it.next() {
			at := &it.at

			po, pi := at[0], at[1]
			for range n {
				d[po] = reduceOne(p, op, x[min(pi, len(x)):], k)
				po, pi = po+p.kept.step[0], pi+p.kept.step[1]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(p.kept.outer, max(1, grain/max(1, p.count*p.kept.inner)), part) })
	return nil
}

// sumRows adds rows to rows: the kept dimensions are innermost.
func sumRows[T real](f *frame, p *reducePlan, d, x []T, mean bool) {
	rows, n := p.kept.extent(f)
	for it := p.kept.from(0, rows); it.more(); it.next() {
		at := &it.at

		row := d[at[0] : at[0]+n]
		clear(row)
		base := at[1]
		for it2 := p.inner.from(0, p.inner.outer); it2.more(); it2.next() {
			in := &it2.at

			pi := base + in[0]
			for range p.inner.inner {
				src := x[pi : pi+n]
				for i, v := range src {
					row[i] += v
				}
				pi += p.inner.step[0]
			}
		}
		if mean {
			for i := range row {
				row[i] /= T(p.count) // a floating-point type
			}
		}
	}
}

// reduceOne reduces the elements that the inner walk visits from x[0] on. Floating-point sums are kept in float64.
func reduceOne[T real](p *reducePlan, op reduction, x []T, k *gemm.Kernel) T {
	if f, ok := any(x).([]float32); ok && p.inner.step[0] == 1 && p.count > 0 {
		switch op {
		case redSum, redMean, redMax, redMin:
			return T(reduceRows(p, op, f, k))
		}
	}
	switch op {
	case redMax, redMin:
		return extreme(p, op, x)
	}
	var z T
	switch any(z).(type) {
	case float32, float64:
		return T(reduceFloat(p, op, x))
	}
	return reduceInt(p, op, x)
}

// reduceRows takes whole rows by the vector functions of package gemm.
func reduceRows(p *reducePlan, op reduction, x []float32, k *gemm.Kernel) float64 {
	n := p.inner.inner
	switch op {
	case redMax:
		best := float32(math.Inf(-1))
		for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
			best = max(best, k.Largest(x[it.at[0]:it.at[0]+n]))
		}
		return float64(best)
	case redMin:
		best := float32(math.Inf(1))
		for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
			best = min(best, k.Smallest(x[it.at[0]:it.at[0]+n]))
		}
		return float64(best)
	}
	sum := 0.0
	for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
		sum += sumBlocks(k, x[it.at[0]:it.at[0]+n])
	}
	if op == redMean {
		sum /= float64(p.count)
	}
	return sum
}

// sumBlocks adds blocks up in float64, so that the error does not grow with the length.
func sumBlocks(k *gemm.Kernel, x []float32) float64 {
	const block = 4096
	sum := 0.0
	for len(x) > block {
		sum += float64(k.Sum(x[:block]))
		x = x[block:]
	}
	return sum + float64(k.Sum(x))
}

func extreme[T real](p *reducePlan, op reduction, x []T) T {
	var best T
	first := true
	for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
		at := &it.at

		pi := at[0]
		for range p.inner.inner {
			v := x[pi]
			pi += p.inner.step[0]
			switch {
			case first:
				best, first = v, false
			case op == redMax:
				best = max(best, v)
			default:
				best = min(best, v)
			}
		}
	}
	if first { // nothing there: only floating-point types get here
		inf := math.Inf(-1)
		if op == redMin {
			inf = math.Inf(1)
		}
		best = T(inf)
	}
	return best
}

func reduceFloat[T real](p *reducePlan, op reduction, x []T) float64 {
	acc, top := 0.0, 0.0
	if op == redProd {
		acc = 1
	}
	if op == redLogSumExp {
		if top = float64(extreme(p, redMax, x)); math.IsInf(top, 0) || top != top {
			return top
		}
	}
	for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
		at := &it.at

		pi := at[0]
		for range p.inner.inner {
			v := float64(x[pi])
			pi += p.inner.step[0]
			switch op {
			case redProd:
				acc *= v
			case redSumSquare, redL2:
				acc += v * v
			case redL1:
				acc += math.Abs(v)
			case redLogSumExp:
				acc += math.Exp(v - top)
			default:
				acc += v
			}
		}
	}
	switch op {
	case redMean:
		return acc / float64(p.count)
	case redL2:
		return math.Sqrt(acc)
	case redLogSum:
		return math.Log(acc)
	case redLogSumExp:
		return top + math.Log(acc)
	}
	return acc
}

func reduceInt[T real](p *reducePlan, op reduction, x []T) T {
	switch op {
	case redLogSum, redLogSumExp, redL2:
		return T(reduceFloat(p, op, x))
	case redMean:
		return meanInt(p, x)
	}
	var acc T
	if op == redProd {
		acc = 1
	}
	for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
		at := &it.at

		pi := at[0]
		for range p.inner.inner {
			v := x[pi]
			pi += p.inner.step[0]
			switch op {
			case redProd:
				acc *= v
			case redSumSquare:
				acc += v * v
			case redL1:
				if v < 0 {
					v = 0 - v
				}
				acc += v
			default:
				acc += v
			}
		}
	}
	return acc
}

// meanInt is the mean of integers, truncated towards zero. Their sum has 128 bits.
func meanInt[T real](p *reducePlan, x []T) T {
	if p.count == 0 {
		return 0
	}
	var hi, lo uint64 // in two's complement
	for it := p.inner.from(0, p.inner.outer); it.more(); it.next() {
		pi := it.at[0]
		for range p.inner.inner {
			v := x[pi]
			pi += p.inner.step[0]
			sign := uint64(0)
			if v < 0 {
				sign = math.MaxUint64
			}
			var carry uint64
			lo, carry = wide.Add64(lo, uint64(v), 0)
			hi, _ = wide.Add64(hi, sign, carry)
		}
	}
	negative := hi>>63 == 1
	if negative {
		var borrow uint64
		lo, borrow = wide.Sub64(0, lo, 0)
		hi, _ = wide.Sub64(0, hi, borrow)
	}
	mean, _ := wide.Div64(hi, lo, uint64(p.count))
	if negative {
		return -T(mean)
	}
	return T(mean)
}

// reduceBool is "any" where top is set, else "all".
func reduceBool(c *prep, drop []bool, shape tensor.Shape, top bool) error {
	in := &c.in[0]
	p, err := planReduce(c, in.shape, drop)
	if err != nil {
		return err
	}
	o, err := c.out(0, tensor.Bool, shape)
	if err != nil {
		return err
	}
	s := in.slot
	c.do(func(f *frame) {
		d, x := data[bool](f, o), data[bool](f, s)
		rows, n := p.kept.extent(f)
		for it := p.kept.from(0, rows); it.more(); it.next() {
			at := &it.at

			po, base := at[0], at[1]
			for range n {
				found := !top
				for it2 := p.inner.from(0, p.inner.outer); it2.more(); it2.next() {
					in := &it2.at

					pi := base + in[0]
					for range p.inner.inner {
						if x[pi] == top {
							found = top
						}
						pi += p.inner.step[0]
					}
				}
				d[po] = found
				po, base = po+p.kept.step[0], base+p.kept.step[1]
			}
		}
	})
	return nil
}
