package train_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// colours is a data set of 3x6x4 pictures of one colour each, with noise.
func colours(t testing.TB, n int) *train.Set {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 9))
	s, err := train.Collect(func(yield func(train.Example, error) bool) {
		for i := range n {
			p := make([]uint8, 3*6*4)
			for k := range p {
				p[k] = uint8(r.IntN(100))
				if k/24 == i%3 {
					p[k] += 60
				}
			}
			if !yield(train.Example{Input: tensor.Must(tensor.Of(p, 3, 6, 4)), Label: i % 3}, nil) {
				return
			}
		}
	}, []string{"red", "green", "blue"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func weights(r *rand.Rand, shape ...int) *tensor.Tensor {
	x := tensor.Must(tensor.New(tensor.Float32, shape...))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(r.NormFloat64() * 0.3)
	}
	return x
}

// save writes a graph to a file.
func save(t *testing.T, b *graph.Builder) string {
	t.Helper()
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	data, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "net.onnx")
	write(t, filepath.Dir(path), filepath.Base(path), data)
	return path
}

// TestForeignModels trains files as others write them: channels last, a fixed batch, logits, statistics, a flat input.
func TestForeignModels(t *testing.T) {
	for _, c := range []struct {
		name  string
		batch int
		build func(b *graph.Builder, r *rand.Rand, batch graph.Dim) string
	}{
		{"channels last", -1, func(b *graph.Builder, r *rand.Rand, n graph.Dim) string {
			x := b.Input("x", tensor.Float32, graph.Shape{n, {Size: 6}, {Size: 4}, {Size: 3}})
			mean := b.Op("ReduceMean", graph.Attrs{"axes": []int64{1, 2}, "keepdims": int64(0)}, x)
			return b.Op("Gemm", nil, mean, b.Init("w", weights(r, 3, 3)))
		}},
		{"fixed batch", 16, func(b *graph.Builder, r *rand.Rand, n graph.Dim) string {
			x := b.Input("x", tensor.Float32, graph.Shape{n, {Size: 72}})
			return b.Op("LogSoftmax", nil, b.Op("Gemm", graph.Attrs{"transB": int64(1)}, x, b.Init("w", weights(r, 3, 72)), b.Init("b", weights(r, 3))))
		}},
		{"batch normalization", -1, func(b *graph.Builder, r *rand.Rand, n graph.Dim) string {
			x := b.Input("x", tensor.Float32, graph.Shape{n, {Size: 3}, {Size: 6}, {Size: 4}})
			h := b.Op("Conv", nil, x, b.Init("w1", weights(r, 4, 3, 3, 3)))
			ones := tensor.Vector[float32](1, 1, 1, 1)
			h = b.Ops("BatchNormalization", 1, graph.Attrs{"training_mode": int64(1), "momentum": float32(0.8)}, h,
				b.Init("scale", ones), b.Init("bias", weights(r, 4)), b.Init("mean", weights(r, 4)), b.Init("var", ones.Clone()))[0]
			h = b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, b.Op("Relu", nil, h)))
			return b.Op("Softmax", nil, b.Op("Gemm", nil, h, b.Init("w2", weights(r, 4, 3)), b.Init("b2", weights(r, 3))))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := graph.NewBuilder("foreign")
			n := graph.Dim{Size: int64(c.batch)}
			if c.batch < 0 {
				n.Symbol = "N"
			}
			b.Output(b.Name(c.build(b, rand.New(rand.NewPCG(4, 5)), n), "y"))
			cfg := train.Config{Arch: save(t, b), Set: colours(t, 330), Eval: "30", Epochs: 15, Batch: 20, LearningRate: 0.02,
				Engine: native.New(native.Config{}), Out: filepath.Join(t.TempDir(), "out.onnx")}
			r, err := train.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if a := r.Evaluation.Accuracy(); a < 0.95 || r.Evaluation.Examples != 30 {
				t.Errorf("accuracy %v of %d", a, r.Evaluation.Examples)
			}
			if c.batch > 0 && r.Steps != 300/c.batch*15 {
				t.Errorf("%d steps of %d", r.Steps, c.batch)
			}
			for _, node := range r.Model.Nodes {
				if node.Attrs.Int("training_mode", 0) != 0 {
					t.Error("the model is in training mode")
				}
			}
		})
	}
}

// TestLabelsGoByName evaluates and trains on sets that number their labels otherwise than the model, or lack some.
func TestLabelsGoByName(t *testing.T) {
	cfg := train.Config{Arch: train.MLP, Set: colours(t, 330), Eval: "30", Epochs: 10, Batch: 20, Engine: native.New(native.Config{}), Out: filepath.Join(t.TempDir(), "a.onnx")}
	first, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	renamed := func(names []string, number []int) *train.Set {
		s, err := train.Collect(func(yield func(train.Example, error) bool) {
			for e, err := range colours(t, 300).Examples() {
				if e.Label = number[e.Label]; e.Label >= 0 && !yield(e, err) {
					return
				}
			}
		}, names)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, s := range map[string]*train.Set{
		"other order": renamed([]string{"blue", "green", "red"}, []int{2, 1, 0}),
		"some":        renamed([]string{"blue", "green"}, []int{-1, 1, 0}),
	} {
		m, err := train.Evaluate(t.Context(), cfg.Engine, cfg.EngineOptions, first.Model, s)
		if err != nil || m.Accuracy() < 0.95 {
			t.Errorf("%s: accuracy %v, %v", name, m.Accuracy(), err)
		}
		again := cfg
		again.Arch, again.Set, again.Epochs, again.LearningRate = cfg.Out, s, 1, 1e-5
		again.Out = ""
		r, err := train.Run(t.Context(), again)
		if err != nil || r.Accuracy < 0.95 {
			t.Errorf("%s: trained further, accuracy %v, %v", name, r.Accuracy, err)
		}
	}
	_, err = train.Evaluate(t.Context(), cfg.Engine, cfg.EngineOptions, first.Model, renamed([]string{"red", "green", "pink"}, []int{0, 1, 2}))
	if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "pink") {
		t.Errorf("an unknown label: %v", err)
	}
}
