package native_test

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestRunDoesNotAllocate holds runs with known shapes and given outputs to no allocation at all.
func TestRunDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	depthwise := quantizedCase{op: "Conv", groups: 8, bias: true}
	parts := depthwise.parts(r)
	sums := graph.NewBuilder("sums")
	bytes := bytesOf(r, tensor.Uint8, 9, 40)
	sums.Output(sums.Name(sums.Op("MatMulInteger", nil, sums.Input("x", tensor.Uint8, graph.Dims(9, 40)), sums.Init("w", bytesOf(r, tensor.Uint8, 40, 30))), "y"))
	for _, net := range []struct {
		name  string
		graph *graph.Graph
		in    []*tensor.Tensor // runs alternate between these
	}{
		{"dense", mlp(graph.Dim{Size: -1, Symbol: "N"}, 784, 128, 32, 10), []*tensor.Tensor{ramp(1, 784), ramp(16, 784), ramp(7, 784)}},
		{"conv", convNet(), []*tensor.Tensor{ramp(1, 1, 28, 28), ramp(3, 1, 28, 28)}},
		{"resnet", resnet18(32), []*tensor.Tensor{ramp(1, 3, 32, 32)}},
		{"depthwise of bytes", depthwise.pairs(parts), []*tensor.Tensor{parts.x}},
		{"sums of bytes", tensorGraph(sums), []*tensor.Tensor{bytes}},
	} {
		for _, threads := range []int{1, 4} {
			s := open(t, net.graph, threads)
			outs := make([][]*tensor.Tensor, len(net.in))
			for i, x := range net.in {
				outs[i] = make([]*tensor.Tensor, len(s.Outputs()))
				if err := s.Run(t.Context(), []*tensor.Tensor{x}, outs[i]); err != nil {
					t.Fatal(err)
				}
			}
			ctx, i := t.Context(), 0
			in := make([]*tensor.Tensor, 1)
			n := testing.AllocsPerRun(20, func() {
				in[0] = net.in[i%len(net.in)]
				if err := s.Run(ctx, in, outs[i%len(net.in)]); err != nil {
					t.Error(err)
				}
				i++
			})
			if n != 0 {
				t.Errorf("%s, %d threads: %v allocations a run", net.name, threads, n)
			}
		}
	}
}
