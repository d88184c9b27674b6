package native

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// errDynamic says that a shape depends on a value that only a run knows.
var errDynamic = errors.New("shape depends on a value of the run")

// errTooLarge says that a tensor or a run exceeds the engine's limits.
var errTooLarge = fmt.Errorf("%w: over the engine's memory limit", engine.ErrTooLarge)

// unsupported is an operator that is known, but not so.
type unsupported struct {
	op, reason string
	byType     bool // whatever the shapes are
}

func (u *unsupported) Error() string {
	if u.reason == "" {
		return u.op
	}
	return u.op + " (" + u.reason + ")"
}

// A step is one piece of a run. It captures what the plan settled; all that differs between runs is in the frame.
type step func(f *frame) error

// info describes an input of a node while it is prepared.
type info struct {
	dtype tensor.DType
	shape tensor.Shape
	value *tensor.Tensor // where the plan knows it
	box   *tensor.Value  // in place of a tensor; slot is -1 then
	// weight says that value lives as long as the session, so that what is derived from it may be kept.
	weight  bool
	slot    int // -1: left out
	carries carries
}

func (i *info) has() bool { return i.slot >= 0 || i.box != nil }

func (i *info) size() int { return i.shape.Size() }

// A prep is a node being prepared for one set of shapes. A kernel reads its inputs' types and shapes, declares its
// outputs and scratch memory, and adds steps.
type prep struct {
	pl     *planner
	node   *graph.Node
	n      *pnode
	attrs  graph.Attrs
	opset  int64
	in     []info
	outs   []outInfo
	steps  []step
	after  []step       // run after the other steps
	elem   *elementwise // instead of a first step
	own    []int        // slots of outputs and scratch, for evaluation at once
	random bool         // not to be folded
	intoF  bool         // within a float16 node that computes in float32
	half   tensor.DType
	act    activation
}

type outInfo struct {
	set   bool
	dtype tensor.DType
	shape tensor.Shape
	value *tensor.Tensor
	box   *tensor.Value
	bytes int64 // of value or box, that count against the limit of a run at once
	slot  int
	alias int // 1 + the slot that it shares, else 0
	carries
}

// carriesRows reports whether an input has the batch as its first dimension.
func (c *prep) carriesRows() bool {
	return slices.ContainsFunc(c.in, func(in info) bool { return in.carries == carriesRows })
}

// mostScratch returns the most scratch memory that a batch needs of those that a plan of rows serves, and so on.
func (c *prep) mostScratch(of func(batch int) int, most int) int {
	for batch := c.pl.batch/2 + 1; batch < c.pl.batch; batch++ {
		most = max(most, of(batch))
	}
	return most
}

// errf describes what is wrong with this node for these shapes or values.
func (c *prep) errf(format string, args ...any) error {
	return fmt.Errorf("node %s: %w", c.n.label(), fmt.Errorf(format, args...))
}

// refuse says that the operator is known but not with this attribute, type or form.
func (c *prep) refuse(format string, args ...any) error {
	return &unsupported{op: c.node.Op(), reason: fmt.Sprintf(format, args...)}
}

// refuseType says that the operator does not take this type.
func (c *prep) refuseType(d tensor.DType) error {
	return &unsupported{op: c.node.Op(), reason: d.String(), byType: true}
}

// opt returns input i, which may be left out.
func (c *prep) opt(i int) *info {
	if i < len(c.in) {
		return &c.in[i]
	}
	return &info{slot: -1}
}

// need returns an error where fewer than n inputs are there.
func (c *prep) need(n int) error {
	for i := range n {
		if !c.opt(i).has() {
			return c.errf("input %d is missing", i)
		}
	}
	return nil
}

// known returns the value of input i, or errDynamic.
func (c *prep) known(i int) (*tensor.Tensor, error) {
	in := c.opt(i)
	if !in.has() {
		return nil, c.errf("input %d is missing", i)
	}
	if in.value == nil {
		return nil, errDynamic
	}
	return in.value, nil
}

// ints returns the value of an integer input, or errDynamic.
func (c *prep) ints(i int) ([]int, error) {
	t, err := c.known(i)
	if err != nil {
		return nil, err
	}
	switch d := t.Raw().(type) {
	case []int64:
		out := make([]int, len(d))
		for j, v := range d {
			out[j] = int(v)
		}
		return out, nil
	case []int32:
		out := make([]int, len(d))
		for j, v := range d {
			out[j] = int(v)
		}
		return out, nil
	}
	return nil, c.errf("input %d must be int64 or int32, not %v", i, t.DType())
}

// wants reports whether output i is asked for.
func (c *prep) wants(i int) bool { return i < len(c.n.out) && c.n.out[i] >= 0 }

// out declares output i and returns its slot; scratch memory where nobody asks for it.
func (c *prep) out(i int, dtype tensor.DType, shape tensor.Shape) (int, error) {
	if c.intoF && dtype == tensor.Float32 {
		return c.outHalf(i, c.half, shape)
	}
	return c.outExact(i, dtype, shape)
}

// outExact is out without the conversion of a float16 node.
func (c *prep) outExact(i int, dtype tensor.DType, shape tensor.Shape) (int, error) {
	if !c.wants(i) {
		return c.scratchOf(dtype, shape)
	}
	slot, err := c.pl.outputSlot(c.n.out[i], dtype, shape)
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", c.n.label(), err)
	}
	c.own = append(c.own, slot)
	c.setOut(i, outInfo{set: true, dtype: dtype, shape: shape.Clone(), slot: slot})
	return slot, nil
}

// pending reports whether an output's value is not known yet.
func (c *prep) pending() bool {
	for i := range c.outs {
		if o := &c.outs[i]; o.set && o.value == nil && o.box == nil {
			return true
		}
	}
	return false
}

func (c *prep) setOut(i int, o outInfo) {
	for len(c.outs) <= i {
		c.outs = append(c.outs, outInfo{slot: -1})
	}
	c.outs[i] = o
}

// alias makes output i the elements of an input with another shape, without a step.
func (c *prep) alias(i int, in *info, shape tensor.Shape) error {
	if !c.wants(i) {
		return nil
	}
	o := outInfo{set: true, dtype: in.dtype, shape: shape.Clone(), slot: in.slot, alias: 1 + in.slot}
	if in.value != nil {
		v, err := in.value.Reshape(shape...)
		if err != nil {
			return c.errf("%w", err)
		}
		o.value = v
	}
	c.setOut(i, o)
	return nil
}

// constant makes output i a value that the shapes alone settle.
func (c *prep) constant(i int, t *tensor.Tensor) {
	if c.wants(i) {
		c.setOut(i, outInfo{set: true, dtype: t.DType(), shape: t.Shape(), value: t, slot: -1})
	}
}

// give makes output i a value that a run at once has found.
func (c *prep) give(i int, v tensor.Value) error {
	if !c.wants(i) {
		return nil
	}
	size := v.Bytes()
	if c.pl.total += size; c.pl.total > c.pl.e.cfg.MaxRunBytes {
		return c.errf("%w: a run may use %d bytes (engines.native.max_run_bytes)", errTooLarge, c.pl.e.cfg.MaxRunBytes)
	}
	if v.Kind == tensor.KindTensor {
		c.setOut(i, outInfo{set: true, dtype: v.Tensor.DType(), shape: v.Tensor.Shape(), value: v.Tensor, bytes: size, slot: -1})
		return nil
	}
	c.setOut(i, outInfo{set: true, box: &v, bytes: size, slot: -1})
	return nil
}

// now returns errDynamic where the node is planned or folded: it is for kernels that compute while they are prepared.
func (c *prep) now() error {
	if !c.pl.eager || c.pl.folding {
		return errDynamic
	}
	return nil
}

// got returns input i of a node that runs at once, as a value.
func (c *prep) got(i int) (tensor.Value, error) {
	in := c.opt(i)
	switch {
	case in.box != nil:
		return *in.box, nil
	case in.value != nil:
		return tensor.ValueOf(in.value), nil
	case in.has():
		return tensor.Value{}, errDynamic
	}
	return tensor.Value{}, c.errf("input %d is missing", i)
}

// scratch returns a slot of n elements that this node alone uses.
func (c *prep) scratch(dtype tensor.DType, n int) (int, error) {
	return c.scratchOf(dtype, tensor.Shape{n})
}

func (c *prep) scratchOf(dtype tensor.DType, shape tensor.Shape) (int, error) {
	slot, err := c.pl.scratchSlot(dtype, shape)
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", c.n.label(), err)
	}
	c.own = append(c.own, slot)
	return slot, nil
}

// step adds a step.
func (c *prep) step(s step) { c.steps = append(c.steps, s) }

// do adds a step that cannot fail.
func (c *prep) do(s func(f *frame)) {
	c.steps = append(c.steps, func(f *frame) error { s(f); return nil })
}

// inplace lets output slot o take over the memory of input slot i where nothing else reads that afterwards. The
// steps must read each element of the input before they write the element of the output at the same place.
func (c *prep) inplace(o, i int) { c.pl.inplace(o, i) }

// derive returns what make makes of a weight, once a session for each kind; for other values it calls make.
func derive[V any](c *prep, in *info, kind string, make func(t *tensor.Tensor) V) V {
	if !in.weight {
		return make(in.value)
	}
	key := derivedKey{in.value, kind}
	if v, ok := c.pl.prog.derived.made.Load(key); ok {
		return v.(V)
	}
	if c.pl.prog.derived.count.Add(1) > maxDerived {
		return make(in.value) // sizes that never repeat
	}
	v, _ := c.pl.prog.derived.made.LoadOrStore(key, make(in.value))
	return v.(V)
}

// maxDerived is how many forms of weights a session keeps.
const maxDerived = 1 << 14

type derivedKey struct {
	t    *tensor.Tensor
	kind string
}

// axis returns a non-negative axis for a rank.
func (c *prep) axis(a int64, rank int) (int, error) {
	if a < -int64(rank) || a >= int64(rank) {
		if !(rank == 0 && (a == 0 || a == -1)) {
			return 0, c.errf("axis %d is outside rank %d", a, rank)
		}
		return 0, nil
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a), nil
}
