package onnx_test

import (
	"bytes"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// Write gives Encode's bytes, and allocates no copy of large tensors, at whatever depth they are.
func TestWrite(t *testing.T) {
	const n = 1 << 20
	large := tensor.Must(tensor.New(tensor.Float32, n))
	tensor.Data[float32](large)[n-1] = 7
	inner := &graph.Graph{
		Name: "branch", Outputs: []graph.Value{{Name: "v"}},
		Nodes: []*graph.Node{{OpType: "Constant", Outputs: []string{"v"}, Attrs: graph.Attrs{"value": large}}},
	}
	g := &graph.Graph{
		Inputs:       []graph.Value{{Name: "c", DType: tensor.Bool, Shape: graph.Shape{}}},
		Outputs:      []graph.Value{{Name: "y"}},
		Initializers: []graph.Initializer{{Name: "small", Tensor: tensor.Scalar(int64(1))}, {Name: "w", Tensor: large}},
		Nodes: []*graph.Node{
			{OpType: "If", Name: "if", Inputs: []string{"c"}, Outputs: []string{"z"}, Attrs: graph.Attrs{"then_branch": inner, "else_branch": inner.Clone()}},
			{OpType: "Add", Name: "add", Inputs: []string{"z", "w"}, Outputs: []string{"y"}},
		},
	}
	file, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.Grow(len(file))
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			out.Reset()
			if err := onnx.Write(&out, g); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if !bytes.Equal(out.Bytes(), file) {
		t.Error("Write and Encode differ")
	}
	if allocated > 1<<20 {
		t.Errorf("Write allocates %d bytes for a model of %d", allocated, len(file))
	}
	read, err := onnx.Decode(file, onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	branch := read.Nodes[0].Attrs.Graph("then_branch").Nodes[0].Attrs.Tensor("value")
	if got := tensor.Data[float32](read.Initializer("w"))[n-1] + tensor.Data[float32](branch)[n-1]; got != 14 {
		t.Errorf("the last elements sum to %v", got)
	}
}
