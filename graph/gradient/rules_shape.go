package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func reshapeGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.reshapeLike(dy[0], n.Input(0)))
}

func transposeGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	perm := n.Attrs.Ints("perm", nil)
	if len(perm) == 0 {
		return one(t.op("Transpose", dy[0]))
	}
	inverse := make([]int64, len(perm))
	for i, p := range perm {
		if p < 0 || p >= int64(len(perm)) {
			return nil, fmt.Errorf("%w: %s: perm %v is no permutation", ErrNoGradient, nodeName(n), perm)
		}
		inverse[p] = int64(i)
	}
	return one(t.transpose(dy[0], inverse...))
}

func concatGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	if len(n.Inputs) == 1 {
		return one(dy[0])
	}
	axis := n.Attrs.Int("axis", 0)
	sizes := make([]string, len(n.Inputs))
	for i, in := range n.Inputs {
		rank, err := t.rank(n, in)
		if err != nil {
			return nil, err
		}
		a, err := axisOf(n, axis, rank)
		if err != nil {
			return nil, err
		}
		sizes[i] = t.dims(in, int(a), int(a)+1)
	}
	split := t.concatSizes(sizes)
	return t.node(graph.OnnxDomain, "Split", graph.Attrs{"axis": axis}, len(n.Inputs), dy[0], split), nil
}

// concatSizes joins vectors of one element, into a constant where all are.
func (t *tape) concatSizes(sizes []string) string {
	var v []int64
	for _, s := range sizes {
		c, ok := t.ownInts(s)
		if !ok {
			return t.concat(sizes...)
		}
		v = append(v, c...)
	}
	return t.ints(v...)
}

// ownInts returns the elements of a constant that this package made.
func (t *tape) ownInts(name string) ([]int64, bool) {
	for _, in := range t.inits {
		if in.Name == name && in.Tensor.DType() == tensor.Int64 {
			return tensor.Data[int64](in.Tensor), true
		}
	}
	return nil, false
}

func splitGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	parts := make([]string, len(n.Outputs))
	for i, g := range dy {
		if parts[i] = g; g == "" {
			if n.Outputs[i] == "" {
				n.Outputs[i] = t.name("split")
			}
			parts[i] = t.with(graph.Attrs{"value": zeroOf(t.dtype)}, "ConstantOfShape", t.op("Shape", n.Outputs[i]))
		}
	}
	return one(t.with(graph.Attrs{"axis": n.Attrs.Int("axis", 0)}, "Concat", parts...))
}

func expandGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.sumTo(dy[0], n.Output(0), n.Input(0)))
}

// tileGradient sums over the repetitions: each dimension is split into repetition and element.
func tileGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	rank, err := t.rank(n, n.Input(0))
	if err != nil {
		return nil, err
	}
	if rank == 0 {
		return one(dy[0])
	}
	shape := t.shapeOf(n.Input(0))
	parts, axes := make([]string, 0, 2*rank), make([]int64, rank)
	for i := range rank {
		parts = append(parts, t.section(n.Input(1), int64(i), int64(i+1)), t.section(shape, int64(i), int64(i+1)))
		axes[i] = int64(2 * i)
	}
	return one(t.reduce("ReduceSum", t.reshape(dy[0], t.concat(parts...)), false, axes...))
}

func cumSumGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	attrs := graph.Attrs{"exclusive": n.Attrs.Int("exclusive", 0), "reverse": 1 - n.Attrs.Int("reverse", 0)}
	return one(t.with(attrs, "CumSum", dy[0], n.Input(1)))
}

func depthToSpaceGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	block := n.Attrs.Int("blocksize", 1)
	back := t.with(graph.Attrs{"blocksize": block}, "SpaceToDepth", dy[0])
	if n.Attrs.String("mode", "DCR") == "DCR" {
		return one(back)
	}
	// CRD has the channel outermost, DCR the place in the block: swap them.
	split := t.op("Reshape", back, t.concat(t.ints(0, block*block, -1), t.section(t.op("Shape", back), 2, toEnd)))
	return one(t.reshapeLike(t.transpose(split, 0, 2, 1, 3, 4), n.Input(0)))
}

func spaceToDepthGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.with(graph.Attrs{"blocksize": n.Attrs.Int("blocksize", 1), "mode": "DCR"}, "DepthToSpace", dy[0]))
}
