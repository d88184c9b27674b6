package gradient_test

import (
	"bytes"
	"encoding/json"
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
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

type golden struct {
	Model          string                        `json:"model"`
	Inputs         []string                      `json:"inputs"`
	Target         string                        `json:"target"`
	Loss           string                        `json:"loss"`
	LabelSmoothing float64                       `json:"label_smoothing"`
	HuberDelta     float64                       `json:"huber_delta"`
	MaxNorm        float64                       `json:"max_norm"`
	Mode           string                        `json:"mode"`
	Parameters     []string                      `json:"parameters"`
	Frozen         []string                      `json:"frozen"`
	RTol           float64                       `json:"rtol"`
	ATol           float64                       `json:"atol"`
	Optimizers     map[string]map[string]float64 `json:"optimizers"`
	Sets           []struct {
		Inputs map[string]string `json:"inputs"`
	} `json:"sets"`

	dir  string
	data map[string]*tensor.Tensor
}

func loadGolden(t *testing.T, dir string) *golden {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := &golden{dir: dir}
	if err := json.Unmarshal(text, c); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "data.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if c.data, err = media.ReadNPZ(bytes.NewReader(raw), int64(len(raw)), 1<<28); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *golden) options() gradient.Options {
	return gradient.Options{Loss: gradient.Loss(c.Loss), LabelSmoothing: c.LabelSmoothing, HuberDelta: c.HuberDelta, MaxNorm: c.MaxNorm, Frozen: c.Frozen}
}

// inputs are the model's inputs and the target.
func (c *golden) inputs() map[string]*tensor.Tensor {
	in := map[string]*tensor.Tensor{gradient.Target: c.data[c.Target]}
	for name, key := range c.Sets[0].Inputs {
		in[name] = c.data[key]
	}
	return in
}

// near holds a tensor against an array of the case, within the case's tolerance.
func (c *golden) near(t *testing.T, what string, got *tensor.Tensor, key string) {
	t.Helper()
	want := c.data[key]
	if got == nil || want == nil {
		t.Errorf("%s: got %v, want %v", what, got, want)
		return
	}
	if got.Size() != want.Size() {
		t.Errorf("%s has shape %v, want %v", what, got.Shape(), want.Shape())
		return
	}
	g, w := floats(t, got), floats(t, want)
	for i := range g {
		if !(math.Abs(g[i]-w[i]) <= c.ATol+c.RTol*math.Abs(w[i])) {
			t.Errorf("%s[%d] = %v, PyTorch says %v", what, i, g[i], w[i])
			return
		}
	}
}

func floats(t *testing.T, x *tensor.Tensor) []float64 {
	t.Helper()
	switch d := x.Raw().(type) {
	case []float64:
		return d
	case []float32:
		out := make([]float64, len(d))
		for i, v := range d {
			out[i] = float64(v)
		}
		return out
	}
	t.Fatalf("%v is no float tensor", x)
	return nil
}

func optimizerOf(kind string, hyper map[string]float64) gradient.Optimizer {
	return gradient.Optimizer{Kind: gradient.Kind(kind), LearningRate: hyper["lr"], Momentum: hyper["momentum"], Alpha: hyper["alpha"],
		Beta1: hyper["beta1"], Beta2: hyper["beta2"], Epsilon: hyper["eps"], WeightDecay: hyper["weight_decay"]}
}

func TestGolden(t *testing.T) { runGolden(t, native.New(native.Config{})) }

// TestGoldenOnnxruntime holds the same training graphs, functions and all, in the other engine.
func TestGoldenOnnxruntime(t *testing.T) { runGolden(t, otherEngine(t)) }

// otherEngine is onnxruntime. The test is skipped where there is none.
func otherEngine(t *testing.T) engine.Engine {
	t.Helper()
	paths := onnxruntime.SearchPaths(os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), "")
	e, err := onnxruntime.New(onnxruntime.Config{Paths: paths})
	if errors.Is(err, engine.ErrUnavailable) && os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH") == "" {
		t.Skipf("set ONNXRUNTIME_SHARED_LIBRARY_PATH to the library (millrace engine install onnxruntime fetches it): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// refusedThere are the operators, and their forms, that onnxruntime does not have for float32.
var refusedThere = []string{"batch first", "Einsum ellipsis", "LRN even size"}

// TestOperatorsAlike has both engines run the training graph of each operator in float32.
func TestOperatorsAlike(t *testing.T) {
	other := otherEngine(t)
	single := func(x *tensor.Tensor) *tensor.Tensor {
		if x.DType() != tensor.Float64 {
			return x
		}
		y := tensor.Must(tensor.New(tensor.Float32, x.Shape()...))
		for i, v := range tensor.Data[float64](x) {
			tensor.Data[float32](y)[i] = float32(v)
		}
		return y
	}
	for i, c := range opCases {
		if c.op == "Cast" {
			continue // to float64
		}
		t.Run(strings.ReplaceAll(c.String(), "/", "_"), func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			g := c.buildIn(r, single)
			tg, err := gradient.Build(g, gradient.Options{Loss: gradient.MSE, Optimizer: &gradient.Optimizer{Kind: gradient.SGD}})
			if err != nil {
				t.Fatal(err)
			}
			tg = throughFile(t, tg)
			in := map[string]*tensor.Tensor{"target": single(random(r, outputSize(t, g)))}
			s, err := other.Open(t.Context(), tg, engine.Options{Threads: 1})
			if err != nil {
				if !slices.ContainsFunc(refusedThere, func(form string) bool { return strings.Contains(c.String(), form) }) {
					t.Errorf("%s: %v", c, err)
				}
				return
			}
			defer s.Close()
			got, err := engine.Run(t.Context(), s, in)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range runOnce(t, native.New(native.Config{}), tg, in) {
				w, x := floats(t, want), floats(t, got[name])
				for k := range w {
					if !(math.Abs(x[k]-w[k]) <= 1e-5+1e-4*math.Abs(w[k])) {
						t.Fatalf("%s[%d] is %v in onnxruntime and %v in native", name, k, x[k], w[k])
					}
				}
			}
		})
	}
}

func runGolden(t *testing.T, e engine.Engine) {
	folder := sharedtest.Data(t, "pytorch", "gradients")
	dirs, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			c := loadGolden(t, filepath.Join(folder, d.Name()))
			g, err := onnx.Open(filepath.Join(c.dir, c.Model))
			if err != nil {
				t.Fatal(err)
			}
			ran++
			c.checkGradients(t, e, g)
			for kind, hyper := range c.Optimizers {
				t.Run(kind, func(t *testing.T) { c.checkSteps(t, e, g, kind, hyper) })
			}
		})
	}
	t.Logf("%d cases", ran)
}

// checkGradients holds loss and gradients of the file as it is against PyTorch's.
func (c *golden) checkGradients(t *testing.T, e engine.Engine, g *graph.Graph) {
	tg, err := gradient.Build(g, c.options())
	if err != nil {
		t.Fatal(err)
	}
	tg = throughFile(t, tg)
	out := runOnce(t, e, tg, c.inputs())
	c.near(t, "loss", out["loss"], "loss")
	var names []string
	for _, v := range tg.Outputs {
		if name, ok := strings.CutPrefix(v.Name, gradient.GradPrefix); ok {
			names = append(names, name)
			c.near(t, v.Name, out[v.Name], v.Name)
		}
	}
	slices.Sort(names)
	want := slices.Sorted(slices.Values(c.Parameters))
	if !slices.Equal(names, want) {
		t.Errorf("gradients of %v, PyTorch has %v", names, want)
	}
	if c.MaxNorm > 0 {
		c.near(t, gradient.GradNorm, out[gradient.GradNorm], "grad_norm")
	}
}

// throughFile writes a graph as ONNX and reads it again: a training graph is a file like every other.
func throughFile(t *testing.T, g *graph.Graph) *graph.Graph {
	t.Helper()
	var buf bytes.Buffer
	if err := onnx.Write(&buf, g); err != nil {
		t.Fatal(err)
	}
	back, err := onnx.Decode(buf.Bytes(), onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func runOnce(t *testing.T, e engine.Engine, g *graph.Graph, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	s, err := e.Open(t.Context(), g, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := engine.Run(t.Context(), s, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkSteps makes three steps on the same batch and holds losses, variables and statistics against PyTorch's.
func (c *golden) checkSteps(t *testing.T, e engine.Engine, g *graph.Graph, kind string, hyper map[string]float64) {
	o := optimizerOf(kind, hyper)
	opts := c.options()
	opts.Optimizer = &o
	tg, err := gradient.Build(g, opts)
	if err != nil {
		t.Fatal(err)
	}
	fed, state := gradient.Feed(tg)
	s, err := e.Open(t.Context(), fed, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := c.inputs()
	for k, v := range state {
		in[k] = v
	}
	losses := floats(t, c.data["losses."+kind])
	for step := range 4 {
		out, err := engine.Run(t.Context(), s, in)
		if err != nil {
			t.Fatal(err)
		}
		if loss := floats(t, out["loss"])[0]; !(math.Abs(loss-losses[step]) <= c.ATol+c.RTol*math.Abs(losses[step])) {
			t.Errorf("loss before step %d is %v, PyTorch says %v", step+1, loss, losses[step])
		}
		if step == 0 && c.Mode == "train" {
			for name := range c.data {
				if stat, ok := strings.CutPrefix(name, "onnx_stats1."); ok {
					c.near(t, "new."+stat, out["new."+stat], name)
				}
			}
		}
		if step == 3 {
			break // the loss after the third step was all that was missing
		}
		for name, v := range out {
			if to, ok := strings.CutPrefix(name, gradient.NewPrefix); ok {
				in[to] = v
			}
		}
	}
	for _, p := range c.Parameters {
		c.near(t, fmt.Sprintf("%s after three steps", p), in[p], "step3."+kind+"."+p)
	}
	for _, name := range c.Frozen {
		if in[name] != nil {
			t.Errorf("frozen %q is fed", name)
		}
	}
}
