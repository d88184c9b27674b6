package native

import "github.com/millrace/millrace/tensor"

// transposed copies with permuted strides. Where the input's innermost dimension moves, it goes by square blocks, so
// that both sides stay in the cache.
func transposed(c *prep, dtype tensor.DType, shape tensor.Shape, o, in int, strides []int) error {
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	w := newWalk(shape, contiguous(shape), strides)
	// The dimension of the output along which the input is dense.
	dense := -1
	for i := range w.rank {
		if w.strides[1][i] == 1 {
			dense = i
		}
	}
	if w.step[1] == 1 || dense < 0 || w.inner < 4 || w.dims[dense] < 4 {
		return strided(c, dtype, shape, o, contiguous(shape), in, 0, strides)
	}
	// Walk everything but the two dimensions, which a block copies.
	rows, cols := w.dims[dense], w.inner
	ro, ri, ci := w.strides[0][dense], 1, w.step[1]
	var dims tensor.Shape
	var so, si []int
	for i := range w.rank {
		if i != dense {
			dims, so, si = append(dims, w.dims[i]), append(so, w.strides[0][i]), append(si, w.strides[1][i])
		}
	}
	dims, so, si = append(dims, 1), append(so, 1), append(si, 1) // keeps an outer walk where nothing else is left
	total := 1
	for _, d := range dims {
		total *= d
	}
	return byWord(c, dtype, blocksOf[uint8], blocksOf[uint16], blocksOf[uint32], blocksOf[uint64], blocksOf[complex128], blocksOf[string],
		blockArgs{o, in, rows, cols, ro, ri, ci, dims, so, si, total})
}

type blockArgs struct {
	o, in      int
	rows, cols int // of the output's two dimensions
	ro, ri, ci int // strides: a row of the output, of the input, a column of the input
	dims       tensor.Shape
	so, si     []int
	total      int
}

func blocksOf[T word](c *prep, a blockArgs) error {
	const block = 16
	bands := (a.rows + block - 1) / block
	part := func(f *frame, lo, hi int) {
		d, s := words[T](f, a.o), words[T](f, a.in)
		for unit := lo; unit < hi; unit++ {
			rest, po, pi := unit/bands, 0, 0
			for i := len(a.dims) - 1; i >= 0; i-- {
				k := rest % a.dims[i]
				rest /= a.dims[i]
				po += k * a.so[i]
				pi += k * a.si[i]
			}
			r0 := unit % bands * block
			r1 := min(r0+block, a.rows)
			for c0 := 0; c0 < a.cols; c0 += block {
				c1 := min(c0+block, a.cols)
				for r := r0; r < r1; r++ {
					row := d[po+r*a.ro+c0 : po+r*a.ro+c1]
					at := pi + r*a.ri + c0*a.ci
					for k := range row {
						row[k] = s[at]
						at += a.ci
					}
				}
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.total*bands, max(1, grain/(block*a.cols)), part) })
	return nil
}
