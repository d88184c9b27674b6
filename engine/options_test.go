package engine_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
)

func TestOptionsValidate(t *testing.T) {
	for _, o := range []engine.Options{{}, {Device: "cpu", Threads: 8}, {Device: "cuda:0"}, {Device: "cuda:127"}, {Precision: "float16"}, {TF32: true, MemoryLimit: 1 << 30}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for o, want := range map[*engine.Options]string{
		{Threads: -1}:                "threads: -1 must be at least 0",
		{Device: "cuda:"}:            `device: "cuda:" must be cpu or cuda:N`,
		{Precision: "half"}:          `precision: "half" must be float32 or float16`,
		{MemoryLimit: -1}:            "memory_limit: -1 must not be negative",
		{Device: "cpu", TF32: true}:  "tf32: is for CUDA devices, and the model runs on the processor: set device to cuda:N, or leave this out",
		{Threads: -1, Device: "tpu"}: "threads: -1 must be at least 0\n" + `device: "tpu" must be cpu or cuda:N`,
	} {
		if err := o.Validate(); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", *o, err, want)
		}
	}
}

// asked keeps what it was asked to open with.
type asked struct {
	engine.Engine
	o *engine.Options
}

func (a asked) Open(_ context.Context, _ *graph.Graph, o engine.Options) (engine.Session, error) {
	*a.o = o
	return nil, nil
}

// TestWith: every option that the caller leaves out is the one given, and what he says counts.
func TestWith(t *testing.T) {
	var got engine.Options
	given := engine.Options{Threads: 3, Device: "cuda:1", TF32: true, Precision: engine.Float16, MemoryLimit: 5, Values: true, Settings: map[string]string{"a": "b"}}
	for i, v := 0, reflect.ValueOf(given); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the test leaves out %s", v.Type().Field(i).Name)
		}
	}
	e := engine.With(asked{o: &got}, given)
	if _, err := e.Open(t.Context(), nil, engine.Options{}); err != nil || !reflect.DeepEqual(got, given) {
		t.Errorf("opened with %+v, want %+v; %v", got, given, err)
	}
	own := engine.Options{Threads: 1, Device: "cpu", Precision: engine.Float32, MemoryLimit: 7, Settings: map[string]string{}}
	if _, err := e.Open(t.Context(), nil, own); err != nil || got.Threads != 1 || got.Device != "cpu" || got.Precision != engine.Float32 || got.MemoryLimit != 7 || len(got.Settings) != 0 {
		t.Errorf("opened with %+v, want %+v; %v", got, own, err)
	}
}

// TestCheckDevice: what only devices have is refused on the processor, named or not.
func TestCheckDevice(t *testing.T) {
	for _, o := range []engine.Options{{TF32: true}, {MemoryLimit: 1}, {Device: "cpu", TF32: true}} {
		if o.CheckDevice() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	for _, o := range []engine.Options{{}, {Precision: engine.Float16}, {Device: "cuda:0", TF32: true, MemoryLimit: 1}} {
		if err := o.CheckDevice(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
