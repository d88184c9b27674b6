package train_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// TestReplaceHead gives a net that knows three labels another last layer, for a set with two others.
func TestReplaceHead(t *testing.T) {
	cfg := config(t, train.CNN)
	cfg.Epochs, cfg.Out = 1, filepath.Join(t.TempDir(), "a.onnx")
	first, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	two, err := train.Collect(func(yield func(train.Example, error) bool) {
		for e := range cfg.Set.Examples() {
			if e.Label < 2 && !yield(e, nil) {
				return
			}
		}
	}, []string{"flat", "tall"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Arch, cfg.Out, cfg.Set, cfg.Epochs = cfg.Out, "", two, 3
	if _, err := train.Run(t.Context(), cfg); !errors.Is(err, train.ErrData) {
		t.Fatalf("other labels and the old head: %v", err)
	}
	cfg.ReplaceHead = 3
	if _, err := train.Run(t.Context(), cfg); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "3 classes, and the data set has 2") {
		t.Fatalf("another number than the data has: %v", err)
	}
	cfg.ReplaceHead = 2
	cfg.Frozen = []string{"conv1.weight", "conv2.weight"}
	r, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(r.Model)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(m.Labels, " ") != "flat tall" || r.Evaluation.Accuracy() < 0.95 || m.Outputs()[0].Shape.String() != "[N,2]" {
		t.Errorf("labels %v, accuracy %v, outputs %v", m.Labels, r.Evaluation.Accuracy(), m.Outputs())
	}
	if !bytes.Equal(first.Model.Initializer("conv1.weight").Bytes(), r.Model.Initializer("conv1.weight").Bytes()) {
		t.Error("what is before the head was not kept")
	}
	if r.Model.Initializer("dense2.weight") != nil {
		t.Error("the old head is still there")
	}
	// The forms that last layers have in other programs' files.
	for _, c := range []struct {
		name  string
		build func(b *graph.Builder, r *rand.Rand, x string) string
		fault string
	}{
		{"transposed", func(b *graph.Builder, r *rand.Rand, x string) string {
			return b.Op("Gemm", graph.Attrs{"transB": int64(1)}, x, b.Init("w", weights(r, 3, 144)), b.Init("b", weights(r, 3)))
		}, ""},
		{"without bias", func(b *graph.Builder, r *rand.Rand, x string) string {
			return b.Op("LogSoftmax", nil, b.Op("Gemm", nil, x, b.Init("w", weights(r, 144, 3))))
		}, ""},
		{"product and sum", func(b *graph.Builder, r *rand.Rand, x string) string {
			return b.Op("Softmax", nil, b.Op("Add", nil, b.Init("b", weights(r, 3)), b.Op("MatMul", nil, x, b.Init("w", weights(r, 144, 3)))))
		}, ""},
		{"product alone", func(b *graph.Builder, r *rand.Rand, x string) string {
			return b.Op("MatMul", nil, x, b.Init("w", weights(r, 144, 3)))
		}, ""},
		{"no dense layer", func(b *graph.Builder, _ *rand.Rand, x string) string { return b.Op("Relu", nil, x) }, "its scores come from Relu"},
		{"used twice", func(b *graph.Builder, r *rand.Rand, x string) string {
			y := b.Op("MatMul", nil, x, b.Init("w", weights(r, 144, 3)))
			return b.Op("Softmax", nil, b.Op("Mul", nil, y, y))
		}, "its scores come from Mul"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := graph.NewBuilder("foreign")
			x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 144}})
			b.Output(b.Name(c.build(b, rand.New(rand.NewPCG(4, 5)), x), "y"))
			cfg := cfg
			cfg.Arch, cfg.Frozen = save(t, b), nil
			r, err := train.Run(t.Context(), cfg)
			if c.fault != "" {
				if !errors.Is(err, train.ErrHead) || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("%v, want %q", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if out := r.Model.Outputs[0].Shape.String(); out != "[N,2]" || r.Model.Initializer("w") != nil || r.Evaluation.Examples != 100 {
				t.Errorf("outputs %s, evaluation %+v", out, *r.Evaluation)
			}
		})
	}
}
