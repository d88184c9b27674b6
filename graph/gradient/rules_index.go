package gradient

import (
	"fmt"
	"slices"

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

// A cut is a Slice along one axis: values of the graph, and whole numbers where they are constant.
type cut struct {
	axis                int
	starts, ends, steps string // vectors of one element; steps may be ""
	start, end, step    int64
	constant            bool // start, end and step are known
}

// cuts reads what a Slice cuts. Its axes must be constant; starts, ends and steps may be computed.
func (t *tape) cuts(n *graph.Node, rank int) ([]cut, error) {
	starts, ok1 := t.constInts(n.Input(1))
	ends, ok2 := t.constInts(n.Input(2))
	axes, ok3 := t.constInts(n.Input(3))
	steps, ok4 := t.constInts(n.Input(4))
	if n.Input(3) == "" {
		s := t.shape(n.Input(1))
		if len(s) != 1 || !s[0].Known() || s[0].Size > int64(rank) {
			return nil, fmt.Errorf("%w: %s: along how many axes it cuts is not known", ErrNoGradient, nodeName(n))
		}
		for i := range s[0].Size {
			axes = append(axes, i)
		}
	} else if !ok3 {
		return nil, fmt.Errorf("%w: %s: its axes are not constant", ErrNoGradient, nodeName(n))
	}
	if n.Input(4) == "" {
		ok4 = true
		steps = slices.Repeat([]int64{1}, len(axes))
	}
	constant := ok1 && ok2 && ok4
	if constant && (len(starts) != len(axes) || len(ends) != len(axes) || len(steps) != len(axes)) {
		return nil, fmt.Errorf("%w: %s: it has %d axes, %d starts, %d ends and %d steps", ErrNoGradient, nodeName(n), len(axes), len(starts), len(ends), len(steps))
	}
	list := make([]cut, len(axes))
	for i := range axes {
		axis, err := axisOf(n, axes[i], rank)
		if err != nil {
			return nil, err
		}
		c := cut{axis: int(axis), constant: constant}
		if constant {
			c.start, c.end, c.step = starts[i], ends[i], steps[i]
			c.starts, c.ends, c.steps = t.ints(starts[i]), t.ints(ends[i]), t.ints(steps[i])
		} else {
			part := func(v string) string { return t.cast(t.section(v, int64(i), int64(i+1)), tensor.Int64) }
			c.starts, c.ends = part(n.Input(1)), part(n.Input(2))
			if n.Input(4) != "" {
				c.steps = part(n.Input(4))
			}
		}
		list[i] = c
	}
	return list, nil
}

// sliceGradient puts the gradient back where it was cut out: by padding where all steps are 1 and all lengths known, else by index, one axis after the other.
func sliceGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	list, err := t.cuts(n, rank)
	if err != nil {
		return nil, err
	}
	g, shape := dy[0], t.shape(x)
	pads := make([]int64, 2*rank)
	plain := true
	for _, c := range list {
		d := shape[c.axis]
		if !c.constant || c.step != 1 || !d.Known() {
			plain = false
			break
		}
		length, from, _, err := infer.SliceRange(d.Size, c.start, c.end, 1)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrNoGradient, nodeName(n), err)
		}
		pads[c.axis], pads[c.axis+rank] = from, d.Size-from-length
	}
	if plain {
		return one(t.op("Pad", g, t.ints(pads...)))
	}
	for _, c := range slices.Backward(list) {
		in := []string{t.countAlong(x, c.axis), c.starts, c.ends, t.ints(0)}
		if c.steps != "" {
			in = append(in, c.steps)
		}
		g = t.takeAlong(g, t.op("Slice", in...), x, c.axis, rank)
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
	haveSizes = haveSizes && len(sizes) == len(axes)
	part := func(v string, i int) string { return t.section(v, int64(i), int64(i+1)) }
	g := dy[0]
	for i := len(axes) - 1; i >= 0; i-- {
		axis, err := axisOf(n, axes[i], rank)
		if err != nil {
			return nil, err
		}
		d, length := t.shape(x)[axis], t.dims(x, int(axis), int(axis)+1)
		var scale, size string
		switch {
		case haveScales:
			if tensor.Data[float32](scales)[i] == 1 {
				continue
			}
			scale = t.constant(tensor.Vector(1, tensor.Data[float32](scales)[i]))
		case n.Input(2) != "" && !t.empty(n.Input(2)):
			scale = t.concat(t.constant(tensor.Vector[float32](1)), part(n.Input(2), i))
		case haveSizes:
			if d.Known() && sizes[i] == d.Size {
				continue
			}
			size = t.concat(length, t.ints(sizes[i]))
		default:
			size = t.concat(length, part(n.Input(3), i))
		}
		m := t.with(attrs, "Resize", t.identityOf(d, length), "", scale, size)
		g = t.alongAxis(g, length, int(axis), rank, func(grouped string) string { return t.op("MatMul", m, grouped) })
	}
	return one(g)
}

// empty reports whether a value has no elements, as scales have where sizes are given.
func (t *tape) empty(name string) bool {
	if c := t.known[name]; c != nil {
		return c.Size() == 0
	}
	s := t.shape(name)
	return len(s) == 1 && s[0].Known() && s[0].Size == 0
}

// identityOf is the identity matrix of a dimension, of which length is the value.
func (t *tape) identityOf(d graph.Dim, length string) string {
	if d.Known() && d.Size <= 1<<10 {
		return t.constant(identity(t.dtype, int(d.Size)))
	}
	square := t.with(graph.Attrs{"value": zeroOf(t.dtype)}, "ConstantOfShape", t.concat(length, length))
	return t.op("EyeLike", square)
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
