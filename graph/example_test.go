package graph_test

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A program makes a graph value by value, by names.
func Example() {
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 2}})
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 2, 3)))
	b.Output(b.Name(b.Op("Relu", nil, b.Op("MatMul", nil, x, w)), "scores"))
	g, err := b.Graph()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes {
		fmt.Println(n.Op(), n.Inputs, n.Outputs)
	}
	fmt.Println(g.Placeholders(), "opset", g.Opset[graph.OnnxDomain])
	// Output:
	// MatMul [x w] [MatMul]
	// Relu [MatMul] [scores]
	// [x float32[N,2]] opset 17
}
