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
	"github.com/millrace/millrace/model"
)

// Engines are the engines of this build, and the choice among them.
type Engines struct {
	cfg  Config
	log  *slog.Logger
	list []engine.Engine // the preferred one first
	why  map[string]error
}

// OpenEngines finds the engines that this build and machine have. One that is not there is no error: Get says why.
func OpenEngines(cfg Config, log *slog.Logger) *Engines {
	e := &Engines{cfg: cfg, log: log, why: map[string]error{}}
	if rt, err := openONNXRuntime(cfg.Engines.ONNXRuntime); err != nil {
		e.why["onnxruntime"] = err
	} else {
		e.list = append(e.list, rt)
	}
	e.list = append(e.list, native.New(native.Config{}))
	return e
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
// engine does not support is tried on the others.
func (e *Engines) Open(ctx context.Context, m *model.Model, settings ModelConfig) (engine.Session, string, error) {
	name := cmp.Or(settings.Engine, e.cfg.Engine)
	first, err := e.Get(name)
	if err != nil {
		return nil, "", err
	}
	candidates := []engine.Engine{first}
	if name == "" || name == "auto" {
		candidates = e.list
	}
	var faults []error
	for _, eng := range candidates {
		s, err := eng.Open(ctx, m.Graph, e.options(eng.Name(), settings))
		if err == nil {
			e.log.Info("model opened", "model", m.Name, "version", m.Version, "engine", eng.Name())
			return s, eng.Name(), nil
		}
		faults = append(faults, err)
		if unsupported := (*engine.UnsupportedError)(nil); !errors.As(err, &unsupported) {
			break
		}
	}
	return nil, "", errors.Join(faults...)
}

func (e *Engines) options(name string, settings ModelConfig) engine.Options {
	o := engine.Options{Threads: settings.Threads, Device: settings.Device}
	switch name {
	case "onnxruntime":
		o.Threads = cmp.Or(o.Threads, e.cfg.Engines.ONNXRuntime.Threads)
		o.Device = cmp.Or(o.Device, e.cfg.Engines.ONNXRuntime.Device)
		o.Settings = e.cfg.Engines.ONNXRuntime.Settings
	case "native":
		o.Threads = cmp.Or(o.Threads, e.cfg.Engines.Native.Threads)
	}
	return o
}
