// Package native is the engine in pure Go: it runs graphs on the processor, without cgo and without other libraries.
// The arithmetic of matrix products and convolutions is left to its subpackage gemm, and formats to graph's subfolders.
//
// A graph becomes a program when it is opened (functions inlined, constants folded, operators fused), and a program
// becomes a plan for each set of input shapes that it is run with: every shape, every buffer and every kernel is
// settled then, so that a run only computes. See DESIGN.md in this folder.
package native

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/precision"
	"github.com/millrace/millrace/tensor"
)

// Name is the engine's name in the configuration.
const Name = "native"

// MaxOpset is the newest opset of ONNX's own domain whose operators the engine knows.
const MaxOpset = 27

// Config are the engine's limits. The zero value is useful.
type Config struct {
	// MaxTensorBytes is the most that one tensor of a run may take; 0 is 2 GiB.
	MaxTensorBytes int64
	// MaxRunBytes is the most that all intermediate tensors of one run may take; 0 is twice MaxTensorBytes.
	MaxRunBytes int64
	// MaxPlans is how many sets of input shapes a session remembers the plan of; 0 is 24. Sizes of batches up to the next
	// power of two are one set where the model's rows do not depend on each other.
	MaxPlans int
	// MaxIdleBytes is the most memory that a session keeps between runs for the next ones, beside the weights; 0 is 512 MiB.
	// What one run needs is kept even where it is more.
	MaxIdleBytes int64
	// MaxThreads is the most threads that a session may have, and what it has by default; 0 is one for each processor,
	// at most 8.
	MaxThreads int
	// Portable keeps to the kernels in plain Go, for tests and for comparing results between machines.
	Portable bool
}

// Validate reports every setting that makes no sense.
func (c Config) Validate() error {
	var errs []error
	for _, s := range []struct {
		name  string
		value int64
	}{{"MaxTensorBytes", c.MaxTensorBytes}, {"MaxRunBytes", c.MaxRunBytes}, {"MaxIdleBytes", c.MaxIdleBytes}, {"MaxPlans", int64(c.MaxPlans)}, {"MaxThreads", int64(c.MaxThreads)}} {
		if s.value < 0 {
			errs = append(errs, fmt.Errorf("native engine: %s is %d and must not be negative", s.name, s.value))
		}
	}
	return errors.Join(errs...)
}

// An Engine opens graphs. It is safe for concurrent use.
type Engine struct {
	cfg    Config
	kernel *gemm.Kernel
	rows   [arithmetics]rowFunc[float32, float32]
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine with these limits; negative ones count as 0.
func New(cfg Config) *Engine {
	if cfg.MaxTensorBytes <= 0 {
		cfg.MaxTensorBytes = 2 << 30
	}
	if cfg.MaxRunBytes <= 0 {
		cfg.MaxRunBytes = 2 * cfg.MaxTensorBytes
	}
	if cfg.MaxPlans <= 0 {
		cfg.MaxPlans = 24
	}
	if cfg.MaxIdleBytes <= 0 {
		cfg.MaxIdleBytes = 512 << 20
	}
	if cfg.MaxThreads <= 0 {
		cfg.MaxThreads = min(runtime.GOMAXPROCS(0), 8)
	}
	e := &Engine{cfg: cfg, kernel: gemm.Default()}
	if cfg.Portable {
		all := gemm.Available()
		e.kernel = all[len(all)-1]
	}
	for op := range arithmetics {
		e.rows[op] = float32Row(e.kernel, op)
	}
	return e
}

// Name returns "native".
func (e *Engine) Name() string { return Name }

// Capabilities describe the engine on this machine.
func (e *Engine) Capabilities() engine.Capabilities {
	return engine.Capabilities{
		Version:  runtime.Version(),
		Devices:  []engine.Device{{Name: "cpu"}},
		MaxOpset: MaxOpset,
		Notes:    []string{"matrix kernels: " + e.kernel.Name()},
	}
}

// Open prepares g. It returns an *engine.UnsupportedError that names every operator it cannot run.
func (e *Engine) Open(ctx context.Context, g *graph.Graph, opts engine.Options) (engine.Session, error) {
	s, err := e.open(ctx, g, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (e *Engine) open(ctx context.Context, g *graph.Graph, opts engine.Options) (s *Session, err error) {
	if opts.Device != "" && opts.Device != "cpu" {
		return nil, fmt.Errorf("%w: engine native has no device %q, only cpu", engine.ErrUnavailable, opts.Device)
	}
	for name := range opts.Settings {
		return nil, fmt.Errorf("engine native has no setting %q", name)
	}
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("engine native: %w", err)
	}
	if err := opts.CheckDevice(); err != nil {
		return nil, fmt.Errorf("engine native: %w", err)
	}
	threads := opts.Threads
	if threads == 0 {
		threads = e.cfg.MaxThreads
	}
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("%w: engine native: open model %q: %s", engine.ErrPanic, g.Name, panicText(p))
		}
	}()
	if !opts.Values {
		if err := engine.TensorsOnly(Name, g); err != nil {
			return nil, err
		}
	}
	computed := g
	var notes []string
	if opts.Precision == engine.Float16 {
		if computed, notes, err = precision.Float16(g); err != nil {
			return nil, fmt.Errorf("engine native: %w", err)
		}
	}
	p, err := e.compile(ctx, computed)
	if err != nil {
		return nil, err
	}
	if s, err = newSession(ctx, e, computed, p, min(threads, e.cfg.MaxThreads)); err != nil {
		return nil, err
	}
	s.notes = notes
	return s, nil
}

// Evaluator returns what runs small graphs for constant folding, with plain limits and one thread.
func Evaluator() graph.Evaluator {
	return evaluator{New(Config{MaxTensorBytes: 256 << 20, MaxThreads: 1})}
}

type evaluator struct{ e *Engine }

// Evaluate runs g, which has no placeholders, and returns its outputs in order.
func (v evaluator) Evaluate(ctx context.Context, g *graph.Graph) ([]*tensor.Tensor, error) {
	s, err := v.e.open(ctx, g, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	out := make([]*tensor.Tensor, len(s.Outputs()))
	err = s.Run(ctx, nil, out)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}
