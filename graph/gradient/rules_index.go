package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// takeGradient is the gradient of taking the elements with these indices (a vector) along one axis of a value shaped
// as x: each gradient is added at its index.
func (t *tape) takeGradient(dy, indices, x string, axis, rank int) string {
	before, after := t.product(x, 0, axis), t.product(x, axis+1, rank)
	grouped := t.op("Reshape", dy, t.concatSizes([]string{before, t.ints(-1), after}))
	sum := t.call(FuncGatherGradient, nil, 1, grouped, indices, t.dims(x, axis, axis+1))[0]
	return t.reshapeLike(sum, x)
}

func gatherGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(n, n.Attrs.Int("axis", 0), rank)
	if err != nil {
		return nil, err
	}
	return one(t.takeGradient(dy[0], t.op("Reshape", n.Input(1), t.ints(-1)), x, int(axis), rank))
}

// count returns 0, 1, 2 ... up to the length of x's axis.
func (t *tape) countAlong(x string, axis int) string {
	if d := t.shape(x)[axis]; d.Known() && d.Size <= 1<<16 {
		v := make([]int64, d.Size)
		for i := range v {
			v[i] = int64(i)
		}
		return t.ints(v...)
	}
	limit := t.op("Squeeze", t.dims(x, axis, axis+1))
	return t.op("Range", t.constant(tensor.Scalar[int64](0)), limit, t.constant(tensor.Scalar[int64](1)))
}

// sliceGradient puts the gradient back where it was cut out: by padding where all steps are 1, else by index.
func sliceGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	starts, ok1 := t.constInts(n.Input(1))
	ends, ok2 := t.constInts(n.Input(2))
	axes, ok3 := t.constInts(n.Input(3))
	steps, ok4 := t.constInts(n.Input(4))
	if n.Input(3) == "" {
		ok3 = true
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if n.Input(4) == "" {
		ok4 = true
		for range starts {
			steps = append(steps, 1)
		}
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || len(starts) != len(axes) || len(ends) != len(axes) || len(steps) != len(axes) {
		return nil, fmt.Errorf("%w: %s: its starts, ends, axes and steps are not constant", ErrNoGradient, nodeName(n))
	}
	g, shape := dy[0], t.shape(x)
	pads := make([]int64, 2*rank)
	var byIndex []int
	for i := range axes {
		axis, err := axisOf(n, axes[i], rank)
		if err != nil {
			return nil, err
		}
		axes[i] = axis
		if d := shape[axis]; steps[i] == 1 && d.Known() {
			length, from, _, err := infer.SliceRange(d.Size, starts[i], ends[i], 1)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrNoGradient, nodeName(n), err)
			}
			pads[axis], pads[int(axis)+rank] = from, d.Size-from-length
		} else {
			byIndex = append(byIndex, i)
		}
	}
	if len(byIndex) > 0 && len(axes) > 1 {
		// Each axis undoes its own cut; the others' lengths are then those of neither side, so all go by index in turn,
		// the last axis first, over shapes that are computed.
		return t.sliceByIndex(n, g, starts, ends, axes, steps, rank)
	}
	if len(byIndex) == 1 {
		axis := int(axes[0])
		indices := t.op("Slice", t.countAlong(x, axis), t.ints(starts[0]), t.ints(ends[0]), t.ints(0), t.ints(steps[0]))
		return one(t.takeGradient(g, indices, x, axis, rank))
	}
	return one(t.op("Pad", g, t.ints(pads...)))
}

// sliceByIndex undoes a slice of several axes one axis at a time.
func (t *tape) sliceByIndex(n *graph.Node, g string, starts, ends, axes, steps []int64, rank int) ([]string, error) {
	x := n.Input(0)
	for i := len(axes) - 1; i >= 0; i-- {
		axis := int(axes[i])
		indices := t.op("Slice", t.countAlong(x, axis), t.ints(starts[i]), t.ints(ends[i]), t.ints(0), t.ints(steps[i]))
		g = t.takeAlong(g, indices, x, axis, rank)
	}
	return one(g)
}

// takeAlong is takeGradient for a gradient whose other dimensions need not be x's: they stay as they are.
func (t *tape) takeAlong(g, indices, x string, axis, rank int) string {
	depth := t.dims(x, axis, axis+1)
	return t.alongAxis(g, depth, axis, rank, func(grouped string) string {
		return t.call(FuncGatherGradient, nil, 1, grouped, indices, depth)[0]
	})
}

// alongAxis groups g into [before, axis, after], lets f replace the middle dimension by one of that length, and ungroups.
func (t *tape) alongAxis(g, length string, axis, rank int, f func(grouped string) string) string {
	shape, parts := t.op("Shape", g), []string{t.ints(1), t.ints(-1), t.ints(1)}
	var whole []string
	if axis > 0 {
		before := t.section(shape, 0, int64(axis))
		parts[0] = t.reduce("ReduceProd", before, true)
		whole = append(whole, before)
	}
	whole = append(whole, length)
	if axis+1 < rank {
		after := t.section(shape, int64(axis+1), int64(rank))
		parts[2] = t.reduce("ReduceProd", after, true)
		whole = append(whole, after)
	}
	return t.reshape(f(t.op("Reshape", g, t.concat(parts...))), t.concat(whole...))
}

// padGradient cuts the padding off; where it repeats elements, their gradients are added up.
func padGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, pads := n.Input(0), n.Input(1)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	axes := make([]int64, rank)
	for i := range axes {
		axes[i] = int64(i)
	}
	if in := n.Input(3); in != "" {
		v, ok := t.constInts(in)
		if !ok {
			return nil, fmt.Errorf("%w: %s: its axes are not constant", ErrNoGradient, nodeName(n))
		}
		axes = axes[:0]
		for _, a := range v {
			a, err := axisOf(n, a, rank)
			if err != nil {
				return nil, err
			}
			axes = append(axes, a)
		}
	}
	mode := n.Attrs.String("mode", "constant")
	if mode == "constant" {
		in := []string{dy[0], t.op("Neg", pads)}
		if n.Input(3) != "" {
			in = append(in, "", n.Input(3))
		}
		return one(t.op("Pad", in...))
	}
	g, k := dy[0], int64(len(axes))
	for i := len(axes) - 1; i >= 0; i-- {
		axis := int(axes[i])
		own := t.concat(t.section(pads, int64(i), int64(i+1)), t.section(pads, k+int64(i), k+int64(i+1)))
		indices := t.with(graph.Attrs{"mode": mode}, "Pad", t.countAlong(x, axis), own)
		g = t.takeAlong(g, indices, x, axis, rank)
	}
	return one(g)
}

// resizeGradient undoes a resize axis by axis: along one axis it is a matrix, which is what the same operator makes of
// the identity matrix. Every mode but cropping treats the axes apart.
func resizeGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	refuse := func(why string) ([]string, error) {
		return nil, fmt.Errorf("%w: %s: %s", ErrNoGradient, nodeName(n), why)
	}
	if n.Attrs.String("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
		return refuse("it crops")
	}
	if n.Attrs.String("keep_aspect_ratio_policy", "stretch") != "stretch" {
		return refuse("it keeps the aspect ratio")
	}
	attrs := n.Attrs.Clone()
	delete(attrs, "axes")
	axes := n.Attrs.Ints("axes", nil)
	if axes == nil {
		for i := range rank {
			axes = append(axes, int64(i))
		}
	}
	scales := t.known[n.Input(2)]
	sizes, haveSizes := t.constInts(n.Input(3))
	haveScales := scales != nil && scales.DType() == tensor.Float32 && scales.Size() == len(axes)
	if !haveScales && !(haveSizes && len(sizes) == len(axes)) {
		return refuse("its scales or sizes are not constant")
	}
	g := dy[0]
	for i := len(axes) - 1; i >= 0; i-- {
		axis, err := axisOf(n, axes[i], rank)
		if err != nil {
			return nil, err
		}
		d := t.shape(x)[axis]
		var scale, size string
		if haveScales {
			s := tensor.Data[float32](scales)[i]
			if s == 1 {
				continue
			}
			scale = t.constant(tensor.Vector(1, s))
		} else {
			if d.Known() && sizes[i] == d.Size {
				continue
			}
			size = t.ints(d.Size, sizes[i])
		}
		if !d.Known() || d.Size > 1<<12 {
			return refuse(fmt.Sprintf("the length of its axis %d is not known, or too large", axis))
		}
		m := t.with(attrs, "Resize", t.constant(identity(t.dtype, int(d.Size))), "", scale, size)
		g = t.alongAxis(g, t.ints(d.Size), int(axis), rank, func(grouped string) string { return t.op("MatMul", m, grouped) })
	}
	return one(g)
}

// identity returns the identity matrix.
func identity(d tensor.DType, n int) *tensor.Tensor {
	m := tensor.Must(tensor.New(d, n, n))
	unit := scalarOf(d, 1).Bytes()
	for i := range n {
		copy(m.Bytes()[i*(n+1)*len(unit):], unit)
	}
	return m
}
