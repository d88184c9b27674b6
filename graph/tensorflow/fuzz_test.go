package tensorflow_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/internal/limittest"
)

var kinds = []string{graphdef.GraphDef, graphdef.MetaGraphDef, graphdef.SavedModel}

// FuzzImport: whatever a file says, it becomes a graph or an error, in a second and in four times its size.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(unpack(f), "*", "*.pb"))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	models, err := filepath.Glob(filepath.Join(unpack(f), "*", "saved_model", "*.pb"))
	if err != nil || len(models) == 0 {
		f.Fatal(models, err)
	}
	for i, list := range [][]string{files, models} {
		for _, name := range list {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, uint8(2*i))
		}
	}
	for _, h := range hostile() {
		f.Add(h.data, uint8(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		if len(data) > 1<<20 {
			return
		}
		limittest.Hold(t, len(data), func() { _ = importBytes(t.Context(), data, kinds[int(kind)%len(kinds)]) })
	})
}

func importBytes(ctx context.Context, data []byte, kind string) error {
	s, err := tensorflow.Decode(data, kind)
	if err != nil {
		return err
	}
	_, err = s.Import(ctx, tensorflow.Options{Evaluator: native.Evaluator()})
	return err
}
