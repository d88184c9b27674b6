package native_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// picky is a net that computes features of x, chooses those over 0 and goes on with them alone: how many there are only a run knows. One output is of the features, one of the chosen.
func picky() *graph.Graph {
	b := newNet("picky", 8)
	features := b.relu(b.dense("x", 8, 16))
	scores := b.op("MatMul", nil, features, b.weight(1, 16, 6))
	places := b.op("Transpose", nil, b.op("NonZero", nil, b.op("Greater", nil, scores, b.scalar(0))))
	chosen := b.op("Unsqueeze", nil, b.op("GatherND", nil, scores, places), b.list(1))
	out := b.relu(b.op("MatMul", nil, chosen, b.weight(1, 1, 4)))
	g := b.finish(out)
	g.Outputs = append(g.Outputs, graph.Value{Name: scores})
	return g
}

// list is an initializer of whole numbers.
func (b *netBuilder) list(v ...int64) string {
	b.n++
	name := "l" + string(rune('a'+b.n%26)) + string(rune('a'+b.n/26%26))
	b.g.Initializers = append(b.g.Initializers, graph.Initializer{Name: name, Tensor: tensor.Vector(v...)})
	return name
}

// shaped is a net that goes on in a shape that is an input, twice, and around a loop.
func shaped() *graph.Graph {
	b := newNet("shaped", 12)
	b.g.Inputs = append(b.g.Inputs, value("shape", tensor.Int64, 3))
	first := b.op("Reshape", nil, b.relu(b.dense("x", 12, 12)), "shape")
	sum := b.op("ReduceSum", graph.Attrs{"keepdims": int64(1)}, first, b.list(1))
	body := subgraph([]string{"i", "c", "s"}, []string{"go", "t"},
		node("Identity", nil, []string{"c"}, "go"),
		node("Add", nil, []string{"s", sum}, "t"))
	looped := b.op("Loop", graph.Attrs{"body": body}, b.list1(3), b.truth(), first)
	last := b.op("Reshape", nil, b.op("Relu", nil, looped), "shape")
	return b.finish(b.op("Softmax", nil, last))
}

func (b *netBuilder) list1(v int64) string {
	b.n++
	name := "n" + string(rune('a'+b.n%26))
	b.g.Initializers = append(b.g.Initializers, scalarInit(name, v))
	return name
}

func (b *netBuilder) truth() string {
	b.g.Initializers = append(b.g.Initializers, scalarInit("yes", true))
	return "yes"
}

// TestParts: only what follows from a value makes a program dynamic. What comes before is planned, and so is what comes after, once its shapes are found.
func TestParts(t *testing.T) {
	s := open(t, picky(), 2)
	in := []*tensor.Tensor{ramp(3, 8)}
	for range 2 {
		out := make([]*tensor.Tensor, 2)
		if err := s.Run(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
	}
	want := [][]string{{"Gemm", "MatMul", "Greater"}, {"NonZero"}, {"Transpose", "GatherND", "Unsqueeze", "MatMul"}}
	if diff := cmp.Diff(want, native.Parts(s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s = open(t, shaped(), 2)
	if err := s.Run(t.Context(), []*tensor.Tensor{ramp(2, 12), tensor.Vector[int64](2, 3, 4)}, make([]*tensor.Tensor, 1)); err != nil {
		t.Fatal(err)
	}
	want = [][]string{{"Gemm"}, {"Reshape"}, {"ReduceSum"}, {"Loop"}, {"Relu"}, {"Reshape"}, {"Softmax"}}
	if diff := cmp.Diff(want, native.Parts(s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestPartsAgree: in parts a program gives the bits that it gives node by node, over many inputs at a time, while plans come and go; what it remembers stays bounded, and its
// account true.
func TestPartsAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(dims ...int) *tensor.Tensor {
		v := make([]float32, tensor.Shape(dims).Size())
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		return tensor.Must(tensor.Of(v, dims...))
	}
	shapes := [][]int64{{2, 3, 4}, {4, 3, 2}, {1, 24, 1}, {24, 1, 1}, {1, 1, 24}, {3, 4, 2}, {2, 2, 6}}
	for name, c := range map[string]struct {
		g      *graph.Graph
		inputs func() []*tensor.Tensor
	}{
		"picky": {picky(), func() []*tensor.Tensor { return []*tensor.Tensor{noise(1+random.IntN(12), 8)} }},
		"shaped": {shaped(), func() []*tensor.Tensor {
			return []*tensor.Tensor{noise(2, 12), tensor.Vector(shapes[random.IntN(len(shapes))]...)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := native.Config{MaxPlans: 3}
			s, err := native.New(cfg).Open(t.Context(), c.g, engine.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var running sync.WaitGroup
			for range 150 {
				in := c.inputs()
				running.Go(func() { agreeInParts(t, s, in) })
			}
			running.Wait()
			account, counted := native.PartPlans(s)
			if account != counted || counted > int64(9*cfg.MaxPlans) {
				t.Errorf("%d plans of parts are counted, and there are %d", account, counted)
			}
		})
	}
}

// agreeInParts holds a run against one that goes node by node, with outputs that are given and not.
func agreeInParts(t *testing.T, s engine.Session, in []*tensor.Tensor) {
	want, err := native.Walk(t.Context(), s, in)
	if err != nil {
		t.Error(err)
		return
	}
	for _, given := range []bool{false, true} {
		out := make([]*tensor.Tensor, len(want))
		if given {
			for i, w := range want {
				out[i] = tensor.Must(tensor.New(w.DType(), w.Shape()...))
			}
		}
		if err := s.Run(t.Context(), in, out); err != nil {
			t.Error(err)
			return
		}
		for i := range out {
			if !out[i].Shape().Equal(want[i].Shape()) || !slices.Equal(out[i].Bytes(), want[i].Bytes()) {
				t.Errorf("output %d is %v, and node by node %v", i, out[i], want[i])
			}
		}
	}
}

// TestPartsOwnNothing: what a run in parts returns is the caller's, also where it is a constant, an input or a view of one.
func TestPartsOwnNothing(t *testing.T) {
	b := newNet("views", 4)
	flat := b.op("Reshape", nil, "x", "shape")
	b.g.Inputs = append(b.g.Inputs, value("shape", tensor.Int64, 1))
	length := b.op("Shape", nil, "x")
	g := b.finish(b.op("Relu", nil, flat))
	for _, name := range []string{flat, length, "x", b.list(7)} {
		g.Outputs = append(g.Outputs, graph.Value{Name: name})
	}
	s := open(t, g, 1)
	for range 2 {
		in := []*tensor.Tensor{ramp(2, 4), tensor.Vector[int64](8)}
		before := in[0].Clone()
		out := make([]*tensor.Tensor, len(g.Outputs))
		if err := s.Run(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
		if got := tensor.Data[int64](out[2]); !slices.Equal(got, []int64{2, 4}) {
			t.Errorf("the shape is %v", got)
		}
		if got := tensor.Data[int64](out[4]); !slices.Equal(got, []int64{7}) {
			t.Errorf("the constant is %v", got)
		}
		for _, o := range out {
			clear(o.Bytes())
		}
		if !slices.Equal(in[0].Bytes(), before.Bytes()) {
			t.Fatal("a result is the caller's input")
		}
	}
}

// BenchmarkParts has ResNet-18 and a choice behind it, in parts and node by node.
func BenchmarkParts(b *testing.B) {
	g := resnet18(96)
	net := &netBuilder{g: g, n: 10_000}
	g.Outputs = []graph.Value{{Name: net.op("NonZero", nil, net.op("Greater", nil, g.Outputs[0].Name, net.scalar(0)))}}
	s := open(b, g, 1)
	in := []*tensor.Tensor{ramp(1, 3, 96, 96)}
	b.Run("parts", func(b *testing.B) {
		for b.Loop() {
			if err := s.Run(b.Context(), in, make([]*tensor.Tensor, 1)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("walked", func(b *testing.B) {
		for b.Loop() {
			if _, err := native.Walk(b.Context(), s, in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
