package engine

import (
	"cmp"
	"context"
	"regexp"
	"slices"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph"
)

// deviceRule is the form of Options.Device. Which devices there are shows when a session is opened on one.
var deviceRule = regexp.MustCompile(`^(cpu|cuda:[0-9]{1,3})?$`)

// The precisions that Options.Precision names.
const (
	Float32 = "float32"
	Float16 = "float16"
)

// OnCPU reports whether sessions run on the processor.
func (o Options) OnCPU() bool { return o.Device == "" || o.Device == "cpu" }

// CheckDevice returns what the options ask of a device that the processor has not; an engine asks when it opens a session.
func (o Options) CheckDevice() error {
	var l fault.Errors
	if o.OnCPU() {
		const only = "is for CUDA devices, and the model runs on the processor: set device to cuda:N, or leave this out"
		l.Check(!o.TF32, "tf32", only)
		l.Check(o.MemoryLimit == 0, "memory_limit", only)
	}
	return l.Err()
}

// Validate reports every fault of the options that every engine has, as fault.Errors.
func (o Options) Validate() error {
	var l fault.Errors
	l.Check(o.Threads >= 0, "threads", "%d must be at least 0", o.Threads)
	l.Check(deviceRule.MatchString(o.Device), "device", "%q must be cpu or cuda:N", o.Device)
	l.Check(slices.Contains([]string{"", Float32, Float16}, o.Precision), "precision", "%q must be float32 or float16", o.Precision)
	l.Check(o.MemoryLimit >= 0, "memory_limit", "%d must not be negative", o.MemoryLimit)
	if o.Device == "cpu" { // where it is left out, it may be set elsewhere
		l.Take(o.CheckDevice(), func(path string) (string, bool) { return path, true })
	}
	return l.Err()
}

// With returns e as an engine that opens with those options where its caller leaves them out. It is an Engine and nothing more.
func With(e Engine, o Options) Engine { return with{e, o} }

type with struct {
	Engine
	o Options
}

func (w with) Open(ctx context.Context, g *graph.Graph, o Options) (Session, error) {
	o.Threads = cmp.Or(o.Threads, w.o.Threads)
	o.Device = cmp.Or(o.Device, w.o.Device)
	o.TF32 = o.TF32 || w.o.TF32
	o.Precision = cmp.Or(o.Precision, w.o.Precision)
	o.MemoryLimit = cmp.Or(o.MemoryLimit, w.o.MemoryLimit)
	o.Values = o.Values || w.o.Values
	if o.Settings == nil {
		o.Settings = w.o.Settings
	}
	return w.Engine.Open(ctx, g, o)
}
