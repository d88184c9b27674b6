package gradient_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// build finishes a graph that a test made.
func build(t testing.TB, b *graph.Builder) *graph.Graph {
	t.Helper()
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func random(r *rand.Rand, shape ...int) *tensor.Tensor {
	return arg{shape: shape, low: -1, up: 1}.tensor(r)
}

func symbol(names ...any) graph.Shape {
	var s graph.Shape
	for _, n := range names {
		switch n := n.(type) {
		case string:
			s = append(s, graph.Dim{Size: -1, Symbol: n})
		case int:
			s = append(s, graph.Dim{Size: int64(n)})
		}
	}
	return s
}

// dense is a net [N,3] to [N,4] in float64, with a Softmax where asked.
func dense(t testing.TB, softmax bool) *graph.Graph {
	r := rand.New(rand.NewPCG(1, 1))
	b := graph.NewBuilder("dense")
	x := b.Input("x", tensor.Float64, symbol("N", 3))
	h := b.Op("Tanh", nil, b.Op("Gemm", nil, x, b.Init("w1", random(r, 3, 5)), b.Init("b1", random(r, 5))))
	y := b.Op("Gemm", nil, h, b.Init("w2", random(r, 5, 4)), b.Init("b2", random(r, 4)))
	if softmax {
		y = b.Op("Softmax", nil, y)
	}
	b.Output(b.Name(y, "y"))
	return build(t, b)
}

func TestLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	classes := tensor.Vector[int64](3, 0, 1, 1, 2)
	for _, c := range []struct {
		name   string
		opts   gradient.Options
		target *tensor.Tensor
	}{
		{"cross entropy", gradient.Options{Loss: gradient.CrossEntropy}, classes},
		{"label smoothing", gradient.Options{Loss: gradient.CrossEntropy, LabelSmoothing: 0.125}, classes},
		{"mse", gradient.Options{Loss: gradient.MSE}, random(r, 5, 4)},
		{"mae", gradient.Options{Loss: gradient.MAE}, random(r, 5, 4)},
		{"huber", gradient.Options{Loss: gradient.Huber, HuberDelta: 0.4}, random(r, 5, 4)},
		{"bce", gradient.Options{Loss: gradient.BCEWithLogits}, arg{shape: []int{5, 4}, low: 0, up: 1}.tensor(r)},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkGradients(t, dense(t, false), c.opts, map[string]*tensor.Tensor{"x": random(r, 5, 3), "target": c.target})
		})
	}
}

// TestSoftmaxIsPartOfTheLoss holds that a net with and without a final Softmax has the same cross-entropy.
func TestSoftmaxIsPartOfTheLoss(t *testing.T) {
	in := map[string]*tensor.Tensor{"x": random(rand.New(rand.NewPCG(3, 3)), 2, 3), "target": tensor.Vector[int64](1, 3)}
	var losses []float64
	for _, softmax := range []bool{false, true} {
		tg, err := gradient.Build(dense(t, softmax), gradient.Options{Loss: gradient.CrossEntropy})
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, tensor.Data[float64](runOnce(t, native.New(native.Config{}), tg, in)["loss"])[0])
	}
	if losses[0] != losses[1] {
		t.Errorf("losses %v", losses)
	}
}

// TestUnknownBroadcast differentiates a sum whose operands' lengths are known only when it runs.
func TestUnknownBroadcast(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	b := graph.NewBuilder("broadcast")
	x, z := b.Input("x", tensor.Float64, symbol("N", 3)), b.Input("z", tensor.Float64, symbol("M", "K", 2))
	b.Output(b.Name(b.Op("Mul", nil, b.Op("MatMul", nil, x, b.Init("w", random(r, 3, 2))), z), "y"))
	g := build(t, b)
	for _, c := range []struct{ n, m, k int }{{4, 1, 4}, {1, 3, 4}, {1, 1, 1}, {4, 2, 1}} {
		checkGradients(t, g, gradient.Options{Loss: gradient.MSE}, map[string]*tensor.Tensor{
			"x": random(r, c.n, 3), "z": random(r, c.m, c.k, 2), "target": random(r, c.m, max(c.n, c.k), 2)})
	}
}

// TestSharedVariable uses one variable in several places, and one value in several operators.
func TestSharedVariable(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	b := graph.NewBuilder("shared")
	x, w := b.Input("x", tensor.Float64, symbol("N", 3)), b.Init("w", random(r, 3, 3))
	h := b.Op("Tanh", nil, b.Op("MatMul", nil, x, w))
	y := b.Op("Add", nil, b.Op("Mul", nil, h, h), b.Op("MatMul", nil, h, w))
	b.Output(b.Name(b.Op("Add", nil, y, h), "y"))
	checkGradients(t, build(t, b), gradient.Options{Loss: gradient.MSE}, map[string]*tensor.Tensor{"x": random(r, 4, 3), "target": random(r, 4, 3)})
}

// TestSpatialDimensionsUnknown differentiates a convolution over pictures of any size.
func TestSpatialDimensionsUnknown(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	b := graph.NewBuilder("conv")
	x := b.Input("x", tensor.Float64, symbol("N", 1, "H", "W"))
	a := graph.Attrs{"strides": []int64{2, 2}, "pads": []int64{1, 0, 0, 1}}
	h := b.Op("Tanh", nil, b.Op("Conv", a, x, b.Init("w1", random(r, 2, 1, 3, 2))))
	h = b.Op("Conv", a, h, b.Init("w2", random(r, 3, 2, 2, 3)))
	b.Output(b.Name(b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, h)), "y"))
	g := build(t, b)
	for _, side := range []int{7, 8, 9, 10} {
		checkGradients(t, g, gradient.Options{Loss: gradient.MSE}, map[string]*tensor.Tensor{"x": random(r, 2, 1, side, side), "target": random(r, 2, 3)})
	}
}

// TestOneStepWithoutFeeding runs a training graph with the model's inputs and the target alone, and holds what it gives
// against a plain computation from its gradients.
func TestOneStepWithoutFeeding(t *testing.T) {
	in := map[string]*tensor.Tensor{"x": random(rand.New(rand.NewPCG(3, 3)), 2, 3), "target": tensor.Vector[int64](1, 3)}
	g := dense(t, true)
	tg, err := gradient.Build(g, gradient.Options{Loss: gradient.CrossEntropy, Frozen: []string{"b1"}, Outputs: []string{"y"},
		Optimizer: &gradient.Optimizer{Kind: gradient.SGD, LearningRate: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range tg.Outputs {
		names = append(names, v.Name)
	}
	want := []string{"y", "loss", "grad.w1", "grad.w2", "grad.b2", "new.w1", "new.w2", "new.b2"}
	if !slices.Equal(names, want) {
		t.Errorf("outputs %v, want %v", names, want)
	}
	if got := gradient.Variables(tg); !slices.Equal(got, []string{"w1", "w2", "b2"}) {
		t.Errorf("variables %v", got)
	}
	out := runOnce(t, native.New(native.Config{}), tg, in)
	for _, name := range gradient.Variables(tg) {
		was, grad, now := tensor.Data[float64](g.Initializer(name)), tensor.Data[float64](out["grad."+name]), tensor.Data[float64](out["new."+name])
		for i := range was {
			if now[i] != was[i]-0.5*grad[i] {
				t.Fatalf("new.%s[%d] is %v, from %v and gradient %v", name, i, now[i], was[i], grad[i])
			}
		}
	}
	if g.Initializer("b1") == nil || len(g.Outputs) != 1 || g.Function(graph.MillraceDomain, gradient.FuncSoftmaxCrossEntropy) != nil {
		t.Error("the model was changed")
	}
}

func TestFeed(t *testing.T) {
	tg, err := gradient.Build(dense(t, false), gradient.Options{Loss: gradient.MSE, Optimizer: &gradient.Optimizer{Kind: gradient.Adam}})
	if err != nil {
		t.Fatal(err)
	}
	names := func(vs []graph.Value) (out []string) {
		for _, v := range vs {
			out = append(out, v.Name)
		}
		return out
	}
	if got := names(tg.Placeholders()); !slices.Equal(got, []string{"x", "target"}) {
		t.Errorf("placeholders %v", got)
	}
	some, first := gradient.Feed(tg, "w1", "x", "absent")
	if got := names(some.Placeholders()); !slices.Equal(got, []string{"x", "target", "w1"}) || len(first) != 1 || first["w1"] != tg.Initializer("w1") {
		t.Errorf("placeholders %v, defaults %v", got, first)
	}
	all, first := gradient.Feed(tg)
	if got := names(all.Placeholders()); len(got) != len(tg.Inputs) || len(first) != 4+2*4+2 {
		t.Errorf("placeholders %v, defaults %v", got, first)
	}
}

// TestOpsets builds the same net from the oldest to the newest opset.
func TestOpsets(t *testing.T) {
	var losses []float64
	for _, opset := range []int64{13, 15, 17, 18, 20, 21, 23} {
		r := rand.New(rand.NewPCG(8, 8))
		b := graph.NewBuilder("norms")
		x := b.Input("x", tensor.Float64, symbol("N", 4))
		h := b.Op("Relu", nil, b.Op("Gemm", nil, x, b.Init("w", random(r, 4, 4)), b.Init("b", random(r, 4))))
		h = b.Op("BatchNormalization", nil, h, b.Init("scale", random(r, 4)), b.Init("bias", random(r, 4)), b.Init("mean", random(r, 4)), b.Init("var", pos(4).tensor(r)))
		b.Output(b.Name(b.Op("Softmax", nil, h), "y"))
		g := build(t, b)
		g.Opset[""] = opset
		in := map[string]*tensor.Tensor{"x": random(r, 3, 4), "target": random(r, 3, 4)}
		tg, err := gradient.Build(g, gradient.Options{Loss: gradient.MSE})
		if err != nil {
			t.Fatalf("opset %d: %v", opset, err)
		}
		losses = append(losses, tensor.Data[float64](runOnce(t, native.New(native.Config{}), tg, in)["grad.scale"])[1])
		if opset == 18 {
			checkGradients(t, g, gradient.Options{Loss: gradient.MSE}, in)
		}
	}
	for _, l := range losses {
		if l != losses[0] {
			t.Fatalf("gradients by opset: %v", losses)
		}
	}
}

func TestRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	unknown := func() *graph.Graph {
		b := graph.NewBuilder("unknown")
		w := b.Op("MatMul", nil, b.Input("x", tensor.Float64, symbol("N", 3)), b.Init("w", random(r, 3, 3)))
		b.Output(b.Name(b.Op("Det", nil, b.Op("Reshape", nil, w, b.Ints(-1, 3, 3))), "y"))
		return build(t, b)
	}
	named := func(from, to string) *graph.Graph {
		g := dense(t, false)
		g.Rename(func(n string) string {
			if n == from {
				return to
			}
			return n
		})
		return g
	}
	old := dense(t, false)
	old.Opset[""] = 12
	for _, c := range []struct {
		name string
		g    *graph.Graph
		opts gradient.Options
		is   error
		says string
	}{
		{"operator", unknown(), gradient.Options{Loss: gradient.MSE}, gradient.ErrNoGradient, "Det"},
		{"loss", dense(t, false), gradient.Options{Loss: "hinge"}, gradient.ErrOptions, "hinge"},
		{"optimizer", dense(t, false), gradient.Options{Loss: gradient.MSE, Optimizer: &gradient.Optimizer{Kind: "magic", Momentum: 2}}, gradient.ErrOptions, "magic"},
		{"smoothing of mse", dense(t, false), gradient.Options{Loss: gradient.MSE, LabelSmoothing: 0.1}, gradient.ErrOptions, "smoothing"},
		{"frozen", dense(t, false), gradient.Options{Loss: gradient.MSE, Frozen: []string{"w9"}}, gradient.ErrOptions, "w9"},
		{"variable", dense(t, false), gradient.Options{Loss: gradient.MSE, Variables: []string{"w9"}}, gradient.ErrOptions, "w9"},
		{"both", dense(t, false), gradient.Options{Loss: gradient.MSE, Variables: []string{"w1"}, Frozen: []string{"w1"}}, gradient.ErrOptions, "frozen too"},
		{"all frozen", dense(t, false), gradient.Options{Loss: gradient.MSE, Frozen: []string{"w1", "b1", "w2", "b2"}}, gradient.ErrOptions, "no variables"},
		{"prediction", dense(t, false), gradient.Options{Loss: gradient.MSE, Prediction: "z"}, gradient.ErrOptions, `"z"`},
		{"target taken", named("x", "target"), gradient.Options{Loss: gradient.MSE}, gradient.ErrOptions, "target"},
		{"rate taken", named("x", "learning_rate"), gradient.Options{Loss: gradient.MSE, Optimizer: &gradient.Optimizer{Kind: gradient.SGD}}, gradient.ErrOptions, "learning_rate"},
		{"old opset", old, gradient.Options{Loss: gradient.MSE}, nil, "opset 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := gradient.Build(c.g, c.opts)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v with %q", err, c.is, c.says)
			}
		})
	}
	// What is frozen, and what stands before it, needs no gradient.
	if _, err := gradient.Build(unknown(), gradient.Options{Loss: gradient.MSE, Frozen: []string{"w"}}); !errors.Is(err, gradient.ErrOptions) {
		t.Errorf("nothing to train: %v", err)
	}
}

// TestFunctionBodies holds the native kernels of our functions against their bodies in standard operators.
func TestFunctionBodies(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float64, symbol("N", 2, 6, 6))
	h := b.Op("Conv", graph.Attrs{"group": int64(2), "pads": []int64{1, 1, 1, 1}}, x, b.Init("w1", random(r, 4, 1, 3, 3)), b.Init("b1", random(r, 4)))
	h = b.Ops("BatchNormalization", 1, graph.Attrs{"training_mode": int64(1)}, h, b.Init("scale", random(r, 4)), b.Init("bias", random(r, 4)), b.Init("mean", random(r, 4)), b.Init("var", random(r, 4)))[0]
	h = b.Op("Flatten", nil, b.Op("Relu", nil, h))
	h = b.Op("Gather", graph.Attrs{"axis": int64(1)}, h, b.Ints(3, 3, 100, -1))
	b.Output(b.Name(b.Op("Gemm", nil, h, b.Init("w2", random(r, 4, 3))), "y"))
	g := build(t, b)
	in := map[string]*tensor.Tensor{"x": random(r, 5, 2, 6, 6), "target": tensor.Vector[int64](0, 1, 2, 1, 0)}
	for _, kind := range gradient.Kinds {
		tg, err := gradient.Build(g, gradient.Options{Loss: gradient.CrossEntropy, LabelSmoothing: 0.1, Optimizer: &gradient.Optimizer{Kind: kind}})
		if err != nil {
			t.Fatal(err)
		}
		if len(tg.Functions) < 4 {
			t.Errorf("%s: only %d functions", kind, len(tg.Functions))
		}
		plain := tg.Clone()
		if err := plain.Inline(nil); err != nil {
			t.Fatal(err)
		}
		want := runOnce(t, native.New(native.Config{}), plain, in)
		for name, got := range runOnce(t, native.New(native.Config{}), tg, in) {
			if got.DType() != tensor.Float64 {
				continue
			}
			w, x := tensor.Data[float64](want[name]), tensor.Data[float64](got)
			for i := range x {
				if d := x[i] - w[i]; d > 1e-12+1e-9*max(w[i], -w[i]) || -d > 1e-12+1e-9*max(w[i], -w[i]) {
					t.Fatalf("%s: %s[%d] is %v, by the bodies %v", kind, name, i, x[i], w[i])
				}
			}
		}
	}
}

// TestInlinesToStandardOperators is the promise that a training graph runs in an engine without our kernels: it is valid after
// inlining, and of ONNX's own domain alone.
func TestInlinesToStandardOperators(t *testing.T) {
	b := graph.NewBuilder("pool")
	r := rand.New(rand.NewPCG(11, 11))
	x := b.Input("x", tensor.Float64, symbol("N", 1, 4, 4))
	h := b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}}, b.Op("Conv", nil, x, b.Init("w", random(r, 2, 1, 2, 2))))
	b.Output(b.Name(b.Op("Flatten", nil, h), "y"))
	tg, err := gradient.Build(build(t, b), gradient.Options{Loss: gradient.MSE, Optimizer: &gradient.Optimizer{Kind: gradient.Adam}, MaxNorm: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tg.Inline(nil); err != nil {
		t.Fatal(err)
	}
	if err := tg.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, n := range tg.Nodes {
		if n.Domain != "" {
			t.Errorf("%s is left", n.Op())
		}
	}
}
