package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/graph/tensorflow/rewrite"
	"github.com/millrace/millrace/graph/tensorflow/tensorflowtest"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/tensor"
)

// TestVerifyImport holds that what the passes make of a net is what it was, and that a pass which breaks something is named.
func TestVerifyImport(t *testing.T) {
	dir := t.TempDir()
	if err := tensorflowtest.Small.SavedModel(dir); err != nil {
		t.Fatal(err)
	}
	relu := func(to string) func(*graph.Graph) (int, error) {
		return func(g *graph.Graph) (int, error) {
			for _, n := range g.Nodes {
				if n.OpType == "Relu" {
					n.OpType = to
					return 1, nil
				}
			}
			return 0, nil
		}
	}
	wider := func(g *graph.Graph) (int, error) {
		for i, in := range g.Initializers {
			if in.Tensor.DType() != tensor.Float32 || in.Tensor.Rank() < 2 {
				continue
			}
			larger := in.Tensor.Clone()
			for k := range tensor.Data[float32](larger) {
				tensor.Data[float32](larger)[k] *= 1.01
			}
			g.Initializers[i].Tensor = larger
		}
		return 0, nil
	}
	for _, c := range []struct {
		name   string
		passes []rewrite.Pass
		pass   string // which the error names
	}{
		{"all", nil, ""},
		{"another operator", append(rewrite.All(), rewrite.Custom("breaks", relu("Sigmoid")), rewrite.Custom("after", func(*graph.Graph) (int, error) { return 0, nil })), "breaks"},
		{"an operator that does not open", append([]rewrite.Pass{rewrite.Custom("breaks", relu("Reloo"))}, rewrite.All()...), "breaks"},
		{"weights that are a hundredth larger", append(rewrite.All(), rewrite.Custom("wider", wider)), "wider"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := tensorflow.Options{Passes: c.passes}
			m, _, err := app.ImportModel(t.Context(), dir, opts)
			if err == nil {
				err = app.VerifyImport(t.Context(), dir, opts, m)
			}
			switch {
			case c.pass == "" && err != nil:
				t.Error(err)
			case c.pass != "" && (err == nil || !strings.Contains(err.Error(), "pass "+c.pass+":")):
				t.Errorf("the error does not name pass %s: %v", c.pass, err)
			}
		})
	}
}

// TestVerifyAll verifies every network of the shared data that is converted: none is changed, and few cannot be verified.
func TestVerifyAll(t *testing.T) {
	root := filepath.Join(sharedtest.Data(t, "tensorflow"), "nets")
	nets, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	verified := 0
	for _, e := range nets {
		path := filepath.Join(root, e.Name(), "saved_model")
		if _, err := os.Stat(path); err != nil {
			continue
		}
		m, _, err := app.ImportModel(t.Context(), path, tensorflow.Options{})
		if err != nil {
			continue // refused, or it has several signatures: TestGolden sees to that
		}
		switch err := app.VerifyImport(t.Context(), path, tensorflow.Options{}, m); {
		case err == nil:
			verified++
		case errors.Is(err, app.ErrUnverified):
			t.Logf("%s: %v", e.Name(), err)
		default:
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
	if verified < 40 {
		t.Errorf("%d networks were verified", verified)
	}
}
