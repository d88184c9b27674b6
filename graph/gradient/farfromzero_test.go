package gradient_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/tensor"
)

// TestFarFromZero: the gradients of normalizations do not depend on how far from zero the input is.
func TestFarFromZero(t *testing.T) {
	for _, op := range []struct {
		name    string
		opset   int64
		attrs   graph.Attrs
		numbers int // of scale and bias each
	}{
		{"LayerNormalization", 17, graph.Attrs{"axis": int64(2)}, 8},
		{"InstanceNormalization", 17, nil, 4},
		{"GroupNormalization", 18, graph.Attrs{"num_groups": int64(2)}, 2},
		{"GroupNormalization", 21, graph.Attrs{"num_groups": int64(2)}, 4},
	} {
		gradients := func(offset float64) map[string]*tensor.Tensor {
			r := rand.New(rand.NewPCG(1, 2))
			numbers := func(round, offset float64, shape ...int) *tensor.Tensor {
				x := tensor.Must(tensor.New(tensor.Float32, shape...))
				for i := range tensor.Data[float32](x) {
					tensor.Data[float32](x)[i] = float32(math.Round(r.NormFloat64()*round)/round + offset)
				}
				return x
			}
			g := &graph.Graph{Opset: map[string]int64{"": op.opset}, IRVersion: 8, Outputs: []graph.Value{{Name: "y"}}}
			g.Initializers = []graph.Initializer{{Name: "x", Tensor: numbers(128, offset, 2, 4, 8)}} // exact at both places
			for _, name := range []string{"scale", "bias"} {
				g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: numbers(1e6, 0, op.numbers)})
			}
			g.Nodes = []*graph.Node{{Name: "norm", OpType: op.name, Attrs: op.attrs, Inputs: []string{"x", "scale", "bias"}, Outputs: []string{"y"}}}
			built, err := gradient.Build(g, gradient.Options{Loss: gradient.MSE})
			if err != nil {
				t.Fatal(err)
			}
			s, err := native.New(native.Config{}).Open(t.Context(), built, engine.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			out, err := engine.Run(t.Context(), s, map[string]*tensor.Tensor{"target": numbers(1e6, 0, 2, 4, 8)})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		near, far := gradients(0), gradients(5e4)
		for _, name := range []string{"x", "scale", "bias"} {
			want, got := tensor.Data[float32](near["grad."+name]), tensor.Data[float32](far["grad."+name])
			for i := range want {
				if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-6+1e-5*math.Abs(float64(want[i]))) {
					t.Errorf("%s-%d: grad.%s[%d] is %v, near zero %v", op.name, op.opset, name, i, got[i], want[i])
					break
				}
			}
		}
	}
}
