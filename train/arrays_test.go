package train_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// writeArrays writes an .npz file.
func writeArrays(t *testing.T, all map[string]*tensor.Tensor) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "set.npz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(media.WriteNPZ(f, all), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// order is a set of sequences in which two marks come, with noise and at any distance: the label is which of them comes first. Sums over the steps say nothing of it.
func order(n int) (x, y *tensor.Tensor) {
	const steps, features = 12, 3
	r := rand.New(rand.NewPCG(5, 6))
	values, labels := make([]float32, n*steps*features), make([]int64, n)
	for i := range n {
		at := values[i*steps*features : (i+1)*steps*features]
		for k := range at {
			at[k] = float32(r.NormFloat64()) / 4
		}
		first := r.IntN(steps - 1)
		second := first + 1 + r.IntN(steps-first-1)
		labels[i] = int64(r.IntN(2))
		at[first*features+int(labels[i])] += 3
		at[second*features+1-int(labels[i])] += 3
	}
	return tensor.Must(tensor.Of(values, n, steps, features)), tensor.Must(tensor.Of(labels, n))
}

// TestSequences trains the nets for sequences on a file of arrays: they learn an order, and the written file does as well in the engine.
func TestSequences(t *testing.T) {
	x, y := order(900)
	data := writeArrays(t, map[string]*tensor.Tensor{"x": x, "y": y})
	for _, c := range []struct {
		arch  string
		least float64
	}{{train.LSTM, 0.97}, {train.Transformer, 0.9}, {train.Auto, 0.97}} {
		t.Run(c.arch, func(t *testing.T) {
			cfg := train.Config{Arch: c.arch, Data: data, Eval: "100", Epochs: 8, Batch: 20, Seed: 5, Out: filepath.Join(t.TempDir(), "out.onnx"), Engine: native.New(native.Config{})}
			r, err := train.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if r.Evaluation.Accuracy() < c.least {
				t.Errorf("evaluation %+v, want an accuracy of %v", *r.Evaluation, c.least)
			}
			g, err := onnx.Open(cfg.Out)
			if err != nil {
				t.Fatal(err)
			}
			set, err := train.Open(data, train.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, kept, err := set.Split("100", 0)
			if err != nil {
				t.Fatal(err)
			}
			again, err := train.Evaluate(t.Context(), cfg.Engine, engine.Options{}, g, kept)
			if err != nil || again.Correct != r.Evaluation.Correct {
				t.Errorf("the file: %+v, %v; the training: %+v", again, err, *r.Evaluation)
			}
			m, err := model.New(g)
			if err != nil {
				t.Fatal(err)
			}
			if spec, err := m.Spec(); err != nil || spec.Picture() {
				t.Errorf("a model of sequences takes %+v, %v, which must be no picture", spec, err)
			}
		})
	}
}

// TestResNet trains the residual net, and holds that the file has the statistics of its normalizations.
func TestResNet(t *testing.T) {
	cfg := config(t, train.ResNet)
	cfg.Epochs, cfg.Out = 3, filepath.Join(t.TempDir(), "out.onnx")
	r, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Evaluation.Accuracy() < 0.95 {
		t.Errorf("evaluation %+v", *r.Evaluation)
	}
	g, err := onnx.Open(cfg.Out)
	if err != nil {
		t.Fatal(err)
	}
	statistics := 0
	for _, in := range g.Initializers {
		if strings.HasSuffix(in.Name, ".mean") && slices.Max(tensor.Data[float32](in.Tensor)) > 0 {
			statistics++
		}
	}
	if statistics == 0 {
		t.Error("all running means are 0")
	}
}

// TestArrays reads what people keep in .npz files.
func TestArrays(t *testing.T) {
	bytes := func(shape ...int) *tensor.Tensor {
		x := tensor.Must(tensor.New(tensor.Uint8, shape...))
		for i := range tensor.Data[uint8](x) {
			tensor.Data[uint8](x)[i] = uint8(i)
		}
		return x
	}
	y := tensor.Vector[int64](7, -2, 7)
	for name, c := range map[string]struct {
		arrays map[string]*tensor.Tensor
		o      train.Options
		want   string // shape, labels, whether pictures, and what the parts have
	}{
		"grey pictures":  {map[string]*tensor.Tensor{"x": bytes(3, 5, 6), "y": y}, train.Options{}, "[1,5,6] [-2 7] true"},
		"channels last":  {map[string]*tensor.Tensor{"X": bytes(3, 5, 6, 3), "Y": y}, train.Options{}, "[3,5,6] [-2 7] true"},
		"channels first": {map[string]*tensor.Tensor{"images": bytes(3, 3, 5, 6), "labels": y}, train.Options{}, "[3,5,6] [-2 7] true"},
		"rows of bytes":  {map[string]*tensor.Tensor{"arr_0": bytes(3, 4), "arr_1": y}, train.Options{}, "[4] [-2 7] false"},
		"sequences":      {map[string]*tensor.Tensor{"sequences": tensor.Must(tensor.New(tensor.Float64, 3, 4, 2)), "y": tensor.Vector("b", "a", "b")}, train.Options{}, "[4,2] [a b] false"},
		"whole floats":   {map[string]*tensor.Tensor{"x": bytes(3, 4), "y": tensor.Must(tensor.Of([]float32{1, 0, 1}, 3, 1))}, train.Options{}, "[4] [0 1] false"},
		"numbers":        {map[string]*tensor.Tensor{"x": bytes(3), "y": tensor.Vector[float64](0.5, 2, 3)}, train.Options{Task: "regression"}, "[1] [] false"},
		"parts": {map[string]*tensor.Tensor{"x_train": bytes(3, 5, 6), "y_train": y, "x_test": bytes(2, 5, 6), "y_test": tensor.Vector[int32](7, 7), "x_val": bytes(1, 5, 6), "y_val": tensor.Vector[int64](-2)},
			train.Options{}, "[1,5,6] [-2 7] true, 1 to validate, 2 for the end"},
	} {
		s, err := train.Open(writeArrays(t, c.arrays), c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := fmt.Sprint(s.Shape(), " ", s.Labels(), " ", s.Picture())
		if v, test := s.Parts(); v != nil {
			got += fmt.Sprintf(", %d to validate, %d for the end", v.Len(), test.Len())
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if name == "channels last" {
			for e := range s.Examples() {
				if p := tensor.Data[uint8](e.Input); p[0] != 0 || p[1] != 3 || p[30] != 1 {
					t.Errorf("%s: %v", name, p)
				}
				break
			}
		}
	}
	for name, c := range map[string]struct {
		arrays map[string]*tensor.Tensor
		want   string
	}{
		"nothing":        {map[string]*tensor.Tensor{}, "no arrays"},
		"other names":    {map[string]*tensor.Tensor{"a": y, "b": y}, "it has a int64[3], b int64[3]; examples are called x and labels y"},
		"no labels":      {map[string]*tensor.Tensor{"x_train": y}, "it has x_train int64[3]"},
		"lengths":        {map[string]*tensor.Tensor{"x": bytes(2, 4), "y": y}, "the first dimension is the examples'"},
		"one hot":        {map[string]*tensor.Tensor{"x": bytes(3, 4), "y": bytes(3, 2)}, "one for each example is [N] or [N,1]"},
		"fractions":      {map[string]*tensor.Tensor{"x": bytes(3, 4), "y": tensor.Vector(1, 0.5, 2)}, "label 1 is 0.5, a number with fractions"},
		"not finite":     {map[string]*tensor.Tensor{"x": tensor.Vector(1, math.Inf(1), 2), "y": y}, "element 1 is +Inf"},
		"label nowhere":  {map[string]*tensor.Tensor{"x": bytes(3, 4), "y": y, "x_test": bytes(1, 4), "y_test": tensor.Vector[int64](3)}, `label "3"`},
		"another shape":  {map[string]*tensor.Tensor{"x": bytes(3, 4), "y": y, "x_test": bytes(1, 5), "y_test": tensor.Vector[int64](7)}, "of [5] in the test part"},
		"texts as input": {map[string]*tensor.Tensor{"x": tensor.Vector("a", "b", "c"), "y": y}, "no numbers that can be trained on"},
	} {
		if _, err := train.Open(writeArrays(t, c.arrays), train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for arch, set := range map[string]*train.Set{train.LSTM: shapes(t, 30), train.Transformer: shapes(t, 30)} {
		if _, err := train.NewModel(arch, set, 0); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "needs sequences") {
			t.Errorf("%s: %v", arch, err)
		}
	}
}
