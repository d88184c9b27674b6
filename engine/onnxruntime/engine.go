//go:build cgo

package onnxruntime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime/cuda"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/precision"
	"github.com/millrace/millrace/tensor"
)

// An Engine opens graphs on the library. It is safe for concurrent use.
type Engine struct{ path string }

var _ engine.Engine = (*Engine)(nil)

// New finds and loads the library. It returns engine.ErrUnavailable, with what to do, where that fails.
func New(cfg Config) (*Engine, error) {
	path, err := cfg.Find()
	if err != nil {
		return nil, err
	}
	if err := load(path); err != nil {
		return nil, err
	}
	return &Engine{path: path}, nil
}

// Name is "onnxruntime".
func (e *Engine) Name() string { return Name }

// Capabilities describe the library and the devices. A CUDA device is tried: the library's provider is loaded for it, which may take a second.
func (e *Engine) Capabilities() engine.Capabilities {
	return engine.Capabilities{
		Version: ort.GetVersion(), Devices: append([]engine.Device{{Name: "cpu"}}, e.cudaDevices(cuda.Places{})...), MaxOpset: MaxOpset,
		Notes: []string{"library: " + e.path, "settings: " + strings.Join(settingNames(), ", ")},
	}
}

// cudaDevices lists the CUDA devices, or a device "cuda" with the reason where none can be seen.
func (e *Engine) cudaDevices(places cuda.Places) []engine.Device {
	driver, gpus, err := cuda.Look(places)
	if err != nil {
		return []engine.Device{{Name: "cuda", Reason: err.Error()}}
	}
	devices := make([]engine.Device, len(gpus))
	for i, g := range gpus {
		err := driver.Old()
		if err == nil {
			err = e.try(fmt.Sprintf("cuda:%d", g.Ordinal))
		}
		devices[i] = describe(g, err)
	}
	return devices
}

// try sets up a session's options for a device, which loads what the library needs for it.
func (e *Engine) try(device string) error {
	o, err := sessionOptions(engine.Options{Device: device}, e.path, 0)
	if err != nil {
		return err
	}
	return o.Destroy()
}

// Doubts are the function's, as engine.Doubter wants it.
func (e *Engine) Doubts(g *graph.Graph) []engine.Doubt { return Doubts(g) }

var _ engine.Doubter = (*Engine)(nil)

// smallModel is the size of weights under which a run is too short to share between threads.
const smallModel = 8 << 20

// Open prepares g. Where the library has no kernel for an operator's type, the operator computes in the nearest type
// that has one; Session.Notes says where.
func (e *Engine) Open(ctx context.Context, g *graph.Graph, opts engine.Options) (engine.Session, error) {
	s, err := e.open(ctx, g, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (e *Engine) open(ctx context.Context, g *graph.Graph, opts engine.Options) (*Session, error) {
	if err := engine.TensorsOnly(Name, g); err != nil {
		return nil, err
	}
	if err := opts.CheckDevice(); err != nil {
		return nil, fmt.Errorf("open on onnxruntime: %w", err)
	}
	computed := g
	var notes []string
	switch opts.Precision {
	case "", engine.Float32:
	case engine.Float16:
		var err error
		if computed, notes, err = precision.Float16(g); err != nil {
			return nil, fmt.Errorf("open on onnxruntime: %w", err)
		}
	default:
		return nil, fmt.Errorf("open on onnxruntime: precision %q must be float32 or float16", opts.Precision)
	}
	a, err := adapt(computed)
	if err != nil {
		return nil, fmt.Errorf("open on onnxruntime: %w", err)
	}
	for _, p := range a.inputs {
		if _, ok := elementTypes[p.dtype]; p.dtype.Small() && !ok {
			return nil, &engine.UnsupportedError{Engine: Name, Ops: []string{fmt.Sprintf("input %s of %v", p.value.Name, p.dtype)}}
		}
	}
	a.library = e.path
	tries := map[string]*widening{}
	inlined := false
	last := "" // the node that was changed before this try
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dyn, err := a.open(opts)
		if err == nil {
			for _, w := range tries {
				a.notes = append(a.notes, w.String())
			}
			slices.Sort(a.notes)
			a.notes = append(notes, a.notes...)
			session := newSession(g, a, dyn)
			session.device = opts.Device
			return session, nil
		}
		op, node := missingKernel(err)
		if op == "" && last != "" {
			node = last // the type that was tried is none that the operator takes
		}
		switch {
		case noSchema.MatchString(err.Error()):
			return nil, a.unknown(opts, err)
		case node == "":
			return nil, explain(err)
		case !inlined && len(a.graph.Functions) > 0:
			// The operator may be in a function's body, where nothing can be changed.
			if err := a.inline(); err != nil {
				return nil, err
			}
			inlined = true
			continue
		}
		if !a.widen(tries, node) {
			return nil, &engine.UnsupportedError{Engine: Name, Ops: []string{fmt.Sprintf("%s (no kernel for its types: %v)", a.operator(node), err)}}
		}
		last = node
	}
}

// inline replaces calls of functions by their bodies.
func (a *adapted) inline() error {
	if err := a.graph.Inline(nil); err != nil {
		return err
	}
	a.graph.Values = nil
	typed := a.graph.Clone()
	if err := infer.Shapes(typed); err != nil {
		return err
	}
	a.types = typesOf(typed)
	names := make(map[string]bool, len(a.graph.Nodes))
	for i, n := range a.graph.Nodes {
		if n.Name == "" || names[n.Name] {
			n.Name = fmt.Sprintf("%s_%d", n.OpType, i)
		}
		names[n.Name] = true
	}
	return nil
}

// open makes the library's session.
func (a *adapted) open(opts engine.Options) (_ *ort.DynamicAdvancedSession, err error) {
	data, err := onnx.Encode(a.graph)
	if err != nil {
		return nil, err
	}
	settings, err := sessionOptions(opts, a.library, len(data))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, settings.Destroy()) }()
	inputs := make([]string, 0, len(a.inputs)+1)
	for _, p := range a.inputs {
		inputs = append(inputs, p.name)
	}
	if len(inputs) == 0 {
		inputs = append(inputs, a.graph.Inputs[0].Name)
	}
	return ort.NewDynamicAdvancedSessionWithONNXData(data, inputs, a.names, settings)
}

var (
	noKernel = regexp.MustCompile(`Could not find an implementation for ([\w.]+)\(\d+\) node with name '([^']*)'`)
	noSchema = regexp.MustCompile(`No Op registered for|No opset import for domain|is not a registered function/op|No schema registered for`)
)

// unknown names all operators that the library does not know. It says only the first, so each is asked for alone.
func (a *adapted) unknown(opts engine.Options, first error) error {
	u := &engine.UnsupportedError{Engine: Name}
	asked := map[string]bool{}
	for _, n := range a.graph.Nodes {
		if asked[n.Op()] || a.graph.Function(n.Domain, n.OpType) != nil {
			continue
		}
		asked[n.Op()] = true
		alone := &adapted{library: a.library, graph: &graph.Graph{Name: "one", Opset: a.graph.Opset, Nodes: []*graph.Node{n}, IRVersion: a.graph.IRVersion}}
		for _, in := range n.Inputs {
			if v := (graph.Value{Name: in, DType: cmp.Or(a.types[in], tensor.Float32)}); in != "" && !slices.ContainsFunc(alone.inputs, func(p port) bool { return p.name == in }) {
				alone.graph.Inputs = append(alone.graph.Inputs, v)
				alone.inputs = append(alone.inputs, port{name: in})
			}
		}
		for _, out := range n.Outputs {
			if out != "" {
				alone.graph.Outputs = append(alone.graph.Outputs, graph.Value{Name: out, DType: a.types[out]})
				alone.names = append(alone.names, out)
			}
		}
		if len(alone.inputs) == 0 {
			alone.graph.Inputs = []graph.Value{{Name: "none", DType: tensor.Float32, Shape: graph.Dims(1)}}
		}
		s, err := alone.open(opts)
		if err == nil {
			_ = s.Destroy() // never fails for a session that exists
		} else if noSchema.MatchString(err.Error()) {
			u.Ops = append(u.Ops, n.Op())
		}
	}
	if len(u.Ops) == 0 {
		u.Ops = []string{first.Error()}
	}
	slices.Sort(u.Ops)
	return u
}

// missingKernel returns the operator and node that the library has no kernel for; empty where err is about something else.
func missingKernel(err error) (op, node string) {
	m := noKernel.FindStringSubmatch(err.Error())
	if m == nil {
		return "", ""
	}
	return m[1], m[2]
}

// explain turns the library's refusal into ours.
func explain(err error) error {
	if errors.Is(err, engine.ErrUnavailable) {
		return err
	}
	text := err.Error()
	if _, reason, ok := strings.Cut(text, "Exception during initialization: "); ok {
		// A kernel that exists, but not with these attributes.
		return &engine.UnsupportedError{Engine: Name, Ops: []string{reason}}
	}
	return fmt.Errorf("onnxruntime refuses the model: %w", err)
}

// settings applies each of settingRules, whose value was checked.
var settings = map[string]func(o *ort.SessionOptions, value string) error{
	"graph_optimization": func(o *ort.SessionOptions, v string) error {
		return o.SetGraphOptimizationLevel(map[string]ort.GraphOptimizationLevel{
			"disable": ort.GraphOptimizationLevelDisableAll, "basic": ort.GraphOptimizationLevelEnableBasic,
			"extended": ort.GraphOptimizationLevelEnableExtended, "all": ort.GraphOptimizationLevelEnableAll,
		}[v])
	},
	"execution_mode": func(o *ort.SessionOptions, v string) error {
		return o.SetExecutionMode(map[string]ort.ExecutionMode{"sequential": ort.ExecutionModeSequential, "parallel": ort.ExecutionModeParallel}[v])
	},
	"cpu_mem_arena": func(o *ort.SessionOptions, v string) error { return o.SetCpuMemArena(v == "true") },
	"mem_pattern":   func(o *ort.SessionOptions, v string) error { return o.SetMemPattern(v == "true") },
	"inter_op_threads": func(o *ort.SessionOptions, v string) error {
		n, err := strconv.Atoi(v)
		return errors.Join(err, o.SetInterOpNumThreads(n))
	},
	"spinning": func(o *ort.SessionOptions, v string) error {
		return o.AddSessionConfigEntry("session.intra_op.allow_spinning", map[string]string{"true": "1", "false": "0"}[v])
	},
}

func sessionOptions(opts engine.Options, library string, bytes int) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	if err := configure(o, opts, library, bytes); err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

func configure(o *ort.SessionOptions, opts engine.Options, library string, bytes int) error {
	threads := opts.Threads
	if threads == 0 {
		threads = 1
		if bytes > smallModel {
			threads = runtime.GOMAXPROCS(0)
		}
	}
	if err := errors.Join(
		o.SetIntraOpNumThreads(threads), o.SetInterOpNumThreads(1),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.SetLogSeverityLevel(ort.LoggingLevelFatal), // what fails is returned, and need not be printed as well
	); err != nil {
		return err
	}
	if err := ValidateSettings(opts.Settings); err != nil {
		return fmt.Errorf("onnxruntime settings: %w", err)
	}
	for name, value := range opts.Settings {
		if key, raw := strings.CutPrefix(name, configPrefix); raw {
			if err := o.AddSessionConfigEntry(key, value); err != nil {
				return fmt.Errorf("onnxruntime setting %s: %w", name, err)
			}
			continue
		}
		if err := settings[name](o, value); err != nil {
			return fmt.Errorf("onnxruntime setting %s=%q: %w", name, value, err)
		}
	}
	return putOn(o, opts, library)
}

// putOn puts a session on a CUDA device where one is asked for.
func putOn(o *ort.SessionOptions, opts engine.Options, library string) (err error) {
	name := opts.Device
	if name == "" || name == "cpu" {
		return nil
	}
	id, ok := strings.CutPrefix(name, "cuda:")
	if _, err := strconv.ParseUint(id, 10, 16); !ok || err != nil {
		return fmt.Errorf("%w: onnxruntime has no device %q, only cpu and cuda:N", engine.ErrUnavailable, name)
	}
	if err := hasProvider(library); err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	options, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return unusable(name, err)
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	if err := options.Update(cudaOptions(id, opts)); err != nil {
		return unusable(name, err)
	}
	if err := o.AppendExecutionProviderCUDA(options); err != nil {
		return unusable(name, err)
	}
	return nil
}

// cudaOptions are the settings of the library's CUDA provider, by its names for them.
func cudaOptions(id string, opts engine.Options) map[string]string {
	o := map[string]string{"device_id": id, "use_tf32": "0"} // the library's own default is 1, which rounds to 10 bits
	if opts.TF32 {
		o["use_tf32"] = "1"
	}
	if opts.MemoryLimit > 0 {
		// What is asked for, not the next power of two: otherwise half of the limit may lie idle.
		o["gpu_mem_limit"], o["arena_extend_strategy"] = strconv.FormatInt(opts.MemoryLimit, 10), "kSameAsRequested"
	}
	return o
}

// unusable says what the library says of a device, and who tells more.
func unusable(device string, err error) error {
	return fmt.Errorf("%w: device %s cannot be used (`millrace engine ls` says what is here, and docs/gpu.md what has to be): %w", engine.ErrUnavailable, device, err)
}
