package gradient_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/tensor"
)

// steps makes three steps of an optimizer on one batch and returns the values of the variable w1 and its states, and the gradients that each step had.
func steps(t *testing.T, o gradient.Optimizer, opts gradient.Options) (values []map[string][]float64, grads [][]float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(30, 1))
	in := map[string]*tensor.Tensor{"x": random(r, 5, 3), "target": random(r, 5, 4)}
	opts.Loss, opts.Optimizer = gradient.MSE, &o
	tg, err := gradient.Build(dense(t, false), opts)
	if err != nil {
		t.Fatal(err)
	}
	fed, first := gradient.Feed(tg)
	for k, v := range first {
		in[k] = v
	}
	keep := func() {
		now := map[string][]float64{}
		for k, v := range in {
			if v.DType() == tensor.Float64 {
				now[k] = append([]float64{}, tensor.Data[float64](v)...)
			}
		}
		values = append(values, now)
	}
	keep()
	for range 3 {
		out := runOnce(t, native.New(native.Config{}), fed, in)
		grads = append(grads, tensor.Data[float64](out["grad.w1"]))
		for k := range in {
			if next, ok := out[gradient.NewPrefix+k]; ok {
				in[k] = next
			}
		}
		keep()
	}
	return values, grads
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// TestLionAndLAMB holds three steps against the papers' formulas, written down once more.
func TestLionAndLAMB(t *testing.T) {
	for _, o := range []gradient.Optimizer{
		{Kind: gradient.Lion, LearningRate: 0.01, WeightDecay: 0.1},
		{Kind: gradient.Lion, LearningRate: 0.01, WeightDecay: 0.1, NoDecay: []string{"w?"}},
		{Kind: gradient.LAMB, LearningRate: 0.01, WeightDecay: 0.1},
		{Kind: gradient.LAMB, LearningRate: 0.01, WeightDecay: 0.1, NoDecay: []string{"b*", "w1"}, Average: 0.9},
	} {
		values, grads := steps(t, o, gradient.Options{})
		d := o.Defaults()
		decay := o.WeightDecay
		if len(o.NoDecay) > 0 {
			decay = 0
		}
		p := append([]float64{}, values[0]["w1"]...)
		average := append([]float64{}, p...)
		m, s, r := make([]float64, len(p)), make([]float64, len(p)), make([]float64, len(p))
		for k, g := range grads {
			for i := range p {
				if o.Kind == gradient.Lion {
					u := d.Beta1*m[i] + (1-d.Beta1)*g[i]
					r[i] = math.Copysign(1, u) + decay*p[i]
					m[i] = d.Beta2*m[i] + (1-d.Beta2)*g[i]
					continue
				}
				m[i] = d.Beta1*m[i] + (1-d.Beta1)*g[i]
				s[i] = d.Beta2*s[i] + (1-d.Beta2)*g[i]*g[i]
				mh, sh := m[i]/(1-math.Pow(d.Beta1, float64(k+1))), s[i]/(1-math.Pow(d.Beta2, float64(k+1)))
				r[i] = mh/(math.Sqrt(sh)+d.Epsilon) + decay*p[i]
			}
			rate := d.LearningRate
			if o.Kind == gradient.LAMB {
				rate *= norm(p) / norm(r)
			}
			for i := range p {
				p[i] -= rate * r[i]
				average[i] = o.Average*average[i] + (1-o.Average)*p[i]
			}
			for i, want := range p {
				if got := values[k+1]["w1"][i]; math.Abs(got-want) > 1e-12 {
					t.Errorf("%+v: w1[%d] after step %d is %v, want %v", o, i, k+1, got, want)
				}
				if o.Average > 0 && math.Abs(values[k+1][gradient.AverageOf("w1")][i]-average[i]) > 1e-12 {
					t.Errorf("%+v: the average of w1[%d] after step %d is %v, want %v", o, i, k+1, values[k+1][gradient.AverageOf("w1")][i], average[i])
				}
			}
		}
	}
}

// TestMaxValue holds that an update uses what is left of a gradient, and grad.* is the whole.
func TestMaxValue(t *testing.T) {
	values, grads := steps(t, gradient.Optimizer{Kind: gradient.SGD, LearningRate: 0.5}, gradient.Options{MaxValue: 0.05})
	cut := 0
	for i, g := range grads[0] {
		want := values[0]["w1"][i] - 0.5*max(-0.05, min(0.05, g))
		if math.Abs(g) > 0.05 {
			cut++
		}
		if got := values[1]["w1"][i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("w1[%d] is %v, want %v", i, got, want)
		}
	}
	if cut == 0 {
		t.Error("no gradient was too large")
	}
}

// TestWeightedCrossEntropy holds the weights' meaning against sums by hand, and the gradients against differences.
func TestWeightedCrossEntropy(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	ignored, other := int64(-100), int64(2)
	for _, c := range []struct {
		weights []float64
		ignore  *int64
		smooth  float64
		classes []int64
	}{
		{[]float64{0.5, 2, 0, 1}, nil, 0, []int64{3, 0, 1, 1, 2}},
		{nil, &ignored, 0, []int64{3, -100, 1, 1, -100}},
		{[]float64{0.5, 2, 3, 1}, &other, 0.1, []int64{3, 2, 1, 1, 2}},
		{nil, &ignored, 0.2, []int64{-100, -100, -100, -100, -100}},
	} {
		in := map[string]*tensor.Tensor{"x": random(r, 5, 3), "target": tensor.Vector(c.classes...)}
		opts := gradient.Options{Loss: gradient.CrossEntropy, ClassWeights: c.weights, IgnoreLabel: c.ignore, LabelSmoothing: c.smooth}
		checkGradients(t, dense(t, false), opts, in)
		tg, err := gradient.Build(dense(t, false), gradient.Options{Loss: gradient.CrossEntropy, ClassWeights: c.weights, IgnoreLabel: c.ignore, LabelSmoothing: c.smooth, Outputs: []string{"y"}})
		if err != nil {
			t.Fatal(err)
		}
		out := runOnce(t, native.New(native.Config{}), tg, in)
		logits := tensor.Data[float64](out["y"])
		sum, total := 0.0, 0.0
		for n, class := range c.classes {
			if c.ignore != nil && class == *c.ignore {
				continue
			}
			weight := func(k int) float64 {
				if c.weights == nil {
					return 1
				}
				return c.weights[k]
			}
			z := 0.0
			for k := range 4 {
				z += math.Exp(logits[n*4+k])
			}
			total += weight(int(class))
			for k := range 4 {
				want := c.smooth / 4
				if k == int(class) {
					want += 1 - c.smooth
				}
				sum -= want * weight(k) * (logits[n*4+k] - math.Log(z))
			}
		}
		if total > 0 {
			sum /= total
		}
		if got := tensor.Data[float64](out["loss"])[0]; math.Abs(got-sum) > 1e-12 {
			t.Errorf("%+v: the loss is %v, want %v", c, got, sum)
		}
	}
}

// TestModes holds that a net is brought into a mode whatever its file says, in subgraphs too.
func TestModes(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 1))
	net := func(training int64) *graph.Graph {
		b := graph.NewBuilder("net")
		h := b.Op("MatMul", nil, b.Input("x", tensor.Float64, symbol("N", 3)), b.Init("w", random(r, 3, 2)))
		h = b.Op("BatchNormalization", graph.Attrs{"training_mode": training}, h, b.Init("scale", random(r, 2)), b.Init("bias", random(r, 2)),
			b.Init("mean", random(r, 2)), b.Init("var", arg{shape: []int{2}, low: 0.5, up: 1}.tensor(r)))
		b.Output(b.Name(b.Op("Dropout", nil, h), "y"))
		return build(t, b)
	}
	for _, training := range []int64{0, 1} {
		for _, mode := range gradient.Modes {
			tg, err := gradient.Build(net(training), gradient.Options{Loss: gradient.MSE, Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			drops, statistics := false, false
			for _, n := range tg.Nodes {
				drops = drops || n.Op() == "Dropout" && n.Input(2) != ""
			}
			for _, v := range tg.Outputs {
				statistics = statistics || v.Name == "new.mean"
			}
			if want := mode == gradient.Training; drops != want || statistics != want {
				t.Errorf("mode %s of a file with training_mode %d: Dropout drops %v, statistics are given %v", mode, training, drops, statistics)
			}
			runOnce(t, native.New(native.Config{}), tg, map[string]*tensor.Tensor{"x": random(r, 4, 3), "target": random(r, 4, 2)})
		}
	}
}

// TestModesWhereUsed: Dropout has its mask in either mode, BatchNormalization its statistics in training alone, in subgraphs too.
func TestModesWhereUsed(t *testing.T) {
	statistics := func(mode gradient.Mode, output string) (*graph.Node, error) {
		inner := &graph.Node{OpType: "BatchNormalization", Inputs: []string{"x", "s", "b", "m", "v"}, Outputs: []string{"y", "nm", "nv"}, Attrs: graph.Attrs{"training_mode": int64(1)}}
		branch := &graph.Graph{Name: "branch", Nodes: []*graph.Node{inner}, Outputs: []graph.Value{{Name: output}}}
		g := &graph.Graph{Nodes: []*graph.Node{{OpType: "If", Inputs: []string{"c"}, Outputs: []string{"out"}, Attrs: graph.Attrs{"then_branch": branch, "else_branch": branch.Clone()}}}}
		err := mode.Apply(g)
		return inner, err
	}
	if n, err := statistics(gradient.Inference, "y"); err != nil || n.Attrs.Int("training_mode", 0) != 0 || len(n.Outputs) != 1 {
		t.Errorf("in inference: %v, %v", n, err)
	}
	if _, err := statistics(gradient.Inference, "nm"); !errors.Is(err, gradient.ErrOptions) {
		t.Errorf("a statistic that is used: %v", err)
	}
	drop := &graph.Node{OpType: "Dropout", Inputs: []string{"x", "ratio", "on"}, Outputs: []string{"y", "mask"}}
	g := &graph.Graph{Nodes: []*graph.Node{drop}, Outputs: []graph.Value{{Name: "mask"}}}
	if err := gradient.Inference.Apply(g); err != nil || len(drop.Inputs) != 2 || len(drop.Outputs) != 2 {
		t.Errorf("a mask that is used: %v, %v", drop, err)
	}
}
