package gemm

import "unsafe"

// Eager are all kernels of this processor, made to cut even the smallest call
// into parts.
func Eager() []*Kernel {
	var ks []*Kernel
	for _, k := range available {
		eager := *k
		eager.grain = 1
		ks = append(ks, &eager)
	}
	return ks
}

// TileLayout is the offset of each field of tileArgs, in the order in which
// asm/layout.go lists them.
func TileLayout() []uintptr {
	var t tileArgs
	return []uintptr{
		unsafe.Offsetof(t.a), unsafe.Offsetof(t.steps), unsafe.Offsetof(t.depth), unsafe.Offsetof(t.b),
		unsafe.Offsetof(t.ldb), unsafe.Offsetof(t.c), unsafe.Offsetof(t.ldc), unsafe.Offsetof(t.col),
		unsafe.Offsetof(t.row), unsafe.Offsetof(t.lo), unsafe.Offsetof(t.hi), unsafe.Offsetof(t.flags),
		unsafe.Offsetof(t.cols), unsafe.Offsetof(t.rows),
	}
}

// PlaneLayout is the same for planeArgs and asm/depthwise.go.
func PlaneLayout() []uintptr {
	var t planeArgs
	return []uintptr{
		unsafe.Offsetof(t.src), unsafe.Offsetof(t.steps), unsafe.Offsetof(t.weights), unsafe.Offsetof(t.taps),
		unsafe.Offsetof(t.dst), unsafe.Offsetof(t.rows), unsafe.Offsetof(t.cols), unsafe.Offsetof(t.srcStride),
		unsafe.Offsetof(t.dstStride), unsafe.Offsetof(t.bias), unsafe.Offsetof(t.lo), unsafe.Offsetof(t.hi),
		unsafe.Offsetof(t.flags),
	}
}

// CopyLayout is the same for copyArgs and asm/planes.go.
func CopyLayout() []uintptr {
	var t copyArgs
	return []uintptr{
		unsafe.Offsetof(t.dst), unsafe.Offsetof(t.src), unsafe.Offsetof(t.planes), unsafe.Offsetof(t.rows),
		unsafe.Offsetof(t.cols), unsafe.Offsetof(t.dstRow), unsafe.Offsetof(t.srcRow), unsafe.Offsetof(t.dstPlane),
		unsafe.Offsetof(t.srcPlane),
	}
}

// Sums are the exact sums of a product, by the tiles that [IntegerProduct.Run] has.
func (p *IntegerProduct) Sums(a []byte, w *IntegerWeights, rows, block int, put func(row, col int, sum int32)) {
	var acc accumulators
	_, blocks := p.k.block(rows)
	lo, hi := share(rows, blocks, block)
	for panel := range len(w.panels) - 1 {
		first := panel * 2 * p.k.lanes
		for at := lo; at < hi; {
			mr := p.k.tileRows(hi-lo, at-lo)
			cols := p.tile(&acc, a, w, panel, at, mr)
			for r := range mr {
				for j := range min(cols, p.N-first) {
					put(at+r, first+j, acc[r*cols+j])
				}
			}
			at += mr
		}
	}
}

// Sums are the exact sums of a convolution, by the tiles that [IntegerConv.Bytes] has.
func (c *IntegerConv) Sums(frame []byte, groups []*IntegerWeights, block int, put func(filter, pixel int, sum int32)) {
	var acc accumulators
	lo, hi := share(c.height*c.width, c.blocks, block)
	for g, w := range groups {
		for panel := range c.panels {
			first := panel * 2 * c.k.lanes
			for at := lo; at < hi; {
				mr := c.k.tileRows(hi-lo, at-lo)
				cols := c.tile(&acc, frame, w, g, panel, at, mr)
				for r := range mr {
					for j := range min(cols, c.filters-first) {
						put(g*c.filters+first+j, at+r, acc[r*cols+j])
					}
				}
				at += mr
			}
		}
	}
}
