package batching_test

import (
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/batching"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// dense is one layer of 784 by 128.
func dense() *graph.Graph {
	return &graph.Graph{
		Opset:        map[string]int64{"": 17},
		Inputs:       []graph.Value{value("x", tensor.Float32, 784)},
		Outputs:      []graph.Value{value("y", tensor.Float32, 128)},
		Nodes:        []*graph.Node{{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"y"}}},
		Initializers: []graph.Initializer{{Name: "w", Tensor: tensor.Must(tensor.New(tensor.Float32, 784, 128))}},
	}
}

// BenchmarkRun is one row, by one caller and by 16 at a time, with and without gathering.
func BenchmarkRun(b *testing.B) {
	bare, err := native.New(native.Config{}).Open(b.Context(), dense(), engine.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	s, err := batching.New(bare, batching.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name string
		s    engine.Session
	}{{"bare", bare}, {"gathered", s}} {
		run := func(b *testing.B, more func() bool) {
			in, out := []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, 1, 784))}, make([]*tensor.Tensor, 1)
			for more() {
				if err := c.s.Run(b.Context(), in, out); err != nil {
					b.Error(err)
					return
				}
			}
		}
		b.Run(c.name+"/1", func(b *testing.B) { run(b, b.Loop) })
		b.Run(c.name+"/16", func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) { run(b, pb.Next) })
		})
	}
}
