package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
)

// Engines are the engines of this build, and the choice among them.
type Engines struct {
	cfg  Config
	log  *slog.Logger
	list []engine.Engine // the preferred one first
	why  map[string]error
	lost lostModels
}

// OpenEngines finds the engines that this build and machine have. One that is not there is no error: Get says why.
func OpenEngines(cfg Config, log *slog.Logger) *Engines {
	why := map[string]error{}
	var list []engine.Engine
	if rt, err := openONNXRuntime(cfg.Engines.ONNXRuntime); err != nil {
		why["onnxruntime"] = err
	} else {
		list = append(list, rt)
	}
	return newEngines(cfg, log, why, append(list, native.New(native.Config{
		MaxTensorBytes: int64(cfg.Engines.Native.MaxTensorBytes), MaxRunBytes: int64(cfg.Engines.Native.MaxRunBytes),
	}))...)
}

func newEngines(cfg Config, log *slog.Logger, why map[string]error, list ...engine.Engine) *Engines {
	return &Engines{cfg: cfg, log: log, list: list, why: why}
}

// List returns the engines that are there, the preferred one first.
func (e *Engines) List() []engine.Engine { return e.list }

// Missing returns why engines are not there, by name.
func (e *Engines) Missing() map[string]error { return e.why }

// Get returns an engine by its name; "auto" (or none) is the preferred one.
func (e *Engines) Get(name string) (engine.Engine, error) {
	if name == "" || name == "auto" {
		return e.list[0], nil
	}
	for _, eng := range e.list {
		if eng.Name() == name {
			return eng, nil
		}
	}
	if why := e.why[name]; why != nil {
		return nil, why
	}
	known := make([]string, len(e.list))
	for i, eng := range e.list {
		known[i] = eng.Name()
	}
	return nil, fmt.Errorf("%w: there is no engine %q, only %s", engine.ErrUnavailable, name, strings.Join(known, ", "))
}

// Open opens m on the engine that its settings, or else the configuration, name. With "auto", what the preferred
// engine does not support, or is known to compute wrongly, is tried on the others first; the log says why.
func (e *Engines) Open(ctx context.Context, m *model.Model, settings ModelConfig) (engine.Session, string, error) {
	candidates, doubts, err := e.order(m.Graph, settings)
	if err != nil {
		return nil, "", err
	}
	var faults []error
	for _, eng := range candidates {
		s, err := eng.Open(ctx, m.Graph, e.options(eng.Name(), settings))
		if err == nil {
			log := e.log.With("model", m.Name, "version", m.Version, "engine", eng.Name())
			log.Info("model opened")
			if n, ok := s.(engine.Noter); ok && len(n.Notes()) > 0 {
				log.Info("how the engine computes it", "notes", n.Notes())
			}
			for other, reasons := range doubts {
				if other == eng.Name() {
					log.Warn("no other engine takes this model, and some of its results may be wrong", "why", few(reasons))
				} else {
					log.Info("an engine that is preferred was passed over", "passed_over", other, "why", few(reasons))
				}
			}
			if e.options(eng.Name(), settings).OnCPU() {
				return s, eng.Name(), nil
			}
			return e.onDevice(s, m, settings, log), eng.Name(), nil
		}
		faults = append(faults, err)
		if unsupported := (*engine.UnsupportedError)(nil); !errors.As(err, &unsupported) {
			break
		}
	}
	return nil, "", errors.Join(faults...)
}

// onDevice has a session outlive its device where the engine was not named.
func (e *Engines) onDevice(s engine.Session, m *model.Model, settings ModelConfig, log *slog.Logger) engine.Session {
	d := &deviceSession{s: s, inputs: s.Inputs(), outputs: s.Outputs(), model: m.Name, all: &e.lost, log: log}
	if name := cmp.Or(settings.Engine, e.cfg.Engine, "auto"); name != "auto" {
		return d
	}
	d.onCPU = func(ctx context.Context) (engine.Session, error) {
		there := settings.WithOptions(engine.Options{Threads: settings.Threads, Device: "cpu"})
		on, _, err := e.Open(ctx, m, there)
		return on, err
	}
	return d
}

// For returns the engine that Open would try first for g with those options, by the name of an engine or "auto".
func (e *Engines) For(name string, g *graph.Graph, o engine.Options) (engine.Engine, error) {
	candidates, _, err := e.order(g, ModelConfig{Engine: name}.WithOptions(o))
	if err != nil {
		return nil, err
	}
	return candidates[0], nil
}

// order returns the engines to try. With "auto", those that doubt their own answers come last, and doubts has their
// reasons; but an engine that has the device that is asked for has no rival.
func (e *Engines) order(g *graph.Graph, settings ModelConfig) (candidates []engine.Engine, doubts map[string][]engine.Doubt, err error) {
	name := cmp.Or(settings.Engine, e.cfg.Engine)
	if name != "" && name != "auto" {
		eng, err := e.Get(name)
		return []engine.Engine{eng}, nil, err
	}
	doubts = map[string][]engine.Doubt{}
	var last []engine.Engine
	for _, eng := range e.list {
		if d, ok := eng.(engine.Doubter); ok && e.options(eng.Name(), settings).OnCPU() {
			if reasons := d.Doubts(g); len(reasons) > 0 {
				doubts[eng.Name()] = reasons
				last = append(last, eng)
				continue
			}
		}
		candidates = append(candidates, eng)
	}
	return append(candidates, last...), doubts, nil
}

// few lists the first reasons, for a line of the log.
func few(doubts []engine.Doubt) string {
	const most = 5
	var b strings.Builder
	for i, d := range doubts {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(doubts)-most)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.String())
	}
	return b.String()
}

// Options are what a session of the named engine is opened with where somebody asks for o: what o leaves out, the configuration says.
func (e *Engines) Options(name string, o engine.Options) engine.Options {
	return e.options(name, ModelConfig{}.WithOptions(o))
}

// options are what a model's settings say of its sessions.
func (m ModelConfig) options() engine.Options {
	return engine.Options{Threads: m.Threads, Device: m.Device, TF32: m.TF32, Precision: m.Precision, MemoryLimit: int64(m.MemoryLimit)}
}

// WithOptions returns m with what options of a session say.
func (m ModelConfig) WithOptions(o engine.Options) ModelConfig {
	m.Threads, m.Device, m.TF32, m.Precision, m.MemoryLimit = o.Threads, o.Device, o.TF32, o.Precision, Size(o.MemoryLimit)
	return m
}

func (e *Engines) options(name string, settings ModelConfig) engine.Options {
	o := settings.options()
	switch name {
	case "onnxruntime":
		rt := e.cfg.Engines.ONNXRuntime
		o.Threads = cmp.Or(o.Threads, rt.Threads)
		o.Device = cmp.Or(o.Device, rt.Device)
		o.Settings = rt.Settings
		if !o.OnCPU() { // what is said of all models on devices concerns none on the processor
			o.TF32 = o.TF32 || rt.TF32
			o.MemoryLimit = cmp.Or(o.MemoryLimit, int64(rt.MemoryLimit))
		}
	case "native":
		o.Threads = cmp.Or(o.Threads, e.cfg.Engines.Native.Threads)
	}
	return o
}
