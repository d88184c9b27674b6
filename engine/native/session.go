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
	e    *Engine
	prog *program
	pool *pool

	runs   sync.RWMutex // held for reading during a run
	closed bool

	plans  atomic.Pointer[[]*plan] // the latest first
	makers sync.Mutex              // held while a plan is made
}

var _ engine.Session = (*Session)(nil)

func newSession(ctx context.Context, e *Engine, g *graph.Graph, prog *program, threads int) (*Session, error) {
	s := &Session{e: e, prog: prog, pool: newPool(threads)}
	s.plans.Store(&[]*plan{})
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
		if v.DType == tensor.Invalid || v.Shape == nil {
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
	p, err := s.makePlan(ctx, types, shapes)
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
func (s *Session) Run(ctx context.Context, in, out []*tensor.Tensor) (err error) {
	s.runs.RLock()
	defer s.runs.RUnlock()
	if s.closed {
		return engine.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := engine.CheckInputs(s.prog.in, in); err != nil {
		return err
	}
	if len(out) != len(s.prog.out) {
		return fmt.Errorf("%w: %d outputs given, the model has %d", engine.ErrInput, len(out), len(s.prog.out))
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: engine native: model %q: %s", engine.ErrPanic, s.prog.name, panicText(p))
		}
	}()
	p, err := s.planFor(ctx, in)
	if err != nil {
		return s.runError(ctx, err)
	}
	if p.dynamic {
		return s.runDynamic(ctx, in, out)
	}
	for i := range p.outs {
		if err := checkOut(s.prog.out[i].Name, out[i], p.outs[i].dtype, p.outs[i].shape); err != nil {
			return err
		}
	}
	f, err := p.frame(s.pool)
	if err != nil {
		return s.runError(ctx, err)
	}
	s.pool.runs.Add(1)
	defer s.pool.runs.Add(-1)
	if err := p.run(ctx, f, in, out); err != nil {
		p.release(f)
		return s.runError(ctx, err)
	}
	p.release(f)
	return nil
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

// runDynamic runs a program whose shapes depend on values.
func (s *Session) runDynamic(ctx context.Context, in, out []*tensor.Tensor) error {
	res, err := newPlanner(ctx, s.e, s.prog, s.pool).evaluate(in)
	if err != nil {
		return s.runError(ctx, err)
	}
	for i, t := range res {
		if err := checkOut(s.prog.out[i].Name, out[i], t.DType(), t.Shape()); err != nil {
			return err
		}
	}
	for i, t := range res {
		switch {
		case out[i] != nil:
			copyTensor(out[i], t)
		case s.shared(in, res[:i], t): // a constant, an input, or a view of one
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

// planFor finds or makes the plan for these inputs.
func (s *Session) planFor(ctx context.Context, in []*tensor.Tensor) (*plan, error) {
	key := keyOf(in)
	if p := find(*s.plans.Load(), key, in); p != nil {
		return p, nil
	}
	types := make([]tensor.DType, len(in))
	shapes := make([]tensor.Shape, len(in))
	for i, t := range in {
		types[i], shapes[i] = t.DType(), t.Shape().Clone()
	}
	return s.makePlan(ctx, types, shapes)
}

func (s *Session) makePlan(ctx context.Context, types []tensor.DType, shapes []tensor.Shape) (*plan, error) {
	s.makers.Lock()
	defer s.makers.Unlock()
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
			return p, nil // another run made it meanwhile
		}
	}
	p, err := newPlanner(ctx, s.e, s.prog, s.pool).plan(types, shapes)
	if errors.Is(err, errDynamic) {
		p, err = &plan{dynamic: true}, nil
	}
	if err != nil {
		return nil, err
	}
	p.key, p.sig = key, sig
	now := append([]*plan{p}, old[:min(len(old), s.e.cfg.MaxPlans-1)]...)
	s.plans.Store(&now)
	return p, nil
}

const fnvOffset = 14695981039346656037

func mix(h uint64, d int) uint64 { return (h ^ uint64(d)) * 1099511628211 }

func keyOf(in []*tensor.Tensor) uint64 {
	h := uint64(fnvOffset)
	for _, t := range in {
		shape := t.Shape()
		h = mix(mix(h, int(t.DType())), len(shape))
		for _, d := range shape {
			h = mix(h, d)
		}
	}
	return h
}

func find(plans []*plan, key uint64, in []*tensor.Tensor) *plan {
	for _, p := range plans {
		if p.key == key && p.fits(in) {
			return p
		}
	}
	return nil
}

func (p *plan) fits(in []*tensor.Tensor) bool {
	sig := p.sig
	for _, t := range in {
		shape := t.Shape()
		if len(sig) < 2+len(shape) || sig[0] != int(t.DType()) || sig[1] != len(shape) || !slices.Equal(sig[2:2+len(shape)], shape) {
			return false
		}
		sig = sig[2+len(shape):]
	}
	return len(sig) == 0
}
