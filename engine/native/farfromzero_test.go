package native_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// normalizers are the operators that take a mean away, each with what it computes for one group of elements of the shape
// [2,4,3,5]. Scale and bias are one number for all.
var normalizers = []struct {
	op    string
	attrs graph.Attrs
	in    int // how many inputs of a number for each channel, but for scale and bias of the row in LayerNormalization
	group func(n, c int) int
}{
	{"BatchNormalization", graph.Attrs{"training_mode": int64(1)}, 4, func(_, c int) int { return c }},
	{"InstanceNormalization", nil, 2, func(n, c int) int { return 4*n + c }},
	{"GroupNormalization", graph.Attrs{"num_groups": int64(2)}, 2, func(n, c int) int { return 2*n + c/2 }},
	{"LayerNormalization", graph.Attrs{"axis": int64(1)}, 2, func(n, _ int) int { return n }},
	{"MeanVarianceNormalization", nil, 0, func(_, c int) int { return c }},
}

// TestFarFromZero: normalizations keep the digits of elements that are far from zero and near each other.
func TestFarFromZero(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 9))
	shape := []int{2, 4, 3, 5}
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
		for _, far := range []struct{ mean, deviation float64 }{{1e4, 1}, {-5e4, 0.5}, {1234.567, 0}, {1e6, 100}, {0.001, 1e-6}, {1e-3, 1}} {
			x := noise(r, shape...)
			for i, v := range tensor.Data[float64](x) {
				tensor.Data[float64](x)[i] = float64(float32(far.mean + far.deviation*v))
			}
			for _, n := range normalizers {
				in := list{cast(t, x, d)}
				names := []string{"x0"}
				for i := range n.in {
					v := tensor.Must(tensor.New(tensor.Float64, 4))
					if n.op == "LayerNormalization" {
						v = tensor.Must(tensor.New(tensor.Float64, shape[1:]...))
					}
					for j := range v.Size() {
						tensor.Data[float64](v)[j] = []float64{1.5, 0.25, 0, 1}[i]
					}
					in, names = append(in, cast(t, v, d)), append(names, []string{"x1", "x2", "x3", "x4"}[i])
				}
				got := apply(t, 21, node(n.op, n.attrs, names, "y0"), in...)[0]
				scale, bias, epsilon := 1.5, 0.25, float64(float32(1e-5))
				if n.in == 0 {
					scale, bias, epsilon = 1, 0, 0
				}
				want := normalized(tensor.Data[float64](x), shape, n.group, scale, bias, epsilon)
				if err := conformance.Alike(got, cast(t, want, d)); err != nil {
					t.Errorf("%s of %v, mean %v, deviation %v: %v", n.op, d, far.mean, far.deviation, err)
				}
			}
		}
	}
}

// normalized computes with the sums of differences, twice, so that nothing is lost.
func normalized(x []float64, shape []int, group func(n, c int) int, scale, bias, epsilon float64) *tensor.Tensor {
	inner := shape[2] * shape[3]
	of := func(i int) int { return group(i/inner/shape[1], i/inner%shape[1]) }
	sums, squares, counts, first := map[int]float64{}, map[int]float64{}, map[int]float64{}, map[int]float64{}
	for i, v := range x {
		if counts[of(i)]++; counts[of(i)] == 1 {
			first[of(i)] = v
		}
		sums[of(i)] += v - first[of(i)]
	}
	centred := func(i int) float64 { return x[i] - first[of(i)] - sums[of(i)]/counts[of(i)] }
	for i := range x {
		squares[of(i)] += centred(i) * centred(i)
	}
	y := tensor.Must(tensor.New(tensor.Float64, shape...))
	for i := range x {
		deviation := math.Sqrt(squares[of(i)]/counts[of(i)] + epsilon)
		if epsilon == 0 {
			deviation += 1e-9
		}
		tensor.Data[float64](y)[i] = centred(i)/deviation*scale + bias
	}
	return y
}

// TestStatisticsFarFromZero: so do normalizations by given statistics, by themselves and behind a convolution.
func TestStatisticsFarFromZero(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 9))
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
		for _, mean := range []float64{1e4, -3e5, 0.25} {
			x := noise(r, 2, 1, 40)
			want := tensor.Must(tensor.New(tensor.Float64, 2, 1, 40))
			for i, v := range tensor.Data[float64](x) {
				tensor.Data[float64](x)[i] = float64(float32(mean + v))
				tensor.Data[float64](want)[i] = (tensor.Data[float64](x)[i]-float64(float32(mean)))/math.Sqrt(2+float64(float32(1e-5)))*3 + 0.5
			}
			one := func(v float64) *tensor.Tensor { return cast(t, tensor.Vector(v), d) }
			n := node("BatchNormalization", nil, []string{"x0", "x1", "x2", "x3", "x4"}, "y0")
			got := apply(t, 15, n, cast(t, x, d), one(3), one(0.5), one(mean), one(2))[0]
			if err := conformance.Alike(got, cast(t, want, d)); err != nil {
				t.Errorf("%v, mean %v: %v", d, mean, err)
			}
			g := &graph.Graph{Opset: map[string]int64{"": 15}, Inputs: []graph.Value{value("x", d, 2, 1, 40)}, Outputs: []graph.Value{{Name: "y"}}}
			g.Nodes = []*graph.Node{node("Conv", nil, []string{"x", "w"}, "c"), node("BatchNormalization", nil, []string{"c", "s", "b", "m", "v"}, "y")}
			for name, v := range map[string]*tensor.Tensor{"w": cast(t, of([]int{1, 1, 1}, 1.0), d), "s": one(3), "b": one(0.5), "m": one(mean), "v": one(2)} {
				g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: v})
			}
			out := make(list, 1)
			if err := open(t, g, 1).Run(t.Context(), list{cast(t, x, d)}, out); err != nil {
				t.Fatal(err)
			}
			if err := conformance.Alike(out[0], cast(t, want, d)); err != nil {
				t.Errorf("behind a convolution, %v, mean %v: %v", d, mean, err)
			}
		}
	}
}

// TestGradientFarFromZero: the gradient by the input does not depend on how far from zero the input is.
func TestGradientFarFromZero(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 9))
	x, dy := noise(r, 4, 3, 8), cast(t, noise(r, 4, 3, 8), tensor.Float32)
	n := node("BatchNormalizationGradient", nil, []string{"x0", "x1", "x2"}, "y0", "y1", "y2")
	n.Domain = graph.MillraceDomain
	scale := tensor.Vector[float32](1, 0.5, 2)
	gradients := func(offset float64) list {
		moved := tensor.Must(tensor.New(tensor.Float64, 4, 3, 8))
		for i, v := range tensor.Data[float64](x) {
			tensor.Data[float64](moved)[i] = math.Round(v*16)/16 + offset // exact in float32
		}
		return apply(t, 17, n, cast(t, moved, tensor.Float32), scale, dy)
	}
	near, far := gradients(0), gradients(5e4)
	for i := range near {
		if err := conformance.Within(far[i], near[i], conformance.Tolerance{Abs: 1e-5, Rel: 1e-5}); err != nil {
			t.Errorf("gradient %d: %v", i, err)
		}
	}
}
