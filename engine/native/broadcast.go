package native

import (
	"github.com/millrace/millrace/tensor"
)

// maxRank is the most dimensions that a tensor in an operator may have.
const maxRank = 16

// maxOperands is the most operands of one walk.
const maxOperands = 4

// A walk visits the elements of a shape row by row, with the place of each row in several operands. Neighbouring
// dimensions are joined where all operands allow it, so that rows are long.
type walk struct {
	dims    [maxRank]int
	strides [maxOperands][maxRank]int
	rank    int
	outer   int              // number of rows
	inner   int              // elements of a row
	step    [maxOperands]int // from one element of a row to the next
	ops     int
}

// broadcastStrides returns the strides of an operand of this shape within a larger shape: 0 where it is repeated.
func broadcastStrides(shape, within tensor.Shape) []int {
	out := make([]int, len(within))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			out[len(within)-len(shape)+i] = n
		}
		n *= shape[i]
	}
	return out
}

// contiguous returns the strides of a dense tensor.
func contiguous(shape tensor.Shape) []int {
	out := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		n *= shape[i]
	}
	return out
}

// newWalk plans a walk over shape with these strides of the operands.
func newWalk(shape tensor.Shape, strides ...[]int) *walk {
	w := &walk{ops: len(strides), outer: 1, inner: 1}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		join := w.rank > 0
		for o := range strides {
			join = join && w.strides[o][w.rank-1] == strides[o][i]*d
		}
		if join {
			w.dims[w.rank-1] *= d
			for o := range strides {
				w.strides[o][w.rank-1] = strides[o][i]
			}
			continue
		}
		w.dims[w.rank] = d
		for o := range strides {
			w.strides[o][w.rank] = strides[o][i]
		}
		w.rank++
	}
	if w.rank > 0 {
		w.rank--
		w.inner = w.dims[w.rank]
		for o := range strides {
			w.step[o] = w.strides[o][w.rank]
		}
	} else {
		for o := range strides {
			w.step[o] = 1
		}
	}
	for i := range w.rank {
		w.outer *= w.dims[i]
	}
	return w
}

// extent returns how many rows, of how many elements, a run visits: in a plan of rows the batch comes first.
func (w *walk) extent(f *frame) (outer, inner int) {
	if w.rank == 0 {
		return w.outer, f.rows(w.inner)
	}
	return f.rows(w.outer), w.inner
}

// rowIter is where a walk is.
type rowIter struct {
	w       *walk
	at      [maxOperands]int // the place of the row in each operand
	idx     [maxRank]int
	row, hi int
}

// from begins at row lo and ends before row hi.
func (w *walk) from(lo, hi int) (it rowIter) {
	it.w, it.row, it.hi = w, lo, hi
	if w.inner == 0 {
		it.hi = lo
	}
	rest := lo
	for i := w.rank - 1; i >= 0 && w.dims[i] > 0; i-- {
		it.idx[i] = rest % w.dims[i]
		rest /= w.dims[i]
		for o := range w.ops {
			it.at[o] += it.idx[i] * w.strides[o][i]
		}
	}
	return it
}

func (it *rowIter) more() bool { return it.row < it.hi }

func (it *rowIter) next() {
	it.row++
	w := it.w
	for i := w.rank - 1; i >= 0; i-- {
		it.idx[i]++
		for o := range w.ops {
			it.at[o] += w.strides[o][i]
		}
		if it.idx[i] < w.dims[i] {
			return
		}
		it.idx[i] = 0
		for o := range w.ops {
			it.at[o] -= w.dims[i] * w.strides[o][i]
		}
	}
}

// grain is how many elements of cheap work are worth a thread.
const grain = 1 << 14
