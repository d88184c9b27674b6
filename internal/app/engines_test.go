package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// doubter is the engine in Go under another name, which doubts models by their name.
type doubter struct {
	*native.Engine
	unsure map[string]bool
}

func (d doubter) Name() string { return "onnxruntime" }

func (d doubter) Doubts(g *graph.Graph) []engine.Doubt {
	if !d.unsure[g.Name] {
		return nil
	}
	return []engine.Doubt{{Op: "Relu", Node: "n", Reason: "for a test"}}
}

// picky refuses every model.
type picky struct{ *native.Engine }

func (picky) Open(context.Context, *graph.Graph, engine.Options) (engine.Session, error) {
	return nil, &engine.UnsupportedError{Engine: "native", Ops: []string{"Relu"}}
}

// TestAutoDoubts: auto passes over an engine that doubts its answers, unless nothing else takes the model, it is named,
// or it has the device.
func TestAutoDoubts(t *testing.T) {
	own := native.New(native.Config{})
	library := doubter{own, map[string]bool{"unsure": true}}
	for _, c := range []struct {
		name, model string
		settings    ModelConfig
		list        []engine.Engine
		want, log   string
	}{
		{"sure", "sure", ModelConfig{}, []engine.Engine{library, own}, "onnxruntime", `msg="model opened"`},
		{"unsure", "unsure", ModelConfig{}, []engine.Engine{library, own}, "native", `passed_over=onnxruntime why="Relu \"n\": for a test"`},
		{"auto by name", "unsure", ModelConfig{Engine: "auto"}, []engine.Engine{library, own}, "native", `passed_over=onnxruntime`},
		{"named", "unsure", ModelConfig{Engine: "onnxruntime"}, []engine.Engine{library, own}, "onnxruntime", `msg="model opened"`},
		{"alone", "unsure", ModelConfig{}, []engine.Engine{library, picky{own}}, "onnxruntime", `level=WARN msg="no other engine takes this model`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			e := newEngines(Config{}, slog.New(slog.NewTextHandler(&log, nil)), nil, c.list...)
			m := &model.Model{Name: c.model, Graph: relu(c.model)}
			s, got, err := e.Open(t.Context(), m, c.settings)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got != c.want || !strings.Contains(log.String(), c.log) {
				t.Errorf("opened on %s, want %s; log:\n%s\nwant %s", got, c.want, log.String(), c.log)
			}
		})
	}
	// On a device that the other engine lacks there is no choice.
	e := newEngines(Config{}, slog.New(slog.DiscardHandler), nil, library, own)
	if list, _, err := e.order(relu("unsure"), ModelConfig{Device: "cuda:0"}); err != nil || list[0].Name() != "onnxruntime" {
		t.Errorf("on cuda:0: %v, %v", list, err)
	}
	if first, err := e.For("auto", relu("unsure"), engine.Options{}); err != nil || first.Name() != "native" {
		t.Errorf("For: %v, %v", first, err)
	}
	for name, want := range map[string]string{"sure": "library", "unsure": "own"} {
		opened := ""
		note := func(e engine.Engine, as string) engine.Engine { return noting{e, func() { opened = as }} }
		auto := newEngines(Config{Engine: "onnxruntime"}, slog.New(slog.DiscardHandler), nil, doubting{note(library, "library"), library}, note(own, "own")).Auto()
		s, err := auto.Open(t.Context(), relu(name), engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil || opened != want {
			t.Errorf("Auto took %s for the model %q, want %s; %v", opened, name, want, err)
		}
	}
}

// noting tells when it opens a model, and doubting doubts as another engine does.
type noting struct {
	engine.Engine
	opens func()
}

func (n noting) Open(ctx context.Context, g *graph.Graph, o engine.Options) (engine.Session, error) {
	n.opens()
	return n.Engine.Open(ctx, g, o)
}

type doubting struct {
	engine.Engine
	engine.Doubter
}

func relu(name string) *graph.Graph {
	return &graph.Graph{
		Name: name, Opset: map[string]int64{"": 17},
		Inputs:  []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Dims(2)}},
		Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Dims(2)}},
		Nodes:   []*graph.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}
}

// TestOptions: a model's own options count before those of the engine, and what is said of all models on devices concerns none on the processor.
func TestOptions(t *testing.T) {
	var c Config
	c.Engines.ONNXRuntime = ONNXRuntimeConfig{Threads: 2, Device: "cpu", TF32: true, MemoryLimit: 100, Settings: map[string]string{"spinning": "true"}}
	c.Engines.Native.Threads = 3
	e := newEngines(c, slog.New(slog.DiscardHandler), nil, native.New(native.Config{}))
	settings := c.Engines.ONNXRuntime.Settings
	for _, o := range []struct {
		engine string
		model  ModelConfig
		want   engine.Options
	}{
		{"onnxruntime", ModelConfig{}, engine.Options{Threads: 2, Device: "cpu", Settings: settings}},
		{"onnxruntime", ModelConfig{Device: "cuda:1"}, engine.Options{Threads: 2, Device: "cuda:1", TF32: true, MemoryLimit: 100, Settings: settings}},
		{"onnxruntime", ModelConfig{Device: "cuda:1", MemoryLimit: 7, Precision: "float16", Threads: 1},
			engine.Options{Threads: 1, Device: "cuda:1", TF32: true, Precision: "float16", MemoryLimit: 7, Settings: settings}},
		{"onnxruntime", ModelConfig{TF32: true}, engine.Options{Threads: 2, Device: "cpu", TF32: true, Settings: settings}},
		{"native", ModelConfig{Precision: "float16"}, engine.Options{Threads: 3, Precision: "float16"}},
	} {
		if got := e.options(o.engine, o.model); !reflect.DeepEqual(got, o.want) {
			t.Errorf("%s with %+v: %+v, want %+v", o.engine, o.model, got, o.want)
		}
		if got := e.Options(o.engine, o.model.options()); !reflect.DeepEqual(got, o.want) {
			t.Errorf("Options of %s with %+v: %+v, want %+v", o.engine, o.model, got, o.want)
		}
	}
	// What the grid keeps of a model is all of it.
	m := ModelConfig{Engine: "native", Device: "cuda:1", TF32: true, Precision: "float16", MemoryLimit: 7, Threads: 4}
	if got := (Config{}).runs("m", m.Settings("auto"), true); !reflect.DeepEqual(got, m) {
		t.Errorf("by way of the grid: %+v, want %+v", got, m)
	}
}

// TestNotesLogged: what a session says of how it computes is in the log.
func TestNotesLogged(t *testing.T) {
	var log bytes.Buffer
	e := newEngines(Config{}, slog.New(slog.NewTextHandler(&log, nil)), nil, native.New(native.Config{}))
	s, _, err := e.Open(t.Context(), &model.Model{Name: "m", Graph: relu("m")}, ModelConfig{Precision: "float16"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.Contains(log.String(), "nothing computes in float16") {
		t.Errorf("the log is\n%s", log.String())
	}
}

// TestAutoAvoidsFaults opens the models that the library is known to compute wrongly, and one beside them, with the library itself.
func TestAutoAvoidsFaults(t *testing.T) {
	path, err := onnxruntime.Config{Paths: onnxruntime.SearchPaths(os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), "")}.Find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cfg := Config{}
	cfg.Engines.ONNXRuntime.Library = Path(path)
	e := OpenEngines(cfg, slog.New(slog.DiscardHandler))
	if why := e.Missing()["onnxruntime"]; why != nil {
		t.Skip(why) // a build without cgo
	}
	cases, err := filepath.Glob("../../engine/onnxruntime/testdata/doubts/*/model.onnx")
	if err != nil || len(cases) < 7 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, file := range cases {
		m, err := model.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		s, got, err := e.Open(t.Context(), m, ModelConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Close(); got != native.Name {
			t.Errorf("%s opened on %s", file, got)
		}
	}
	s, got, err := e.Open(t.Context(), &model.Model{Graph: relu("plain")}, ModelConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Close(); got != onnxruntime.Name {
		t.Errorf("a model without a doubt opened on %s", got)
	}
}
