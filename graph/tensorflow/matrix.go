package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// matrixOps make matrices of diagonals, and take diagonals of matrices.
var matrixOps = map[string]operator{
	"MatrixDiag": one(matrixDiag), "MatrixDiagV2": one(matrixDiagV3), "MatrixDiagV3": one(matrixDiagV3), "MatrixDiagPart": one(matrixDiagPart),
	"MatrixDiagPartV2": one(matrixDiagPartV3), "MatrixDiagPartV3": one(matrixDiagPartV3), "Diag": one(diag), "DiagPart": one(diagPart),
	"MatrixSetDiag": one(matrixSetDiag), "MatrixSetDiagV2": one(matrixSetDiag), "MatrixSetDiagV3": one(matrixSetDiag),
}

// eye says which elements of a matrix of those lengths are on its main diagonal.
func (c *call) eye(rows, columns *value) *value {
	steps := func(n *value) *value {
		return c.onnx("Range", nil, c.index(0), c.squeeze(n, 0), c.index(1))
	}
	return c.onnx("Equal", nil, c.unsqueeze(steps(rows), 1), steps(columns))
}

func matrixDiag(c *call) *value {
	x := c.arg(0)
	rank := c.needRank(x)
	if rank == 0 {
		c.damaged("a diagonal of rank 0")
	}
	n := c.dim(x, rank-1)
	return c.where(c.eye(n, n), c.unsqueeze(x, int64(rank)), c.like(x, 0))
}

// band reads which diagonals are meant, and how they lie in their rows.
func (c *call) band(i int) (low, high int64, leftSuper, leftSub bool) {
	k := c.constInts(i, "k")
	if len(k) != 1 && len(k) != 2 {
		c.damaged("k is %v", k)
	}
	low, high = k[0], k[len(k)-1]
	if low > high || high-low > 1<<16 {
		c.damaged("diagonals from %d to %d", low, high)
	}
	align := "LEFT_LEFT"
	if c.op[len(c.op)-2:] == "V3" {
		align = c.string("align", "RIGHT_LEFT")
	}
	switch align {
	case "LEFT_LEFT":
		return low, high, true, true
	case "LEFT_RIGHT":
		return low, high, true, false
	case "RIGHT_LEFT":
		return low, high, false, true
	case "RIGHT_RIGHT":
		return low, high, false, false
	}
	c.damaged("align %q", align)
	return
}

// onDiagonal returns how many elements diagonal d of a matrix has.
func onDiagonal(d, rows, columns int64) int64 {
	return min(rows+min(d, 0), columns-max(d, 0))
}

// place returns where element (i, j) stands in a band of diagonals: its row and its place there, of width places.
func place(i, j, high, rows, columns, width int64, leftSuper, leftSub bool) (row, at int64) {
	d := j - i
	at = min(i, j)
	if left := leftSuper && d >= 0 || leftSub && d <= 0; !left {
		at += width - onDiagonal(d, rows, columns)
	}
	return high - d, at
}

func matrixDiagV3(c *call) *value {
	x := c.arg(0)
	low, high, leftSuper, leftSub := c.band(1)
	rank := c.needRank(x)
	several := low != high
	if rank < 1 || several && rank < 2 {
		c.damaged("diagonals of rank %d", rank)
	}
	w := x.last()
	if !w.Known() {
		c.refuse("the length of its diagonals is not known")
	}
	width := w.Size
	rows, columns := c.constInt(2, "num_rows"), c.constInt(3, "num_cols")
	leastRows, leastColumns := width-min(high, 0), width+max(low, 0)
	switch {
	case rows == -1 && columns == -1:
		n := max(leastRows, leastColumns)
		rows, columns = n, n
	case rows == -1:
		rows = leastRows
	case columns == -1:
		columns = leastColumns
	}
	if rows < 1 || columns < 1 || rows*columns > 1<<24 {
		c.refuse("a matrix of %d by %d", rows, columns)
	}
	c.spend(9 * rows * columns)
	at, keep := make([]int64, rows*columns), make([]bool, rows*columns)
	for i := range rows {
		for j := range columns {
			if d := j - i; d < low || d > high {
				continue
			}
			row, k := place(i, j, high, rows, columns, width, leftSuper, leftSub)
			if k < 0 || k >= width {
				c.damaged("diagonals of length %d in a matrix of %d by %d", width, rows, columns)
			}
			at[i*columns+j], keep[i*columns+j] = row*width+k, true
		}
	}
	lead := rank - 1
	if several {
		lead--
	}
	flat := c.reshapeTo(x, c.concat(c.lead(x, lead), c.i64(-1)))
	return c.picked(flat, lead, at, keep, rows, columns, c.padding(4, x))
}

// lead is the shape of the first axes.
func (c *call) lead(x *value, n int) *value {
	parts := []*value{c.i64()}
	for i := range n {
		parts = append(parts, c.dim(x, i))
	}
	return c.concat(parts...)
}

func (c *call) padding(i int, x *value) *value {
	if i < len(c.in) {
		return c.arg(i)
	}
	return c.like(x, 0)
}

// picked makes a matrix of elements of the last axis, or of padding where they are not to be kept.
func (c *call) picked(flat *value, axis int, at []int64, keep []bool, rows, columns int64, padding *value) *value {
	places := c.constant(c.hint("places"), tensor.Must(tensor.Of(at, int(rows), int(columns))))
	y := c.onnx("Gather", graph.Attrs{"axis": int64(axis)}, flat, places)
	if !slices.Contains(keep, false) {
		return y
	}
	mask := c.constant(c.hint("mask"), tensor.Must(tensor.Of(keep, int(rows), int(columns))))
	return c.where(mask, y, padding)
}

func matrixDiagPart(c *call) *value {
	x := c.arg(0)
	return c.diagonals(x, 0, 0, true, true, c.like(x, 0))
}

func matrixDiagPartV3(c *call) *value {
	x := c.arg(0)
	low, high, leftSuper, leftSub := c.band(1)
	return c.diagonals(x, low, high, leftSuper, leftSub, c.padding(2, x))
}

func (c *call) diagonals(x *value, low, high int64, leftSuper, leftSub bool, padding *value) *value {
	rank := c.needRank(x)
	if rank < 2 {
		c.damaged("a matrix of rank %d", rank)
	}
	if !x.shape[rank-1].Known() || !x.shape[rank-2].Known() {
		c.refuse("the lengths of its matrices are not known")
	}
	rows, columns := x.shape[rank-2].Size, x.shape[rank-1].Size
	width := int64(0)
	for d := low; d <= high; d++ {
		width = max(width, onDiagonal(d, rows, columns))
	}
	if width < 1 {
		c.damaged("diagonals from %d to %d of a matrix of %d by %d", low, high, rows, columns)
	}
	n := high - low + 1
	c.spend(9 * n * width)
	at, keep := make([]int64, n*width), make([]bool, n*width)
	for i := range rows {
		for j := range columns {
			if d := j - i; d < low || d > high {
				continue
			}
			row, k := place(i, j, high, rows, columns, width, leftSuper, leftSub)
			at[row*width+k], keep[row*width+k] = i*columns+j, true
		}
	}
	flat := c.reshapeTo(x, c.concat(c.lead(x, rank-2), c.i64(-1)))
	y := c.picked(flat, rank-2, at, keep, n, width, padding)
	if low == high {
		y = c.squeeze(y, int64(rank-2))
	}
	return y
}

// matrixSetDiag replaces the main diagonal.
func matrixSetDiag(c *call) *value {
	x, d := c.arg(0), c.arg(1)
	if len(c.in) > 2 {
		if low, high, _, _ := c.band(2); low != 0 || high != 0 {
			c.refuse("it replaces diagonals %d to %d; only the main one is converted", low, high)
		}
	}
	rank := c.needRank(x)
	rows, columns := x.shape[rank-2], x.shape[rank-1]
	if !sameDims(rows, columns) {
		if !rows.Known() || !columns.Known() {
			c.refuse("the lengths of its matrices are not known")
		}
		if columns.Size > rows.Size { // pad the diagonal to be as long as a row
			pads := make([]int64, 2*len(d.shape))
			pads[len(pads)-1] = columns.Size - rows.Size
			d = c.onnx("Pad", nil, d, c.i64(pads...))
		} else {
			d = c.onnx("Slice", nil, d, c.i64(0), c.i64(columns.Size), c.i64(-1))
		}
	}
	return c.where(c.eye(c.dim(x, rank-2), c.dim(x, rank-1)), c.unsqueeze(d, int64(rank-2)), x)
}

// diag makes a tensor of twice the rank.
func diag(c *call) *value {
	x := c.arg(0)
	flat := c.reshape(x, -1)
	n := c.dim(flat, 0)
	y := c.where(c.eye(n, n), c.unsqueeze(flat, 1), c.like(x, 0))
	return c.reshapeTo(y, c.concat(c.shapeOf(x), c.shapeOf(x)))
}

func diagPart(c *call) *value {
	x := c.arg(0)
	rank := c.needRank(x)
	n, ok := x.shape[:rank/2].Static()
	if !ok || rank%2 != 0 {
		c.refuse("the shape of its diagonal is not known")
	}
	size := int64(n.Size())
	c.spend(8 * size)
	at := make([]int64, size)
	for i := range at {
		at[i] = int64(i) * (size + 1)
	}
	y := c.onnx("Gather", graph.Attrs{"axis": int64(0)}, c.reshape(x, -1), c.i64(at...))
	dims := make([]int64, len(n))
	for i, d := range n {
		dims[i] = int64(d)
	}
	return c.reshape(y, dims...)
}
