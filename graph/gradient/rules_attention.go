package gradient

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// An attended is an Attention whose gradient is made. Its values have the dimensions [batch, heads of keys, queries' heads to one of these, rows, size].
type attended struct {
	t           *tape
	n           *graph.Node
	heads, keys int64 // heads of queries, and of keys
}

// headsIn is how many heads an input has.
func (a *attended) headsIn(i int, attr string) (int64, error) {
	s := a.t.shape(a.n.Input(i))
	if k := a.n.Attrs.Int(attr, 0); k > 0 {
		return k, nil
	}
	if len(s) != 4 || !s[1].Known() {
		return 0, fmt.Errorf("%w: %s: how many heads input %d has is not known", ErrNoGradient, nodeName(a.n), i)
	}
	return s[1].Size, nil
}

// packed reports whether an input has its heads in the last dimension.
func (a *attended) packed(i int) bool { return len(a.t.shape(a.n.Input(i))) == 3 }

// apart brings the value of input i, or its gradient, to five dimensions.
func (a *attended) apart(v string, i int, heads int64) string {
	t := a.t
	if a.packed(i) {
		v = t.transpose(t.op("Reshape", v, t.ints(0, 0, heads, -1)), 0, 2, 1, 3)
	}
	return t.op("Reshape", v, t.concat(t.op("Slice", t.op("Shape", v), t.ints(0), t.ints(1)), t.ints(a.keys, heads/a.keys), t.op("Slice", t.op("Shape", v), t.ints(2), t.ints(4))))
}

// together brings a gradient of five dimensions to the shape of input i.
func (a *attended) together(g string, i int, heads int64) string {
	t, x := a.t, a.n.Input(i)
	if !a.packed(i) {
		return t.reshapeLike(g, x)
	}
	four := t.op("Reshape", g, t.concat(t.dims(x, 0, 1), t.ints(heads), t.dims(x, 1, 2), t.ints(-1)))
	return t.reshapeLike(t.transpose(four, 0, 2, 1, 3), x)
}

// attentionGradient makes the probabilities again and goes back through them. Caches have none.
func attentionGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	refuse := func(why string) ([]string, error) {
		return nil, fmt.Errorf("%w: %s: %s", ErrNoGradient, nodeName(n), why)
	}
	for i := range 3 {
		if s := t.shape(n.Input(i)); len(s) != 3 && len(s) != 4 {
			return refuse("how many dimensions its inputs have is not known")
		}
	}
	if n.Input(4) != "" || n.Input(5) != "" || n.Input(6) != "" {
		return refuse("it has a cache")
	}
	for k := 1; k < len(dy); k++ {
		if dy[k] != "" {
			return refuse("more than its first output is used")
		}
	}
	a := &attended{t: t, n: n}
	var err error
	if a.heads, err = a.headsIn(0, "q_num_heads"); err != nil {
		return nil, err
	}
	if a.keys, err = a.headsIn(1, "kv_num_heads"); err != nil {
		return nil, err
	}
	if a.keys < 1 || a.heads%a.keys != 0 {
		return refuse(fmt.Sprintf("%d heads of queries for %d of keys", a.heads, a.keys))
	}
	return a.gradient(dy[0])
}

func (a *attended) gradient(dy string) ([]string, error) {
	t, n := a.t, a.n
	q, k, v := a.apart(n.Input(0), 0, a.heads), a.apart(n.Input(1), 1, a.keys), a.apart(n.Input(2), 2, a.keys)
	size := t.op("Slice", t.op("Shape", q), t.ints(4), t.ints(5))
	scale := t.op("Reciprocal", t.op("Sqrt", t.cast(size, t.dtype)))
	if n.Attrs.Has("scale") {
		scale = t.num(float64(n.Attrs.Float("scale", 0)))
	}
	scores := t.op("Mul", t.op("MatMul", q, t.swapped(k, 5)), scale)
	turn := ""
	if limit := float64(n.Attrs.Float("softcap", 0)); limit != 0 {
		th := t.op("Tanh", t.op("Div", scores, t.num(limit)))
		scores, turn = t.op("Mul", th, t.num(limit)), t.op("Sub", t.num(1), t.square(th))
	}
	mask, allowed := "", ""
	if m := n.Input(3); m != "" {
		five, err := a.mask(m)
		if err != nil {
			return nil, err
		}
		if t.values[m].DType.IsFloat() {
			mask, scores = five, t.op("Add", scores, five)
		} else {
			allowed = five
		}
	}
	if n.Attrs.Int("is_causal", 0) != 0 {
		earlier := t.op("GreaterOrEqual", t.along(a.places(q), 0, 2), t.along(a.places(k), 1, 2))
		if allowed != "" {
			earlier = t.op("And", allowed, earlier)
		}
		allowed = earlier
	}
	if allowed != "" {
		scores = t.op("Where", allowed, scores, t.num(math.Inf(-1)))
	}
	p := t.with(graph.Attrs{"axis": int64(-1)}, "Softmax", scores)
	if n.Input(3) != "" || allowed != "" {
		p = t.op("Where", t.op("IsNaN", p), t.num(0), p) // of a query that may see nothing
	}
	g := a.apart(dy, 0, a.heads) // the output has the queries' heads, where they have them
	dx := make([]string, len(n.Inputs))
	sumHeads := func(g string) string { return t.reduce("ReduceSum", g, true, 2) }
	dx[2] = a.together(sumHeads(t.op("MatMul", t.swapped(p, 5), g)), 2, a.keys)
	dp := t.op("MatMul", g, t.swapped(v, 5))
	ds := t.op("Mul", p, t.op("Sub", dp, t.reduce("ReduceSum", t.op("Mul", dp, p), true, 4)))
	if mask != "" && t.want(n, 3) {
		dx[3] = t.reshapeLike(t.call(FuncSumToShape, nil, 1, ds, t.op("Shape", mask))[0], n.Input(3))
	}
	if turn != "" {
		ds = t.op("Mul", ds, turn)
	}
	ds = t.op("Mul", ds, scale)
	dx[0] = a.together(t.op("MatMul", ds, k), 0, a.heads)
	dx[1] = a.together(sumHeads(t.op("MatMul", t.swapped(ds, 5), q)), 1, a.keys)
	return dx, nil
}

// places are the numbers of the rows of a value of five dimensions.
func (a *attended) places(v string) string {
	t := a.t
	rows := t.op("Squeeze", t.op("Slice", t.op("Shape", v), t.ints(3), t.ints(4)))
	return t.op("Range", t.constant(tensor.Scalar[int64](0)), rows, t.constant(tensor.Scalar[int64](1)))
}

// mask brings the mask to five dimensions.
func (a *attended) mask(m string) (string, error) {
	t := a.t
	s := t.shape(m)
	if len(s) < 2 || len(s) > 4 {
		return "", fmt.Errorf("%w: %s: how many dimensions its mask has is not known", ErrNoGradient, nodeName(a.n))
	}
	if keys := t.shape(a.n.Input(1)); s[len(s)-1].Known() && keys[len(keys)-2].Known() && s[len(s)-1].Size != keys[len(keys)-2].Size {
		return "", fmt.Errorf("%w: %s: its mask is for %v keys of %v", ErrNoGradient, nodeName(a.n), s[len(s)-1], keys[len(keys)-2])
	}
	if len(s) == 2 {
		return m, nil
	}
	if heads := s[len(s)-3]; heads.Known() && heads.Size == 1 {
		return t.op("Unsqueeze", m, t.ints(int64(len(s)-3))), nil
	} else if !heads.Known() {
		return "", fmt.Errorf("%w: %s: for how many heads its mask is is not known", ErrNoGradient, nodeName(a.n))
	}
	lead := t.dims(m, 0, len(s)-3)
	return t.op("Reshape", m, t.concatSizes([]string{lead, t.ints(a.keys, a.heads/a.keys), t.dims(m, len(s)-2, len(s))})), nil
}

// rotaryEmbeddingGradient turns the gradient back: a rotation by the negative angle.
func rotaryEmbeddingGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	in := []string{dy[0], n.Input(1), t.op("Neg", n.Input(2))}
	if ids := n.Input(3); ids != "" {
		in = append(in, ids)
	}
	return one(t.with(n.Attrs.Clone(), "RotaryEmbedding", in...))
}

// centerCropPadGradient crops what was padded, and pads what was cropped.
func centerCropPadGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	shape := t.shapeOf(n.Input(0))
	if axes := n.Attrs.Ints("axes", nil); axes != nil {
		rank, err := t.rank(n, n.Input(0))
		if err != nil {
			return nil, err
		}
		at := make([]int64, len(axes))
		for i, axis := range axes {
			if at[i], err = axisOf(n, axis, rank); err != nil {
				return nil, err
			}
		}
		shape = t.op("Gather", shape, t.ints(at...))
	}
	return one(t.with(n.Attrs.Clone(), "CenterCropPad", dy[0], shape))
}
