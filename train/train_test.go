package train_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shapes is a data set of 12x12 pictures: a bar that lies (0), a bar that stands (1), or a block (2), anywhere, with noise.
func shapes(t testing.TB, n int) *train.Set {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	s, err := train.Collect(func(yield func(train.Example, error) bool) {
		for i := range n {
			p := make([]uint8, 144)
			for k := range p {
				p[k] = uint8(r.IntN(60))
			}
			label := i % 3
			w, h := []int{8, 2, 4}[label], []int{2, 8, 4}[label]
			x, y := r.IntN(13-w), r.IntN(13-h)
			for dy := range h {
				for dx := range w {
					p[(y+dy)*12+x+dx] = uint8(180 + r.IntN(70))
				}
			}
			if !yield(train.Example{Input: tensor.Must(tensor.Of(p, 1, 12, 12)), Label: label}, nil) {
				return
			}
		}
	}, []string{"lying", "standing", "block"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func config(t testing.TB, arch string) train.Config {
	return train.Config{Arch: arch, Set: shapes(t, 600), Eval: "100", Epochs: 3, Batch: 20, Seed: 5, LearningRate: 0.003,
		Engine: native.New(native.Config{}), EngineOptions: engine.Options{Threads: 2}}
}

func TestRunLearns(t *testing.T) {
	for _, c := range []struct {
		arch, augment, optimizer string
		least                    float64
	}{{train.MLP, "", "", 0.85}, {train.CNN, "shift=0.1,rotate=5,scale=0.1,shear=0.05,thickness=0.3", "adamw", 0.95}} {
		t.Run(c.arch, func(t *testing.T) {
			cfg := config(t, c.arch)
			cfg.Epochs, cfg.Augment, cfg.Optimizer = 6, c.augment, c.optimizer
			cfg.Out = filepath.Join(t.TempDir(), "out.onnx")
			reports := 0
			cfg.Report = func(p train.Progress) {
				reports++
				if p.Steps != 6*25 || p.Step < 1 || p.Step > p.Steps || p.Epoch < 1 || p.Epoch > p.Epochs {
					t.Errorf("progress %+v", p)
				}
			}
			r, err := train.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if r.Evaluation == nil || r.Evaluation.Examples != 100 || r.Evaluation.Accuracy() < c.least {
				t.Fatalf("evaluation %+v, want an accuracy of %v", r.Evaluation, c.least)
			}
			if reports < 6 || r.Steps != 150 || r.Examples != 500 {
				t.Errorf("%d reports, result %+v", reports, r)
			}
			// The file does as well as what was trained, and says how pictures become its input.
			g, err := onnx.Open(cfg.Out)
			if err != nil {
				t.Fatal(err)
			}
			_, kept, err := cfg.Set.Split("100", 0)
			if err != nil {
				t.Fatal(err)
			}
			again, err := train.Evaluate(t.Context(), cfg.Engine, engine.Options{}, g, kept)
			if err != nil {
				t.Fatal(err)
			}
			if again.Correct != r.Evaluation.Correct || again.Loss != r.Evaluation.Loss {
				t.Errorf("the file: %+v, the training: %+v", again, *r.Evaluation)
			}
			m, err := model.New(g)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(m.Labels, " ") != "lying standing block" || m.Scale == 0 || len(m.Mean) != 1 || len(m.Std) != 1 || m.Layout != "NCHW" {
				t.Errorf("metadata %+v", m.Metadata)
			}
		})
	}
}

// file returns a trained model's bytes.
func file(t *testing.T, r train.Result) []byte {
	t.Helper()
	b, err := onnx.Encode(r.Model)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestResume holds that training that is cut off and goes on gives the same bits as training in one go.
func TestResume(t *testing.T) {
	for _, arch := range []string{train.MLP, train.CNN} {
		for _, optimizer := range []string{"adam", "momentum"} {
			t.Run(arch+" "+optimizer, func(t *testing.T) {
				cfg := config(t, arch)
				cfg.Optimizer, cfg.Schedule, cfg.Augment, cfg.LearningRate = optimizer, "constant", "digits", 0
				cfg.Epochs = 2
				whole, err := train.Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Checkpoint = filepath.Join(t.TempDir(), "state")
				cfg.Epochs = 1
				first, err := train.Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(file(t, first), file(t, whole)) {
					t.Fatal("one epoch gives what two give")
				}
				cfg.Epochs, cfg.Resume = 2, true
				second, err := train.Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(file(t, second), file(t, whole)) {
					t.Error("training that went on gives other bits than training in one go")
				}
			})
		}
	}
}

// TestAverage holds that the written model is the average, which is what was evaluated, and that it goes on to the same bits.
func TestAverage(t *testing.T) {
	cfg := config(t, train.MLP)
	cfg.Optimizer, cfg.Schedule, cfg.Epochs, cfg.NoDecay = "lamb", "constant", 2, []string{"*.bias"}
	plain, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Average = 0.9
	averaged, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if averaged.Loss != plain.Loss || bytes.Equal(file(t, plain), file(t, averaged)) || averaged.Evaluation.Loss == plain.Evaluation.Loss {
		t.Errorf("the average changes training (loss %v and %v), or nothing", averaged.Loss, plain.Loss)
	}
	_, kept, err := cfg.Set.Split("100", 0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := train.Evaluate(t.Context(), cfg.Engine, engine.Options{}, averaged.Model, kept)
	if err != nil {
		t.Fatal(err)
	}
	if again.Loss != averaged.Evaluation.Loss {
		t.Errorf("the written model has loss %v, %v was evaluated", again.Loss, averaged.Evaluation.Loss)
	}
	cfg.Checkpoint, cfg.Epochs = filepath.Join(t.TempDir(), "state"), 1
	if _, err := train.Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Epochs, cfg.Resume = 2, true
	resumed, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file(t, resumed), file(t, averaged)) {
		t.Error("training that went on gives another average")
	}
}

// TestBalanced holds that a class that is rare counts as much as another.
func TestBalanced(t *testing.T) {
	all := shapes(t, 600)
	cfg := config(t, train.MLP)
	cfg.Epochs, cfg.Optimizer = 1, "sgd"
	plain, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Balanced = true
	balanced, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(file(t, plain), file(t, balanced)) {
		t.Error("weights of 500 examples, which three classes cannot share alike, change nothing")
	}
	if got := train.Balance([]int64{0, 0, 0, 2}, 3); !slices.Equal(got, []float64{4.0 / 6, 0, 2}) {
		t.Errorf("weights %v", got)
	}
	cfg.Set, cfg.Loss = all, "mae"
	if _, err := train.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "classes have cross_entropy") {
		t.Errorf("a loss of numbers for classes: %v", err)
	}
}

// TestCutOff cancels training within an epoch, several times, and goes on.
func TestCutOff(t *testing.T) {
	cfg := config(t, train.MLP)
	cfg.Augment = "digits"
	whole, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Checkpoint = filepath.Join(t.TempDir(), "state")
	cuts := 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		c := cfg
		c.Engine = cutter{cfg.Engine, cancel, 17}
		got, err := train.Run(ctx, c)
		cancel()
		if err == nil {
			if !bytes.Equal(file(t, got), file(t, whole)) {
				t.Error("training that was cut off gives other bits than training in one go")
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if cuts++; cuts > 20 {
			t.Fatal("training does not get on")
		}
		cfg.Resume = true
	}
	if cuts < 2 {
		t.Errorf("training was cut off %d times", cuts)
	}
}

// cutter is an engine whose sessions with a target end a context after that many runs.
type cutter struct {
	engine.Engine
	cancel context.CancelFunc
	after  int
}

func (c cutter) Open(ctx context.Context, g *graph.Graph, o engine.Options) (engine.Session, error) {
	s, err := c.Engine.Open(ctx, g, o)
	return &cutSession{Session: s, c: c}, err
}

type cutSession struct {
	engine.Session
	c    cutter
	runs int
}

func (s *cutSession) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	if len(s.Outputs()) > 1 {
		if s.runs++; s.runs > s.c.after {
			s.c.cancel()
		}
	}
	return s.Session.Run(ctx, in, out)
}

func TestResumeRefuses(t *testing.T) {
	cfg := config(t, train.MLP)
	cfg.Epochs, cfg.Checkpoint = 1, filepath.Join(t.TempDir(), "state")
	if _, err := train.Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Resume = true
	for name, change := range map[string]func(c *train.Config){
		"batch was 20 and is 25":           func(c *train.Config) { c.Batch = 25 },
		"seed was 5 and is 6":              func(c *train.Config) { c.Seed = 6 },
		"optimizer was adam and is sgd":    func(c *train.Config) { c.Optimizer = "sgd" },
		"arch was mlp and is cnn":          func(c *train.Config) { c.Arch = train.CNN },
		"epochs was 1 and is 2":            func(c *train.Config) { c.Epochs = 2 },
		"the number of examples was 500 a": func(c *train.Config) { c.Eval = "0" },
	} {
		c := cfg
		change(&c)
		if _, err := train.Run(t.Context(), c); !errors.Is(err, train.ErrCheckpoint) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not say %q", err, name)
		}
	}
	if _, err := train.Run(t.Context(), cfg); err != nil {
		t.Errorf("a checkpoint of a training that is done: %v", err)
	}
	data, err := os.ReadFile(cfg.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(cfg.Checkpoint, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := train.Run(t.Context(), cfg); !errors.Is(err, train.ErrCheckpoint) {
		t.Errorf("a damaged checkpoint: %v", err)
	}
	cfg.Checkpoint = filepath.Join(t.TempDir(), "absent")
	if _, err := train.Run(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent checkpoint: %v", err)
	}
}

func FuzzReadCheckpoint(f *testing.F) {
	var buf bytes.Buffer
	c := &train.Checkpoint{Epoch: 1, Batch: 2, Steps: 3, Settings: train.Settings{Arch: "mlp"},
		Tensors: []train.NamedTensor{{Name: "w", Tensor: tensor.Vector[float32](1, 2)}, {Name: "step", Tensor: tensor.Scalar[int64](4)}}}
	if err := c.Write(&buf); err != nil {
		f.Fatal(err)
	}
	back, err := train.ReadCheckpoint(bytes.NewReader(buf.Bytes()))
	if err != nil || back.Steps != 3 || back.Settings != c.Settings || tensor.Data[float32](back.Tensors[0].Tensor)[1] != 2 {
		f.Fatalf("%+v, %v", back, err)
	}
	f.Add(buf.Bytes())
	f.Add(buf.Bytes()[:30])
	f.Add([]byte("MLRCKPT1\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := train.ReadCheckpoint(bytes.NewReader(data)); err != nil && !errors.Is(err, train.ErrCheckpoint) {
			t.Errorf("error %v is no ErrCheckpoint", err)
		}
	})
}

func TestConfigFaults(t *testing.T) {
	bad := train.Config{
		Epochs: -1, Batch: 1<<20 + 1, Optimizer: "magic", LearningRate: -1, Momentum: 2, WeightDecay: math.NaN(), Schedule: "never", LabelSmoothing: 1, MaxNorm: math.NaN(),
		Augment: "glow=1", Eval: "half", Resume: true, Options: train.Options{Header: "maybe", Orientation: "up"}, EngineOptions: engine.Options{Threads: -1, Device: "tpu", Precision: engine.Float16},
	}
	var faults fault.Errors
	if err := bad.Validate(); !errors.As(err, &faults) {
		t.Fatalf("a bad configuration: %v", err)
	}
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	want := []string{"data", "header", "orientation", "epochs", "batch", "label_smoothing", "max_norm", "optimizer", "learning_rate", "momentum", "weight_decay", "schedule", "eval", "augment", "checkpoint", "engine", "threads", "device", "precision"}
	if !slices.Equal(paths, want) {
		t.Errorf("faults of %q, want %q", paths, want)
	}
	if _, err := train.Run(t.Context(), bad); err == nil || !errors.As(err, &faults) || len(faults) != len(want) {
		t.Errorf("Run says %v", err)
	}
	if err := config(t, train.MLP).Validate(); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	for part, ok := range map[string]bool{"": true, "0": true, "10000": true, "0%": true, "99.5%": true, "100%": false, "-1": false, "-1%": false, "x%": false, "1.5": false} {
		c := config(t, train.MLP)
		c.Eval = part
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("eval %q: %v", part, err)
		}
	}
}

// TestFineTune trains a model of a file further, with part of it frozen.
func TestFineTune(t *testing.T) {
	cfg := config(t, train.CNN)
	cfg.Out = filepath.Join(t.TempDir(), "a.onnx")
	cfg.Epochs = 1
	first, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Arch, cfg.Out, cfg.Frozen = cfg.Out, "", []string{"conv1.weight", "conv1.bias"}
	cfg.Epochs = 3
	second, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range first.Model.Initializers {
		same := bytes.Equal(in.Tensor.Bytes(), second.Model.Initializer(in.Name).Bytes())
		if frozen := strings.HasPrefix(in.Name, "conv1."); frozen != same {
			t.Errorf("%s: the same bits: %v, frozen: %v", in.Name, same, frozen)
		}
	}
	if second.Evaluation.Accuracy() <= first.Evaluation.Accuracy() && first.Evaluation.Accuracy() < 1 {
		t.Errorf("accuracy went from %v to %v", first.Evaluation.Accuracy(), second.Evaluation.Accuracy())
	}
	// The file says it, of an initializer that somebody has taken out too; an empty list is against that.
	g := first.Model.Clone()
	maps.Copy(g.Metadata, model.Metadata{Frozen: []string{"conv1.weight", "gone"}}.Props())
	cfg.Arch, cfg.Epochs = filepath.Join(t.TempDir(), "frozen.onnx"), 1
	if err := outfile.Write(cfg.Arch, func(w io.Writer) error { return onnx.Write(w, g) }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		frozen []string
		same   bool
	}{{nil, true}, {[]string{}, false}} {
		cfg.Frozen = c.frozen
		third, err := train.Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(g.Initializer("conv1.weight").Bytes(), third.Model.Initializer("conv1.weight").Bytes()); same != c.same {
			t.Errorf("frozen %v: what the file says to leave alone has the same bits: %v", c.frozen, same)
		}
	}
}

// TestFeatures trains on rows of numbers of very different sizes.
func TestFeatures(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	set, err := train.Collect(func(yield func(train.Example, error) bool) {
		for range 400 {
			a, b := r.NormFloat64(), r.NormFloat64()
			label := 0
			if a*b > 0 {
				label = 1
			}
			if !yield(train.Example{Input: tensor.Vector(float32(a*1e4+5e4), float32(b*1e-3), 7), Label: label}, nil) {
				return
			}
		}
	}, []string{"no", "yes"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := train.Config{Set: set, Eval: "25%", Epochs: 30, Batch: 20, Engine: native.New(native.Config{}), LearningRate: 0.005}
	res, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a := res.Evaluation.Accuracy(); a < 0.9 {
		t.Errorf("accuracy %v", a)
	}
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		s    train.Schedule
		want map[int]float64
	}{
		{train.Constant, map[int]float64{0: 1, 99: 1}},
		{train.StepDown, map[int]float64{0: 1, 49: 1, 50: 0.1, 75: 0.01, 99: 0.01}},
		{train.Cosine, map[int]float64{0: 0.2, 4: 1, 5: 1, 100: 0}},
		{train.WarmUp, map[int]float64{0: 0.2, 4: 1, 50: 1, 99: 1}},
		{train.OneCycle, map[int]float64{0: 0.04, 15: 0.52, 30: 1, 65: 0.500002, 100: 0.000004}},
	} {
		for step, want := range c.want {
			if got := c.s.Rate(1, step, 100); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s at step %d of 100 is %v, want %v", c.s, step, got, want)
			}
		}
	}
}

func TestAugmentText(t *testing.T) {
	for _, text := range []string{"none", "shift=0.05,rotate=10,scale=0.1,shear=0.1,thickness=0.5"} {
		a, err := train.ParseAugment(text)
		if err != nil || a.String() != text {
			t.Errorf("%q is %q, %v", text, a, err)
		}
	}
	if a, err := train.ParseAugment("digits"); err != nil || a != train.Digits {
		t.Errorf("digits is %v, %v", a, err)
	}
	for _, text := range []string{"shift", "shift=x", "shift=-1", "rotate=1000", "shift=NaN", "blur=1"} {
		if _, err := train.ParseAugment(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
