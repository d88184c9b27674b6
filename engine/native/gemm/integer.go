package gemm

import (
	"math"
	"unsafe"
)

// integerKernel multiplies bytes exactly: sums of products of uint8 and int8, modulo 2^32. One step of a reduction has
// quad of them, which fill 32 bits in rows of A and in each lane of B.
type integerKernel struct {
	isa         isa
	rows, lanes int
	quad        int
	size        int  // bytes of an element in memory: one, or two where the instruction wants int16
	flip        byte // with what the left side is flipped for the instruction, which the sums do not show: 0, or 0x80 where it wants int8
}

var integersGo = integerKernel{isa: isaGo, rows: 4, lanes: 8, quad: 2, size: 2}

// maxIntegerCols is how many columns a tile has at most.
const maxIntegerCols = 32

// tile computes mr rows by one or two vectors; C has whole vectors.
func (k *integerKernel) tile(t *tileArgs, mr, vecs int) {
	if k.isa == isaGo {
		t.cols = vecs * k.lanes
		integersTileGo(t, mr)
		return
	}
	integersAsm(k.isa, t, mr, vecs)
}

func integersTileGo(t *tileArgs, mr int) {
	steps := unsafe.Slice(t.steps, t.depth)
	for r := range mr {
		c := unsafe.Slice((*int32)(unsafe.Add(t.c, r*t.ldc)), t.cols)
		clear(c)
		a := unsafe.Add(t.a, t.rows[r])
		for s, off := range steps {
			x := (*[2]int16)(unsafe.Add(a, int(off)))
			b := unsafe.Slice((*int16)(unsafe.Add(t.b, s*t.ldb)), 2*t.cols)
			x0, x1 := int32(x[0]), int32(x[1])
			for j := range c {
				c[j] += x0*int32(b[2*j]) + x1*int32(b[2*j+1])
			}
		}
	}
}

// block cuts rows into blocks that go through all columns before the next: their results stay in the first-level cache.
func (k *integerKernel) block(rows int) (size, blocks int) {
	most := 5 * k.rows
	blocks = max(1, (rows+most-1)/most)
	return (rows + blocks - 1) / blocks, blocks
}

// IntegerWeights are the bytes of the right side, packed for one kernel, with the sum of each column.
type IntegerWeights struct {
	data   []byte
	panels []int // where each begins, and the end
	depth  int   // steps
	Sums   []int32
	begin  []int32 // what each sum begins with, where the kernel flips the left side; else nil
}

// packIntegers packs columns of depth steps; at returns element i of step s, or 0 where that is beyond the reduction.
func (k *integerKernel) packIntegers(cols, depth int, at func(col, step, i int) int8) *IntegerWeights {
	lanes := k.lanes
	padded := (cols + lanes - 1) / lanes * lanes
	w := &IntegerWeights{data: aligned(padded * depth * 4), depth: depth, Sums: make([]int32, padded)}
	pos := 0
	for c := 0; c < padded; c += 2 * lanes {
		w.panels = append(w.panels, pos)
		wide := min(2*lanes, padded-c)
		for s := range depth {
			for j := c; j < c+wide; j++ {
				for i := range k.quad {
					var v int8
					if j < cols {
						v = at(j, s, i)
					}
					w.Sums[j] += int32(v)
					if k.size == 1 {
						w.data[pos] = byte(v)
						pos++
					} else {
						*(*int16)(unsafe.Pointer(&w.data[pos])) = int16(v)
						pos += 2
					}
				}
			}
		}
	}
	w.panels = append(w.panels, pos)
	if k.flip != 0 { // x - 128 is multiplied instead of x
		w.begin = make([]int32, padded)
		for j, s := range w.Sums {
			w.begin[j] = s << 7
		}
	}
	return w
}

// aligned makes memory that begins at a multiple of 64 bytes, as whole vectors want.
func aligned(n int) []byte {
	b := make([]byte, n+64)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & 63)
	return b[off : off+n : off+n]
}

// Requantization turns exact sums into bytes: Zero + round(limit(float32(sum+Add)*By)), with halves to even. Add and By have
// an element for each column, and for those up to [IntegerWeights.Padded].
type Requantization struct {
	Add       []int32
	By        []float32
	Low, High float32 // less the zero point
	Zero      int32
}

// Padded is the number of columns with which Add and By are filled up.
func (w *IntegerWeights) Padded() int { return len(w.Sums) }

// requantize makes bytes of rows of sums, which follow each other, as they do in dst.
func (k *integerKernel) requantize(dst []byte, sums, add []int32, by []float32, r *Requantization, rows int) {
	if k.isa == isaGo {
		requantizeGo(dst, sums, add, by, r, rows)
		return
	}
	requantizeAsm(k.isa, dst, sums, add, by, r, rows)
}

func requantizeGo(dst []byte, sums, add []int32, by []float32, r *Requantization, rows int) {
	n := len(sums) / rows
	for at := 0; at < len(sums); at += n {
		for j, s := range sums[at:][:n] {
			dst[at+j] = toByte(float32(s+add[j])*by[j], r.Low, r.High, r.Zero)
		}
	}
}

func toByte(x, low, high float32, zero int32) byte {
	if !(x > low) { // NaN too, as the instruction has it
		x = low
	}
	return byte(int32(math.RoundToEven(float64(min(x, high)))) + zero)
}

// accumulators hold the sums of one tile.
type accumulators [maxTileRows * maxIntegerCols]int32

// sums multiplies the rows of A that begin at t.rows with one panel of B. They go to t.c, which are accumulators.
func (k *integerKernel) sums(t *tileArgs, w *IntegerWeights, panel, mr int) (cols int) {
	bytes := w.panels[panel+1] - w.panels[panel]
	vecs := 1
	if w.depth > 0 && bytes/w.depth > 4*k.lanes {
		vecs = 2
	}
	cols = vecs * k.lanes
	if w.depth == 0 {
		*(*accumulators)(t.c) = accumulators{}
		return cols
	}
	t.depth, t.b, t.ldb = w.depth, unsafe.Pointer(&w.data[w.panels[panel]]), 4*cols
	t.ldc = 4 * cols
	if w.begin != nil {
		t.col = unsafe.Pointer(&w.begin[2*panel*k.lanes])
	}
	k.tile(t, mr, vecs)
	return cols
}

// Quantize sets dst to zero + round(limit(x/scale)), with halves to even, and to zero where x/scale is NaN. Low and high are less zero.
func (k *Kernel) Quantize(dst []byte, x []float32, scale, low, high float32, zero int32) {
	at := 0
	if k.isa != isaGo {
		at = quantizeAsm(k.isa, dst, x, scale, low, high, zero)
	}
	for i := at; i < len(x); i++ {
		q := x[i] / scale
		if q != q {
			q = 0
		}
		dst[i] = toByte(q, low, high, zero)
	}
}

// quantizeBy sets dst to zero + round(limit(x*by)), with halves to even; no product is NaN.
func (k *Kernel) quantizeBy(dst []byte, x []float32, by, low, high float32, zero int32) {
	at := 0
	if k.isa != isaGo {
		at = quantizeByAsm(k.isa, dst, x, by, low, high, zero)
	}
	for i := at; i < len(x); i++ {
		dst[i] = toByte(x[i]*by, low, high, zero)
	}
}

// Dequantize sets dst to (x-zero)*scale, of uint8 or int8.
func (k *Kernel) Dequantize(dst []float32, x []byte, zero int32, scale float32, signed bool) {
	at := 0
	if k.isa != isaGo {
		at = dequantizeAsm(k.isa, dst, x, zero, scale, signed)
	}
	for i := at; i < len(x); i++ {
		v := int32(x[i])
		if signed {
			v = int32(int8(x[i]))
		}
		dst[i] = float32(v-zero) * scale
	}
}

func transposeBytesGo(dst []byte, ldd int, src []byte, lds, rows, cols int, flip byte) {
	for c := range cols {
		to := dst[c*ldd:][:rows]
		for r := range to {
			to[r] = src[r*lds+c] ^ flip
		}
	}
}

func (k *integerKernel) transposeBytes(dst []byte, ldd int, src []byte, lds, rows, cols int, flip byte) {
	if k.isa != isaGo && k.isa != isaAVX2 {
		transposeBytesAsm(dst, ldd, src, lds, rows, cols, flip)
		return
	}
	transposeBytesGo(dst, ldd, src, lds, rows, cols, flip)
}
