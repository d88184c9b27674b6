package native

import (
	"math"
	"slices"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// scaled is a DequantizeLinear or QuantizeLinear with one scale and zero point for all elements, which are constants.
type scaled struct {
	from        int // the value that the node takes
	scale, zero int // values; zero may be -1
	dtype       tensor.DType
	by          float32
	offset      int32
}

// scaledBy reads a node's scale and zero point.
func (p *program) scaledBy(n *pnode) (s scaled, ok bool) {
	if len(n.in) < 2 || n.in[0] < 0 || n.in[1] < 0 || !p.ordinary(n) {
		return s, false
	}
	s = scaled{from: n.in[0], scale: n.in[1], zero: -1, dtype: tensor.Uint8}
	by := p.float32Const(n, 1)
	if len(by) != 1 || !(by[0] >= 0x1p-100 && by[0] <= 0x1p100) { // so that no step of the way there and back is lost
		return s, false
	}
	s.by = by[0]
	if len(n.in) > 2 && n.in[2] >= 0 {
		z := p.consts[n.in[2]]
		if z == nil || !isByte(z.DType()) || z.Shape().Size() != 1 {
			return s, false
		}
		s.zero, s.dtype, s.offset = n.in[2], z.DType(), byteOf(z)
	}
	return s, true
}

// ordinary reports whether a node to bytes or back has none of the attributes that change its arithmetic.
func (p *program) ordinary(n *pnode) bool {
	a := n.node.Attrs
	return a.Int("block_size", 0) == 0 && a.Int("output_dtype", 0) == 0 && a.Int("precision", 0) == 0
}

// dequantizer returns what a value was made of by a DequantizeLinear with a zero point: without one the type is not known here.
func (p *program) dequantizer(v graphView, id int) (s scaled, ok bool) {
	if id < 0 || id >= len(v.maker) || v.maker[id] < 0 {
		return s, false
	}
	n := p.nodes[v.maker[id]]
	if n.node.Domain != graph.OnnxDomain || n.node.OpType != "DequantizeLinear" {
		return s, false
	}
	s, ok = p.scaledBy(n)
	return s, ok && s.zero >= 0
}

// fuseQuantize joins a QuantizeLinear with what computes its input from bytes:
//
//   - a convolution or product whose weights and bias are quantized constants: sums of integers are exact, where those of float32 are rounded, and
//     the result has the bits that QLinearConv and QLinearMatMul have, which is what other engines make of the same nodes;
//   - a maximum pool or another shape of the same bytes, with the scale that they have: the way to float32 and back loses nothing;
//   - a sum of two tensors, perhaps with a Relu: the same float32 arithmetic, a part at a time.
func (p *program) fuseQuantize(v graphView, n *pnode) int {
	to, ok := p.scaledBy(n)
	if !ok || len(n.in) < 3 {
		return -1
	}
	if i := p.single(v, n.in[0], "Conv", "Gemm", "MatMul"); i >= 0 {
		return p.quantizedWeights(v, i, n, to)
	}
	if i := p.single(v, n.in[0], "MaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"); i >= 0 {
		m := p.nodes[i]
		from, ok := p.dequantizer(v, m.in[0])
		if ok && from.dtype == to.dtype && from.by == to.by && from.offset == to.offset && len(m.bodies) == 0 && (m.node.OpType != "MaxPool" || m.opset >= 12) {
			p.nodes[i] = m.clone()
			p.nodes[i].in[0] = from.from
			return i
		}
		return -1
	}
	return p.quantizedSum(v, n, to)
}

// clone returns a node that may be changed.
func (n *pnode) clone() *pnode {
	c := *n
	c.in, c.out = slices.Clone(n.in), slices.Clone(n.out)
	return &c
}

// quantizedWeights makes a node of QLinearConv's inputs from node i and n, which quantizes what i computes.
func (p *program) quantizedWeights(v graphView, i int, n *pnode, to scaled) int {
	m := p.nodes[i]
	from, ok := p.dequantizer(v, m.in[0])
	if !ok || from.dtype != to.dtype || len(m.in) > 3 || len(m.in) < 2 || m.in[1] < 0 {
		return -1
	}
	w := p.dequantized[m.in[1]]
	if w == nil || !p.ordinary(w) || !isByte(p.consts[w.in[0]].DType()) {
		return -1
	}
	shape, columns, axis := p.consts[w.in[0]].Shape(), 0, 0
	attrs, transposed := m.node.Attrs, m.node.Attrs.Bool("transB", false)
	op, prepare, depthwise := "QLinearConv", qlinearConv, false
	switch {
	case m.node.OpType == "Conv" && (len(shape) == 3 || len(shape) == 4):
		groups := int(min(attrs.Int("group", 1), 1<<30))
		depthwise = groups > 1 && shape[1] == 1 && shape[2:].Size() <= depthwiseTaps
		if groups > 1 && shape[0]/groups < leastFilters && !depthwise {
			return -1 // float32 has a kernel for them
		}
		columns = shape[0]
	case m.node.OpType != "Conv" && len(shape) == 2 && attrs.Float("alpha", 1) == 1 && attrs.Float("beta", 1) == 1 && !attrs.Bool("transA", false):
		op, prepare = "QLinearMatMul", quantizedGemm
		if columns, axis = shape[1], 1; transposed {
			columns, axis = shape[0], 0
		}
		if columns == 0 || shape[1-axis] == 0 {
			return -1
		}
	default:
		return -1
	}
	scales := p.float32Const(w, 1)
	along := int(w.node.Attrs.Int("axis", 1))
	if along < 0 {
		along += len(shape)
	}
	if len(p.consts[w.in[1]].Shape()) > 1 || len(scales) != 1 && (len(scales) != columns || along != axis) {
		return -1
	}
	zero := p.zeroOf(w)
	if len(p.consts[zero].Shape()) > 1 {
		return -1 // as DequantizeLinear may have it, beside one scale, and the quantized operators not
	}
	for _, z := range p.consts[zero].Bytes() {
		if z != middle(p.consts[w.in[0]].DType()) {
			return -1
		}
	}
	for _, s := range scales {
		if by := float64(from.by * s / to.by); math.IsNaN(by) || math.IsInf(by, 0) {
			return -1
		}
	}
	bias := -1
	if len(m.in) == 3 && m.in[2] >= 0 {
		if bias = p.quantizedBias(m.in[2], columns, from.by, scales); bias < 0 {
			return -1
		}
		if depthwise && slices.ContainsFunc(tensor.Data[int32](p.consts[bias]), func(b int32) bool { return b <= -depthwiseReach || b >= depthwiseReach }) {
			return -1
		}
	}
	q := m.clone()
	node := *m.node
	node.OpType = op
	q.node, q.prepare = &node, prepare
	q.in = []int{from.from, from.scale, from.zero, w.in[0], w.in[1], zero, to.scale, to.zero}
	if bias >= 0 {
		q.in = append(q.in, bias)
	}
	q.formal = len(q.in)
	p.nodes[i] = q
	return i
}

// zeroOf returns the zero point of a node whose input is a constant, and makes it where it is left out.
func (p *program) zeroOf(n *pnode) int {
	if len(n.in) > 2 && n.in[2] >= 0 {
		return n.in[2]
	}
	return p.addConst("", tensor.Must(tensor.New(p.consts[n.in[0]].DType())))
}

// quantizedBias returns the int32 form of a bias whose steps are those of the sums, or -1.
func (p *program) quantizedBias(id, columns int, x float32, weights []float32) int {
	b := p.dequantized[id]
	if b == nil || !p.ordinary(b) || p.consts[b.in[0]].DType() != tensor.Int32 || !p.consts[b.in[0]].Shape().Equal(tensor.Shape{columns}) {
		return -1
	}
	if len(b.in) > 2 && b.in[2] >= 0 && slices.ContainsFunc(p.consts[b.in[2]].Bytes(), func(z byte) bool { return z != 0 }) {
		return -1
	}
	scales := p.float32Const(b, 1)
	if len(scales) != 1 && len(scales) != columns {
		return -1
	}
	for j := range columns {
		want, have := x*weights[min(j, len(weights)-1)], scales[min(j, len(scales)-1)]
		if d := math.Abs(float64(want - have)); !(d <= 1e-6*math.Abs(float64(want))) {
			return -1
		}
	}
	return b.in[0]
}

// quantizedSum joins two DequantizeLinear, the Add of their results, perhaps a Relu, and n.
func (p *program) quantizedSum(v graphView, n *pnode, to scaled) int {
	at, act := n.in[0], activation{}
	if i := p.single(v, at, "Relu"); i >= 0 {
		at, act = p.nodes[i].in[0], activation{kind: gemm.Relu}
	}
	i := p.single(v, at, "Add")
	if i < 0 || p.nodes[i].opset < 7 || len(p.nodes[i].in) != 2 {
		return -1
	}
	a, ok := p.dequantizer(v, p.nodes[i].in[0])
	b, also := p.dequantizer(v, p.nodes[i].in[1])
	if !ok || !also {
		return -1
	}
	q := p.nodes[i].clone()
	node := *q.node
	node.OpType = "QLinearAdd"
	q.node, q.prepare, q.act = &node, quantizedAdd, act
	q.in = []int{a.from, a.scale, a.zero, b.from, b.scale, b.zero, to.scale, to.zero}
	q.formal = len(q.in)
	p.nodes[i] = q
	return i
}

// quantizedAdd is the sum of two quantized tensors, quantized.
func quantizedAdd(c *prep) error {
	a, b := &c.in[0], &c.in[3]
	sum, err := infer.Broadcast(a.shape, b.shape)
	if err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, c.in[7].dtype, sum)
	if err != nil {
		return err
	}
	k, act := c.pl.e.kernel, c.act
	scaleOf := func(i int) float32 { return tensor.Data[float32](c.in[i].value)[0] }
	aScale, aZero, aSigned := scaleOf(1), byteOf(c.in[2].value), a.dtype == tensor.Int8
	bScale, bZero, bSigned := scaleOf(4), byteOf(c.in[5].value), b.dtype == tensor.Int8
	yScale, yZero := scaleOf(6), byteOf(c.in[7].value)
	low, high := byteLimits(c.in[7].dtype, yZero)
	if act.kind == gemm.Relu {
		low = max(low, 0)
	}
	as, bs := a.slot, b.slot
	if a.shape.Equal(b.shape) {
		part := func(f *frame, lo, hi int) {
			var u, v [quantizeChunk]float32
			x, y, d := f.t[as].Bytes(), f.t[bs].Bytes(), f.t[o].Bytes()
			for at := lo; at < hi; at += quantizeChunk {
				n := min(quantizeChunk, hi-at)
				k.Dequantize(u[:n], x[at:at+n], aZero, aScale, aSigned)
				k.Dequantize(v[:n], y[at:at+n], bZero, bScale, bSigned)
				k.Add(u[:n], u[:n], v[:n])
				k.Quantize(d[at:at+n], u[:n], yScale, low, high, yZero)
			}
		}
		c.do(func(f *frame) { f.parallel(sum.Size(), grain, part) })
		return nil
	}
	var wide [3]int
	for i, s := range []tensor.Shape{a.shape, b.shape, sum} {
		if wide[i], err = c.scratchOf(tensor.Float32, s); err != nil {
			return err
		}
	}
	c.do(func(f *frame) {
		k.Dequantize(data[float32](f, wide[0]), f.t[as].Bytes(), aZero, aScale, aSigned)
		k.Dequantize(data[float32](f, wide[1]), f.t[bs].Bytes(), bZero, bScale, bSigned)
	})
	binaryStep(c, wide[2], sum, &info{dtype: tensor.Float32, shape: a.shape, slot: wide[0]}, &info{dtype: tensor.Float32, shape: b.shape, slot: wide[1]}, c.pl.e.rows[opAdd])
	c.do(func(f *frame) { k.Quantize(f.t[o].Bytes(), data[float32](f, wide[2]), yScale, low, high, yZero) })
	return nil
}
