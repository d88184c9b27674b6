package gemm

import (
	"math"
	"unsafe"
)

const (
	maxTileRows   = 12 // the largest of all kernels
	maxTileRowsGo = 4
	tileColsGo    = 8

	tileAccumulate = 1 // add to what C holds
	tileClip       = 2 // limit the result to [lo, hi]; NaN stays NaN
)

// tileArgs is one register tile of work:
//
//	C[r][j] = clip(sum over s of A[rows[r]+steps[s]] * B[s*ldb+j] + ...)
//
// for j < cols. Rows and steps of A are byte offsets, so that the same code
// reads a matrix, its transpose, a packed panel, or the pixels of an image under
// a convolution's window. The assembly knows this layout: asm/layout.go
// repeats it, and a test compares the two.
type tileArgs struct {
	a     unsafe.Pointer
	steps *int32 // depth byte offsets
	depth int
	b     unsafe.Pointer
	ldb   int // bytes from one step to the next
	c     unsafe.Pointer
	ldc   int            // bytes from one row to the next
	col   unsafe.Pointer // a bias for each column, or nil
	row   unsafe.Pointer // a bias for each row, or nil
	lo    float32
	hi    float32
	flags int
	cols  int
	rows  [maxTileRows]int
}

// tile computes t with mr rows and t.cols columns, at most the kernel's tile
// size. Only t.cols columns of B and C are touched.
func (k *Kernel) tile(t *tileArgs, mr int) {
	if k.isa == isaGo {
		tileGo(t, mr)
		return
	}
	tileAsm(k.isa, t, mr)
}

// tileGo is the tile in plain Go: two rows and four columns at a time.
func tileGo(t *tileArgs, mr int) {
	if t.depth == 0 { // there may be no A and no B
		for r := range mr {
			for j := range t.cols {
				t.finish(r, j, 0)
			}
		}
		return
	}
	steps := unsafe.Slice(t.steps, t.depth)
	for r := 0; r < mr; r += 2 {
		r1 := min(r+1, mr-1) // an odd last row is computed twice
		a0 := unsafe.Add(t.a, t.rows[r])
		a1 := unsafe.Add(t.a, t.rows[r1])
		j := 0
		for ; j+4 <= t.cols; j += 4 {
			var s [8]float32
			tileGo4(&s, a0, a1, steps, unsafe.Add(t.b, 4*j), t.ldb)
			for l := range 4 {
				t.finish(r, j+l, s[l])
				if r1 != r {
					t.finish(r1, j+l, s[4+l])
				}
			}
		}
		for ; j < t.cols; j++ {
			var s0, s1 float32
			b := unsafe.Add(t.b, 4*j)
			for i, off := range steps {
				v := *(*float32)(unsafe.Add(b, i*t.ldb))
				s0 += *(*float32)(unsafe.Add(a0, int(off))) * v
				s1 += *(*float32)(unsafe.Add(a1, int(off))) * v
			}
			t.finish(r, j, s0)
			if r1 != r {
				t.finish(r1, j, s1)
			}
		}
	}
}

func tileGo4(s *[8]float32, a0, a1 unsafe.Pointer, steps []int32, b unsafe.Pointer, ldb int) {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	at := 0
	for _, off := range steps {
		v := (*[4]float32)(unsafe.Add(b, at))
		at += ldb
		x0 := *(*float32)(unsafe.Add(a0, int(off)))
		x1 := *(*float32)(unsafe.Add(a1, int(off)))
		s00 += x0 * v[0]
		s01 += x0 * v[1]
		s02 += x0 * v[2]
		s03 += x0 * v[3]
		s10 += x1 * v[0]
		s11 += x1 * v[1]
		s12 += x1 * v[2]
		s13 += x1 * v[3]
	}
	*s = [8]float32{s00, s01, s02, s03, s10, s11, s12, s13}
}

// finish adds what belongs to the sum of row r and column j and stores it.
func (t *tileArgs) finish(r, j int, s float32) {
	p := (*float32)(unsafe.Add(t.c, r*t.ldc+4*j))
	if t.flags&tileAccumulate != 0 {
		s += *p
	}
	if t.col != nil {
		s += *(*float32)(unsafe.Add(t.col, 4*j))
	}
	if t.row != nil {
		s += *(*float32)(unsafe.Add(t.row, 4*r))
	}
	if t.flags&tileClip != 0 {
		s = clip(s, t.lo, t.hi)
	}
	*p = s
}

// clip limits x to [lo, hi] and keeps NaN.
func clip(x, lo, hi float32) float32 {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}

var infinity = float32(math.Inf(1))
