package train_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// TestDivergence: steps that are far too large end the run, which says at which step, what became no number first, and what to do.
func TestDivergence(t *testing.T) {
	cfg := config(t, train.MLP)
	cfg.Optimizer, cfg.LearningRate, cfg.Schedule = "sgd", 1e5, "constant"
	_, err := train.Run(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "a lower learning rate may help") {
		t.Errorf("error %v does not say what to do", err)
	}
	if err == nil || !regexp.MustCompile(`at step \d+: .*first bad tensor is (the output )?"[a-z0-9.]+", which has (NaN|[+-]Inf) at place \d+ of \d+`).MatchString(err.Error()) {
		t.Errorf("error %v does not name the step and the first bad tensor", err)
	}
	t.Log(err)
}

// TestBadVariable trains a file that has a variable with an infinite number in it: the first step names it.
func TestBadVariable(t *testing.T) {
	cfg := config(t, train.MLP)
	cfg.Epochs, cfg.Out = 1, filepath.Join(t.TempDir(), "a.onnx")
	if _, err := train.Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Open(cfg.Out)
	if err != nil {
		t.Fatal(err)
	}
	tensor.Data[float32](g.Initializer("dense2.bias"))[3] = float32(math.Inf(1))
	cfg.Arch, cfg.Out = filepath.Join(t.TempDir(), "bad.onnx"), ""
	var file bytes.Buffer
	if err := onnx.Write(&file, g); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Arch, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	want := `at step 1: the first bad tensor is "dense2.bias", which has +Inf at place 3 of 32 already before this step`
	if _, err := train.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %s", err, want)
	}
}
