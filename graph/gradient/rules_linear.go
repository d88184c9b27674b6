package gradient

import (
	"github.com/millrace/millrace/graph"
)

// gemm is alpha*A'B', A' and B' being transposed where asked.
func (t *tape) gemm(a, b string, transA, transB bool, alpha float32) string {
	attrs := graph.Attrs{}
	if transA {
		attrs["transA"] = int64(1)
	}
	if transB {
		attrs["transB"] = int64(1)
	}
	if alpha != 1 {
		attrs["alpha"] = alpha
	}
	return t.with(attrs, "Gemm", a, b)
}

func gemmGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	a, b, g := n.Input(0), n.Input(1), dy[0]
	ta, tb := n.Attrs.Int("transA", 0) != 0, n.Attrs.Int("transB", 0) != 0
	alpha, beta := n.Attrs.Float("alpha", 1), n.Attrs.Float("beta", 1)
	dx := make([]string, 3)
	if t.want(n, 0) {
		if ta {
			dx[0] = t.gemm(b, g, tb, true, alpha)
		} else {
			dx[0] = t.gemm(g, b, false, !tb, alpha)
		}
	}
	if t.want(n, 1) {
		if tb {
			dx[1] = t.gemm(g, a, true, ta, alpha)
		} else {
			dx[1] = t.gemm(a, g, !ta, false, alpha)
		}
	}
	if t.want(n, 2) {
		dx[2] = t.sumTo(g, n.Output(0), n.Input(2))
		if beta != 1 {
			dx[2] = t.op("Mul", dx[2], t.num(float64(beta)))
		}
	}
	return dx, nil
}

// swapped transposes the last two dimensions of a value of that rank.
func (t *tape) swapped(x string, rank int) string {
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
	return t.transpose(x, perm...)
}

func matMulGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	a, b, g := n.Input(0), n.Input(1), dy[0]
	ra, err := t.rank(n, a)
	if err != nil {
		return nil, err
	}
	rb, err := t.rank(n, b)
	if err != nil {
		return nil, err
	}
	dx := make([]string, 2)
	switch {
	case ra == 2 && rb == 2:
		if t.want(n, 0) {
			dx[0] = t.gemm(g, b, false, true, 1)
		}
		if t.want(n, 1) {
			dx[1] = t.gemm(a, g, true, false, 1)
		}
		return dx, nil
	case ra == 1 || rb == 1:
		return t.vectorGradient(n, g, ra, rb), nil
	}
	if t.want(n, 0) {
		dx[0] = t.sumToBatch(t.op("MatMul", g, t.swapped(b, rb)), a, b, ra, rb)
	}
	if t.want(n, 1) {
		if rb == 2 { // every matrix of a meets the same b: one product over all rows
			rows := func(v string) string { return t.op("Reshape", v, t.concat(t.ints(-1), t.dims(v, ra-1, ra))) }
			dx[1] = t.gemm(rows(a), t.op("Reshape", g, t.concat(t.ints(-1), t.dims(b, 1, 2))), true, false, 1)
		} else {
			dx[1] = t.sumToBatch(t.op("MatMul", t.swapped(a, ra), g), b, a, rb, ra)
		}
	}
	return dx, nil
}

// sumToBatch sums a product's gradient over the batch dimensions along which x was broadcast to meet other.
func (t *tape) sumToBatch(g, x, other string, rx, ro int) string {
	sx, so := t.shape(x), t.shape(other)
	var axes []int64
	lead := max(ro-rx, 0)
	for i := range lead {
		axes = append(axes, int64(i))
	}
	for i := range rx - 2 {
		k := ro - rx + i // the same dimension of other
		if k < 0 {
			continue
		}
		dx, do := sx[i], so[k]
		switch {
		case dx.Known() && dx.Size == 1:
			if !do.Known() || do.Size != 1 {
				axes = append(axes, int64(lead+i))
			}
		case dx.Known(), dx.Symbol != "" && dx.Symbol == do.Symbol, do.Known() && do.Size == 1:
		default:
			return t.call(FuncSumToShape, nil, 1, g, t.op("Shape", x))[0]
		}
	}
	if len(axes) == 0 {
		return g
	}
	g = t.reduce("ReduceSum", g, true, axes...)
	if lead > 0 {
		g = t.op("Squeeze", g, t.ints(axes[:lead]...))
	}
	return g
}

// vectorGradient is the gradient of a product in which an operand is a vector: both become matrices first.
func (t *tape) vectorGradient(n *graph.Node, g string, ra, rb int) []string {
	a, b := n.Input(0), n.Input(1)
	am, bm := a, b
	if rb == 1 {
		bm, g = t.op("Unsqueeze", b, t.ints(1)), t.op("Unsqueeze", g, t.ints(-1))
	}
	if ra == 1 {
		am, g = t.op("Unsqueeze", a, t.ints(0)), t.op("Unsqueeze", g, t.ints(-2))
	}
	ra, rb = max(ra, 2), max(rb, 2)
	dx := make([]string, 2)
	for i, in := range n.Inputs {
		if !t.want(n, i) {
			continue
		}
		if i == 0 {
			dx[0] = t.op("MatMul", g, t.swapped(bm, rb))
		} else {
			dx[1] = t.op("MatMul", t.swapped(am, ra), g)
		}
		// What the vector was broadcast over is summed; its own dimension of length 1 goes with it.
		if mine, other := []int{ra, rb}[i], []int{rb, ra}[i]; other > mine {
			axes := make([]int64, other-mine)
			for k := range axes {
				axes[k] = int64(k)
			}
			dx[i] = t.reduce("ReduceSum", dx[i], false, axes...)
		}
		dx[i] = t.reshapeLike(dx[i], in)
	}
	return dx
}
