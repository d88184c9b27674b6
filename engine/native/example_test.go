package native_test

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func Example() {
	g := &graph.Graph{
		Opset:        map[string]int64{"": 17},
		Inputs:       []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Dims(-1, 2)}},
		Outputs:      []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Dims(-1, 2)}},
		Initializers: []graph.Initializer{{Name: "w", Tensor: tensor.Must(tensor.Of([]float32{1, 2, 3, 4}, 2, 2))}},
		Nodes: []*graph.Node{
			{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"h"}},
			{OpType: "Relu", Inputs: []string{"h"}, Outputs: []string{"y"}},
		},
	}
	session, err := native.New(native.Config{}).Open(context.Background(), g, engine.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close()
	x := tensor.Must(tensor.Of([]float32{1, 1, -1, 0}, 2, 2))
	out, err := engine.Run(context.Background(), session, map[string]*tensor.Tensor{"x": x})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out["y"])
	// Output: float32[2,2]{4 6 0 0}
}
