package onnx_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// large makes a dense net of 16 MiB.
func large(b *testing.B) []byte {
	net := graph.NewBuilder("large")
	x := net.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1024}})
	for range 4 {
		w := net.Init("w", tensor.Must(tensor.New(tensor.Float32, 1024, 1024)))
		x = net.Op("Relu", nil, net.Op("MatMul", nil, x, w))
	}
	net.Output(x)
	g, err := infer.Build(net)
	if err != nil {
		b.Fatal(err)
	}
	data, err := onnx.Encode(g)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func BenchmarkDecode16MB(b *testing.B) {
	data := large(b)
	for _, share := range []bool{false, true} {
		name := "copy"
		if share {
			name = "share"
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := onnx.Decode(data, onnx.Options{Share: share}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode16MB(b *testing.B) {
	g, err := onnx.Decode(large(b), onnx.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		data, err := onnx.Encode(g)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
	}
}
