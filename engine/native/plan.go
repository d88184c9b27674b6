package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/millrace/millrace/tensor"
)

type slotKind uint8

const (
	slotArena   slotKind = iota // memory of the plan, shared over time
	slotInput                   // the caller's tensor
	slotOutput                  // the caller's tensor
	slotConst                   // known when the plan was made
	slotPrivate                 // a tensor of the frame: strings, which an arena cannot hold
)

// A slot is a place for a tensor in a frame.
type slot struct {
	kind        slotKind
	dtype       tensor.DType
	index       int32 // of the input or output
	shape       tensor.Shape
	t           *tensor.Tensor // of a constant
	offset      int            // in the arena
	first, last int32          // nodes that write it first and use it last
	from, to    int32          // nodes between which nothing else may have its memory: more than that in a group
	into        int32          // 1 + the slot whose memory it takes over, else 0
}

func (s *slot) bytes() int { return s.shape.Size() * s.dtype.Size() }

// A plan is a program for one set of input shapes. It is immutable but for its pool of frames.
type plan struct {
	key   uint64
	sig   []int // rank and dimensions of every input
	slots []slot
	steps []planStep
	outs  []planOut
	arena int // bytes
	// batch is not 0 in a plan of rows, which serves batches of up to this many.
	batch int
	// dynamic plans have no steps: their shapes depend on the values of a run, so each run walks the program.
	dynamic bool
	parts   *parts // of a dynamic plan, where parts of the program can be planned
	bytes   int64  // of the arena and the outputs

	mu     sync.Mutex
	idle   []*frame
	closed bool // forgotten by the session: no frame waits for it
}

type planStep struct {
	run  step
	node *pnode
}

// planOut says where an output comes from: its own slot, or a copy of another one.
type planOut struct {
	dtype tensor.DType
	shape tensor.Shape
	slot  int // what frames hold the caller's tensor in; -1 where it is only copied to
	from  int // the slot to copy from, or -1
	rows  bool
}

// A value is what the planner knows of a value of the program.
type value struct {
	ready  bool
	dtype  tensor.DType
	shape  tensor.Shape
	t      *tensor.Tensor
	box    *tensor.Value // a sequence, optional or map, which only a run at once has
	weight bool
	bytes  int64 // that count against the limit of a run at once
	slot   int   // -1 until it has one

	carries carries
}

// planner makes a plan, or, where eager is set, runs the program node by node.
type planner struct {
	ctx   context.Context
	e     *Engine
	prog  *program
	pool  *pool
	eager bool
	// folding leaves out what is random or too large.
	folding bool
	vals    []value
	slots   []slot
	steps   []planStep
	node    int32            // the node being prepared
	group   group            // element-wise nodes that will be one step
	now     []*tensor.Tensor // by slot, for nodes that run at once
	folded  int              // bytes of constants that folding made
	total   int64            // bytes of what is alive; of everything where a plan is made

	batch int // of a plan of rows, else 0
	proof *rowProof
	clock *clock // of a run at once that is measured
}

func newPlanner(ctx context.Context, e *Engine, prog *program, p *pool) *planner {
	pl := &planner{ctx: ctx, e: e, prog: prog, pool: p, vals: make([]value, len(prog.names))}
	for i := range pl.vals {
		pl.vals[i].slot = -1
	}
	for id, t := range prog.consts {
		pl.vals[id] = value{ready: true, dtype: t.DType(), shape: t.Shape(), t: t, weight: true, slot: -1}
	}
	for id, t := range prog.known {
		pl.vals[id] = value{ready: true, dtype: t.DType(), shape: t.Shape(), t: t, slot: -1}
	}
	return pl
}

// plan makes the plan for these input shapes.
func (pl *planner) plan(types []tensor.DType, shapes []tensor.Shape) (*plan, error) {
	if pl.prog.boxed {
		return nil, errDynamic
	}
	pl.begin(types, shapes)
	if err := pl.nodes(); err != nil {
		return nil, err
	}
	pl.flush()
	if err := pl.checkOutputs(); err != nil {
		return nil, err
	}
	p := &plan{}
	for i, id := range pl.prog.outputs {
		v := &pl.vals[id]
		o := planOut{dtype: v.dtype, shape: v.shape, slot: -1, from: -1, rows: v.carries == carriesRows}
		pl.useSlot(v, int32(len(pl.prog.nodes)))
		if s := &pl.slots[v.slot]; s.kind == slotOutput && int(s.index) == i {
			o.slot = v.slot
		} else {
			o.from = v.slot
		}
		p.outs = append(p.outs, o)
	}
	p.slots, p.steps = pl.slots, pl.steps
	var err error
	for _, o := range p.outs {
		p.bytes += int64(o.shape.Size() * o.dtype.Size())
	}
	if p.arena, err = layout(p.slots, pl.e.cfg.MaxRunBytes-p.bytes); err != nil {
		return nil, err
	}
	p.bytes += int64(p.arena)
	return p, nil
}

// begin tells the planner of the inputs.
func (pl *planner) begin(types []tensor.DType, shapes []tensor.Shape) {
	pl.slots = make([]slot, 0, len(pl.prog.inputs)+len(pl.prog.nodes)+len(pl.prog.consts))
	for i, id := range pl.prog.inputs {
		s := pl.addSlot(slot{kind: slotInput, dtype: types[i], shape: shapes[i], index: int32(i), last: -1})
		pl.vals[id] = value{ready: true, dtype: types[i], shape: shapes[i], slot: s}
		if pl.batch > 0 && pl.prog.open[i] {
			pl.vals[id].carries = carriesRows
		}
	}
}

// evaluate runs the program with these inputs and returns new values, which may share memory with the inputs and the constants.
func (pl *planner) evaluate(in []tensor.Value) ([]tensor.Value, error) {
	pl.eager = true
	for i, id := range pl.prog.inputs {
		pl.vals[id] = valueOf(in[i])
	}
	if err := pl.nodes(); err != nil {
		return nil, err
	}
	out := make([]tensor.Value, len(pl.prog.outputs))
	for i, id := range pl.prog.outputs {
		switch v := &pl.vals[id]; {
		case v.box != nil:
			out[i] = *v.box
		case v.t != nil:
			out[i] = tensor.ValueOf(v.t)
		default:
			return nil, fmt.Errorf("output %q was not computed", pl.prog.names[id])
		}
	}
	return out, nil
}

// valueOf is what a planner knows of a value that is there.
func valueOf(v tensor.Value) value {
	if v.Kind != tensor.KindTensor {
		return value{ready: true, box: &v, slot: -1}
	}
	return value{ready: true, dtype: v.Tensor.DType(), shape: v.Tensor.Shape(), t: v.Tensor, slot: -1}
}

func (pl *planner) nodes() error {
	if pl.clock != nil {
		pl.clock.start()
	}
	for i, n := range pl.prog.nodes {
		if err := pl.ctx.Err(); err != nil {
			return err
		}
		pl.node = int32(i)
		if err := pl.prepare(n); err != nil {
			return err
		}
		if pl.eager {
			pl.drop(n)
		}
		if pl.clock != nil {
			pl.clock.tick(n)
		}
	}
	return nil
}

// prepare prepares one node, and runs it at once where all its inputs are known.
func (pl *planner) prepare(n *pnode) error {
	c := &prep{pl: pl, node: n.node, n: n, attrs: n.node.Attrs, opset: n.opset, act: n.act, in: make([]info, len(n.in))}
	known := true
	for j, id := range n.in {
		c.in[j].slot = -1
		if id < 0 {
			continue
		}
		v := &pl.vals[id]
		if !v.ready {
			return fmt.Errorf("node %s: input %q has no value", n.label(), pl.prog.names[id])
		}
		if v.box != nil {
			if !takesBoxes[n.node.Op()] {
				return &unsupported{op: n.node.Op(), reason: v.box.Kind.String() + " in place of a tensor"}
			}
			c.in[j].box = v.box
			continue
		}
		pl.useSlot(v, pl.node)
		c.in[j] = info{dtype: v.dtype, shape: v.shape, value: v.t, weight: v.weight, slot: v.slot, carries: v.carries}
		known = known && v.t != nil
	}
	if err := n.prepare(c); err != nil {
		return err
	}
	if pl.batch > 0 {
		if err := pl.checkRows(c, known); err != nil {
			return err
		}
	}
	c.steps = append(c.steps, c.after...)
	for j, id := range n.out {
		if id < 0 {
			continue
		}
		if j >= len(c.outs) || !c.outs[j].set {
			return &unsupported{op: n.node.Op(), reason: fmt.Sprintf("output %d", j)}
		}
		o := &c.outs[j]
		pl.vals[id] = value{ready: true, dtype: o.dtype, shape: o.shape, t: o.value, box: o.box, bytes: o.bytes, slot: o.slot, carries: o.carries}
		if o.value != nil || o.box != nil {
			pl.vals[id].slot = -1
		}
	}
	if !c.pending() {
		return nil
	}
	fold := false
	if known && (pl.folding || !pl.eager) {
		size := pl.outBytes(c)
		if fold = !c.random && size <= foldBytes && pl.folded+size <= maxFolded; fold {
			pl.folded += size
		}
	}
	if pl.folding && !fold {
		return errNotFolded
	}
	if fold || known && pl.eager {
		return pl.runNow(c)
	}
	pl.addSteps(c)
	return nil
}

// errNotFolded says that a node stays in the program.
var errNotFolded = errors.New("not folded")

// foldBytes is the most that a constant may take that folding makes: more is made again in each run.
const foldBytes = 64 << 20

// maxFolded is the most that all of them may take.
const maxFolded = 512 << 20

func (pl *planner) outBytes(c *prep) int {
	n := 0
	for i := range c.outs {
		size := c.outs[i].dtype.Size()
		if size == 0 {
			size = 16
		}
		n += c.outs[i].shape.Size() * size
	}
	return n
}

// runNow runs the steps of a node whose inputs are known. Its outputs become constants.
func (pl *planner) runNow(c *prep) error {
	c.settle()
	for len(pl.now) < len(pl.slots) {
		pl.now = append(pl.now, nil)
	}
	f := &frame{ctx: pl.ctx, t: pl.now, pool: pl.pool}
	for i := range c.in {
		if s := c.in[i].slot; s >= 0 {
			f.t[s] = pl.slots[s].t
		}
	}
	for _, id := range c.n.in { // a kernel may have put something else into c.in
		if id >= 0 && pl.vals[id].slot >= 0 {
			f.t[pl.vals[id].slot] = pl.slots[pl.vals[id].slot].t
		}
	}
	for _, s := range c.own {
		t, err := tensor.New(pl.slots[s].dtype, pl.slots[s].shape...)
		if err != nil {
			return c.errf("%w", err)
		}
		f.t[s] = t
	}
	for _, s := range c.steps {
		if err := s(f); err != nil {
			return c.errf("%w", err)
		}
	}
	for _, s := range c.own {
		pl.total -= int64(pl.slots[s].bytes())
		pl.slots[s] = slot{kind: slotConst, dtype: pl.slots[s].dtype, shape: pl.slots[s].shape}
	}
	for j, id := range c.n.out {
		if id < 0 || c.outs[j].value != nil {
			continue
		}
		o := &c.outs[j]
		t := f.t[o.slot]
		if o.alias > 0 {
			r, err := t.Reshape(o.shape...)
			if err != nil {
				return c.errf("%w", err)
			}
			t = r
		}
		pl.slots[o.slot].t = t
		size := int64(t.Size() * t.DType().Size())
		pl.vals[id].t, pl.vals[id].slot, pl.vals[id].bytes = t, -1, size
		pl.total += size
	}
	return nil
}

// drop forgets the values that no later node uses.
func (pl *planner) drop(n *pnode) {
	for _, id := range n.dies {
		v := &pl.vals[id]
		if v.t == nil && v.box == nil || v.weight {
			continue
		}
		pl.total -= v.bytes
		v.t, v.box = nil, nil
	}
	pl.slots = pl.slots[:0] // slots serve one node where nothing is planned
	for _, ids := range [][]int{n.in, n.out} {
		for _, id := range ids {
			if id >= 0 {
				pl.vals[id].slot = -1
			}
		}
	}
}

func (pl *planner) addSlot(s slot) int {
	s.from, s.to = -1, -1
	pl.slots = append(pl.slots, s)
	return len(pl.slots) - 1
}

// useSlot gives a known value a slot, and notes that node uses it.
func (pl *planner) useSlot(v *value, node int32) {
	if v.slot < 0 {
		v.slot = pl.addSlot(slot{kind: slotConst, dtype: v.dtype, shape: v.shape, t: v.t})
	}
	if s := &pl.slots[v.slot]; s.last < node {
		s.last = node
	}
}

// outputSlot makes the slot of a value that a node computes.
func (pl *planner) outputSlot(id int, dtype tensor.DType, shape tensor.Shape) (int, error) {
	if err := pl.fits(dtype, shape); err != nil {
		return 0, err
	}
	s := slot{kind: slotArena, dtype: dtype, shape: shape.Clone(), first: pl.node, last: pl.node}
	if dtype == tensor.String {
		s.kind = slotPrivate
	}
	if i := slices.Index(pl.prog.outputs, id); i >= 0 && !pl.eager {
		s.kind, s.index = slotOutput, int32(i)
	}
	return pl.addSlot(s), nil
}

func (pl *planner) scratchSlot(dtype tensor.DType, shape tensor.Shape) (int, error) {
	if err := pl.fits(dtype, shape); err != nil {
		return 0, err
	}
	s := slot{kind: slotArena, dtype: dtype, shape: shape.Clone(), first: pl.node, last: pl.node}
	if dtype == tensor.String {
		s.kind = slotPrivate
	}
	return pl.addSlot(s), nil
}

func (pl *planner) fits(dtype tensor.DType, shape tensor.Shape) error {
	n, err := shape.Check()
	if err != nil {
		return err
	}
	size := int64(n) * int64(max(dtype.Size(), 1))
	if dtype == tensor.String {
		size = int64(n) * 16
	}
	if size > pl.e.cfg.MaxTensorBytes {
		return fmt.Errorf("%w: %v%v has %d bytes, a tensor may have %d (engines.native.max_tensor_bytes)", errTooLarge, dtype, shape, size, pl.e.cfg.MaxTensorBytes)
	}
	if pl.eager {
		if pl.total += size; pl.total > pl.e.cfg.MaxRunBytes {
			return fmt.Errorf("%w: a run may use %d bytes (engines.native.max_run_bytes)", errTooLarge, pl.e.cfg.MaxRunBytes)
		}
	}
	return nil
}

func (pl *planner) inplace(o, i int) {
	out, in := &pl.slots[o], &pl.slots[i]
	if out.kind == slotArena && in.kind == slotArena && out.bytes() == in.bytes() {
		out.into = 1 + int32(i)
	}
}
