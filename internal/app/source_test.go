package app_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/tensor"
)

// adds is a model's file: it adds n to rows of a width.
func adds(t *testing.T, n float32, width int64) []byte {
	t.Helper()
	b := graph.NewBuilder("adds")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: width}})
	b.Output(b.Name(b.Op("Add", nil, x, b.Float(n)), "y"))
	return fileOf(t, b)
}

// fileOf is the file of a model.
func fileOf(t *testing.T, b *graph.Builder) []byte {
	t.Helper()
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	data, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file of the configuration is a source: each start says what became of a change.
func TestChangedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	start := func(file []byte, replace bool) string {
		t.Helper()
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		cfg := app.Defaults()
		cfg.Node.Data = app.Path(filepath.Join(dir, "data"))
		cfg.HTTP.Listen = "127.0.0.1:0"
		cfg.Engine = "native"
		cfg.Models = map[string]app.ModelConfig{"m": {Path: app.Path(path), Replace: replace}}
		cfg.Complete()
		var log bytes.Buffer
		n, err := app.Open(t.Context(), cfg, "test", slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	for i, c := range []struct {
		file        []byte
		replace     bool
		says, never string
	}{
		{adds(t, 1, 2), false, `"a model's source is a new version" model=m path=` + path + " version=1", "changed"},
		{adds(t, 1, 2), false, "", "source"},
		{adds(t, 2, 2), false, "version=2 before=1", "refused"},
		{adds(t, 2, 3), false, "refused", "new version"},
		{[]byte("no model"), false, "refused", "new version"},
		{adds(t, 2, 3), true, "version=3 before=2", "refused"},
	} {
		told := start(c.file, c.replace)
		if !strings.Contains(told, c.says) || strings.Contains(told, c.never) {
			t.Errorf("start %d: want %q and not %q in\n%s", i, c.says, c.never, told)
		}
	}
	if told := start(adds(t, 2, 4), false); !strings.Contains(told, "serves=3") || !strings.Contains(told, "input") {
		t.Errorf("the reasons are not told:\n%s", told)
	}
}
