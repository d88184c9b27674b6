package rewrite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/tensorflow/rewrite"
	"github.com/millrace/millrace/tensor"
)

// net writes a graph for a test.
type net struct{ *graph.Builder }

func newNet() net { return net{graph.NewBuilder("net")} }

// input adds a placeholder of float32.
func (n net) input(name string, dims ...int) string {
	return n.Input(name, tensor.Float32, graph.Dims(dims...))
}

// weights adds a constant of numbers that are the same in each run of a test.
func (n net) weights(name string, dims ...int) string { return n.Init(name, numbers(7, dims...)) }

func (n net) transpose(x string, perm ...int64) string {
	return n.Op("Transpose", graph.Attrs{"perm": perm}, x)
}

// first and last move channels.
func (n net) first(x string) string { return n.transpose(x, 0, 3, 1, 2) }
func (n net) last(x string) string  { return n.transpose(x, 0, 2, 3, 1) }

// conv is a convolution of a picture whose channels are last.
func (n net) conv(x, filter string) string { return n.last(n.Op("Conv", nil, n.first(x), filter)) }

func numbers(seed uint64, dims ...int) *tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	data := make([]float32, tensor.Shape(dims).Size())
	for i := range data {
		data[i] = float32(rng.NormFloat64())
	}
	return tensor.Must(tensor.Of(data, dims...))
}

// ops lists the operators of a graph in their order, with the axes that a pass may change.
func ops(g *graph.Graph) string {
	var all []string
	for _, n := range g.Nodes {
		text := n.OpType
		for _, name := range []string{"perm", "axis", "axes", "start", "end", "approximate"} {
			if v, ok := n.Attrs[name]; ok {
				text += fmt.Sprintf(" %s=%v", name, v)
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// testPass runs one pass alone, holds the operators before and after against what is wanted, and the numbers that the graph computes after against those before.
func testPass(t *testing.T, name string, n net, before, after string, outputs ...string) *graph.Graph {
	t.Helper()
	n.Output(outputs...)
	g, err := infer.Build(n.Builder)
	if err != nil {
		t.Fatal(err)
	}
	g.Opset[""] = 17
	if got := ops(g); got != before {
		t.Errorf("before:\n got %s\nwant %s", got, before)
	}
	want := compute(t, g)
	run(t, g, name)
	if got := ops(g); got != after {
		t.Errorf("after:\n got %s\nwant %s", got, after)
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	got := compute(t, g)
	if len(got) != len(outputs) {
		t.Fatalf("%d outputs are left of %d", len(got), len(outputs))
	}
	equal(t, got, want)
	return g
}

// run runs one pass alone.
func run(t *testing.T, g *graph.Graph, name string) {
	t.Helper()
	passes := slices.DeleteFunc(rewrite.All(), func(p rewrite.Pass) bool { return p.Name != name })
	if len(passes) != 1 {
		t.Fatalf("there is no pass %s", name)
	}
	if err := rewrite.Run(t.Context(), g, native.Evaluator(), passes); err != nil {
		t.Fatal(err)
	}
}

// equal holds the numbers after a pass against those before.
func equal(t *testing.T, got, want map[string]*tensor.Tensor) {
	t.Helper()
	for name, v := range want {
		if err := conformance.Within(got[name], v, conformance.Tolerance{Abs: 1e-5, Rel: 1e-5}); err != nil {
			t.Errorf("output %s: %v", name, err)
		}
	}
}

// compute runs a graph on numbers; a length that is open is 2.
func compute(t *testing.T, g *graph.Graph) map[string]*tensor.Tensor {
	t.Helper()
	s, err := native.New(native.Config{}).Open(t.Context(), g.Clone(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := map[string]*tensor.Tensor{}
	for i, v := range g.Placeholders() {
		dims := make([]int, len(v.Shape))
		for k, d := range v.Shape {
			if dims[k] = int(d.Size); !d.Known() {
				dims[k] = 2
			}
		}
		in[v.Name] = numbers(uint64(i), dims...)
	}
	out, err := engine.Run(t.Context(), s, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRunStops holds that the end of a context ends the passes.
func TestRunStops(t *testing.T) {
	n := newNet()
	n.Output(n.Op("Identity", nil, n.Op("Relu", nil, n.input("x", 3))))
	g, err := infer.Build(n.Builder)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := rewrite.Run(ctx, g, native.Evaluator(), rewrite.All()); err == nil {
		t.Error("the passes ran to their end")
	}
	if len(g.Nodes) != 2 {
		t.Errorf("the graph is %s", ops(g))
	}
}
