package onnx_test

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// A graph becomes a file, and a graph again.
func Example() {
	b := graph.NewBuilder("classifier")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}})
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 4, 3)))
	b.Output(b.Name(b.Op("Softmax", nil, b.Op("MatMul", nil, x, w)), "scores"))
	g, err := infer.Build(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := onnx.Encode(g)
	if err != nil {
		fmt.Println(err)
		return
	}
	back, err := onnx.Decode(data, onnx.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(back, "opset", back.Opset[""])
	_, err = onnx.Decode(data[:len(data)/2], onnx.Options{})
	fmt.Println(err)
	// Output:
	// graph classifier: [x float32[N,4]] -> [scores float32[N,3]], 2 nodes opset 17
	// model: not a valid ONNX file: field 7 is truncated at byte 13 of 119
}
