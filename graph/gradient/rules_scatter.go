package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
)

// zerosLike is 0 in the shape of x, onesLike 1.
func (t *tape) zerosLike(x string) string {
	return t.with(graph.Attrs{"value": zeroOf(t.dtype)}, "ConstantOfShape", t.shapeOf(x))
}

func (t *tape) onesLike(x string) string {
	return t.with(graph.Attrs{"value": vectorOf(t.dtype, 1)}, "ConstantOfShape", t.shapeOf(x))
}

// addAt adds values at indices of a value of zeros shaped as x.
func (t *tape) addAt(n *graph.Node, op, x, indices, values string) string {
	return t.with(scatterAttrs(n, "add"), op, t.zerosLike(x), indices, values)
}

func scatterAttrs(n *graph.Node, reduction string) graph.Attrs {
	attrs := graph.Attrs{}
	if axis, ok := n.Attrs["axis"]; ok {
		attrs["axis"] = axis
	}
	if reduction != "none" {
		attrs["reduction"] = reduction
	}
	return attrs
}

func gatherElementsGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.addAt(n, "ScatterElements", n.Input(0), n.Input(1), dy[0]))
}

func gatherNDGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	indices, batch := n.Input(1), int(n.Attrs.Int("batch_dims", 0))
	if batch > 0 {
		rank, err := t.rank(n, indices)
		if err != nil {
			return nil, err
		}
		// Every index gets the numbers of the examples that it belongs to in front.
		lead := t.dims(indices, 0, rank-1)
		for axis := batch - 1; axis >= 0; axis-- {
			number := t.along(t.countAlong(n.Input(1), axis), axis, rank)
			number = t.op("Expand", number, t.concat(lead, t.ints(1)))
			indices = t.with(graph.Attrs{"axis": int64(-1)}, "Concat", number, indices)
		}
	}
	return one(t.addAt(n, "ScatterND", n.Input(0), indices, dy[0]))
}

// topKGradient adds each gradient where its element came from.
func topKGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	for len(n.Outputs) < 2 {
		n.Outputs = append(n.Outputs, "")
	}
	if n.Outputs[1] == "" {
		n.Outputs[1] = t.name("indices")
	}
	attrs := graph.Attrs{"axis": n.Attrs.Int("axis", -1), "reduction": "add"}
	return one(t.with(attrs, "ScatterElements", t.zerosLike(x), n.Outputs[1], dy[0]))
}

// scatterGradient is that of ScatterElements and ScatterND, take being the operator that reads what they write. Where
// several elements are the extreme they share the gradient; a product's gradient is that over its own factor.
func scatterGradient(op, take string) func(*tape, *graph.Node, []string) ([]string, error) {
	return func(t *tape, n *graph.Node, dy []string) ([]string, error) {
		data, indices, updates, y := n.Input(0), n.Input(1), n.Input(2), n.Output(0)
		at := func(v string) string { return t.with(scatterAttrs(n, "none"), take, v, indices) }
		dx := make([]string, 3)
		switch how := n.Attrs.String("reduction", "none"); how {
		case "none":
			dx[0] = t.with(scatterAttrs(n, "none"), op, dy[0], indices, t.zerosLike(updates))
			dx[2] = at(dy[0])
		case "add":
			dx[0], dx[2] = dy[0], at(dy[0])
		case "mul":
			dx[0] = t.op("Mul", dy[0], t.with(scatterAttrs(n, "mul"), op, t.onesLike(data), indices, updates))
			dx[2] = t.op("Div", at(t.op("Mul", dy[0], y)), updates)
		case "max", "min":
			kept, given := t.mask(t.op("Equal", data, y)), t.mask(t.op("Equal", updates, at(y)))
			share := t.op("Div", dy[0], t.with(scatterAttrs(n, "add"), op, kept, indices, given))
			dx[0], dx[2] = t.op("Mul", share, kept), t.op("Mul", at(share), given)
		default:
			return nil, fmt.Errorf("%w: %s: with reduction %q", ErrNoGradient, nodeName(n), how)
		}
		return dx, nil
	}
}

// compressGradient puts the kept elements back at their places.
func compressGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	kept := t.op("Reshape", t.op("NonZero", n.Input(1)), t.ints(-1))
	if !n.Attrs.Has("axis") {
		attrs := graph.Attrs{"axis": int64(0), "reduction": "add"}
		flat := t.op("Reshape", t.zerosLike(x), t.ints(-1))
		return one(t.reshapeLike(t.with(attrs, "ScatterElements", flat, kept, dy[0]), x))
	}
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(n, n.Attrs.Int("axis", 0), rank)
	if err != nil {
		return nil, err
	}
	return one(t.takeAlong(dy[0], kept, x, int(axis), rank))
}

func reverseSequenceGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	return one(t.with(n.Attrs.Clone(), "ReverseSequence", dy[0], n.Input(1)))
}

func triluGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	in := []string{dy[0]}
	if k := n.Input(1); k != "" {
		in = append(in, k)
	}
	return one(t.with(n.Attrs.Clone(), "Trilu", in...))
}

// maxUnpoolGradient takes the gradient from where the elements went: the indices are those of the flat output.
func maxUnpoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	if n.Input(2) != "" {
		return nil, fmt.Errorf("%w: %s: with an output shape", ErrNoGradient, nodeName(n))
	}
	return one(t.op("Gather", t.op("Reshape", dy[0], t.ints(-1)), n.Input(1)))
}

// oneHotGradient adds up what each of the two values got.
func oneHotGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	values := t.concat(t.constant(vectorOf(t.dtype, 0)), t.constant(vectorOf(t.dtype, 1)))
	hot := t.with(n.Attrs.Clone(), "OneHot", n.Input(0), n.Input(1), values)
	sum := func(v string) string { return t.op("Unsqueeze", t.reduce("ReduceSum", v, false), t.ints(0)) }
	on := sum(t.op("Mul", dy[0], hot))
	return []string{"", "", t.concat(t.op("Sub", sum(dy[0]), on), on)}, nil
}
