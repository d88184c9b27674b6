package batching_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/batching"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A session for a server: requests that come at once are computed together.
func Example() {
	n := graph.Dim{Size: -1, Symbol: "N"}
	g := &graph.Graph{
		Opset:  map[string]int64{"": 17},
		Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{n, {Size: 2}}}}, Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Shape{n, {Size: 2}}}},
		Nodes: []*graph.Node{{OpType: "Neg", Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}
	inner, err := native.New(native.Config{}).Open(context.Background(), g, engine.Options{})
	if err != nil {
		panic(err)
	}
	s, err := batching.New(inner, batching.Options{MaxRows: 64})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	results := make([]*tensor.Tensor, 3)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			in := tensor.Must(tensor.Of([]float32{float32(i), 1}, 1, 2))
			if err := s.Run(context.Background(), []*tensor.Tensor{in}, results[i:i+1]); err != nil {
				panic(err)
			}
		})
	}
	wg.Wait()
	fmt.Println(results)
	// Output: [float32[1,2]{-0 -1} float32[1,2]{-1 -1} float32[1,2]{-2 -1}]
}
