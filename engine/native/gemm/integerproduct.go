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

// Fill prepares rows of A, each byte with the bits of flip flipped, and returns the sum of each where sums is not nil.
func (p *IntegerProduct) Fill(dst, a []byte, flip byte, rows int, sums []int32) {
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
		} else {
			for i, v := range src {
				to[2*i], to[2*i+1] = v^flip, 0
			}
			clear(to[2*p.K:])
		}
		if sums != nil {
			var s int32
			for _, v := range src {
				s += int32(v ^ flip)
			}
			sums[r] = s
		}
	}
}

// Blocks is in how many parts a product of so many rows is computed.
func (p *IntegerProduct) Blocks(rows int) int {
	_, blocks := p.k.block(rows)
	return blocks
}

// IntegerOutput says what becomes of the exact sums of a product: the one of its slices that is not nil gets them.
type IntegerOutput struct {
	Bytes  []byte    // requantized
	Sums   []int32   // and Add
	Floats []float32 // float32(sum + Add)*By + Bias, where that is not nil
	Bias   []float32
	Requantization
}

// Run computes one block of a product of so many rows.
func (p *IntegerProduct) Run(o *IntegerOutput, a []byte, w *IntegerWeights, rows, block int) {
	var acc accumulators
	_, blocks := p.k.block(rows)
	lo, hi := share(rows, blocks, block)
	for panel := range len(w.panels) - 1 {
		for at := lo; at < hi; {
			mr := p.k.tileRows(hi-lo, at-lo)
			t := tileArgs{c: unsafe.Pointer(&acc)}
			if len(p.steps) > 0 {
				t.a, t.steps = unsafe.Pointer(&a[0]), &p.steps[0]
			}
			for r := range mr {
				t.rows[r] = (at + r) * p.line
			}
			cols := p.k.sums(&t, w, panel, mr)
			for r := range mr {
				p.put(o, acc[r*cols:][:cols], at+r, panel*2*p.k.lanes)
			}
			at += mr
		}
	}
}

// put stores the sums of one row from a column on.
func (p *IntegerProduct) put(o *IntegerOutput, sums []int32, row, first int) {
	at, n := row*p.N+first, min(len(sums), p.N-first)
	add := o.Add[first:][:len(sums)]
	switch {
	case o.Bytes != nil && n == len(sums):
		p.k.requantize(o.Bytes[at:], sums, add, o.By[first:], &o.Requantization)
	case o.Bytes != nil:
		var out [maxIntegerCols]byte
		p.k.requantize(out[:], sums, add, o.By[first:], &o.Requantization)
		copy(o.Bytes[at:][:n], out[:])
	case o.Sums != nil:
		for j, to := 0, o.Sums[at:][:n]; j < n; j++ {
			to[j] = sums[j] + add[j]
		}
	default:
		by, to := o.By[first:], o.Floats[at:][:n]
		for j := range to {
			to[j] = float32(sums[j]+add[j]) * by[j]
		}
		if o.Bias != nil {
			for j, b := range o.Bias[first:][:n] {
				to[j] += b
			}
		}
	}
}
