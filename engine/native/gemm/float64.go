package gemm

// Product64 is a matrix product in double precision, C = Alpha*A*B + Beta*C,
// with the fields of [Product]. It is for checking gradients and for the rare
// model in double precision: plain Go, one thread, no scratch memory.
type Product64 struct {
	M, N, K     int
	Alpha, Beta float64
	A           []float64
	LDA         int
	TransA      bool
	B           []float64
	LDB         int
	TransB      bool
	C           []float64
	LDC         int
}

// Blocks of B that stay in the first-level cache.
const (
	blockDepth64 = 32
	blockCols64  = 64
)

// Gemm64 computes p. It fails, with an error that wraps [ErrShape] and before
// it wrote anything, where sizes do not fit.
func Gemm64(p *Product64) error {
	if err := checkMatrix("A", p.A, p.M, p.K, p.LDA, p.TransA); err != nil {
		return err
	}
	if err := checkMatrix("B", p.B, p.K, p.N, p.LDB, p.TransB); err != nil {
		return err
	}
	if err := checkMatrix("C", p.C, p.M, p.N, p.LDC, false); err != nil {
		return err
	}
	for i := range p.M {
		if p.N == 0 {
			break
		}
		row := p.C[i*p.LDC : i*p.LDC+p.N]
		for j := range row {
			if p.Beta == 0 {
				row[j] = 0 // whatever it was
			} else {
				row[j] *= p.Beta
			}
		}
	}
	for k0 := 0; k0 < p.K; k0 += blockDepth64 {
		k1 := min(k0+blockDepth64, p.K)
		for j0 := 0; j0 < p.N; j0 += blockCols64 {
			p.block(k0, k1, j0, min(j0+blockCols64, p.N))
		}
	}
	return nil
}

// block adds steps k0..k1 to columns j0..j1 of all rows.
func (p *Product64) block(k0, k1, j0, j1 int) {
	var a [blockDepth64]float64
	for i := range p.M {
		for k := k0; k < k1; k++ {
			if p.TransA {
				a[k-k0] = p.Alpha * p.A[k*p.LDA+i]
			} else {
				a[k-k0] = p.Alpha * p.A[i*p.LDA+k]
			}
		}
		c := p.C[i*p.LDC+j0 : i*p.LDC+j1]
		if p.TransB {
			for j := range c {
				s := c[j]
				for l, v := range p.B[(j0+j)*p.LDB+k0 : (j0+j)*p.LDB+k1] {
					s += a[l] * v
				}
				c[j] = s
			}
			continue
		}
		for k := k0; k < k1; k++ {
			x := a[k-k0]
			for j, v := range p.B[k*p.LDB+j0 : k*p.LDB+j1] {
				c[j] += x * v
			}
		}
	}
}
