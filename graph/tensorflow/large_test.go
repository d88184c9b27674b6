package tensorflow_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/graph/tensorflow/tensorflowtest"
	"github.com/millrace/millrace/tensor"
)

// Weights that are large enough to stay in their file, and to be transposed at the end, give the same answers in every form of file.
func TestLarge(t *testing.T) {
	n := tensorflowtest.Net{Channels: 192, Convs: 2, Width: 256, Denses: 1}
	dir := t.TempDir()
	files := map[string]func() error{
		"saved":           func() error { return n.SavedModel(filepath.Join(dir, "saved")) },
		"model.ckpt.meta": func() error { return n.Meta(filepath.Join(dir, "model.ckpt")) },
		"graph.pb":        func() error { return n.Frozen(filepath.Join(dir, "graph.pb")) },
	}
	x := tensor.Must(tensor.New(tensor.Float32, 2, 8, 8, n.Channels))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(i%17) / 17
	}
	var want *tensor.Tensor
	for name, write := range files {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		g := importFile(t, filepath.Join(dir, name))
		for _, node := range g.Nodes {
			if node.OpType == "Transpose" && g.Initializer(node.Inputs[0]) != nil {
				t.Errorf("%s: the weights are transposed when the model runs", name)
			}
		}
		s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out := make([]*tensor.Tensor, 1)
		if err := s.Run(t.Context(), []*tensor.Tensor{x}, out); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = out[0]
		}
		if !bytes.Equal(out[0].Bytes(), want.Bytes()) {
			t.Errorf("%s: its answer is another one", name)
		}
	}
}

func importFile(t *testing.T, name string) *graph.Graph {
	t.Helper()
	res, err := tensorflow.Import(t.Context(), name, tensorflow.Options{Evaluator: native.Evaluator()})
	if err != nil {
		t.Fatal(err)
	}
	return res.Graph
}

// A file whose weights stay in it becomes what it does when it is in memory, and is refused when it has changed in between.
func TestFileStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "graph.pb")
	if err := (tensorflowtest.Net{Channels: 192, Convs: 1, Width: 16, Denses: 1}).Frozen(file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tensorflow.Decode(data, graphdef.GraphDef)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Import(t.Context(), tensorflow.Options{Evaluator: native.Evaluator()})
	if err != nil {
		t.Fatal(err)
	}
	want, err := onnx.Encode(res.Graph)
	if err != nil {
		t.Fatal(err)
	}
	got, err := onnx.Encode(importFile(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("it becomes another model")
	}
	if s, err = tensorflow.Open(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(t.Context(), tensorflow.Options{Evaluator: native.Evaluator()}); err == nil || !strings.Contains(err.Error(), "was changed while it was read") {
		t.Error(err)
	}
}
