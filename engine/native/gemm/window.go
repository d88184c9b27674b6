package gemm

import "fmt"

// Windows are rows x columns of windows over one plane, for maximum pools: the
// window of row r and column c holds the elements at r*RowStep + c*Stride + s for
// the steps s. A window of several rows has the offsets of all of them as steps.
type Windows struct {
	Rows, Cols      int
	RowStep, Stride int
	Steps           []int32
}

// MaxWindows sets dst, row by row, to the largest element of each window of src,
// and index, where it is not nil, to base plus the offset of the first element
// that is as large. A NaN counts as larger than every number. It fails, with an
// error that wraps [ErrShape], where there are no steps, a window reaches out of
// src, or dst or index are too short. Strides of 1 and 2 are fast.
func (k *Kernel) MaxWindows(dst []float32, index []int64, src []float32, w *Windows, base int64) error {
	if w.Rows < 0 || w.Cols < 0 || len(w.Steps) == 0 {
		return fmt.Errorf("%w: %d x %d windows of %d elements", ErrShape, w.Rows, w.Cols, len(w.Steps))
	}
	if w.Rows == 0 || w.Cols == 0 {
		return nil
	}
	first, last := w.Steps[0], w.Steps[0]
	for _, s := range w.Steps {
		first, last = min(first, s), max(last, s)
	}
	if err := checkMatrix("pooled plane", dst, w.Rows, w.Cols, w.Cols, false); err != nil {
		return err
	}
	if first < 0 || w.RowStep < 0 || w.Stride < 0 || w.Rows > 1 && w.RowStep > len(src) || w.Cols > 1 && w.Stride > len(src) ||
		(w.Rows-1)*w.RowStep+(w.Cols-1)*w.Stride+int(last) >= len(src) {
		return fmt.Errorf("%w: windows reach beyond the plane's %d elements", ErrShape, len(src))
	}
	if index != nil && len(index) < w.Rows*w.Cols {
		return fmt.Errorf("%w: %d indices for %d x %d windows", ErrShape, len(index), w.Rows, w.Cols)
	}
	k.maxWindows(dst, index, src, w, base)
	return nil
}

// maxWindows is MaxWindows for sizes that fit and are not 0.
func (k *Kernel) maxWindows(dst []float32, index []int64, src []float32, w *Windows, base int64) {
	if k.isa != isaGo && (w.Stride == 1 || w.Stride == 2) && (k.isa == isaAVX512 || w.Cols >= k.lanes) {
		windowsAsm(k.isa, dst, index, src, w, base)
		return
	}
	windowsGo(dst, index, src, w, base)
}

func windowsGo(dst []float32, index []int64, src []float32, w *Windows, base int64) {
	for r := range w.Rows {
		for c := range w.Cols {
			at := r*w.RowStep + c*w.Stride
			best, where := src[at+int(w.Steps[0])], w.Steps[0]
			for _, s := range w.Steps[1:] {
				if v := src[at+int(s)]; v > best || v != v && best == best {
					best, where = v, s
				}
			}
			dst[r*w.Cols+c] = best
			if index != nil {
				index[r*w.Cols+c] = base + int64(at) + int64(where)
			}
		}
	}
}
