// Package engine is the contract between graphs and what executes them: Engine, Session and Capabilities.
// The implementations are in its subfolders, with batching, which decorates any session; enginetest is the suite that
// each of them passes.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

var (
	// ErrInput says that a run's inputs do not fit the session: a missing or unknown name, a wrong type or shape.
	// It is the caller's fault, and trying again does not help.
	ErrInput = errors.New("input does not fit the model")
	// ErrClosed says that the session was closed.
	ErrClosed = errors.New("session is closed")
	// ErrUnavailable says that an engine or device is not on this machine or not in this build. The message says
	// what to install, set or build.
	ErrUnavailable = errors.New("engine is not available")
	// ErrLost says that the device which a session ran on is gone: reset, unplugged, or in a state that the process cannot leave. It is an ErrUnavailable. The session fails from then on.
	ErrLost = fmt.Errorf("%w: its device is lost", ErrUnavailable)
	// ErrBusy says that so many runs wait for the model already that this one was not taken. Trying again later helps.
	ErrBusy = errors.New("too many runs wait")
	// ErrTooLarge says that a run needs more memory than the engine's limits or the machine have; the message names which. The session goes on.
	ErrTooLarge = errors.New("the run is too large")
	// ErrPanic says that a kernel panicked; it is the engine's fault. The session goes on.
	ErrPanic = errors.New("panic in the engine")
)

// UnsupportedError says which parts of a graph an engine cannot run. Open returns it before anything runs.
type UnsupportedError struct {
	Engine string
	// Ops are operators as "Domain.OpType" ("OpType" alone in ONNX's own domain), with the reason where the
	// operator is known but not with these attributes or types; sorted, without repetition.
	Ops []string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("engine %s does not support %s", e.Engine, strings.Join(e.Ops, ", "))
}

// Options are the settings of one session. The zero value is useful.
type Options struct {
	// Threads is how many goroutines or threads one run may use; 0 leaves it to the engine.
	Threads int
	// Device is "cpu" (or empty) or "cuda:N". An engine without the device returns ErrUnavailable.
	Device string
	// TF32 lets matrix products and convolutions in float32 round their operands to 10 bits, which NVIDIA's devices compute faster: results are off by up to some percent then.
	// Without it the engine's results are those that engines owe each other. It is for CUDA devices alone.
	TF32 bool
	// Precision is Float32 (or empty), or Float16: convolutions and matrix products, and what stands between them, compute in float16 or more
	// exactly; inputs and outputs keep their types.
	Precision string
	// MemoryLimit is how many bytes of a CUDA device's memory the session may take; 0 is no limit. A run that needs more fails with ErrTooLarge.
	MemoryLimit int64
	// Values says that the caller knows ValueSession, so the graph may have inputs and outputs that are no tensors. Otherwise an
	// engine refuses them with an UnsupportedError, as does one whose sessions are no ValueSessions.
	Values bool
	// Settings are the engine's own, by name. An unknown one is an error.
	Settings map[string]string
}

// A Device is where an engine runs sessions.
type Device struct {
	// Name is what Options.Device says: "cpu" or "cuda:N". It is "cuda" where no device of that kind can be seen, with the reason.
	Name string `json:"name"`
	// Model is what its maker calls it.
	Model string `json:"model,omitempty"`
	// Memory is how much the device has of its own, in bytes; 0 where that is not known.
	Memory int64 `json:"memory_bytes,omitempty"`
	// Reason says why no session can run there; empty where one can.
	Reason string `json:"reason,omitempty"`
}

// Capabilities describe an engine on this machine.
type Capabilities struct {
	// Version of the engine, for logs and people.
	Version string
	// Devices are those that Options.Device may name, and with a reason those that it may not.
	Devices []Device
	// MaxOpset is the newest opset of ONNX's own domain that the engine reads.
	MaxOpset int
	// Notes say what a person should know, such as which instructions the kernels use.
	Notes []string
}

// An Engine turns graphs into sessions. It is safe for concurrent use.
type Engine interface {
	// Name is the engine's name in the configuration, such as "native".
	Name() string
	Capabilities() Capabilities
	// Open prepares g for running, and owns nothing of it afterwards: g must not change while Open runs, and its
	// initializers must not change while the session is open. It returns an *UnsupportedError for what the engine
	// lacks. ctx limits the preparation alone.
	Open(ctx context.Context, g *graph.Graph, opts Options) (Session, error)
}

// A Doubt is a node that an engine is known to compute wrongly, always or for some values.
type Doubt struct {
	Op     string // as in UnsupportedError
	Node   string // its name, or the name of its first output
	Reason string
}

func (d Doubt) String() string { return fmt.Sprintf("%s %q: %s", d.Op, d.Node, d.Reason) }

// A Doubter is an engine that knows of such nodes. Open takes them nevertheless: who has a choice of engines asks.
type Doubter interface {
	// Doubts returns the nodes of g, those of its functions and subgraphs included, that may come out wrong. It is for
	// graphs that the engine would open, and leaves g as it is.
	Doubts(g *graph.Graph) []Doubt
}

// A Session runs one graph. It is safe for concurrent use.
type Session interface {
	// Inputs are the graph's placeholders (inputs without an initializer), in order.
	Inputs() []graph.Value
	// Outputs are the graph's outputs, in order.
	Outputs() []graph.Value
	// Run computes the outputs from the inputs, both by position. The caller keeps the inputs and does not write to
	// them until Run returns. Where out[i] is nil, Run sets it to a new tensor of the caller's; where it is not, it
	// must have the type and shape of the result, and is written in place, which spares an allocation. Run checks its
	// inputs (ErrInput). It returns ctx's error when that ends first; a panic inside is an error of this run.
	Run(ctx context.Context, in, out []*tensor.Tensor) error
	// Close frees what the session holds, after the runs in progress. Runs that begin later return ErrClosed.
	Close() error
}

// A Noter is a session that has something to say about how it computes.
type Noter interface {
	// Notes say where it computes in another type than the model says, for want of a kernel or because Options.Precision says so.
	Notes() []string
}

// Run computes a session's outputs by name. Unknown and missing names are ErrInput.
func Run(ctx context.Context, s Session, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	want := s.Inputs()
	in := make([]*tensor.Tensor, len(want))
	for i, v := range want {
		t, ok := inputs[v.Name]
		if !ok || t == nil {
			return nil, fmt.Errorf("%w: input %q is missing (the model takes %s)", ErrInput, v.Name, names(want))
		}
		in[i] = t
	}
	if len(inputs) > len(want) {
		for name := range inputs {
			if !slices.ContainsFunc(want, func(v graph.Value) bool { return v.Name == name }) {
				return nil, fmt.Errorf("%w: there is no input %q (the model takes %s)", ErrInput, name, names(want))
			}
		}
	}
	outs := s.Outputs()
	out := make([]*tensor.Tensor, len(outs))
	if err := s.Run(ctx, in, out); err != nil {
		return nil, err
	}
	m := make(map[string]*tensor.Tensor, len(outs))
	for i, v := range outs {
		m[v.Name] = out[i]
	}
	return m, nil
}

// CheckInputs holds in against the declared placeholders: number, types, ranks and the dimensions that are known; a
// symbolic dimension must have one value in all inputs. Engines call it at the start of a run; it does not allocate
// where all is well and fewer than nine symbols are used.
func CheckInputs(want []graph.Value, in []*tensor.Tensor) error {
	if len(in) != len(want) {
		return fmt.Errorf("%w: %d inputs given, the model takes %d (%s)", ErrInput, len(in), len(want), names(want))
	}
	var buf [8]binding
	bound := buf[:0]
	for i, v := range want {
		t := in[i]
		if t == nil {
			return fmt.Errorf("%w: input %q is missing", ErrInput, v.Name)
		}
		if v.DType != tensor.Invalid && t.DType() != v.DType {
			return fmt.Errorf("%w: input %q must be %v, not %v", ErrInput, v.Name, v.DType, t.DType())
		}
		if v.Shape == nil {
			continue
		}
		shape := t.Shape()
		if len(shape) != len(v.Shape) {
			return fmt.Errorf("%w: input %q must have shape %v, not %v", ErrInput, v.Name, v.Shape, shape)
		}
		for j, d := range v.Shape {
			if d.Known() {
				if int(d.Size) != shape[j] {
					return fmt.Errorf("%w: input %q must have shape %v, not %v", ErrInput, v.Name, v.Shape, shape)
				}
				continue
			}
			if d.Symbol == "" {
				continue
			}
			k := slices.IndexFunc(bound, func(b binding) bool { return b.symbol == d.Symbol })
			if k < 0 {
				bound = append(bound, binding{d.Symbol, shape[j]})
			} else if bound[k].size != shape[j] {
				return fmt.Errorf("%w: dimension %q is %d in input %q and %d before it", ErrInput, d.Symbol, shape[j], v.Name, bound[k].size)
			}
		}
	}
	return nil
}

type binding struct {
	symbol string
	size   int
}

func names(vs []graph.Value) string {
	all := make([]string, len(vs))
	for i, v := range vs {
		all[i] = v.String()
	}
	return strings.Join(all, ", ")
}
