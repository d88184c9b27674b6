package infer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// Whatever stands in a model's attributes, shapes and constants, inference returns: ONNX's test cases with numbers
// changed, inputs left out and shapes replaced.
func TestMutated(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	found, refused := 0, 0
	for _, file := range files(t, onnxCases(t), ".onnx") {
		g, err := onnx.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			c := mutate(random, g.Clone())
			if err := infer.Shapes(c); err != nil {
				refused++
			} else {
				found++
			}
		}
	}
	t.Logf("%d graphs inferred, %d refused", found, refused)
	if found < 1000 || refused < 1000 {
		t.Errorf("the mutations do not reach both ways: %d inferred, %d refused", found, refused)
	}
}

var extremes = []int64{0, 1, -1, 2, 3, 7, -2, 64, 1 << 20, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, 1 << 53}

func mutate(random *rand.Rand, g *graph.Graph) *graph.Graph {
	one := func() int64 { return extremes[random.IntN(len(extremes))] }
	g.Values = nil
	for i := range g.Outputs {
		g.Outputs[i] = graph.Value{Name: g.Outputs[i].Name}
	}
	for i := range g.Inputs {
		v := &g.Inputs[i]
		switch random.IntN(6) {
		case 0:
			v.Shape = nil
		case 1:
			v.Shape = graph.Shape{}
		case 2:
			for k := range v.Shape {
				if random.IntN(2) == 0 {
					v.Shape[k] = graph.Dim{Size: max(one(), -1), Symbol: "S"}
				}
			}
		case 3: // a constant with any numbers
			if size, ok := v.Shape.Static(); ok && size.Size() < 100 && v.DType == tensor.Int64 {
				vals := make([]int64, size.Size())
				for k := range vals {
					vals[k] = one()
				}
				g.Initializers = append(g.Initializers, graph.Initializer{Name: v.Name, Tensor: tensor.Must(tensor.Of(vals, size...))})
			}
		}
	}
	graph.Walk(g.Nodes, func(n *graph.Node) {
		for name, v := range n.Attrs {
			if random.IntN(2) == 0 {
				continue
			}
			switch v := v.(type) {
			case int64:
				n.Attrs[name] = one()
			case []int64:
				v = slices.Clone(v)
				for k := range v {
					if random.IntN(2) == 0 {
						v[k] = one()
					}
				}
				n.Attrs[name] = v[:random.IntN(len(v)+1)]
			case float32:
				n.Attrs[name] = float32(math.NaN())
			case string:
				n.Attrs[name] = "x"
			default:
				delete(n.Attrs, name)
			}
		}
		if len(n.Inputs) > 0 && random.IntN(4) == 0 {
			n.Inputs[random.IntN(len(n.Inputs))] = ""
		}
		if random.IntN(8) == 0 {
			n.Inputs = n.Inputs[:random.IntN(len(n.Inputs)+1)]
		}
		if random.IntN(8) == 0 {
			n.Outputs = append(n.Outputs, "more", "and more")
		}
	})
	return g
}
