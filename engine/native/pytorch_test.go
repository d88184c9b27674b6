package native_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// leftOut are the nets that are refused, and the operators that they lack.
var leftOut = map[string]string{}

// A goldenCase is a folder with a model and what a framework computed with it.
type goldenCase struct {
	Model string `json:"model"`
	Sets  []struct {
		Inputs  map[string]string `json:"inputs"`
		Outputs map[string]string `json:"outputs"`
	} `json:"sets"`
	RTol   float64 `json:"rtol"`
	ATol   float64 `json:"atol"`
	arrays map[string]*tensor.Tensor
	dir    string
}

func readCase(t *testing.T, dir string) goldenCase {
	t.Helper()
	c := goldenCase{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "data.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if c.arrays, err = media.ReadNPZ(bytes.NewReader(data), int64(len(data)), 1<<30); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPyTorchModels runs nets that PyTorch exported, and compares with what it computed.
func TestPyTorchModels(t *testing.T) {
	folder := sharedtest.Data(t, "pytorch", "models")
	dirs, err := filepath.Glob(filepath.Join(folder, "*", "case.json"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("there are no nets in %s: %v", folder, err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			c := readCase(t, dir)
			g, err := onnx.Open(filepath.Join(dir, c.Model))
			if err != nil {
				t.Fatal(err)
			}
			s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{Threads: 2})
			var lacks *engine.UnsupportedError
			if errors.As(err, &lacks) {
				if want := leftOut[name]; want != join(lacks.Ops) {
					t.Fatalf("it lacks %q, the list says %q", join(lacks.Ops), want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if want := leftOut[name]; want != "" {
				t.Errorf("it is listed as left out for %s", want)
			}
			for i, set := range c.Sets {
				in := map[string]*tensor.Tensor{}
				for name, key := range set.Inputs {
					in[name] = c.arrays[key]
				}
				out, err := engine.Run(t.Context(), s, in)
				if err != nil {
					t.Fatalf("set %d: %v", i, err)
				}
				for name, key := range set.Outputs {
					if err := conformance.Within(out[name], c.arrays[key], conformance.Tolerance{Abs: c.ATol, Rel: c.RTol}); err != nil {
						t.Errorf("set %d: output %s: %v", i, name, err)
					}
				}
			}
		})
	}
}

func join(ops []string) string {
	text := ""
	for i, op := range ops {
		if i > 0 {
			text += ", "
		}
		text += op
	}
	return text
}
