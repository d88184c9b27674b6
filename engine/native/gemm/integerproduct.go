package gemm

import "unsafe"

// IntegerProduct is a plan for products of rows of bytes with packed weights of K x N.
type IntegerProduct struct {
	k     integerKernel
	K, N  int
	steps []int32
	line  int // bytes of a row of A in memory
}

// NewIntegerProduct plans products with weights of K x N.
func (k *Kernel) NewIntegerProduct(depth, cols int) *IntegerProduct {
	p := &IntegerProduct{k: k.integers, K: depth, N: cols}
	n := (depth + p.k.quad - 1) / p.k.quad
	p.line = 4 * n
	p.steps = make([]int32, n)
	for i := range p.steps {
		p.steps[i] = int32(4 * i)
	}
	return p
}

// Pack packs weights; row k begins at k*ldk, and its columns are ldn apart.
func (p *IntegerProduct) Pack(w []int8, ldk, ldn int) *IntegerWeights {
	return p.k.packIntegers(p.N, len(p.steps), func(col, step, i int) int8 {
		at := step*p.k.quad + i
		if at >= p.K {
			return 0
		}
		return w[at*ldk+col*ldn]
	})
}

// RowBytes is the memory that a prepared row of A needs.
func (p *IntegerProduct) RowBytes() int { return p.line }

// Fill prepares rows of A, each byte with the bits of flip flipped.
func (p *IntegerProduct) Fill(dst, a []byte, flip byte, rows int) {
	flip ^= p.k.flip
	for r := range rows {
		src := a[r*p.K:][:p.K]
		to := dst[r*p.line:][:p.line]
		if p.k.size == 1 {
			if flip == 0 {
				copy(to, src)
			} else {
				for i, v := range src {
					to[i] = v ^ flip
				}
			}
			clear(to[p.K:])
			continue
		}
		for i, v := range src {
			to[2*i], to[2*i+1] = v^flip, 0
		}
		clear(to[2*p.K:])
	}
}

// Blocks is in how many parts a product of so many rows is computed.
func (p *IntegerProduct) Blocks(rows int) int {
	_, blocks := p.k.block(rows)
	return blocks
}

// Run computes one block of a product of so many rows, as bytes.
func (p *IntegerProduct) Run(dst, a []byte, w *IntegerWeights, to *Requantization, rows, block int) {
	var acc accumulators
	_, blocks := p.k.block(rows)
	lo, hi := share(rows, blocks, block)
	for panel := range len(w.panels) - 1 {
		for at := lo; at < hi; {
			mr := p.k.tileRows(hi-lo, at-lo)
			cols := p.tile(&acc, a, w, panel, at, mr)
			for r := range mr {
				p.put(dst, acc[r*cols:][:cols], to, at+r, panel*2*p.k.lanes)
			}
			at += mr
		}
	}
}

// Sums computes one block of a product of so many rows: the exact sums, modulo 2^32, plus what add has for each column.
func (p *IntegerProduct) Sums(dst []int32, a []byte, w *IntegerWeights, add []int32, rows, block int) {
	var acc accumulators
	_, blocks := p.k.block(rows)
	lo, hi := share(rows, blocks, block)
	for panel := range len(w.panels) - 1 {
		first := panel * 2 * p.k.lanes
		for at := lo; at < hi; {
			mr := p.k.tileRows(hi-lo, at-lo)
			cols := p.tile(&acc, a, w, panel, at, mr)
			n := min(cols, p.N-first)
			for r := range mr {
				addInto(dst[(at+r)*p.N+first:][:n], acc[r*cols:], add[first:])
			}
			at += mr
		}
	}
}

// addInto sets dst to x + y.
func addInto(dst, x, y []int32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

func (p *IntegerProduct) tile(acc *accumulators, a []byte, w *IntegerWeights, panel, at, mr int) (cols int) {
	t := tileArgs{c: unsafe.Pointer(acc)}
	if len(p.steps) > 0 {
		t.a, t.steps = unsafe.Pointer(&a[0]), &p.steps[0]
	}
	for r := range mr {
		t.rows[r] = (at + r) * p.line
	}
	return p.k.sums(&t, w, panel, mr)
}

// put stores what the sums of one row become, from a column on.
func (p *IntegerProduct) put(dst []byte, sums []int32, to *Requantization, row, first int) {
	at, n := row*p.N+first, min(len(sums), p.N-first)
	add, by := to.Add[first:][:len(sums)], to.By[first:]
	if n == len(sums) {
		p.k.requantize(dst[at:], sums, add, by, to, 1)
		return
	}
	var out [maxIntegerCols]byte
	p.k.requantize(out[:], sums, add, by, to, 1)
	copy(dst[at:][:n], out[:])
}
