package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func batchNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, scale := n.Input(0), n.Input(1)
	eps := n.Attrs.Float("epsilon", 1e-5)
	if n.Attrs.Int("training_mode", 0) != 0 {
		return t.call(FuncBatchNormalizationGradient, graph.Attrs{"epsilon": eps}, 3, x, scale, dy[0]), nil
	}
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	if rank < 2 {
		return nil, fmt.Errorf("%w: %s: its input has rank %d", ErrNoGradient, nodeName(n), rank)
	}
	inv := t.rsqrt(t.op("Add", n.Input(4), t.num(float64(eps))))
	dx := make([]string, 3)
	if t.want(n, 0) {
		dx[0] = t.op("Mul", dy[0], t.along(t.op("Mul", scale, inv), 1, rank))
	}
	if t.want(n, 1) {
		xhat := t.op("Mul", t.op("Sub", x, t.along(n.Input(3), 1, rank)), t.along(inv, 1, rank))
		dx[1] = t.reduce("ReduceSum", t.op("Mul", dy[0], xhat), false, axesBut(1, rank)...)
	}
	if t.want(n, 2) {
		dx[2] = t.reduce("ReduceSum", dy[0], false, axesBut(1, rank)...)
	}
	return dx, nil
}

func layerNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, scale, y := n.Input(0), n.Input(1), n.Output(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(n, n.Attrs.Int("axis", -1), rank)
	if err != nil {
		return nil, err
	}
	var axes []int64
	for i := int(axis); i < rank; i++ {
		axes = append(axes, int64(i))
	}
	dx := make([]string, 3)
	gx, xhat := t.normGradient(x, t.op("Mul", dy[0], scale), t.num(float64(n.Attrs.Float("epsilon", 1e-5))), axes...)
	dx[0] = gx
	if t.want(n, 1) {
		dx[1] = t.sumTo(t.op("Mul", dy[0], xhat), y, scale, x)
	}
	if t.want(n, 2) {
		dx[2] = t.sumTo(dy[0], y, n.Input(2), x)
	}
	return dx, nil
}

func instanceNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	g := t.op("Mul", dy[0], t.along(n.Input(1), 1, rank))
	dx := make([]string, 3)
	gx, xhat := t.normGradient(x, g, t.num(float64(n.Attrs.Float("epsilon", 1e-5))), spatialAxes(rank)...)
	dx[0] = gx
	if t.want(n, 1) {
		dx[1] = t.reduce("ReduceSum", t.op("Mul", dy[0], xhat), false, axesBut(1, rank)...)
	}
	if t.want(n, 2) {
		dx[2] = t.reduce("ReduceSum", dy[0], false, axesBut(1, rank)...)
	}
	return dx, nil
}

// groupNormalizationGradient works on x as [N, groups, the rest]; scale and bias are one a channel, and one a group
// before opset 21.
func groupNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, scale := n.Input(0), n.Input(1)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	groups := n.Attrs.Int("num_groups", 0)
	if groups < 1 {
		return nil, fmt.Errorf("%w: %s: it has no num_groups", ErrNoGradient, nodeName(n))
	}
	grouped := t.ints(0, groups, -1)
	eps := t.num(float64(n.Attrs.Float("epsilon", 1e-5)))
	xg := t.op("Reshape", x, grouped)
	dx := make([]string, 3)
	if t.opset < 21 {
		g := t.op("Reshape", dy[0], grouped)
		gx, xhat := t.normGradient(xg, t.op("Mul", g, t.along(scale, 1, 3)), eps, 2)
		dx[0] = t.reshapeLike(gx, x)
		dx[1] = t.reduce("ReduceSum", t.op("Mul", g, xhat), false, 0, 2)
		dx[2] = t.reduce("ReduceSum", g, false, 0, 2)
		return dx, nil
	}
	g := t.op("Mul", dy[0], t.along(scale, 1, rank))
	gx, xhat := t.normGradient(xg, t.op("Reshape", g, grouped), eps, 2)
	dx[0] = t.reshapeLike(gx, x)
	dx[1] = t.reduce("ReduceSum", t.op("Mul", dy[0], t.reshapeLike(xhat, x)), false, axesBut(1, rank)...)
	dx[2] = t.reduce("ReduceSum", dy[0], false, axesBut(1, rank)...)
	return dx, nil
}

func rmsNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, scale := n.Input(0), n.Input(1)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(n, n.Attrs.Int("axis", -1), rank)
	if err != nil {
		return nil, err
	}
	var axes []int64
	for i := axis; i < int64(rank); i++ {
		axes = append(axes, i)
	}
	square := t.reduce("ReduceMean", t.square(x), true, axes...)
	inv := t.rsqrt(t.op("Add", square, t.num(float64(n.Attrs.Float("epsilon", 1e-5)))))
	xhat, g := t.op("Mul", x, inv), t.op("Mul", dy[0], scale)
	along := t.op("Mul", xhat, t.reduce("ReduceMean", t.op("Mul", g, xhat), true, axes...))
	dx := []string{t.op("Mul", t.op("Sub", g, along), inv), ""}
	if t.want(n, 1) {
		dx[1] = t.sumTo(t.op("Mul", dy[0], xhat), n.Output(0), scale, x)
	}
	return dx, nil
}

// meanVarianceNormalizationGradient leaves out the 1e-9 that the operator adds to the deviation.
func meanVarianceNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	rank, err := t.rank(n, n.Input(0))
	if err != nil {
		return nil, err
	}
	var axes []int64
	for _, a := range n.Attrs.Ints("axes", []int64{0, 2, 3}) {
		axis, err := axisOf(n, a, rank)
		if err != nil {
			return nil, err
		}
		axes = append(axes, axis)
	}
	dx, _ := t.normGradient(n.Input(0), dy[0], t.num(0), axes...)
	return one(dx)
}

// lpNormalizationGradient is that of x over its norm along one axis.
func lpNormalizationGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, y, axis := n.Input(0), n.Output(0), n.Attrs.Int("axis", -1)
	along := t.reduce("ReduceSum", t.op("Mul", dy[0], y), true, axis)
	norm, turn := t.reduce("ReduceL2", x, true, axis), y
	if n.Attrs.Int("p", 2) == 1 {
		norm, turn = t.reduce("ReduceL1", x, true, axis), t.op("Sign", x)
	}
	return one(t.op("Div", t.op("Sub", dy[0], t.op("Mul", turn, along)), norm))
}

// lrnGradient is that of x * s^-beta, where s is bias + alpha/size times the sum of the squares of the channels near by. That sum is a product with
// a matrix of ones in a band.
func lrnGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	shape := t.shape(x)
	if len(shape) < 2 || !shape[1].Known() || shape[1].Size > 1<<12 {
		return nil, fmt.Errorf("%w: %s: how many channels it has is not known, or too much", ErrNoGradient, nodeName(n))
	}
	channels, size := int(shape[1].Size), int(n.Attrs.Int("size", 1))
	band := make([]float64, channels*channels)
	for c := range channels {
		for k := max(0, c-(size-1)/2); k <= min(channels-1, c+size/2); k++ {
			band[c*channels+k] = 1
		}
	}
	nearby := t.constant(floatsOf(t.dtype, band, channels, channels))
	flat := t.op("Reshape", x, t.ints(0, 0, -1))
	g := t.op("Reshape", dy[0], t.ints(0, 0, -1))
	ratio, beta := float64(n.Attrs.Float("alpha", 1e-4))/float64(size), float64(n.Attrs.Float("beta", 0.75))
	s := t.op("Add", t.num(float64(n.Attrs.Float("bias", 1))), t.op("Mul", t.num(ratio), t.op("MatMul", nearby, t.square(flat))))
	scaled := t.op("Mul", g, t.op("Pow", s, t.num(-beta)))
	back := t.op("MatMul", t.transpose(nearby, 1, 0), t.op("Div", t.op("Mul", scaled, flat), s))
	rest := t.op("Mul", t.op("Mul", t.num(2*ratio*beta), flat), back)
	return one(t.reshapeLike(t.op("Sub", scaled, rest), x))
}

// floatsOf returns a constant of a floating-point type.
func floatsOf(d tensor.DType, v []float64, shape ...int) *tensor.Tensor {
	c := tensor.Must(tensor.New(d, shape...))
	size := d.Size()
	for i, x := range v {
		copy(c.Bytes()[i*size:], scalarOf(d, x).Bytes())
	}
	return c
}
