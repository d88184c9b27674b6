package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
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
