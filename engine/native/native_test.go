package native_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// node makes a node of ONNX's own domain.
func node(op string, attrs graph.Attrs, in []string, out ...string) *graph.Node {
	domain, op := graph.SplitOp(op)
	return &graph.Node{OpType: op, Domain: domain, Attrs: attrs, Inputs: in, Outputs: out}
}

func value(name string, d tensor.DType, dims ...int) graph.Value {
	return graph.Value{Name: name, DType: d, Shape: graph.Dims(dims...)}
}

func mlp(batch graph.Dim, sizes ...int) *graph.Graph {
	g := &graph.Graph{Name: "mlp", Opset: map[string]int64{"": 17}}
	g.Inputs = []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{batch, {Size: int64(sizes[0])}}}}
	at := "x"
	for i := range len(sizes) - 1 {
		k, n := sizes[i], sizes[i+1]
		w, b := make([]float32, k*n), make([]float32, n)
		for j := range w {
			w[j] = float32((j*7919+i)%199-99) / 1000
		}
		for j := range b {
			b[j] = float32(j%5) / 10
		}
		l := string(rune('a' + i))
		g.Initializers = append(g.Initializers, graph.Initializer{Name: "w" + l, Tensor: tensor.Must(tensor.Of(w, n, k))},
			graph.Initializer{Name: "b" + l, Tensor: tensor.Vector(b...)})
		g.Nodes = append(g.Nodes, node("Gemm", graph.Attrs{"transB": int64(1)}, []string{at, "w" + l, "b" + l}, "h"+l))
		at = "h" + l
		if i < len(sizes)-2 {
			g.Nodes = append(g.Nodes, node("Relu", nil, []string{at}, "r"+l))
			at = "r" + l
		}
	}
	g.Nodes = append(g.Nodes, node("Softmax", graph.Attrs{"axis": int64(-1)}, []string{at}, "y"))
	g.Outputs = []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Shape{batch, {Size: int64(sizes[len(sizes)-1])}}}}
	return g
}

func open(tb testing.TB, g *graph.Graph, threads int) engine.Session {
	tb.Helper()
	s, err := native.New(native.Config{}).Open(context.Background(), g, engine.Options{Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// reference computes the mlp in float64.
func reference(g *graph.Graph, x []float32) []float64 {
	h := make([]float64, len(x))
	for i, v := range x {
		h[i] = float64(v)
	}
	layers := len(g.Initializers) / 2
	for i := range layers {
		w, b := g.Initializers[2*i].Tensor, tensor.Data[float32](g.Initializers[2*i+1].Tensor)
		k := w.Shape()[1]
		next := make([]float64, len(b))
		for j := range next {
			for s := range k {
				next[j] += h[s] * float64(tensor.Data[float32](w)[j*k+s])
			}
			next[j] += float64(b[j])
			if i < layers-1 {
				next[j] = max(0, next[j])
			}
		}
		h = next
	}
	top, sum := slices.Max(h), 0.0
	for i := range h {
		h[i] = math.Exp(h[i] - top)
		sum += h[i]
	}
	for i := range h {
		h[i] /= sum
	}
	return h
}

func TestDenseNet(t *testing.T) {
	g := mlp(graph.Dim{Size: -1, Symbol: "N"}, 100, 40, 20, 10)
	s := open(t, g, 2)
	for _, batch := range []int{1, 3, 64} {
		x := make([]float32, batch*100)
		for i := range x {
			x[i] = float32(i%13)/13 - 0.4
		}
		out := make([]*tensor.Tensor, 1)
		if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Must(tensor.Of(x, batch, 100))}, out); err != nil {
			t.Fatal(err)
		}
		got := tensor.Data[float32](out[0])
		for r := range batch {
			for j, want := range reference(g, x[r*100:(r+1)*100]) {
				if d := math.Abs(float64(got[r*10+j]) - want); d > 1e-6+1e-4*want {
					t.Fatalf("batch %d row %d output %d: %v, want %v", batch, r, j, got[r*10+j], want)
				}
			}
		}
	}
}

func TestUnsupportedIsNamed(t *testing.T) {
	g := &graph.Graph{Opset: map[string]int64{"": 17}, Inputs: []graph.Value{value("x", tensor.Float32, 2)}, Outputs: []graph.Value{value("y", tensor.Float32, 2)}}
	g.Nodes = []*graph.Node{node("Frobnicate", nil, []string{"x"}, "a"), node("Relu", graph.Attrs{"slope": int64(1)}, []string{"a"}, "y")}
	_, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
	var u *engine.UnsupportedError
	if !errors.As(err, &u) || len(u.Ops) != 2 || u.Ops[0] != "Frobnicate" {
		t.Fatalf("got %v", err)
	}
}
