package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// attention is scaled dot product attention with its caches and masks. Opset 24 gave it nonpad_kv_seqlen, and masks that are shorter than
// the keys. Softcap comes before the masks, causal masks end at a query's place among the keys, and a query that may see no key
// gets zeros, which ONNX put right in opset 23 and 24 afterwards.
var attention = oneType(3, floats(attentionOf[float32], attentionOf[float64]))

// heads says where the rows of a tensor's heads are.
type heads struct {
	slot, n, rows, size    int
	atBatch, atHead, atRow int
	batch                  int
	dtype                  tensor.DType
	packed                 bool // [batch, rows, heads*size], else [batch, heads, rows, size]
}

// from is where a head's first row begins.
func (h *heads) from(batch, head int) int { return batch*h.atBatch + head*h.atHead }

// headsOf reads an input of three or four dimensions; n is how many heads there are, 0 where the attribute is left out.
func (c *prep) headsOf(in *info, n int, attr string) (heads, error) {
	s := in.shape
	switch {
	case len(s) == 4 && (n == 0 || n == s[1]):
		return heads{slot: in.slot, n: s[1], rows: s[2], size: s[3], atBatch: s[1] * s[2] * s[3], atHead: s[2] * s[3], atRow: s[3], batch: s[0], dtype: in.dtype}, nil
	case len(s) == 3 && n > 0 && s[2]%n == 0:
		return heads{slot: in.slot, n: n, rows: s[1], size: s[2] / n, atBatch: s[1] * s[2], atHead: s[2] / n, atRow: s[2], batch: s[0], dtype: in.dtype, packed: true}, nil
	}
	return heads{}, c.errf("shape %v with %s %d", s, attr, n)
}

// shape is that of a tensor laid out so.
func (h *heads) shape() tensor.Shape {
	if h.packed {
		return tensor.Shape{h.batch, h.rows, h.n * h.size}
	}
	return tensor.Shape{h.batch, h.n, h.rows, h.size}
}

// attentionArgs is what the steps of an attention need.
type attentionArgs struct {
	q, k, v, y heads
	group      int // query heads to a head of keys
	scale, cap float64
	causal     bool
	past       int // keys before the first query's, or -1
	nonpad     int // slot, or -1
	mask       int // slot, or -1
	maskBool   bool
	maskAt     [3]int // strides by batch, head and query
	maskKeys   int    // 0: one for all
	scores     int    // slot: one head's scores
	qk, qkMode int    // slot, or -1
	exact      bool   // the softmax in float64
}

func attentionOf[T float](c *prep) error {
	a := attentionArgs{nonpad: -1, mask: -1, qk: -1, past: -1, causal: c.attrs.Bool("is_causal", false), cap: float64(c.attrs.Float("softcap", 0))}
	qn, kn := int(c.attrs.Int("q_num_heads", 0)), int(c.attrs.Int("kv_num_heads", 0))
	var err error
	if a.q, err = c.headsOf(&c.in[0], qn, "q_num_heads"); err != nil {
		return err
	}
	if a.k, err = c.headsOf(&c.in[1], kn, "kv_num_heads"); err != nil {
		return err
	}
	if a.v, err = c.headsOf(&c.in[2], kn, "kv_num_heads"); err != nil {
		return err
	}
	if a.k.batch != a.q.batch || a.v.batch != a.q.batch || a.k.size != a.q.size || a.q.size == 0 || a.k.rows != a.v.rows || a.k.n != a.v.n ||
		a.q.packed != a.k.packed || a.q.packed != a.v.packed {
		return c.errf("queries %v, keys %v, values %v", c.in[0].shape, c.in[1].shape, c.in[2].shape)
	}
	if a.k.n == 0 || a.q.n%a.k.n != 0 {
		return c.errf("%d heads of queries for %d of keys", a.q.n, a.k.n)
	}
	a.group = a.q.n / a.k.n
	switch p := tensor.DType(c.attrs.Int("softmax_precision", int64(a.q.dtype))); {
	case p == tensor.Float64:
		a.exact = true
	case p == tensor.Float32:
	case p == c.half && c.intoF: // the engine computes in float32
	default:
		return c.refuse("softmax_precision %v of %v", p, a.q.dtype)
	}
	a.scale = 1 / math.Sqrt(float64(a.q.size))
	if c.attrs.Has("scale") {
		a.scale = float64(c.attrs.Float("scale", 0))
	}
	if c.opt(4).has() != c.opt(5).has() {
		return c.errf("a past of keys or of values alone")
	}
	if c.opt(4).has() {
		a.past = at(c.in[4].shape, 2)
	}
	if a.k, err = cached[T](c, a.k, c.opt(4), 1); err != nil {
		return err
	}
	if a.v, err = cached[T](c, a.v, c.opt(5), 2); err != nil {
		return err
	}
	if in := c.opt(6); in.has() {
		if in.dtype != tensor.Int64 || !in.shape.Equal(tensor.Shape{a.q.batch}) {
			return c.errf("nonpad_kv_seqlen %v%v for a batch of %d", in.dtype, in.shape, a.q.batch)
		}
		a.nonpad = in.slot
	}
	if err := c.attentionMask(&a); err != nil {
		return err
	}
	a.y = a.q
	a.y.size = a.v.size
	a.y.atBatch, a.y.atHead, a.y.atRow = a.y.n*a.y.rows*a.y.size, a.y.rows*a.y.size, a.y.size
	if a.y.packed {
		a.y.atHead, a.y.atRow = a.y.size, a.y.n*a.y.size
	}
	if a.y.slot, err = c.out(0, a.q.dtype, a.y.shape()); err != nil {
		return err
	}
	a.qkMode = int(c.attrs.Int("qk_matmul_output_mode", 0))
	if a.qkMode < 0 || a.qkMode > 3 {
		return c.errf("qk_matmul_output_mode %d", a.qkMode)
	}
	if c.wants(3) {
		if a.qk, err = c.out(3, a.q.dtype, tensor.Shape{a.q.batch, a.q.n, a.q.rows, a.k.rows}); err != nil {
			return err
		}
	}
	if a.scores, err = c.scratchOf(a.q.dtype, tensor.Shape{a.q.rows, a.k.rows}); err != nil {
		return err
	}
	return attend[T](c, &a)
}

// at is a dimension of a shape, 0 where it has fewer.
func at(s tensor.Shape, i int) int {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// cached puts a past before the rows, and both into an output, where there is one or the other.
func cached[T float](c *prep, now heads, past *info, out int) (heads, error) {
	before := 0
	if past.has() {
		s := past.shape
		if len(s) != 4 || s[0] != now.batch || s[1] != now.n || s[3] != now.size || past.dtype != now.dtype {
			return now, c.errf("a past of %v%v for %d heads of %v%v", past.dtype, s, now.n, now.dtype, now.shape())
		}
		before = s[2]
	} else if !c.wants(out) {
		return now, nil
	}
	all := heads{n: now.n, rows: before + now.rows, size: now.size, batch: now.batch, dtype: now.dtype, atRow: now.size}
	all.atHead = all.rows * all.size
	all.atBatch = all.n * all.atHead
	var err error
	if all.slot, err = c.out(out, now.dtype, all.shape()); err != nil {
		return now, err
	}
	from, old := now.slot, past.slot
	part := func(f *frame, lo, hi int) {
		dst, src := data[T](f, all.slot), data[T](f, from)
		for i := lo; i < hi; i++ {
			to := dst[i*all.atHead : (i+1)*all.atHead]
			if before > 0 {
				to = to[copy(to, data[T](f, old)[i*before*now.size:(i+1)*before*now.size]):]
			}
			for r := range now.rows {
				copy(to[r*now.size:(r+1)*now.size], src[now.from(i/now.n, i%now.n)+r*now.atRow:])
			}
		}
	}
	c.do(func(f *frame) { f.parallel(now.batch*now.n, max(1, grain/max(1, all.atHead)), part) })
	return all, nil
}

// attentionMask reads input 3, which is broadcast to [batch, heads, queries, keys].
func (c *prep) attentionMask(a *attentionArgs) error {
	in := c.opt(3)
	if !in.has() {
		return nil
	}
	want := [4]int{a.q.batch, a.q.n, a.q.rows, a.k.rows}
	if len(in.shape) == 0 || len(in.shape) > 4 {
		return c.errf("a mask of shape %v", in.shape)
	}
	s := append(tensor.Shape(ones(4-len(in.shape))), in.shape...)
	stride := broadcastStrides(s, s)
	for d := range 3 {
		if s[d] != 1 && s[d] != want[d] {
			return c.errf("a mask of shape %v for scores of %v", in.shape, want)
		}
		a.maskAt[d] = stride[d]
	}
	switch a.maskKeys = s[3]; {
	case a.maskKeys == want[3]:
	case c.opset >= 24 && a.maskKeys < want[3]: // the keys behind it are hidden
	case c.opset < 24 && a.maskKeys == 1:
		a.maskKeys = 0
	default:
		return c.errf("a mask of shape %v for scores of %v", in.shape, want)
	}
	a.mask, a.maskBool = in.slot, in.dtype == tensor.Bool
	if a.maskBool || in.dtype == a.q.dtype {
		return nil
	}
	if !castable(in.dtype) || in.dtype == tensor.String {
		return c.refuse("a mask of %v", in.dtype)
	}
	var err error
	if a.mask, err = c.scratchOf(a.q.dtype, in.shape); err != nil {
		return err
	}
	c.convert(a.mask, in)
	return nil
}

// attend goes through the heads one after the other, each on all threads.
func attend[T float](c *prep, a *attentionArgs) error {
	products, err := newAttentionProducts[T](c, a)
	if err != nil {
		return err
	}
	k := c.pl.e.kernel
	size := a.q.rows * a.k.rows
	c.step(func(f *frame) error {
		y := data[T](f, a.y.slot)
		if a.k.rows == 0 || len(y) == 0 {
			clear(y)
			return nil
		}
		if a.nonpad >= 0 {
			for b, n := range data[int64](f, a.nonpad) {
				if n < 0 || n > int64(a.k.rows) {
					return c.errf("nonpad_kv_seqlen %d is %d of %d keys", b, n, a.k.rows)
				}
			}
		}
		scores := data[T](f, a.scores)
		for i := range a.q.batch * a.q.n {
			if err := f.ctx.Err(); err != nil {
				return err
			}
			b, h := i/a.q.n, i%a.q.n
			if err := products.scores(f, scores, b, h); err != nil {
				return err
			}
			var kept []T
			if a.qk >= 0 {
				kept = data[T](f, a.qk)[i*size : (i+1)*size]
			}
			f.parallel(a.q.rows, max(1, grain/8/a.k.rows), func(f *frame, lo, hi int) {
				for r := lo; r < hi; r++ {
					var keep []T
					if kept != nil {
						keep = kept[r*a.k.rows : (r+1)*a.k.rows]
					}
					attentionRow(f, k, a, scores[r*a.k.rows:(r+1)*a.k.rows], keep, b, h, r)
				}
			})
			if err := products.sums(f, y, scores, b, h); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// attentionRow makes weights of one query's scores. What the output of scores is to have is copied to keep, where it is not nil.
func attentionRow[T float](f *frame, k *gemm.Kernel, a *attentionArgs, row, keep []T, batch, head, query int) {
	keepIf := func(mode int) {
		if keep != nil && a.qkMode == mode {
			copy(keep, row)
		}
	}
	keepIf(0)
	if a.cap != 0 {
		for j, v := range row {
			row[j] = T(math.Tanh(float64(v)/a.cap) * a.cap)
		}
	}
	keepIf(1)
	end := len(row)
	nonpad := end
	if a.nonpad >= 0 {
		nonpad = int(data[int64](f, a.nonpad)[batch])
	}
	if a.causal {
		offset := max(a.past, 0)
		if a.past < 0 && a.nonpad >= 0 {
			offset = nonpad - a.q.rows
		}
		end = min(end, query+offset+1)
	}
	end = max(min(end, nonpad), 0)
	hidden := T(math.Inf(-1))
	if a.mask >= 0 {
		at := batch*a.maskAt[0] + head*a.maskAt[1] + query*a.maskAt[2]
		switch {
		case a.maskBool:
			for j, step := 0, min(a.maskKeys, 1); j < end; j++ {
				if step == 1 && j >= a.maskKeys || !data[bool](f, a.mask)[at+j*step] {
					row[j] = hidden
				}
			}
		case a.maskKeys == 0:
			for j := range row[:end] {
				row[j] += data[T](f, a.mask)[at]
			}
		default:
			end = min(end, a.maskKeys)
			for j, v := range data[T](f, a.mask)[at : at+end] {
				row[j] += v
			}
		}
	}
	for j := end; j < len(row); j++ {
		row[j] = hidden
	}
	keepIf(2)
	clear(row[end:])
	if end > 0 {
		attentionWeights(k, row[:end], a.exact)
	}
	keepIf(3)
}

// attentionWeights is the softmax of a row in place; of one that is hidden altogether it is 0.
func attentionWeights[T float](k *gemm.Kernel, row []T, exact bool) {
	top := row[0]
	for _, v := range row {
		top = max(top, v)
	}
	if math.IsInf(float64(top), -1) {
		clear(row)
		return
	}
	if r, ok := any(row).([]float32); ok && !exact {
		softmaxVector(k, r, r, false)
		return
	}
	softmaxLine(row, row, 1, false)
}

// attentionProducts are the two products of a head.
type attentionProducts[T float] struct {
	a      *attentionArgs
	qk, pv *product // of float32
}

func newAttentionProducts[T float](c *prep, a *attentionArgs) (p attentionProducts[T], err error) {
	p.a = a
	if !isFloat32[T]() || a.q.rows == 0 || a.k.rows == 0 || a.v.size == 0 {
		return p, nil
	}
	p.qk, err = c.newProduct(gemm.Product{M: a.q.rows, N: a.k.rows, K: a.q.size, Alpha: float32(a.scale), LDA: a.q.atRow, LDB: a.k.atRow, TransB: true, LDC: a.k.rows}, nil, false)
	if err != nil {
		return p, err
	}
	p.pv, err = c.newProduct(gemm.Product{M: a.q.rows, N: a.v.size, K: a.k.rows, Alpha: 1, LDA: a.k.rows, LDB: a.v.atRow, LDC: a.y.atRow}, nil, false)
	return p, err
}

// scores are those of each query with each key.
func (p *attentionProducts[T]) scores(f *frame, dst []T, batch, head int) error {
	a := p.a
	q, k := data[T](f, a.q.slot)[a.q.from(batch, head):], data[T](f, a.k.slot)[a.k.from(batch, head/a.group):]
	if p.qk != nil {
		return p.qk.run(f, any(q).([]float32), any(k).([]float32), any(dst).([]float32), nil, nil)
	}
	f.parallel(a.q.rows, max(1, grain/max(1, a.k.rows*a.q.size)), func(_ *frame, lo, hi int) {
		for r := lo; r < hi; r++ {
			from := q[r*a.q.atRow:][:a.q.size]
			for j := range a.k.rows {
				sum := 0.0
				for i, v := range k[j*a.k.atRow:][:a.q.size] {
					sum += float64(v) * float64(from[i])
				}
				dst[r*a.k.rows+j] = T(sum * a.scale)
			}
		}
	})
	return nil
}

// sums are the values that each query's weights add up.
func (p *attentionProducts[T]) sums(f *frame, y, weights []T, batch, head int) error {
	a := p.a
	to, v := y[a.y.from(batch, head):], data[T](f, a.v.slot)[a.v.from(batch, head/a.group):]
	if p.pv != nil {
		return p.pv.run(f, any(weights).([]float32), any(v).([]float32), any(to).([]float32), nil, nil)
	}
	f.parallel(a.q.rows, max(1, grain/max(1, a.k.rows*a.v.size)), func(_ *frame, lo, hi int) {
		for r := lo; r < hi; r++ {
			row := to[r*a.y.atRow:][:a.v.size]
			clear(row)
			for j, w := range weights[r*a.k.rows:][:a.k.rows] {
				for i, x := range v[j*a.v.atRow:][:a.v.size] {
					row[i] += w * x
				}
			}
		}
	})
	return nil
}
