package native

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// An equation is what Einsum computes: a label for each dimension of each operand, and those of the result. Labels are
// letters; the dimensions of an ellipsis, counted from the right, are the negative numbers.
type equation struct {
	terms [][]rune
	out   []rune
	size  map[rune]int
}

// parseEquation reads an equation for operands of these shapes.
func (c *prep) parseEquation() (*equation, error) {
	text := strings.Map(func(r rune) rune {
		if r == ' ' {
			return -1
		}
		return r
	}, c.attrs.String("equation", ""))
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.in) {
		return nil, c.errf("equation %q has %d terms for %d inputs", text, len(terms), len(c.in))
	}
	e := &equation{size: map[rune]int{}}
	count := map[rune]int{}
	dots := 0 // dimensions of the longest ellipsis
	for i, t := range terms {
		labels, n, err := c.labels(text, t, len(c.in[i].shape))
		if err != nil {
			return nil, err
		}
		dots = max(dots, n)
		e.terms = append(e.terms, labels)
		for k, l := range labels {
			count[l]++
			d := c.in[i].shape[k]
			if old, ok := e.size[l]; !ok || old == 1 {
				e.size[l] = d
			} else if d != old && d != 1 {
				return nil, c.errf("%s is both %d and %d in equation %q", labelName(l), old, d, text)
			}
		}
	}
	if explicit {
		var err error
		if e.out, _, err = c.labels(text, right, -1-dots); err != nil {
			return nil, err
		}
	} else {
		for i := dots; i > 0; i-- {
			e.out = append(e.out, rune(-i))
		}
		var once []rune
		for l, n := range count {
			if n == 1 && l > 0 {
				once = append(once, l)
			}
		}
		slices.Sort(once)
		e.out = append(e.out, once...)
	}
	for i, l := range e.out {
		if _, ok := e.size[l]; !ok || slices.Contains(e.out[:i], l) {
			return nil, c.errf("%s on the right of equation %q", labelName(l), text)
		}
	}
	return e, nil
}

func labelName(l rune) string {
	if l < 0 {
		return "the ellipsis"
	}
	return string(l)
}

// labels reads one side's term. rank is the operand's; of the result it is -1 minus the dimensions of the ellipsis.
func (c *prep) labels(text, term string, rank int) (labels []rune, dots int, err error) {
	before, after, ellipsis := strings.Cut(term, "...")
	for _, r := range before + after {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return nil, 0, c.errf("%q in equation %q is no letter", r, text)
		}
	}
	dots = -1 - rank
	if rank >= 0 {
		dots = rank - len(before) - len(after)
		if dots < 0 || dots > 0 && !ellipsis {
			return nil, 0, c.errf("term %q of equation %q does not fit rank %d", term, text, rank)
		}
	}
	labels = []rune(before)
	if ellipsis {
		for i := dots; i > 0; i-- {
			labels = append(labels, rune(-i))
		}
	}
	return append(labels, []rune(after)...), dots, nil
}

// einsum sums products over the labels that the result does not have.
var einsum = viaFloat32(func(c *prep) error {
	if len(c.in) == 0 {
		return c.errf("no inputs")
	}
	if err := c.need(len(c.in)); err != nil {
		return err
	}
	if err := c.sameType(); err != nil {
		return err
	}
	e, err := c.parseEquation()
	if err != nil {
		return err
	}
	if len(e.size) > maxRank {
		return c.refuse("%d labels", len(e.size))
	}
	return byReal(c, c.in[0].dtype, einsumOf[float32], einsumOf[float64], einsumOf[int8], einsumOf[int16], einsumOf[int32], einsumOf[int64],
		einsumOf[uint8], einsumOf[uint16], einsumOf[uint32], einsumOf[uint64], e)
})

// An einTerm is an operand, or the product of the first ones: labels that differ from each other, with their strides.
type einTerm struct {
	labels []rune
	stride []int
	slot   int
	in     *info // of an operand that has not been changed
}

// term gives each label of operand i one stride: a label that comes twice goes along the diagonal, and a dimension of
// 1 is repeated.
func (e *equation) term(c *prep, i int) (einTerm, error) {
	in := &c.in[i]
	t := einTerm{slot: in.slot, in: in}
	own := map[rune]int{}
	for k, st := range contiguous(in.shape) {
		l, d := e.terms[i][k], in.shape[k]
		if d == 1 && e.size[l] != 1 {
			st = 0
		}
		if old, twice := own[l]; twice {
			if old != d {
				return t, c.errf("%s is both %d and %d in one operand", labelName(l), old, d)
			}
			t.stride[slices.Index(t.labels, l)] += st
			continue
		}
		own[l] = d
		t.labels, t.stride = append(t.labels, l), append(t.stride, st)
	}
	return t, nil
}

// shape returns the sizes of labels.
func (e *equation) shape(labels []rune) tensor.Shape {
	s := make(tensor.Shape, len(labels))
	for i, l := range labels {
		s[i] = e.size[l]
	}
	return s
}

func einsumOf[T real](c *prep, e *equation) error {
	o, err := c.out(0, tensor.DTypeOf[T](), e.shape(e.out))
	if err != nil {
		return err
	}
	acc, err := e.term(c, 0)
	if err != nil {
		return err
	}
	for i := 1; i < len(e.terms); i++ {
		next, err := e.term(c, i)
		if err != nil {
			return err
		}
		// What the result or a later operand has is kept.
		keep := map[rune]bool{}
		for _, later := range append([][]rune{e.out}, e.terms[i+1:]...) {
			for _, l := range later {
				keep[l] = true
			}
		}
		if acc, err = contract[T](c, e, acc, next, keep, o, i == len(e.terms)-1); err != nil {
			return err
		}
	}
	if acc.slot == o {
		return nil
	}
	return gatherTerm[T](c, e, acc, e.out, o)
}

// contract multiplies two terms and sums over the labels that need not be kept. The last product goes into slot o where its
// labels come in the result's order.
func contract[T real](c *prep, e *equation, a, b einTerm, keep map[rune]bool, o int, last bool) (einTerm, error) {
	has := func(t einTerm, l rune) bool { return slices.Contains(t.labels, l) }
	var batch, rows, cols, inner []rune
	sorted := slices.Concat(e.out, a.labels, b.labels)
	for i, l := range sorted {
		if slices.Contains(sorted[:i], l) {
			continue
		}
		switch inA, inB := has(a, l), has(b, l); {
		case inA && inB && keep[l]:
			batch = append(batch, l)
		case inA && inB:
			inner = append(inner, l)
		case inA && keep[l]:
			rows = append(rows, l)
		case inB && keep[l]:
			cols = append(cols, l)
		}
	}
	if last && slices.Equal(slices.Concat(batch, cols, rows), e.out) {
		a, b, rows, cols = b, a, cols, rows
	}
	labels := slices.Concat(batch, rows, cols)
	x, err := packTerm[T](c, e, a, slices.Concat(batch, rows, inner))
	if err != nil {
		return einTerm{}, err
	}
	// The product reads its right side in either order.
	transposed := e.dense(b, slices.Concat(batch, cols, inner))
	y := b.slot
	if !transposed {
		if y, err = packTerm[T](c, e, b, slices.Concat(batch, inner, cols)); err != nil {
			return einTerm{}, err
		}
	}
	if !last || !slices.Equal(labels, e.out) {
		if o, err = c.scratchOf(tensor.DTypeOf[T](), e.shape(labels)); err != nil {
			return einTerm{}, err
		}
	}
	var weight *info
	if y == b.slot && len(batch) == 0 {
		weight = b.in
	}
	m := einMatrix{n: e.shape(batch).Size(), rows: e.shape(rows).Size(), cols: e.shape(cols).Size(), inner: e.shape(inner).Size(), transposed: transposed}
	if err := multiplyTerms[T](c, m, o, x, y, weight); err != nil {
		return einTerm{}, err
	}
	return einTerm{labels: labels, stride: contiguous(e.shape(labels)), slot: o}, nil
}

// einMatrix is a batch of n products of matrices.
type einMatrix struct {
	n, rows, cols, inner int
	transposed           bool
}

func multiplyTerms[T real](c *prep, m einMatrix, o, x, y int, weight *info) error {
	if m.n*m.rows*m.cols*m.inner == 0 {
		c.do(func(f *frame) { clear(data[T](f, o)) })
		return nil
	}
	left, right, out := m.rows*m.inner, m.inner*m.cols, m.rows*m.cols
	br, bc := m.cols, 1
	if m.transposed {
		br, bc = 1, m.inner
	}
	if !isFloat32[T]() {
		c.do(func(f *frame) {
			d, a, b := data[T](f, o), data[T](f, x), data[T](f, y)
			for i := range m.n {
				multiply(d[i*out:(i+1)*out], a[i*left:], b[i*right:], m.rows, m.cols, m.inner, m.inner, 1, br, bc)
			}
		})
		return nil
	}
	pr, err := c.newProduct(gemm.Product{M: m.rows, N: m.cols, K: m.inner, Alpha: 1, LDA: m.inner, LDB: max(br, bc), TransB: m.transposed, LDC: m.cols}, weight, false)
	if err != nil {
		return err
	}
	c.step(func(f *frame) error {
		d, a, b := data[float32](f, o), data[float32](f, x), data[float32](f, y)
		for i := range m.n {
			if err := pr.run(f, a[i*left:], b[i*right:], d[i*out:], nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// dense reports whether a term's memory is that of a dense tensor with its labels in this order.
func (e *equation) dense(t einTerm, order []rune) bool {
	if len(t.labels) != len(order) {
		return false
	}
	st := contiguous(e.shape(order))
	for i, l := range order {
		if k := slices.Index(t.labels, l); k < 0 || t.stride[k] != st[i] && e.size[l] != 1 {
			return false
		}
	}
	return true
}

// packTerm returns a slot that has a term as a dense tensor with its labels in this order; labels that are not in it are summed.
func packTerm[T real](c *prep, e *equation, t einTerm, order []rune) (int, error) {
	if e.dense(t, order) {
		return t.slot, nil
	}
	s, err := c.scratchOf(tensor.DTypeOf[T](), e.shape(order))
	if err != nil {
		return 0, err
	}
	return s, gatherTerm[T](c, e, t, order, s)
}

// gatherTerm is packTerm into slot o.
func gatherTerm[T real](c *prep, e *equation, t einTerm, order []rune, o int) error {
	kept := make([]int, len(order)) // strides
	for i, l := range order {
		if k := slices.Index(t.labels, l); k >= 0 {
			kept[i] = t.stride[k]
		}
	}
	var summed []rune
	var inner []int
	for i, l := range t.labels {
		if !slices.Contains(order, l) {
			summed, inner = append(summed, l), append(inner, t.stride[i])
		}
	}
	shape := e.shape(order)
	if len(summed) == 0 {
		return strided(c, tensor.DTypeOf[T](), shape, o, contiguous(shape), t.slot, 0, kept)
	}
	w, in := newWalk(shape, contiguous(shape), kept), newWalk(e.shape(summed), inner)
	s := t.slot
	part := func(f *frame, lo, hi int) {
		d, x := data[T](f, o), data[T](f, s)
		for it := w.from(lo, hi); it.more(); it.next() {
			po, pi := it.at[0], it.at[1]
			for range w.inner {
				d[po] = sumWalk(in, x[pi:])
				po, pi = po+w.step[0], pi+w.step[1]
			}
		}
	}
	cost := max(1, w.inner*in.outer*in.inner)
	c.do(func(f *frame) { f.parallel(w.outer, max(1, grain/cost), part) })
	return nil
}

// sumWalk adds up the elements of a walk: 32-bit numbers in 64 bits, so that the error does not grow.
func sumWalk[T real](w *walk, x []T) T {
	var whole T
	sum := 0.0
	wide := isFloat32[T]()
	for it := w.from(0, w.outer); it.more(); it.next() {
		at := it.at[0]
		for range w.inner {
			if wide {
				sum += float64(x[at])
			} else {
				whole += x[at]
			}
			at += w.step[0]
		}
	}
	if wide {
		return T(sum)
	}
	return whole
}
