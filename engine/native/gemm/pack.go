package gemm

import (
	"errors"
	"fmt"
)

// ErrShape is wrapped by every error about sizes: a negative one, a slice that
// is too short for the matrix it holds, a row stride below the row's length,
// scratch memory that is too small, or a packed matrix of another kernel.
var ErrShape = errors.New("gemm: sizes do not fit")

// Packed is a right-hand matrix B of Depth x N, laid out as a kernel's tiles
// read it: panels of the tile's width, each panel depth by depth, the last one
// padded with zeros to whole vectors. It is read-only and may be shared.
type Packed struct {
	Depth, N int
	data     []float32
	cols     int // the panel width of the kernel that made it
}

// PackedLen is the number of elements that PackB needs for depth x n.
func (k *Kernel) PackedLen(depth, n int) int { return depth * roundUp(n, k.lanes) }

// PackB lays out B for this kernel in dst, which must have PackedLen elements
// and belongs to the result from then on. B is depth x n with ldb elements from
// one row to the next; where trans is true b holds its transpose, n x depth.
// Pack weights once and use them in many products.
func (k *Kernel) PackB(dst, b []float32, depth, n, ldb int, trans bool) (Packed, error) {
	if err := checkMatrix("B", b, depth, n, ldb, trans); err != nil {
		return Packed{}, err
	}
	size := k.PackedLen(depth, n)
	if len(dst) < size {
		return Packed{}, fmt.Errorf("%w: packed B has %d elements, needs %d", ErrShape, len(dst), size)
	}
	k.packPanels(dst, b, depth, n, ldb, trans)
	return Packed{Depth: depth, N: n, data: dst[:size:size], cols: k.cols}, nil
}

// packPanels packs depth rows and n columns from the start of b.
func (k *Kernel) packPanels(dst, b []float32, depth, n, ldb int, trans bool) {
	if depth == 0 {
		return
	}
	for j := 0; j < n; j += k.cols {
		w := min(k.cols, n-j)
		width := roundUp(w, k.lanes)
		panel := dst[j*depth : j*depth+width*depth]
		if trans {
			k.transpose(panel, width, b[j*ldb:], ldb, w, depth)
		} else {
			for s := range depth {
				copy(panel[s*width:s*width+w], b[s*ldb+j:s*ldb+j+w])
			}
		}
		if w < width {
			for s := range depth {
				clear(panel[s*width+w : s*width+width])
			}
		}
	}
}

// packA lays out rows x depth of A for the tiles of one block: for each tile of
// at most k.rows rows, depth steps of k.rows elements. Every element is
// multiplied by alpha. A is read from a[0] on.
func (k *Kernel) packA(dst, a []float32, rows, depth, lda int, trans bool, alpha float32) {
	for t := range ceilDiv(rows, k.rows) {
		lo, hi := share(rows, ceilDiv(rows, k.rows), t)
		tile := dst[t*k.rows*depth : (t+1)*k.rows*depth]
		mr := hi - lo
		if trans {
			for s := range depth {
				copy(tile[s*k.rows:s*k.rows+mr], a[s*lda+lo:s*lda+hi])
			}
		} else {
			k.transpose(tile, k.rows, a[lo*lda:], lda, mr, depth)
		}
		if alpha != 1 {
			for s := range depth {
				for r := range mr {
					tile[s*k.rows+r] *= alpha
				}
			}
		}
	}
}

// Transpose writes the transpose of src, rows x cols with lds elements from one
// row to the next, to dst, cols x rows with ldd. They must not overlap.
func (k *Kernel) Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) error {
	if err := checkMatrix("source", src, rows, cols, lds, false); err != nil {
		return err
	}
	if err := checkMatrix("destination", dst, cols, rows, ldd, false); err != nil {
		return err
	}
	k.transpose(dst, ldd, src, lds, rows, cols)
	return nil
}

func (k *Kernel) transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	if k.isa != isaGo {
		transposeAsm(k.isa, dst, ldd, src, lds, rows, cols)
		return
	}
	transposeGo(dst, ldd, src, lds, rows, cols)
}

// transposeGo walks blocks of 8 x 8, which keeps both sides in the cache.
func transposeGo(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	const block = 8
	for r0 := 0; r0 < rows; r0 += block {
		r1 := min(r0+block, rows)
		for c0 := 0; c0 < cols; c0 += block {
			c1 := min(c0+block, cols)
			for r := r0; r < r1; r++ {
				row := src[r*lds : r*lds+c1]
				for c := c0; c < c1; c++ {
					dst[c*ldd+r] = row[c]
				}
			}
		}
	}
}

// checkMatrix says whether s can hold rows x cols (or the transpose) with ld
// elements from one row to the next.
func checkMatrix[T float32 | float64](name string, s []T, rows, cols, ld int, trans bool) error {
	if trans {
		rows, cols = cols, rows
	}
	switch {
	case rows < 0 || cols < 0:
		return fmt.Errorf("%w: %s is %d x %d", ErrShape, name, rows, cols)
	case rows == 0 || cols == 0:
		return nil
	case ld < cols:
		return fmt.Errorf("%w: %s has rows of %d elements, row stride %d", ErrShape, name, cols, ld)
	}
	if rows-1 > (len(s)-cols)/ld || len(s) < cols {
		return fmt.Errorf("%w: %s is %d x %d with row stride %d but has %d elements",
			ErrShape, name, rows, cols, ld, len(s))
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
func roundUp(a, b int) int { return ceilDiv(a, b) * b }
