package native

import (
	"fmt"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A product is a matrix product as a plan knows it; the slices come with each run.
type product struct {
	kernel  *gemm.Kernel
	p       gemm.Product // without slices
	scratch int          // slot, or -1
	rows    bool         // M goes over the batch
}

// newProduct completes a product: it takes the node's activation, packs b where it is a weight, and sizes the scratch
// memory. rows says that the rows of a go over the batch, if anything does.
func (c *prep) newProduct(p gemm.Product, b *info, rows bool) (*product, error) {
	pr := &product{kernel: c.pl.e.kernel, p: p, scratch: -1, rows: rows}
	pr.p.Act, pr.p.Lo, pr.p.Hi = c.act.kind, c.act.lo, c.act.hi
	if b != nil && b.weight && p.N > 0 && p.K > 0 {
		key := fmt.Sprintf("pack %d %d %d %v", p.K, p.N, p.LDB, p.TransB)
		var err error
		pr.p.Packed = derive(c, b, key, func(t *tensor.Tensor) gemm.Packed {
			var packed gemm.Packed
			packed, err = pr.kernel.PackB(make([]float32, pr.kernel.PackedLen(p.K, p.N)), tensor.Data[float32](t), p.K, p.N, p.LDB, p.TransB)
			return packed
		})
		if err != nil {
			return nil, c.errf("%w", err)
		}
	}
	pr.p.Parallel = &frame{pool: c.pl.pool}
	n := pr.kernel.Scratch(&pr.p)
	if rows {
		n = c.mostScratch(func(batch int) int {
			pr.p.M = p.M / c.pl.batch * batch
			return pr.kernel.Scratch(&pr.p)
		}, n)
		pr.p.M = p.M
	}
	pr.p.Parallel = nil
	if n > 0 {
		s, err := c.scratch(tensor.Float32, n)
		if err != nil {
			return nil, err
		}
		pr.scratch = s
	}
	return pr, nil
}

// run computes the product; bias may be nil.
func (pr *product) run(f *frame, a, b, dst, colBias, rowBias []float32) error {
	p := &f.product
	*p = pr.p
	if pr.rows {
		p.M = f.rows(p.M)
	}
	p.A, p.C, p.ColBias, p.RowBias = a, dst, colBias, rowBias
	if p.Packed.N == 0 {
		p.B = b
	}
	if pr.scratch >= 0 {
		p.Scratch = data[float32](f, pr.scratch)
	}
	if f.pool.threads > 1 {
		p.Parallel = f
	}
	return pr.kernel.Gemm(p)
}

// matmul multiplies the last two dimensions and broadcasts the others, as numpy's matmul. Fusion adds input 2, a bias
// for each column.
var matmul = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	p, err := c.matrices(c.in[0].shape, c.in[1].shape)
	if err != nil {
		return err
	}
	o, err := c.out(0, c.in[0].dtype, p.shape)
	if err != nil {
		return err
	}
	a, b := c.in[0].slot, c.in[1].slot
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return matmulFloat32(c, p, o)
	case tensor.Float64:
		return matmulOf[float64](c, p, o, a, b)
	case tensor.Int32:
		return matmulOf[int32](c, p, o, a, b)
	case tensor.Int64:
		return matmulOf[int64](c, p, o, a, b)
	case tensor.Uint32:
		return matmulOf[uint32](c, p, o, a, b)
	case tensor.Uint64:
		return matmulOf[uint64](c, p, o, a, b)
	default:
		return c.refuseType(d)
	}
})

// matrices is a batch of products of m x k and k x n matrices: the places of each in the result and in both operands.
type matrices struct {
	w       *walk
	shape   tensor.Shape // of the result
	m, n, k int
}

// matrices reads the shapes of a product's operands.
func (c *prep) matrices(a, b tensor.Shape) (*matrices, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, c.errf("a scalar is no matrix")
	}
	// A vector on the left is a row, one on the right a column.
	as, bs := a, b
	if len(a) == 1 {
		as = tensor.Shape{1, a[0]}
	}
	if len(b) == 1 {
		bs = tensor.Shape{b[0], 1}
	}
	m, k, n := as[len(as)-2], as[len(as)-1], bs[len(bs)-1]
	if bs[len(bs)-2] != k {
		return nil, c.errf("shapes %v and %v do not multiply", a, b)
	}
	lead, err := infer.Broadcast(as[:len(as)-2], bs[:len(bs)-2])
	if err != nil {
		return nil, c.errf("%w", err)
	}
	shape := lead.Clone()
	if len(a) > 1 {
		shape = append(shape, m)
	}
	if len(b) > 1 {
		shape = append(shape, n)
	}
	if len(lead) > maxRank {
		return nil, c.refuse("rank %d", len(shape))
	}
	if bs[:len(bs)-2].Size() == 1 && lead.Size() > 0 { // one matrix on the right: the rows of all on the left are one matrix
		m *= lead.Size()
		lead = nil
		as, bs = tensor.Shape{m, k}, tensor.Shape{k, n}
	}
	la, lb := as[:len(as)-2], bs[:len(bs)-2]
	scale := func(st []int, by int) []int {
		for i := range st {
			st[i] *= by
		}
		return st
	}
	w := newWalk(lead, scale(contiguous(lead), m*n), scale(broadcastStrides(la, lead), m*k), scale(broadcastStrides(lb, lead), k*n))
	return &matrices{w, shape, m, n, k}, nil
}

func matmulFloat32(c *prep, p *matrices, o int) error {
	w, m, n, k := p.w, p.m, p.n, p.k
	var weight *info
	if w.outer*w.inner == 1 {
		weight = &c.in[1]
	}
	pr, err := c.newProduct(gemm.Product{M: m, N: n, K: k, Alpha: 1, LDA: k, LDB: n, LDC: n}, weight, weight != nil)
	if err != nil {
		return err
	}
	a, b, bias := c.in[0].slot, c.in[1].slot, c.opt(2).slot
	c.step(func(f *frame) (err error) {
		x, y, d := data[float32](f, a), data[float32](f, b), data[float32](f, o)
		var col []float32
		if bias >= 0 {
			col = data[float32](f, bias)
		}
		outer, inner := w.extent(f)
		for it := w.from(0, outer); it.more(); it.next() {
			at := &it.at

			po, pa, pb := at[0], at[1], at[2]
			for range inner {
				if err == nil {
					err = pr.run(f, x[pa:], y[pb:], d[po:], col, nil)
				}
				po, pa, pb = po+w.step[0], pa+w.step[1], pb+w.step[2]
			}
		}
		return err
	})
	return nil
}

func matmulOf[T real](c *prep, p *matrices, o, a, b int) error {
	w, m, n, k, act := p.w, p.m, p.n, p.k, c.act
	c.do(func(f *frame) {
		x, y, d := data[T](f, a), data[T](f, b), data[T](f, o)
		outer, inner := w.extent(f)
		m := m // of this run
		if w.outer*w.inner == 1 {
			m = f.rows(m)
		}
		for it := w.from(0, outer); it.more(); it.next() {
			at := &it.at

			po, pa, pb := at[0], at[1], at[2]
			for range inner {
				multiply(d[po:po+m*n], x[pa:], y[pb:], m, n, k, k, 1, n, 1)
				applyTo(act, d[po:po+m*n])
				po, pa, pb = po+w.step[0], pa+w.step[1], pb+w.step[2]
			}
		}
	})
	return nil
}

// multiply sets dst, m x n, to a product of matrices with any strides from row to row and from column to column.
func multiply[T real](dst, a, b []T, m, n, k, ar, ac, br, bc int) {
	clear(dst)
	for i := range m {
		row := dst[i*n : i*n+n]
		for s := range k {
			x := a[i*ar+s*ac]
			if bc == 1 {
				for j, y := range b[s*br : s*br+n] {
					row[j] += x * y
				}
				continue
			}
			at := s * br
			for j := range row {
				row[j] += x * b[at]
				at += bc
			}
		}
	}
}

// gemmOp is alpha*A*B + beta*C, with A and B transposed or not.
var gemmOp = viaFloat32(func(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	a, b := c.in[0].shape, c.in[1].shape
	if len(a) != 2 || len(b) != 2 {
		return c.errf("shapes %v and %v are no matrices", a, b)
	}
	ta, tb := c.attrs.Bool("transA", false), c.attrs.Bool("transB", false)
	m, k, k2, n := a[0], a[1], b[0], b[1]
	if ta {
		m, k = k, m
	}
	if tb {
		k2, n = n, k2
	}
	if k != k2 {
		return c.errf("shapes %v and %v do not multiply (transA %v, transB %v)", a, b, ta, tb)
	}
	shape := tensor.Shape{m, n}
	bias := c.opt(2)
	if bias.has() {
		if s, err := infer.Broadcast(bias.shape, shape); err != nil || !s.Equal(shape) || len(bias.shape) > 2 {
			return c.errf("shape %v does not broadcast to %v", bias.shape, shape)
		}
		if c.opset < 7 && !c.attrs.Bool("broadcast", false) && !bias.shape.Equal(shape) {
			return c.errf("shapes %v and %v differ, and attribute broadcast is not set", bias.shape, shape)
		}
	}
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	alpha, beta := c.attrs.Float("alpha", 1), c.attrs.Float("beta", 1)
	if beta == 0 || !bias.has() {
		bias, beta = &info{slot: -1}, 0
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return gemmFloat32(c, o, gemm.Product{M: m, N: n, K: k, Alpha: alpha, LDA: a[1], TransA: ta, LDB: b[1], TransB: tb, LDC: n}, bias, beta)
	case tensor.Float64:
		return gemmOf[float64](c, o, m, n, k, ta, tb, alpha, beta, bias)
	case tensor.Int32:
		return gemmOf[int32](c, o, m, n, k, ta, tb, alpha, beta, bias)
	case tensor.Int64:
		return gemmOf[int64](c, o, m, n, k, ta, tb, alpha, beta, bias)
	case tensor.Uint32:
		return gemmOf[uint32](c, o, m, n, k, ta, tb, alpha, beta, bias)
	case tensor.Uint64:
		return gemmOf[uint64](c, o, m, n, k, ta, tb, alpha, beta, bias)
	default:
		return c.refuseType(d)
	}
})

func gemmFloat32(c *prep, o int, p gemm.Product, bias *info, beta float32) error {
	col, row := -1, -1
	s := bias.shape
	switch {
	case beta == 0:
	case beta == 1 && len(s) > 0 && s[len(s)-1] == p.N && s.Size() == p.N:
		col = bias.slot
	case beta == 1 && len(s) == 2 && s[0] == p.M && s[1] == 1:
		row = bias.slot
	default:
		shape := tensor.Shape{p.M, p.N}
		if err := strided(c, tensor.Float32, shape, o, contiguous(shape), bias.slot, 0, broadcastStrides(s, shape)); err != nil {
			return err
		}
		p.Beta = beta
	}
	pr, err := c.newProduct(p, &c.in[1], c.in[0].carries == carriesRows)
	if err != nil {
		return err
	}
	a, b := c.in[0].slot, c.in[1].slot
	c.step(func(f *frame) error {
		var cb, rb []float32
		if col >= 0 {
			cb = data[float32](f, col)
		}
		if row >= 0 {
			rb = data[float32](f, row)
		}
		return pr.run(f, data[float32](f, a), data[float32](f, b), data[float32](f, o), cb, rb)
	})
	return nil
}

func gemmOf[T real](c *prep, o, m, n, k int, ta, tb bool, alpha, beta float32, bias *info) error {
	a, b := c.in[0].slot, c.in[1].slot
	ar, ac, br, bc := k, 1, n, 1
	if ta {
		ar, ac = 1, m
	}
	if tb {
		br, bc = 1, k
	}
	var st []int
	if bias.has() {
		st = broadcastStrides(bias.shape, tensor.Shape{m, n})
	}
	s, act := bias.slot, c.act
	c.do(func(f *frame) {
		m := f.rows(m) // of this run
		d := data[T](f, o)[:m*n]
		defer applyTo(act, d)
		multiply(d, data[T](f, a), data[T](f, b), m, n, k, ar, ac, br, bc)
		var x []T
		if s >= 0 {
			x = data[T](f, s)
		}
		if alpha == 1 && x == nil {
			return
		}
		for i := range d {
			v := float64(alpha) * float64(d[i])
			if alpha == 1 && beta == 1 {
				d[i] += x[i/n*st[0]+i%n*st[1]]
				continue
			}
			if x != nil {
				v += float64(beta) * float64(x[i/n*st[0]+i%n*st[1]])
			}
			d[i] = T(v)
		}
	})
	return nil
}
