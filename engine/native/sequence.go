package native

import (
	"slices"

	"github.com/millrace/millrace/tensor"
)

// takesBoxes are the operators that take sequences, optionals or maps, or give them.
var takesBoxes = map[string]bool{
	"If": true, "Loop": true, "Scan": true, "SequenceMap": true, "Identity": true,
	"SequenceAt": true, "SequenceConstruct": true, "SequenceEmpty": true, "SequenceErase": true, "SequenceInsert": true, "SequenceLength": true,
	"SplitToSequence": true, "ConcatFromSequence": true, "Optional": true, "OptionalGetElement": true, "OptionalHasElement": true, mlDomain + ".ZipMap": true,
	mlDomain + ".CastMap": true, mlDomain + ".DictVectorizer": true,
}

func sequenceOf(items []tensor.Value) tensor.Value {
	return tensor.Value{Kind: tensor.KindSequence, Items: items}
}

// sequence returns input i, which must be a sequence, of a node that runs at once.
func (c *prep) sequence(i int) ([]tensor.Value, error) {
	if err := c.now(); err != nil {
		return nil, err
	}
	v, err := c.got(i)
	if err != nil {
		return nil, err
	}
	if v.Kind != tensor.KindSequence {
		return nil, c.errf("input %d is a %v, not a sequence", i, v.Kind)
	}
	return v.Items, nil
}

// tensors returns the elements of a sequence of tensors.
func (c *prep) tensors(items []tensor.Value) ([]*tensor.Tensor, error) {
	ts := make([]*tensor.Tensor, len(items))
	for i, v := range items {
		var err error
		if ts[i], err = tensorOf(v); err != nil {
			return nil, c.errf("element %d: %w", i, err)
		}
	}
	return ts, nil
}

// place reads a position in a sequence from input i: def where it is left out, at most last, from the end where it is negative.
func (c *prep) place(i, n, last, def int) (int, error) {
	if !c.opt(i).has() {
		return def, nil
	}
	at, err := c.ints(i)
	if err != nil {
		return 0, err
	}
	if len(at) != 1 {
		return 0, c.errf("the position must be one number, not %d", len(at))
	}
	k := at[0]
	if k < 0 {
		k += n
	}
	if k < 0 || k > last {
		return 0, c.errf("position %d in a sequence of %d", at[0], n)
	}
	return k, nil
}

func sequenceConstruct(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	items, err := c.values(0, c.n.formal)
	if err != nil {
		return err
	}
	for _, v := range items[min(1, len(items)):] {
		if !sameType(v, items[0]) {
			return c.errf("a sequence of different types")
		}
	}
	return c.give(0, sequenceOf(items))
}

// sameType reports whether two values may be in one sequence.
func sameType(a, b tensor.Value) bool {
	return a.Kind == b.Kind && (a.Kind != tensor.KindTensor || a.Tensor.DType() == b.Tensor.DType())
}

func sequenceEmpty(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	return c.give(0, sequenceOf([]tensor.Value{}))
}

func sequenceAt(c *prep) error {
	items, err := c.sequence(0)
	if err != nil {
		return err
	}
	if err := c.need(2); err != nil {
		return err
	}
	at, err := c.place(1, len(items), len(items)-1, 0)
	if err != nil {
		return err
	}
	return c.give(0, items[at])
}

func sequenceInsert(c *prep) error {
	items, err := c.sequence(0)
	if err != nil {
		return err
	}
	v, err := c.got(1)
	if err != nil {
		return err
	}
	if len(items) > 0 && !sameType(v, items[0]) {
		return c.errf("a sequence of different types")
	}
	at, err := c.place(2, len(items), len(items), len(items))
	if err != nil {
		return err
	}
	return c.give(0, sequenceOf(slices.Insert(slices.Clone(items), at, v)))
}

func sequenceErase(c *prep) error {
	items, err := c.sequence(0)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return c.errf("nothing can be taken from an empty sequence")
	}
	at, err := c.place(1, len(items), len(items)-1, len(items)-1)
	if err != nil {
		return err
	}
	return c.give(0, sequenceOf(slices.Delete(slices.Clone(items), at, at+1)))
}

func sequenceLength(c *prep) error {
	items, err := c.sequence(0)
	if err != nil {
		return err
	}
	return c.give(0, tensor.ValueOf(tensor.Scalar(int64(len(items)))))
}

// splitToSequence cuts a tensor: into parts of given lengths, of one length, or of 1, whose axis may go.
func splitToSequence(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	v, err := c.got(0)
	if err != nil {
		return err
	}
	t, err := tensorOf(v)
	if err != nil || t.Rank() == 0 {
		return c.errf("input 0 is no tensor that can be split")
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), t.Rank())
	if err != nil {
		return err
	}
	dim, keep := t.Shape()[axis], true
	var lengths []int
	switch in := c.opt(1); {
	case !in.has():
		keep = c.attrs.Bool("keepdims", true)
		lengths = slices.Repeat([]int{1}, dim)
	default:
		if lengths, err = c.ints(1); err != nil {
			return err
		}
		if len(in.shape) == 0 {
			if lengths[0] < 1 {
				return c.errf("parts of %d", lengths[0])
			}
			size := lengths[0]
			lengths = slices.Repeat([]int{min(size, dim)}, dim/size)
			if dim%size > 0 {
				lengths = append(lengths, dim%size)
			}
		}
	}
	items := make([]tensor.Value, 0, len(lengths))
	at := 0
	for _, n := range lengths {
		if n < 0 || n > dim-at {
			return c.errf("parts of %v do not make up axis %d of %d", lengths, axis, dim)
		}
		p, err := partOf(t, axis, at, n)
		if err == nil && !keep {
			shape := t.Shape()
			p, err = p.Reshape(append(append(tensor.Shape{}, shape[:axis]...), shape[axis+1:]...)...)
		}
		if err != nil {
			return c.errf("%w", err)
		}
		items = append(items, tensor.ValueOf(p))
		at += n
	}
	if at != dim {
		return c.errf("parts of %v do not make up axis %d of %d", lengths, axis, dim)
	}
	return c.give(0, sequenceOf(items))
}

func concatFromSequence(c *prep) error {
	items, err := c.sequence(0)
	if err != nil {
		return err
	}
	parts, err := c.tensors(items)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return c.errf("an empty sequence cannot be joined")
	}
	extra := 0
	if c.attrs.Bool("new_axis", false) {
		extra = 1
	}
	if parts[0].Rank()+extra == 0 {
		return c.errf("scalars cannot be joined without a new axis")
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), parts[0].Rank()+extra)
	if err != nil {
		return err
	}
	if err := c.pl.fits(parts[0].DType(), tensor.Shape{sizeOfAll(parts)}); err != nil {
		return c.errf("%w", err)
	}
	var t *tensor.Tensor
	if extra == 0 {
		t, err = join(parts, axis)
	} else {
		for _, p := range parts[1:] {
			if p.DType() != parts[0].DType() || !p.Shape().Equal(parts[0].Shape()) {
				return c.errf("%v%v and %v%v cannot be stacked", parts[0].DType(), parts[0].Shape(), p.DType(), p.Shape())
			}
		}
		t, err = stack(parts, axis)
	}
	if err != nil {
		return c.errf("%w", err)
	}
	return c.give(0, tensor.ValueOf(t))
}

func sizeOfAll(parts []*tensor.Tensor) int {
	n := 0
	for _, p := range parts {
		n += p.Size()
	}
	return n
}

// sequenceMap runs its subgraph for each element of a sequence; other inputs are sequences as long, or tensors.
func sequenceMap(c *prep) error {
	first, err := c.sequence(0)
	if err != nil {
		return err
	}
	b, err := c.body("body")
	if err != nil {
		return err
	}
	in, err := c.values(0, c.n.formal)
	if err != nil {
		return err
	}
	for i, v := range in {
		if v.Kind == tensor.KindSequence && len(v.Items) != len(first) {
			return c.errf("input %d is a sequence of %d, the first of %d", i, len(v.Items), len(first))
		}
	}
	if len(c.n.out) > len(b.prog.outputs) {
		return c.errf("the body has %d outputs for %d", len(b.prog.outputs), len(c.n.out))
	}
	outs := make([][]tensor.Value, len(c.n.out))
	args := make([]tensor.Value, len(in))
	for k := range first {
		if err := c.pl.ctx.Err(); err != nil {
			return err
		}
		for i, v := range in {
			args[i] = v
			if v.Kind == tensor.KindSequence {
				args[i] = v.Items[k]
			}
		}
		got, err := b.run(c, args)
		if err != nil {
			return err
		}
		for i := range outs {
			outs[i] = append(outs[i], got[i])
		}
	}
	for i := range outs {
		if err := c.give(i, sequenceOf(outs[i])); err != nil {
			return err
		}
	}
	return nil
}

// optional wraps a value, or nothing.
func optional(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	v := tensor.Value{Kind: tensor.KindOptional}
	if c.opt(0).has() {
		item, err := c.got(0)
		if err != nil {
			return err
		}
		v.Items = []tensor.Value{item}
	}
	return c.give(0, v)
}

// optionalGetElement returns what an optional holds; since opset 18 anything else is its own element.
func optionalGetElement(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	if in.box == nil {
		return c.alias(0, in, in.shape)
	}
	v := *in.box
	if v.Kind == tensor.KindOptional {
		if len(v.Items) == 0 {
			return c.errf("the optional is empty")
		}
		v = v.Items[0]
	}
	return c.give(0, v)
}

func optionalHasElement(c *prep) error {
	in := c.opt(0)
	has := in.has() && (in.box == nil || in.box.Kind != tensor.KindOptional || len(in.box.Items) > 0)
	c.constant(0, tensor.Scalar(has))
	return nil
}
