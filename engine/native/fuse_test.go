package native_test

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/tensor"
)

// exposed makes every value of a graph an output, so that nothing can be joined.
func exposed(g *graph.Graph) *graph.Graph {
	c := g.Clone()
	for _, n := range c.Nodes {
		for _, name := range n.Outputs {
			if name != "" && name != g.Outputs[0].Name {
				c.Outputs = append(c.Outputs, graph.Value{Name: name})
			}
		}
	}
	return c
}

// mixed has a bit of everything that joins: residuals that do and do not need broadcasting, biases after products,
// clips, chains of element-wise operators, views in between.
func mixed() *graph.Graph {
	b := newNet("mixed", 3, 9, 11)
	x := b.norm(b.conv("x", 3, 8, 3, 1, true), 8)
	y := b.op("Clip", nil, b.conv(x, 8, 8, 3, 1, false), b.scalar(-0.1), b.scalar(0.3))
	x = b.relu(b.op("Add", nil, b.conv(y, 8, 8, 3, 1, false), x))
	side := b.op("GlobalAveragePool", nil, x)
	z := b.relu(b.op("Add", nil, b.op("Conv", nil, side, b.weight(0.3, 8, 8, 1, 1)), x)) // broadcasts the convolution
	z = b.relu(b.op("Add", nil, b.conv(z, 8, 8, 1, 1, true), z))
	s := b.op("Sigmoid", nil, z)
	z = b.op("Mul", nil, z, s)
	z = b.op("Sub", nil, b.op("Tanh", nil, z), b.op("Exp", nil, b.op("Neg", nil, z)))
	z = b.op("Div", nil, b.op("Mul", nil, z, b.scalar(0.5)), b.op("Add", nil, b.op("Sqrt", nil, s), b.scalar(2)))
	z = b.op("Transpose", graph.Attrs{"perm": []int64{0, 2, 3, 1}}, z)
	z = b.op("MatMul", nil, z, b.weight(0.5, 8, 6))
	z = b.relu(b.op("Add", nil, b.weight(0.5, 6), z))
	z = b.op("Max", nil, z, b.op("Reshape", nil, b.op("Flatten", graph.Attrs{"axis": int64(3)}, z), b.shapeLike(z)))
	return b.finish(z)
}

// ownInput has a convolution that adds what it reads, whose memory it must not take over.
func ownInput() *graph.Graph {
	b := newNet("own input", 40, 5, 7)
	x := b.op("Sigmoid", nil, "x")
	x = b.op("Add", nil, b.op("Conv", nil, x, b.weight(0.3, 40, 40, 1, 1)), x)
	return b.finish(b.op("Tanh", nil, x))
}

func (b *netBuilder) scalar(v float32) string {
	name := b.weight(0, 1)
	b.g.Initializers[len(b.g.Initializers)-1].Tensor = tensor.Scalar(v)
	return name
}

func (b *netBuilder) shapeLike(x string) string { return b.op("Shape", nil, x) }

func TestJoinedNodesComputeTheSame(t *testing.T) {
	for _, net := range []struct {
		g    *graph.Graph
		dims []int
	}{{mixed(), []int{3, 9, 11}}, {ownInput(), []int{40, 5, 7}}, {convNet(), []int{1, 28, 28}}, {resnet18(32), []int{3, 32, 32}}} {
		for _, threads := range []int{1, 3} {
			joined, plain := open(t, net.g, threads), open(t, exposed(net.g), 1)
			for _, batch := range []int{1, 5} {
				x := ramp(append([]int{batch}, net.dims...)...)
				got, want := make([]*tensor.Tensor, 1), make([]*tensor.Tensor, len(plain.Outputs()))
				for range 2 { // the second run finds the buffers of the first
					if err := joined.Run(t.Context(), []*tensor.Tensor{x}, got); err != nil {
						t.Fatal(err)
					}
				}
				if err := plain.Run(t.Context(), []*tensor.Tensor{x}, want); err != nil {
					t.Fatal(err)
				}
				// Normalizations that are folded into 20 layers of weights round otherwise.
				if err := conformance.Within(got[0], want[0], conformance.Tolerance{Abs: 5e-5, Rel: 1e-4}); err != nil {
					t.Errorf("%s, batch %d, %d threads: %v", net.g.Name, batch, threads, err)
				}
			}
		}
	}
}

// trainable is a small convolutional classifier whose normalization uses the batch.
func trainable() *graph.Graph {
	b := newNet("trainable", 2, 10, 10)
	x := b.conv("x", 2, 4, 3, 1, false) // a bias before a normalization has no gradient but rounding
	stats := []string{b.positive(4), b.weight(0.1, 4), b.weight(0.1, 4), b.positive(4)}
	x = b.op("BatchNormalization", graph.Attrs{"training_mode": int64(1)}, append([]string{x}, stats...)...)
	x = b.pool(b.relu(x), 2, 2, 0)
	x = b.relu(b.conv(x, 4, 6, 3, 2, false))
	return b.finish(b.dense(b.op("Flatten", nil, x), 6*3*3, 5))
}

// TestGradientKernels compares the kernels of training graphs' functions with the functions' bodies.
func TestGradientKernels(t *testing.T) {
	for _, kind := range []gradient.Kind{gradient.SGD, gradient.Momentum, gradient.Nesterov, gradient.RMSProp, gradient.Adam} {
		g, err := gradient.Build(trainable(), gradient.Options{Loss: gradient.CrossEntropy, LabelSmoothing: 0.1, Optimizer: &gradient.Optimizer{Kind: kind}})
		if err != nil {
			t.Fatal(err)
		}
		inlined := g.Clone()
		if err := inlined.Inline(nil); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		x, y := tensor.Must(tensor.New(tensor.Float32, 6, 2, 10, 10)), tensor.Vector[int64](0, 4, 2, 2, 1, 3)
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = float32(r.NormFloat64())
		}
		fast, slow := open(t, g, 2), open(t, inlined, 1)
		var in []*tensor.Tensor
		for _, v := range fast.Inputs() {
			in = append(in, map[string]*tensor.Tensor{"x": x, gradient.Target: y}[v.Name])
		}
		got, want := make([]*tensor.Tensor, len(fast.Outputs())), make([]*tensor.Tensor, len(fast.Outputs()))
		if err := fast.Run(t.Context(), in, got); err != nil {
			t.Fatal(err)
		}
		if err := slow.Run(t.Context(), in, want); err != nil {
			t.Fatal(err)
		}
		for i, v := range fast.Outputs() {
			if err := conformance.Within(got[i], want[i], conformance.Tolerance{Abs: 2e-5, Rel: 1e-4}); err != nil {
				t.Errorf("%v: output %s: %v", kind, v.Name, err)
			}
		}
	}
}
