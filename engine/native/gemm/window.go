package gemm

// MaxWindows takes the maxima of windows of a row, for maximum pools: dst[i] is
// the largest of src[i*stride+s] for the steps s, and index[i], where index is not
// nil, is base+i*stride+s for the first s that has it. A NaN counts as larger than
// every number. A window of several rows has the offsets of all of them as steps.
//
// It panics where steps is empty or a window reaches out of src, or where index
// is neither nil nor as long as dst. Strides of 1 and 2 are fast.
func (k *Kernel) MaxWindows(dst []float32, index []int64, src []float32, steps []int32, stride int, base int64) {
	n := len(dst)
	if n == 0 {
		return
	}
	if index != nil {
		index = index[:n]
	}
	first, last := steps[0], steps[0]
	for _, s := range steps {
		first, last = min(first, s), max(last, s)
	}
	_, _ = src[first], src[(n-1)*stride+int(last)]
	done := 0
	if k.isa != isaGo && (stride == 1 || stride == 2) {
		done = windowsAsm(k.isa, dst, index, src, steps, stride, base)
	}
	for i := done; i < n; i++ {
		at := i * stride
		best, where := src[at+int(steps[0])], steps[0]
		for _, s := range steps[1:] {
			if v := src[at+int(s)]; v > best || v != v && best == best {
				best, where = v, s
			}
		}
		dst[i] = best
		if index != nil {
			index[i] = base + int64(at) + int64(where)
		}
	}
}
