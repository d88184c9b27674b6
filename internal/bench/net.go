package bench

import (
	"math/rand/v2"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// DenseNet is the dense network 784-128-32-10 as an ONNX file. Its weights are random: only the time that it takes matters.
func DenseNet() ([]byte, error) {
	random := rand.New(rand.NewPCG(5, 6))
	b := graph.NewBuilder(network)
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: itemBytes}})
	widths := []int{itemBytes, 128, 32, 10}
	for i := range len(widths) - 1 {
		weights := make([]float32, widths[i]*widths[i+1])
		for j := range weights {
			weights[j] = float32(random.NormFloat64()) / 28
		}
		name := string(rune('a' + i))
		x = b.Op("Gemm", nil, x,
			b.Init(name+".weight", tensor.Must(tensor.Of(weights, widths[i], widths[i+1]))),
			b.Init(name+".bias", tensor.Must(tensor.New(tensor.Float32, widths[i+1]))))
		if i < len(widths)-2 {
			x = b.Op("Relu", nil, x)
		}
	}
	b.Output(b.Name(x, "logits"))
	g, err := infer.Build(b)
	if err != nil {
		return nil, err
	}
	g.Metadata = map[string]string{"millrace.labels": `["0","1","2","3","4","5","6","7","8","9"]`}
	return onnx.Encode(g)
}
