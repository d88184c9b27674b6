package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Session runs one graph. It is safe for concurrent use; runs at the same time have their own memory.
type Session struct {
	e     *Engine
	prog  *program
	pool  *pool
	notes []string

	runs   sync.RWMutex // held for reading during a run
	closed bool

	plans  atomic.Pointer[[]*plan] // the latest first
	makers sync.Mutex              // held while a plan is made
	proofs []*rowProof             // the latest first; under makers
	made   atomic.Int64            // plans
	idle   *atomic.Int64           // bytes of the frames that wait in plans, those of bodies included

	part   bool          // of a program in parts: its plans count
	nested *atomic.Int64 // plans of such parts, of all programs of the session
}

var (
	_ engine.Session = (*Session)(nil)
	_ engine.Noter   = (*Session)(nil)
)

// Notes say what the session computes in another precision than the model says, on request.
func (s *Session) Notes() []string { return s.notes }

func newSession(ctx context.Context, e *Engine, g *graph.Graph, prog *program, threads int) (*Session, error) {
	s := &Session{e: e, prog: prog, pool: newPool(threads), idle: new(atomic.Int64), nested: new(atomic.Int64)}
	s.plans.Store(&[]*plan{})
	s.openBodies()
	planned, err := s.rehearse(ctx)
	if err == nil && !planned {
		err = prog.trial(ctx, e, g)
	}
	if err != nil {
		s.pool.close()
		return nil, err
	}
	return s, nil
}

// rehearse makes the plan for the declared shapes, with 1 for lengths that are not known. It finds what the operators
// refuse before anything runs, and prepares the weights. Other errors count only where every shape is known. It reports
// whether there is a plan.
func (s *Session) rehearse(ctx context.Context) (planned bool, err error) {
	types := make([]tensor.DType, len(s.prog.in))
	shapes := make([]tensor.Shape, len(s.prog.in))
	exact := true
	for i, v := range s.prog.in {
		if v.DType == tensor.Invalid || v.Shape == nil || v.Container != "" {
			return false, nil // the first run will tell
		}
		types[i] = v.DType
		shapes[i] = make(tensor.Shape, len(v.Shape))
		for j, d := range v.Shape {
			shapes[i][j] = int(d.Size)
			if !d.Known() {
				shapes[i][j] = 1
				exact = false
			}
		}
		if _, err := shapes[i].Check(); err != nil {
			return false, fmt.Errorf("engine native: input %q: %w", v.Name, err)
		}
	}
	s.makers.Lock()
	p, err := s.makePlan(types, shapes, func() (*plan, error) { return s.makeExact(ctx, types, shapes) })
	s.makers.Unlock()
	var u *unsupported
	switch {
	case errors.As(err, &u):
		return false, &engine.UnsupportedError{Engine: Name, Ops: []string{u.Error()}}
	case err != nil && (exact || ctx.Err() != nil):
		return false, fmt.Errorf("engine native: open model %q: %w", s.prog.name, err)
	}
	return err == nil && !p.dynamic, nil
}

// Inputs are the placeholders.
func (s *Session) Inputs() []graph.Value { return s.prog.in }

// Outputs are the graph's outputs.
func (s *Session) Outputs() []graph.Value { return s.prog.out }

// Close waits for the runs in progress and ends the session's goroutines. Closing twice is no error.
func (s *Session) Close() error {
	s.runs.Lock()
	defer s.runs.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.pool.close()
	s.plans.Store(&[]*plan{})
	return nil
}

// Run computes the outputs; see engine.Session. It allocates nothing where all outputs are given and the plan for
// these shapes is known.
func (s *Session) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	_, err := s.run(ctx, in, out, nil)
	return err
}

// run is Run with a clock, where c is not nil. dynamic says that the nodes ran one by one or in parts, since shapes depend on values.
func (s *Session) run(ctx context.Context, in, out []*tensor.Tensor, c *clock) (dynamic bool, err error) {
	s.runs.RLock()
	defer s.runs.RUnlock()
	if s.closed {
		return false, engine.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := engine.CheckInputs(s.prog.in, in); err != nil {
		return false, err
	}
	if len(out) != len(s.prog.out) {
		return false, fmt.Errorf("%w: %d outputs given, the model has %d", engine.ErrInput, len(out), len(s.prog.out))
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: engine native: model %q: %s", engine.ErrPanic, s.prog.name, panicText(p))
		}
	}()
	p, err := s.planFor(ctx, in)
	if err != nil {
		return false, s.runError(ctx, err)
	}
	if p.dynamic {
		return true, s.runDynamic(ctx, p.parts, in, out, c)
	}
	batch := 0
	if p.batch > 0 {
		batch = s.prog.batchOf(in)
	}
	for i := range p.outs {
		if err := p.outs[i].check(s.prog.out[i].Name, out[i], batch); err != nil {
			return false, err
		}
	}
	f, err := s.frame(p)
	if err != nil {
		return false, s.runError(ctx, err)
	}
	f.planned, f.given, f.clock = p.batch, batch, c
	s.pool.runs.Add(1)
	defer s.pool.runs.Add(-1)
	err = p.run(ctx, f, in, out)
	s.release(p, f)
	if err != nil {
		return false, s.runError(ctx, err)
	}
	return false, nil
}

// runError says whose fault an error of a run is.
func (s *Session) runError(ctx context.Context, err error) error {
	var u *unsupported
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	case errors.As(err, &u):
		return &engine.UnsupportedError{Engine: Name, Ops: []string{u.Error()}}
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("engine native: model %q: %w", s.prog.name, err)
	}
	return fmt.Errorf("%w: model %q: %w", engine.ErrInput, s.prog.name, err)
}

func checkOut(name string, t *tensor.Tensor, dtype tensor.DType, shape tensor.Shape) error {
	if t != nil && (t.DType() != dtype || !t.Shape().Equal(shape)) {
		return fmt.Errorf("%w: output %q is %v%v, the tensor given for it %v%v", engine.ErrInput, name, dtype, shape, t.DType(), t.Shape())
	}
	return nil
}

// check holds a tensor that is given for the output against what a run of this batch makes.
func (o *planOut) check(name string, t *tensor.Tensor, batch int) error {
	if t == nil || !o.rows {
		return checkOut(name, t, o.dtype, o.shape)
	}
	shape := t.Shape()
	if t.DType() == o.dtype && len(shape) == len(o.shape) && shape[0] == batch && slices.Equal(shape[1:], o.shape[1:]) {
		return nil
	}
	return checkOut(name, t, o.dtype, o.shapeOf(batch))
}

// shapeOf is the output's shape in a run of this batch.
func (o *planOut) shapeOf(batch int) tensor.Shape {
	if !o.rows {
		return o.shape
	}
	shape := o.shape.Clone()
	shape[0] = batch
	return shape
}

// runDynamic runs a program whose shapes depend on values, in parts where x has them.
// With a clock it runs node by node.
func (s *Session) runDynamic(ctx context.Context, x *parts, in, out []*tensor.Tensor, c *clock) error {
	values := make([]tensor.Value, len(in))
	for i, t := range in {
		values[i] = tensor.ValueOf(t)
	}
	var res []tensor.Value
	var err error
	if x != nil && c == nil {
		res, err = x.run(ctx, s, values, 0)
	} else {
		pl := newPlanner(ctx, s.e, s.prog, s.pool)
		pl.clock = c
		res, err = pl.evaluate(values)
	}
	if err != nil {
		return s.runError(ctx, err)
	}
	for i, v := range res {
		if v.Kind != tensor.KindTensor {
			return s.runError(ctx, fmt.Errorf("output %q is no tensor but a %v", s.prog.out[i].Name, v.Kind))
		}
		if err := checkOut(s.prog.out[i].Name, out[i], v.Tensor.DType(), v.Tensor.Shape()); err != nil {
			return err
		}
	}
	for i, v := range res {
		switch t := v.Tensor; {
		case out[i] != nil:
			copyTensor(out[i], t)
		case x != nil || !s.prog.owns || s.shared(in, out[:i], t): // a constant, an input, or a view of one
			out[i] = t.Clone()
		default:
			out[i] = t
		}
	}
	return nil
}

// shared reports whether t's elements belong to somebody else.
func (s *Session) shared(in, others []*tensor.Tensor, t *tensor.Tensor) bool {
	for _, list := range [][]*tensor.Tensor{in, others} {
		for _, o := range list {
			if sameMemory(o, t) {
				return true
			}
		}
	}
	for _, o := range s.prog.consts {
		if sameMemory(o, t) {
			return true
		}
	}
	return false
}

func sameMemory(a, b *tensor.Tensor) bool {
	if a.DType() != b.DType() || a.Size() == 0 || b.Size() == 0 {
		return false
	}
	if as, ok := a.Raw().([]string); ok {
		return &as[0] == &b.Raw().([]string)[0]
	}
	return unsafe.SliceData(a.Bytes()) == unsafe.SliceData(b.Bytes())
}

// copyTensor copies elements between tensors of one type and size.
func copyTensor(dst, src *tensor.Tensor) {
	if d, ok := dst.Raw().([]string); ok {
		copy(d, tensor.Data[string](src))
		return
	}
	copy(dst.Bytes(), src.Bytes())
}

// planFor finds or makes the plan for these inputs: a plan of rows where there can be one.
func (s *Session) planFor(ctx context.Context, in []*tensor.Tensor) (*plan, error) {
	plans, batch := *s.plans.Load(), s.prog.batchOf(in)
	size := 0
	if batch > 1 {
		size = roundUp(batch)
		if p := s.prog.find(plans, in, size); p != nil && (p.batch > 0 || batch == size) {
			return p, nil
		}
	}
	if size != batch || size == 0 {
		if p := s.prog.find(plans, in, 0); p != nil {
			return p, nil
		}
	}
	types := make([]tensor.DType, len(in))
	shapes := make([]tensor.Shape, len(in))
	for i, t := range in {
		types[i], shapes[i] = t.DType(), t.Shape().Clone()
	}
	s.makers.Lock()
	defer s.makers.Unlock()
	if size > 0 {
		open := slices.Clone(shapes)
		for i := range open {
			if s.prog.open[i] {
				open[i] = open[i].Clone()
				open[i][0] = size
			}
		}
		p, err := s.makePlan(types, open, func() (*plan, error) { return s.makeRows(ctx, types, open, size) })
		if !errors.Is(err, errNotRows) && (err != nil || p.batch > 0 || batch == size) {
			return p, err
		}
	}
	return s.makePlan(types, shapes, func() (*plan, error) { return s.makeExact(ctx, types, shapes) })
}

// makeExact makes the plan for these shapes alone.
func (s *Session) makeExact(ctx context.Context, types []tensor.DType, shapes []tensor.Shape) (*plan, error) {
	p, err := newPlanner(ctx, s.e, s.prog, s.pool).plan(types, shapes)
	if errors.Is(err, errDynamic) {
		x, err := s.inParts(ctx, types, shapes)
		return &plan{dynamic: true, parts: x}, err
	}
	return p, err
}

// makePlan remembers what make makes, unless another run did meanwhile. The caller holds s.makers.
func (s *Session) makePlan(types []tensor.DType, shapes []tensor.Shape, make func() (*plan, error)) (*plan, error) {
	var sig []int
	for i, shape := range shapes {
		sig = append(sig, int(types[i]), len(shape))
		sig = append(sig, shape...)
	}
	key := uint64(fnvOffset)
	for _, d := range sig {
		key = mix(key, d)
	}
	old := *s.plans.Load()
	for _, p := range old {
		if p.key == key && slices.Equal(p.sig, sig) {
			return p, nil
		}
	}
	p, err := make()
	if err != nil {
		return nil, err
	}
	s.made.Add(1)
	p.key, p.sig = key, sig
	if s.part && s.closed { // a run of what the session has forgotten: nobody would forget what follows
		if p.parts != nil && p.parts.rest != nil {
			p.parts.rest.closed = true
		}
		return p, nil
	}
	kept := min(len(old), s.e.cfg.MaxPlans-1)
	now := append([]*plan{p}, old[:kept]...)
	s.plans.Store(&now)
	if s.part {
		s.nested.Add(int64(len(now) - len(old)))
	}
	for _, p := range old[kept:] {
		s.forget(p)
	}
	return p, nil
}

const fnvOffset = 14695981039346656037

func mix(h uint64, d int) uint64 { return (h ^ uint64(d)) * 1099511628211 }

// find returns the plan for these inputs, with size in place of the batch where that is not 0.
func (p *program) find(plans []*plan, in []*tensor.Tensor, size int) *plan {
	h := uint64(fnvOffset)
	for i, t := range in {
		shape := t.Shape()
		h = mix(mix(h, int(t.DType())), len(shape))
		for j, d := range shape {
			if size > 0 && j == 0 && p.open[i] {
				d = size
			}
			h = mix(h, d)
		}
	}
	for _, pl := range plans {
		if pl.key == h && p.fits(pl.sig, in, size) {
			return pl
		}
	}
	return nil
}

// fits holds a plan's signature against inputs, as find does.
func (p *program) fits(sig []int, in []*tensor.Tensor, size int) bool {
	for i, t := range in {
		shape := t.Shape()
		if len(sig) < 2+len(shape) || sig[0] != int(t.DType()) || sig[1] != len(shape) {
			return false
		}
		dims := sig[2 : 2+len(shape)]
		if size > 0 && p.open[i] {
			if dims[0] != size {
				return false
			}
			dims, shape = dims[1:], shape[1:]
		}
		if !slices.Equal(dims, shape) {
			return false
		}
		sig = sig[2+len(t.Shape()):]
	}
	return len(sig) == 0
}
