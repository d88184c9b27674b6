package infer_test

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// Shapes follow the symbols of the inputs.
func Example() {
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}, {Size: 28}, {Size: 28}})
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 16, 1, 5, 5)))
	y := b.Op("Conv", graph.Attrs{"auto_pad": "SAME_UPPER"}, x, w)
	y = b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, b.Op("Relu", nil, y))
	b.Output(b.Op("Flatten", nil, y))
	g, err := infer.Build(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range append(g.Values, g.Outputs...) {
		fmt.Println(v)
	}
	// Output:
	// Conv float32[N,16,28,28]
	// Relu float32[N,16,28,28]
	// MaxPool float32[N,16,14,14]
	// Flatten float32[N,3136]
}

// A graph that contradicts itself is refused with the node's name.
func ExampleShapes() {
	g := &graph.Graph{
		Inputs: []graph.Value{
			{Name: "a", DType: tensor.Float32, Shape: graph.Dims(2, 3)}, {Name: "b", DType: tensor.Float32, Shape: graph.Dims(4, 5)},
		},
		Nodes:   []*graph.Node{{Name: "product", OpType: "MatMul", Inputs: []string{"a", "b"}, Outputs: []string{"c"}}},
		Outputs: []graph.Value{{Name: "c"}},
	}
	fmt.Println(infer.Shapes(g))
	// Output:
	// node 0 "product" (MatMul): invalid graph: the matrix product of shapes [2,3] and [4,5]
}
