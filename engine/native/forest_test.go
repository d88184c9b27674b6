package native_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// BenchmarkForest is 1,000 trees of depth 8; each run has another row first.
func BenchmarkForest(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	const trees, depth, columns = 1000, 8, 30
	lists := map[string][]int64{}
	add := func(name string, v int64) { lists[name] = append(lists[name], v) }
	var modes []string
	var values, weights []float32
	for tree := range int64(trees) {
		for k := range int64(1)<<(depth+1) - 1 {
			mode, yes, no := "BRANCH_LEQ", 2*k+1, 2*k+2
			if k >= 1<<depth-1 {
				mode, yes, no = "LEAF", 0, 0
				add("target_treeids", tree)
				add("target_nodeids", k)
				add("target_ids", 0)
				weights = append(weights, float32(random.NormFloat64()))
			}
			add("nodes_treeids", tree)
			add("nodes_nodeids", k)
			add("nodes_truenodeids", yes)
			add("nodes_falsenodeids", no)
			add("nodes_featureids", random.Int64N(columns))
			modes, values = append(modes, mode), append(values, float32(random.NormFloat64()))
		}
	}
	attrs := graph.Attrs{"nodes_modes": modes, "nodes_values": values, "target_weights": weights}
	for name, l := range lists {
		attrs[name] = l
	}
	n := node("ai.onnx.ml.TreeEnsembleRegressor", attrs, []string{"x"}, "y")
	for _, rows := range []int{1, 16, 1024} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			g := &graph.Graph{Name: "forest", Opset: map[string]int64{"": 17, "ai.onnx.ml": 3}, Nodes: []*graph.Node{n}, Outputs: []graph.Value{{Name: "y"}},
				Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Dims(rows, columns)}}}
			s := open(b, g, 1)
			var in []*tensor.Tensor
			for range 64 {
				x := tensor.Must(tensor.New(tensor.Float32, rows, columns))
				for i := range tensor.Data[float32](x) {
					tensor.Data[float32](x)[i] = float32(random.NormFloat64())
				}
				in = append(in, x)
			}
			out := make([]*tensor.Tensor, 1)
			for i := 0; b.Loop(); i++ {
				if err := s.Run(b.Context(), in[i%len(in):][:1], out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*rows), "us/row")
		})
	}
}
