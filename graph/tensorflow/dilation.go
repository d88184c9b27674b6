package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// maxTrace limits how many nodes are gone back over to find where an element comes from.
const maxTrace = 64

// dilated recognises what TensorFlow writes for a convolution whose filter has gaps:
//
//	SpaceToBatchND, a convolution of stride one without padding, BatchToSpaceND
//
// of the same blocks, with an axis added before the convolution and removed behind it where there is only one block. That is a convolution with
// dilations, padded by what is padded before and not cropped afterwards, where that can be told and is not negative. It returns nil where it is none.
func (c *call) dilated(block []int64, crops *value) *value {
	at := c.st.in[0].from
	flat := at != nil && at.node.Op == "Squeeze"
	if flat {
		at = at.source(0)
	}
	if at == nil || !slices.Contains([]string{"Conv2D", "Conv3D", "DepthwiseConv2dNative"}, at.node.Op) || len(at.in) != 2 {
		return nil
	}
	space := at.source(0)
	if flat && space != nil {
		if space.node.Op != "ExpandDims" {
			return nil
		}
		space = space.source(0)
	}
	spatial := spatialOf(at.node.Op)
	if space == nil || space.node.Op != "SpaceToBatchND" || len(space.in) != 3 || len(block) != spatial && !(flat && len(block) == 1 && spatial == 2) {
		return nil
	}
	x, filter, paddings := space.in[0].value(), at.in[1].value(), space.in[2].value()
	blocks, ok := c.knownInts(space.in[1].value())
	w := c.plainWindow(at, spatial)
	if w == nil || !ok || !slices.Equal(blocks, block) || x.shape == nil || filter.shape == nil || x.bad || filter.bad || paddings.bad || !x.dtype.IsFloat() || x.dtype != filter.dtype {
		return nil
	}
	pads, ok := c.padsLessCrops(paddings, crops, len(block))
	if !ok {
		return nil
	}
	lead := spatial - len(block)
	if len(x.shape) != spatial+2-lead || !x.shape[len(x.shape)-1].Known() {
		return nil
	}
	if lead == 1 && !c.onlyAdds(at) {
		return nil
	}
	w.explicit = append(make([]int64, 2*lead), pads...)
	w.dilations = append(slices.Repeat([]int64{1}, lead), block...)
	c.filter(w, filter)
	if lead == 1 {
		if w.kernel[0] != 1 {
			return nil
		}
		x = c.unsqueeze(x, 1)
	}
	y := c.gapped(at.node.Op, w, x, filter)
	if y != nil && lead == 1 {
		y = c.squeeze(y, 1)
	}
	return y
}

// gapped is a convolution of a window.
func (c *call) gapped(op string, w *window, x, f *value) *value {
	channels, in := x.shape[len(x.shape)-1].Size, f.shape[w.spatial].Size
	attrs, x := c.windowAttrs(w, c.toFirst(w, x), 0)
	if op == "DepthwiseConv2dNative" {
		attrs["group"] = in
		weights := c.reshape(c.transpose(f, 2, 3, 0, 1), in*f.shape[3].Size, 1, w.kernel[0], w.kernel[1])
		return c.toLast(w, c.num("Conv", attrs, x, weights))
	}
	if in == 0 || channels%in != 0 {
		return nil
	}
	if channels != in {
		attrs["group"] = channels / in
	}
	return c.toLast(w, c.num("Conv", attrs, x, c.transpose(f, filterPerm(w.spatial)...)))
}

// source returns the node that gives input i, where it is the node's first output.
func (st *state) source(i int) *state {
	if i >= len(st.in) || st.in[i].arg != nil || st.in[i].err != nil || st.in[i].out != 0 {
		return nil
	}
	return st.in[i].from
}

// plainWindow returns the window of a convolution with channels last, stride one and neither padding nor gaps, or nil.
func (c *call) plainWindow(at *state, spatial int) *window {
	format, err1 := at.attrs.String("data_format", "NHWC")
	padding, err2 := at.attrs.String("padding", "")
	strides, err3 := at.attrs.Ints("strides", nil)
	gaps, err4 := at.attrs.Ints("dilations", nil)
	other := func(v int64) bool { return v != 1 }
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || format != "NHWC" && format != "NDHWC" || padding != "VALID" ||
		slices.ContainsFunc(strides, other) || slices.ContainsFunc(gaps, other) {
		return nil
	}
	return &window{spatial: spatial, padding: "EXPLICIT", strides: slices.Repeat([]int64{1}, spatial)}
}

// onlyAdds reports whether the axis that is added before a convolution, and removed behind it, is the second one.
func (c *call) onlyAdds(at *state) bool {
	expand, squeeze := at.source(0), c.st.in[0].from
	axis, ok := c.knownInts(expand.in[1].value())
	if !ok || len(axis) != 1 {
		return false
	}
	dims, err := squeeze.attrs.Ints("squeeze_dims", nil)
	if err != nil || len(dims) != 1 {
		return false
	}
	second := func(a int64, rank int64) bool { return a == 1 || a == 1-rank }
	return second(axis[0], 4) && second(dims[0], 4)
}

// padsLessCrops returns begin and end of each block's axis: what is padded before, less what is cropped afterwards. ok is false where one of them cannot be told or is
// negative.
func (c *call) padsLessCrops(paddings, crops *value, m int) (pads []int64, ok bool) {
	if p, okP := paddings.shape.Static(); !okP || p.Size() != 2*m {
		return nil, false
	}
	if p, okC := crops.shape.Static(); !okC || p.Size() != 2*m {
		return nil, false
	}
	for i := range 2 * m {
		p, q := c.trace(paddings, i), c.trace(crops, i)
		d, ok := c.less(p, q)
		if !ok || d < 0 {
			return nil, false
		}
		pads = append(pads, d)
	}
	return pads, true
}

// An origin is where an element of a tensor of integers comes from: a number, or element i of a value.
type origin struct {
	known  bool
	number int64
	name   string
	i      int
}

// less returns a - b, where it does not depend on what the model is given.
func (c *call) less(a, b origin) (int64, bool) {
	if a.known && b.known {
		return a.number - b.number, true
	}
	if !a.known && !b.known && a.name == b.name && a.i == b.i {
		return 0, true
	}
	n := c.made[a.name]
	if n == nil || n.OpType != "Add" {
		return 0, false
	}
	var terms [2]origin
	for k, in := range n.Inputs {
		i := a.i
		if s, ok := c.step.Lookup(in).Shape.Static(); !ok {
			return 0, false
		} else if s.Size() == 1 {
			i = 0
		}
		terms[k] = c.traceName(in, i)
	}
	for k := range 2 {
		if other := terms[1-k]; terms[k].known && !other.known && !b.known && other.name == b.name && other.i == b.i {
			return terms[k].number, true
		}
	}
	return 0, false
}

func (c *call) trace(v *value, i int) origin { return c.traceName(c.use(v), i) }

// traceName follows an element back over nodes that only move it.
func (c *call) traceName(name string, i int) origin {
	for range maxTrace {
		if v := c.constants[name]; v != nil && v.con != nil {
			if all, ok := intsOf(v.con); ok && i < len(all) {
				return origin{known: true, number: all[i]}
			}
		}
		if e := c.step.Elements(name); i < len(e) && e[i].Known {
			return origin{known: true, number: e[i].Value}
		}
		n := c.made[name]
		if n == nil {
			break
		}
		next, j := "", i
		switch n.OpType {
		case "Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape":
			next = n.Inputs[0]
		case "Concat":
			next, j = c.traceConcat(n, i)
		case "Slice":
			next, j = c.traceSlice(n, i)
		}
		if next == "" {
			break
		}
		name, i = next, j
	}
	return origin{name: name, i: i}
}

// traceConcat finds the input of a Concat by the first axis, or the only one, which has element i.
func (c *call) traceConcat(n *graph.Node, i int) (string, int) {
	if axis := n.Attrs.Int("axis", 0); axis != 0 && axis != -int64(len(c.step.Lookup(n.Outputs[0]).Shape)) {
		return "", 0
	}
	for _, in := range n.Inputs {
		s, ok := c.step.Lookup(in).Shape.Static()
		if !ok {
			return "", 0
		}
		if i < s.Size() {
			return in, i
		}
		i -= s.Size()
	}
	return "", 0
}

// traceSlice finds element i of a Slice by constants, of step one, in what it takes from.
func (c *call) traceSlice(n *graph.Node, i int) (string, int) {
	from, ok1 := c.step.Lookup(n.Inputs[0]).Shape.Static()
	to, ok2 := c.step.Lookup(n.Outputs[0]).Shape.Static()
	if !ok1 || !ok2 || len(from) != len(to) || to.Size() == 0 {
		return "", 0
	}
	list := func(k int) []int64 {
		if v := c.constants[n.Input(k)]; v != nil && v.con != nil {
			all, _ := intsOf(v.con)
			return all
		}
		return nil
	}
	starts, axes := list(1), list(3)
	if starts == nil || n.Input(3) != "" && len(axes) != len(starts) || slices.ContainsFunc(list(4), func(s int64) bool { return s != 1 }) || n.Input(4) != "" && list(4) == nil {
		return "", 0
	}
	offset := make([]int64, len(from))
	for k, s := range starts {
		axis := int64(k)
		if axes != nil {
			if axis = axes[k]; axis < 0 {
				axis += int64(len(from))
			}
		}
		if axis < 0 || axis >= int64(len(from)) {
			return "", 0
		}
		if s < 0 {
			s += int64(from[axis])
		}
		offset[axis] = min(max(s, 0), int64(from[axis]))
	}
	at, stride := 0, 1
	for a := len(from) - 1; a >= 0; a-- {
		at += (i%to[a] + int(offset[a])) * stride
		i /= to[a]
		stride *= from[a]
	}
	return n.Inputs[0], at
}
