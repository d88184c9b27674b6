package model_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// classifier is a graph of one product and, where last is not empty, an operator after it.
func classifier(t *testing.T, batch graph.Dim, last string, meta map[string]string) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder("classifier")
	x := b.Input("x", tensor.Float32, graph.Shape{batch, {Size: 4}})
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 4, 3)))
	y := b.Op("MatMul", nil, x, w)
	if last != "" {
		y = b.Op(last, nil, y)
	}
	b.Output(b.Name(y, "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	g.Metadata = meta
	return g
}

var free = graph.Dim{Size: -1, Symbol: "N"}

func TestMetadataRoundTrip(t *testing.T) {
	want := model.Metadata{
		Labels: []string{"a", "b"}, Scale: 0.5, Mean: []float64{0.1307}, Std: []float64{1, 2, 3},
		Invert: "auto", Layout: "NCHW", Centre: "mnist", Output: "logits",
		Columns: []media.Column{
			{Name: "temperature", Type: "number", Mean: new(0.0), Std: new(4.2), Missing: new(20.1)},
			{Name: "state", Type: "category", Categories: []string{"open", "shut"}, Missing: new(1.0)},
		},
		Ignored: []string{"id", "time"}, Task: "classification", Target: "kind", Unit: "°C",
	}
	props := want.Props()
	props["other"] = "left alone"
	got, err := model.ParseMetadata(props)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMetadataFaults(t *testing.T) {
	_, err := model.ParseMetadata(map[string]string{
		"millrace.labels": "a,b", "millrace.scale": "NaN", "millrace.invert": "perhaps", "millrace.colour": "red", "millrace.mean": "[1,",
		"millrace.task": "guess", "millrace.columns": "a,b", "millrace.ignored": "id", "millrace.unit": "\xff",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"millrace.labels", "millrace.scale", "millrace.invert", "millrace.colour", "millrace.mean", "millrace.task", "millrace.columns", "millrace.ignored", "millrace.unit"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestBatched(t *testing.T) {
	for name, c := range map[string]struct {
		batch         graph.Dim
		batched, free bool
	}{
		"symbol":  {free, true, true},
		"unknown": {graph.Dim{Size: -1}, true, true},
		"one":     {graph.Dim{Size: 1}, true, false},
		"eight":   {graph.Dim{Size: 8}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := model.New(classifier(t, c.batch, "", nil))
			if err != nil {
				t.Fatal(err)
			}
			if batched, free := m.Batched(); batched != c.batched || free != c.free {
				t.Errorf("batched %v, free %v; want %v, %v", batched, free, c.batched, c.free)
			}
		})
	}
}

func TestScores(t *testing.T) {
	labels := map[string]string{"millrace.labels": `["a","b","c"]`}
	for last, kind := range map[string]string{"": "logits", "Softmax": "probabilities", "LogSoftmax": "log_probabilities", "Relu": "logits"} {
		m, err := model.New(classifier(t, free, last, labels))
		if err != nil {
			t.Fatal(err)
		}
		s, ok, err := m.Scores()
		if err != nil || !ok || s.Kind != kind || s.Output != 0 {
			t.Errorf("after %q: %+v, %v, %v; want %s", last, s, ok, err, kind)
		}
	}
	m, err := model.New(classifier(t, free, "", map[string]string{"millrace.labels": `["a","b"]`}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Scores(); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("two labels for three scores: %v", err)
	}
}

func TestProbabilities(t *testing.T) {
	for name, c := range map[string]struct {
		kind     string
		in, want []float32
	}{
		"logits":        {"logits", []float32{0, 0}, []float32{0.5, 0.5}},
		"large":         {"logits", []float32{1000, 0}, []float32{1, 0}},
		"minus inf":     {"logits", []float32{1, float32(math.Inf(-1))}, []float32{1, 0}},
		"logarithms":    {"log_probabilities", []float32{0, float32(math.Inf(-1))}, []float32{1, 0}},
		"probabilities": {"probabilities", []float32{0.25, 0.75}, []float32{0.25, 0.75}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (model.Scores{Kind: c.kind}).Probabilities(c.in); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.in); diff != "" {
				t.Error(diff)
			}
		})
	}
	nan := float32(math.NaN())
	for _, in := range [][]float32{{0, nan}, {nan}} {
		if err := (model.Scores{Kind: "logits"}).Probabilities(in); err == nil {
			t.Errorf("%v: no error", in)
		}
	}
	if err := (model.Scores{Kind: "logits"}).Probabilities([]float32{float32(math.Inf(1)), 0}); err == nil {
		t.Error("infinite logit: no error")
	}
}

func TestCompatible(t *testing.T) {
	serving, err := model.New(classifier(t, free, "", nil))
	if err != nil {
		t.Fatal(err)
	}
	same, err := model.New(classifier(t, graph.Dim{Size: -1, Symbol: "B"}, "Softmax", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := serving.Compatible(same); err != nil {
		t.Errorf("another symbol: %v", err)
	}
	fixed, err := model.New(classifier(t, graph.Dim{Size: 1}, "", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := serving.Compatible(fixed); err == nil {
		t.Error("a batch of one alone in place of any: no error")
	}
	b := graph.NewBuilder("other")
	b.Output(b.Name(b.Op("Relu", nil, b.Input("z", tensor.Float64, graph.Shape{free, {Size: 4}})), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	other, err := model.New(g)
	if err != nil {
		t.Fatal(err)
	}
	err = serving.Compatible(other)
	if err == nil || !strings.Contains(err.Error(), `"x" is missing`) || !strings.Contains(err.Error(), "output") {
		t.Errorf("another input and output type: %v", err)
	}
}

func TestDecodeAndOpen(t *testing.T) {
	data, err := onnx.Encode(classifier(t, free, "Softmax", map[string]string{"millrace.labels": `["a","b","c"]`}))
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := model.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if decoded.Digest != opened.Digest || len(decoded.Digest) != 64 || decoded.Bytes != int64(len(data)) {
		t.Errorf("digests %s and %s, %d bytes of %d", decoded.Digest, opened.Digest, decoded.Bytes, len(data))
	}
	if diff := cmp.Diff([]string{"MatMul", "Softmax"}, opened.Operators()); diff != "" {
		t.Error(diff)
	}
	named, err := opened.With("m", 3, map[string]string{"labels": `["x","y","z"]`, "scale": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if named.Name != "m" || named.Version != 3 || named.Labels[0] != "x" || named.Scale != 2 || opened.Labels[0] != "a" {
		t.Errorf("With made %+v of %+v", named.Metadata, opened.Metadata)
	}
	if _, err := opened.With("m", 3, map[string]string{"layout": "HWC"}); err == nil {
		t.Error("a layout that is none: no error")
	}
	if _, err := model.Decode(data[:len(data)/2]); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("half of a file: %v", err)
	}
}

func TestSpec(t *testing.T) {
	m, err := model.New(classifier(t, free, "", map[string]string{"millrace.scale": "0.5"}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if !s.Shape.Equal(tensor.Shape{4}) || s.DType != tensor.Float32 || s.Scale != 0.5 {
		t.Errorf("spec %+v", s)
	}
}
