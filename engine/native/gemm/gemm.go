package gemm

import (
	"fmt"
	"unsafe"
)

// Activation is what happens to a result before it is stored.
type Activation uint8

// What [Product] and [ConvCall] can do to a result.
const (
	None Activation = iota
	Relu            // max(x, 0); NaN stays NaN
	Clip            // min(max(x, Lo), Hi); NaN stays NaN
)

// Product is one matrix product C = act(Alpha*A*B + Beta*C + bias). A is M x K,
// B is K x N, C is M x N, all row-major with LDA, LDB, LDC elements from one row
// to the next. Where TransA (TransB) is set, A (B) holds the transpose.
//
// Its slices stay the caller's; C and Scratch must not overlap anything else.
// A Product is used by one call at a time and may be kept and used again.
type Product struct {
	M, N, K int
	Alpha   float32 // 0 means 0, not 1
	Beta    float32 // 0: C is only written, whatever it holds

	A      []float32
	LDA    int
	TransA bool

	// B is taken from Packed where its Depth or N is not zero, else from here.
	Packed Packed
	B      []float32
	LDB    int
	TransB bool

	C   []float32
	LDC int

	ColBias []float32 // N elements, added to each row, or nil
	RowBias []float32 // M elements, added to each column, or nil
	Act     Activation
	Lo, Hi  float32 // the limits of Clip

	Scratch  []float32 // at least Kernel.Scratch elements
	Parallel Parallel  // nil: the calling goroutine does it all

	kernel *Kernel
	plan   productPlan
}

// productPlan is how a product is cut up. It depends on sizes alone.
type productPlan struct {
	parts   int  // pieces for Parallel
	byRows  bool // pieces are rows of C; else panels of columns
	packA   bool
	packB   bool
	depth   int // of one block of the reduction
	rows    int // of A in one block
	cols    int // of B in one block, a multiple of the tile's
	steps   int // elements of scratch for the table of steps of a transposed A
	scratch int // elements of scratch for one part
}

// Scratch is how many elements p.Scratch must have. It depends on p's sizes,
// transpositions, Alpha, Parallel and on whether B is packed.
func (k *Kernel) Scratch(p *Product) int {
	pl := k.planProduct(p)
	return pl.parts * pl.scratch
}

func (k *Kernel) planProduct(p *Product) productPlan {
	pl := productPlan{parts: 1, depth: blockDepth, rows: p.M, cols: roundUp(p.N, k.cols)}
	packed := p.isPacked()
	if w := workers(p.Parallel); w > 1 && (p.M+readCost)*p.N*p.K >= k.grain {
		tiles, panels := ceilDiv(p.M, k.rows), ceilDiv(p.N, k.cols)
		pl.byRows = panels < w || tiles >= panels && !p.TransB
		units := panels
		if pl.byRows {
			units = tiles
		}
		pl.parts = max(1, min(w, units))
	}
	pl.packB = !packed && (p.TransB || p.M >= packBRows*k.rows && p.K*p.N >= packSize)
	pl.packA = p.Alpha != 1 || !p.TransA && p.M > 2*k.rows && p.N >= packACols*k.cols && p.M*p.K >= packSize ||
		p.TransA && p.K > 0 && p.LDA > 1<<29/min(p.K, directDepth)
	if p.M <= 2*k.rows && !pl.packA && !pl.packB {
		pl.depth = directDepth
	}
	pl.depth = min(pl.depth, p.K)
	if pl.packA {
		pl.rows = min(p.M, blockRows*k.rows)
		pl.scratch += roundUp(pl.rows, k.rows) * pl.depth
	} else if p.TransA {
		pl.steps = pl.depth
		pl.scratch += pl.steps
	}
	if pl.packB {
		pl.cols = min(pl.cols, blockCols*k.cols)
		pl.scratch += pl.cols * pl.depth
	}
	pl.scratch = roundUp(pl.scratch, 16)
	return pl
}

// What was measured to pay; see DESIGN.md.
const (
	packBRows = 4       // tiles of rows from which on B is packed
	packACols = 4       // tiles of columns from which on A is packed
	packSize  = 1 << 17 // elements of a matrix from which on it is packed
	blockRows = 20      // tiles of rows in a packed block of A
	blockCols = 32      // tiles of columns in a packed block of B
)

func (p *Product) isPacked() bool { return p.Packed.cols != 0 }

// Gemm computes p. It fails, with an error that wraps [ErrShape] and before it
// wrote anything, where sizes do not fit.
func (k *Kernel) Gemm(p *Product) error {
	if err := k.checkProduct(p); err != nil {
		return err
	}
	if p.M == 0 || p.N == 0 {
		return nil
	}
	p.kernel, p.plan = k, k.planProduct(p)
	if need := p.plan.parts * p.plan.scratch; len(p.Scratch) < need {
		return fmt.Errorf("%w: scratch has %d elements, needs %d", ErrShape, len(p.Scratch), need)
	}
	run(p.Parallel, p.plan.parts, p)
	return nil
}

func (k *Kernel) checkProduct(p *Product) error {
	if p.M < 0 || p.N < 0 || p.K < 0 {
		return fmt.Errorf("%w: product of %d x %d x %d", ErrShape, p.M, p.K, p.N)
	}
	if err := checkMatrix("A", p.A, p.M, p.K, p.LDA, p.TransA); err != nil {
		return err
	}
	if p.isPacked() {
		if b := &p.Packed; b.Depth != p.K || b.N != p.N || b.cols != k.cols {
			return fmt.Errorf("%w: packed B is %d x %d in panels of %d, the product needs %d x %d in panels of %d",
				ErrShape, b.Depth, b.N, b.cols, p.K, p.N, k.cols)
		}
	} else if err := checkMatrix("B", p.B, p.K, p.N, p.LDB, p.TransB); err != nil {
		return err
	}
	if err := checkMatrix("C", p.C, p.M, p.N, p.LDC, false); err != nil {
		return err
	}
	if p.ColBias != nil && len(p.ColBias) < p.N {
		return fmt.Errorf("%w: bias for %d columns has %d elements", ErrShape, p.N, len(p.ColBias))
	}
	if p.RowBias != nil && len(p.RowBias) < p.M {
		return fmt.Errorf("%w: bias for %d rows has %d elements", ErrShape, p.M, len(p.RowBias))
	}
	return nil
}

// Do computes part i of the plan. Only a [Parallel] calls it.
func (p *Product) Do(i int) {
	pl := &p.plan
	m0, m1, n0, n1 := 0, p.M, 0, p.N
	if pl.byRows {
		lo, hi := share(ceilDiv(p.M, p.kernel.rows), pl.parts, i)
		m0, m1 = lo*p.kernel.rows, min(p.M, hi*p.kernel.rows)
	} else if pl.parts > 1 {
		lo, hi := share(ceilDiv(p.N, p.kernel.cols), pl.parts, i)
		n0, n1 = lo*p.kernel.cols, min(p.N, hi*p.kernel.cols)
	}
	if p.Beta != 0 && p.Beta != 1 {
		for r := m0; r < m1; r++ {
			p.kernel.Scale(p.C[r*p.LDC+n0:r*p.LDC+n1], p.C[r*p.LDC+n0:r*p.LDC+n1], p.Beta)
		}
	}
	p.compute(p.Scratch[i*pl.scratch:(i+1)*pl.scratch], m0, m1, n0, n1)
}

// compute does rows m0..m1 and columns n0..n1 of C. n0 is a multiple of the
// tile's width.
func (p *Product) compute(scratch []float32, m0, m1, n0, n1 int) {
	k, pl := p.kernel, &p.plan
	var bufA, bufB []float32
	if pl.packA {
		n := roundUp(pl.rows, k.rows) * pl.depth
		bufA, scratch = scratch[:n], scratch[n:]
	}
	if pl.packB {
		n := pl.cols * pl.depth
		bufB, scratch = scratch[:n], scratch[n:]
	}
	t := tileArgs{ldc: 4 * p.LDC}
	switch {
	case pl.packA:
		t.steps = &k.packed[0]
		for r := range k.rows {
			t.rows[r] = 4 * r
		}
	case p.TransA:
		t.steps = &k.direct[0]
		if pl.steps > 0 {
			table := unsafe.Slice((*int32)(unsafe.Pointer(&scratch[0])), pl.steps)
			for s := range table {
				table[s] = int32(4 * s * p.LDA)
			}
			t.steps = &table[0]
		}
		for r := range k.rows {
			t.rows[r] = 4 * r
		}
	default:
		t.steps = &k.direct[0]
		for r := range k.rows {
			t.rows[r] = 4 * r * p.LDA
		}
	}
	for jc := n0; jc < n1; jc += pl.cols {
		nc := min(pl.cols, n1-jc)
		for pc := 0; ; {
			kc := min(pl.depth, p.K-pc)
			if pl.packB && kc > 0 {
				k.packPanels(bufB, p.B[p.offsetB(pc, jc):], kc, nc, p.LDB, p.TransB)
			}
			for ic := m0; ic < m1; ic += pl.rows {
				mc := min(pl.rows, m1-ic)
				if pl.packA && kc > 0 {
					k.packA(bufA, p.A[p.offsetA(ic, pc):], mc, kc, p.LDA, p.TransA, p.Alpha)
				}
				p.block(&t, bufA, bufB, ic, mc, jc, nc, pc, kc)
			}
			if pc += kc; pc >= p.K {
				break
			}
		}
	}
}

func (p *Product) offsetA(row, step int) int {
	if p.TransA {
		return step*p.LDA + row
	}
	return row*p.LDA + step
}

func (p *Product) offsetB(step, col int) int {
	if p.TransB {
		return col*p.LDB + step
	}
	return step*p.LDB + col
}

// block does the tiles of rows ic..ic+mc, columns jc..jc+nc, steps pc..pc+kc.
func (p *Product) block(t *tileArgs, bufA, bufB []float32, ic, mc, jc, nc, pc, kc int) {
	k := p.kernel
	t.depth = kc
	t.flags = 0
	if pc > 0 || p.Beta != 0 {
		t.flags |= tileAccumulate
	}
	last := pc+kc >= p.K
	if last {
		switch p.Act {
		case Relu:
			t.flags |= tileClip
			t.lo, t.hi = 0, infinity
		case Clip:
			t.flags |= tileClip
			t.lo, t.hi = p.Lo, p.Hi
		}
	}
	tiles := ceilDiv(mc, k.rows)
	for j := jc; j < jc+nc; j += k.cols {
		w := min(k.cols, jc+nc-j)
		switch {
		case kc == 0:
		case p.isPacked():
			width := min(k.cols, roundUp(p.N-j, k.lanes))
			t.b, t.ldb = unsafe.Pointer(&p.Packed.data[j*p.K+pc*width]), 4*width
		case bufB != nil:
			width := roundUp(w, k.lanes)
			t.b, t.ldb = unsafe.Pointer(&bufB[(j-jc)*kc]), 4*width
		default:
			t.b, t.ldb = unsafe.Pointer(&p.B[p.offsetB(pc, j)]), 4*p.LDB
		}
		for i := range tiles {
			lo, hi := share(mc, tiles, i)
			row := ic + lo
			switch {
			case kc == 0:
			case p.plan.packA:
				t.a = unsafe.Pointer(&bufA[i*k.rows*kc])
			default:
				t.a = unsafe.Pointer(&p.A[p.offsetA(row, pc)])
			}
			t.c = unsafe.Pointer(&p.C[row*p.LDC+j])
			t.col, t.row = nil, nil
			if last && p.ColBias != nil {
				t.col = unsafe.Pointer(&p.ColBias[j])
			}
			if last && p.RowBias != nil {
				t.row = unsafe.Pointer(&p.RowBias[row])
			}
			k.tiles(t, hi-lo, w)
		}
	}
}

// tiles computes mr rows and w columns of one panel.
func (k *Kernel) tiles(t *tileArgs, mr, w int) {
	first := k.firstColumns(w)
	t.cols = first
	k.tile(t, mr)
	if first == w {
		return
	}
	b, c, col := t.b, t.c, t.col
	if t.depth > 0 {
		t.b = unsafe.Add(t.b, 4*first)
	}
	t.c = unsafe.Add(t.c, 4*first)
	if col != nil {
		t.col = unsafe.Add(col, 4*first)
	}
	t.cols = w - first
	k.tile(t, mr)
	t.b, t.c, t.col = b, c, col
}

// firstColumns is how many of w columns a first tile has: without masks, the rest is for a second one.
func (k *Kernel) firstColumns(w int) int {
	switch {
	case w <= k.lanes || w == k.cols:
	case k.isa == isaAVX2: // has a mask for one vector
		return k.lanes
	case k.isa == isaNEON || k.isa == isaNEONDot:
		return w &^ (k.lanes - 1)
	}
	return w
}
