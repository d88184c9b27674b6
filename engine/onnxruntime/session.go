//go:build cgo

package onnxruntime

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"sync"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Session runs one graph on the library. It is safe for concurrent use.
type Session struct {
	inputs, outputs []graph.Value
	in, out         []port
	notes           []string
	fatal           string // the node that ends the process where an axis has no length; "" without one

	mu     sync.RWMutex // held for reading by runs, for writing by Close
	dyn    *ort.DynamicAdvancedSession
	bound  bound
	frames frames

	device string
	lost   atomic.Pointer[error] // set by the run that lost the device
}

var _ engine.Noter = (*Session)(nil)

func newSession(g *graph.Graph, a *adapted, dyn *ort.DynamicAdvancedSession) *Session {
	s := &Session{inputs: g.Placeholders(), outputs: g.Outputs, in: a.inputs, out: a.outputs, notes: a.notes, fatal: fatal(g), dyn: dyn}
	s.bound.room = 2 * (len(s.in) + len(s.out))
	s.frames.make = func() *frame {
		return &frame{in: make([]ort.Value, max(1, len(s.in))), out: make([]ort.Value, len(a.names))}
	}
	return s
}

// Notes say where the session computes in another type than the model says, on request or for want of a kernel.
func (s *Session) Notes() []string { return s.notes }

// Inputs are the graph's placeholders.
func (s *Session) Inputs() []graph.Value { return s.inputs }

// Outputs are the graph's outputs.
func (s *Session) Outputs() []graph.Value { return s.outputs }

// Close frees the library's session after the runs in progress.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dyn == nil {
		return nil
	}
	err := errors.Join(s.bound.clear(), s.frames.clear(), s.dyn.Destroy())
	s.dyn = nil
	giveBack()
	return err
}

// frame is what one run needs beside its tensors.
type frame struct {
	in, out []ort.Value
	used    []*binding
	stopper stopper
}

// frames keeps those that no run uses; as many as there were runs at a time.
type frames struct {
	make func() *frame
	mu   sync.Mutex
	free []*frame
}

func (fs *frames) get() *frame {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := len(fs.free)
	if n == 0 {
		return fs.make()
	}
	f := fs.free[n-1]
	fs.free = fs.free[:n-1]
	return f
}

func (fs *frames) put(f *frame) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.free = append(fs.free, f)
}

// clear frees what the library made for the frames. No run is in progress.
func (fs *frames) clear() error {
	var faults []error
	for _, f := range fs.free {
		faults = append(faults, f.stopper.close())
	}
	fs.free = nil
	return errors.Join(faults...)
}

// Run computes the outputs. A context that ends stops it.
func (s *Session) Run(ctx context.Context, in, out []*tensor.Tensor) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := engine.CheckInputs(s.inputs, in); err != nil {
		return err
	}
	if err := s.checkEmpty(in); err != nil {
		return err
	}
	if len(out) != len(s.outputs) {
		return fmt.Errorf("%w: room for %d outputs, the model has %d", engine.ErrInput, len(out), len(s.outputs))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.dyn == nil {
		return engine.ErrClosed
	}
	if lost := s.lost.Load(); lost != nil {
		return *lost
	}
	f := s.frames.get()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("onnxruntime: run failed: %v\n%s", r, debug.Stack())
		}
		s.finish(f)
	}()
	if err := s.bind(f, in, out); err != nil {
		return err
	}
	if err := s.compute(ctx, f); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = runFault(err, s.device)
		if errors.Is(err, engine.ErrLost) {
			s.lost.Store(&err)
		}
		return err
	}
	for i, p := range s.out {
		if err := s.unpack(f, i, p, out); err != nil {
			return fmt.Errorf("output %q: %w", p.value.Name, err)
		}
	}
	return nil
}

// runFault is what the library's error of a run on a device means.
func runFault(err error, device string) error {
	text := err.Error()
	onCPU := engine.Options{Device: device}.OnCPU()
	switch {
	case wrongOutput.MatchString(text):
		return fmt.Errorf("%w: a tensor that was given for an output has not the result's shape: %w", engine.ErrInput, err)
	case !onCPU && lostDevice.MatchString(text):
		return fmt.Errorf("%w: %s: onnxruntime: %w", engine.ErrLost, device, err)
	case !onCPU && (outOfMemory.MatchString(text) || deviceMemory.MatchString(text)):
		return fmt.Errorf("%w: the memory of %s, or memory_limit, is at its end: onnxruntime: %w", engine.ErrTooLarge, device, err)
	case outOfMemory.MatchString(text):
		return fmt.Errorf("%w: the machine's memory is at its end: onnxruntime: %w", engine.ErrTooLarge, err)
	}
	return fmt.Errorf("onnxruntime: %w", err)
}

// lostDevice are the codes of CUDA's errors (driver_types.h) after which nothing more runs in the process on that device: it is not there any more (46, 100, 101), its memory has a fault (214, 226),
// or its context is broken by a kernel (700, 702, 710, 714 to 720) or for a reason that is not known (999).
var lostDevice = regexp.MustCompile(`CUDA failure (46|100|101|214|226|700|702|710|71[4-9]|720|999):`)

// deviceMemory is what CUDA and its libraries say where a device has no more memory.
var deviceMemory = regexp.MustCompile(`CUDA failure 2:|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|DEVICE_ALLOCATION_FAILED`)

// wrongOutput is what the library says of a tensor for an output that does not fit.
var wrongOutput = regexp.MustCompile(`Invalid rank for output|Got invalid dimensions for output|shape verification failed`)

// bind makes the library's values of the tensors, or finds those that it made before.
func (s *Session) bind(f *frame, in, out []*tensor.Tensor) error {
	s.bound.findAll(f, s.in, in, s.out, out)
	for i, p := range s.in {
		if f.in[i] != nil {
			continue
		}
		b, err := s.bound.get(in[i], p)
		if err != nil {
			return fmt.Errorf("input %q: %w", p.value.Name, err)
		}
		f.in[i], f.used = b.value, append(f.used, b)
	}
	if len(s.in) == 0 {
		none, err := ort.NewTensor(ort.NewShape(1), []float32{0})
		if err != nil {
			return err
		}
		f.in[0], f.used = none, append(f.used, &binding{value: none})
	}
	for i, p := range s.out {
		t := out[i]
		if t == nil || f.out[i] != nil {
			continue
		}
		if p.value.DType != tensor.Invalid && t.DType() != p.value.DType {
			return fmt.Errorf("%w: output %q is %v, the tensor for it %v", engine.ErrInput, p.value.Name, p.value.DType, t.DType())
		}
		if p.dtype != t.DType() || p.shape != "" || t.DType() == tensor.String {
			continue // is copied from a value of the library's
		}
		b, err := s.bound.get(t, p)
		if err != nil {
			return fmt.Errorf("output %q: %w", p.value.Name, err)
		}
		f.out[i], f.used = b.value, append(f.used, b)
	}
	return nil
}

// compute calls the library, and stops it when ctx ends.
func (s *Session) compute(ctx context.Context, f *frame) (err error) {
	options, err := f.stopper.begin(ctx)
	if err != nil {
		return err
	}
	if options == nil {
		return s.dyn.Run(f.in, f.out)
	}
	defer func() { err = errors.Join(err, f.stopper.end()) }()
	return s.dyn.RunWithOptions(f.in, f.out, options)
}

// unpack gives the caller an output that the library allocated, or writes it into the caller's tensor.
func (s *Session) unpack(f *frame, i int, p port, out []*tensor.Tensor) error {
	if out[i] != nil && f.out[i] != nil && len(f.used) > 0 && s.isBound(f, f.out[i]) {
		return nil // written in place
	}
	var shape tensor.Shape
	if p.shape != "" {
		j := len(s.out)
		for k := range i {
			if s.out[k].shape != "" {
				j++
			}
		}
		dims, ok := f.out[j].(*ort.Tensor[int64])
		if !ok {
			return fmt.Errorf("its shape came as %T", f.out[j])
		}
		for _, d := range dims.GetData() {
			shape = append(shape, int(d))
		}
	} else if p.scalar {
		shape = tensor.Shape{}
	} else {
		for _, d := range f.out[i].GetShape() {
			shape = append(shape, int(d))
		}
	}
	t, err := fromValue(f.out[i], shape, p.value.DType)
	if err != nil {
		return err
	}
	if out[i] == nil {
		out[i] = t
		return nil
	}
	return copyInto(out[i], t)
}

func (s *Session) isBound(f *frame, v ort.Value) bool {
	for _, b := range f.used {
		if b.value == v {
			return true
		}
	}
	return false
}

// finish gives values back, destroys those that the run made, and keeps the frame for another run.
func (s *Session) finish(f *frame) {
	for i, v := range f.out {
		if custom, ok := v.(*ort.CustomDataTensor); ok && custom == nil {
			v = nil // which the wrapper leaves of an output that it could not make
		}
		if v != nil && !s.isBound(f, v) {
			_ = v.Destroy() // never fails for a value that exists
		}
		f.out[i] = nil
	}
	s.bound.put(f.used)
	clear(f.used)
	f.used = f.used[:0]
	clear(f.in)
	s.frames.put(f)
}

// outOfMemory is what the library says where the machine has no more memory.
var outOfMemory = regexp.MustCompile(`Failed to allocate memory|bad allocation|std::bad_alloc|out of memory`)
